"""Config files: where they are found, and what they say."""

import dataclasses
import itertools
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vaecli.config import SETTINGS, Config, ConfigError, UsageError
from vaecli.config.naming import flag
from vaecli.config.toml import NOTHING_VARIES, Plan, sweep_from_toml, values_from_toml
from vaecli.config.validators import nearest

# In the wheel the configs lie inside the package; in a checkout, beside it.
_SHIPPED = (Path(__file__).parents[1] / "configs", Path(__file__).parents[2] / "configs")


@dataclasses.dataclass(frozen=True)
class Source:
    """Where a config starts from, before the flags go over it.

    Attributes:
      path: the config file, or None where none was named.
      values: the settings in it.
      plan: what it varies, if it is that of a sweep.
    """

    path: Path | None
    values: Mapping[str, Any]
    plan: Plan = NOTHING_VARIES

    @property
    def config(self) -> Config:
        """The config of the file alone; its name is made from the file's where the file gives none."""
        if self.path is None or "name" in self.values:
            return Config(**self.values)
        name = re.sub(r"[^A-Za-z0-9._-]+", "-", self.path.stem).strip("-._")[:100]
        return Config(**{**self.values, "name": name or "run"})

    def locate(self, error: ConfigError, chosen: Mapping[str, Any]) -> UsageError:
        """The error with the place where its setting was given: the file and key, or the flag."""
        setting = SETTINGS.get(error.field)
        if setting and self.path and error.field in self.values and self.values[error.field] == chosen[error.field]:
            return UsageError(f"{self.path}: [{setting.section}] {error}")
        return UsageError(f"{flag(error.field)}: {error.message}")


def read_source(argv: Sequence[str], *, sweep: bool = False) -> Source:
    """Reads the file that `--config` names in a command line, of a run or of a `sweep`.

    Raises:
      UsageError: there is no such file, or it holds no config; the message names file and key.
    """
    named = None
    for arg, following in itertools.zip_longest(argv, argv[1:]):
        if arg == "--config" and following is not None:
            named = following
        elif arg.startswith("--config="):
            named = arg.removeprefix("--config=")
    if named is None:
        return Source(None, {})
    try:
        path = _find(named)
    except (OSError, RuntimeError) as error:  # A name too long, a home that does not exist.
        raise UsageError(f"--config {named}: {error}") from error
    try:
        content = path.read_text(encoding="utf-8-sig")
        return Source(path, *sweep_from_toml(content)) if sweep else Source(path, values_from_toml(content))
    except ConfigError as error:
        raise UsageError(f"{path}: [{SETTINGS[error.field].section}] {error}") from None
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from None
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: is not a text file ({error.reason})") from error
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror})") from error


def _find(named: str) -> Path:
    """A config by its path, or by its bare name among ./configs and those that ship with the package."""
    path = Path(named).expanduser()
    if path.suffix == ".toml" or len(path.parts) > 1:
        if not path.is_file():
            raise UsageError(f"--config: no file {path}")
        return path
    folders = [place / inner for place in (Path("configs"), *_SHIPPED) for inner in ("", "sweeps")]
    for folder in folders:
        if (folder / f"{named}.toml").is_file():
            return folder / f"{named}.toml"
    known = sorted({file.stem for folder in folders for file in folder.glob("*.toml")})
    raise UsageError(f"--config: no config {named!r}{nearest(named, known)} (configs: {', '.join(known)})")
