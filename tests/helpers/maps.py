"""Studies of several conditions, made of numbers that nobody trained for, and judged as those of runs are."""

import dataclasses

import numpy as np

from vaecli.report.compare import compare_logs
from vaecli.report.model import ConditionComparison, StudyComparison
from vaecli.runs.logged import LoggedRun, Logs

METRIC, UNIT, REFERENCE = "test/elbo", "nats per image", "logvar"


def comparison(
    effects, *, lost=(), seeds=8, spread=0.05, margin=0.5, epochs=0, better="higher", commands=("vae train",)
):
    """The comparison of heads whose true differences from logvar are given.

    Args:
      effects: by head.
      lost: pairs of a head and a seed.
      spread: the standard deviation of the differences.
      epochs: how many of them are logged.
    """
    rng = np.random.default_rng(3)
    luck = -105 + rng.normal(0, 0.3, seeds)
    runs = {}
    for head, effect in {REFERENCE: 0.0, **effects}.items():
        own = luck + effect + (rng.normal(0, spread, seeds) if head != REFERENCE else 0)
        runs[(head,)] = {
            seed: _run(head, seed, None if (head, seed) in lost else float(own[seed]), epochs) for seed in range(seeds)
        }
    logs = Logs(METRIC, ["param"], runs, True, ["runs"], [])
    made = compare_logs(logs, {"margin": margin, "reference": REFERENCE, **({"better": better} if better else {})})
    provenance = dataclasses.replace(made.provenance, commands=list(commands))
    return dataclasses.replace(made, of_logs=False, unit=UNIT, epochs=epochs or 10, provenance=provenance)


def _run(head, seed, value, epochs):
    end = -105.0 if value is None else value
    points = {float(epoch): end - 440 * float(np.exp(-1.6 * epoch)) for epoch in range(epochs + 1)} if epochs else {}
    if value is None:
        points = {epoch: at for epoch, at in points.items() if epoch < epochs / 2}
    why = "" if value is not None else "gradient of scale_head is not finite at step 17"
    return LoggedRun(f"runs/{head}/seed{seed}", seed, "diverged" if why else "complete", why, METRIC, value, points)


def study(conditions, *, invalid=None, why="", name="a-study", family=0):
    """A study of the comparisons of its conditions, by name.

    Args:
      invalid: why a condition is no evidence, by its name.
    """
    invalid = invalid or {}
    made = []
    for condition, one in conditions.items():
        if condition in invalid:
            results = [
                dataclasses.replace(result, verdict="invalid") if result.reference else result for result in one.results
            ]
            one = dataclasses.replace(one, results=results)
        reasons = [invalid[condition]] if condition in invalid else []
        made.append(ConditionComparison(name=condition, why=why, field="param", invalid=reasons, comparison=one))
    cells = sum(result.reference is not None for one in made for result in one.comparison.results)
    return StudyComparison(
        name=name,
        answer="",
        metric=METRIC,
        unit=UNIT,
        alpha=0.05,
        reference=REFERENCE,
        conditions=made,
        family=family or cells,
    )
