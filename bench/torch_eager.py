"""Trains the default model in a plain eager PyTorch loop: the yardstick of throughput.py, in a process of its own.

    python bench/torch_eager.py IMAGES.npy BATCH_SIZE LEARNING_RATE

Trains an epoch for each line on stdin and prints its seconds. It only trains: no evaluation, no logging.
"""

# pyright: reportMissingImports=false
import sys
import time

import numpy as np
import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits, relu


def main(path: str, batch_size: int, lr: float) -> None:
    images = torch.from_numpy(np.load(path)).float() / 255
    shapes = ((784, 400), (400, 20), (400, 20), (20, 400), (400, 784))
    layers = nn.ModuleList(nn.Linear(*shape) for shape in shapes)
    optimizer = torch.optim.Adam(layers.parameters(), lr=lr)
    for _ in sys.stdin:
        begun = time.perf_counter()
        for index in torch.randperm(len(images)).split(batch_size):
            x = images[index]
            h = relu(layers[0](x))
            loc, logvar = layers[1](h), layers[2](h)
            z = loc + torch.exp(0.5 * logvar) * torch.randn_like(loc)
            logits = layers[4](relu(layers[3](z)))
            kl = -0.5 * (1 + logvar - loc**2 - logvar.exp()).sum()
            loss = binary_cross_entropy_with_logits(logits, x, reduction="sum") + kl
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        print(time.perf_counter() - begun, flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]))
