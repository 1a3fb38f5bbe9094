"""What a run is: one frozen dataclass, and its TOML form.

This module is the one place that knows which settings exist; `checks` knows which values they may take.
Flags, TOML files and Python callers all end in `Config`, so all three meet the same checks.
It imports no jax and touches no disk.
"""

import dataclasses
import tomllib
import types
from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_type_hints

import tomli_w

from vaecli import checks
from vaecli.checks import Check, nearest


class UsageError(ValueError):
    """Something that the user gave cannot be used; the message is one line that says what to do."""


class ConfigError(UsageError):
    """A setting is wrong.

    Attributes:
      field: the name of the setting in `Config`.
    """

    def __init__(self, field: str, message: str):
        super().__init__(f"{field}: {message}")
        self.field = field
        self.message = message


def _setting(default: Any, section: str, doc: str, check: Check | None = None) -> Any:
    return dataclasses.field(default=default, metadata={"section": section, "doc": doc, "check": check})


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """One run. The defaults are PyTorch's VAE example with the `logvar` head.

    Raises:
      ConfigError: a value has the wrong type or lies outside its range.

    >>> Config(param="logstd", epochs=3).lr
    0.001
    """

    name: str = _setting(
        "mnist", "run", "Folder of the run below the runs folder; by default the config's name.", checks.name
    )
    seed: int = _setting(0, "run", "Seed of the weights, the batch order and every draw.", checks.seed)

    data_dir: str = _setting(
        "",
        "data",
        "Folder with the four IDX files of another data set, plain or .gz; empty for the MNIST shipped here.",
    )
    binarisation: Literal["grey", "threshold", "dynamic", "fixed"] = _setting(
        "grey",
        "data",
        "grey: pixels as they are; threshold: 1 above one half; dynamic: a Bernoulli draw per image and epoch; "
        "fixed: one Bernoulli draw for all runs.",
    )
    validation: bool = _setting(
        False, "data", "Hold out the last 10,000 training images and log validation/ beside test/."
    )

    param: str = _setting(
        "logvar",
        "model",
        "Variance head, what the encoder's scale output u stands for: a name that 'vae heads' lists, or "
        "package.module:attribute for one of your own.",
    )
    bound: str = _setting(
        "none",
        "model",
        "Bound on any head: none, clip:LO,HI or tanh:C (hard or soft, on log σ), or floor:EPS (σ + EPS).",
    )
    init: Literal["native", "centred", "matched"] = _setting(
        "centred",
        "model",
        "Start of the scale head. native: bias 0; centred: the bias at which σ is --init-std; matched: centred, and "
        "the weights scaled so that log σ starts with the same spread in every head.",
    )
    init_std: float = _setting(
        1.0, "model", "The σ of a centred or matched start, and of the head 'fixed'.", checks.positive
    )
    init_weight: float = _setting(
        1.0, "model", "Factor on the scale head's first weights, beside --init.", checks.finite
    )
    hidden: tuple[int, ...] = _setting(
        (400,),
        "model",
        "Widths of the encoder's hidden layers, comma-separated; the decoder mirrors them.",
        checks.widths,
    )
    latent: int = _setting(20, "model", "Dimensions of z.", checks.from_one_to(10**6))

    epochs: int = _setting(10, "train", "Passes over the training images.", checks.from_one_to(10**6))
    batch_size: int = _setting(
        128, "train", "Images per step; the last batch of an epoch may be smaller.", checks.from_one_to(10**9)
    )
    optimizer: Literal["sgd", "momentum", "adam", "adamw", "rmsprop", "adagrad", "lion"] = _setting(
        "adam", "train", "Optimiser, from Optax; momentum is SGD with momentum 0.9."
    )
    lr: float = _setting(1e-3, "train", "Learning rate.", checks.positive)
    eps: float = _setting(
        1e-8, "train", "Term of adam and adamw beside the root, of rmsprop and adagrad inside it.", checks.positive
    )
    weight_decay: float = _setting(
        0.0,
        "train",
        "Weight decay: decoupled in adamw and lion, L2 in the gradient elsewhere; 0 for none.",
        checks.not_negative,
    )
    clip_norm: float = _setting(
        0.0,
        "train",
        "Greatest norm of the whole gradient, which is scaled down to it; 0 for none.",
        checks.not_negative,
    )
    head_lr: float | Literal["native", "matched"] = _setting(
        "native",
        "train",
        "Learning rate of the scale head over --lr. native: 1; matched: the factor that makes the head learn like "
        "logvar, with those of eps, weight decay and clipping (exact for affine heads, else to first order at "
        "the start); or a number.",
        checks.head_lr,
    )
    head_eps: float = _setting(1.0, "train", "Factor on --eps for the scale head.", checks.positive)
    head_weight_decay: float = _setting(
        1.0, "train", "Factor on --weight-decay for the scale head.", checks.not_negative
    )
    head_clip: float = _setting(
        1.0,
        "train",
        "Factor on the scale head's gradient within the norm that --clip-norm limits.",
        checks.not_negative,
    )

    grad_every: int = _setting(
        1,
        "log",
        "Gradient statistics every so many epochs, and at the last one; 0 turns them off.",
        checks.up_to(10**6),
    )
    grad_draws: int = _setting(2, "log", "Draws of ε behind them, for each of their batches.", checks.draws)
    grad_batches: int = _setting(
        4, "log", "Batches behind them, the first of the training images.", checks.from_one_to(10**6)
    )

    def __post_init__(self):
        # Python callers may say hidden=[400]; inside, a config is hashable.
        if isinstance(self.hidden, list):
            object.__setattr__(self, "hidden", tuple(self.hidden))
        for name, setting in SETTINGS.items():
            value = getattr(self, name)
            complaint = checks.wrong_type(value, setting.type) or (setting.check(value) if setting.check else None)
            if complaint:
                raise ConfigError(name, complaint)
        for name in ("head_eps", "head_weight_decay", "head_clip"):
            if self.head_lr == "matched" and getattr(self, name) != 1:
                raise ConfigError(name, "is set by head_lr matched; give head_lr a number to set it yourself")

    def to_toml(self) -> str:
        """Returns this config as TOML, every setting written out; `values_from_toml` reads it back."""
        tables: dict[str, dict[str, Any]] = {}
        for name, setting in SETTINGS.items():
            value = getattr(self, name)
            tables.setdefault(setting.section, {})[name] = list(value) if isinstance(value, tuple) else value
        return tomli_w.dumps(tables)


