"""The commands that train the runs of a comparison again, and those that train what it leaves open."""

import dataclasses
import shlex
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from vaecli.cli.flags import as_word, train_command
from vaecli.config import SETTINGS, Config
from vaecli.config.naming import flag
from vaecli.config.sequential import SequentialPlan
from vaecli.report.model import Comparison, TrainedVariant, VariantResult


def next_commands(comparison: Comparison, vary: Collection[str]) -> list[str]:
    """Returns the commands that train as many more seeds as would decide or settle what is open.

    Where each head is compared at its best learning rate there are none: pilots have to choose the rates of new seeds.

    Args:
      comparison: what came of the runs.
      vary: the settings that the directories name.
    """
    if comparison.at == "best-lr":
        return []
    variants = {variant.name: variant for variant in comparison.trained}
    missing: dict[str, set[int]] = defaultdict(set)
    for result in comparison.results:
        if result.more_seeds and (reference := variants.get(result.reference or "")):
            for variant, seeds in _missing(result, variants[result.label], reference, comparison.plan).items():
                missing[variant] |= seeds
    runs = {name: (variants[name], tuple(sorted(seeds))) for name, seeds in missing.items() if seeds}
    folders = {variant.results_folder for variant, _ in runs.values()}
    if len(runs) > 1 and not vary and len(folders) == 1 and (command := _sweep(list(runs.values()), folders.pop())):
        return [command]
    return [train_command(variant.config, seeds, vary, variant.results_folder) for variant, seeds in runs.values()]


def _missing(
    result: VariantResult, variant: TrainedVariant, reference: TrainedVariant, plan: SequentialPlan | None
) -> Mapping[str, set[int]]:
    """Returns which seeds a variant and its reference lack, first those that one of them has, by the name of either."""
    if plan and result.look:
        wanted = set(plan.seeds(result.look.next_seeds or 0))
    else:
        more, first = result.more_seeds or 0, max([*variant.runs, *reference.runs]) + 1
        wanted = {*result.unpaired[:more], *range(first, first + more - min(more, len(result.unpaired)))}
    return {one.name: wanted - one.runs.keys() for one in (reference, variant)}


def _sweep(runs: Sequence[tuple[TrainedVariant, Sequence[int]]], folder: Path) -> str | None:
    """Returns one `vae sweep` for runs that differ only in their heads; None where that wastes many of them.

    It trains as many seeds of each as the one that needs most.
    """
    config, *others = {dataclasses.replace(variant.config, param="logvar") for variant, _ in runs}
    first, most = runs[0][1][0], max(len(seeds) for _, seeds in runs)
    consecutive = all(list(seeds) == list(range(first, first + len(seeds))) for _, seeds in runs)
    if others or not consecutive or most * len(runs) > 1.2 * sum(len(seeds) for _, seeds in runs):
        return None
    words = ["vae", "sweep", "--param", *(variant.config.param for variant, _ in runs)]
    for name, setting in SETTINGS.items():
        value = getattr(config, name)
        if name != "seed" and value != setting.default:
            words += [flag(name), as_word(value)]
    words += ["--runs", str(folder)] if folder != Path("runs") else []
    return shlex.join([*words, "--seed", str(first), "--seeds", str(most)])


def named_fields(varies: Sequence[str]) -> list[str]:
    """Returns those of the fields that vary which the directories of runs name."""
    return [name for name in varies if name not in ("param", "name", "data_dir")]


def train_commands(variants: Sequence[TrainedVariant], varies: Sequence[str], runs: Path = Path("runs")) -> list[str]:
    """Returns the commands that train the runs again: for each variant its pilots, its runs and its twins.

    Args:
      variants: the variants.
      varies: the fields in which they differ.
      runs: the folder of all results.
    """
    varied = named_fields(varies)
    commands = []
    for variant in variants:
        seeds_of: dict[Config, list[int]] = {}
        for run in (*variant.pilots, *variant.runs.values(), *variant.twins.values()):
            seeds_of.setdefault(run.config, []).append(run.seed)
        commands += [train_command(config, sorted(seeds), varied, runs) for config, seeds in seeds_of.items()]
    return commands
