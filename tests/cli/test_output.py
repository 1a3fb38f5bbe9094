import csv
import io
import json
import math
from collections import Counter

import pytest

from vaecli.cli.output import csv_text, print_json, print_table, print_words, stdout_console

HEADER = ["head", "value"]
ROWS = [["logvar", "-103.21 ± 0.02"], ["my_heads:mine [a] :smile: 3.5", "1"]]


def test_json_reads_back_and_keeps_letters(capsys):
    value = {"note": "σ → 0", "values": [1, 0.1, None, True], "nested": {"a": []}}
    print_json(value)
    text = capsys.readouterr().out
    assert json.loads(text) == value
    assert "σ → 0" in text
    assert text.endswith("}\n")


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_json_that_is_none_is_refused(value):
    with pytest.raises(ValueError, match="JSON"):
        print_json([value])


def test_json_acts_on_no_terminal_and_holds_the_true_strings(capsys):
    value = {"\x9bpath": "a\u202eb\x7f\udcff\n漢\U000e0041"}
    print_json(value)
    text = capsys.readouterr().out
    assert json.loads(text) == value
    assert all(character.isprintable() or character == "\n" for character in text)
    assert "漢" in text


def test_json_is_whole_where_stdout_is_ascii(monkeypatch):
    stream = io.TextIOWrapper(io.BytesIO(), "ascii", errors="replace")
    monkeypatch.setattr("sys.stdout", stream)
    print_json(["σ"])
    stream.seek(0)
    assert json.loads(stream.read()) == ["σ"]


def test_a_text_in_csv_is_no_formula():
    text = csv_text(["name", "value"], [["=1+1", -1.5], ["@x", 2], ["a=b", None], ["a\x1b\nb\udcff", 0]])
    assert text == "name,value\n'=1+1,-1.5\n'@x,2\na=b,\n" + r"a\x1b\nb\udcff,0" + "\n"


def test_a_table_acts_on_no_terminal(capsys):
    console = stdout_console()
    print_table(console, ["a\x1b"], [["b\x1b[31m\n"]])
    print_words(console, "c\x07")
    assert r"a\x1b" in (text := capsys.readouterr().out)
    assert r"b\x1b[31m\n" in text
    assert r"c\x07" in text


@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_csv_reads_back(line_end):
    rows = [["a,b", 1, None], ['say "x"', 0.1, True]]
    text = csv_text(["name", "value", "other"], rows, line_end=line_end)
    assert text.count(line_end) == 3
    read = list(csv.DictReader(io.StringIO(text, newline="")))
    assert read == [
        {"name": "a,b", "value": "1", "other": ""},
        {"name": 'say "x"', "value": "0.1", "other": "True"},
    ]


def test_a_row_of_a_table_is_one_line_where_stdout_is_no_terminal(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "30")
    print_table(stdout_console(), HEADER, ROWS, left=["head"])
    lines = capsys.readouterr().out.splitlines()
    for row in ROWS:
        (line,) = [line for line in lines if row[0] in line]
        assert row[1] in line
        assert "\x1b" not in line


@pytest.mark.parametrize("unbroken", [[], ["value"]])
def test_a_narrow_table_loses_nothing(capsys, unbroken):
    console = stdout_console()
    console.width = 24
    print_table(console, HEADER, ROWS, left=["head"], unbroken=unbroken)
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= 24
    assert "…" not in text
    assert Counter("".join(map("".join, [HEADER, *ROWS]))) - Counter(text) <= Counter({" ": 5})
    assert ("-103.21 ± 0.02" in text) == bool(unbroken)


def test_numbers_are_flush_right_and_texts_flush_left(capsys):
    print_table(stdout_console(), HEADER, [["a", "1"], ["bb", "22"]], left=["head"])
    rows = [line for line in capsys.readouterr().out.splitlines() if "1" in line or "22" in line]
    assert rows[0].index("a") == rows[1].index("bb")
    assert len(rows[0].rstrip()) == len(rows[1].rstrip())
