import pytest

from vaecli.config import ConfigError, UsageError
from vaecli.config.errors import one_line


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("a\n  b\tc"), "ValueError: a b c"),
        (KeyError("key"), "KeyError: 'key'"),
        (RuntimeError(), "RuntimeError:"),
        (ConfigError("lr", "must be positive"), "ConfigError: lr: must be positive"),
    ],
)
def test_an_error_reads_on_one_line(error, line):
    assert one_line(error) == line


def test_a_long_error_ends_in_an_ellipsis():
    assert one_line(ValueError("x" * 488)) == "ValueError: " + "x" * 488
    assert one_line(ValueError("x" * 489)) == "ValueError: " + "x" * 488 + " …"
    assert one_line(ValueError("x " * 400), 9, with_type=False) == "x x x x x …"


def test_an_error_of_a_setting_names_it():
    error = ConfigError("lr", "must be positive")
    assert isinstance(error, UsageError)
    assert (error.field, error.message, str(error)) == ("lr", "must be positive", "lr: must be positive")
