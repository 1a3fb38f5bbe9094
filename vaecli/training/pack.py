"""Runs of several variants that train together: each variant ends by itself, whatever becomes of the others."""

import concurrent.futures
import contextlib
import functools
import gc
import importlib
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from vaecli.config import Config, UsageError
from vaecli.config.errors import is_memory_shortage
from vaecli.data import MNIST_IMAGES, Dataset, Images, RawImages, check_count, check_pixels, load, read, split
from vaecli.runs.checkpoint import tidy
from vaecli.runs.directory import CHECKPOINT, RunDirectory, Summary, claim, finished, run_path
from vaecli.runs.limits import allow_open_files, check_paths
from vaecli.training.data_checks import data_first, same_data_as
from vaecli.training.memory import memory_shortage_as_usage_error
from vaecli.training.progress import Observer
from vaecli.training.resume import FRESH, Group, ResumePoints, announce, groups, resume_points
from vaecli.vae.resolve import Resolved


class Member(NamedTuple):
    """The runs of a pack that end together: those of a variant.

    Attributes:
      runs: the config of each, resolved and with a name.
      observer: who follows them.
    """

    runs: Sequence[Resolved]
    observer: Observer


class Place(NamedTuple):
    """Where the runs of a pack lie, and how they are to be trained there.

    Attributes:
      runs: the folder of all results.
      vary: the settings that the directories name.
      overwrite: whether runs that lie there are begun anew.
    """

    runs: Path
    vary: Sequence[str] = ()
    overwrite: bool = False


Ending = Sequence[Summary] | UsageError
"""How a member ended: with a summary of each run, though it may be `interrupted`, or why it was given up."""


def train_pack(
    members: Sequence[Member],
    place: Place,
    *,
    data: Images | None = None,
    stopped: Callable[[], bool] = lambda: False,
    within_memory: bool = False,
    halve: bool = False,
) -> Iterator[tuple[int, Ending]]:
    """Trains all runs of all members that have no outcome yet, as one batch, or where they resume apart, as several.

    Args:
      members: `batch_key` of all their runs is the same.
      place: where the runs lie.
      data: the images, for those that are in no folder.
      stopped: asked after each epoch; true ends the runs there, checkpointed.
      within_memory: whether no more train at a time than the memory of an accelerator holds.
      halve: whether half as many train at a time where it runs out all the same.

    Yields:
      The number of a member and how it ended, as soon as it has. What is wrong with one member ends no other one.
    """
    images = functools.cache(lambda data_dir: data.raw if data else read(data_dir))
    parts = [_Part(number, member, place, images) for number, member in enumerate(members)]
    with contextlib.ExitStack() as cleanup:
        for part in parts:
            cleanup.callback(part.release)
        try:
            for _ in _Pack(parts, stopped, within_memory=within_memory, halve=halve).train(data):
                yield from (part.end() for part in parts if part.has_ended)
        except UsageError as error:
            for part in parts:
                part.error = part.error or error
        yield from (part.end() for part in parts if not part.reported)


