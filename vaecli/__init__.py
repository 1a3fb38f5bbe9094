"""vaecli: does it matter how a VAE parameterises the variance of its encoder?

`docs/python.md` is a tour of what can be imported from here.

>>> from vaecli import Config, train
>>> Config().param
'logvar'
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vaecli.analysis.loaded import Encoding, LoadedRun, load_run
    from vaecli.config import Config, ConfigError, UsageError
    from vaecli.data.arrays import Images
    from vaecli.report.ask import compare, compare_study
    from vaecli.report.model import Comparison, StudyComparison
    from vaecli.training.train import train, train_runs, train_seeds
    from vaecli.vae.heads.table import Head

__all__ = [
    "Comparison",
    "Config",
    "ConfigError",
    "Encoding",
    "Head",
    "Images",
    "LoadedRun",
    "StudyComparison",
    "UsageError",
    "compare",
    "compare_study",
    "load_run",
    "train",
    "train_runs",
    "train_seeds",
]


_HOMES = {
    "vaecli.analysis.loaded": ("Encoding", "LoadedRun", "load_run"),
    "vaecli.config": ("Config", "ConfigError", "UsageError"),
    "vaecli.data.arrays": ("Images",),
    "vaecli.report.ask": ("compare", "compare_study"),
    "vaecli.report.model": ("Comparison", "StudyComparison"),
    "vaecli.training.train": ("train", "train_runs", "train_seeds"),
    "vaecli.vae.heads.table": ("Head",),
}


def __getattr__(name: str) -> Any:
    # The command line imports this package too. It answers --help and usage errors without jax, and it is ready for an
    # interrupt before anything heavy is imported.
    for home, names in _HOMES.items():
        if name in names:
            return getattr(importlib.import_module(home), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
