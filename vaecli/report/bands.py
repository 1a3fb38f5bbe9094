"""The bands of TensorBoard: for each variant the mean over its seeds and the interval of that mean, over training.

Each variant is a run of TensorBoard, and so has one colour. Charts with margins show the band between two scalars.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from vaecli.config.naming import label_folder
from vaecli.report.curves import Curve, Curves, curve, curves_of, differences_by_epoch
from vaecli.report.formatting import number, seed_list, unit
from vaecli.report.model import Comparison, Variant, VariantResult
from vaecli.report.statistics import TTest, paired_t_test
from vaecli.runs import tensorboard
from vaecli.runs.tensorboard import Layout, Margin

ELBO, KL, SNR = "test/elbo", "test/kl", "grad/unit_snr"

_DIFFERENCE, _STEP = "difference", "step"

# TensorBoard shows a thousand points of a scalar, chosen at random beyond that.
_MOST_POINTS = 500
_FLOAT32 = 3.4e38


class BandPoint(NamedTuple):
    """A mean over seeds at a step of training, and the ends of its interval; with one seed, both are the mean."""

    step: int
    mean: float
    low: float
    high: float


Bands = Mapping[str, Sequence[BandPoint]]
"""What the run of a variant shows, by tag."""


def bands(comparison: Comparison) -> tuple[Mapping[str, Bands], list[str]]:
    """Returns the bands of each variant by its label, and what a person should know of them.

    At a log point, all runs count that have a finite value there; at the last one only those that survived, as in the
    table. A difference is that of the runs with the same seed, or of all runs where none share a seed. Epoch 0 is left
    out: it is the same for every head that starts alike, and so far from the others that nothing could be told apart
    beside it.
    """
    tags = dict.fromkeys((_STEP, ELBO, KL, SNR, comparison.metric))
    curves: dict[str, Mapping[str, Curve]] = {}
    warnings = []
    for variant in comparison.variants:
        read, unreadable = curves_of(variant, tags)
        first = -np.inf if comparison.of_logs else 1
        curves[variant.name] = {tag: _counted(variant, one, first) for tag, one in read.items()}
        warnings += unreadable
    results = {result.label: result for result in comparison.results}
    made: dict[str, dict[str, Sequence[BandPoint]]] = {}
    for label, result in results.items():
        steps = curve(curves, label, _STEP)
        made[label] = {
            tag: _thinned(_means(steps, curve(curves, label, tag), comparison.alpha))
            for tag in (ELBO, KL, SNR, comparison.metric)
        }
        made[label][_DIFFERENCE] = _thinned(_differences(comparison, curves, result))
    if not any(of_variant[_DIFFERENCE] for of_variant in made.values()):
        warnings.append(f"no log has {comparison.metric} over the epochs, so that its difference has no band")
    return made, warnings


def event_files(comparison: Comparison, made: Mapping[str, Bands], now: float) -> Mapping[str, bytes]:
    """Returns the contents of the event files, by the names of the folders that they belong into.

    Args:
      comparison: what is compared.
      made: the bands of each variant.
      now: the time at which they are said to be written, in seconds since 1970.
    """
    layout = _layout(comparison, made)
    # TensorBoard gives out its colours in the order of the runs' first times.
    times = [now + 0.001 * index for index in range(len(comparison.results) + 1)]
    contents = {
        result.label: _event_file(layout, made[result.label], _words(result), time)
        for result, time in zip(comparison.results, times, strict=False)
    }
    ends = {point.step for of_variant in made.values() for point in of_variant[_DIFFERENCE]}
    if ends:
        within = [BandPoint(step, 0.0, -comparison.margin, comparison.margin) for step in (min(ends), max(ends))]
        words = f"A difference of {comparison.metric} within {_margin(comparison)} does not matter."
        contents[f"margin={comparison.margin:g}"] = _event_file(layout, {_DIFFERENCE: within}, words, times[-1])
    return _in_folders(contents)


def _counted(variant: Variant, one: Curve, first: float) -> Curve:
    """Returns a curve from an epoch on, without the last log point of runs that diverged there."""
    diverged = [variant.runs[seed].status != "complete" for seed in one.seeds]
    at_end = one.epochs == max(run.end for run in variant.runs.values())
    values = np.where(np.outer(diverged, at_end), np.nan, one.values)
    return Curve(one.seeds, one.epochs[one.epochs >= first], values[:, one.epochs >= first])


def _means(steps: Curve, values: Curve, alpha: float) -> Iterator[BandPoint]:
    """Yields the mean over the seeds at each log point, with Student's interval."""
    for epoch in values.epochs:
        known = list(values.at(epoch).values())
        # The interval of one mean is that of the differences from 0.
        yield from _point(steps, epoch, paired_t_test(known, [0.0] * len(known), margin=1.0, alpha=alpha))


