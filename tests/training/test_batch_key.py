"""Which runs one batch can hold."""

import dataclasses
from typing import Literal, get_args, get_origin

import pytest

from vaecli import Config
from vaecli.config import SETTINGS
from vaecli.training.batch_key import FREE, HOST, MEANINGS, NUMBERS, batch_key, program_settings
from vaecli.vae.build import program
from vaecli.vae.resolve import resolve

OF_THE_HOST = {
    *("data_dir", "data_transpose", "binarisation", "validation", "grad_batches"),
    *("epochs", "batch_size", "checkpoint_every", "log_every", "picture_every", "grad_every"),
}
"""What one data set and one loop over epochs have in common; written down here once more."""

BASE = {"likelihood": "gaussian", "validation": True, "objective": "iwae", "samples": 2, "weight_decay": 0.1}
OTHERS = {
    "name": ["a"],
    "data_dir": ["/somewhere"],
    "param": ["logstd", "logprec", "softplus_std", "fixed"],
    "decoder_param": ["logprec", "softplus_var", "fixed"],
    "bound": ["floor:0.1"],
    "decoder_bound": ["floor:0.1", "soft:-5,2"],
    "decoder_gradient": ["beta:0.5", "beta:0", "faithful", "natural"],
    "decoder_lr": ["matched", 0.5],
    "channels": [(4,)],
    "head_lr": ["matched", 0.5],
    "weight_decay": [0.0, 0.2],
    "clip_norm": [1.0],
    "skip_norm": [1.0],
    "kl": ["mc"],
    "loss_scale": [8.0, 1024.0, "dynamic"],
}


NEEDED = {"objective": {"samples": 1}, "estimator": {"samples": 1}, "student_df": {"likelihood": "student"}}
"""What a setting needs of the others."""


def alternatives(name):
    """Other values of a setting than that of `BASE` or the default."""
    setting, value = SETTINGS[name], BASE.get(name, SETTINGS[name].default)
    if name in OTHERS:
        return OTHERS[name]
    if get_origin(setting.type) is Literal:
        return [other for other in get_args(setting.type) if other != value]
    return [not value if setting.type is bool else (30,) if isinstance(value, tuple) else value + 1]


def keyed(settings):
    """The key of a config, its program, and what the host reads of it."""
    config = Config(**settings)
    resolved = resolve(config)
    return batch_key(resolved), (program(resolved, (28, 28)), [getattr(config, name) for name in sorted(OF_THE_HOST)])


@pytest.mark.parametrize("name", [name for name in SETTINGS if name not in ("pilot", "perturb")])
def test_a_batch_holds_what_shares_a_program_and_the_hosts_settings(name):
    """Each setting is changed by itself: the key is another one where either is another one, and only there."""
    key, shared = keyed(BASE)
    for value in alternatives(name):
        changed = BASE | {name: value}
        needed = NEEDED.get(name, {})
        changed |= needed
        reference = keyed(BASE | needed) if needed else (key, shared)
        other_key, other = keyed(changed)
        assert (other_key == reference[0]) == (other == reference[1]), value
        assert hash(other_key) == hash(batch_key(resolve(Config(**changed))))


@pytest.mark.parametrize("name", [name for name in SETTINGS if name not in ("pilot", "perturb")])
def test_programs_differ_where_their_settings_do_and_only_there(name):
    """What is called by another name may be the same program."""
    needed = NEEDED.get(name, {})
    for value in alternatives(name):
        configs = [Config(**BASE | needed), Config(**BASE | {name: value} | needed)]
        resolved = [resolve(config) for config in configs]
        one, other = (program(of_run, (28, 28)) for of_run in resolved)
        of_one, of_other = map(program_settings, resolved)
        assert one == other or of_one != of_other, value
        if name in {*FREE, *HOST}:
            assert of_one == of_other, value


def test_heads_of_one_form_have_one_name_and_ones_own_has_none():
    of_logvar, of_logstd, of_own = (
        program_settings(resolve(Config(param=param, init_std=0.5)))
        for param in ("logvar", "logstd", "helpers.heads:cliff")
    )
    assert of_logvar == of_logstd
    assert of_own is None


def test_numbers_are_of_the_batch_where_both_have_one():
    for name in ("weight_decay", "clip_norm", "skip_norm", "loss_scale"):
        one, other = ({"lr": 0.1, name: value} for value in (2.0, 4.0))
        assert keyed(one)[0] == keyed(other)[0] != keyed({})[0]


def test_pilots_and_twins_are_of_the_batch():
    config = Config(validation=True)
    for change in ({"pilot": 2}, {"perturb": 1e-6}):
        assert batch_key(resolve(config)) == batch_key(resolve(dataclasses.replace(config, **change)))


def test_no_setting_is_listed_twice():
    assert len({*FREE, *NUMBERS, *MEANINGS}) == len(FREE) + len(NUMBERS) + len(MEANINGS)
    assert not OF_THE_HOST & {*FREE, *NUMBERS, *MEANINGS}
    assert OF_THE_HOST - {"binarisation"} == HOST  # Some pixels are drawn by the program.
