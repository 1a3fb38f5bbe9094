"""What a process of this program sets up before it imports jax."""

import atexit
import contextlib
import gc
import importlib
import logging
import os
import re
import shutil
import sys
import time
import warnings

set_aside: dict[str, str] = {}
"""The variables that `prepare` has taken out of the environment, with their values, since they have no effect here."""

programs = ""
"""The folder in which this process keeps compiled programs, where it is this program's own; otherwise empty."""

begun = 0
"""When this process began, in nanoseconds since 1970: it imports what computes after that."""

unused_cache = ""
"""Why there is no folder of compiled programs, where the user would want to know; otherwise empty."""

# What libraries read when they are imported, and what decides their digits or lets them fail. The names without a
# prefix are options of jax, but for the last two, with which Orbax reaches for TensorFlow and for other machines.
_PINNED = re.compile(
    r"(JAX|JAXTYPING_|FLAX_|NPY_|NUMPY_|SCIPY_)\w+|CHECK_VMA|EAGER_CONSTANT_FOLDING|MOCK_NUM_GPU_PROCESSES"
    r"|EPATH_USE_TF|ENABLE_(ORBAX|PATHWAYS)_\w+"
)
TRUE, FALSE = ("y", "yes", "t", "true", "on", "1"), ("n", "no", "f", "false", "off", "0")
"""What jax reads as true and as false in a variable, in small letters."""

_BOOL, _NUMBER, _TEXT = f"(?i:{'|'.join((*TRUE, *FALSE))})", r"-?\d{1,15}(\.\d{1,9})?", r".*"
_KEPT = {
    "JAX_PLATFORMS": _TEXT,
    "JAX_PLATFORM_NAME": _TEXT,
    "JAX_CUDA_VISIBLE_DEVICES": _TEXT,
    "JAX_ROCM_VISIBLE_DEVICES": _TEXT,
    "JAX_ONEAPI_VISIBLE_DEVICES": _TEXT,
    "JAX_COMPILATION_CACHE_DIR": _TEXT,
    "JAX_COMPILATION_CACHE_MAX_SIZE": r"-?\d{1,15}",
    "JAX_ENABLE_COMPILATION_CACHE": _BOOL,
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": _NUMBER,
    "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": r"-?\d{1,15}",
    "JAX_LOG_COMPILES": _BOOL,
    "JAX_EXPLAIN_CACHE_MISSES": _BOOL,
}
"""Those that choose a device, or that no digit depends on, each with the values that jax can read."""

_CACHE_SIZE = 2**30
"""Bytes that the folder of compiled programs may take."""


def prepare() -> None:
    """Lets this process start faster, and makes its digits its own. It must be called before jax is imported."""
    global begun
    begun = begun or time.time_ns()  # The first time counts: what has been imported by then stays.
    _collect_garbage_rarely()
    _set_variables_aside()
    _ignore_matplotlibrc()
    _keep_compiled_programs()


def _collect_garbage_rarely() -> None:
    # Imports and traces make a million objects, nearly all of which stay. To go through them again and again, as Python
    # does by default after every 700 new ones, takes 0.5 s of a start. With this threshold no more memory is in use.
    gc.set_threshold(50_000)


def _set_variables_aside() -> None:
    """Takes what would change the digits of a run, or let an import fail, out of the environment.

    So the processes that this one starts do not have it either.
    """
    for name in list(os.environ):
        if _PINNED.fullmatch(name) and not (name in _KEPT and re.fullmatch(_KEPT[name], os.environ[name], re.DOTALL)):
            set_aside[name] = os.environ.pop(name)
    if any("error" in option for option in sys.warnoptions):
        # No library has an import without any warning, and none is ours; Python's own filters come back.
        os.environ.pop("PYTHONWARNINGS", None)
        warnings.resetwarnings()
        for category in (DeprecationWarning, PendingDeprecationWarning, ImportWarning, ResourceWarning):
            warnings.simplefilter("ignore", category)


