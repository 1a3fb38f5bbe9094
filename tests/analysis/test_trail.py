"""Why a run diverged: its last steps, trained again, against closed forms in NumPy."""

import dataclasses
import hashlib
import math
import os
from pathlib import Path

import numpy as np
import pytest
from helpers.outcomes import write

from vaecli import Config, UsageError, train
from vaecli.analysis.changes import KINDS, changes
from vaecli.analysis.trail import diverged_run, trail_of
from vaecli.analysis.trials import plan_of
from vaecli.report.trail import Trail, to_json
from vaecli.report.trail_words import sentences
from vaecli.vae.resolve import resolve

STD = {
    "param": "std",
    "lr": 0.01,
    "beta": 0.0,
    "epochs": 6,
    "likelihood": "gaussian",
    "decoder_std": 1.0,
    "decoder_param": "fixed",
}
"""Without a KL nothing keeps σ from falling, here to below 0 within 9 steps."""

HALF = {"precision": "float16", "head_precision": "float16", "loss_scale": 1.0, "hidden": (), "skip_norm": 1e9}
"""No finite gradient has such a norm."""


@pytest.fixture(scope="module")
def lost(small, tmp_path_factory):
    """The directory of a run of `std` whose u falls below 0."""
    summary = train(Config(**small | STD), runs=tmp_path_factory.mktemp("runs"))
    assert summary["first_non_finite"]["quantity"] == "log σ at u < 0"
    assert summary["steps"] >= 8
    return Path(summary["path"])


@pytest.fixture(scope="module")
def trail(lost):
    """The trail of that run, whose directory cannot be written meanwhile, and stays as it was."""
    before = contents(lost)
    folders = [folder for folder, _, _ in os.walk(lost)]
    for folder in folders:
        os.chmod(folder, 0o500)
    try:
        explained = trail_of(diverged_run(lost))
    finally:
        for folder in folders:
            os.chmod(folder, 0o700)
    assert contents(lost) == before
    return explained


def contents(folder):
    """The checksum of every file below a folder."""
    return {path: hashlib.sha256(path.read_bytes()).digest() for path in folder.rglob("*") if path.is_file()}


def test_the_replay_is_the_run_bit_for_bit(trail, lost):
    assert trail.origin.identical
    assert trail.origin.reproduced
    assert trail.origin.start == 0
    assert [row.step for row in trail.rows] == list(range(trail.step - 7, trail.step + 1))


def test_what_was_not_finite_first(trail):
    assert (trail.breakdown.quantity, trail.breakdown.at_fault) == ("log_scale", "σ")
    assert trail.breakdown.singular
    assert (trail.followed.scale, trail.followed.split, trail.followed.head) == ("σ", "train", "std")
    assert trail.rows[-1].values["u"] == trail.breakdown.u < 0
    assert math.isnan(trail.rows[-1].values["log_sigma"])
    first, *others = sentences(trail)
    assert first.startswith(f"At step {trail.step} the first number that was not finite: log σ was NaN, in latent ")
    assert "The head std, σ = u, has no finite log σ at u = −" in others[0]
    assert others[-1].endswith("bit for bit; from there it diverges as recorded.")


def test_the_numbers_of_the_unit_are_those_of_the_formulas(trail):
    """γ = 1/u, σ = u and KL = ½(μ² + σ² − 1) − log σ for this head, and ∂L/∂u = γ ∂L/∂log σ."""
    rows = [row.values for row in trail.rows if row.values["u"] > 0]
    assert len(rows) >= 5
    for values in rows:
        u, mean = values["u"], values["mean"]
        assert values["sigma"] == pytest.approx(u, rel=1e-6)
        assert values["log_sigma"] == pytest.approx(math.log(u), rel=1e-5, abs=1e-6)
        assert values["gain"] == pytest.approx(1 / u, rel=1e-5)
        assert values["kl"] == pytest.approx(0.5 * (mean**2 + u**2 - 1) - math.log(u), rel=1e-4, abs=1e-5)
        assert values["by_u"] == pytest.approx(values["by_log_sigma"] / u, rel=1e-4)
        assert values["z"] == pytest.approx(mean + u * values["residual"], rel=1e-5, abs=1e-6)
    # It falls, as σ does without a KL.
    assert np.all(np.diff([values["u"] for values in rows]) < 0)


def test_with_one_step_nothing_is_trained_again(trail, lost, monkeypatch):
    from vaecli.analysis.replay import Replay

    monkeypatch.setattr(Replay, "advanced", None)
    short = trail_of(diverged_run(lost), steps=1)
    assert short.rows == trail.rows[-1:] or to_json(short.rows) == to_json(trail.rows[-1:])


