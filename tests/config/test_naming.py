"""How directories and tables name a run."""

from pathlib import Path

from vaecli import Config
from vaecli.config.naming import label
from vaecli.runs.directory import run_path


def test_labels():
    config = Config(param="pkg.mod:mine", lr=0.1, perturb=1e-6, seed=4)
    assert label(config, ["lr", "seed"]) == "pkg.mod:mine,perturb=1e-06,lr=0.1"
    pilot = Config(pilot=2, validation=True, lr=0.1, seed=4)
    assert run_path(Path("r"), pilot, ["lr"]) == Path("r/mnist/logvar,pilot=2,lr=0.1/seed4")
    assert run_path(Path("r"), config, ["lr"]) == Path("r/mnist/pkg.mod.mine,perturb=1e-06,lr=0.1/seed4")
    assert (
        label(Config(channels=(), validation=True), ["channels", "validation"])
        == "logvar,validation=true,channels=none"
    )
