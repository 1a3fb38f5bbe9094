"""Command lines and config files: both become a `Config`, and both complain in one line."""

import contextlib
import dataclasses
import io
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import tyro

from vaecli.config import SETTINGS, Config, ConfigError, UsageError, nearest, values_from_toml

# In the wheel the configs lie inside the package; in a checkout, beside it.
_SHIPPED = (Path(__file__).parent / "configs", Path(__file__).parents[1] / "configs")


@dataclasses.dataclass(frozen=True)
class Source:
    """Where a config starts from, before the flags go over it.

    Attributes:
      path: the config file, or None where none was named.
      values: the settings in it.
    """

    path: Path | None
    values: Mapping[str, Any]

    @property
    def config(self) -> Config:
        """The config of the file alone; its name is the file's where the file gives none."""
        name: dict[str, Any] = {} if self.path is None else {"name": self.path.stem}
        return Config(**{**name, **self.values})

    def locate(self, error: ConfigError, chosen: Mapping[str, Any]) -> UsageError:
        """The error with the place where its setting was given: the file and key, or the flag."""
        setting = SETTINGS.get(error.field)
        if setting and self.path and error.field in self.values and self.values[error.field] == chosen[error.field]:
            return UsageError(f"{self.path}: [{setting.section}] {error}")
        return UsageError(f"{_flag(error.field)}: {error.message}")


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


# Config files -------------------------------------------------------------------------------------------------------


def read_source(argv: Sequence[str]) -> Source:
    """Reads the file that `--config` names in a command line.

    Raises:
      UsageError: there is no such file, or it holds no config; the message names file and key.
    """
    named = None
    for arg, following in zip(argv, [*argv[1:], None], strict=True):
        if arg == "--config" and following is not None:
            named = following
        elif arg.startswith("--config="):
            named = arg.removeprefix("--config=")
    if named is None:
        return Source(None, {})
    path = _find(named)
    try:
        source = Source(path, values_from_toml(path.read_text(encoding="utf-8")))
        source.config  # noqa: B018  The file's own name must be one that a run can have.
        return source
    except ConfigError as error:
        section = SETTINGS[error.field].section
        raise UsageError(f"{path}: [{section}] {error}") from None
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: is not a text file ({error.reason})") from error
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from None
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror})") from error


def _find(named: str) -> Path:
    """A config by its path, or by its bare name among ./configs and those that ship with the package."""
    path = Path(named).expanduser()
    if path.suffix == ".toml" or len(path.parts) > 1:
        return path
    folders = (Path("configs"), *_SHIPPED)
    for folder in folders:
        if (folder / f"{named}.toml").is_file():
            return folder / f"{named}.toml"
    known = sorted({file.stem for folder in folders for file in folder.glob("*.toml")})
    raise UsageError(f"--config: no config {named!r}{nearest(named, known)} (configs: {', '.join(known)})")


# Flags --------------------------------------------------------------------------------------------------------------


def command(options: type, description: str, base: Config) -> type:
    """A command's flags as one dataclass for tyro: its own `options`, and every setting of a config.

    The attribute `command` of an instance holds the former, `settings(instance)` gives the latter.
    """
    sections = dict.fromkeys(setting.section for setting in SETTINGS.values())
    fields: list[Any] = [("command", options, dataclasses.field(default_factory=options))]
    for name in sections:
        section = _section(name, base)
        fields.append((name, section, dataclasses.field(default_factory=section)))
    made = dataclasses.make_dataclass("Command", fields, frozen=True)
    made.__doc__ = description
    return made


def settings(instance: Any) -> dict[str, Any]:
    """The settings of a config that a command line ended with."""
    sections = dict.fromkeys(setting.section for setting in SETTINGS.values())
    return {name: value for section in sections for name, value in vars(getattr(instance, section)).items()}


def _section(name: str, base: Config) -> type:
    fields: list[Any] = []
    for setting in SETTINGS.values():
        if setting.section != name:
            continue
        marks: list[Any] = [tyro.conf.arg(help=setting.doc)]
        if setting.type == tuple[int, ...]:
            marks.append(_WIDTHS)
        fields.append(
            (setting.name, Annotated[setting.type, *marks], dataclasses.field(default=getattr(base, setting.name)))
        )
    made = dataclasses.make_dataclass(name, fields, frozen=True, kw_only=True)
    made.__doc__ = ""
    return made


def _widths(words: list[str]) -> tuple[int, ...]:
    try:
        return tuple(int(width) for width in words[0].split(",") if width.strip())
    except ValueError:
        raise ValueError(f"must be whole numbers with commas between, got {words[0]!r}") from None


_WIDTHS = tyro.constructors.PrimitiveConstructorSpec(
    nargs=1,
    metavar="INT,INT,…",
    instance_from_str=_widths,
    is_instance=lambda value: isinstance(value, tuple),
    str_from_instance=lambda value: [",".join(map(str, value))],
)


def parse(commands: Mapping[str, Callable[..., Any]], argv: Sequence[str], description: str) -> Any:
    """Parses a command line into an instance of the command that it names.

    Raises:
      UsageError: it does not parse.
      SystemExit: it asked for help or for a completion script, which has been printed.
    """
    options: dict[str, Any] = {
        "prog": "vae",
        "description": description,
        "args": argv,
        "config": (tyro.conf.OmitArgPrefixes,),
    }
    if any(arg in ("-h", "--help") or arg.startswith("--tyro-") for arg in argv):
        return tyro.extras.subcommand_cli_from_dict(dict(commands), **options)
    complaint = io.StringIO()
    try:
        with contextlib.redirect_stderr(complaint), _columns(10_000):
            return tyro.extras.subcommand_cli_from_dict(dict(commands), **options)
    except SystemExit:
        raise UsageError(_one_line(complaint.getvalue(), commands, argv)) from None


@contextlib.contextmanager
def _columns(width: int) -> Iterator[None]:
    """Sets the width at which tyro wraps what it prints."""
    before = os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = str(width)
    try:
        yield
    finally:
        if before is None:
            del os.environ["COLUMNS"]
        else:
            os.environ["COLUMNS"] = before


def _one_line(box: str, commands: Mapping[str, Callable[..., Any]], argv: Sequence[str]) -> str:
    """The message in the box that tyro draws around an error."""
    # A title, then the message, between frames and rules that are drawn in ASCII where the output is.
    lines = [line for raw in box.splitlines() if (line := raw.strip(" │╭╮╰╯─")) and set(line) != {"-"}]
    message = lines[1] if len(lines) > 1 else " ".join(lines)
    message = re.sub(r"^Error parsing (--\S+): ", r"\1: ", message)
    message = re.sub(r"invalid literal for int\(\) with base 10: ", "must be a whole number, got ", message)
    message = re.sub(r"could not convert string to float: ", "must be a number, got ", message)
    if match := re.match(r"Unrecognized options: (\S+?)(,|$)", message):
        word = match[1]
        if argv[0] not in commands:
            word = argv[0]
            return f"unknown command {word!r}{nearest(word, commands)} (commands: {', '.join(commands)})"
        if not word.startswith("-"):
            return f"unexpected {word!r} (vae {argv[0]} --help lists the options)"
        fields = dataclasses.fields(commands[argv[0]])  # pyright: ignore[reportArgumentType]
        known = [_flag(f.name) for field in fields for f in dataclasses.fields(field.type)]  # pyright: ignore
        return f"unknown option {word}{nearest(word, known)} (vae {argv[0]} --help lists them)"
    return message
