"""The settings that make two heads start alike and learn alike.

Let u and u′ be the inputs of two heads at the same σ. Where u = a u′ + c for all σ, the gains obey γ′ = a γ with one a,
and so do the gradients; a start W′ = W/a, b′ = (b − c)/a and an optimiser whose settings follow the powers of |a| in
`vaecli.vae.optimizers.OPTIMIZERS` then make the two runs the same function of time. Where the heads are not affine in
each other, no settings do; those for a = γ′/γ at the starting σ match them to first order.
"""

import dataclasses
import functools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from vaecli.config import ConfigError
from vaecli.vae.heads.table import LOGVAR, Head
from vaecli.vae.optimizers import Optimizer
from vaecli.vae.resolve import Scale

# Twenty nats to either side of σ = 1: two gains whose ratio is constant here have a constant ratio everywhere.
_LOG_SCALES = np.linspace(-20, 20, 401).astype(np.float32)
_AT_ONCE = 512
_U = np.linspace(-40.03, 40.03, 402)


class Match(NamedTuple):
    """The settings with which head B becomes head A; every factor is B's setting over A's, only for the scale head.

    Attributes:
      exact: whether the settings make the two runs the same.
      affine: whether u_A = a u_B + c at every σ, as far as can be seen from e⁻²⁰ to e²⁰.
      a: the ratio of the gains, γ_B/γ_A; at the starting σ where it is not constant.
      c: the constant that is left, u_A − a u_B.
      head_lr_factor: the factor on the learning rate.
      eps_factor: the factor on the optimiser's eps.
      weight_decay_factor: the factor on the weight decay.
      init_weight_factor: the factor on the initial weights, 1/a.
      clip_factor: the factor on the gradient within the norm that is clipped.
    """

    exact: bool
    affine: bool
    a: float
    c: float
    head_lr_factor: float
    eps_factor: float
    weight_decay_factor: float
    init_weight_factor: float
    clip_factor: float


@functools.partial(jax.jit, static_argnums=0)
def _inverse_and_gain(form: Head, log_scales: Array) -> tuple[Array, Array]:
    v = form.inverse(log_scales)
    return v, jnp.where(jnp.isfinite(v), jax.vmap(jax.grad(form.log_scale))(v), jnp.nan)


