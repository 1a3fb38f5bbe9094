"""What the variants of a comparison logged over their epochs, for its figures."""

import dataclasses
import math
from collections.abc import Collection, Iterator, Mapping

import numpy as np

from vaecli.config import UsageError
from vaecli.report.figures.style import shown
from vaecli.report.model import Comparison, StudyComparison, TrainedVariant, Variant, VariantResult
from vaecli.report.statistics import TTest, difference_test


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """What the runs of a variant logged under one tag.

    Attributes:
      seeds: the seeds of the runs.
      epochs: (epochs,), rising, those at which any of the runs logged it.
      values: (seeds, epochs), NaN where a run did not.
    """

    seeds: tuple[int, ...]
    epochs: np.ndarray
    values: np.ndarray

    def at(self, epoch: float) -> dict[int, float]:
        """Returns by seed what was logged at an epoch."""
        values = self.values[:, self.epochs == epoch].flat
        return {seed: float(value) for seed, value in zip(self.seeds, values, strict=False) if not math.isnan(value)}


NOTHING = Curve((), np.zeros(0), np.zeros((0, 0)))

Curves = Mapping[str, Mapping[str, Curve]]
"""For each variant, by its label, the curves by tag."""


def curve(curves: Curves, label: str | None, tag: str) -> Curve:
    """Returns what a variant logged under a tag; `NOTHING` where it did not, or there is no such variant."""
    return curves.get(label, {}).get(tag, NOTHING) if label is not None else NOTHING


def differences_by_epoch(
    comparison: Comparison, curves: Curves, result: VariantResult
) -> Iterator[tuple[float, TTest]]:
    """Yields each epoch at which a variant logged the metric, with the test of its difference from its reference."""
    own, reference = (curve(curves, label, comparison.metric) for label in (result.label, result.reference))
    for epoch in own.epochs:
        yield (
            float(epoch),
            difference_test(
                own.at(epoch),
                reference.at(epoch),
                paired=result.difference is None or result.difference.paired,
                margin=comparison.margin,
                alpha=comparison.alpha,
            ),
        )


def logged_curves(comparison: Comparison) -> tuple[Curves, list[str]]:
    """Reads the logs of the variants that the figures show, and of their references.

    Returns:
      The curves, and a warning for each log that cannot be read.
    """
    labels = {result.label for result in shown(comparison.results)}
    curves, warnings = {}, []
    for variant in comparison.variants:
        if variant.name in labels:
            curves[variant.name], damaged = _curves(variant, comparison.metric)
            warnings += damaged
    return curves, warnings


def study_curves(study: StudyComparison) -> tuple[Mapping[str, Curves], list[str]]:
    """Reads what all variants of a study logged of its metric.

    Returns:
      The curves by condition, and a warning for each log that cannot be read.
    """
    curves: dict[str, Curves] = {}
    warnings = []
    for one in study.conditions:
        read = {variant.name: curves_of(variant, [study.metric]) for variant in one.comparison.variants}
        curves[one.name] = {name: of_variant for name, (of_variant, _) in read.items()}
        warnings += [warning for _, damaged in read.values() for warning in damaged]
    return curves, warnings


def _curves(variant: Variant, metric: str) -> tuple[Mapping[str, Curve], list[str]]:
    blocks = (
        tag
        for run in (variant.runs.values() if isinstance(variant, TrainedVariant) else ())
        for tag in run.tags
        if tag.count("/") == 2 and tag.startswith(("grad/snr/", "grad/variance/"))
    )
    return curves_of(variant, dict.fromkeys((metric, "test/elbo", "test/kl", *blocks)))


def curves_of(variant: Variant, tags: Collection[str]) -> tuple[Mapping[str, Curve], list[str]]:
    """Reads the logs of a variant.

    Returns:
      The curves by tag, without those that no run logged, and a warning for each log that cannot be read.
    """
    logs, warnings = {}, []
    for seed, run in variant.runs.items():
        try:
            logs[seed] = run.curves(tags)
        except UsageError as error:
            warnings.append(f"{error}; its curves are left out")
    curves = {}
    for tag in tags:
        epochs = sorted({epoch for log in logs.values() for epoch in log[tag]})
        if epochs:
            values = [[log[tag].get(epoch, math.nan) for epoch in epochs] for log in logs.values()]
            curves[tag] = Curve(tuple(logs), np.array(epochs, float), np.array(values))
    return curves, warnings
