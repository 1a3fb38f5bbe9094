"""vaecli: does it matter how a VAE parameterises the variance of its encoder?

>>> from vaecli import Config, train
>>> Config().param
'logvar'
"""

from typing import TYPE_CHECKING, Any

from vaecli.config import Config, ConfigError, UsageError

if TYPE_CHECKING:
    from vaecli.experiment import train, train_seeds
    from vaecli.vae.heads import Head

__all__ = ["Config", "ConfigError", "Head", "UsageError", "train", "train_seeds"]


def __getattr__(name: str) -> Any:
    # The command line imports this package too, and answers --help and usage errors before any of this is needed.
    if name == "Head":
        from vaecli.vae.heads import Head

        return Head
    if name in __all__:
        from vaecli import experiment

        return getattr(experiment, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
