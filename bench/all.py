"""Measures every ratio that the README or bench/README.md claims, and says which fall short of it.

    python bench/all.py [--torch-python PYTHON] [--baseline CHECKOUT] [--only WORD …] [--logs DIR]

Each bench runs by itself, one after the other, on a machine that should have nothing else to do; all of them take about
an hour. What each prints goes into DIR. A claim whose bench could not be run (PyTorch is not there, say) is listed as
not measured. bench/gpu.sh does the same for a GPU.
"""

import argparse
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

_NUMBER = r"([+-]?\d+(?:\.\d+)?(?:e[+-]?\d+)?)"


class Claim(NamedTuple):
    """A ratio that is claimed.

    Attributes:
      what: what is measured, over what it is compared with.
      pattern: a line of the bench's output, as a regular expression whose group is the number; where several lines
        match, the worst of them counts.
      bound: the number that is claimed.
      kind: on which side of the bound the number lies, if the claim is true.
      unit: what the number is written in: a plain ratio, or per cent.
    """

    what: str
    pattern: str
    bound: float
    kind: Literal["at most", "at least"] = "at most"
    unit: str = ""

    def measured(self, output: str) -> float | None:
        """Returns the number that a bench printed, or None where it printed none."""
        numbers = [float(number) for number in re.findall(self.pattern, output)]
        return (max if self.kind == "at most" else min)(numbers, default=None)

    def holds(self, number: float) -> bool:
        """Returns whether a number is what is claimed."""
        return number <= self.bound if self.kind == "at most" else number >= self.bound


class Bench(NamedTuple):
    """A bench, with its arguments, and what is claimed of what it prints."""

    script: str
    arguments: Sequence[str]
    claims: Sequence[Claim]


BENCHES = [
    Bench(
        "throughput.py",
        ["--rounds", "7", "--epochs", "4", "--torch-python", "{torch}"],
        [
            Claim("the training loop, everything logged / its floor", rf"vae train / floor: {_NUMBER}", 1.15),
            Claim("PyTorch eager / the training loop", rf"pytorch eager / vae train: {_NUMBER}", 1.5, "at least"),
        ],
    ),
    Bench(
        "convolutions.py",
        ["--torch-python", "{torch}"],
        [
            Claim("a step of tf_cvae / of PyTorch eager", rf"training step / pytorch eager: {_NUMBER}", 0.55),
            Claim("a step of tf_cvae / its matrix products", rf"training step / matrix products: {_NUMBER}", 2.2),
        ],
    ),
    Bench(
        "first_point.py",
        ["--baseline", "{baseline}"],
        [
            Claim(
                f"first log point, {cache} cache / at the baseline",
                rf"{cache} +ours / theirs, to the first log point: {_NUMBER}",
                bound,
            )
            for cache, bound in (("cold", 0.6), ("warm", 0.7))
        ],
    ),
    Bench(
        "seeds.py",
        [],
        [Claim("seeds as one batch / in turn, on a CPU", rf"batched / in turn {_NUMBER}", 1.0, "at least")],
    ),
    Bench(
        "heads.py",
        ["--rounds", "15"],
        [Claim("a step of the slowest head / of logvar", rf"(?m)^\S.*\s{_NUMBER} \(median of rounds\)", 1.05)],
    ),
    Bench(
        "gradient_overhead.py",
        ["--rounds", "9"],
        [Claim("gradient statistics on / off", rf"on / off: {_NUMBER} \(median", 1.05)],
    ),
    Bench(
        "checkpoints.py",
        ["--rounds", "9", "--restarts", "0"],
        [Claim("a checkpoint / an epoch", rf"a checkpoint: {_NUMBER}% of an epoch", 2.5, unit=" %")],
    ),
    Bench(
        "sweep.py",
        ["--config", "decomposition", "--epochs", "2"],
        [Claim("a sweep / the training in it, beyond 1", rf"overhead {_NUMBER}%", 10.0, unit=" %")],
    ),
    Bench(
        "ray_scale.py",
        ["--rounds", "3"],
        [Claim("a sweep by Ray / by processes of this machine, beyond 1", rf"overhead {_NUMBER}%", 7.0, unit=" %")],
    ),
    Bench(
        "evaluation.py",
        [],
        [Claim("NLL, distance from float64 in nats", rf"images: {_NUMBER} nats", 1e-4)],
    ),
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--torch-python", default=sys.executable, help="an interpreter that has torch")
    parser.add_argument("--baseline", default="", help="a checkout of an earlier commit, with an environment in .venv")
    parser.add_argument("--only", nargs="*", default=[], help="benches whose names hold one of these words")
    parser.add_argument("--logs", help="folder for what the benches print; a temporary one without")
    options = parser.parse_args()
    logs = Path(options.logs or tempfile.mkdtemp(prefix="vae-bench-"))
    logs.mkdir(parents=True, exist_ok=True)
    chosen = [bench for bench in BENCHES if not options.only or any(word in bench.script for word in options.only)]
    given = {"torch": options.torch_python, "baseline": options.baseline}
    short = 0
    print(f"{'':62}{'claimed':>14}{'measured':>14}", flush=True)
    for bench in chosen:
        output = printed(bench, given, logs)
        for claim in bench.claims:
            short += report(claim, claim.measured(output))
    print(f"{short or 'none'} of the claims fell short; what the benches printed: {logs}")


def printed(bench: Bench, given: dict[str, str], logs: Path) -> str:
    """Returns what a bench prints; nothing, where it lacks an argument that was not given."""
    arguments = [argument.format(**given) for argument in bench.arguments]
    if not all(arguments):
        return ""
    script = Path(__file__).with_name(bench.script)
    log = logs / f"{script.stem}.log"
    with log.open("w") as file:
        subprocess.run([sys.executable, str(script), *arguments], stdout=file, stderr=subprocess.STDOUT, check=False)
    return log.read_text()


def report(claim: Claim, number: float | None) -> bool:
    """Prints a claim beside what was measured, and returns whether it fell short."""
    claimed = f"{claim.kind} {claim.bound:g}{claim.unit}"
    if number is None:
        print(f"{claim.what:62}{claimed:>14}{'not measured':>14}", flush=True)
        return False
    short = not claim.holds(number)
    print(f"{claim.what:62}{claimed:>14}{f'{number:.3g}{claim.unit}':>14}{'  FELL SHORT' * short}", flush=True)
    return short


if __name__ == "__main__":
    main()
