"""`vae explain RUN`, from the command line."""

import json
import shlex

import pytest
from helpers.outcomes import write

from vaecli import Config, train
from vaecli.cli.main import main

ABS_STD = {"param": "abs_std", "epochs": 1, "hidden": ()}


@pytest.fixture(scope="module")
def lost(small, tmp_path_factory):
    """The directory of a run that diverges in its first step, which another start would not do."""
    own = ABS_STD | {"init": "native", "init_weight": 0.0}
    return train(Config(**small | own), runs=tmp_path_factory.mktemp("runs"))["path"]


def test_the_forms(capsys):
    for words, complaint in (
        ([], "a run, or two variants and their folder are needed"),
        (["natural", "logvar"], "the folder of their runs is needed"),
        (["a", "b", "c", "--steps", "3"], "--steps belongs to vae explain RUN"),
        (["nowhere"], "nowhere: does not exist"),
        (["nowhere", "--seeds", "x"], "--seeds: "),
    ):
        assert main(["explain", *words]) == 2
        assert complaint in capsys.readouterr().err


def test_nobody_can_be_asked(lost, capsys):
    assert main(["explain", str(lost)]) == 2
    streams = capsys.readouterr()
    assert "has no finite log σ at u = 0" in streams.out
    assert "--yes agrees to it, --no-train prints only the trail" in streams.err
    assert main(["explain", str(lost), "--no-train", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["trials"] == []
    assert shown["trail"]["rows"][-1]["values"]["log_sigma"] == "-inf"
    assert main(["explain", str(lost), "--steps", "0", "--no-train"]) == 2
    assert "--steps: must lie between 1 and 1000, got 0" in capsys.readouterr().err


def test_the_smallest_change_that_survives(lost, capsys, monkeypatch):
    assert main(["explain", str(lost), "--yes", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert [(trial["settings"], trial["outcome"], trial["in_reach"]) for trial in shown["trials"]] == [
        ({"clip_norm": 1.0}, "diverged", True),
        ({"init": "centred"}, "survived", True),
        ({"param": "softplus_std"}, "survived", False),
    ]
    # The commands are those of the runs that lie there.
    for command, trial in zip(shown["commands"], shown["trials"][1:], strict=True):
        assert main(shlex.split(command)[1:]) == 0
        assert trial["path"] in capsys.readouterr().out
    # Nothing is left to be trained, or to be asked.
    monkeypatch.setattr("vaecli.training.loop.train_batch", None)
    assert main(["explain", str(lost)]) == 0
    out = capsys.readouterr().out
    assert "The smallest change that survives: --init centred." in out
    assert "The smallest that takes it away, and survives: --param softplus_std." in out


def test_a_run_that_did_not_diverge(small, tmp_path, capsys):
    path = write(tmp_path, -100.0, **small | ABS_STD)
    assert main(["explain", str(path)]) == 2
    assert "did not diverge (it is complete); vae explain RUN says why a run diverged" in capsys.readouterr().err
