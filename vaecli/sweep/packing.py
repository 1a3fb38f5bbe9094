"""Which tasks of a sweep train together, in one program."""

from collections.abc import Hashable, Sequence

from vaecli.config.toml import PackLimit
from vaecli.environment import may_have_accelerator
from vaecli.sweep.grid import Task
from vaecli.training.batch_key import batch_key
from vaecli.training.train import checked

MOST = 512
"""The most runs of a pack that nobody gave a limit; no device is faster with more."""


def packs(tasks: Sequence[Task], limit: PackLimit, *, slots: int, accelerated: bool) -> list[tuple[int, ...]]:
    """Returns the numbers of the tasks that train together; the seeds of one task always do.

    Args:
      tasks: the tasks.
      limit: of the runs of a pack.
      slots: how many packs can be trained at the same time; packs are divided until each has one.
      accelerated: whether they are trained on something else than a CPU, as far as is known.
    """
    most = limit if limit != "auto" else MOST if accelerated else 1
    keys: dict[Hashable, list[list[int]]] = {}
    for number, task in enumerate(tasks):
        of_key = keys.setdefault(batch_key(checked(task.config)) if most > 1 else number, [[]])
        if of_key[-1] and sum(len(tasks[k].seeds) for k in [*of_key[-1], number]) > most:
            of_key.append([])
        of_key[-1].append(number)
    formed = [pack for of_key in keys.values() for pack in of_key]
    while len(formed) < slots and len(largest := max(formed, key=len, default=[])) > 1:
        formed.remove(largest)
        formed += halves(largest)
    return sorted(map(tuple, formed))


def halves(pack: Sequence[int]) -> list[list[int]]:
    """Returns the two halves of a pack of several tasks, or the one task."""
    middle = -(-len(pack) // 2)
    return [list(half) for half in (pack[:middle], pack[middle:]) if half]


def accelerated_here(limit: PackLimit, *, surely: bool) -> bool:
    """Returns whether this machine trains on something else than a CPU, where the limit depends on that.

    Args:
      limit: of the runs of a pack.
      surely: whether another process is asked, which takes seconds; otherwise what is installed decides.
    """
    return limit == "auto" and may_have_accelerator(surely=surely)
