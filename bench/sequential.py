"""How often a comparison that is looked at several times is wrong, and how many seeds it takes: docs/sequential.md.

    python bench/sequential.py [--studies 20000] [--part errors|seeds]

Studies are drawn and judged as `vae sweep --until-decided` does, with the functions of the program: at each look the
heads that are not decided yet are tested with all their seeds so far, the sequential p of all heads are adjusted by
Holm's method, and a head with a verdict gets no more seeds. All heads share the noise of their reference.

`errors` prints the share of studies with a false verdict of each kind on any head: with all means at 0 (different),
all at the margin (equivalent, beyond), and with the same probability of losing a run for all (survival). `seeds` prints
the mean number of seeds of one head, beside the fixed number that has the same probability of a verdict and that only
somebody could choose who knew the standard deviation.
"""

import argparse
import itertools
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np

from vaecli.config.sequential import Spending
from vaecli.report import planning, survival
from vaecli.report.sequential import Looks, p_value, union_p_value
from vaecli.report.statistics import holm

ALPHA = 0.05
SPENDINGS: Sequence[Spending] = ("pocock", "obrien-fleming")
PLANS = (5, 8, 12, 18, 26), (5, 10, 20), (4, 6, 8, 10, 12, 14, 16)

Law = Literal["normal", "laplace", "t3"]
LAWS: Sequence[Law] = ("normal", "laplace", "t3")


def draw(law: Law, rng: np.random.Generator, size: tuple[int, ...]) -> np.ndarray:
    """Returns draws with mean 0 and variance 1."""
    if law == "normal":
        return rng.standard_normal(size)
    if law == "laplace":
        return rng.laplace(scale=0.5**0.5, size=size)
    return rng.standard_t(3, size=size) / 3**0.5


def differences(law: Law, rng: np.random.Generator, studies: int, heads: int, seeds: int) -> np.ndarray:
    """Returns (studies, heads, seeds): heads minus reference, with mean 0 and variance 1."""
    return (draw(law, rng, (studies, heads, seeds)) - draw(law, rng, (studies, 1, seeds))) / 2**0.5


class Tested(NamedTuple):
    """The sequential p after each look, (studies, heads, looks)."""

    difference: np.ndarray
    equivalence: np.ndarray
    beyond: np.ndarray


def tested(d: np.ndarray, plan: Sequence[int], spending: Spending, margin: float) -> Tested:
    """Tests differences, (studies, heads, seeds), at the looks of a plan."""
    means = np.stack([d[..., :n].mean(-1) for n in plan], axis=-1)
    errors = np.stack([d[..., :n].std(-1, ddof=1) / n**0.5 for n in plan], axis=-1)

    def p(excess: np.ndarray) -> np.ndarray:
        parts = [p_value(prefix(plan, spending, look), (excess / errors)[..., :look]) for look in counted(plan)]
        return np.stack(parts, axis=-1)

    return Tested(
        np.minimum(1, 2 * np.minimum(p(means), p(-means))),
        np.maximum(p(means + margin), p(margin - means)),
        np.minimum(1, 2 * np.minimum(p(means - margin), p(-means - margin))),
    )


def counted(plan: Sequence[int]) -> range:
    return range(1, len(plan) + 1)


def prefix(plan: Sequence[int], spending: Spending, number: int) -> Looks:
    """Returns the first looks of a plan."""
    return Looks(tuple(plan[:number]), tuple(n / plan[-1] for n in plan[:number]), spending)


class Outcomes(NamedTuple):
    """What came of studies: (studies,) whether any head was ever called so, and the mean seeds of a head.

    Attributes:
      different, equivalent, beyond: the studies with such a verdict.
      decided: the share of heads that are equivalent or beyond the margin in the end.
      seeds: the mean number of seeds of a head.
    """

    different: np.ndarray
    equivalent: np.ndarray
    beyond: np.ndarray
    decided: float
    seeds: float


def carried_out(of: Tested, plan: Sequence[int]) -> Outcomes:
    """Lets the heads of each study drop out as they are decided."""
    studies, heads, _ = of.difference.shape
    called = np.zeros((3, studies), bool)
    decided, seeds = 0, 0
    for study in range(studies):
        look_of = [0] * heads
        left = set(range(heads))
        for look, n in enumerate(plan):
            for head in left:
                look_of[head] = look
            adjusted = [holm([kind[study, head, look_of[head]] for head in range(heads)]) for kind in of]
            rejected = [[p is not None and p < ALPHA for p in kind] for kind in adjusted]
            # A claim of every kind counts, the weaker one beside a verdict, too.
            called[:, study] |= [any(kind) for kind in rejected]
            done = {head for head in left if rejected[1][head] or rejected[2][head]}
            decided, seeds, left = decided + len(done), seeds + n * len(done), left - done
            if not left:
                break
        seeds += plan[-1] * len(left)
    different, equivalent, beyond = called
    return Outcomes(different, equivalent, beyond, decided / (studies * heads), seeds / (studies * heads))


