"""Which changes of its settings a run that diverged survives: each is trained, until one does."""

import dataclasses
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from vaecli.analysis.changes import Change, changed, changes
from vaecli.config import Config, UsageError
from vaecli.config.naming import folder_name, named_fields
from vaecli.report.trail import Trail, Trial
from vaecli.runs.directory import Summary, divergence, run_path
from vaecli.runs.reading import Run, open_run
from vaecli.training.progress import Observer
from vaecli.training.train import train_seeds
from vaecli.vae.resolve import Resolved, resolve

_SUFFIX = "-explained"
_LONGEST_NAME = 100


class Candidate(NamedTuple):
    """A change, and the runs that verify it.

    Attributes:
      change: the change.
      config: the config of its runs, at the run's own seed; None where its settings do not go together.
      why_not: why they do not.
      vary: the settings that its directories name.
      in_reach: whether the run's own fault is still in reach; None where the run's head was not at fault.
    """

    change: Change
    config: Config | None
    why_not: str = ""
    vary: Sequence[str] = ()
    in_reach: bool | None = None


@dataclasses.dataclass(frozen=True)
class Plan:
    """The runs that verify changes of a run.

    Attributes:
      candidates: the changes, the smallest first.
      runs: the folder of all results.
      seeds: the seeds at which a change must survive, the run's own first.
      seconds: how long one run takes, by the speed of the run that diverged; NaN where that is not known.
    """

    candidates: Sequence[Candidate]
    runs: Path
    seeds: Sequence[int]
    seconds: float

    @property
    def missing(self) -> int:
        """The most runs at the first seed that are yet to be trained; 0 where the search has its answer already."""
        by_chance = False
        for number, candidate in enumerate(self.candidates):
            if candidate.config is None or (by_chance and candidate.in_reach):
                continue
            status = self._status(candidate)
            if status is None:
                rest = [c for c in self.candidates[number:] if c.config and not (by_chance and c.in_reach)]
                return sum(self._status(c) is None for c in rest)
            if status == "complete" and not candidate.in_reach:
                return 0
            by_chance |= status == "complete"
        return 0

    def _status(self, candidate: Candidate) -> str | None:
        """Returns how a candidate's runs have ended: `complete`, or `diverged` for one of them; None before that."""
        path, statuses = self.path(candidate), []
        for seed in self.seeds:
            try:
                statuses.append(open_run(path.with_name(f"seed{seed}")).summary["status"])
            except UsageError:
                return None
            if statuses[-1] != "complete":
                return "diverged" if statuses[-1] == "diverged" else None
        return "complete"

    def path(self, candidate: Candidate) -> Path:
        """Returns the directory of a candidate's run at the first seed."""
        assert candidate.config is not None
        return run_path(self.runs, candidate.config, candidate.vary)


def checked_seeds(seeds: int) -> int:
    """Returns the number of seeds at which a change must survive.

    Raises:
      UsageError: it is 0 or less, or too large.
    """
    if not 1 <= seeds <= 1000:
        raise UsageError(f"--seeds: must lie between 1 and 1000, got {seeds}")
    return seeds


