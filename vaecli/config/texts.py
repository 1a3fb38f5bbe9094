"""How a text that anybody may have written is shown: where it acts on no terminal, and stays on its line."""

LONGEST = 500
"""Characters of a message."""


def printable(text: str) -> str:
    """Returns a text with every character escaped that would not be seen: control characters, line ends, marks that
    turn the direction of writing, bytes of a file name that are not UTF-8.

    >>> print(printable("a\\x1b[31m\\nb σ"))
    a\\x1b[31m\\nb σ
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def message(text: str) -> str:
    """Returns a text as one line of at most `LONGEST` characters.

    What is too long loses its middle: first the longest words, such as a path or a value, so that the advice around
    them stays, and then the line.

    >>> message("got " + "9" * 1000 + ", a number is needed")[-24:]
    '9999, a number is needed'
    """
    line = whole = printable(text)
    for limit in (300, 200, 100):
        if len(line) > LONGEST:
            line = " ".join(_without_middle(word, limit) for word in whole.split(" "))
    return _without_middle(line, LONGEST)


def minus(number: str) -> str:
    """Returns a formatted number for a person, with a real minus sign; what a program reads keeps the hyphen.

    >>> minus("-105.51")
    '−105.51'
    """
    return number.replace("-", "−")


def _without_middle(text: str, limit: int) -> str:
    if len(text) <= limit:
        return text
    mark = f"…({len(text)} characters)…"
    tail = (limit - len(mark)) // 2
    return text[: limit - len(mark) - tail] + mark + text[len(text) - tail :]
