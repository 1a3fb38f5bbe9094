"""The settings of a run: one frozen dataclass.

This module is the only one that knows which settings exist; `validators` knows which values they may take, and `toml`
how a file gives them. Flags, TOML files and Python callers all end in `Config`, so all three meet the same checks.
It imports no jax and touches no disk.
"""

import dataclasses
import numbers
import types
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Literal, Protocol, get_type_hints, overload, runtime_checkable

from vaecli.config import validators
from vaecli.config.errors import ConfigError
from vaecli.config.validators import Validator


@runtime_checkable
class Nameable(Protocol):
    """An object that a config takes for a name, such as a head that is not in the table."""

    def config_name(self) -> str:
        """Returns the name that is recorded, by which this process knows the object again.

        Raises:
          ConfigError: the object cannot be used.
        """
        ...


if TYPE_CHECKING:

    class HeadName:
        """The name of a head in a config, for which the head itself may be given."""

        @overload
        def __get__(self, instance: None, owner: Any) -> "HeadName": ...
        @overload
        def __get__(self, instance: object, owner: Any) -> str: ...
        def __get__(self, instance: object | None, owner: Any) -> "str | HeadName": ...
        def __set__(self, instance: object, value: str | Nameable) -> None: ...

else:
    HeadName = str


WITHOUT_SCALE = frozenset(("bernoulli", "continuous_bernoulli"))
"""The likelihoods that have no scale τ."""

WITH_CLOSED_FORM = frozenset(("gaussian", "laplace"))
"""Those whose best τ is known from the residuals."""

SETTINGS_OF_SCALE = (
    *("decoder_scale", "decoder_param", "decoder_bound", "decoder_init", "decoder_std", "decoder_lr"),
    *("decoder_eps", "decoder_weight_decay", "decoder_clip", "decoder_init_weight", "decoder_gradient", "no_maximum"),
)
"""The settings of a likelihood's scale."""

SETTINGS_OF_SCALE_HEAD = tuple(
    name for name in SETTINGS_OF_SCALE if name not in ("decoder_scale", "decoder_param", "decoder_std", "no_maximum")
)
"""Those of the head of a scale that is learned."""


