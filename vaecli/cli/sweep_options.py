"""The options of `vae sweep`."""

import dataclasses
from pathlib import Path
from typing import Annotated, Literal

import tyro

from vaecli.cli.options import ConfigOption, JsonSwitch, RunsFolder, Switch
from vaecli.cli.reference import Uncommon
from vaecli.config.sequential import Spending


@dataclasses.dataclass(frozen=True)
class SweepOptions:
    """What is swept, where it goes, and how."""

    config: ConfigOption = ""
    seeds: Annotated[
        int | None,
        tyro.conf.arg(
            metavar="INT",
            help="Number of seeds of each variant, from --seed on.",
            help_behavior_hint="(default: the sweep's, or 1)",
        ),
    ] = None
    chaos_floor: Annotated[
        Switch,
        tyro.conf.arg(help="Add a twin to each run, with one weight moved by 1e-6: a smaller difference means little."),
    ] = False
    pilot_seeds: Annotated[
        int | None,
        tyro.conf.arg(
            metavar="INT",
            help="Tune the learning rate: of each seed, train so many pilots at every --lr, and then the seed itself "
            "only at the rate that its pilots chose on the validation split.",
            help_behavior_hint="(default: the sweep's, or every seed at every rate)",
        ),
    ] = None
    until_decided: Annotated[
        Switch,
        tyro.conf.arg(
            help="Stop when every variant is equivalent, better or worse: only what is undecided at a look gets more "
            "seeds, and the verdicts allow for all looks. 'vae docs sequential' has the design."
        ),
    ] = False
    looks: Annotated[
        str | None,
        tyro.conf.arg(
            metavar="N,N,…",
            help="Numbers of seeds of each variant at which it may be decided.",
            help_behavior_hint="(with --until-decided; default: 5,8,12,18,26)",
        ),
    ] = None
    margin: Annotated[
        float | None,
        tyro.conf.arg(
            metavar="FLOAT",
            help="The smallest difference that matters, in the metric's unit.",
            help_behavior_hint="(with --until-decided; default: 0.5 where the unit is nats, otherwise required)",
        ),
    ] = None
    spending: Annotated[
        Spending | None,
        tyro.conf.arg(
            metavar="pocock|obrien-fleming",
            help="How the level is spent over the looks: pocock may stop at the first, obrien-fleming keeps nearly all "
            "of it for the last.",
            help_behavior_hint="(with --until-decided; default: pocock)",
        ),
    ] = None
    alpha: Annotated[
        float | None,
        tyro.conf.arg(
            metavar="FLOAT", help="Level of the tests.", help_behavior_hint="(with --until-decided; default: 0.05)"
        ),
        Uncommon(),
    ] = None
    reference: Annotated[
        str | None,
        tyro.conf.arg(
            metavar="STR",
            help="What the others are compared with, as in vae compare.",
            help_behavior_hint="(with --until-decided; default: logvar)",
        ),
        Uncommon(),
    ] = None
    metric: Annotated[
        str | None,
        tyro.conf.arg(
            metavar="STR",
            help="The logged scalar that is compared.",
            help_behavior_hint="(with --until-decided; default: test/elbo)",
        ),
        Uncommon(),
    ] = None
    condition: Annotated[
        tuple[str, ...],
        tyro.conf.arg(
            metavar="NAME …",
            help="Only these conditions of a study. The plan, and with it the family of tests, stays that of all.",
            help_behavior_hint="(with the --config of a study; default: all)",
        ),
        Uncommon(),
    ] = ()
    overwrite: Annotated[
        Switch,
        tyro.conf.arg(help="With --until-decided: replace the plan of looks that is there. No run is touched."),
        Uncommon(),
    ] = False
    launcher: Annotated[
        Literal["local", "ray"], tyro.conf.arg(help="Where to train: on this machine, or on a Ray cluster.")
    ] = "local"
    jobs: Annotated[
        int | None,
        tyro.conf.arg(
            metavar="INT", help="Number of processes that train at the same time.", help_behavior_hint="(default: 1)"
        ),
    ] = None
    pack: Annotated[
        str | None,
        tyro.conf.arg(
            metavar="auto|N",
            help="Train at most N runs of several variants in one program, where they share one. auto: as many as an "
            "accelerator holds, and on a CPU those of one variant; 1 turns it off.",
            help_behavior_hint="(default: the sweep's, or auto)",
        ),
    ] = None
    ray_address: Annotated[
        str | None,
        tyro.conf.arg(
            metavar="auto|HOST:PORT",
            help="Cluster to which this machine belongs; without it, Ray is started here, for this sweep only.",
            help_behavior_hint="(with --launcher ray)",
        ),
        Uncommon(),
    ] = None
    cpus_per_run: Annotated[
        float | None,
        tyro.conf.arg(
            metavar="N",
            help="CPUs that Ray sets aside for each variant in training.",
            help_behavior_hint="(with --launcher ray; default: 1)",
        ),
        Uncommon(),
    ] = None
    gpus_per_run: Annotated[
        float | None,
        tyro.conf.arg(
            metavar="F",
            help="GPUs for each variant in training; with a fraction, several share one.",
            help_behavior_hint="(with --launcher ray; default: 0)",
        ),
        Uncommon(),
    ] = None
    runs: RunsFolder = Path("runs")
    dry_run: Annotated[Switch, tyro.conf.arg(help="List the runs and the state of each; train none.")] = False
    commands: Annotated[
        Switch,
        tyro.conf.arg(help="Print a 'vae train' command for each variant that is not done; train none."),
    ] = False
    json: JsonSwitch = False
