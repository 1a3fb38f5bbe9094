"""The bands of TensorBoard, against SciPy's intervals and read back by TensorBoard."""

import json
import math

import numpy as np
import pytest
from helpers import outcomes
from scipy import stats
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.custom_scalar import layout_pb2

from vaecli.report.bands import bands, event_files
from vaecli.report.compare import compare
from vaecli.report.model import Question
from vaecli.runs.logdir import write_logdir

RNG = np.random.default_rng(5)
EPOCHS = 3
ELBOS = {head: RNG.normal(-100, 3, (4, EPOCHS + 1)) for head in ("logvar", "abs_std")}


def point(epoch, elbo, **others):
    return {"step": 10 * epoch, "epoch": epoch, "test/elbo": elbo, "test/kl": 25.0, "grad/unit_snr": 0.2, **others}


def write(runs, head, seed, elbos, **settings):
    log = [point(epoch, elbo) for epoch, elbo in enumerate(elbos)]
    return outcomes.write(runs, elbos[-1], log=log, param=head, seed=seed, epochs=EPOCHS, **settings)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two heads of four seeds, of which one is not trained under the second head."""
    runs = tmp_path_factory.mktemp("runs")
    for head, seeds in ELBOS.items():
        for seed, elbos in enumerate(seeds):
            if (head, seed) != ("abs_std", 3):
                write(runs, head, seed, list(elbos))
    return runs


def made(runs, **question):
    return bands(compare([runs], Question(**question)))


@pytest.mark.parametrize("alpha", [0.05, 0.2])
def test_means_and_intervals_are_students(runs, alpha):
    of_heads, warnings = made(runs, alpha=alpha)
    assert not warnings
    for head, seeds in (("logvar", 4), ("abs_std", 3)):
        points = of_heads[head]["test/elbo"]
        assert [one.step for one in points] == [10, 20, 30], "without epoch 0"
        for one, values in zip(points, ELBOS[head][:seeds, 1:].T, strict=True):
            low, high = stats.t.interval(1 - alpha, seeds - 1, np.mean(values), stats.sem(values))
            assert one[1:] == pytest.approx((np.mean(values), low, high), rel=1e-12)
    differences = ELBOS["abs_std"][:3, 1:] - ELBOS["logvar"][:3, 1:]
    for one, values in zip(of_heads["abs_std"]["difference"], differences.T, strict=True):
        test = stats.ttest_1samp(values, 0).confidence_interval(1 - alpha)
        assert one[1:] == pytest.approx((np.mean(values), test.low, test.high), rel=1e-12)
    assert of_heads["logvar"]["difference"] == []


def test_the_last_point_is_the_table(runs):
    comparison = compare([runs], Question())
    of_heads, _ = bands(comparison)
    result = next(one for one in comparison.results if one.label == "abs_std")
    assert of_heads["abs_std"]["test/elbo"][-1].mean == pytest.approx(result.mean, rel=1e-12)
    difference = result.difference
    assert of_heads["abs_std"]["difference"][-1][1:] == pytest.approx(
        (difference.mean, difference.low, difference.high)
    )


def test_one_seed_has_a_line_and_no_interval(tmp_path):
    write(tmp_path, "logvar", 0, [-500.0, -101.0, -100.5, -100.0])
    write(tmp_path, "abs_std", 0, [-500.0, -104.0, -102.0, -101.0])
    of_heads, warnings = made(tmp_path)
    assert not warnings
    for points in (of_heads["abs_std"]["test/elbo"], of_heads["abs_std"]["difference"]):
        assert all(one.mean == one.low == one.high for one in points)
    assert [one.mean for one in of_heads["abs_std"]["difference"]] == [-3.0, -1.5, -1.0]


def test_runs_that_diverge_count_while_they_last(tmp_path):
    """A log point at which a run has nothing, or nothing finite, is one without it; the last is that of survivors."""
    for head, seeds in ELBOS.items():
        for seed in (0, 1):
            write(tmp_path, head, seed, list(seeds[seed]))
    early = [point(epoch, elbo) for epoch, elbo in enumerate((-500.0, -150.0, math.nan))]
    log = [{tag: None if value != value else value for tag, value in line.items()} for line in early]
    outcomes.write(tmp_path, None, status="diverged", log=log, param="abs_std", seed=2, epochs=EPOCHS)
    late = [point(epoch, -140.0) for epoch in range(EPOCHS + 1)]
    outcomes.write(tmp_path, -140.0, status="diverged", log=late, param="abs_std", seed=3, epochs=EPOCHS)
    of_heads, _ = made(tmp_path)
    alive = [[*ELBOS["abs_std"][:2, 1], -150, -140], [*ELBOS["abs_std"][:2, 2], -140], ELBOS["abs_std"][:2, 3]]
    means = [one.mean for one in of_heads["abs_std"]["test/elbo"]]
    assert means == pytest.approx([np.mean(values) for values in alive])


def test_a_variant_of_which_nothing_is_left(tmp_path):
    for seed in (0, 1):
        write(tmp_path, "logvar", seed, list(ELBOS["logvar"][seed]))
        outcomes.write(tmp_path, None, status="diverged", param="abs_std", seed=seed, epochs=EPOCHS)
    comparison = compare([tmp_path], Question())
    of_heads, warnings = bands(comparison)
    assert of_heads["abs_std"]["test/elbo"] == []
    assert warnings == ["no log has test/elbo over the epochs, so that its difference has no band"]
    assert set(event_files(comparison, of_heads, 0.0)) == {"logvar", "abs_std"}


def test_a_log_that_is_damaged_is_left_out(tmp_path):
    for head, seeds in ELBOS.items():
        for seed in (0, 1):
            path = write(tmp_path, head, seed, list(seeds[seed]))
    (path / "metrics.jsonl").write_text("{\n")
    of_heads, (warning,) = made(tmp_path)
    assert warning == f"{path / 'metrics.jsonl'}: is damaged; its curves are left out"
    assert [one.mean for one in of_heads["abs_std"]["test/elbo"]] == list(ELBOS["abs_std"][0, 1:])


def test_numbers_that_float32_cannot_hold_are_left_out(tmp_path):
    for head in ELBOS:
        for seed, huge in enumerate((-3e38, -1e38)):
            write(tmp_path, head, seed, [-500.0, huge, -100.0, -100.0])
    assert [one.step for one in made(tmp_path)[0]["logvar"]["test/elbo"]] == [20, 30]


def test_another_metric_and_other_steps(tmp_path):
    """The chart of a metric of one's own; a batch size has steps of its own, and is compared epoch by epoch."""
    for batch_size, steps in ((128, 10), (64, 20)):
        for seed in (0, 1):
            log = [
                {"step": steps * epoch, "epoch": epoch, "safety/saturated": epoch * steps + seed} for epoch in range(3)
            ]
            metrics = {"safety/saturated": 2 * steps + seed}
            outcomes.write(
                tmp_path, -100.0, ["batch_size"], log=log, metrics=metrics, seed=seed, epochs=2, batch_size=batch_size
            )
    question = {"metric": "safety/saturated", "margin": 0.1, "reference": "batch_size=128"}
    of_variants, warnings = made(tmp_path, **question)
    assert not warnings
    difference = of_variants["logvar,batch_size=64"]["difference"]
    assert [(one.step, one.mean) for one in difference] == [(20, 10.0), (40, 20.0)]
    assert of_variants["logvar,batch_size=64"]["test/elbo"] == []


