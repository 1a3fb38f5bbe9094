"""The first number of a step that is not finite, and the unit or pixel to which it belongs."""

import dataclasses
import math
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from vaecli.analysis.replay import Replay, StepTaken
from vaecli.report.trail import Breakdown, Followed, ScaleAtFault
from vaecli.vae.anatomy import Anatomy, Inputs, evaluation_inputs, probe_inputs, step_anatomy
from vaecli.vae.compiled import compiled, compiled_steps
from vaecli.vae.divergence import first_block
from vaecli.vae.evaluate import SPLITS
from vaecli.vae.posterior import bounded_log_scale
from vaecli.vae.resolve import Resolved, Scale
from vaecli.vae.steps import TrainState, finite

FORWARDS = ("u", "log_scale", "scale", "loc", "z", "kl", "outputs", "decoder_u", "log_tau", "log_prob", "objective")
BACKWARDS = ("by_outputs", "by_log_tau", "by_decoder_u", "by_z", "by_loc", "by_u")
"""The fields of `Anatomy` in which a number may not be finite, in the order of the computation."""

_OF_PIXELS = ("outputs", "decoder_u", "log_tau", "tau", "log_prob", "by_outputs", "by_log_tau", "by_decoder_u")
_NARROW = math.log(1e-3)
"""A log scale below it is at fault for a gradient that overflows."""
_WIDE = math.log(1e4)
"""One above it is at fault for a draw that does."""
_NEAR = 1e-4
"""So near to 0 is a u that may be 0 in another program, which rounds otherwise."""


class Position(NamedTuple):
    """The position of a number: whether it is a pixel's, its draw, its image in the batch, and which one it is."""

    of_pixel: bool
    draw: int
    image: int
    place: int


class Examined(NamedTuple):
    """What came of the step that spoilt a run.

    Attributes:
      breakdown: what was not finite first.
      followed: the unit or pixel to which it belongs.
      inputs: the images and draws on which it is followed.
      place: where it is among them.
    """

    breakdown: Breakdown
    followed: Followed
    inputs: Inputs
    place: Position

    def values(self, anatomy: Anatomy) -> Mapping[str, float]:
        """Returns the numbers of the followed unit or pixel."""
        return (_pixel_values if self.place.of_pixel else _unit_values)(anatomy, self.inputs, self.place)


def examined(
    replay: Replay, resolved: Resolved, quantity: str, state: TrainState, taken: StepTaken | None, step: int
) -> Examined:
    """Returns what is not finite first at a state, and where.

    Args:
      replay: the run's program.
      resolved: its config.
      quantity: what the run has recorded.
      state: the last parameters of the trail.
      taken: the step that spoilt the run; None where that was a log point.
      step: the step whose schedule, images and draws count.
    """
    split, first, inputs, values, name = _searched(replay, quantity, state, step, in_training=taken is not None)
    if name in ("", "objective"):
        place = _most_extreme(values, inputs, learned=resolved.head.learned, kl=quantity.endswith(("/kl", "/elbo")))
    else:
        place = _first_place(name, getattr(values, name), inputs)
    scale = resolved.decoder if place.of_pixel else resolved.encoder
    breakdown = _breakdown(name, place, values, taken)
    in_float32 = _is_finite_in_float32(replay, name, state, inputs, taken, step)
    breakdown = dataclasses.replace(breakdown, in_float32=in_float32)
    u = float((values.decoder_u if place.of_pixel else values.u)[_index("u", place)])
    near = 0.0 if name == "" and abs(u) < _NEAR else u
    breakdown = dataclasses.replace(
        breakdown,
        at_fault=_at_fault(breakdown, place, values, quantity, resolved),
        singular=scale is not None and scale.head.learned and is_singular(scale, near),
        u=near,
    )
    followed = Followed(
        scale="τ" if place.of_pixel else "σ",
        split=split,
        image=int(replay.order(step)[place.image]) if split == "train" else first + place.image,
        place=place.place,
        head=scale.param if scale else "",
        formula=scale.head.formula if scale else "",
    )
    return Examined(breakdown, followed, inputs, place)


def _searched(
    replay: Replay, quantity: str, state: TrainState, step: int, *, in_training: bool
) -> tuple[str, int, Inputs, Anatomy, str]:
    """Returns the images among which the first number is not finite, the number of the first one, and which it is.

    They are the split, the number of its first image, what is seen of them, what it comes to, and the name of the
    first field; empty where all numbers are finite.
    """
    names = (*FORWARDS, *BACKWARDS) if in_training else (*FORWARDS, "tau")
    found = None
    for split, first, inputs in _batches(replay, quantity, state, step, in_training=in_training):
        values = replay.anatomy(state, inputs, step)
        name = next((name for name in names if _bad(name, getattr(values, name), inputs).any()), "")
        if name or found is None:
            found = split, first, inputs, values, name
        if name:
            break
    assert found is not None
    return found


