"""What a person is told to do next with TensorBoard."""

import json
import re
import shlex
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from vaecli.cli import hints


@pytest.mark.parametrize("folder", ["runs/mnist", "my runs/it's $HOME", "-runs/mnist", "runs/a,b:c", "/röd"])
def test_the_command_reaches_odd_folders(folder):
    import argparse

    parser = argparse.ArgumentParser()
    parser.add_argument("--logdir")
    program, *words = shlex.split(hints.command(Path(folder)))
    assert (program, parser.parse_args(words).logdir) == ("tensorboard", folder)


def test_the_address_says_what_is_meant():
    """As a browser takes it apart, and with TensorBoard's regular expression for the names of runs."""
    for by_head, colours in ((True, 2), (False, 3)):
        address = hints.address(by_head=by_head)
        assert len(address) < 300
        assert re.fullmatch(r"[A-Za-z0-9%/:?&=.,()*_-]+", address)
        query = {name: value for name, (value,) in parse_qs(urlsplit(address).query, strict_parsing=True).items()}
        assert query["smoothing"] == "0"
        cards = json.loads(query["pinnedCards"])
        assert cards == [{"plugin": "scalars", "tag": tag} for tag in ("test/elbo", "test/kl", "grad/unit_snr")]
        group = re.compile(query["runColorGroup"].removeprefix("regex:"))
        names = ("logvar,lr=0.001/seed0", "logvar,lr=0.001/seed1", "logvar,lr=0.1/seed0", "my_heads.mine/seed0")
        assert len({group.match(name)[1] for name in names}) == colours