def _setting(
    default: Any,
    section: str,
    doc: str,
    check: Validator | None = None,
    outcome: bool = True,
    common: bool = False,
    metavar: str = "",
    unset: str = "",
) -> Any:
    # The attributes of `Setting`.
    metadata = {"section": section, "doc": doc, "check": check, "outcome": outcome, "common": common}
    return dataclasses.field(default=default, metadata={**metadata, "metavar": metavar, "unset": unset})


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """The settings of one run. The defaults are PyTorch's VAE example with the `logvar` head.

    Raises:
      ConfigError: a value has the wrong type or lies outside its range.

    >>> Config(param="logstd", epochs=3).lr
    0.001
    """

    name: str = _setting(
        "",
        "run",
        "Folder of the run inside --runs. By default it is the name of the config and that of the data folder.",
        validators.name,
        common=True,
        unset="the config's",
    )
    seed: int = _setting(
        0, "run", "Seed of every random draw. So of the weights and the batch order, too.", validators.seed, common=True
    )
    pilot: int = _setting(
        0,
        "run",
        "0 for a run that counts; k for the k-th pilot of the seed, which has draws of its own and only helps to "
        "choose the learning rate ('vae sweep --pilot-seeds').",
        validators.up_to(1000),
    )

    data_dir: str = _setting(
        "",
        "data",
        "Folder of other data in IDX files. They may be gzipped.",
        outcome=False,  # A place; data are known by their checksums.
        common=True,
        metavar="DIR",
        unset="MNIST",
    )
    data_transpose: bool = _setting(
        False, "data", "Exchange the rows and columns of each image, which EMNIST's files hold transposed."
    )
    binarisation: Literal["grey", "threshold", "dynamic", "fixed", "dequantised"] = _setting(
        "grey",
        "data",
        "What becomes of grey pixels. grey: they stay; threshold: 1 above one half; dynamic: a Bernoulli draw per "
        "image and epoch; fixed: one Bernoulli draw for all runs; dequantised: real numbers, a uniform draw within "
        "each of the 256 levels per image and epoch (Theis et al. 2016).",
        common=True,
    )
    validation: bool = _setting(
        False,
        "data",
        "Hold out the last 10,000 training images. They are logged as validation/, beside test/.",
        common=True,
    )

    param: HeadName = _setting(
        "logvar",
        "model",
        "Variance head, as in 'vae heads'. It says what the encoder's scale output u stands for; "
        "package.module:attribute is one of your own.",
        common=True,
        metavar="HEAD",
    )
    bound: str = _setting(
        "none",
        "model",
        "Bound on any head. none; on log σ: clip:LO,HI (hard), tanh:C, sigmoid:LO,HI or soft:LO,HI (soft); or a least "
        "value: floor:EPS (σ + EPS) or varfloor:EPS (σ² + EPS).",
        metavar="BOUND",
    )
    init: Literal["native", "centred", "matched"] = _setting(
        "centred",
        "model",
        "Start of the scale head. native: bias 0; centred: the bias at which σ is --init-std; matched: as centred, "
        "with the weights scaled so that log σ starts with the same spread in every head.",
        common=True,
    )
    init_std: float = _setting(
        1.0, "model", "σ at a centred or matched start, and the σ of the head 'fixed'.", validators.positive
    )
    init_weight: float = _setting(
        1.0, "model", "Factor on the scale head's initial weights, on top of --init.", validators.finite
    )
    perturb: float = _setting(
        0.0,
        "model",
        "Number added to one initial weight, a bias of the mean head, to make a perturbed twin of a run.",
        validators.finite,
    )
    channels: tuple[int, ...] = _setting(
        (),
        "model",
        "Channels of 3×3 convolutions of stride 2 before the hidden layers, comma-separated; the decoder mirrors them.",
        validators.widths,
        unset="none, an MLP",
    )
    hidden: tuple[int, ...] = _setting(
        (400,),
        "model",
        "Widths of the encoder's hidden layers. They are comma-separated, '' for none; the decoder mirrors them.",
        validators.widths,
        common=True,
        unset="none",
    )
    activation: Literal["relu", "tanh", "gelu", "silu", "elu", "leaky_relu", "softplus", "sigmoid"] = _setting(
        "relu", "model", "Activation after every layer but the last."
    )
    weight_init: Literal["torch", "lecun", "glorot", "he"] = _setting(
        "torch",
        "model",
        "Distribution of the initial weights. torch: uniform within ±1/√fan_in, biases too. With the others biases are "
        "0. lecun, he: truncated normal of variance 1/fan_in, 2/fan_in; glorot: uniform of variance "
        "2/(fan_in + fan_out).",
    )
    latent: int = _setting(20, "model", "Number of dimensions of z.", validators.from_one_to(10**6), common=True)
    encoder_scale: Literal["network", "free"] = _setting(
        "network",
        "model",
        "Where the encoder's σ comes from. network: from the image; free: one u for each latent dimension, the same "
        "for every image.",
    )
    likelihood: Literal[
        "bernoulli", "gaussian", "laplace", "student", "discretised_logistic", "continuous_bernoulli"
    ] = _setting(
        "bernoulli",
        "model",
        "Distribution p(x|z) of a pixel. gaussian, laplace, student and discretised_logistic (on 256 levels) have a "
        "scale τ; continuous_bernoulli is a density on [0, 1], which bernoulli is not for grey pixels.",
        common=True,
        metavar="NAME",
    )
    student_df: float = _setting(
        4.0, "model", "Degrees of freedom ν of the likelihood student.", validators.between(0.1, 10**6)
    )
    decoder_scale: Literal["shared", "pixel", "network", "optimal"] = _setting(
        "shared",
        "model",
        "What the likelihood's scale τ depends on. shared: one number; pixel: one for each pixel; network: a second "
        "output of the decoder; optimal: one number, not learned but worked out from the residuals of each batch.",
    )
    decoder_param: HeadName = _setting(
        "logvar",
        "model",
        "Head of the likelihood's scale τ. It is one of --param's, except those that move the mean; with fixed, τ is "
        "not learned.",
        metavar="HEAD",
    )
    decoder_bound: str = _setting("none", "model", "Bound on τ. It has the forms of --bound.", metavar="BOUND")
    decoder_init: Literal["native", "centred", "matched"] = _setting(
        "centred", "model", "Start of the head of τ. It is meant as --init is, with --decoder-std for --init-std."
    )
    decoder_std: float = _setting(
        0.1, "model", "Initial τ, where white is 1, and the τ of the head 'fixed'.", validators.positive
    )
    decoder_init_weight: float = _setting(
        1.0,
        "model",
        "Factor on the initial weights of the head of τ, on top of --decoder-init.",
        validators.finite,
    )
    no_maximum: Literal["refuse", "train"] = _setting(
        "refuse",
        "model",
        "What happens to a likelihood that grows without limit on pixels that never change, as a Gaussian's does "
        "whose τ is each pixel's own. refuse: it is not trained; train: the run becomes what it becomes.",
    )
    decoder_bias: Literal["drawn", "mean"] = _setting(
        "drawn",
        "model",
        "Start of the decoder's last bias. drawn: as --weight-init says; mean: such that features of 0 give the mean "
        "training image (Burda et al. 2016).",
    )
    precision: Literal["float32", "bfloat16", "float16"] = _setting(
        "float32",
        "model",
        "Precision of the products of encoder and decoder. The factors, activations among them, are rounded to it, and "
        "added up in float32; parameters, losses and the optimiser stay in float32.",
        common=True,
    )
    head_precision: Literal["float32", "bfloat16", "float16"] = _setting(
        "float32", "model", "Precision in which u, log σ and σ are held."
    )

    objective: Literal["elbo", "iwae"] = _setting(
        "elbo",
        "objective",
        "What is maximised. elbo: the evidence lower bound; iwae: the log of the mean of --samples importance weights.",
        common=True,
    )
    samples: int = _setting(
        1,
        "objective",
        "Draws of z for each image, over which the elbo or the iwae averages.",
        validators.from_one_to(10**5),
    )
    kl: Literal["auto", "analytic", "mc"] = _setting(
        "auto",
        "objective",
        "The KL term. analytic: in closed form; mc: log q - log p at the draws; auto: analytic where objective and "
        "estimator allow it.",
    )
    estimator: Literal["reparam", "stl", "dreg"] = _setting(
        "reparam",
        "objective",
        "Gradient estimator for the encoder. reparam: the plain reparameterised one; stl: through z only (sticking the "
        "landing); dreg: the doubly reparameterised one of iwae.",
    )
    head_gradient: Literal["plain", "natural"] = _setting(
        "plain",
        "objective",
        "Gradient of what gives the encoder's u. plain: that of the objective; natural: divided by the information 2γ² "
        "that q has about u.",
    )
    decoder_gradient: str = _setting(
        "nll",
        "objective",
        "Gradient of a likelihood with a scale. nll: that of log p; beta:B: of each pixel's log p times τ^2B (Seitzer "
        "et al. 2022); faithful: the mean by its squared error, the scale apart from all else (Stirn et al. 2023); "
        "natural: that of what gives the decoder's u, divided by the information about u.",
        metavar="nll|beta:B|faithful|natural",
    )
    beta: float = _setting(
        1.0, "objective", "Factor on the KL, in training only.", validators.not_negative, common=True
    )
    beta_warmup: int = _setting(
        0, "objective", "Steps over which --beta rises linearly from 0; 0 for no warm-up.", validators.up_to(10**9)
    )

    epochs: int = _setting(10, "train", "Passes over the training images.", validators.from_one_to(10**6), common=True)
    batch_size: int = _setting(
        128,
        "train",
        "Images per step. The last batch of an epoch may be smaller.",
        validators.from_one_to(10**9),
        common=True,
    )
    optimizer: Literal["sgd", "momentum", "adam", "adamw", "adamax", "rmsprop", "adagrad", "lion"] = _setting(
        "adam", "train", "Optimiser, from Optax. momentum is SGD with momentum 0.9.", common=True
    )
    lr: float = _setting(1e-3, "train", "Learning rate.", validators.positive, common=True)
    lr_schedule: Literal["constant", "burda2016"] = _setting(
        "constant",
        "train",
        "Factor on --lr over time. burda2016: 10^(-i/7) in stage i = 0 … 7, which lasts 3^i/3280 of the epochs.",
    )
    lr_warmup: int = _setting(
        0,
        "train",
        "Steps over which every learning rate rises linearly to its value. Step t = 0, 1, … has the factor "
        "min(1, (t + 1)/W), on top of --lr-schedule; 0 for no warm-up.",
        validators.up_to(10**9),
    )
    eps: float = _setting(
        1e-8,
        "train",
        "Small number added to the square root in adam and adamw, to the gradient's size in adamax, and inside the "
        "root in rmsprop and adagrad.",
        validators.positive,
    )
    weight_decay: float = _setting(
        0.0,
        "train",
        "Weight decay: decoupled in adamw and lion, an L2 term of the gradient in the others; 0 for none.",
        validators.not_negative,
    )
    clip_norm: float = _setting(
        0.0,
        "train",
        "Largest norm of the whole gradient; a larger gradient is scaled down to it. 0 for no clipping.",
        validators.not_negative,
    )
    skip_norm: float = _setting(
        0.0,
        "train",
        "Norm of the whole gradient above which an update is dropped. It is that before clipping; a run "
        "that drops every update for an epoch, and at least 100, ends as diverged. 0 for no limit.",
        validators.not_negative,
    )
    on_nonfinite: Literal["stop", "skip"] = _setting(
        "stop",
        "train",
        "What happens at a loss, gradient or parameter that is not finite. stop: the run ends as diverged; skip: it "
        "goes on without that update.",
    )
    loss_scale: float | Literal["off", "dynamic"] = _setting(
        "off",
        "train",
        "Factor on the loss in its gradient, against underflow in float16. A number stays; dynamic starts at 65536, "
        "doubles after 2000 good steps, and halves, without an update, where the gradient is not finite.",
        validators.loss_scale,
        metavar="off|dynamic|FLOAT",
    )
    head_lr: float | Literal["native", "matched"] = _setting(
        "native",
        "train",
        "Learning rate of the scale head as a multiple of --lr. native: 1; matched: the factor that makes the head "
        "learn like logvar, with those of eps, weight decay and clipping (exact for affine heads, otherwise to first "
        "order at the start); or a number.",
        validators.head_lr,
        common=True,
        metavar="native|matched|FLOAT",
    )
    decoder_lr: float | Literal["native", "matched"] = _setting(
        "native",
        "train",
        "Learning rate of the head of τ as a multiple of --lr. It is meant as --head-lr is.",
        validators.head_lr,
        metavar="native|matched|FLOAT",
    )
    head_eps: float = _setting(1.0, "train", "Factor on --eps for the scale head.", validators.positive)
    head_weight_decay: float = _setting(
        1.0, "train", "Factor on --weight-decay for the scale head.", validators.not_negative
    )
    head_clip: float = _setting(
        1.0,
        "train",
        "Factor on the scale head's gradient in the norm that --clip-norm and --skip-norm limit.",
        validators.not_negative,
    )
    decoder_eps: float = _setting(1.0, "train", "Factor on --eps for the head of τ.", validators.positive)
    decoder_weight_decay: float = _setting(
        1.0, "train", "Factor on --weight-decay for the head of τ.", validators.not_negative
    )
    decoder_clip: float = _setting(
        1.0,
        "train",
        "Factor on the gradient of the head of τ in the norm that --clip-norm limits.",
        validators.not_negative,
    )

    checkpoint_every: int = _setting(
        1,
        "log",
        "Epochs between checkpoints, from which a stopped run goes on; 0 for only one, at the end.",
        validators.up_to(10**6),
        outcome=False,
    )
    log_every: int = _setting(
        1,
        "log",
        "Epochs between log points, at which the splits are evaluated; there is always one at the start and one at the "
        "end.",
        validators.from_one_to(10**6),
    )
    log_steps: int = _setting(
        0,
        "log",
        "Steps between points within an epoch. They are of the training ELBO and its terms; 0 for none.",
        validators.up_to(10**6),
        outcome=False,
        common=True,
    )
    picture_every: int = _setting(
        0,
        "log",
        "Epochs between pictures, which are drawn at log points; 0 for only those at the end.",
        validators.up_to(10**6),
    )
    grad_every: int = _setting(
        1,
        "log",
        "Epochs between gradient statistics, which are taken at log points and at the last epoch; 0 turns them off.",
        validators.up_to(10**6),
    )
    grad_draws: int = _setting(
        2, "log", "Draws of ε for the gradient statistics, on each of their batches.", validators.draws
    )
    grad_batches: int = _setting(
        4,
        "log",
        "Batches for the gradient statistics, the first ones of the training images.",
        validators.from_one_to(10**6),
    )

    def __post_init__(self):
        for name, setting in SETTINGS.items():
            value = _plain(name, getattr(self, name))
            object.__setattr__(self, name, value)
            complaint = validators.wrong_type(value, setting.type) or (setting.check(value) if setting.check else None)
            if complaint:
                raise ConfigError(name, complaint)
        for name, complaint in self._conflicts():
            raise ConfigError(name, complaint)

    def _conflicts(self) -> Iterator[tuple[str, str]]:
        """Yields each setting that does not go with another one, and why."""
        for block in ("head", "decoder"):
            for name in (f"{block}_eps", f"{block}_weight_decay", f"{block}_clip"):
                if getattr(self, f"{block}_lr") == "matched" and getattr(self, name) != 1:
                    yield name, f"is set by {block}_lr matched; give {block}_lr a number to set it yourself"
        if self.pilot and not self.validation:
            yield "pilot", "chooses the learning rate on the validation split; add --validation"
        if self.pilot and self.perturb:
            yield "perturb", "has no place in a pilot"
        objective = self.objective
        if self.kl == "analytic" and objective != "elbo":
            why = f"has no place in {objective}, whose weights hold log q - log p at the draws"
            yield "kl", f"analytic {why}; use mc or auto"
        if self.kl == "analytic" and self.estimator != "reparam":
            yield "kl", f"analytic leaves {self.estimator} no log q to hold fixed; use mc or auto"
        if self.estimator == "stl" and objective != "elbo" and self.samples > 1:
            better = "dreg" if objective == "iwae" else "reparam"
            why = f"is biased for {objective} with more than one sample (Tucker et al. 2018)"
            yield "estimator", f"stl {why}; use {better}"
        if self.estimator == "dreg" and objective != "iwae" and self.samples > 1:
            better = "stl" if objective == "elbo" else "reparam"
            yield "estimator", f"dreg is an estimator of iwae; for {objective} with more than one sample use {better}"
        if self.param == "fixed":
            for name in filter(self._given, ("encoder_scale", "head_gradient")):
                yield name, "has no part in param fixed, which has no output u"
        yield from self._decoder_conflicts()

    def _decoder_conflicts(self) -> Iterator[tuple[str, str]]:
        """Yields each setting of the likelihood's scale that does not go with another one, and why."""
        likelihood = self.likelihood
        if likelihood != "student" and self._given("student_df"):
            yield "student_df", f"has no part in the {likelihood} likelihood; use likelihood student"
        if likelihood in WITHOUT_SCALE:
            for name in filter(self._given, SETTINGS_OF_SCALE):
                named = likelihood.capitalize() if likelihood == "bernoulli" else likelihood
                yield name, f"has no part in the {named} likelihood; use likelihood gaussian"
        if self.decoder_scale == "optimal":
            if likelihood not in WITH_CLOSED_FORM:
                yield "decoder_scale", f"optimal is not known in closed form for {likelihood}; use pixel or shared"
            for name in filter(self._given, ("decoder_param", *SETTINGS_OF_SCALE_HEAD)):
                yield name, "has no part in decoder_scale optimal, whose scale has no head; use decoder_scale shared"
            if self.loss_scale != "off":
                yield "loss_scale", "has no part in decoder_scale optimal; use decoder_scale shared"
        if self.decoder_param == "fixed":
            if self.decoder_scale != "shared":
                yield "decoder_scale", f"{self.decoder_scale} has no part in decoder_param fixed, which is one number"
            for name in filter(self._given, SETTINGS_OF_SCALE_HEAD):
                yield name, "has no part in decoder_param fixed, which is not learned"
        if likelihood == "discretised_logistic" and self.binarisation == "dequantised":
            yield "binarisation", "dequantised leaves no levels for the likelihood discretised_logistic; use grey"
        if likelihood == "bernoulli" and self.binarisation == "dequantised":
            yield "binarisation", "dequantised gives real numbers; use likelihood gaussian or continuous_bernoulli"

    def _given(self, name: str) -> bool:
        return getattr(self, name) != SETTINGS[name].default


