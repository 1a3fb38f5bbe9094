"""Commands as a user types them."""

from pathlib import Path

from vaecli.cli.main import main


def written():
    """What lies in this folder; what Python compiled of a user's own modules does not count."""
    return sorted(path for path in Path().rglob("*") if "__pycache__" not in path.parts)


def complaint(capsys, *argv):
    """Runs a command that must fail as bad input does, writing nothing, and returns its one line."""
    before = written()
    assert main(argv) == 2
    streams = capsys.readouterr()
    assert streams.out == ""
    assert streams.err.startswith("vae: ")
    assert streams.err.count("\n") == 1, streams.err
    assert len(streams.err.splitlines()) == 1, streams.err
    assert "Traceback" not in streams.err
    assert written() == before
    return streams.err


def flags_of(settings):
    """The settings of a run as flags."""
    words = []
    for name, value in settings.items():
        words += [f"--{name.replace('_', '-')}", ",".join(map(str, value)) if isinstance(value, tuple) else str(value)]
    return words


def said(err):
    """What a command that trains printed on stderr, without the line that describes its data."""
    return "".join(line for line in err.splitlines(keepends=True) if not line.startswith("data · "))