def _differences(comparison: Comparison, curves: Curves, result: VariantResult) -> Iterator[BandPoint]:
    """Yields the mean difference of a variant from its reference at each log point that both have."""
    steps = curve(curves, result.label, _STEP)
    for epoch, test in differences_by_epoch(comparison, curves, result):
        yield from _point(steps, epoch, test)


def _point(steps: Curve, epoch: float, test: TTest) -> Iterator[BandPoint]:
    """Yields a point, where there is any seed and float32 can hold the numbers."""
    if test.mean is None or not (at := steps.at(epoch)):
        return
    low, high = (test.mean if end is None else end for end in (test.low, test.high))
    if -_FLOAT32 < low <= high < _FLOAT32:
        yield BandPoint(int(max(at.values())), test.mean, low, high)


def _thinned(points: Iterator[BandPoint]) -> Sequence[BandPoint]:
    """Returns as many points as TensorBoard shows for certain, the first and the last among them."""
    known = list(points)
    kept = np.linspace(0, len(known) - 1, min(len(known), _MOST_POINTS)).round().astype(int)
    return [known[index] for index in kept]


def _layout(comparison: Comparison, made: Mapping[str, Bands]) -> Layout:
    """Returns the charts: the quantities that there are, and the difference."""
    percent = f"{100 * (1 - comparison.alpha):g} %"
    references = {result.reference for result in comparison.results if result.reference}
    apart_from = next(iter(references)) if len(references) == 1 else "the reference"
    tags = [tag for tag in dict.fromkeys((ELBO, KL, SNR, comparison.metric)) if _any(made, tag)]
    units = {tag: "" if comparison.of_logs else unit(tag) for tag in tags}
    charts = {f"{tag} ({units[tag]})" if units[tag] else tag: _margin_chart(tag) for tag in tags}
    if _any(made, _DIFFERENCE):
        title = f"{comparison.metric}: difference from {apart_from}, margin {_margin(comparison)}"
        charts[title] = _margin_chart(_DIFFERENCE)
    # TensorBoard shows the charts with margins of a category from the last to the first.
    return {f"Mean over the seeds, and its {percent} interval": dict(reversed(charts.items()))}


def _any(made: Mapping[str, Bands], tag: str) -> bool:
    return any(of_variant[tag] for of_variant in made.values())


def _margin(comparison: Comparison) -> str:
    return f"±{comparison.margin:g}{f' {comparison.unit}' if comparison.unit else ''}"


def _margin_chart(tag: str) -> Margin:
    return Margin(tag, f"{tag}/low", f"{tag}/high")


def _words(result: VariantResult) -> str:
    """Returns what a person reads of a variant."""
    level = f"; {number(result.mean, 2)} on average" if result.mean is not None else ""
    return f"{result.sentence}\n\n{result.survived} of {result.runs} runs survived ({seed_list(result.seeds)}){level}"


def _event_file(layout: Layout, of_variant: Bands, words: str, wall_time: float) -> bytes:
    contents = [(0, tensorboard.custom_scalars(layout)), (0, tensorboard.text("verdict", words))]
    for tag, points in of_variant.items():
        for step, *values in points:
            contents += [
                (step, tensorboard.scalar(name, value)) for name, value in zip(_margin_chart(tag), values, strict=True)
            ]
    records = (tensorboard.record(wall_time, step, content) for step, content in contents)
    return b"".join([tensorboard.first_record(wall_time), *records])


def _in_folders(contents: Mapping[str, bytes]) -> Mapping[str, bytes]:
    """Returns contents by the names of folders, which differ though labels be alike or long."""
    folders: dict[str, bytes] = {}
    for label, content in contents.items():
        # A series is called `tag (run)`; TensorBoard reads the run out of that.
        name = label_folder(label)[:180]
        again = sum(other == name or other.startswith(f"{name}~") for other in folders)
        folders[f"{name}~{again + 1}" if again else name] = content
    return folders
