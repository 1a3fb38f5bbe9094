"""Runs put together: which of them differ only in their seed, and which variant is compared with which."""

import collections
import contextlib
import dataclasses
import functools
import hashlib
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from vaecli.config import SETTINGS, Config, UsageError
from vaecli.config.naming import label, sort_key, text
from vaecli.config.validators import nearest
from vaecli.report.formatting import count
from vaecli.report.model import TrainedVariant, Variant
from vaecli.runs.collection import Outcome

# Fields in which two runs of one variant may differ.
_NOT_VARYING = {"seed", "pilot", "perturb", "name"}


class Grouping(NamedTuple):
    """Runs grouped into variants.

    Attributes:
      varies: the fields in which the variants differ, `param` first.
      variants: the variants, ordered by the other fields and then by `param`.
      pilots: the runs that only choose a learning rate, and are in no variant.
      warnings: what was left out.
    """

    varies: list[str]
    variants: list[TrainedVariant]
    pilots: list[Outcome]
    warnings: list[str]


def group_runs(outcomes: Sequence[Outcome]) -> Grouping:
    """Groups runs into variants.

    Raises:
      UsageError: two runs have the same settings and seed, but different results.
    """
    outcomes = _with_data_named(outcomes)
    configs = list({id(outcome.config): outcome.config for outcome in outcomes}.values())
    fields = [name for name, setting in SETTINGS.items() if setting.outcome and name not in _NOT_VARYING]
    if len({outcome.images for outcome in outcomes}) > 1:
        fields.append("data_dir")

    def varying(names: Iterable[str]) -> list[str]:
        return [name for name in names if len({getattr(config, name) for config in configs}) > 1]

    varies = ["param", *varying(name for name in fields if name != "param")]
    copies, clash = _copies(outcomes, varies)
    if clash and varying(["name"]):
        varies.append("name")
        copies, clash = _copies(outcomes, varies)
    if clash:
        both = f"{clash[0]} and {clash[1]}"
        raise UsageError(f"{both}: have the same settings and seed, but different results; compare only one of them")
    left_out = {id(copy) for copy in copies}
    kept = [outcome for outcome in outcomes if id(outcome) not in left_out]
    variants, warnings = _variants([outcome for outcome in kept if not outcome.config.pilot], varies)
    pilots = [outcome for outcome in kept if outcome.config.pilot]
    if copies:
        repeated = f"{count(len(copies), 'run')} left out that others repeat, such as {copies[0].path}"
        warnings = [repeated, *warnings]
    return Grouping(varies, variants, pilots, warnings)


def _with_data_named(outcomes: Sequence[Outcome]) -> Sequence[Outcome]:
    """Gives all runs on the same data one `data_dir`, the first of theirs, with a checksum if other data share it."""
    place: dict[Any, str] = {}
    for outcome in outcomes:
        place.setdefault(outcome.images, outcome.config.data_dir)
    if len(place) == 1:
        return outcomes
    shared = collections.Counter(place.values())

    @functools.cache
    def named(config: Config, data: Any) -> Config:
        checksum = f"#{hashlib.sha256(repr(data).encode()).hexdigest()[:8]}"
        return dataclasses.replace(config, data_dir=f"{place[data]}{checksum * (shared[place[data]] > 1)}")

    return [outcome._replace(config=named(outcome.config, outcome.images)) for outcome in outcomes]


def _copies(outcomes: Sequence[Outcome], varies: Sequence[str]) -> tuple[list[Outcome], tuple[Any, Any] | None]:
    """Returns the runs that repeat an earlier one, and the paths of two that should and do not."""
    first: dict[Any, Outcome] = {}
    copies = []
    for outcome in outcomes:
        config = outcome.config
        same = (*(getattr(config, name) for name in varies), config.pilot, config.perturb, outcome.seed)
        other = first.setdefault(same, outcome)
        if other is not outcome:
            if (other.status, other.values) != (outcome.status, outcome.values):
                return copies, (other.path, outcome.path)
            copies.append(outcome)
    return copies, None


def _variants(outcomes: Sequence[Outcome], varies: Sequence[str]) -> tuple[list[TrainedVariant], list[str]]:
    """Returns the variants and, as warnings, which twins are left out."""
    warnings = []
    perturbations = {abs(outcome.config.perturb) for outcome in outcomes} - {0.0}
    if len(perturbations) > 1:
        listed = ", ".join(map(text, sorted(perturbations)))
        warnings.append(f"of twins perturbed by {listed} only the first count")
    groups: dict[tuple[Any, ...], tuple[dict[int, Outcome], dict[int, Outcome]]] = {}
    for outcome in outcomes:
        runs, twins = groups.setdefault(tuple(getattr(outcome.config, name) for name in varies), ({}, {}))
        if not outcome.config.perturb:
            runs[outcome.seed] = outcome
        elif abs(outcome.config.perturb) == min(perturbations):
            twins[outcome.seed] = outcome
    without_original = sum(seed not in runs for runs, twins in groups.values() for seed in twins)
    if without_original:
        warnings.append(f"{count(without_original, 'perturbed twin')} left out, whose originals are not here")
    variants = [
        TrainedVariant(
            label(next(iter(runs.values())).config, varies),
            dict(zip(varies, values, strict=True)),
            _by_seed(runs),
            _by_seed(twins),
        )
        for values, (runs, twins) in groups.items()
        if runs
    ]
    # Other fields before the head, so that what is compared stands together; numbers by size.
    order = [*varies[1:], varies[0]]
    variants.sort(key=lambda variant: [sort_key(variant.values[name]) for name in order])
    return variants, warnings


