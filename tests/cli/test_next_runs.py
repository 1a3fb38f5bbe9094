"""The commands that train what a comparison leaves open, against what is on the disk."""

import shlex

import numpy as np
from helpers.outcomes import write

from vaecli.cli.flags import train_command
from vaecli.cli.next_runs import next_commands
from vaecli.report.compare import compare
from vaecli.report.model import Question


def test_one_sweep_where_only_heads_differ(tmp_path):
    rng = np.random.default_rng(0)
    for seed in range(6):
        write(tmp_path, -100.0 - seed, param="logvar", seed=seed, epochs=3)
        write(tmp_path, -100.0 - seed + 0.01 * rng.normal(), param="logprec", seed=seed, epochs=3)
        noise = rng.normal(0, 1.2)
        for param in ("logstd", "natural"):
            write(tmp_path, -100.0 - seed + noise, param=param, seed=seed, epochs=3)
    comparison = compare([tmp_path], Question())
    more = {result.label: result.more_seeds for result in comparison.results if result.more_seeds}
    assert more.keys() == {"logstd", "natural"}
    (command,) = next_commands(comparison, [])
    # The settings are those of the runs, their folder is the one that they lie in, and the seeds are new ones.
    assert shlex.split(command) == [
        *("vae", "sweep", "--param", "logvar", "logstd", "natural", "--epochs", "3", "--runs", str(tmp_path)),
        *("--seed", "6", "--seeds", str(max(more.values()))),
    ]


def test_each_variant_by_itself_otherwise_and_seeds_without_a_partner_first(tmp_path):
    rng = np.random.default_rng(0)
    for lr in (1e-3, 1e-2):
        for seed in range(6):
            write(tmp_path, -100.0 - seed, ["lr"], param="logvar", seed=seed, lr=lr)
            if seed < 5:
                noise = rng.normal(0, 2.0) if lr == 1e-2 else 0.0
                write(tmp_path, -100.0 - seed + noise, ["lr"], param="logstd", seed=seed, lr=lr)
    comparison = compare([tmp_path], Question())
    (open_one,) = [result for result in comparison.results if result.more_seeds]
    assert open_one.label == "logstd,lr=0.01"
    configs = {variant.name: variant.config for variant in comparison.variants}
    more = open_one.more_seeds
    # Seed 5 is there already on the side of the reference.
    assert next_commands(comparison, ["lr"]) == [
        train_command(configs["logvar,lr=0.01"], range(6, 5 + more), ["lr"], tmp_path),
        train_command(configs["logstd,lr=0.01"], range(5, 5 + more), ["lr"], tmp_path),
    ]


def test_nothing_to_train_where_nothing_is_open(tmp_path):
    for seed in range(4):
        for param in ("logvar", "logstd"):
            write(tmp_path, -100.0 - seed, param=param, seed=seed)
    assert next_commands(compare([tmp_path], Question()), []) == []