@dataclasses.dataclass(frozen=True)
class Setting:
    """One field of `Config` as flags and TOML see it."""

    name: str
    type: Any
    default: Any
    section: str
    doc: str
    check: Check | None


def _settings() -> Mapping[str, Setting]:
    hints = get_type_hints(Config)
    return types.MappingProxyType(
        {f.name: Setting(f.name, hints[f.name], f.default, **f.metadata) for f in dataclasses.fields(Config)}
    )


SETTINGS: Mapping[str, Setting] = _settings()
SECTIONS = tuple(dict.fromkeys(setting.section for setting in SETTINGS.values()))


def values_from_toml(text: str) -> dict[str, Any]:
    """Reads the settings that a TOML text gives, flat, by the names of `Config`'s fields.

    Raises:
      UsageError: the text is no TOML, or has a section or key that no setting has.
      ConfigError: a value has the wrong type or lies outside its range.
    """
    try:
        tables = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"not valid TOML: {error}") from error
    values: dict[str, Any] = {}
    for section, table in tables.items():
        if section not in SECTIONS or not isinstance(table, dict):
            if section in SETTINGS:
                raise UsageError(f"key '{section}' belongs in the section [{SETTINGS[section].section}]")
            if section in SECTIONS:
                raise UsageError(f"'{section}' is a section, as in [{section}], and no key")
            what = f"section [{section}]" if isinstance(table, dict) else f"key '{section}'"
            raise UsageError(f"unknown {what}{nearest(section, SECTIONS)}")
        for key, value in table.items():
            if key not in SETTINGS:
                raise UsageError(f"unknown key '{key}' in [{section}]{nearest(key, SETTINGS)}")
            if SETTINGS[key].section != section:
                raise UsageError(f"key '{key}' belongs in the section [{SETTINGS[key].section}], not in [{section}]")
            values[key] = tuple(value) if isinstance(value, list) else value
    Config(**values)
    return values


def differences(one: Config, other: Config) -> Sequence[str]:
    """Returns `field: a here, b there` for each setting in which two configs differ."""
    pairs = ((name, getattr(one, name), getattr(other, name)) for name in SETTINGS)
    return [f"{name} is {a!r} there and {b!r} here" for name, a, b in pairs if a != b]
