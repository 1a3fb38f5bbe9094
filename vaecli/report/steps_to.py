"""How many steps a run takes to reach a target, as a metric of runs: who is quicker, not who ends better."""

import itertools
from collections.abc import Sequence

from vaecli.report.derived import Derived, parsed
from vaecli.report.formatting import STEPS_TO, direction
from vaecli.runs.collection import Outcome, log_points


def target(metric: str) -> Derived | None:
    """Returns the scalar and the value that `steps-to:[TAG:]VALUE` names; None for another metric.

    Raises:
      UsageError: it names no value, or its scalar has no direction.
    """
    return parsed(metric, STEPS_TO, "target", "-106")


def of_censored(metric: str) -> list[str]:
    """Says what becomes of runs that do not reach a target, if the metric names one."""
    if not target(metric):
        return []
    return ["a run that does not reach the target counts as lost; steps are interpolated between log points"]


def with_steps(outcomes: Sequence[Outcome], metric: str, of: Derived) -> Sequence[Outcome]:
    """Returns runs with the number of steps to a target among their values.

    It is interpolated linearly between the log points before and after; at the first log point it is that of the point.
    A complete run that never reaches the target has None, so that it counts as lost.

    Raises:
      UsageError: the log of a run is damaged.
    """
    return [outcome._replace(**_reached(outcome, metric, of)) for outcome in outcomes]


def _reached(outcome: Outcome, metric: str, of: Derived) -> dict[str, object]:
    if outcome.status != "complete":
        return {}
    steps = _steps(outcome, of)
    why = {} if steps is not None else {"why": f"{of.tag} did not reach {of.number:g} in {outcome.steps} steps"}
    return {"values": {**outcome.values, metric: steps}, **why}


def _steps(outcome: Outcome, of: Derived) -> float | None:
    """Returns the number of steps after which a run is at a target; None if it never is."""
    sign = direction(of.tag)
    # The distance to go, by step.
    points = [
        (float(point["step"]), sign * (of.number - point[of.tag]))
        for point in log_points(outcome.path)
        if point.get("step") is not None and point.get(of.tag) is not None
    ]
    if points and points[0][1] <= 0:
        return points[0][0]
    for (step, distance), (later, left) in itertools.pairwise(points):
        if left <= 0:
            return step + (later - step) * distance / (distance - left)
    return None
