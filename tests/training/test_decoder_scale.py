"""Runs whose likelihood has a scale: in packs, after a stop, and with a scale in closed form."""

import dataclasses
import json
from pathlib import Path

import pytest
from helpers.runs import same, stopping

from vaecli import Config, train_runs, train_seeds

HEADS_OF_ONE_FORM = ("logvar", "logstd", "logprec")


@pytest.fixture
def scaled(small):
    return Config(**small | {"likelihood": "gaussian", "binarisation": "dequantised", "epochs": 3})


def test_a_pack_of_matched_heads(scaled, tmp_path):
    """They are one run bit for bit."""
    matched = {"decoder_scale": "network", "decoder_gradient": "natural", "decoder_init": "matched"}
    matched |= {"decoder_lr": "matched", "optimizer": "lion", "lr": 1e-3, "clip_norm": 10.0}
    configs = [dataclasses.replace(scaled, decoder_param=name, **matched) for name in HEADS_OF_ONE_FORM]
    together = train_runs(configs, runs=tmp_path / "pack", vary=["decoder_param"])
    logs = [Path(run["path"], "metrics.jsonl").read_text().splitlines() for run in together]
    elbos = [[json.loads(line)["test/elbo"] for line in lines] for lines in logs]
    assert elbos[0] == elbos[1] == elbos[2]
    assert len(set(elbos[0])) == 4


def test_a_scale_in_closed_form_resumes(scaled, tmp_path):
    """Two seeds, whose parameters, logs and pictures are those of runs that were not stopped."""
    config = dataclasses.replace(scaled, likelihood="laplace", decoder_scale="optimal", clip_norm=1.0)
    whole = train_seeds(config, 2, runs=tmp_path / "whole")
    train_seeds(config, 2, runs=tmp_path / "cut", stopped=stopping(2))
    for one, other in zip(train_seeds(config, 2, runs=tmp_path / "cut"), whole, strict=True):
        same(one, other)
    assert whole[0]["metrics"] != whole[1]["metrics"]