def survival_errors(
    rng: np.random.Generator, studies: int, heads: int, plan: Sequence[int], spending: Spending
) -> float:
    """Returns the share of studies in which a head is called more or less likely to lose runs than the reference."""
    lost = rng.random((studies, heads + 1, plan[-1])) < 0.2
    counts = np.stack([lost[..., :n].sum(-1) for n in plan], axis=-1)
    p = np.ones((studies, heads, len(plan)))
    for look, n in enumerate(plan):
        pairs = itertools.product(np.unique(counts[..., look]).tolist(), repeat=2)
        of = {pair: survival.boschloo(survival.Losses(pair[0], n, pair[1], n)) for pair in pairs}
        mine, theirs = counts[:, 1:, look], np.broadcast_to(counts[:, :1, look], (studies, heads))
        p[..., look] = np.vectorize(lambda a, b, of=of: of[a, b])(mine, theirs)
    last = union_p_value(prefix(plan, spending, len(plan)), p)
    return float(np.mean([any(q is not None and q < ALPHA for q in holm(row)) for row in last.tolist()]))


def errors(studies: int) -> None:
    """Prints the share of studies with a false verdict of each kind, in per cent."""
    print(f"{studies} studies each; ± {100 * 1.96 * (ALPHA * (1 - ALPHA) / studies) ** 0.5:.2f} at 5 %\n")
    print("| looks | spending | law | heads | different | equivalent | beyond | survival |")
    print("|---|---|---|---|---|---|---|---|")
    worst = 0.0
    for plan, spending, law, heads in itertools.product(PLANS, SPENDINGS, LAWS, (1, 5, 9)):
        rng = np.random.default_rng([plan[-1], SPENDINGS.index(spending), LAWS.index(law), heads])
        d = differences(law, rng, studies, heads, plan[-1])
        at_zero, at_margin = (carried_out(tested(d + mean, plan, spending, 1.0), plan) for mean in (0.0, 1.0))
        shares = [float(of.mean()) for of in (at_zero.different, at_margin.equivalent, at_margin.beyond)]
        # Whether runs are lost has no law of differences.
        shares += [survival_errors(rng, studies, heads, plan, spending)] if law == "normal" else []
        worst = max(worst, *shares)
        cells = [f"{100 * share:.2f}" for share in shares] + ["–"] * (4 - len(shares))
        print(f"| {','.join(map(str, plan))} | {spending} | {law} | {heads} | {' | '.join(cells)} |", flush=True)
    print(f"\nthe worst: {100 * worst:.2f} %")


def mean_seeds(studies: int) -> None:
    """Prints how many seeds one head takes, beside a fixed number with the same probability of a verdict."""
    plan, rng = PLANS[0], np.random.default_rng(0)
    d = differences("normal", rng, studies, 1, plan[-1])
    print("| spending | sd | difference | verdict reached | mean seeds | of the most | fixed seeds | ratio |")
    print("|---|---|---|---|---|---|---|---|")
    for spending, sd, mean in itertools.product(SPENDINGS, (0.5, 1.25, 2.0), (0.0, 0.5, 1.0, 2.0)):
        of = carried_out(tested(mean + sd * d, plan, spending, 1.0), plan)
        # A share of 1 in so many studies is one of at least 1 − 1/studies.
        fixed = fixed_seeds(mean, sd, min(of.decided, 1 - 1 / studies))
        # At the margin there is no right verdict, and any number of seeds has the same small probability of one.
        beside = [str(fixed), f"{of.seeds / fixed:.2f}"] if mean != 1 else ["–", "–"]
        share = f"{100 * of.seeds / plan[-1]:.0f} %"
        cells = [spending, f"{sd:g}", f"{mean:g}", f"{100 * of.decided:.1f} %", f"{of.seeds:.1f}", share, *beside]
        print(f"| {' | '.join(cells)} |", flush=True)


def fixed_seeds(mean: float, sd: float, power: float) -> int:
    """Returns the least fixed number of seeds that reaches a verdict with at least a probability."""
    options = {"margin": 1.0, "alpha": ALPHA, "beyond": 1.0}
    return next(n for n in itertools.count(2) if planning.decision_probability(n, mean, sd, **options) >= power)


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=20_000)
    parser.add_argument("--part", choices=("errors", "seeds"))
    arguments = parser.parse_args()
    if arguments.part != "errors":
        mean_seeds(arguments.studies)
        print()
    if arguments.part != "seeds":
        errors(arguments.studies)


if __name__ == "__main__":
    main()
