"""Views one frozen checkpoint through every head: the part that runs on the host."""

import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from vaecli.analysis.probe_batches import Probed, views
from vaecli.analysis.probe_decoder import check_scale_is_learned, decoder_rows
from vaecli.analysis.probe_numbers import cosine_with_error, gain_histogram, step_power, step_size
from vaecli.analysis.restore import resolved_config, training_data
from vaecli.config import UsageError
from vaecli.runs.reading import Run, open_run
from vaecli.training.memory import memory_shortage_as_usage_error
from vaecli.vae.heads.resolve import resolve_head
from vaecli.vae.heads.table import HEADS, LOGVAR
from vaecli.vae.resolve import Resolved

if TYPE_CHECKING:
    from vaecli.vae.gradients.reexpression import Reexpression


class Probe(NamedTuple):
    """The result of `vae probe` for a run.

    Attributes:
      run: the run whose posterior it is, and how many batches, images and draws were used.
      rows: the row of each head: `head`; `problem`, None or why there are no numbers; the statistics, None where they
        are missing, with the standard errors over the batches under `<name>_se`; and `gains`, the histogram of
        log₁₀ |γ|.
    """

    run: Mapping[str, Any]
    rows: Sequence[Mapping[str, Any]]


def probe(
    path: str | os.PathLike[str],
    *,
    data_dir: str | os.PathLike[str] | None = None,
    heads: Sequence[str] = (),
    draws: int = 64,
    batches: int = 32,
    trust_heads: bool = False,
    follow: Callable[[Sequence[int]], Iterable[int]] = iter,
    of: Probed = "encoder",
) -> Probe:
    """Re-expresses what a finished run has learned in other heads, and estimates the gradient noise of each.

    Args:
      path: the run's directory.
      data_dir: where its data lie now, "" for those in this package; by default where they lay.
      heads: the names, or `package.module:attribute`; by default all heads that have an output u, and the run's own.
      draws: the number K of draws of ε for each batch.
      batches: the number of batches of the run's size, from the first training image on; fewer where the images end.
      trust_heads: whether the modules of heads of its own that the run names are imported, which runs their code;
        those in `heads` always are.
      follow: a function that takes the batches' numbers and gives them back, to show the progress.
      of: whether the posterior is put through heads of its σ, or the likelihood through heads of its τ.

    Raises:
      UsageError: the run, its data or a head cannot be used.
    """
    if not 2 <= draws <= 10**6:
        raise UsageError(f"--draws: must lie between 2 and 1000000, since a variance needs two draws, got {draws}")
    if not 1 <= batches <= 10**6:
        raise UsageError(f"--batches: must lie between 1 and 1000000, got {batches}")
    run = open_run(Path(path))
    config = run.config
    resolved = resolved_config(run, heads, trust_heads=trust_heads)
    if of == "decoder":
        check_scale_is_learned(run)
    dataset = training_data(run, data_dir, grad_batches=batches)
    if of == "decoder":
        with memory_shortage_as_usage_error(config, draws=draws):
            rows = decoder_rows(run, resolved, dataset, heads, draws, follow)
        assert resolved.decoder is not None
        return Probe(_facts(path, run, len(dataset.probe), draws, of, step_power(resolved, resolved.decoder)), rows)
    own = resolved.head
    names = heads or [*(name for name, entry in HEADS.items() if entry.learned), *[config.param] * own.learned]
    chosen = {name: resolve_head(name) for name in names}
    viewed = {LOGVAR.name: LOGVAR} | {name: head for name, head in chosen.items() if head.learned}
    with memory_shortage_as_usage_error(config, draws=draws):
        batches_of_views = list(views("encoder", run, resolved, dataset, list(viewed.values()), draws, follow))
    by_head = dict(zip(viewed, _by_head(batches_of_views), strict=True))
    rows = [{"head": name, **_row(by_head.get(name), by_head[LOGVAR.name], resolved)} for name in chosen]
    return Probe(_facts(path, run, len(dataset.probe), draws, of, step_power(resolved, resolved.encoder)), rows)


def _facts(
    path: str | os.PathLike[str], run: Run, batches: int, draws: int, of: Probed, power: int
) -> Mapping[str, Any]:
    config = run.config
    param = config.param if of == "encoder" else config.decoder_param
    facts = {"path": str(path), "param": param, "seed": config.seed, "epochs": run.summary["epochs"]}
    facts |= {"batches": batches, "batch_size": config.batch_size, "draws": draws}
    return facts | {"optimizer": config.optimizer, "lr": config.lr, "lr_power": power, "of": of}


def _by_head(batches: Sequence["Reexpression"]) -> list["Reexpression"]:
    """Returns the views of each head, with the batches along the leading axis."""
    import jax

    stacked = jax.tree.map(lambda *leaves: np.stack(leaves, axis=1), *batches)
    return [jax.tree.map(lambda leaf, k=k: leaf[k], stacked) for k in range(len(stacked.gain))]


def _row(view: "Reexpression | None", reference: "Reexpression", resolved: Resolved) -> Mapping[str, Any]:
    """Returns one head's row without its name; `view` is None for a head without an output u."""
    if view is None:
        problem = "has no output u"
    elif unreached := int(view.unreached.sum()):
        ends = f"{view.least.min():.3g} to {view.greatest.max():.3g}"
        bounded = "" if resolved.bound.kind == "none" else " before the bound"
        problem = f"has no u for σ from {ends}{bounded} (share of the units: {unreached / view.gain.size:.2g})"
    else:
        numbers = _numbers(view, reference, resolved)
        usable = all(numbers[name] is not None for name in ("raw_variance", "block_variance", "cosine"))
        return {"problem": None if usable else "has gradients that are 0 or not finite", **numbers}
    return {"problem": problem, **dict.fromkeys(_numbers(reference, reference, resolved))}


def _numbers(view: "Reexpression", reference: "Reexpression", resolved: Resolved) -> dict[str, Any]:
    """Returns the statistics of one head, each with its standard error over the batches."""
    from vaecli.vae.gradients.moments import ratio, root
    from vaecli.vae.gradients.units import unit_estimates

    units = unit_estimates(view.units)
    estimates = {
        "raw_variance": units["raw"],
        "sigma_variance": units["sigma"],
        "log_sigma_variance": units["log_sigma"],
        "unit_snr": units["snr"],
        "mahalanobis_snr": root(ratio(view.mahalanobis, view.noisy)),
        "block_variance": units["weights"],
        "block_snr": root(ratio(view.signal, view.units.weights)),
        "fisher_ratio": units["fisher_ratio"],
        "fisher_ratio_median": ratio(view.fisher_ratio_median),
        "cosine": cosine_with_error(view.gradient, reference.gradient),
    }
    gain = np.asarray(view.gain, np.float64)
    # A step of the optimiser moves log σ by lr · |γ|ᵖ times what belongs only to log σ.
    power, lr = step_power(resolved, resolved.encoder), resolved.config.lr
    step, reference_step = (step_size(np.asarray(of_head.gain), power, lr) for of_head in (view, reference))
    numbers = {}
    for name, (value, error) in estimates.items():
        numbers |= {name: value, f"{name}_se": error}
    numbers |= {"mean_gain": float(gain.mean()), "effective_step": step, "step_over_logvar": step / reference_step}
    numbers = {name: value if math.isfinite(value) else None for name, value in numbers.items()}
    return numbers | {"gains": gain_histogram(np.abs(gain))}
