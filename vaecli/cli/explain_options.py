"""The options of `vae explain`, whose two forms are modules of their own."""

import dataclasses
from pathlib import Path
from typing import Annotated

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
            help="Of RUN: the number of seeds at which a change must survive, the run's own first.",
            help_behavior_hint="(default: 1)",
        ),
    ] = None
    runs: Annotated[
        Path | None,
        tyro.conf.arg(
            metavar="DIR",
            help="Of RUN: the folder of all results for what is trained.",
            help_behavior_hint="(default: the one in which the run lies)",
        ),
    ] = None
    data_dir: DataFolder = None
    trust_heads: TrustSwitch = False


OF_RUN = ("steps", "no_train", "seeds", "runs", "data_dir", "trust_heads")
"""The options that belong to `vae explain RUN`."""

OF_DIFFERENCE: tuple[str, ...] = ()
"""Those that belong to `vae explain A B DIR …`."""
