"""Heads that are given as objects: what a config calls them, and that different ones have different names."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import pytest

from vaecli import Config, ConfigError, Head
from vaecli.config.toml import to_toml, values_from_toml
from vaecli.vae.heads import table
from vaecli.vae.heads.resolve import resolve_head
from vaecli.vae.heads.table import HEADS
from vaecli.vae.validate import validate


def shifted(by):
    return Head(f=lambda u: u + by, name="shifted")


DIFFERENT = {
    "identity": Head(f=lambda u: u),
    "another value": Head(f=lambda u: u * (1 + 1e-6)),
    "another value in one place": Head(f=lambda u: jnp.where(u > 99, u + 1, u)),
    "another derivative": Head(f=lambda u: jax.lax.stop_gradient(u)),
    "another slope": Head(f=lambda u: u, slope=0.5),
    "limits": Head(f=lambda u: u, limits=(-math.inf, 200.0)),
    "a scale": Head(f=lambda u: u, f_scale=jnp.exp),
    "an inverse": Head(f=lambda u: u, f_inverse=lambda log_scale: log_scale),
    "a coupled mean": Head(f=lambda u: u, couples_mean=True),
    "not learned": Head(f=lambda u: u, learned=False),
}


def test_different_heads_have_different_names():
    names = [Config(param=head).param for head in DIFFERENT.values()]
    assert len(set(names)) == len(DIFFERENT)
    assert all(name.startswith("head@") and len(name) == 17 for name in names)


def test_same_formula_has_one_name_wherever_it_is_written():
    # In any process, with any version of jax.
    assert Config(param=Head(f=lambda u: jnp.arcsinh(u / 2))).param == "head@72d6e5cb28ed"
    assert Config(param=shifted(0.5)).param == Config(param=shifted(0.5)).param != Config(param=shifted(0.25)).param
    described = dataclasses.replace(shifted(0.5), note="moved", quantity="log σ − 0.5")
    assert Config(param=described).param == Config(param=shifted(0.5)).param


def test_head_of_the_table_keeps_its_name():
    assert Config(param=HEADS["logstd"], likelihood="gaussian", decoder_param=HEADS["natural"]).param == "logstd"
    changed = Config(param=dataclasses.replace(HEADS["logvar"], slope=0.25)).param
    assert changed.startswith("logvar@")
    assert resolve_head(changed).f is HEADS["logvar"].f


def test_config_holds_a_name_from_which_it_is_read_again():
    config = Config(param=shifted(0.5), likelihood="gaussian", decoder_param=shifted(0.25))
    assert Config(**values_from_toml(to_toml(config))) == config
    resolved = validate(config)
    assert float(resolved.head.log_scale(jnp.float32(1))) == 1.5
    assert resolved.decoder_head is not None
    assert float(resolved.decoder_head.log_scale(jnp.float32(1))) == 1.25


def test_another_process_says_that_it_cannot_replay_it(monkeypatch):
    config = Config(param=shifted(0.5))
    monkeypatch.setattr(table, "GIVEN", {})
    monkeypatch.setattr("vaecli.vae.heads.resolve.GIVEN", {})
    with pytest.raises(ConfigError, match=r"param: shifted@\w+ is a Head that a Python program gave as an object"):
        validate(config)


@pytest.mark.parametrize(
    ("head", "message"),
    [
        (Head(f=3), "param: head: f fails on an array of shape"),
        (Head(f=lambda u: u.sum()), "param: head: f must map an array to one of its shape and type"),
        (Head(f=lambda u: u, name=["x"]), "param: x: name must be of type str"),
        (Head(f=lambda u: u, limits=[0, 1]), "param: head: limits must be two numbers"),
        (Head(f=lambda u: u, name="a,b=c"), None),
        (lambda u: u, "param: must be text, got <function"),
    ],
)
def test_heads_that_are_wrong_are_refused(head, message):
    if message is None:
        assert Config(param=head).param.startswith("a-b-c@")
        return
    with pytest.raises(ConfigError, match=message):
        Config(param=head)
    with pytest.raises(ConfigError, match=message.replace("param", "decoder_param")):
        Config(decoder_param=head)
