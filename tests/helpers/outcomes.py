"""Run directories as far as a comparison reads them."""

import dataclasses
import json

from vaecli import Config
from vaecli.config.toml import to_toml
from vaecli.runs.directory import read_summary, run_path

DATA = {"train": "a" * 64, "test": "b" * 64}
VERSIONS = {"python": "3.11.7", "vaecli": "0.1.0", "jax": "0.10.2"}


def write(
    runs,
    elbo,
    vary=(),
    *,
    status="complete",
    metrics=(),
    commit="c" * 40,
    data=DATA,
    log=(),
    environment=None,
    **settings,
):
    """Writes what a run leaves, as far as a comparison reads it; returns its path."""
    config = Config(**settings)
    path = run_path(runs, config, vary)
    path.mkdir(parents=True)
    (path / "config.toml").write_text(to_toml(config))
    values = {"test/elbo": elbo, "test/reconstruction": elbo and elbo + 25, "test/kl": 25.0, "safety/saturated": 0.0}
    values |= dict(metrics)
    summary = {
        "status": status,
        "first_non_finite": {"quantity": "gradient", "block": "scale_head", "step": 17},
        "metrics": values,
        "epochs": config.epochs,
        "steps": 10,
        "data_sha256": data,
        "versions": VERSIONS,
        "git_commit": commit,
        "device": "cpu",
        **({"environment": environment} if environment else {}),
    }
    (path / "summary.json").write_text(json.dumps(summary))
    (path / "metrics.jsonl").write_text("".join(json.dumps(point) + "\n" for point in log))
    return path


def end(sweep, task, seed, bound):
    """Writes what a run of a sweep leaves that ended with this ELBO on both splits; without one it diverged."""
    settings = dataclasses.asdict(task.config_of(seed))
    status = "diverged" if bound is None else "complete"
    path = write(sweep.runs, bound, sweep.vary, status=status, metrics={"validation/elbo": bound}, **settings)
    return {**read_summary(path), "path": str(path)}
