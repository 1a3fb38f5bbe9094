"""A wrong factor, sign, key or degree of freedom does not pass unseen.

Each change in `helpers.mutations` is made in a copy of the package, and the check of `vae verify` or the test that it
names must fail there, by what it compares and not because something broke; without the change it passes.
"""

import ast
import json
import os
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from helpers.mutations import MUTATIONS, NamedTest, VerifyCheck

import vaecli
from vaecli import verify

PACKAGE, TESTS = Path(vaecli.__file__).parent, Path(__file__).parents[1]
GROUPS = {
    f"{group.__module__.rpartition('.')[2]}.{group.__name__}" for group in (*verify.IN_FLOAT64, *verify.AS_TRAINED)
}
CHECKS = """
import json, sys
from vaecli.verify import AS_TRAINED, IN_FLOAT64, checks
named = {f"{group.__module__.rpartition('.')[2]}.{group.__name__}": group for group in (*IN_FLOAT64, *AS_TRAINED)}
print(json.dumps({check.name: bool(check.ok) for check in checks([named[name] for name in sys.argv[1:]])}))
"""


class Copy:
    """A copy of package and tests, in which a mutation is made and taken back."""

    def __init__(self, folder):
        self.folder, self.package = folder / "copy", folder / "copy" / "vaecli"
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(PACKAGE, self.package, ignore=ignored)
        shutil.copytree(TESTS, self.folder / "tests", ignore=ignored)
        shutil.copy(TESTS.parent / "pyproject.toml", self.folder)
        # What one process has compiled, no other one compiles again.
        compiled = {"JAX_COMPILATION_CACHE_DIR": str(folder / "compiled")}
        compiled["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.1"
        self.environment = os.environ | compiled

    def checks(self, groups):
        """Whether each check of some groups passes, by name."""
        ended = subprocess.run(
            [sys.executable, "-c", CHECKS, *groups],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
        )
        assert ended.returncode == 0, ended.stderr
        return json.loads(ended.stdout)

    def failures(self, tests, *flags):
        """The names of those of some tests that fail, with the first words of why; without their parameters."""
        report = self.folder / "report.xml"
        nodes = [f"tests/{test.file}::{test.name}" for test in tests]
        flags = ["-n", "0", "-o", f"cache_dir={self.folder / 'cache'}", f"--junit-xml={report}", *flags]
        ended = subprocess.run(
            [sys.executable, "-m", "pytest", *flags, *nodes],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
        )
        assert ended.returncode in (0, 1), ended.stdout + ended.stderr
        cases = list(ElementTree.parse(report).iter("testcase"))
        assert {case.get("name").partition("[")[0] for case in cases} == {test.name for test in tests}
        assert not [case for case in cases if case.find("error") is not None], ended.stdout
        failures = [(case.get("name").partition("[")[0], case.find("failure")) for case in cases]
        return {name: failure.get("message") for name, failure in failures if failure is not None}


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    return Copy(tmp_path_factory.mktemp("mutations"))


def mutated(mutation):
    """The text of a mutated file."""
    text = (PACKAGE / mutation.file).read_text()
    assert text.count(mutation.old) == 1, f"{mutation.name}: {mutation.old!r} does not occur once in {mutation.file}"
    return text.replace(mutation.old, mutation.new)


def test_every_mutation_can_be_made():
    """Its text is there exactly once, and so is what must notice it: the list grows with the program."""
    assert len({mutation.name for mutation in MUTATIONS}) == len(MUTATIONS) >= 30
    for mutation in MUTATIONS:
        ast.parse(mutated(mutation))
        where = mutation.noticed_by
        if isinstance(where, NamedTest):
            assert f"def {where.name}(" in (TESTS / where.file).read_text(), mutation.name
        else:
            assert where.group in GROUPS, mutation.name


@pytest.mark.long
def test_nothing_is_noticed_without_a_mutation(copy):
    noticed_by = list(dict.fromkeys(mutation.noticed_by for mutation in MUTATIONS))
    checks = [one for one in noticed_by if isinstance(one, VerifyCheck)]
    passed = copy.checks(sorted({check.group for check in checks}))
    assert all(passed.values())
    assert {check.name for check in checks} <= set(passed)
    assert copy.failures([one for one in noticed_by if isinstance(one, NamedTest)]) == {}


@pytest.mark.long
@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_a_mutation_is_noticed(copy, mutation):
    changed, where = copy.package / mutation.file, mutation.noticed_by
    text = mutated(mutation)
    changed.write_text(text)
    try:
        if isinstance(where, VerifyCheck):
            assert copy.checks([where.group])[where.name] is False
        else:
            failures = copy.failures([where], "-x")
            assert failures[where.name].startswith(("AssertionError", "assert ", "Failed: DID NOT RAISE"))
    finally:
        # With the time of the original, so that Python compiles neither of the two for the other.
        shutil.copy2(PACKAGE / mutation.file, changed)