class _Part:
    """A member while its pack is trained."""

    def __init__(self, number: int, member: Member, place: Place, images: Callable[[str], RawImages]):
        self.runs, self.observer = member.runs, member.observer
        self.outcomes: dict[int, Summary] = {}
        self.errors: dict[int, UsageError] = {}
        self.error: UsageError | None = None
        self.reported = False
        self._number, self._place, self._images = number, place, images
        self._paths = [run_path(place.runs, run.config, place.vary) for run in member.runs]
        self._directories: dict[int, RunDirectory] = {}
        self._held = contextlib.ExitStack()

    @contextlib.contextmanager
    def guarded(self) -> Iterator[None]:
        """Lets what is wrong with this part give up only this part, before it is trained."""
        try:
            yield
        except UsageError as error:
            self.error = error
            self.release()

    def look(self) -> None:
        """Reads which runs have their outcome.

        Raises:
          UsageError: a directory cannot be used.
        """
        configs, overwrite = [run.config for run in self.runs], self._place.overwrite
        same_data = same_data_as(configs[0].data_dir, self._images)
        with data_first(configs[:1], self._images):
            check_paths(self._paths)
            for k, (path, config) in enumerate(zip(self._paths, configs, strict=True)):
                if summary := finished(path, config, overwrite=overwrite, same_data=same_data):
                    self.outcomes[k] = summary
        for k, summary in self.outcomes.items():
            tidy(self._paths[k], summary["steps"])

    @property
    def unfinished(self) -> Sequence[int]:
        """The numbers of the runs that have no outcome; none where the part was given up."""
        return [] if self.error else [k for k in range(len(self.runs)) if k not in self.outcomes]

    def claim(self) -> None:
        """Holds the directories of the unfinished runs, and makes sure that nobody finished one before it was held.

        Raises:
          UsageError: another process holds one, or finished its run.
        """
        for k in self.unfinished:
            self._directories[k] = claim(self._paths[k])
            self._held.callback(self._directories[k].release)
            if finished(self._paths[k], self.runs[k].config, overwrite=self._place.overwrite):
                raise UsageError(f"{self._paths[k]}: another process finished this run just now; nothing is left to do")

    def directory(self, k: int) -> RunDirectory:
        """Returns the directory of a run, claimed."""
        return self._directories[k]

    def points(self, k: int, dataset: Dataset) -> ResumePoints:
        """Returns where a run can begin or go on.

        Raises:
          UsageError: nowhere, since all its checkpoints are damaged.
        """
        if self._place.overwrite:
            return FRESH
        return resume_points(self.runs[k].config, self._directories[k], dataset, self.observer)

    def release(self) -> None:
        """Lets other processes use the directories."""
        self._held.close()

    @property
    def has_ended(self) -> bool:
        """Whether it has an ending that was not reported."""
        settled = len(self.outcomes) + len(self.errors) == len(self.runs)
        return not self.reported and (settled or self.error is not None)

    def end(self) -> tuple[int, Ending]:
        """Returns the number of the part, and how it ended; runs whose turn did not come stay as they were."""
        self.reported = True
        self.release()
        nothing: Summary = {"status": "interrupted", "metrics": {}, "epochs": 0}
        summaries = [{**self.outcomes.get(k, nothing), "path": str(path)} for k, path in enumerate(self._paths)]
        return self._number, self.error or next(iter(self.errors.values()), summaries)