def _ignore_matplotlibrc() -> None:
    """Keeps the user's settings of Matplotlib away from our figures, and from the import of Matplotlib."""
    os.environ.pop("MPLBACKEND", None)
    os.environ["MATPLOTLIBRC"] = os.devnull
    # Without a place for its list of fonts it only takes longer, and a warning says so.
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    if os.path.lexists("matplotlibrc"):
        # The working folder comes before the variable, so Matplotlib is imported elsewhere.
        with contextlib.chdir(os.path.dirname(os.__file__)):
            importlib.import_module("matplotlib")


def _keep_compiled_programs() -> None:
    """Turns on jax's compilation cache, in the user's cache directory, unless the environment names another one."""
    global unused_cache, programs
    named = os.environ.get("JAX_COMPILATION_CACHE_DIR")
    # With a limit, jax takes a lock for each program, and waits 10 s for one that a process left behind.
    limit = int(os.environ.pop("JAX_COMPILATION_CACHE_MAX_SIZE", _CACHE_SIZE if named is None else -1))
    folder = _default_cache() if named is None else named
    if not folder or "://" in folder:
        return
    try:
        why_not = _make_private(folder, ours=named is None)
    except OSError as error:
        why_not = f"cannot be made ({error.strerror})"
    why_not = why_not or ("" if os.access(folder, os.W_OK) else "cannot be written")
    if why_not:
        os.environ.pop("JAX_COMPILATION_CACHE_DIR", None)
        unused_cache = f"{folder}: {why_not}; compiled programs are not kept"
        return
    os.environ["JAX_COMPILATION_CACHE_DIR"] = folder
    # A cache that is damaged, or on a full disk, costs time and nothing else.
    warnings.filterwarnings("ignore", message="Error (reading|writing) persistent compilation cache entry")
    if named is None:
        # jax keeps only what took a second; here the small programs together take as long as the large one.
        os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.02")
        if os.environ.get("JAX_ENABLE_COMPILATION_CACHE", "").lower() not in FALSE:
            programs = folder
    if limit >= 0:
        atexit.register(_prune, folder, limit, os.stat(folder).st_mtime_ns)


def _default_cache() -> str:
    """Returns the folder of compiled programs, or nothing where this user has no home."""
    caches = os.path.expanduser(os.environ.get("XDG_CACHE_HOME") or os.path.join("~", ".cache"))
    folder = os.path.join(caches, "vaecli", "jax")
    return folder if os.path.isabs(folder) else ""


def _make_private(folder: str, *, ours: bool) -> str:
    """Makes a folder, if need be, to which nobody else can write; what lies in it is code that jax runs.

    Args:
      folder: where it is.
      ours: whether nothing but this program uses it and the folder above.

    Returns:
      Why it cannot be used; nothing, where it can.

    Raises:
      OSError: it cannot be made.
    """
    parent = os.path.dirname(os.path.abspath(folder))
    os.makedirs(os.path.dirname(parent) if ours else parent, exist_ok=True)
    for path in (parent, folder) if ours else (folder,):
        with contextlib.suppress(FileExistsError):
            os.mkdir(path, 0o700)
        status = os.stat(path)
        if status.st_uid != os.geteuid():
            return "another user owns it"
        if status.st_mode & 0o022 and not ours:
            return "other users can write to it"
        if status.st_mode & 0o022 and path == folder:
            # Whatever lies there may be another user's.
            shutil.rmtree(folder)
            os.mkdir(folder, 0o700)
        elif ours and status.st_mode & 0o077:
            os.chmod(path, 0o700)
    return ""


def _prune(folder: str, limit: int, modified: int) -> None:
    """Removes the programs that were not used for longest, if this process has added one and all are too large."""
    if "jax" not in sys.modules:
        return
    with contextlib.suppress(OSError):
        if os.stat(folder).st_mtime_ns == modified:
            return
        entries = [(entry.stat(), entry.path) for entry in os.scandir(folder) if entry.name.endswith("-cache")]
        size = sum(status.st_size for status, _ in entries)
        for status, path in sorted(entries, key=lambda entry: max(entry[0].st_atime_ns, entry[0].st_mtime_ns)):
            if size <= limit:
                break
            os.unlink(path)
            size -= status.st_size
