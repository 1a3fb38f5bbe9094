"""The settings of a run: which there are, how a file gives them, and how runs are named after them."""

from vaecli.config.errors import ConfigError, UsageError
from vaecli.config.schema import SECTIONS, SETTINGS, Config, Setting

__all__ = ["SECTIONS", "SETTINGS", "Config", "ConfigError", "Setting", "UsageError"]
