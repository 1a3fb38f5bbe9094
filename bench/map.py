"""How often a map of many conditions and heads is wrong anywhere, and how much of it is decided: docs/studies.md.

    python bench/map.py [--studies 5000] [--conditions 12] [--heads 10]

Studies are drawn and judged as `vae sweep` and `vae compare` do with a study, with the functions of the program: under
each condition the heads share the noise of their reference; at each look those that are not decided are tested with all
their seeds so far, in the family of the whole map; in the end the sequential p of all cells are adjusted together.

`errors` prints the share of maps with a false verdict of each kind in any cell: with all means at 0 (different), and
all at the margin (equivalent, beyond). `decided` prints the share of cells with a verdict at a fixed number of ten
seeds, and at the looks of the study when-it-matters, for a true difference of 0 and of twice the margin.
"""

import argparse
import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from sequential import ALPHA, LAWS, SPENDINGS, Law, Tested, differences, tested

from vaecli.config.sequential import Spending
from vaecli.report.statistics import holm

LOOKS, FIXED = (5, 8, 12), (10,)


class Maps(NamedTuple):
    """What came of maps.

    Attributes:
      called: (3, maps) whether any cell was called different, equivalent, or beyond the margin.
      decided: the share of cells that are equivalent or beyond the margin in the end.
      seeds: the mean number of seeds of a head.
    """

    called: np.ndarray
    decided: float
    seeds: float


def rejections(p: np.ndarray, size: int) -> np.ndarray:
    """Returns (3, heads): which claims of each kind Holm's method accepts, in a family of some size."""
    return np.array([[q is not None and q < ALPHA for q in holm(row, size)] for row in p.tolist()])


def carried_out(of: Tested, plan: Sequence[int], conditions: int, heads: int) -> Maps:
    """Lets the heads of each condition drop out as they are decided, and judges every map as a whole.

    Args:
      of: the sequential p after each look, (maps · conditions, heads, looks).
      plan: the looks.
      conditions, heads: how many a map has.
    """
    p = np.stack(of).reshape(3, -1, conditions, heads, len(plan))
    maps, size = p.shape[1], conditions * heads
    called, decided, seeds = np.zeros((3, maps), bool), 0, 0
    for number in range(maps):
        last = np.zeros((conditions, heads), int)
        for condition in range(conditions):
            left = np.ones(heads, bool)
            for look, n in enumerate(plan):
                last[condition, left] = look
                now = np.take_along_axis(p[:, number, condition], last[None, condition, :, None], -1)[..., 0]
                done = left & rejections(now, size)[1:].any(0)
                seeds, left = seeds + n * int(done.sum()), left & ~done
                if not left.any():
                    break
            seeds += plan[-1] * int(left.sum())
        final = np.take_along_axis(p[:, number], last[None, ..., None], -1)[..., 0].reshape(3, size)
        claims = rejections(final, size)
        called[:, number] = claims.any(1)
        decided += int(claims[1:].any(0).sum())
    return Maps(called, decided / (maps * size), seeds / (maps * size))


def drawn(law: Law, maps: int, conditions: int, heads: int, plan: Sequence[int]) -> np.ndarray:
    """Returns (maps · conditions, heads, seeds): heads minus reference, with mean 0 and variance 1."""
    rng = np.random.default_rng([LAWS.index(law), conditions, heads, plan[-1]])
    return differences(law, rng, maps * conditions, heads, plan[-1])


def errors(maps: int, conditions: int, heads: int) -> None:
    """Prints the share of maps with a false verdict of each kind, in per cent."""
    print(f"{maps} maps of {conditions} × {heads}; ± {100 * 1.96 * (ALPHA * (1 - ALPHA) / maps) ** 0.5:.2f} at 5 %\n")
    print("| looks | spending | law | different | equivalent | beyond |\n|---|---|---|---|---|---|")
    plans: list[tuple[Sequence[int], Spending]] = [*itertools.product([LOOKS], SPENDINGS), (FIXED, "pocock")]
    for (plan, spending), law in itertools.product(plans, LAWS):
        d = drawn(law, maps, conditions, heads, plan)
        at_zero, at_margin = (
            carried_out(tested(d + mean, plan, spending, 1.0), plan, conditions, heads) for mean in (0.0, 1.0)
        )
        shares = at_zero.called[0].mean(), at_margin.called[1].mean(), at_margin.called[2].mean()
        cells = " | ".join(f"{100 * float(share):.2f}" for share in shares)
        print(f"| {','.join(map(str, plan))} | {spending} | {law} | {cells} |", flush=True)


def decided(maps: int, conditions: int, heads: int) -> None:
    """Prints the share of cells with a verdict, of maps whose cells all have the same true difference."""
    print("| looks | sd | difference | cells decided | mean seeds |\n|---|---|---|---|---|")
    for plan, sd, mean in itertools.product((FIXED, LOOKS), (0.2, 0.35, 0.5, 1.0), (0.0, 2.0)):
        d = drawn("normal", maps, conditions, heads, plan)
        of = carried_out(tested(mean + sd * d, plan, "pocock", 1.0), plan, conditions, heads)
        print(
            f"| {','.join(map(str, plan))} | {sd:g} | {mean:g} | {100 * of.decided:.1f} % | {of.seeds:.1f} |",
            flush=True,
        )


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=5000)
    parser.add_argument("--conditions", type=int, default=12)
    parser.add_argument("--heads", type=int, default=10)
    arguments = parser.parse_args()
    of = arguments.conditions, arguments.heads
    decided(max(arguments.studies // 10, 1), *of)
    print()
    errors(arguments.studies, *of)


if __name__ == "__main__":
    main()
