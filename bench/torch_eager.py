"""Trains in a plain eager PyTorch loop: the yardstick of throughput.py and convolutions.py, in a process of its own.

    python bench/torch_eager.py IMAGES.npy BATCH_SIZE LEARNING_RATE dense|convolutions

Trains an epoch for each line on stdin and prints its seconds. It only trains: no evaluation, no logging. The networks
are the default one, and that of the preset tf_cvae.
"""

# pyright: reportMissingImports=false
import sys
import time

import numpy as np
import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits, relu


class Dense(nn.Module):
    """The default network."""

    def __init__(self):
        super().__init__()
        shapes = ((784, 400), (400, 20), (400, 20), (20, 400), (400, 784))
        self.layers = nn.ModuleList(nn.Linear(*shape) for shape in shapes)

    def encode(self, x):
        h = relu(self.layers[0](x))
        return self.layers[1](h), self.layers[2](h)

    def decode(self, z):
        return self.layers[4](relu(self.layers[3](z)))


class Convolutions(nn.Module):
    """The network of the preset tf_cvae."""

    def __init__(self):
        super().__init__()
        twice = {"kernel_size": 3, "stride": 2, "padding": 1, "output_padding": 1}
        self.encoder = nn.Sequential(
            *(nn.Unflatten(1, (1, 28, 28)), nn.Conv2d(1, 32, 3, 2), nn.ReLU(), nn.Conv2d(32, 64, 3, 2), nn.ReLU()),
            *(nn.Flatten(), nn.Linear(64 * 6 * 6, 4)),
        )
        self.decode = nn.Sequential(
            *(nn.Linear(2, 32 * 7 * 7), nn.ReLU(), nn.Unflatten(1, (32, 7, 7))),
            *(nn.ConvTranspose2d(32, 64, **twice), nn.ReLU(), nn.ConvTranspose2d(64, 32, **twice), nn.ReLU()),
            *(nn.ConvTranspose2d(32, 1, 3, padding=1), nn.Flatten()),
        )

    def encode(self, x):
        return self.encoder(x).chunk(2, dim=1)


def main(path: str, batch_size: int, lr: float, network: str) -> None:
    images = torch.from_numpy(np.load(path)).float() / 255
    vae = {"dense": Dense, "convolutions": Convolutions}[network]()
    optimizer = torch.optim.Adam(vae.parameters(), lr=lr)
    for _ in sys.stdin:
        begun = time.perf_counter()
        for index in torch.randperm(len(images)).split(batch_size):
            x = images[index]
            loc, logvar = vae.encode(x)
            z = loc + torch.exp(0.5 * logvar) * torch.randn_like(loc)
            logits = vae.decode(z)
            kl = -0.5 * (1 + logvar - loc**2 - logvar.exp()).sum()
            loss = binary_cross_entropy_with_logits(logits, x, reduction="sum") + kl
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        print(time.perf_counter() - begun, flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), sys.argv[4])
