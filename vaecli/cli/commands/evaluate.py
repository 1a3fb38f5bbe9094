"""`vae evaluate RUN`: log p(x) by importance sampling, the ELBO, the use of the latent dimensions."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from vaecli.cli.options import DONE, RunPath, Switch, named_path, progress
from vaecli.config import UsageError
from vaecli.config.files import Source

DESCRIPTION = "Evaluate a trained run: NLL by importance sampling, ELBO, KL per latent, active units; and its pictures."
FIELDS = ()

_FEW = 10


@dataclasses.dataclass(frozen=True)
class Options:
    """Which run, on what, with how many samples, and in which form."""

    path: RunPath = ""
    samples: Annotated[int, tyro.conf.arg(help="Draws of z for each image.")] = 5000
    split: Annotated[
        Literal["test", "validation"],
        tyro.conf.arg(help="Whose images; validation only of a run that held them out."),
    ] = "test"
    checkpoint: Annotated[
        Literal["last", "best"],
        tyro.conf.arg(help="The last one, or the best on the validation split of a run with --validation."),
    ] = "last"
    images: Annotated[
        str,
        tyro.conf.arg(
            metavar="DIR",
            help="Draw reconstructions, samples and σ there, and with two latents their grid.",
            help_behavior_hint="",
        ),
    ] = ""
    json: Annotated[Switch, tyro.conf.arg(help="Print the result as JSON on stdout.")] = False


def run(instance: Any, source: Source, argv: Sequence[str]) -> int:
    """Evaluates, and prints what was found."""
    options: Options = instance.command
    if not options.path:
        raise UsageError("a run is needed, as in: vae evaluate runs/mnist/logvar/seed0")
    folder = named_path("--images", options.images) if options.images else None
    if folder and folder.exists() and not folder.is_dir():
        raise UsageError(f"--images: {folder} is a file and no folder")
    if folder and folder.resolve().is_relative_to(Path(options.path).resolve()):
        raise UsageError(f"--images: {folder} lies in the run's own directory; name a folder outside of it")
    from vaecli.analysis.evaluate import evaluate

    found = evaluate(
        options.path,
        samples=options.samples,
        split=options.split,
        checkpoint=options.checkpoint,
        images=folder,
        follow=progress("evaluating"),
    )
    if options.json:
        print(json.dumps(found, indent=2, ensure_ascii=False, allow_nan=False))
    else:
        _print(found)
    return DONE


def _print(found: Mapping[str, Any]) -> None:
    def number(name: str) -> str:
        return "not finite" if found[name] is None else f"{found[name]:.4f}"

    print(
        f"{found['path']}: {found['split']} split, images: {found['images']}, {found['checkpoint']} checkpoint "
        f"(epoch {found['epoch']}), samples: {found['samples']}"
    )
    error = (
        ""
        if found["nll_se"] is None
        else f" ± {found['nll_se']:.4f} (sampling error; bias about +{number('nll_bias')})"
    )
    effective = found["effective_samples"]
    many = effective is not None and (effective >= _FEW or effective > found["samples"] / 2)
    few = "" if many else "; few: error and bias are larger than they seem"
    lines = {
        "NLL": f"{number('nll')}{error}",
        "ELBO": number("elbo"),
        "reconstruction": number("reconstruction"),
        "KL": number("kl"),
        "active units": f"{found['active_units']} of {found['latent']}",
        "effective samples": f"{number('effective_samples')} (median over the images{few})",
        "σ": f"mean {number('sigma_mean')}; "
        + ", ".join(f"{label} {number(f'sigma_{label}')}" for label in ("min", "q05", "median", "q95", "max")),
        "KL per latent": " ".join("–" if value is None else f"{value:.2f}" for value in found["kl_per_latent"]),
    }
    for name, text in lines.items():
        print(f"  {name:18}{text}")
    print("  nats per image")
    for picture in found["pictures"]:
        print(picture)