class _Pack:
    """The unfinished runs of all parts, by a number of their own."""

    def __init__(self, parts: Sequence[_Part], stopped: Callable[[], bool], *, within_memory: bool, halve: bool):
        self._parts, self._stopped, self._within_memory, self._halve = parts, stopped, within_memory, halve
        self._rows: list[tuple[_Part, int]] = []

    def train(self, data: Images | None) -> Iterator[None]:
        """Trains the runs; yields whenever a part may have ended.

        Raises:
          UsageError: what no run of the pack can be trained with.
        """
        for part in self._parts:
            with part.guarded():
                part.look()
        yield
        self._rows = [(part, k) for part in self._parts for k in part.unfinished]
        if not self._rows:
            return
        first = self._rows[0][0].runs[0].config
        allow_open_files(len(self._rows))
        if data or first.data_dir:
            with self._shortage_as_usage_error():
                dataset = split(data.raw, first) if data else load(first)
            check_pixels(dataset, first.data_dir)
            self._claim()
        else:
            # What can be wrong is known before the images are.
            check_count(MNIST_IMAGES, first)
            self._claim()
            if not any(part.unfinished for part in self._parts):
                return
            with self._shortage_as_usage_error():
                dataset = _mnist(first)
        yield from self._train_claimed(dataset, first.checkpoint_every)

    def _claim(self) -> None:
        for part in self._parts:
            with part.guarded():
                part.claim()

    def _train_claimed(self, dataset: Dataset, interval: int) -> Iterator[None]:
        waiting = self._points(range(len(self._rows)), dataset)
        yield
        limit = self._limit(list(waiting), dataset)
        while waiting:
            group = _beginning(groups(waiting, interval)[0], limit)
            part, k = self._rows[group.members[0]]
            announce(part.directory(k), group, part.observer)
            with self._shortage_as_usage_error():
                if self._train_group(group, dataset):
                    waiting = {number: points for number, points in waiting.items() if number not in group.members}
                else:
                    gc.collect()  # What the device held for those that there was no room for.
                    limit = len(group.members) // 2
                    part.observer.note(
                        f"memory ran out with {len(group.members)} runs at a time; going on with {limit}"
                    )
                    waiting |= self._points(group.members, dataset)
            yield
            if self._stopped():
                return

    def _limit(self, numbers: Sequence[int], dataset: Dataset) -> int:
        """Returns how many of some runs train at a time: all, or in equal parts as many as there is memory for."""
        if not self._within_memory or len(numbers) < 2:
            return len(numbers)
        from vaecli.training.capacity import runs_that_fit

        rows = [self._rows[number] for number in numbers]
        batches = -(-len(rows) // runs_that_fit([part.runs[k] for part, k in rows], dataset))
        return -(-len(rows) // batches)

    def _points(self, numbers: Sequence[int], dataset: Dataset) -> dict[int, ResumePoints]:
        """Returns where each of some runs can begin or go on, but for those of parts that were given up."""
        points: dict[int, ResumePoints] = {}
        for number in numbers:
            part, k = self._rows[number]
            if not part.error:
                with part.guarded():
                    points[number] = part.points(k, dataset)
        return {number: of_run for number, of_run in points.items() if not self._rows[number][0].error}

    def _train_group(self, group: Group, dataset: Dataset) -> bool:
        """Trains the runs that go on together; returns false where memory ran out, and half as many may have enough.

        Raises:
          UsageError: what no run of the pack can be trained with.
        """
        begun = time.perf_counter()
        # The heavy modules come in only now that config, data and directories are known to be good; those that read the
        # images of this package came in meanwhile.
        from vaecli.training.loop import train_batch
        from vaecli.training.recorder import Follower

        rows = [self._rows[number] for number in group.members]
        held = [part.directory(k) for part, k in rows]
        followers = [
            Follower(part.observer, own)
            for part in self._parts
            if (own := [row for row, (of_row, _) in enumerate(rows) if of_row is part])
        ]
        try:
            ends = train_batch(
                [part.runs[k] for part, k in rows],
                held,
                group,
                dataset,
                followers=followers,
                isolate=len(self._parts) > 1,
                stopped=self._stopped,
                begun=begun,
            )
        except (MemoryError, RuntimeError) as error:
            if not is_memory_shortage(error):
                raise
            for directory in held:
                if not (directory.place / CHECKPOINT).exists():
                    directory.abandon()
            if not self._halve or len(rows) == 1:
                raise
            return False
        for (part, k), end in zip(rows, ends, strict=True):
            if isinstance(end, UsageError):
                part.errors[k] = end
            else:
                part.outcomes[k] = end
        return True

    def _shortage_as_usage_error(self) -> contextlib.AbstractContextManager[None]:
        asked = {"seeds" if len(self._parts) == 1 else "pack": len(self._rows)}
        return memory_shortage_as_usage_error(self._rows[0][0].runs[0].config, **asked)


def _mnist(config: Config) -> Dataset:
    """Returns the MNIST of this package, which is read while jax is imported.

    Raises:
      UsageError: as `load`.
    """
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        dataset = pool.submit(load, config)
        importlib.import_module("vaecli.training.loop")
        return dataset.result()


def _beginning(group: Group, most: int) -> Group:
    """Returns the first runs of a group, at most so many."""
    return Group(group.start, group.members[:most], group.snapshots[:most])