def inverse_and_gain(chosen: Head, log_scales: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns u and γ = d log σ / du of a head at values of log σ, (values,); NaN where it does not reach them."""
    # Always as many at a time, so that one program serves.
    padded = np.resize(log_scales, (-(-len(log_scales) // _AT_ONCE), _AT_ONCE)).astype(np.float32)
    parts = [jax.device_get(_inverse_and_gain(chosen.form, part)) for part in padded]
    v, gain = (np.concatenate(values)[: len(log_scales)] for values in zip(*parts, strict=True))
    # The slope enters in float64, so that gains of heads that share a form have exactly the ratio of their slopes.
    return np.asarray(v, np.float64) / chosen.slope, np.asarray(gain, np.float64) * chosen.slope


def match(
    a: Head, b: Head, optimizer: Optimizer, log_scale: float, *, decays: bool = False, natural: bool = False
) -> Match:
    """Returns the settings that make head `b` what head `a` is.

    The gradient of b is γ_B/γ_A times that of a or, divided by the information about u, γ_A/γ_B times. With p = 1 or −1
    for the power, the learning rate follows |a| to the power 1 + (P − 1) p, where P is the optimiser's `lr_power`, and
    so on.

    Args:
      a: the head to be like.
      b: the head to set.
      optimizer: the optimiser of both.
      log_scale: the log σ, without bound, at which a match that is not exact is of first order.
      decays: whether there is weight decay, which no setting can match in a bias that is shifted by c ≠ 0.
      natural: whether the gradient is divided by the information about u.

    Raises:
      ConfigError: the gain of one of them is 0, infinite or unknown at that σ.
    """
    (u_a,), (gain_a,) = inverse_and_gain(a, np.array([log_scale]))
    (u_b,), (gain_b,) = inverse_and_gain(b, np.array([log_scale]))
    for chosen, u, gain in ((a, u_a, gain_a), (b, u_b, gain_b)):
        if not chosen.learned:
            raise ConfigError("param", f"{chosen.name} cannot be matched: it has no output to match")
        if not math.isfinite(u):
            raise ConfigError("param", f"{chosen.name} cannot be matched: no u gives log σ = {log_scale:g}")
        if not math.isfinite(gain) or gain == 0:
            where = f"at log σ = {log_scale:g} its gain is {gain:g}"
            raise ConfigError("param", f"{chosen.name} cannot be matched: {where}")
    ratio = float(gain_b / gain_a)
    size, shift = abs(ratio), float(u_a - ratio * u_b)
    affine, power = _affine(a, b, ratio, shift), -1 if natural else 1
    lr_power = 1 + (optimizer.lr_power - 1) * power
    return Match(
        exact=affine and not (decays and shift != 0),
        affine=affine,
        a=ratio,
        c=shift,
        head_lr_factor=size**-lr_power,
        eps_factor=size ** (power * optimizer.eps_power),
        weight_decay_factor=size ** (lr_power if optimizer.decouples else 1 + power),
        init_weight_factor=1 / ratio,
        clip_factor=size**-power,
    )


def _affine(a: Head, b: Head, ratio: float, shift: float) -> bool:
    """Returns whether γ_B/γ_A is the same number at every σ, which is so when u_A is affine in u_B.

    Heads of different forms must have the same σ at every u, too: |u| is another head than u below 0.
    """
    if a.couples_mean != b.couples_mean or a.limits != b.limits:
        return False
    gain_a, gain_b = (inverse_and_gain(chosen, _LOG_SCALES)[1] for chosen in (a, b))
    known = np.isfinite(gain_a)
    same_reach = known.any() and (known == np.isfinite(gain_b)).all()
    if not (same_reach and np.allclose(gain_b[known], ratio * gain_a[known], rtol=1e-5, atol=0)):
        return False
    return a.form == b.form or np.allclose(
        _log_scale(a.form, np.float32(a.slope * (ratio * _U + shift))),
        _log_scale(b.form, np.float32(b.slope * _U)),
        rtol=1e-3,
        atol=1e-3,
        equal_nan=True,
    )


@functools.partial(jax.jit, static_argnums=0)
def _log_scale(form: Head, v: Array) -> Array:
    return form.log_scale(v)


class ScaleHeadStart(NamedTuple):
    """The values at which a scale's head starts.

    Attributes:
      weight: the factor on its drawn weights.
      bias: the u at features of 0; for a head that is not learned, log σ before its bound.
    """

    weight: float
    bias: float


def start(scale: Scale, optimizer: Optimizer) -> ScaleHeadStart:
    """Returns the start of a scale's head.

    * `native`: the weights as drawn, bias 0.
    * `centred`: the bias u₀ at which σ is as the config says.
    * `matched`: centred, and the weights times γ_logvar/γ(u₀), so that log σ starts with the same spread in every head,
      and with the same sign.

    Raises:
      ConfigError: the head does not reach that σ, or cannot be matched there.
    """
    head = scale.head
    if scale.init == "native" and head.learned:
        return ScaleHeadStart(scale.weight, 0.0)
    log_scale = unbounded_start(scale)
    if not head.learned:
        return ScaleHeadStart(scale.weight, log_scale)
    (bias,), _ = inverse_and_gain(head, np.array([log_scale]))
    if not math.isfinite(bias):
        unknown = f"no u is known at which {scale.param} has log {scale.fields.symbol} = {log_scale:g}"
        raise ConfigError(scale.fields.std, f"{unknown}; see f_inverse in 'vae docs heads'")
    if scale.init == "centred":
        return ScaleHeadStart(scale.weight, bias)
    return ScaleHeadStart(scale.weight * _to_logvar(scale, optimizer).init_weight_factor, bias)


def _to_logvar(scale: Scale, optimizer: Optimizer) -> Match:
    """Returns the settings that make a scale's head what `logvar` is, at the σ of its start.

    Raises:
      ConfigError: there are none.
    """
    try:
        return match(LOGVAR, scale.head, optimizer, unbounded_start(scale), natural=scale.natural)
    except ConfigError as error:
        raise ConfigError(scale.fields.param, error.message) from error


def unbounded_start(scale: Scale) -> float:
    """Returns the log σ at which the head itself starts: at u = 0, or so that the bounded σ is as the config says."""
    if scale.init == "native" and scale.head.learned:
        return float(scale.head.log_scale(jnp.zeros((), jnp.float32)))
    return scale.bound.inverse(math.log(scale.std))


class Factors(NamedTuple):
    """The settings of a scale's head over those of the other blocks."""

    lr: float
    eps: float
    weight_decay: float
    clip: float

    def in_unit(self, unit: float, optimizer: Optimizer) -> "Factors":
        """Returns the settings with which an optimiser makes the same update of u from the gradient over `unit`."""
        lr_power = optimizer.lr_power - 1
        decay_power = lr_power if optimizer.decouples else 1
        return Factors(
            lr=self.lr * unit**lr_power,
            eps=self.eps / unit**optimizer.eps_power,
            weight_decay=self.weight_decay / unit**decay_power,
            clip=self.clip * unit,
        )


def gradient_unit(scale: Scale, optimizer: Optimizer) -> float:
    """Returns the unit in which the optimiser receives the gradient of a head: a power of two, 1 for `logvar`.

    An optimiser that takes signs makes a whole step of a momentum of any size. Heads with one form and matched settings
    then have to have the same momentum, so that one whose gradient has ended decays to less than float32 holds at the
    same step for all of them. The power is that of the slope, or of 1 over the slope where the gradient is natural, and
    a power of two changes no digit. For the other optimisers, whose steps end with the momentum, the unit is 1.
    """
    if not optimizer.takes_signs:
        return 1.0
    power = math.frexp(scale.head.slope)[1] - math.frexp(LOGVAR.slope)[1]
    return 2.0 ** (-power if scale.natural else power)


def factors(scale: Scale, optimizer: Optimizer) -> Factors:
    """Returns the factors of a scale's head; `matched` are those that make it learn like `logvar`.

    Raises:
      ConfigError: `matched` is asked for, and the head cannot be matched.
    """
    if scale.lr == "matched":
        matched = _to_logvar(scale, optimizer)
        return Factors(matched.head_lr_factor, matched.eps_factor, matched.weight_decay_factor, matched.clip_factor)
    return Factors(1.0 if isinstance(scale.lr, str) else scale.lr, scale.eps, scale.weight_decay, scale.clip)


class HeadNumbers(NamedTuple):
    """All that a run receives of a scale's head, in a unit of u that heads share whose slopes differ by a power of two.

    Two runs that are alike in these numbers, and in all settings that they do not come from, are the same bit for bit.

    Attributes:
      form: what of the head is compiled in.
      slope: its slope in that unit, at least 1 and less than 2.
      start: where it starts.
      factors: the settings of its optimiser over those of the other blocks.
    """

    form: Head
    slope: float
    start: ScaleHeadStart
    factors: Factors


def numbers(scale: Scale, optimizer: Optimizer, *, rescaled: bool = True) -> HeadNumbers:
    """Returns the numbers of a scale's head.

    Args:
      scale: its settings.
      optimizer: the optimiser of the run.
      rescaled: whether they are given in the shared unit; if not, in that of u itself, in which only runs of heads with
        one slope are alike.

    Raises:
      ConfigError: the head does not start at that σ, or cannot be matched.
    """
    head, own, at_start = scale.head, factors(scale, optimizer), start(scale, optimizer)
    if not (rescaled and head.learned):
        return HeadNumbers(head.form, head.slope, at_start, own)
    unit = dataclasses.replace(head, slope=2 * math.frexp(abs(head.slope))[0])
    a = head.slope / unit.slope
    to_unit = match(unit, head, optimizer, unbounded_start(scale), natural=scale.natural)
    return HeadNumbers(
        head.form,
        unit.slope,
        ScaleHeadStart(at_start.weight * a, at_start.bias * a),
        Factors(
            own.lr / to_unit.head_lr_factor,
            own.eps / to_unit.eps_factor,
            own.weight_decay / to_unit.weight_decay_factor,
            own.clip / to_unit.clip_factor,
        ),
    )
