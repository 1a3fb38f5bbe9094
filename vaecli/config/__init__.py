"""What a run is, how a file gives it, and how it is named."""

from vaecli.config.errors import ConfigError, UsageError
from vaecli.config.schema import SECTIONS, SETTINGS, Config, Setting

__all__ = ["SECTIONS", "SETTINGS", "Config", "ConfigError", "Setting", "UsageError"]