def _plain(name: str, value: Any) -> Any:
    """Returns a value as a config holds it: Python callers may say `hidden=[400]`, give NumPy's numbers, or a head.

    Raises:
      ConfigError: the value is a head that cannot be used.
    """
    if type(value) in (str, int, float, bool):
        return value
    if name in ("hidden", "channels") and isinstance(value, list | tuple):
        return tuple(_plain("", item) for item in value)
    if isinstance(value, numbers.Integral):
        return int(value)
    if isinstance(value, numbers.Real):
        return float(value)
    if name in ("param", "decoder_param") and isinstance(value, Nameable):
        try:
            return value.config_name()
        except ConfigError as error:
            raise ConfigError(name, error.message) from error
    return value


@dataclasses.dataclass(frozen=True)
class Setting:
    """One field of `Config`, as flags and TOML files see it.

    Attributes:
      name: the name of the field.
      type: its type.
      default: its default.
      section: the section of a TOML file in which it stands, and the group of its flag in the help.
      doc: the help text of its flag, whose first sentence can do without the others.
      check: what returns a complaint about a value of the right type, or None.
      outcome: whether a run's numbers depend on it.
      common: whether it is one that people use, so that `--help` shows its flag; `--help-all` shows every one.
      metavar: what its flag takes, in the help, where its type does not say it; shells complete a HEAD and a DIR.
      unset: what an empty default means, in words.
    """

    name: str
    type: Any
    default: Any
    section: str
    doc: str
    check: Validator | None
    outcome: bool
    common: bool
    metavar: str
    unset: str


def _settings() -> Mapping[str, Setting]:
    hints = get_type_hints(Config)
    return types.MappingProxyType(
        {f.name: Setting(f.name, hints[f.name], f.default, **f.metadata) for f in dataclasses.fields(Config)}
    )


SETTINGS: Mapping[str, Setting] = _settings()
SECTIONS = tuple(dict.fromkeys(setting.section for setting in SETTINGS.values()))
