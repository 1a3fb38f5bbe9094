"""Measures what checkpoints cost, and how soon a run that was killed goes on.

    python bench/checkpoints.py [--rounds 9] [--epochs 6] [--restarts 3]

The cost: `vae train` as it ships, with a checkpoint after every epoch against only one at the end, in one process and
in turns; seconds are between the log point before the first step and the last one, all writers included.

The restart: a run is killed (SIGKILL) after its second checkpoint and started again, with jax's compilation cache
empty and then filled by the run before. Seconds are from the start of the process to its first new checkpoint, so they
hold all of the first new epoch, of which the first step is a part.
"""

import argparse
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import jax
from first_point import environment
from gradient_overhead import timed

from vaecli import Config


def cost(rounds: int, epochs: int) -> None:
    """Prints the share of an epoch that its checkpoint takes."""
    on, off = (Config(epochs=epochs, checkpoint_every=every) for every in (1, 0))
    for config in (on, off):
        timed(config)
    seconds: dict[Config, list[float]] = {on: [], off: []}
    for number in range(rounds):
        for config in (on, off) if number % 2 == 0 else (off, on):
            seconds[config].append(timed(config)[0])
    # Without them there is still one, after the last epoch.
    more = [(a / b - 1) * epochs / (epochs - 1) for a, b in zip(seconds[on], seconds[off], strict=True)]
    least = (min(seconds[on]) / min(seconds[off]) - 1) * epochs / (epochs - 1)
    print(f"an epoch: {statistics.median(seconds[on]):.3f} s on, {statistics.median(seconds[off]):.3f} s off (medians)")
    print(
        f"  a checkpoint: {statistics.median(more):.1%} of an epoch (median of rounds), {least:.1%} (least over least)"
    )


def restart(folder: Path, cache: Path) -> float:
    """Returns the seconds from the start of a process that goes on to its first new checkpoint."""
    argv = [sys.executable, "-m", "vaecli", "train", "--epochs", "100", "--runs", str(folder)]
    path, env = folder / "mnist/logvar/seed0", environment(cache)

    def start(done: int) -> float:
        """Starts a process, and kills it once there is a checkpoint after `done` steps."""
        begun = time.perf_counter()
        process = subprocess.Popen(argv, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while max((int(entry.stem[4:]) for entry in path.glob("checkpoint/*.sha256")), default=0) <= done:
            time.sleep(0.005)
        seconds = time.perf_counter() - begun
        process.send_signal(signal.SIGKILL)
        process.wait()
        return seconds

    start(469)
    last = max(int(entry.stem[4:]) for entry in path.glob("checkpoint/*.sha256"))
    if not cache.name.startswith("warm"):
        for entry in cache.glob("vaecli/jax/*"):
            entry.unlink()
    return start(last)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--restarts", type=int, default=3)
    options = parser.parse_args()
    print(f"jax {jax.__version__}, {jax.devices()[0].device_kind}")
    if options.rounds:
        cost(options.rounds, options.epochs)
    for name in ("cold", "warm"):
        with tempfile.TemporaryDirectory() as scratch:
            cache = Path(scratch, f"{name}_cache")
            seconds = [restart(Path(scratch, str(number)), cache) for number in range(options.restarts)]
        print(f"going on, {name} cache: {statistics.median(seconds):.1f} s to the first new checkpoint (median)")


if __name__ == "__main__":
    main()
