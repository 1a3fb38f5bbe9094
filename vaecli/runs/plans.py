"""The plan of looks in the folder of a sweep, which says by what its runs are compared."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from vaecli.config import UsageError
from vaecli.config.sequential import SequentialPlan, plan_from_toml
from vaecli.runs.files import read_regular, write_atomically

PLAN = "plan.toml"

_HEADER = """\
# When these runs are compared, and by what; written before the first of them. vae compare reads it ('vae docs
# sequential'). To change it would be to choose a test after looking.
"""


def read_plan(folder: Path) -> SequentialPlan | None:
    """Reads the plan in the folder of a sweep; returns None where there is none.

    Raises:
      UsageError: it cannot be read, or is no plan.
    """
    path = folder / PLAN
    try:
        return plan_from_toml(read_regular(path).decode())
    except FileNotFoundError:
        if path.is_symlink():
            raise UsageError(f"{path}: is a link to nothing") from None
        return None
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: is not a text file ({error.reason})") from error
    except UsageError as error:
        raise UsageError(f"{path}: is not a plan of looks ({error})") from error


def write_plan(folder: Path, plan: SequentialPlan) -> None:
    """Writes a plan into the folder of a sweep, which is made where it is not there.

    Raises:
      UsageError: it cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(folder / PLAN, _HEADER + plan.to_toml())
    except OSError as error:
        raise UsageError(f"{folder / PLAN}: cannot be written ({error.strerror})") from error


def plans_of_runs(paths: Iterable[Path]) -> Mapping[Path, SequentialPlan | None]:
    """Returns the folders that runs lie in, each with the plan of looks of its sweep, if it has one.

    Args:
      paths: the directories of the runs, each `FOLDER/VARIANT/seedN`.

    Raises:
      UsageError: a plan cannot be read.
    """
    # A variant may be a link to another disk, and a folder one to the sweep.
    variants = {path.parent for path in paths}
    linked = sorted({(variant.absolute().parent, variant.resolve().parent) for variant in variants})
    known = {folder: read_plan(folder) for both in linked for folder in both}
    folders = dict.fromkeys(path if known[path] and not known[real] else real for path, real in linked)
    return {folder: known[folder] for folder in folders}


def plan_of_runs(paths: Iterable[Path]) -> SequentialPlan | None:
    """Returns the plan of the sweep in whose folder some runs lie; None where there is none.

    Args:
      paths: the directories of the runs, each `FOLDER/VARIANT/seedN`.

    Raises:
      UsageError: they lie in several folders, and any of these has a plan.
    """
    plans = plans_of_runs(paths)
    planned = {folder: plan for folder, plan in plans.items() if plan}
    if not planned:
        return None
    folder, plan = next(iter(planned.items()))
    if len(plans) > 1:
        other = next(other for other in plans if other != folder)
        raise UsageError(
            f"{folder} has a plan of looks, which is not that of the runs in {other}; compare it by itself"
        )
    return plan


def plans_beside(folders: Iterable[Path]) -> Mapping[Path, SequentialPlan]:
    """Returns the plans of some folders, and those of the same study that lie beside them, by folder.

    Args:
      folders: those of conditions of one study.

    Raises:
      UsageError: a plan cannot be read.
    """
    plans = {folder: plan for folder in folders if (plan := read_plan(folder))}
    studies = {plan.study.name for plan in plans.values() if plan.study}
    for parent in dict.fromkeys(folder.parent for folder in plans):
        for folder in sorted(file.parent for file in parent.glob(f"*/{PLAN}")):
            if folder not in plans and (plan := read_plan(folder)) and plan.study and plan.study.name in studies:
                plans[folder] = plan
    return plans
