"""The rules of the house, read off the import statements."""

import ast
import functools
import re
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import vaecli

ROOT = Path(vaecli.__file__).parent
# Who may import whom, by the room a module stands in, from the ground up; every room may import itself.
ALLOWED = {
    "startup": set(),
    "config": set(),
    "environment": {"startup", "config"},
    "data": {"config"},
    "runs": {"config"},
    "vae": {"config"},
    "verify": {"config", "vae"},
    "report": {"config", "data", "runs", "vae"},
    "training": {"startup", "config", "data", "runs", "vae", "report", "environment"},
    "analysis": {"config", "data", "runs", "vae", "report", "training", "environment"},
    "sweep": {"startup", "config", "data", "runs", "report", "training", "environment"},
    "cli": {"config", "data", "runs", "vae", "report", "training", "analysis", "sweep", "verify", "environment"},
    "__init__": {"config", "data", "vae", "report", "training", "analysis"},
    "__main__": {"startup", "cli"},
}


@functools.cache
def modules():
    return {".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in sorted(ROOT.rglob("*.py"))}


@functools.cache
def parsed(path):
    return ast.parse(path.read_text())


@functools.cache
def nodes(path):
    return list(ast.walk(parsed(path)))


@functools.cache
def imports(path, *, top_only=False):
    """The modules that a file imports; type-checking blocks count, unless only what runs at import is asked for."""
    if top_only:
        read = []
        todo = list(parsed(path).body)
        while todo:
            node = todo.pop()
            if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
                todo += node.orelse
            elif not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
                read.append(node)
                todo += ast.iter_child_nodes(node)
    else:
        read = nodes(path)
    found = set()
    for node in read:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module or ""}
    return found


def imported_libraries(name):
    return {imported.split(".")[0] for imported in imports(modules()[name])}


def calls(path):
    return (node for node in nodes(path) if isinstance(node, ast.Call))


def name_of(call):
    """What is called, as it is written; ast.unparse takes a hundred times as long where it is a name."""
    called, attributes = call.func, ""
    while isinstance(called, ast.Attribute):
        called, attributes = called.value, f".{called.attr}{attributes}"
    return called.id + attributes if isinstance(called, ast.Name) else ast.unparse(call.func)


def room(name):
    return name.split(".")[0]


def in_rooms(*rooms):
    names = [name for name in modules() if room(name) in rooms]
    assert names
    return names


def test_imports_point_one_way():
    for name, path in modules().items():
        for imported in imports(path):
            if imported.startswith("vaecli.") and (target := room(imported.removeprefix("vaecli."))) in ALLOWED:
                assert target in ALLOWED[room(name)] | {room(name)}, f"{name} imports {imported}"


def graph():
    """Every module with the modules of the package that it imports anywhere, inside functions too; faces left out."""
    names = {name for name in modules() if not name.endswith("__init__")}
    return {
        name: {inner for found in imports(modules()[name]) if (inner := found.removeprefix("vaecli.")) in names}
        - {name}
        for name in names
    }


def test_no_circle_not_even_inside_functions():
    TopologicalSorter(graph()).prepare()


def reachable(name, seen=None):
    """Every module outside the package that importing `name` executes."""
    seen = set() if seen is None else seen
    outside = set()
    for imported in imports(modules()[name], top_only=True):
        if not imported.startswith("vaecli"):
            outside.add(imported.split(".")[0])
            continue
        inner = imported.removeprefix("vaecli").removeprefix(".")
        for candidate in (inner, f"{inner}.__init__", inner.rpartition(".")[0], "__init__"):
            if candidate in modules() and candidate not in seen:
                seen.add(candidate)
                outside |= reachable(candidate, seen)
    return outside


JAX = {"jax", "jaxlib", "flax", "optax", "orbax", "jaxtyping"}


@pytest.mark.parametrize(
    "name",
    [
        "cli.main",
        "config.schema",
        "config.files",
        "cli.flags",
        "training.train",
        "training.resume",
        "analysis.probe",
        "analysis.evaluate",
        "sweep.grid",
        "sweep.local",
        "sweep.worker",
        "sweep.ray",
        "report.compare",
        "report.page",
        "vae.heads.resolve",
        "runs.directory",
        "data.dataset",
    ],
)
def test_answers_without_jax(name):
    assert not reachable(name) & JAX


LATER = {"matplotlib", "orbax", "PIL", "scipy"}
"""What a run needs only after its first log point, and an evaluation or a probe only after the device has its work."""


@pytest.mark.parametrize("name", ["training.loop", "analysis.evaluate", "analysis.probe", "vae.build"])
def test_what_is_needed_late_is_not_imported_first(name):
    assert not reachable(name) & LATER


