"""Trains VAEs with three likelihoods here and in plain PyTorch, and compares their test ELBOs over seeds.

    python bench/torch_likelihoods.py --torch-python PYTHON [--seeds 5] [--epochs 2] [--runs DIR]

PYTHON has torch and NumPy, and needs nothing else: of this package it gets only the images, a file of arrays. Network,
weights, optimiser, batches and pixels have the same distributions on both sides, but no draw in common, so that means
over seeds agree to within their errors. Runs that exist already are not trained again.
"""

# pyright: reportMissingImports=false
import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

HIDDEN, LATENT, BATCH, LR, START = 64, 8, 128, 1e-3, 0.1
CASES = {"continuous_bernoulli": "grey", "laplace": "dequantised", "student": "dequantised"}
"""The binarisation with which each likelihood is trained."""


def trained_in_torch(images: str, likelihood: str, epochs: int, seeds: int) -> list[float]:
    """Returns the test ELBO of each seed; in a process of its own, which has torch."""
    import torch
    from torch import distributions, nn

    data = np.load(images)
    train, test = torch.from_numpy(data["train"]), torch.from_numpy(data["test"])
    torch.set_num_threads(1)

    def log_norm(logits):
        """log(l / tanh(l/2)); that of torch.distributions ends at |l| = 15.9, where it clamps the probability."""
        size = logits.abs()
        near = size < 1e-2
        far = torch.where(near, 1.0, size)
        value = far.log() + torch.log1p(torch.exp(-far)) - torch.log(-torch.expm1(-far))
        return torch.where(near, np.log(2) + logits**2 / 12, value)

    some = torch.linspace(-9, 9, 37)
    known = distributions.ContinuousBernoulli(logits=some).log_prob(torch.tensor(0.3))
    own = -nn.functional.binary_cross_entropy_with_logits(some, torch.full_like(some, 0.3), reduction="none")
    # Near a probability of ½ theirs is a Taylor series with an error of 1e-4.
    assert (known - own - log_norm(some)).abs().max() < 1e-3

    def log_prob(outputs, log_scale, x):
        match likelihood:
            case "continuous_bernoulli":
                cross_entropy = nn.functional.binary_cross_entropy_with_logits(outputs, x, reduction="none")
                return log_norm(outputs) - cross_entropy
            case "laplace":
                return distributions.Laplace(outputs, log_scale.exp()).log_prob(x)
        return distributions.StudentT(4.0, outputs, log_scale.exp()).log_prob(x)

    def elbo(layers, u, x):
        h = torch.relu(layers[0](x))
        loc, logvar = layers[1](h), layers[2](h)
        q = distributions.Normal(loc, torch.exp(0.5 * logvar))
        outputs = layers[4](torch.relu(layers[3](q.rsample())))
        kl = distributions.kl_divergence(q, distributions.Normal(0.0, 1.0))
        return log_prob(outputs, u / 2, x).sum(1) - kl.sum(1)

    finals = []
    for seed in range(seeds):
        torch.manual_seed(seed)
        # Its layers are drawn uniformly within ±1/√fan_in, biases too.
        shapes = ((784, HIDDEN), (HIDDEN, LATENT), (HIDDEN, LATENT), (LATENT, HIDDEN), (HIDDEN, 784))
        layers = nn.ModuleList(nn.Linear(*shape) for shape in shapes)
        nn.init.zeros_(layers[2].bias)
        u = nn.Parameter(torch.tensor(2 * np.log(START), dtype=torch.float32))
        optimizer = torch.optim.Adam([*layers.parameters(), u], lr=LR)
        for _ in range(epochs):
            for index in torch.randperm(len(train)).split(BATCH):
                levels = train[index].float()
                x = (levels + torch.rand_like(levels)) / 256 if CASES[likelihood] == "dequantised" else levels / 255
                loss = -elbo(layers, u, x).mean()
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
        with torch.no_grad():
            finals.append(elbo(layers, u, test).double().mean().item())
    return finals


def trained_here(likelihood: str, epochs: int, seeds: int, runs: str) -> list[float]:
    """Returns the test ELBO of each seed of `vae train`."""
    from vaecli import Config, train_seeds

    network = {"hidden": (HIDDEN,), "latent": LATENT, "epochs": epochs, "lr": LR, "batch_size": BATCH}
    config = Config(**pixels_of(likelihood), **network, grad_every=0, name=f"torch-{likelihood}")
    return [summary["metrics"]["test/elbo"] for summary in train_seeds(config, seeds, runs=runs)]


def pixels_of(likelihood: str) -> dict[str, Any]:
    return {"likelihood": likelihood, "binarisation": CASES[likelihood]}


def in_words(values: list[float]) -> str:
    return f"{statistics.mean(values):.2f} ± {statistics.stdev(values):.2f} ({len(values)})".replace("-", "−")


def main() -> None:
    """Prints a row for each likelihood."""
    from scipy import stats

    from vaecli import Config
    from vaecli.data import in_unit, load

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--torch-python", required=True, help="the Python that has torch")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--runs", default="runs")
    chosen = parser.parse_args()
    print("| likelihood | pixels | here | PyTorch | difference [95 %] |\n|---|---|---|---|---|")
    for likelihood, binarisation in CASES.items():
        dataset = load(Config(**pixels_of(likelihood)))
        with tempfile.TemporaryDirectory() as folder:
            path = str(Path(folder) / "images.npz")
            np.savez(path, train=dataset.train, test=in_unit(dataset.test))
            arguments = [path, likelihood, str(chosen.epochs), str(chosen.seeds)]
            command = [chosen.torch_python, __file__, *arguments]
            theirs = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        ours = trained_here(likelihood, chosen.epochs, chosen.seeds, chosen.runs)
        between = stats.ttest_ind(ours, theirs, equal_var=False).confidence_interval()
        distance = f"{statistics.mean(ours) - statistics.mean(theirs):+.2f} [{between.low:+.2f}, {between.high:+.2f}]"
        cells = (f"`{likelihood}`", binarisation, in_words(ours), in_words(theirs), distance.replace("-", "−"))
        print("|", " | ".join(cells), "|", flush=True)


if __name__ == "__main__":
    if len(sys.argv) == 5 and sys.argv[1].endswith(".npz"):
        print(json.dumps(trained_in_torch(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))))
    else:
        main()
