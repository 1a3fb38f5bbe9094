"""`vae docs [TOPIC]`: the pages of the documentation, which ship with the package."""

import dataclasses
import pydoc
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import tyro

from vaecli.cli import help, output
from vaecli.cli.command import Command, Example, Invocation
from vaecli.cli.exit_codes import ExitCode
from vaecli.config import UsageError
from vaecli.config.files import shipped
from vaecli.config.validators import nearest
from vaecli.training.terminal import print_lines, print_result


@dataclasses.dataclass(frozen=True)
class DocsOptions:
    """Which page is shown."""

    topic: Annotated[
        tyro.conf.Positional[str],
        tyro.conf.arg(metavar="[TOPIC]", help="The name of a page.", help_behavior_hint="(default: the list of them)"),
    ] = ""


def run(options: DocsOptions, invocation: Invocation) -> int:
    """Shows a page, or lists all of them."""
    pages = topics()
    if not options.topic:
        for topic, path in pages.items():
            print_lines("\n".join(help.list_item(topic, _title(path), column=16)))
        print_result()
        print_result("'vae docs TOPIC' shows a page.")
        return ExitCode.DONE
    topic = Path(options.topic.lower()).name.removesuffix(".md")
    if topic not in pages:
        guess = nearest(topic, pages)
        rest = "'vae docs' lists the topics" if guess else f"topics: {', '.join(pages)}"
        raise UsageError(f"unknown topic {options.topic!r}{guess} ({rest})")
    _show(pages[topic].read_text(encoding="utf-8"))
    return ExitCode.DONE


def topics() -> Mapping[str, Path]:
    """Returns the pages by their names."""
    return {path.stem: path for path in sorted(shipped("docs").glob("*.md"))}


def _title(path: Path) -> str:
    with path.open(encoding="utf-8") as file:
        return file.readline().lstrip("# ").rstrip().replace("`", "'")


def _show(page: str) -> None:
    """Prints a page: on a terminal wrapped, and through a pager where it does not fit; otherwise as it was written."""
    if not sys.stdout.isatty():
        print_lines(page)
        return
    columns, lines = shutil.get_terminal_size()
    text = output.plain(page, columns)
    if text.count("\n") < lines:
        print_lines(text)
    else:
        pydoc.pager(text)


COMMAND = Command(
    summary="Show a page of the documentation.",
    description="Show a page of the documentation, or list the pages. On a terminal a page is wrapped, and a pager "
    "($PAGER) shows what does not fit; in a pipe or a file it is Markdown.",
    options=DocsOptions,
    run=run,
    examples=[
        Example("vae docs", "which pages there are"),
        Example("vae docs statistics", "what a verdict means"),
    ],
)