def test_a_log_point_comes_before_the_next_step(small, tmp_path):
    """u is 0 on every image, and the first log point meets it before the first step does."""
    summary = train(Config(**small | STD | {"init": "native", "init_weight": 0.0}), runs=tmp_path)
    assert (summary["first_non_finite"]["quantity"], summary["steps"]) == ("log σ at u = 0", 0)
    trail = trail_of(diverged_run(summary["path"]))
    assert trail.followed.split != "train"
    assert trail.origin.reproduced
    assert trail.rows[-1].values["u"] == 0


def test_a_run_that_did_not_diverge(small, tmp_path):
    path = write(tmp_path, -100.0, **small | STD)
    with pytest.raises(
        UsageError, match=r"did not diverge \(it is complete\); vae explain RUN says why a run diverged"
    ):
        diverged_run(path)
    with pytest.raises(UsageError, match="does not exist"):
        diverged_run(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("own", "quantity", "at_fault", "says"),
    [
        pytest.param(
            {"optimizer": "sgd", "lr": 1e30, "weight_decay": 1e10},
            *("parameter", "", "update that the optimiser makes"),
            marks=pytest.mark.long,
        ),
        (STD | {"decoder_std": 1e-11}, "optimiser state", "τ", "keeps squares, which overflow above 1.8·10¹⁹"),
        (HALF | {"loss_scale": 1e7}, "by_z", "", "In float32 it is finite"),
        pytest.param(
            {"precision": "float16", "loss_scale": 1e7},
            *("by_z", "", "In float32 it is finite"),
            marks=pytest.mark.long,
        ),
        pytest.param(
            {"param": "abs_std", "init": "native", "init_weight": 0.0, "bound": "floor:0.1"},
            *("by_u", "σ", "γ"),
            marks=pytest.mark.long,
        ),
        (HALF | {"init_std": 7e4}, "scale", "σ", "In float32 it is finite"),
        pytest.param(
            {"head_precision": "float16", "init_std": 7e4},
            *("scale", "σ", "In float32 it is finite"),
            marks=pytest.mark.long,
        ),
        # A run is lost after 100 updates that were dropped. Its precision has nothing to do with it.
        (HALF | {"skip_norm": 1e-3, "epochs": 21}, "norm", "", "above --skip-norm"),
    ],
)
def test_what_else_is_recorded(small, tmp_path, own, quantity, at_fault, says):
    trail = trail_of(diverged_run(train(Config(**small | own), runs=tmp_path)["path"]), steps=2)
    assert (trail.breakdown.quantity, trail.breakdown.at_fault) == (quantity, at_fault)
    assert trail.origin.reproduced
    assert says in " ".join(sentences(trail))


def test_changes_come_from_the_smallest_to_the_largest(trail, small):
    resolved = resolve(Config(**small | STD))
    listed = changes(resolved, trail, steps_per_epoch=5)
    kinds = [KINDS.index(change.kind) for change in listed]
    assert kinds == sorted(kinds)
    assert {change.kind for change in listed} == {"bound", "clipping", "start", "rate", "head"}
    # The bound lies outside what the run has used while it was well.
    least, greatest = trail.ranges["σ"]
    low, high = map(float, listed[0].settings["bound"].removeprefix("clip:").split(","))
    assert low < least < greatest < high
    assert [change.settings for change in listed if change.kind == "head"] == [
        {"param": "softplus_std"},
        {"param": "logvar"},
    ]
    for change in listed:
        assert all(getattr(resolved.config, name) != value for name, value in change.settings.items())


def test_a_scale_that_is_not_at_fault_is_left_alone(trail, small):
    breakdown = dataclasses.replace(trail.breakdown, at_fault="", singular=False)
    other: Trail = dataclasses.replace(trail, breakdown=breakdown, step=100)
    listed = changes(resolve(Config(**small | {"precision": "float16"})), other, steps_per_epoch=5)
    assert [change.settings for change in listed[:2]] == [{"loss_scale": "dynamic"}, {"precision": "bfloat16"}]
    assert {change.kind for change in listed} == {"precision", "clipping", "rate", "head"}
    assert not any(name.startswith(("head_lr", "bound", "init")) for change in listed for name in change.settings)


def test_what_leaves_the_fault_in_reach(trail, lost):
    plan = plan_of(diverged_run(lost), trail, seeds=3)
    in_reach = {str(candidate.change.settings): candidate.in_reach for candidate in plan.candidates}
    assert in_reach["{'param': 'softplus_std'}"] is False
    assert in_reach["{'lr': 0.005}"] is True
    assert [in_reach[str(c.change.settings)] for c in plan.candidates if c.change.kind == "bound"] == [True] * 3
    assert list(plan.seeds) == [0, 1, 2]
    assert plan.runs == lost.parents[2]
    assert {candidate.config.name for candidate in plan.candidates} == {"small-explained"}
