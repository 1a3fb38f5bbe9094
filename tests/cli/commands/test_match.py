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


def test_match_of_the_decoder(capsys):
    """Factors of a natural gradient by hand, with the flags of τ's head."""
    line = "match --for decoder logvar logstd --decoder-gradient natural --weight-decay 0.1 --clip-norm 1 --json"
    assert main(line.split()) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["flags"] == (
        "--decoder-param logstd --likelihood gaussian --decoder-gradient natural --optimizer adam --lr 0.001 "
        "--weight-decay 0.1 --clip-norm 1 --decoder-init-weight 0.5 --decoder-lr 0.5 --decoder-eps 0.5 --decoder-clip 2"
    )
    assert (
        main(
            [
                "match",
                "--for",
                "decoder",
                "logvar",
                "softplus_std",
                "--decoder-std",
                "0.2",
                "--decoder-bound",
                "floor:0.01",
            ]
        )
        == 0
    )
    text = capsys.readouterr().out
    assert "the gains at τ = 0.2" in text
    # 2 (1 − e^−s)/s at the s = 0.19 behind the floor.
    assert "a = 1.821483" in text


def test_match_of_the_decoder_refuses(capsys):
    def refused(line):
        return complaint(capsys, "match", *line.split())

    assert "--decoder-std has no part in a match of the encoder's heads; use --for decoder" in refused(
        "logvar logstd --decoder-std 3"
    )
    of_decoder = "--for decoder logvar logstd "
    assert "--init-std has no part in a match of the decoder's heads" in refused(of_decoder + "--init-std 3")
    assert "--decoder-gradient: must be nll" in refused(of_decoder + "--decoder-gradient beta:")
    assert "pixel has no maximum" in refused(of_decoder + "--decoder-scale pixel")
    assert "scale has no head" in refused(of_decoder + "--decoder-scale optimal")
    assert "continuous_bernoulli likelihood" in refused(of_decoder + "--likelihood continuous_bernoulli")
    assert "natural also moves the mean" in refused("--for decoder logvar natural")
    assert "no output to match" in refused("--for decoder logvar fixed")
    assert "unknown head 'nope'" in refused("--for decoder logvar nope")
    assert "--for: must be one of encoder, decoder" in refused("--for encode logvar logstd")