def test_no_more_points_than_tensorboard_shows(tmp_path):
    epochs = 2000
    for head in ELBOS:
        log = [point(epoch, -100.0 - epoch) for epoch in range(epochs + 1)]
        outcomes.write(tmp_path, -100.0 - epochs, log=log, param=head, epochs=epochs)
    points = made(tmp_path)[0]["logvar"]["test/elbo"]
    assert len(points) == 500
    assert (points[0].step, points[-1].step) == (10, 10 * epochs)


def test_tensorboard_reads_them(runs, tmp_path):
    comparison = compare([runs], Question(margin=0.75))
    of_heads, _ = bands(comparison)
    write_logdir("--tensorboard", tmp_path / "bands", event_files(comparison, of_heads, 1e9))
    assert sorted(path.name for path in (tmp_path / "bands").iterdir()) == ["abs_std", "logvar", "margin=0.75"]
    read = {path.name: EventAccumulator(str(path)).Reload() for path in (tmp_path / "bands").iterdir()}
    for head, of_head in of_heads.items():
        for tag, points in of_head.items():
            for name, ends in ((tag, "mean"), (f"{tag}/low", "low"), (f"{tag}/high", "high")):
                if points:
                    values = [(event.step, event.value) for event in read[head].Scalars(name)]
                    assert values == [(one.step, pytest.approx(getattr(one, ends), rel=1e-6)) for one in points]
    margin = read["margin=0.75"]
    assert margin.Tags()["scalars"] == ["difference", "difference/low", "difference/high"]
    ends = [[(event.step, event.value) for event in margin.Scalars(f"difference/{end}")] for end in ("low", "high")]
    assert ends == [[(10, -0.75), (30, -0.75)], [(10, 0.75), (30, 0.75)]]
    layouts = {
        layout_pb2.Layout.FromString(
            one.Tensors("custom_scalars__config__")[0].tensor_proto.string_val[0]
        ).SerializeToString()
        for one in read.values()
    }
    (category,) = layout_pb2.Layout.FromString(*layouts).category
    assert category.title == "Mean over the seeds, and its 95 % interval"
    assert [chart.margin.series[0].value for chart in category.chart] == [
        "difference", "grad/unit_snr", "test/kl", "test/elbo"
    ]  # fmt: skip
    # The colours are given out in this order: the reference comes first, and the margin last.
    assert sorted(read, key=lambda name: read[name].FirstEventTimestamp()) == ["logvar", "abs_std", "margin=0.75"]
    words = read["abs_std"].Tensors("verdict/text_summary")[0].tensor_proto.string_val[0].decode()
    assert next(one.sentence for one in comparison.results if one.label == "abs_std") in words


def test_names_that_a_folder_cannot_have(tmp_path):
    """Labels that differ in nothing but what a folder cannot have, or only at their ends, have folders of their own."""
    for param in ("logvar", "a:b", "a.b:c", "a:b.c"):
        outcomes.write(tmp_path / "runs" / param.replace(":", "-"), -100.0, param=param)
    comparison = compare([tmp_path / "runs"], Question())
    files = event_files(comparison, bands(comparison)[0], 0.0)
    assert sorted(files) == ["a.b", "a.b.c", "a.b.c~2", "logvar"]


def test_only_the_shell_writes_them(runs, tmp_path, capsys):
    from vaecli.cli.main import main

    assert main(["compare", str(runs), "--tensorboard", str(tmp_path / "out/bands"), "--json"]) == 0
    streams = capsys.readouterr()
    assert json.loads(streams.out)["margin"] == 0.5
    assert streams.err.splitlines()[-2:] == [
        f"tensorboard --logdir {tmp_path / 'out/bands'}",
        "http://localhost:6006/#custom_scalars",
    ]
    for folder in (runs, runs / "mnist/logvar/seed0/new", tmp_path / "out"):
        before = sorted(tmp_path.rglob("*"))
        assert main(["compare", str(runs), "--tensorboard", str(folder)]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("vae: --tensorboard: ")
        assert sorted(tmp_path.rglob("*")) == before
