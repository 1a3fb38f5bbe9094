"""A run in TensorBoard's HParams: its settings as columns, the head, the seed and what varies first.

TensorBoard takes the columns from one run of a folder, puts those first that are marked as differing, and orders by
name. It shows the first five.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Literal, NamedTuple, get_args, get_origin

from vaecli.config import SETTINGS, Config
from vaecli.runs import tensorboard
from vaecli.runs.tensorboard import HParam, HParamValue

METRICS_SHOWN = ("test/elbo", "test/kl", "test/reconstruction", "grad/unit_snr", "train/elbo")

_ALWAYS_FIRST = ("param", "seed")


class RunFacts(NamedTuple):
    """What HParams say of a run besides its settings.

    Attributes:
      varied: the settings that its folder names, besides head and seed.
      data: its data, for a person.
      heads: the heads that there are.
    """

    varied: Collection[str] = ()
    data: str = ""
    heads: Sequence[str] = ()


def columns(config: Config, facts: RunFacts) -> Sequence[HParam]:
    """Returns all settings of a run: first the head, the seed and what varies, then the others by name.

    The data stand in the place of their folder.
    """
    varied = {"data" if name == "data_dir" else name for name in facts.varied} - {*_ALWAYS_FIRST}
    # Only a name that begins with a space comes before every other one; it is not shown.
    space = " " * any(name < _ALWAYS_FIRST[-1] for name in varied)
    by_name = {**{name: _column(config, name, facts) for name in SETTINGS if name != "data_dir"}, "data": _data(facts)}
    first = [
        by_name.pop(name)._replace(name=space + name, title=name if space else "", differs=True)
        for name in _ALWAYS_FIRST
    ]
    others = [by_name[name]._replace(differs=name in varied) for name in sorted(by_name)]
    return [*first, *sorted(others, key=lambda column: not column.differs)]


def values(config: Config, facts: RunFacts) -> Mapping[str, HParamValue]:
    """Returns the values of a run's settings, under the names by which the columns of any run may ask for them."""
    known = {column.title or column.name: column.value for column in columns(config, facts)}
    return {**known, **{f" {name}": known[name] for name in _ALWAYS_FIRST}}


def begin(config: Config, facts: RunFacts, wall_time: float) -> tuple[Any, Any]:
    """Returns what the event file of a run begins with: the columns, and the run's values."""
    experiment = tensorboard.experiment(columns(config, facts), METRICS_SHOWN)
    return experiment, tensorboard.session_start(values(config, facts), wall_time)


def end(status: str, wall_time: float) -> Any:
    """Returns what the event file ends with, by the status in the summary of the run."""
    statuses: Mapping[str, Literal["SUCCESS", "FAILURE"]] = {"complete": "SUCCESS", "diverged": "FAILURE"}
    return tensorboard.session_end(statuses.get(status, "UNKNOWN"), wall_time)


def _data(facts: RunFacts) -> HParam:
    return HParam("data", "", facts.data, [facts.data], False)


def _column(config: Config, name: str, facts: RunFacts) -> HParam:
    """Returns a setting as HParams hold it: of one type in all runs, be it a number here and a word there."""
    value, type_ = getattr(config, name), SETTINGS[name].type
    if isinstance(value, tuple):
        shown: HParamValue = ",".join(map(str, value))
    else:
        shown = value if isinstance(type_, type) else str(value)
    if isinstance(shown, bool):
        return HParam(name, "", shown, [False, True], False)
    if not isinstance(shown, str):
        return HParam(name, "", shown, [], False)
    # A column of words without a domain is left out of the table beside the curves.
    if get_origin(type_) is Literal:
        domain: Sequence[str] = get_args(type_)
    else:
        domain = list(dict.fromkeys([*(facts.heads if name == "param" else ()), shown]))
    return HParam(name, "", shown, domain, False)
