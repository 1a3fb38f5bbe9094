"""Calls that fail, and kills at them, anywhere in train, sweep and evaluate: all goes on as if nothing had been."""

import errno
import functools
import json
import os
import random
import re
import shutil

import pytest
from helpers.commands import flags_of
from helpers.faults import KILL, OPERATIONS, Driver, Fault, build
from helpers.runs import same
from helpers.shared import shared_programs

from vaecli.runs.directory import read_summary

ERRORS = (errno.ENOSPC, errno.EIO, errno.EROFS, KILL)
SHARES = {"train": 110, "evaluate": 60, "sweep": 30}
"""How many faults each command meets in the long variant."""

CODES = {"train": {0, 2}, "evaluate": {0, 2}, "sweep": {0, 1, 2}}
"""The exit codes that the documentation gives for a fault of the disk; in a sweep it leaves runs without an outcome."""


@pytest.fixture(scope="module")
def driver(tmp_path_factory):
    library = build(tmp_path_factory.mktemp("library"))
    if library is None:
        pytest.skip("needs a C compiler, and Linux")
    # What the driver has compiled, another one finds after a kill, and so do the processes of a sweep.
    with shared_programs():
        driver = Driver(library, dict(os.environ))
        yield driver
        driver.close()


@pytest.fixture(scope="module")
def commands(small, tmp_path_factory):
    """The three commands, as functions of the folder of runs."""
    settings = small | {"epochs": 3, "picture_every": 2, "hidden": ()}
    flags = flags_of(settings)
    return {
        "train": lambda runs: ["train", *flags, "--seeds", "2", "--runs", str(runs)],
        "evaluate": lambda runs: ["evaluate", str(runs / "small/logvar/seed0"), "--samples", "8", "--json"],
        "sweep": lambda runs: ["sweep", *flags, "--param", "logvar", "logstd", "--runs", str(runs)],
    }


@pytest.fixture(scope="module")
def undisturbed(driver, commands, tmp_path_factory):
    """A function that returns the folder of runs that a command leaves which nothing disturbs."""

    @functools.cache
    def runs(command):
        folder = tmp_path_factory.mktemp(command) / "runs"
        if command == "evaluate":
            shutil.copytree(runs("train"), folder)
        ending = driver.run(commands[command](folder), folder)
        assert ending.code == 0, ending.err
        return folder

    return runs


def count(driver, commands, undisturbed, command, operation, folder):
    """How often a command that nothing disturbs makes a call."""
    runs = begin(command, undisturbed, folder)
    ending = driver.run(commands[command](runs), runs, Fault(operation, 0))
    assert ending.code == 0, ending.err
    shutil.rmtree(runs)
    return ending.calls


def begin(command, undisturbed, folder):
    """The folder of runs on which a command starts."""
    if command == "evaluate":
        shutil.copytree(undisturbed("train"), folder / "runs")
    return folder / "runs"


def names(runs):
    """All files of the runs; the name of an event file says when it was begun."""
    files = (str(path.relative_to(runs)) for path in runs.rglob("*"))
    return sorted(re.sub(r"tfevents\.\d+\.", "tfevents.", name) for name in files)


def check_the_same(runs, other, *, pictures):
    """Asserts that a folder of runs has what another one has, and nothing else."""
    if pictures:
        assert names(runs) == names(other)
    else:
        assert {name for name in names(runs) if "pictures" not in name} == {
            name for name in names(other) if "pictures" not in name
        }
    paths = sorted(path.parent.relative_to(other) for path in other.rglob("summary.json"))
    assert paths
    for path in paths:
        one, two = (read_summary(folder / path) | {"path": str(folder / path)} for folder in (runs, other))
        same(one, two, pictures=pictures)
        assert one.get("evaluations") == two.get("evaluations")


def check(driver, argv, command, runs, undisturbed, fault):
    """Lets a command meet a fault, go on, and compares what it leaves; returns the exit code."""
    ending = driver.run(argv, runs, fault)
    errs = [ending.err]
    allowed = CODES[command] if fault.error != KILL or command == "sweep" else {-9}
    assert ending.code in allowed | ({-9} if fault.error == KILL else set()), ending
    again = driver.run(argv, runs)
    assert again.code == 0, again
    errs.append(again.err)
    for err in errs:
        assert "Traceback" not in err
        assert "unexpected" not in err
        assert "Error" not in err, err
    if command == "evaluate" and ending.code == 0:
        results = [json.loads(text) for text in (ending.out, again.out)]
        stored = results[0].pop("stored")
        assert stored or "not stored" in ending.err
        assert results[1].pop("stored")
        assert results[0] == results[1]
    pictures = not any("no pictures" in err for err in errs)
    check_the_same(runs, undisturbed(command), pictures=pictures)
    return ending.code


@pytest.mark.parametrize(
    "fault",
    [
        Fault(OPERATIONS.index("write"), 60, errno.ENOSPC, lasting=True),
        Fault(OPERATIONS.index("fsync"), 8, errno.EIO),
        Fault(OPERATIONS.index("rename"), 11, errno.EROFS, lasting=True),
    ],
    ids=str,
)
def test_some_calls_that_fail(driver, commands, undisturbed, tmp_path, fault):
    assert check(driver, commands["train"](tmp_path), "train", tmp_path, undisturbed, fault) == 2


@pytest.mark.long
@pytest.mark.parametrize(("command", "points"), SHARES.items())
def test_calls_that_fail(driver, commands, undisturbed, tmp_path, command, points):
    rng = random.Random(command)
    totals, codes = {}, []
    for number in range(points):
        operation = number % len(OPERATIONS)
        if operation not in totals:
            # What a sweep writes is written by processes of its own, as much as by a command for as many runs.
            counted = "train" if command == "sweep" else command
            totals[operation] = count(driver, commands, undisturbed, counted, operation, tmp_path)
        if not totals[operation]:
            operation = OPERATIONS.index("open")
        error = ERRORS[number // len(OPERATIONS) % len(ERRORS)]
        fault = Fault(operation, rng.randint(1, totals[operation]), error, error != KILL and rng.random() < 0.5)
        folder = tmp_path / str(number)
        folder.mkdir()
        runs = begin(command, undisturbed, folder)
        try:
            codes.append(check(driver, commands[command](runs), command, runs, undisturbed, fault))
        except AssertionError as problem:
            raise AssertionError(f"{command}, {fault}") from problem
        shutil.rmtree(folder)
    assert len(codes) == points
    print(command, {code: codes.count(code) for code in sorted(set(codes))}, totals)