def _batches(
    replay: Replay, quantity: str, state: TrainState, step: int, *, in_training: bool
) -> Iterator[tuple[str, int, Inputs]]:
    """Yields the images that may have spoilt the run: those of the step, or those of the log point."""
    if in_training:
        yield "train", 0, replay.inputs(state, step)
        return
    dataset, latent = replay.dataset, replay.program.architecture.latent
    of_split = {"test": dataset.test, "validation": dataset.validation}
    named = quantity.partition("/")[0]
    first = named if of_split.get(named) is not None else "test"
    if named not in of_split:
        yield "probe", 0, probe_inputs(replay.operands, jnp.asarray(dataset.probe[0]), latent)
    for split in (first, *(other for other in SPLITS if other != first and of_split[other] is not None)):
        number = 0
        for inputs in evaluation_inputs(replay.operands, jnp.asarray(of_split[split]), latent, split):
            yield split, number, inputs
            number += len(inputs.x)


def _bad(name: str, values: np.ndarray, inputs: Inputs) -> np.ndarray:
    """Returns which numbers of a field are not finite, of images that count."""
    counts = np.asarray(inputs.weight) > 0
    if name != "objective":
        counts = counts[:, None]
    return ~np.isfinite(values) & counts


def _first_place(name: str, values: np.ndarray, inputs: Inputs) -> Position:
    """Returns the place of the first number of a field that is not finite."""
    return _placed(name, tuple(int(axis[0]) for axis in np.nonzero(_bad(name, values, inputs))))


def _placed(name: str, index: tuple[int, ...]) -> Position:
    draw, image, place = (0,) * (3 - len(index)) + index
    return Position(name in _OF_PIXELS, draw, image, place)


def _index(name: str, place: Position) -> tuple[int, ...]:
    """Returns where the numbers of a unit or pixel are within a field."""
    has_draws = place.of_pixel or name in ("z", "by_z")
    return (place.draw, place.image, place.place) if has_draws else (place.image, place.place)


def _most_extreme(values: Anatomy, inputs: Inputs, *, learned: bool, kl: bool) -> Position:
    """Returns the unit or pixel to follow where every number is finite: that of the greatest derivative, or KL."""
    counts = np.asarray(inputs.weight)[:, None] > 0

    def greatest(name: str) -> tuple[float, Position]:
        sizes = np.where(counts, np.nan_to_num(np.abs(getattr(values, name)), nan=np.inf), -1.0)
        index = np.unravel_index(int(sizes.argmax()), sizes.shape)
        return float(sizes[index]), _placed(name, tuple(map(int, index)))

    if kl:
        return greatest("kl")[1]
    (by_u, unit), (by_tau, pixel) = greatest("by_u" if learned else "by_loc"), greatest("by_decoder_u")
    return pixel if by_tau > by_u else unit


def _breakdown(name: str, place: Position, values: Anatomy, taken: StepTaken | None) -> Breakdown:
    """Returns what was not finite first: a number of the anatomy, or of what the whole step comes to."""
    if name == "objective":
        array = values.objective
        return Breakdown(quantity=name, value=float(array[~np.isfinite(array)][0]))
    if name:
        array = getattr(values, name)
        return Breakdown(quantity=name, value=float(array[_index(name, place)]), count=int((~np.isfinite(array)).sum()))
    if taken is None:
        return Breakdown(quantity="unseen", value=math.nan)
    loss = float(sum(map(float, taken.outputs.sums)))
    if not math.isfinite(loss):
        return Breakdown(quantity="unseen", value=loss)
    largest = _largest(taken.gradient)
    for quantity, tree in (("gradient", taken.gradient), ("parameter", taken.after.params)):
        if block := first_block(tree):
            return Breakdown(quantity=quantity, value=largest, block=block)
    is_finite = bool(finite(taken.after.opt_state))
    return Breakdown(quantity="unseen" if is_finite else "optimiser state", value=largest)


def _largest(tree: Any) -> float:
    """Returns the greatest finite number of a tree, by its size."""
    leaves = [np.abs(np.asarray(leaf)) for leaf in jax.tree.leaves(tree)]
    return max((float(leaf[np.isfinite(leaf)].max()) for leaf in leaves if np.isfinite(leaf).any()), default=math.nan)


