import pytest

from vaecli.config.texts import LONGEST, message, printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b]0;title\x07\x1b[31mred", r"\x1b]0;title\x07\x1b[31mred"),
        ("one\r\ntwo\u2028three", r"one\r\ntwo\u2028three"),
        ("\x9b31m\x7f\x00", r"\x9b31m\x7f\x00"),
        ("\u202eright to left\u2066\u200f", r"\u202eright to left\u2066\u200f"),
        ("not UTF-8: \udcff", r"not UTF-8: \udcff"),
        ("\U000e0041", r"\U000e0041"),
        ("σ 漢 é a b", "σ 漢 é a b"),
    ],
)
def test_what_acts_on_a_terminal_is_escaped(text, shown):
    assert printable(text) == shown
    assert message(text) == shown


def test_a_message_keeps_what_is_said_about_a_long_value():
    value = "9" * 10**6
    line = message(f"/a/path/config.toml: [train] epochs: must be a whole number, got {value}; choose another --name")
    assert len(line) <= LONGEST
    assert line.startswith("/a/path/config.toml: [train] epochs: must be a whole number, got 999")
    assert "…(1000001 characters)…" in line
    assert line.endswith("; choose another --name")


@pytest.mark.parametrize("text", ["1, " * 10**5, " ".join(["x" * 700] * 9), "\n" * 499, "漢" * 501])
def test_a_message_is_never_longer(text):
    assert len(message(f"before {text} after")) <= LONGEST
    assert message(f"before {text} after").startswith("before ")
    assert message(f"before {text} after").endswith(" after")


def test_a_message_of_the_greatest_length_is_whole():
    assert message("x" * LONGEST) == "x" * LONGEST
