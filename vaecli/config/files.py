"""Config files: where they are found, and what they say."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from vaecli.config import SETTINGS, Config, ConfigError, UsageError
from vaecli.config.naming import OWN_DATA, flag, folder_name
from vaecli.config.toml import SweepPlan, sweep_from_toml, values_from_toml
from vaecli.config.validators import nearest


@dataclasses.dataclass(frozen=True)
class ConfigSource:
    """Where a config comes from before the flags override it: a file, or the defaults.

    Attributes:
      path: the config file, or None where none was named.
      values: the settings in it.
      plan: what it varies, if it is the file of a sweep.
    """

    path: Path | None = None
    values: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    plan: SweepPlan = dataclasses.field(default_factory=SweepPlan)

    @property
    def config(self) -> Config:
        """The config without any flag."""
        return Config(**self.values)

    @property
    def name(self) -> str:
        """The name of runs to which neither the file nor a flag gives one; empty where there is no file."""
        return "" if self.path is None else folder_name(self.path.stem) or "run"

    def names_data(self, data_dirs: Iterable[str]) -> bool:
        """Returns whether the name of the file stands for these data, too, since they are those that it names."""
        own = self.values.get("data_dir", "")
        return {*data_dirs} == {own} and not (own and self.name.lower() == OWN_DATA)

    def locate(self, error: ConfigError, settings: Mapping[str, Any]) -> UsageError:
        """Returns the error with the place where its setting was given: the file and key, or the flag.

        Args:
          error: the error of one of `settings`.
          settings: the values that were used, those of the file or of the flags over it.
        """
        setting = SETTINGS.get(error.field)
        if setting and self.path and error.field in self.values and self.values[error.field] == settings[error.field]:
            return UsageError(f"{self.path}: [{setting.section}] {error}")
        return UsageError(f"{flag(error.field)}: {error.message}")


def read_config(named: str, *, sweep: bool = False) -> ConfigSource:
    """Reads a config file, of a run or of a sweep, by its path or its bare name.

    Raises:
      UsageError: there is no such file, or it holds no config; the message names file and key.
    """
    try:
        path = _find(named)
    except (OSError, RuntimeError) as error:  # A name too long, a home that does not exist.
        raise UsageError(f"--config {named}: {error}") from error
    try:
        content = path.read_text(encoding="utf-8-sig")
        return ConfigSource(path, *sweep_from_toml(content)) if sweep else ConfigSource(path, values_from_toml(content))
    except ConfigError as error:
        raise UsageError(f"{path}: [{SETTINGS[error.field].section}] {error}") from None
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from None
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: is not a text file ({error.reason})") from error
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror})") from error


def shipped(folder: str) -> Path:
    """Returns a folder that ships with the package: in the wheel it lies inside the package, and here beside it."""
    inside = Path(__file__).parents[1] / folder
    return inside if inside.is_dir() else Path(__file__).parents[2] / folder


def config_names(*, sweep: bool, here: bool = True) -> Sequence[str]:
    """Returns the bare names of the configs that ship with the package.

    Args:
      sweep: whether those of sweeps are among them.
      here: whether those in ./configs are.
    """
    folders = _folders([Path("configs")] * here + [shipped("configs")], sweep=sweep)
    return sorted({file.stem for folder in folders for file in folder.glob("*.toml")})


def _find(named: str) -> Path:
    """Finds a config by its path, or by its bare name among ./configs and those that ship with the package."""
    path = Path(named).expanduser()
    if path.suffix == ".toml" or len(path.parts) > 1:
        if not path.is_file():
            raise UsageError(f"--config: no file {path}")
        return path
    for folder in _folders([Path("configs"), shipped("configs")], sweep=True):
        if (folder / f"{named}.toml").is_file():
            return folder / f"{named}.toml"
    known = config_names(sweep=True)
    raise UsageError(f"--config: no config {named!r}{nearest(named, known)} (configs: {', '.join(known)})")


def _folders(places: Sequence[Path], *, sweep: bool) -> Sequence[Path]:
    return [place / inner for place in places for inner in ("", "sweeps", "studies")[: 1 + 2 * sweep]]