def test_runs_knows_no_jax_beyond_the_checkpoint():
    for name in in_rooms("runs"):
        assert not imported_libraries(name) & JAX or name in ("runs.checkpoint", "runs.arrays"), name


DOORS = {
    "tensorboardX": {"runs.tensorboard"},
    "tensorboard": {"runs.tensorboard"},
    "orbax": {"runs.arrays"},
    "ray": {"sweep.cluster"},
    "grpc": {"sweep.cluster"},
}
"""The modules that may import a library of which more is used than it promises; each has a contract test."""


@pytest.mark.parametrize("library", DOORS)
def test_third_parties_come_in_by_one_door(library):
    importing = {
        name for name, path in modules().items() if any(imported.split(".")[0] == library for imported in imports(path))
    }
    assert importing == DOORS[library]


def test_tyro_is_known_to_the_command_line_only_and_its_private_parts_to_one_module():
    importing = {name for name, path in modules().items() if any(i.split(".")[0] == "tyro" for i in imports(path))}
    assert {room(name) for name in importing} == {"cli"}
    private = {name for name, path in modules().items() if re.search(r"\btyro(\.\w+)*\._", path.read_text())}
    assert private <= {"cli.tyro_errors"}


DISK = {"os", "pathlib", "shutil", "tempfile", "io", "glob", "tensorboardX"}


def test_the_mathematics_and_the_config_know_no_disk():
    for name in in_rooms("vae", "config"):
        if name == "config.files":
            continue
        assert not imported_libraries(name) & DISK, name
        called = {call.func.id for call in calls(modules()[name]) if isinstance(call.func, ast.Name)}
        assert not called & {"open", "print", "input", "eval", "exec"}, name


def test_report_and_config_know_no_jax():
    for name in in_rooms("report", "config"):
        assert not imported_libraries(name) & JAX, name


def test_seeds_are_never_named_inside_the_mathematics():
    """The seed axis lives in compiled.py alone."""
    naming = {name for name, path in modules().items() if room(name) == "vae" and "seed" in path.read_text().lower()}
    assert naming <= {f"vae.{name}" for name in ("batches", "build", "evaluate", "compiled", "steps")}


def test_no_two_classes_have_one_name():
    """But for the options of each command."""
    names = [
        node.name
        for path in modules().values()
        for node in nodes(path)
        if isinstance(node, ast.ClassDef) and node.name != "Options"
    ]
    assert len(names) == len(set(names)), sorted(name for name in set(names) if names.count(name) > 1)


def test_functions_stay_short():
    for name, path in modules().items():
        for node in nodes(path):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                assert node.end_lineno - node.lineno < 60, f"{name}.{node.name}"


def test_no_file_can_run_code():
    """Nothing that is read is unpickled, evaluated or unpacked; heads of the user's own are imported by name.

    But for compiled programs: their folder is the user's own, and they are code of the machine.
    """
    libraries = {"pickle", "marshal", "shelve", "dill", "cloudpickle", "joblib", "tarfile", "zipfile", "yaml"}
    functions = {"eval", "exec", "compile", "__import__", "os.system", "shutil.unpack_archive"}
    for name, path in modules().items():
        # The error of a damaged archive unpacks nothing.
        errors_only = "from zipfile import BadZipFile\n" in path.read_text()
        unsafe = libraries - ({"zipfile"} if errors_only else {"pickle"} if name == "training.kept" else set())
        assert not imported_libraries(name) & unsafe, name
        for call in calls(path):
            called = name_of(call)
            assert called not in functions, f"{name} calls {called}"
            if called.endswith("np.load"):
                assert "allow_pickle=False" in ast.unparse(call), name
            if called.startswith("subprocess."):
                assert "shell=" not in ast.unparse(call), name


PRINTING = {"training.terminal", "training.progress", "sweep.progress", "sweep.worker", "cli.output", "__main__"}
"""The modules that print; what others print passes through them, where it is made harmless."""


def test_only_the_doors_print():
    printing = {
        name for name, path in modules().items() for call in calls(path) if name_of(call).split(".")[-1] == "print"
    }
    assert printing <= PRINTING


TESTS = sorted(Path(__file__).parent.rglob("*.py"))


def test_tests_share_helpers_and_not_each_other():
    others = {"tests", "conftest", *(path.stem for path in TESTS if path.stem.startswith("test_"))}
    # To parse all tests takes a second; a statement without such a word on its first line imports none of them.
    suspect = re.compile(r"^\s*(?:import|from)\s.*\b(?:tests|conftest|test_\w+)\b|^\s*from\s+\.", re.MULTILINE)
    for path in TESTS:
        if suspect.search(path.read_text()):
            assert not {imported.split(".")[0] for imported in imports(path)} & others, path
