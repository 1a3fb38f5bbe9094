"""What a person may do next with TensorBoard: its command, and an address that shows what matters first."""

import json
import shlex
from pathlib import Path
from urllib.parse import quote

from vaecli.training.terminal import print_uncut

_ADDRESS = "http://localhost:6006/"
_PINNED = ("test/elbo", "test/kl", "grad/unit_snr")


def command(logdir: Path) -> str:
    """Returns the command that starts TensorBoard.

    >>> command(Path("my runs/mnist"))
    "tensorboard --logdir 'my runs/mnist'"
    """
    # A word that begins with a dash would be an option.
    words = [f"--logdir={logdir}"] if str(logdir).startswith("-") else ["--logdir", str(logdir)]
    return shlex.join(["tensorboard", *words])


def address(*, by_head: bool) -> str:
    """Returns the address at which TensorBoard, once it runs, has ELBO, KL and SNR on top, unsmoothed.

    The runs of one head have one colour; or, if not `by_head`, those that differ only in their seed.
    """
    # The name of a run is the path of its folder below the log directory, as in logvar,lr=0.001/seed0.
    group = "([^/,]*)" if by_head else "([^/]*)"
    cards = json.dumps([{"plugin": "scalars", "tag": tag} for tag in _PINNED], separators=(",", ":"))
    query = {"smoothing": "0", "runColorGroup": f"regex:{group}", "pinnedCards": cards}
    return f"{_ADDRESS}?{'&'.join(f'{name}={quote(value, safe=_PLAIN)}' for name, value in query.items())}"


_PLAIN = "/:,()*"
"""What need not be escaped in a query, so that the address stays short."""


def print_runs(*, by_head: bool) -> None:
    """Prints where runs are seen once TensorBoard has been started on them."""
    print_uncut(address(by_head=by_head))


def print_bands(logdir: Path) -> None:
    """Prints how the bands of `vae compare` are seen."""
    print_uncut(command(logdir))
    print_uncut(f"{_ADDRESS}#custom_scalars")
