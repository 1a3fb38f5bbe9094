"""The files of a run that was never trained."""

import json

from vaecli.config import Config
from vaecli.config.toml import to_toml
from vaecli.runs.directory import outcome_settings

_METRICS = {"test/elbo": -100.0, "test/reconstruction": -80.0, "test/kl": 20.0}


def write_run(path, config=None, *, status="complete", elbo=None, epochs=None):
    """Writes a run's directory: its config, a log point if an ELBO is given, and a summary unless `status` is None."""
    config = config or Config(name="mnist")
    epochs = config.epochs if epochs is None else epochs
    path.mkdir(parents=True)
    (path / "config.toml").write_text(to_toml(config))
    metrics = _METRICS | ({} if elbo is None else {"test/elbo": elbo})
    if elbo is not None:
        (path / "metrics.jsonl").write_text(json.dumps({"epoch": epochs, **metrics}) + "\n")
    if status == "complete":
        config = Config(**{**vars(config), "epochs": epochs})
        (path / "config.toml").write_text(to_toml(config))
    summary = {
        "status": status,
        "config": outcome_settings(config),
        "epochs": epochs,
        "steps": epochs * 10,
        "metrics": metrics,
        "data_sha256": {},
        "first_non_finite": {"quantity": "train/loss", "block": None, "step": 3} if status == "diverged" else None,
    }
    if status:
        (path / "summary.json").write_text(json.dumps(summary))