def plan_of(
    run: Run,
    trail: Trail,
    *,
    runs: Path | None = None,
    seeds: int = 1,
    data_dir: str | None = None,
) -> Plan:
    """Returns what is to be trained to see which change a run survives; trains nothing.

    Args:
      run: the run.
      trail: why it diverged.
      runs: the folder of all results; by default the one in which the run lies.
      seeds: the number of seeds.
      data_dir: where the data lie now; by default where they lay.

    """
    folder = run.path.resolve().parent
    name = f"{folder.parent.name[: _LONGEST_NAME - len(_SUFFIX)]}{_SUFFIX}"
    config = dataclasses.replace(run.config, name=_usable(name, run.config))
    if data_dir is not None:
        config = dataclasses.replace(config, data_dir=data_dir)
    vary = named_fields(folder.name)
    resolved = resolve(config)
    steps_per_epoch = -(-trail.images // config.batch_size)
    listed = [_candidate(config, change, vary, trail) for change in changes(resolved, trail, steps_per_epoch)]
    speed = run.summary.get("images_per_second") or math.nan
    return Plan(listed, runs or _beside(folder), _seeds(run, seeds), trail.images * config.epochs / speed)


def _beside(folder: Path) -> Path:
    """Returns the folder of all results in which the folder of a variant lies."""
    return (folder.parents[1:2] or [folder])[0]


def _usable(name: str, config: Config) -> str:
    """Returns a name for a run's folder: that of the folder beside the run's, where it can be a name."""
    return folder_name(name) or f"{config.name or 'run'}{_SUFFIX}"


def _candidate(config: Config, change: Change, vary: Sequence[str], trail: Trail) -> Candidate:
    resolved, why_not = changed(config, change)
    if resolved is None:
        return Candidate(change, None, why_not)
    named = [*vary, *(name for name in change.settings if name not in (*vary, "param"))]
    return Candidate(change, resolved.config, "", named, _in_reach(resolved, trail))


def _in_reach(resolved: Resolved, trail: Trail) -> bool | None:
    """Returns whether a head still has no finite log σ or gain where the run's own had none."""
    from vaecli.analysis.autopsy import is_singular

    scale = {"σ": resolved.encoder, "τ": resolved.decoder, "": None}[trail.breakdown.at_fault]
    if not trail.breakdown.singular or scale is None:
        return None
    return is_singular(scale, trail.breakdown.u)


def _seeds(run: Run, count: int) -> Sequence[int]:
    """Returns so many seeds: the run's own, those of the runs beside it, first the ones that were lost, and more."""
    beside: list[tuple[bool, int]] = []
    for folder in run.path.resolve().parent.glob("seed*"):
        try:
            other = open_run(folder)
        except UsageError:
            continue
        beside.append((other.summary["status"] != "diverged", other.config.seed))
    known = list(dict.fromkeys([run.config.seed, *(seed for _, seed in sorted(beside))]))
    further = range(max(known) + 1, max(known) + 1 + count)
    return [*known, *further][:count]


def trials(plan: Plan, *, observer: Observer, stopped: Callable[[], bool] = lambda: False) -> Iterator[Trial]:
    """Trains one change after the other, until one survives that takes the run's own fault away, too.

    A change that survives and leaves the fault in reach may do so by chance, so the search goes on, among the changes
    that do not leave it there. Runs that are there already are not trained again.

    Args:
      plan: what is to be trained.
      observer: who follows the training.
      stopped: asked after each epoch; true ends the search.

    Yields:
      What became of a change; nothing of one whose training was stopped.

    Raises:
      UsageError: a run cannot be trained or written.
    """
    by_chance = False
    for candidate in plan.candidates:
        if candidate.config is None:
            kind, settings = candidate.change
            yield Trial(kind=kind, settings=settings, outcome="refused", detail=candidate.why_not)
            continue
        if by_chance and candidate.in_reach:
            continue
        summaries = _trained(plan, candidate, observer, stopped)
        if any(summary["status"] == "interrupted" for summary in summaries):
            return
        trial = _trial(candidate, summaries)
        yield trial
        if trial.outcome == "survived":
            if not candidate.in_reach:
                return
            by_chance = True


def _trained(plan: Plan, candidate: Candidate, observer: Observer, stopped: Callable[[], bool]) -> Sequence[Summary]:
    """Trains a change at the first seed and, where it survives, at the others."""
    assert candidate.config is not None
    summaries: list[Summary] = []
    for seeds in filter(None, (plan.seeds[:1], plan.seeds[1:])):
        summaries += train_seeds(
            candidate.config, seeds, runs=plan.runs, vary=candidate.vary, observer=observer, stopped=stopped
        )
        if any(summary["status"] != "complete" for summary in summaries):
            break
    return summaries


def _trial(candidate: Candidate, summaries: Sequence[Summary]) -> Trial:
    lost = next((summary for summary in summaries if summary["status"] == "diverged"), None)
    shown = lost or summaries[0]
    return Trial(
        kind=candidate.change.kind,
        settings=candidate.change.settings,
        outcome="diverged" if lost else "survived",
        detail=divergence(lost) if lost else "",
        elbo=shown["metrics"].get("test/elbo"),
        epochs=shown["epochs"],
        seeds=[_seed_of(summary) for summary in summaries],
        in_reach=candidate.in_reach,
        path=str(shown["path"]),
    )


def _seed_of(summary: Summary) -> int:
    return int(Path(summary["path"]).name.removeprefix("seed"))
