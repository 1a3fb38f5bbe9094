"""`vae evaluate RUN`: log p(x) by importance sampling, the ELBO, the use of the latent dimensions."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from vaecli.cli import output
from vaecli.cli.command import Command, Example, Invocation
from vaecli.cli.exit_codes import ExitCode
from vaecli.cli.options import (
    DataFolder,
    JsonSwitch,
    RunArgument,
    TrustSwitch,
    data_folder,
    named_path,
    outside_run,
    progress,
    required_run,
)
from vaecli.config import UsageError
from vaecli.config.texts import minus
from vaecli.runs.limits import check_paths
from vaecli.training.terminal import print_message, print_result


@dataclasses.dataclass(frozen=True)
class EvaluateOptions:
    """What is evaluated, with how many samples, and how the result is shown."""

    path: RunArgument = ""
    data_dir: DataFolder = None
    samples: Annotated[int, tyro.conf.arg(help="Draws of z for each image.")] = 5000
    split: Annotated[
        Literal["test", "validation"],
        tyro.conf.arg(help="Images to evaluate on; validation only for a run that held them out."),
    ] = "test"
    checkpoint: Annotated[
        Literal["last", "best"],
        tyro.conf.arg(help="The last one, or the best on the validation split of a run with --validation."),
    ] = "last"
    images: Annotated[
        str,
        tyro.conf.arg(
            metavar="DIR",
            help="Draw reconstructions, samples and σ in this folder, and with two latents their grid.",
            help_behavior_hint="",
        ),
    ] = ""
    trust_heads: TrustSwitch = False
    json: JsonSwitch = False


def run(options: EvaluateOptions, invocation: Invocation) -> int:
    """Evaluates a run, and prints the result."""
    path = required_run(options.path, "evaluate")
    images = _images_folder(options.images, path)
    from vaecli.analysis.evaluate import evaluate

    evaluation = evaluate(
        path,
        data_dir=data_folder(options.data_dir),
        samples=options.samples,
        split=options.split,
        checkpoint=options.checkpoint,
        images=images,
        trust_heads=options.trust_heads,
        follow=progress("evaluating"),
        note=lambda text: print_message(f"vae: {text}"),
    )
    if warning := _warning(evaluation):
        print_message(f"vae: {warning}")
    if options.json:
        output.print_json(evaluation)
    else:
        _print(evaluation)
    return ExitCode.DONE


def _images_folder(text: str, run: str) -> Path | None:
    """Returns the folder for pictures that `--images` names, or None where it names none."""
    if not text:
        return None
    folder = named_path("--images", text)
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"--images: {folder} is a file, not a folder")
    check_paths([folder])
    return outside_run("--images", folder, run)


def _print(evaluation: Mapping[str, Any]) -> None:
    """Prints an evaluation for a person."""
    print_result(
        f"{evaluation['path']}: {evaluation['split']} split, images: {evaluation['images']}, "
        f"{evaluation['checkpoint']} checkpoint (epoch {evaluation['epoch']}), samples: {evaluation['samples']}"
    )
    for name, text in _lines(evaluation).items():
        print_result(f"  {name:18}{text}")
    print_result("  nats per image")
    for picture in evaluation["pictures"]:
        print_result(picture)


def _lines(evaluation: Mapping[str, Any]) -> dict[str, str]:
    """Returns the quantities as texts, by their names."""

    def number(name: str) -> str:
        return "not finite" if evaluation[name] is None else minus(f"{evaluation[name]:.4f}")

    def share(name: str) -> str:
        return f"{100 * evaluation[name]:.4g} % of the images"

    error = evaluation["nll_se"]
    error_and_bias = "" if error is None else f" ± {error:.4f} (sampling error; bias about +{number('nll_bias')})"
    heavy = evaluation["heavy_tailed"]
    bits = {"NLL in bits": f"{number('nll_bits_per_dim')} per pixel"} if "nll_bits_per_dim" in evaluation else {}
    return {
        "NLL": f"{number('nll')}{error_and_bias}",
        "95 % interval": _interval(evaluation),
        **bits,
        "ELBO": number("elbo"),
        "reconstruction": number("reconstruction"),
        "KL": number("kl"),
        "active units": f"{evaluation['active_units']} of {evaluation['latent']}",
        "effective samples": f"{number('effective_samples')} (median over the images); few in {share('few_effective')}",
        "Pareto k": "needs 64 samples" if heavy is None else f"above 0.7 in {share('heavy_tailed')}",
        "σ": f"mean {number('sigma_mean')}; "
        + ", ".join(f"{label} {number(f'sigma_{label}')}" for label in ("min", "q05", "median", "q95", "max")),
        "KL per latent": " ".join(
            "–" if value is None else minus(f"{value:.2f}") for value in evaluation["kl_per_latent"]
        ),
    }


def _warning(evaluation: Mapping[str, Any]) -> str:
    """Says why the NLL cannot be relied on; nothing where it can."""
    if evaluation["heavy_tailed"] is None:
        return "the NLL has no interval: that takes 64 samples"
    if evaluation["nll"] is None:
        return "the NLL is not finite"
    if not evaluation["nll_unreliable"]:
        return ""
    few, heavy = (100 * evaluation[name] for name in ("few_effective", "heavy_tailed"))
    return (
        f"the NLL is unreliable: {few:.3g} % of the images have few effective samples, {heavy:.3g} % Pareto k̂ > 0.7; "
        "the exact one may lie below the interval; raise --samples, and see whether it falls"
    )


def _interval(evaluation: Mapping[str, Any]) -> str:
    """Returns the interval of the exact NLL as text, and the NLL at half as many samples."""
    half = evaluation["nll_half"]
    at_half = "" if half is None else f"; NLL {minus(f'{half:.4f}')} at {evaluation['samples'] // 2} samples"
    low, high = evaluation["nll_low"], evaluation["nll_high"]
    if high is None:
        return f"not known{at_half}"
    ends = minus(f"below {high:.4f}" if low is None else f"{low:.4f} to {high:.4f}")
    return f"{ends}{' (unreliable)' * evaluation['nll_unreliable']}{at_half}"


COMMAND = Command(
    summary="Estimate log p(x) of a run by importance sampling.",
    description="Evaluate a trained run: NLL by importance sampling, ELBO, KL per latent, active units; and its "
    "pictures.",
    options=EvaluateOptions,
    run=run,
    examples=[
        Example("vae evaluate runs/mnist/logvar/seed0", "with 5000 samples for each image"),
        Example("vae evaluate runs/mnist/logvar/seed0 --images pictures", "and draw them"),
    ],
)
