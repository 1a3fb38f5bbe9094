"""The options of `vae explain`, whose two forms are modules of their own."""

import dataclasses
from pathlib import Path
from typing import Annotated, Literal

import tyro

from vaecli.cli.options import DataFolder, JsonSwitch, Switch, TrustSwitch

FORMS = "vae explain RUN says why a run diverged, vae explain A B DIR … what a difference between variants is made of"


@dataclasses.dataclass(frozen=True)
class ExplainOptions:
    """What is explained, and what may be trained for that."""

    words: Annotated[
        tyro.conf.Positional[tuple[str, ...]],
        tyro.conf.arg(
            metavar="RUN|A B DIR …",
            help="One word: the directory of a run that diverged. Three or more: two variants, such as natural and "
            "logvar, and the folders with their runs.",
            help_behavior_hint="(required)",
        ),
    ] = ()
    yes: Annotated[Switch, tyro.conf.arg(help="Train what is missing without asking.")] = False
    json: JsonSwitch = False
    steps: Annotated[
        int | None,
        tyro.conf.arg(
            metavar="INT",
            help="Of RUN: the number of steps in the trail, the last ones before it diverged.",
            help_behavior_hint="(default: 8)",
        ),
    ] = None
    no_train: Annotated[
        Switch, tyro.conf.arg(help="Of RUN: print the trail, and train nothing to see which change survives.")
    ] = False
    seeds: Annotated[
        int | None,
        tyro.conf.arg(
            metavar="INT",
            help="Of RUN: the number of seeds at which a change must survive, the run's own first. Of A and B: how "
            "many of the seeds that they share count, the first ones.",
            help_behavior_hint="(default: 1 of RUN, all of A and B)",
        ),
    ] = None
    runs: Annotated[
        Path | None,
        tyro.conf.arg(
            metavar="DIR",
            help="The folder of all results for what is trained.",
            help_behavior_hint="(default: the one in which RUN lies, or the runs of B)",
        ),
    ] = None
    data_dir: DataFolder = None
    trust_heads: TrustSwitch = False
    metric: Annotated[
        str | None,
        tyro.conf.arg(
            metavar="STR",
            help="Of A and B: any logged scalar, at its last value, or steps-to:VALUE.",
            help_behavior_hint="(default: test/elbo)",
        ),
    ] = None
    margin: Annotated[
        float | None,
        tyro.conf.arg(
            metavar="FLOAT",
            help="Of A and B: the smallest difference that matters, in the metric's unit.",
            help_behavior_hint="(default: 0.5 where the unit is nats, otherwise required)",
        ),
    ] = None
    alpha: Annotated[
        float | None,
        tyro.conf.arg(
            metavar="FLOAT",
            help="Of A and B: level of the tests; intervals have 1 - alpha.",
            help_behavior_hint="(default: 0.05)",
        ),
    ] = None
    better: Annotated[
        Literal["higher", "lower"] | None,
        tyro.conf.arg(
            metavar="higher|lower",
            help="Of A and B: which values are better, of a metric of which that is not known.",
            help_behavior_hint="",
        ),
    ] = None
    allow_mixed: Annotated[
        Switch,
        tyro.conf.arg(
            help="Of A and B: go on even if the data, the code or what the metric means differ between runs."
        ),
    ] = False
    jobs: Annotated[
        int | None,
        tyro.conf.arg(
            metavar="INT",
            help="Of A and B: number of processes that train at the same time.",
            help_behavior_hint="(default: 1)",
        ),
    ] = None


OF_RUN = ("steps", "no_train", "data_dir", "trust_heads")
"""The options that belong to `vae explain RUN`."""

OF_DIFFERENCE = ("metric", "margin", "alpha", "better", "allow_mixed", "jobs")
"""Those that belong to `vae explain A B DIR …`."""
