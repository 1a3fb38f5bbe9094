"""`vae docs`."""

import os
import re
from pathlib import Path

import pytest

from vaecli.cli import output
from vaecli.cli.commands import docs
from vaecli.cli.main import main

PAGES = sorted((Path(__file__).parents[3] / "docs").glob("*.md"))


def test_the_pages_are_listed_with_their_titles(capsys):
    assert main(["docs"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[:-2]] == [path.stem for path in PAGES]
    assert all(re.fullmatch(r"  \S+ +\S.{10,}", line) and len(line) <= 80 for line in lines[:-2])


@pytest.mark.parametrize("topic", ["runs", "runs.md", "docs/runs.md", "RUNS"])
def test_in_a_pipe_a_page_is_what_is_written(capsys, topic):
    assert main(["docs", topic]) == 0
    assert capsys.readouterr().out == (PAGES[0].parent / "runs.md").read_text()


# Of each page the narrowest, into which the least fits, and of one all of them.
@pytest.mark.parametrize(
    ("path", "columns"),
    [
        pytest.param(
            path,
            columns,
            id=f"{path.stem}-{columns}",
            marks=() if columns == 60 or path.stem == "runs" else pytest.mark.long,
        )
        for path in PAGES
        for columns in (60, 80, 120)
    ],
)
def test_on_a_terminal_a_page_is_wrapped(path, columns):
    text = output.plain(path.read_text(), columns)
    assert max(map(len, text.splitlines())) <= columns + 5  # Some characters take no column.
    assert "\x1b" not in text
    assert len(re.findall(r"\w+", text)) > 0.5 * len(re.findall(r"\w+", path.read_text()))


@pytest.mark.parametrize(("lines", "paged"), [(24, True), (10_000, False)])
def test_what_does_not_fit_a_terminal_goes_through_a_pager(capsys, monkeypatch, lines, paged):
    monkeypatch.setattr(docs.sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(docs.shutil, "get_terminal_size", lambda: os.terminal_size((80, lines)))
    pages = []
    monkeypatch.setattr(docs.pydoc, "pager", pages.append)
    docs._show("# A title\n\n" + "word " * 1000)
    printed = "".join(pages) if paged else capsys.readouterr().out
    assert bool(pages) is paged
    assert printed.split() == ["A", "title", *["word"] * 1000]
    assert max(map(len, printed.splitlines())) <= 80
