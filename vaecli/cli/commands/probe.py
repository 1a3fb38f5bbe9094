"""`vae probe RUN`: one frozen checkpoint seen through every head."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import tyro

from vaecli.cli import output
from vaecli.cli.command import Command, Example, Invocation
from vaecli.cli.exit_codes import ExitCode
from vaecli.cli.options import (
    PICTURES,
    DataFolder,
    JsonSwitch,
    RunArgument,
    TrustSwitch,
    check_different,
    data_folder,
    file_option,
    output_file,
    outside_run,
    progress,
    required_run,
)
from vaecli.config import ConfigError, UsageError
from vaecli.config.texts import minus
from vaecli.training.terminal import print_result


@dataclasses.dataclass(frozen=True)
class ProbeOptions:
    """What is probed, with how many samples, and how the result is shown."""

    path: RunArgument = ""
    of: Annotated[
        Literal["encoder", "decoder"],
        tyro.conf.arg(
            help="Whose heads: those of σ of q(z|x), or of the learned scale τ of the likelihood.",
        ),
    ] = "encoder"
    data_dir: DataFolder = None
    heads: Annotated[
        str,
        tyro.conf.arg(
            metavar="HEAD,HEAD,…",
            help="Only these: names, or package.module:attribute.",
            help_behavior_hint="(default: all with an output u, and the run's own)",
        ),
    ] = ""
    draws: Annotated[int, tyro.conf.arg(help="Draws of ε for each batch.")] = 64
    batches: Annotated[int, tyro.conf.arg(help="Number of batches, the first ones of the run's training images.")] = 32
    trust_heads: TrustSwitch = False
    json: JsonSwitch = False
    csv: Annotated[str, file_option("Write the table as CSV; only --json has the histograms of gains too.")] = ""
    plot: Annotated[str, file_option("Draw the table and the histogram of gains: a .png or .svg file.")] = ""


def run(options: ProbeOptions, invocation: Invocation) -> int:
    """Probes a run, and prints, writes or draws the result."""
    path = required_run(options.path, "probe")
    table = output_file("--csv", options.csv)
    plot = output_file("--plot", options.plot, PICTURES)
    named = {"--csv": table, "--plot": plot}
    for flag, file in named.items():
        if file:
            outside_run(flag, file, path)
    check_different(named)
    heads = _head_names(options.heads)
    from vaecli.analysis.probe import probe
    from vaecli.runs.files import write_output

    try:
        result = probe(
            path,
            data_dir=data_folder(options.data_dir),
            heads=heads,
            draws=options.draws,
            batches=options.batches,
            trust_heads=options.trust_heads,
            follow=progress("probing"),
            of=options.of,
        )
    except ConfigError as error:
        raise UsageError(f"--heads: {error.message}" if error.field == "param" else str(error)) from None
    if table:
        header = [name for name in result.rows[0] if name != "gains"]
        rows = [[row[name] for name in header] for row in result.rows]
        write_output(table, output.csv_text(header, rows, line_end="\r\n"))
    if plot:
        from vaecli.report.figures import files
        from vaecli.report.figures import probe as picture

        files.save(lambda: picture.probe(result.run, result.rows), plot)
    if options.json:
        output.print_json({"run": result.run, "heads": result.rows})
    else:
        _print_tables(result.run, result.rows)
        for file in filter(None, named.values()):
            print_result(str(file))
    return ExitCode.DONE


def _head_names(text: str) -> tuple[str, ...]:
    """Returns the heads that `--heads` names, each once, or an empty tuple where it was not given."""
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    if text and not names:
        raise UsageError(f"--heads: names no head, got {text!r}")
    return names


_UNITS = {
    "head": "head",
    "Var by u": "raw_variance",
    "Var by σ": "sigma_variance",
    "Var by log σ": "log_sigma_variance",
    "SNR of u": "unit_snr",
    "SNR of μ, σ": "mahalanobis_snr",
    "Fisher ratio": "fisher_ratio",
}
_PIXELS = {
    "head": "head",
    "Var by u": "raw_variance",
    "Var by log τ": "log_tau_variance",
    "SNR of log τ": "unit_snr",
    "Fisher ratio": "fisher_ratio",
    "least |γ|": "least_gain",
    "greatest |γ|": "greatest_gain",
}
_WEIGHTS = {
    "head": "head",
    "Var of weights": "block_variance",
    "SNR of weights": "block_snr",
    "cosine": "cosine",
    "mean γ": "mean_gain",
    "step": "effective_step",
    "over logvar's": "step_over_logvar",
}


def _print_tables(run: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> None:
    """Prints what was probed, a table of the units and one of the weights, and how to read them."""
    console = output.stdout_console()
    size = f"batches: {run['batches']} of {run['batch_size']} images, draws of ε: {run['draws']} each"
    output.print_words(console, f"{run['path']}: {run['param']}, seed {run['seed']}, epochs: {run['epochs']}; {size}")
    of_decoder = run["of"] == "decoder"
    for columns in (_PIXELS if of_decoder else _UNITS, _WEIGHTS):
        cells = [
            [
                f"{row['head']} *" if row["problem"] else row["head"],
                *(_cell(row[field], row.get(f"{field}_se")) for field in columns.values() if field != "head"),
            ]
            for row in rows
        ]
        output.print_table(console, columns, cells, left=["head"])
    for row in rows:
        if row["problem"]:
            output.print_words(console, f"* {row['head']} {row['problem']}")
    step = f"lr{['', ' · mean |γ|', ' · mean γ²'][run['lr_power']]}, as {run['optimizer']} moves log"
    of_encoder = (
        "Above: of the derivative of one image's loss by its u, over ε; means over units. Below: of the gradient by",
        f"the scale head's weights. Step: {step} σ. In brackets: the",
        "standard error in the last digits.",
    )
    of_pixels = (
        "Above: of the derivative of one image's loss by u at one pixel, over ε; means over images and pixels. Below:",
        f"of the gradient by what gives u. Step: {step} τ. In brackets: the",
        "standard error in the last digits.",
    )
    for line in of_pixels if of_decoder else of_encoder:
        output.print_words(console, line)


def _cell(value: float | None, error: float | None) -> str:
    """Returns a number, with its standard error in units of its last digits: 0.437(16) is 0.437 ± 0.016."""
    if value is None:
        return "–"
    if not error:
        return minus(f"{value:.4g}")
    places = max(0, 1 - math.floor(math.log10(error)))
    if places > 6 or abs(value) >= 1e6:
        return minus(f"{value:.4g} ± {error:.1g}")
    return minus(f"{value:.{places}f}({round(error * 10**places)})")


COMMAND = Command(
    summary="See one trained posterior, or likelihood, through every head.",
    description="See one trained posterior, or the scale of a likelihood, through every head: raw gradient variance as "
    "well as SNR, Fisher ratio and cosine.",
    options=ProbeOptions,
    run=run,
    examples=[
        Example("vae probe runs/mnist/logvar/seed0", "every head"),
        Example("vae probe runs/mnist/logvar/seed0 --heads logvar,logstd --plot probe.svg", "two of them, drawn"),
        Example("vae probe runs/mnist/logvar/seed0 --of decoder", "heads of a likelihood's learned scale"),
    ],
)