def _by_seed(runs: Mapping[int, Outcome]) -> dict[int, Outcome]:
    return dict(sorted(runs.items()))


def references(variants: Sequence[Variant], wanted: str, ignored: Collection[str] = ()) -> dict[str, Variant | None]:
    """Returns for each variant that is not a reference, by name, the one that it is compared with.

    That is the reference at the same other settings; where there is only one reference, that one; otherwise None.

    Args:
      variants: all of them.
      wanted: the name of a variant, or `[head],field=value,…`.
      ignored: fields in which the two may differ.

    Raises:
      UsageError: it names no field or no variant, or all of them.
    """
    candidates, fields = _named(variants, wanted)
    apart = {*fields, *ignored}

    def others(variant: Variant) -> list[Any]:
        return [value for name, value in variant.values.items() if name not in apart]

    partners: dict[str, Variant | None] = {}
    for variant in variants:
        if not any(variant is candidate for candidate in candidates):
            same = [candidate for candidate in candidates if others(candidate) == others(variant)]
            same = candidates if len(candidates) == 1 else same
            partners[variant.name] = same[0] if len(same) == 1 else None
    return partners


def asked_fields(variants: Sequence[Variant], wanted: str) -> Collection[str]:
    """Returns the fields that `--reference` says something about, in which a variant is meant to differ from it."""
    return _named(variants, wanted)[1]


def _named(variants: Sequence[Variant], wanted: str) -> tuple[list[Variant], Collection[str]]:
    """Returns the variants that `--reference` names, and the fields that it says something about."""
    names = [variant.name for variant in variants]
    listed = f"{', '.join(names[:20])}{' …' * (len(names) > 20)}"
    fields: Collection[str] = variants[0].values
    candidates = [variant for variant in variants if variant.name == wanted]
    if not candidates:
        fields = asked = _fields(wanted, variants[0])
        candidates = [v for v in variants if all(matches(v.value(name), value) for name, value in asked.items())]
    if not candidates:
        what = f"no run is {wanted!r}{nearest(wanted, names)}" if wanted else "is needed"
        raise UsageError(f"--reference: {what} (there are: {listed})")
    if len(candidates) < len(variants):
        return candidates, fields
    if len(variants) > 1:
        choice = f"choose among {listed}, as in --reference {names[0]}"
        raise UsageError(f"nothing to compare: all runs are {wanted!r}; {choice}")
    raise UsageError(f"nothing to compare: there is only one variant, {listed}")


def one_variant(variants: Sequence[TrainedVariant], wanted: str, what: str) -> TrainedVariant:
    """Returns the variant that a text names: by its name, or by `[head],field=value,…`.

    Of several that it fits, that one is meant which has the defaults in all that the text says nothing of.

    Args:
      variants: all of them.
      wanted: the text.
      what: what it was given as.

    Raises:
      UsageError: it names no field or no variant, or several.
    """
    names = [variant.name for variant in variants]
    if not wanted.strip():
        raise UsageError(f"{what}: must name a variant, as in logvar or logvar,lr=0.001")
    if wanted in names:
        return variants[names.index(wanted)]
    asked = _fields(wanted, variants[0], what)
    fitting = [one for one in variants if all(matches(one.value(name), value) for name, value in asked.items())]
    plain = [
        one
        for one in fitting
        if all(value == SETTINGS[name].default for name, value in one.values.items() if name not in asked)
    ]
    if len(chosen := fitting if len(fitting) == 1 else plain) == 1:
        return chosen[0]
    listed = ", ".join([one.name for one in fitting or variants][:20]) + " …" * (len(fitting or variants) > 20)
    if fitting:
        raise UsageError(f"{what}: {wanted!r} is several variants: {listed}")
    raise UsageError(f"{what}: no run is {wanted!r}{nearest(wanted, names)} (there are: {listed})")


def _fields(wanted: str, variant: Variant, what: str = "--reference") -> dict[str, str]:
    """Returns the fields of `[head],field=value,…`; a comma within a value is one that no `field=` follows."""
    if not isinstance(variant, TrainedVariant):
        return _columns(wanted, list(variant.values))
    fields: dict[str, str] = {}
    for word in re.split(r",(?=[a-z_-]+=)", wanted):
        name, equals, value = word.partition("=")
        name, value = (name.strip().replace("-", "_"), value.strip()) if equals else ("param", word.strip())
        if name not in SETTINGS:
            raise UsageError(f"{what}: unknown setting {name!r}{nearest(name, SETTINGS)}")
        fields[name] = value
    return fields


def _columns(wanted: str, columns: Sequence[str]) -> dict[str, str]:
    """Returns what `[value],column=value,…` says of columns that may have any name; a value alone is that of the first.

    >>> _columns("ppo, lr=0.1", ["algo", "lr"]), _columns("a=b,c", ["algo"])
    ({'algo': 'ppo', 'lr': '0.1'}, {'algo': 'a=b,c'})
    """
    names = "|".join(map(re.escape, columns))
    given = [
        re.fullmatch(rf"\s*({names})=(.*)", word, re.DOTALL) for word in re.split(rf",(?=\s*(?:{names})=)", wanted)
    ]
    first, *_ = given
    fields = {} if first else {columns[0]: re.split(rf",(?=\s*(?:{names})=)", wanted)[0].strip()}
    return fields | {match[1]: match[2].strip() for match in given if match}


def matches(value: Any, wanted: str) -> bool:
    """Returns whether a text names the value of a field: as tables show it or, if it is a number, in any other form."""
    if isinstance(value, float | int) and not isinstance(value, bool):
        with contextlib.suppress(ValueError):
            return float(wanted) == value
    return text(value) == wanted
