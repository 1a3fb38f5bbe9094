"""The NLL as a metric of runs: what `vae evaluate` has stored beside each of them."""

import shlex
from collections.abc import Sequence

from vaecli.config import UsageError
from vaecli.report.formatting import count
from vaecli.runs.collection import Outcome

METRIC = "nll"
"""The metric that is not logged in training, but evaluated afterwards, on the test split and at the last checkpoint."""


def with_nll(outcomes: Sequence[Outcome]) -> tuple[Sequence[Outcome], list[str]]:
    """Returns the runs that were evaluated, or diverged, with the NLL among their values, and warnings about them.

    All are compared at one number of samples, the greatest that every evaluated run has: an NLL falls with it.

    Raises:
      UsageError: no run was evaluated, or there is no such number.
    """
    complete = [outcome for outcome in outcomes if outcome.status == "complete"]
    evaluated = [outcome for outcome in complete if outcome.evaluations]
    if not evaluated:
        first = _quoted(complete[0]) if complete else "RUN"
        raise UsageError(f"--metric nll: no run was evaluated; run for each of them: vae evaluate {first}")
    samples = _samples(evaluated)
    missing = [outcome for outcome in complete if not outcome.evaluations]
    kept = [
        outcome._replace(values=_with(outcome, samples))
        for outcome in outcomes
        if outcome.evaluations or outcome.status != "complete"
    ]
    warnings = [f"nll is compared at {count(samples, 'sample')} an image; lower is better"]
    if missing:
        command = f"vae evaluate {_quoted(missing[0])} --samples {samples}"
        warnings.append(f"{count(len(missing), 'run')} left out that {_was(missing)} not evaluated; run: {command}")
    return kept, [*warnings, *_doubts(evaluated, samples)]


def _samples(evaluated: Sequence[Outcome]) -> int:
    """Returns the greatest number of samples that all runs were evaluated with.

    Raises:
      UsageError: there is none.
    """
    shared = set.intersection(*(set(outcome.evaluations) for outcome in evaluated))
    if not shared:
        most = max(max(outcome.evaluations) for outcome in evaluated)
        other = next(outcome for outcome in evaluated if most not in outcome.evaluations)
        has = ", ".join(map(str, sorted(other.evaluations)))
        raise UsageError(
            f"--metric nll: the runs were evaluated with different numbers of samples ({other.path} with {has}, others "
            f"with {most}), on which it depends; run for each without: vae evaluate {_quoted(other)} --samples {most}"
        )
    return max(shared)


def _with(outcome: Outcome, samples: int) -> dict[str, float | None]:
    evaluation = outcome.evaluations.get(samples)
    return {**outcome.values, **({METRIC: evaluation.nll} if evaluation else {})}


def _doubts(evaluated: Sequence[Outcome], samples: int) -> list[str]:
    """Names runs whose NLL `vae evaluate` has called unreliable, or could not judge yet."""
    by_doubt = {
        "an unreliable NLL, and the exact one may be lower (raise --samples)": [
            outcome for outcome in evaluated if outcome.evaluations[samples].unreliable
        ],
        "an NLL of an earlier version, which did not check its weights (evaluate again)": [
            outcome for outcome in evaluated if outcome.evaluations[samples].unreliable is None
        ],
    }
    return [
        f"{count(len(doubtful), 'run')} with {doubt}, such as {doubtful[0].path}"
        for doubt, doubtful in by_doubt.items()
        if doubtful
    ]


def _quoted(run: Outcome) -> str:
    return shlex.quote(str(run.path))


def _was(runs: Sequence[Outcome]) -> str:
    return "was" if len(runs) == 1 else "were"
