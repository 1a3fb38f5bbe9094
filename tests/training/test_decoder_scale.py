"""Runs whose likelihood has a scale: in packs, after a stop, and with a scale in closed form."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from helpers.runs import cut, same, stopping

from vaecli import Config, train_runs, train_seeds
from vaecli.runs import checkpoint

HEADS_OF_ONE_FORM = ("logvar", "logstd", "logprec")


@pytest.fixture
def scaled(small):
    """Without hidden layers, so that there is less to compile."""
    return Config(**small | {"hidden": (), "likelihood": "gaussian", "binarisation": "dequantised", "epochs": 3})


LION = {"optimizer": "lion", "lr": 1e-3, "clip_norm": 10.0, "weight_decay": 0.1}


# Trained as rows of one program, all kinds of them are one run in tests/vae/test_matched_scales.py.
@pytest.mark.parametrize(
    "kind",
    [{}, pytest.param({"decoder_scale": "network", "decoder_gradient": "natural"}, marks=pytest.mark.long)],
)
def test_a_pack_of_matched_heads(scaled, tmp_path, kind):
    """They are one run bit for bit."""
    matched = {"decoder_init": "matched", "decoder_lr": "matched"} | LION | kind
    configs = [dataclasses.replace(scaled, decoder_param=name, **matched) for name in HEADS_OF_ONE_FORM]
    together = train_runs(configs, runs=tmp_path / "pack", vary=["decoder_param"])
    logs = [Path(run["path"], "metrics.jsonl").read_text().splitlines() for run in together]
    elbos = [[json.loads(line)["test/elbo"] for line in lines] for lines in logs]
    assert elbos[0] == elbos[1] == elbos[2]
    assert len(set(elbos[0])) == 4


def test_a_scale_in_closed_form_resumes(scaled, tmp_path):
    """Two seeds, whose parameters, logs and pictures are those of runs that were not stopped."""
    config = dataclasses.replace(scaled, likelihood="laplace", decoder_scale="optimal", clip_norm=1.0)
    whole = train_seeds(config, 2, runs=tmp_path / "whole")
    train_seeds(config, 2, runs=tmp_path / "cut", stopped=stopping(2))
    for one, other in zip(train_seeds(config, 2, runs=tmp_path / "cut"), whole, strict=True):
        same(one, other)
    assert whole[0]["metrics"] != whole[1]["metrics"]


def as_an_earlier_version_wrote_it(folder):
    """Puts the scale's u into the decoder's block, and its momentum into the unit that there was."""
    path = folder / "arrays.npz"
    with np.load(path) as file:
        arrays = {name: file[name] for name in file.files}
    own = [name for name in arrays if "decoder_scale" in name]
    for name in own:
        array = arrays.pop(name)
        former = name.replace("inner_states/decoder_scale", "inner_states/rest")
        if name.endswith("decoder_scale/bias"):
            arrays[former.replace("decoder_scale/bias", "decoder/u")] = 2 * array if "/mu/" in name else array
    np.savez(path, **arrays)
    record = json.loads((folder / "record.json").read_text())
    assert record.pop("decoder_scale_unit") == 2
    (folder / "record.json").write_text(json.dumps(record))
    folder.with_name(f"{folder.name}.sha256").write_text(checkpoint._checksums(folder))
    return own


def test_runs_of_an_earlier_version_go_on(scaled, tmp_path):
    """Bit for bit; lion has the momentum of logstd's u over 2, and had it over 1.

    As many as are in the pack above, whose program they have.
    """
    config = dataclasses.replace(scaled, decoder_param="logstd", **LION)
    whole = train_seeds(config, 3, runs=tmp_path / "whole")
    paths = cut(config, tmp_path / "cut", seeds=3, after=2)
    folders = [folder for path in paths for folder in (path / "checkpoint").iterdir() if folder.is_dir()]
    assert all(len(as_an_earlier_version_wrote_it(folder)) == 3 for folder in folders)
    for one, other in zip(train_seeds(config, 3, runs=tmp_path / "cut"), whole, strict=True):
        same(one, other)