def _is_finite_in_float32(
    replay: Replay, name: str, state: TrainState, inputs: Inputs, taken: StepTaken | None, step: int
) -> bool | None:
    """Returns whether a step, or what a log point sees, is finite in float32; None for a program that is so."""
    program = replay.program
    if program.architecture.precision == program.head_precision == "float32":
        return None
    architecture = dataclasses.replace(program.architecture, precision="float32")
    exact = dataclasses.replace(program, architecture=architecture, head_precision="float32")
    if taken is not None:
        step_gradient = compiled_steps(exact, vectorise=False).step_gradient
        given = replay.operands, replay.images, taken.before, replay.order(step), replay.schedule(step)
        return bool(finite(step_gradient(*given)))
    if not name:
        return None
    in_exact = compiled(lambda *given: step_anatomy(exact, *given))
    values = jax.device_get(in_exact(replay.operands, state, inputs, replay.schedule(step)))
    return not _bad(name, getattr(values, name), inputs).any()


def _at_fault(
    breakdown: Breakdown, place: Position, values: Anatomy, quantity: str, resolved: Resolved
) -> ScaleAtFault:
    """Returns the scale from which what is not finite comes, as far as that can be said."""
    name, has_tau = breakdown.quantity, resolved.decoder is not None
    log_scale, log_tau = (np.nan_to_num(log, nan=0.0) for log in (values.log_scale, values.log_tau))
    narrow_tau = has_tau and bool(log_tau.min() < _NARROW)
    wide = bool(log_scale.max() > _WIDE)
    if name in ("log_scale", "scale", "kl") or (name == "loc" and resolved.head.couples_mean):
        return "σ"
    if name == "unseen" and (quantity.startswith("log σ") or quantity.endswith("/kl")):
        return "σ"
    if name in ("log_tau", "tau") or (has_tau and name in ("log_prob", "by_outputs", "by_log_tau", "by_decoder_u")):
        return "τ"
    if name in ("by_u", "by_loc") and np.isfinite(values.by_z[:, place.image]).all():
        return "σ"
    if wide and name not in ("u", "decoder_u"):
        return "σ"
    return "τ" if narrow_tau else "σ" if bool(log_scale.min() < _NARROW) and not place.of_pixel else ""


def is_singular(scale: Scale, u: float) -> bool:
    """Returns whether a head, after its bound, has no finite log σ or gain at a u that is finite."""
    if not (scale.head.learned and math.isfinite(u)):
        return False
    # As in training backwards, where a bound that lets no gradient through multiplies an infinite one by 0.
    both = jax.value_and_grad(lambda at: bounded_log_scale(scale.head, scale.bound, at))(jnp.asarray(u, jnp.float32))
    return not all(bool(jnp.isfinite(value)) for value in both)


def _unit_values(anatomy: Anatomy, inputs: Inputs, place: Position) -> Mapping[str, float]:
    """Returns the numbers of a latent dimension of an image."""

    def at(name: str) -> float:
        return float(getattr(anatomy, name)[_index(name, place)])

    by_u, gain_ = at("by_u"), at("gain")
    epsilon = float(inputs.epsilon[place.draw, place.image, place.place])
    return {
        "u": at("u"),
        "gain": gain_,
        "log_sigma": at("log_scale"),
        "sigma": at("scale"),
        "mean": at("loc"),
        "z": at("z"),
        "residual": epsilon,
        "kl": at("kl"),
        "by_log_sigma": _ratio(by_u, gain_),
        "by_u": by_u,
    }


def _pixel_values(anatomy: Anatomy, inputs: Inputs, place: Position) -> Mapping[str, float]:
    """Returns the numbers of a pixel of an image."""

    def at(name: str) -> float:
        return float(getattr(anatomy, name)[_index(name, place)])

    x, log_tau = float(inputs.x[place.image, place.place]), at("log_tau")
    with np.errstate(all="ignore"):
        tau = float(np.exp(np.float32(log_tau)))
        ratio = float(np.float32(x - at("outputs")) / np.float32(tau))
    return {
        "u": at("decoder_u"),
        "gain": at("decoder_gain"),
        "log_tau": log_tau,
        "tau": tau,
        "pixel": x,
        "output": at("outputs"),
        "residual": ratio,
        "log_prob": at("log_prob"),
        "by_output": at("by_outputs"),
        "by_log_tau": at("by_log_tau"),
        "by_u": at("by_decoder_u"),
    }


def _ratio(a: float, b: float) -> float:
    """Returns a/b; NaN where it is not defined."""
    return a / b if math.isfinite(a) and math.isfinite(b) and b != 0 else math.nan
