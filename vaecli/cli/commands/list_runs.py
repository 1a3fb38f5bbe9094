"""`vae list [RUNS …]`: which runs there are, and how far each is."""

import collections
import dataclasses
import itertools
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from vaecli.cli import output
from vaecli.cli.command import Command, Example, Invocation
from vaecli.cli.exit_codes import ExitCode
from vaecli.cli.options import JsonSwitch, named_path
from vaecli.config import SETTINGS, Config
from vaecli.config.naming import sort_key, text
from vaecli.training.terminal import print_result

if TYPE_CHECKING:
    from vaecli.runs.listing import ListedRun

_DEFAULT = Path("runs")
# What the columns of head and seed, or the place of a run, say.
_NOT_SETTINGS = {"param", "seed", "name"}


@dataclasses.dataclass(frozen=True)
class ListOptions:
    """Which runs are listed, and how."""

    dirs: Annotated[
        tyro.conf.Positional[tuple[str, ...]],
        tyro.conf.arg(
            metavar="[RUNS …]",
            help="Folders with run directories somewhere in them.",
            help_behavior_hint="(default: runs)",
        ),
    ] = ()
    json: JsonSwitch = False


def run(options: ListOptions, invocation: Invocation) -> int:
    """Lists the runs, and what cannot be read."""
    folders = [named_path("RUNS", word) for word in options.dirs] or [_DEFAULT]
    runs = []
    if options.dirs or _DEFAULT.exists():
        from vaecli.runs.listing import list_runs

        runs = list_runs(folders)
    by_folder: dict[Path, list[ListedRun]] = {}
    for listed in runs:
        by_folder.setdefault(listed.path.parent.parent, []).append(listed)
    settings = {folder: _settings(inside) for folder, inside in by_folder.items()}
    ordered = {folder: _ordered(by_folder[folder], settings[folder]) for folder in sorted(by_folder)}
    if options.json:
        output.print_json([_row(listed, settings[folder]) for folder in ordered for listed in ordered[folder]])
    elif not runs:
        print_result(f"no runs in {', '.join(map(str, folders))}; 'vae train' makes one")
    else:
        _print(ordered, settings)
    return ExitCode.DONE


def _settings(runs: "Sequence[ListedRun]") -> Sequence[str]:
    """Returns the settings in which some runs differ, apart from head and seed."""
    configs = list({id(listed.config): listed.config for listed in runs if listed.config}.values())
    names = [name for name in SETTINGS if name not in _NOT_SETTINGS]
    return [name for name in names if len({getattr(config, name) for config in configs}) > 1]


def _ordered(runs: "Iterable[ListedRun]", settings: Sequence[str]) -> "list[ListedRun]":
    """Orders runs by head, settings and seed; those that cannot be read come last."""

    def key(listed: "ListedRun") -> tuple[Any, ...]:
        values = [sort_key(getattr(listed.config, name)) for name in ("param", *settings) if listed.config]
        return listed.config is None, values, listed.seed, listed.path

    return sorted(runs, key=key)


def _row(listed: "ListedRun", settings: Sequence[str]) -> dict[str, Any]:
    """Returns what `--json` prints of a run."""
    config = listed.config
    return {
        "path": str(listed.path),
        "name": config and config.name,
        "head": config and config.param,
        "setting": config and {name: getattr(config, name) for name in settings},
        "seed": listed.seed if config else None,
        "status": listed.status,
        "why": listed.why,
        "epochs": listed.epochs,
        "of_epochs": config and config.epochs,
        "test/elbo": listed.elbo,
        "changed": listed.changed and datetime.fromtimestamp(listed.changed, UTC).isoformat(timespec="seconds"),
        "process": listed.process,
    }


def _print(ordered: "Mapping[Path, Sequence[ListedRun]]", settings: Mapping[Path, Sequence[str]]) -> None:
    """Prints a table for each folder of runs, what is wrong with those that cannot be read, and how many there are."""
    from vaecli.report.formatting import count, number

    now = time.time()
    every = list(itertools.chain.from_iterable(ordered.values()))
    for folder, runs in ordered.items():
        rows = [
            [
                listed.config.param,
                str(listed.seed),
                listed.status,
                f"{listed.epochs}/{listed.config.epochs}",
                number(listed.elbo),
                _age(listed.changed, now),
                _in_words(listed.config, settings[folder]),
            ]
            for listed in runs
            if listed.config
        ]
        if rows:
            print_result(f"{folder}:")
            for line in _table(["head", "seed", "status", "epochs", "test ELBO", "age", "setting"], rows):
                print_result(line)
            print_result()
    for listed in every:
        if listed.status == "unreadable":
            print_result(f"unreadable: {listed.why}")
    statuses = collections.Counter(listed.status for listed in every)
    in_words = ", ".join(f"{number_of} {status}" for status, number_of in statuses.most_common())
    print_result(f"{count(len(every), 'run')}: {in_words}")


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Yields the lines of a table; those of rich take a second for a thousand rows, and there may be many more.

    The settings are the last column, since they may be long; where no row has any, it is left out.
    """
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    for row in [header, *rows] if any(row[-1] for row in rows) else [row[:-1] for row in (header, *rows)]:
        cells = [
            cell.ljust(width) if name in ("head", "status", "setting") else cell.rjust(width)
            for name, cell, width in zip(header, row, widths, strict=False)
        ]
        yield f"  {'  '.join(cells)}".rstrip()


def _in_words(config: Config, settings: Sequence[str]) -> str:
    """Returns settings with their values; most runs are no pilots and not perturbed, and need not say so."""
    values = {name: getattr(config, name) for name in settings}
    shown = {name: value for name, value in values.items() if value or name not in ("pilot", "perturb")}
    return " ".join(f"{name}={text(value)}" for name, value in shown.items())


def _age(changed: float | None, now: float) -> str:
    """Returns how long ago something was, in its largest unit."""
    if changed is None:
        return "–"
    seconds = max(0, int(now - changed))
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"


COMMAND = Command(
    summary="List the runs: head, setting, status, ELBO, age.",
    description="List the runs below some folders: head, setting where it varies, status (done, running, stopped, "
    "diverged or unreadable), the last test ELBO in nats per image, and how long ago each was last written to.",
    options=ListOptions,
    run=run,
    examples=[
        Example("vae list", "all below runs"),
        Example("vae list runs/headline", "those of one name"),
        Example("vae list --json", "for a program"),
    ],
)
