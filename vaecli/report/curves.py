"""What the settings of a comparison logged over their epochs, for its figures."""

from collections.abc import Mapping
from typing import Any

from vaecli.config import UsageError
from vaecli.report.compare import Comparison
from vaecli.report.figures.style import shown
from vaecli.report.variants import Setting
from vaecli.runs.collection import read_curves

Curves = Mapping[str, Mapping[str, Mapping[str, Any]]]
"""For each setting and tag: `seeds`, `epochs`, and `values`, (seeds, epochs), None where there is none."""


def curves(comparison: Comparison) -> Curves:
    """Reads the logs of the settings that the figures show, and of their references; warns of those that it cannot."""
    labels = {row["label"] for row in shown(comparison.report)}
    return {
        setting.name: _curves(setting, comparison.report["metric"], comparison.report["warnings"])
        for setting in comparison.settings
        if setting.name in labels
    }


def _curves(setting: Setting, metric: str, warnings: list[str]) -> Mapping[str, Mapping[str, Any]]:
    blocks = (
        tag
        for run in setting.runs.values()
        for tag in run.tags
        if tag.count("/") == 2 and tag.startswith(("grad/snr/", "grad/variance/"))
    )
    tags = dict.fromkeys((metric, "test/elbo", "test/kl", *blocks))
    logged = {}
    for seed, run in setting.runs.items():
        try:
            logged[seed] = read_curves(run.path, tags)
        except UsageError as error:
            warnings.append(f"{error}; its curves are left out")
    found = {}
    for tag in tags:
        epochs = sorted({epoch for of_run in logged.values() for epoch in of_run[tag]})
        if epochs:
            values = [[of_run[tag].get(epoch) for epoch in epochs] for of_run in logged.values()]
            found[tag] = {"seeds": list(logged), "epochs": epochs, "values": values}
    return found
