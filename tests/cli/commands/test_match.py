"""`vae match` as a user types it."""

import json

import pytest
from helpers.commands import complaint

from vaecli.cli.main import main


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_match_as_json(capsys):
    assert main(["match", "logvar", "logstd", "--optimizer", "adam", "--lr", "1e-3", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    expected = {
        "exact": True,
        "a": 2,
        "c": 0,
        "head_lr_factor": 0.5,
        "eps_factor": 2,
        "weight_decay_factor": 4,
        "init_weight_factor": 0.5,
        "flags": "--param logstd --optimizer adam --lr 0.001 --init-weight 0.5 --head-lr 0.5 --head-eps 2",
    }
    assert found.items() >= expected.items()
    assert "bit for bit" in found["note"]


def test_match_as_text(capsys):
    assert main(["match", "logvar", "softplus_std", "--init-std", "0.3"]) == 0
    text = capsys.readouterr().out
    assert text.startswith("No exact match")
    assert "σ = 0.3" in text
    assert "vae train --param softplus_std --init-std 0.3" in text


def test_match_refuses(capsys):
    assert "two heads are needed" in complaint(capsys, "match", "logvar")
    assert "no output to match" in complaint(capsys, "match", "logvar", "fixed")
    assert "unknown head 'nope'" in complaint(capsys, "match", "nope", "logvar")
    assert "--init-std" in complaint(capsys, "match", "sigmoid_std", "logvar", "--init-std", "3")
    assert "--lr: must be" in complaint(capsys, "match", "logvar", "logstd", "--lr", "0")
    assert "--bound: clip:LO,HI" in complaint(capsys, "match", "logvar", "logstd", "--bound", "clip:3,1")
    assert "unknown option --param" in complaint(capsys, "match", "logvar", "logstd", "--param", "logvar")
    assert "unexpected 'third'" in complaint(capsys, "match", "logvar", "logstd", "third")
