"""Views one frozen likelihood through every head of its scale: the part that runs on the host."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from vaecli.analysis.probe_batches import views
from vaecli.analysis.probe_numbers import cosine_with_error, gain_histogram, step_power, step_size
from vaecli.config import UsageError
from vaecli.config.schema import WITHOUT_SCALE
from vaecli.data import Dataset
from vaecli.runs.reading import Run
from vaecli.vae.heads.resolve import resolve_head
from vaecli.vae.heads.table import HEADS, LOGVAR, Head
from vaecli.vae.resolve import Resolved

if TYPE_CHECKING:
    from vaecli.vae.gradients.decoder_reexpression import DecoderReexpression

_GROUPS = 8
"""The gradients of the batches are added up in so many groups: those of all would take a gigabyte."""


def check_scale_is_learned(run: Run) -> None:
    """Refuses a run without a likelihood's scale that is learned.

    Raises:
      UsageError: the run is such a one.
    """
    config = run.config
    if config.likelihood in WITHOUT_SCALE:
        why = f"its likelihood, {config.likelihood}, has no scale"
    elif config.decoder_param == "fixed":
        why = "the scale of its likelihood is not learned (decoder_param is fixed)"
    elif config.decoder_scale == "optimal":
        why = "the scale of its likelihood is worked out, not learned (decoder_scale is optimal)"
    else:
        return
    raise UsageError(f"--of decoder: {run.path}: {why}")


class _Views(NamedTuple):
    """What came of all batches.

    Attributes:
      batches: the figures of each batch but for the gradients, along the leading axis.
      gradients: the sums of the mean gradients over the batches of each group, (groups, heads, parameters).
    """

    batches: "DecoderReexpression"
    gradients: np.ndarray


def decoder_rows(
    run: Run,
    resolved: Resolved,
    dataset: Dataset,
    names: Sequence[str],
    draws: int,
    follow: Callable[[Sequence[int]], Iterable[int]],
) -> list[Mapping[str, Any]]:
    """Returns the row of each head, as `analysis.probe.Probe` has them.

    Args:
      run: the run.
      resolved: its config.
      dataset: its data.
      names: the heads; by default all that the decoder can have, and the run's own.
      draws: the number K of draws of ε for each batch.
      follow: takes the batches' numbers and gives them back.

    Raises:
      UsageError: the checkpoint or a head cannot be used.
    """
    possible = [name for name, head in HEADS.items() if _problem(head) is None]
    chosen = {name: resolve_head(name) for name in names or [*possible, run.config.decoder_param]}
    viewed = {LOGVAR.name: LOGVAR} | {name: head for name, head in chosen.items() if _problem(head) is None}
    collected, place = _collected(run, resolved, dataset, list(viewed.values()), draws, follow), list(viewed).index
    rows = []
    for name, head in chosen.items():
        problem, numbers = _problem(head), _numbers(collected, place(LOGVAR.name), 0, resolved)
        if problem is None:
            problem, numbers = _row(collected, place(name), place(LOGVAR.name), resolved)
        else:
            numbers = dict.fromkeys(numbers)
        rows.append({"head": name, "problem": problem, **numbers})
    return rows


def _problem(head: Head) -> str | None:
    """Returns why a head cannot be the decoder's; None for one that can."""
    if not head.learned:
        return "has no output u"
    return "also moves the mean; the decoder has its own" if head.couples_mean else None


def _collected(
    run: Run,
    resolved: Resolved,
    dataset: Dataset,
    heads: Sequence[Head],
    draws: int,
    follow: Callable[[Sequence[int]], Iterable[int]],
) -> _Views:
    groups = min(_GROUPS, len(dataset.probe))
    found, gradients = [], np.zeros(())
    for number, one in enumerate(views("decoder", run, resolved, dataset, heads, draws, follow)):
        if not found:
            gradients = np.zeros((groups, *one.gradient.shape))
        gradients[number % groups] += one.gradient
        found.append(one._replace(gradient=np.zeros(())))
    stacked = [np.stack(of_batches).astype(np.float64) for of_batches in zip(*found, strict=True)]
    return _Views(type(found[0])(*stacked), gradients)


def _row(collected: _Views, place: int, reference: int, resolved: Resolved) -> tuple[str | None, dict[str, Any]]:
    """Returns why there are no numbers of a head, and the numbers, which are None then."""
    numbers = _numbers(collected, place, reference, resolved)
    share = collected.batches.unreached[:, place].mean()
    if share == 0:
        usable = all(numbers[name] is not None for name in ("raw_variance", "block_variance", "cosine"))
        return None if usable else "has gradients that are 0 or not finite", numbers
    assert resolved.decoder is not None
    least, greatest = collected.batches.least[:, place].min(), collected.batches.greatest[:, place].max()
    ends = f" from {least:.3g} to {greatest:.3g}" if math.isfinite(least) else ""
    bounded = "" if resolved.decoder.bound.kind == "none" else " before the bound"
    return f"has no u for τ{ends}{bounded} (share of the pixels: {share:.2g})", dict.fromkeys(numbers)


def _numbers(collected: _Views, place: int, reference: int, resolved: Resolved) -> dict[str, Any]:
    """Returns the statistics of one head, each with its standard error over the batches."""
    from vaecli.vae.gradients.moments import ratio, root

    of_all, gradients = collected.batches, collected.gradients
    estimates = {
        "raw_variance": ratio(of_all.raw[:, place]),
        "log_tau_variance": ratio(of_all.log_tau),
        "unit_snr": root(ratio(of_all.signal, of_all.log_tau)),
        "fisher_ratio": ratio(of_all.fisher_ratio),
        "block_variance": ratio(of_all.block_variance[:, place]),
        "block_snr": root(ratio(of_all.block_signal[:, place], of_all.block_variance[:, place])),
        "cosine": cosine_with_error(gradients[:, place], gradients[:, reference]),
    }
    assert resolved.decoder is not None
    gain, logvars = (np.asarray(of_all.gain)[:, number] for number in (place, reference))
    power, lr = step_power(resolved, resolved.decoder), resolved.config.lr
    step, reference_step = step_size(gain, power, lr), step_size(logvars, power, lr)
    numbers = {}
    for name, (value, error) in estimates.items():
        numbers |= {name: value, f"{name}_se": error}
    size = np.abs(gain)
    numbers |= {"mean_gain": float(gain.mean()), "least_gain": float(size.min()), "greatest_gain": float(size.max())}
    with np.errstate(divide="ignore", invalid="ignore"):
        numbers |= {"effective_step": step, "step_over_logvar": float(np.divide(step, reference_step))}
    numbers = {name: value if math.isfinite(value) else None for name, value in numbers.items()}
    return numbers | {"gains": gain_histogram(size) if np.isfinite(size).all() else None}
