"""The environment as an input of a run: what must be so, what is recorded, and what the user should know of it."""

import enum
import functools
import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vaecli import startup
from vaecli.config import UsageError
from vaecli.config.errors import one_line

if TYPE_CHECKING:
    from subprocess import CompletedProcess

Environment = Mapping[str, str | int]
"""What of the environment may change the last digits of a run, by its name."""

PINNED: Mapping[str, Any] = {
    "eager_constant_folding": False,
    "jax_accurate_erf_inv": False,
    "jax_array_garbage_collection_guard": None,
    "jax_check_static_indices": False,
    "jax_check_tracer_leaks": False,
    "jax_compiler_enable_remat_pass": True,
    "jax_custom_jvp3": False,
    "jax_custom_vjp3": False,
    "jax_debug_infs": False,
    "jax_debug_key_reuse": False,
    "jax_debug_nans": False,
    "jax_default_matmul_precision": None,
    "jax_default_prng_impl": "threefry2x32",
    "jax_disable_jit": False,
    "jax_disable_most_optimizations": False,
    "jax_enable_custom_prng": False,
    "jax_enable_pgle": False,
    "jax_enable_x64": False,
    "jax_error_checking_behavior_divide": "ignore",
    "jax_error_checking_behavior_nan": "ignore",
    "jax_error_checking_behavior_oob": "ignore",
    "jax_exec_time_optimization_effort": 0.0,
    "jax_explicit_x64_dtypes": "warn",
    "jax_high_dynamic_range_gumbel": False,
    "jax_legacy_prng_key": "allow",
    "jax_memory_fitting_effort": 0.0,
    "jax_memory_fitting_level": "O2",
    "jax_no_execution": False,
    "jax_no_tracing": False,
    "jax_numpy_dtype_promotion": "standard",
    "jax_optimization_level": "UNKNOWN",
    "jax_random_seed_offset": 0,
    "jax_remat3": False,
    "jax_remat_barrier_no_cotangents": False,
    "jax_scan3": False,
    "jax_softmax_custom_jvp": False,
    "jax_thread_guard": False,
    "jax_threefry_gpu_kernel_lowering": False,
    "jax_threefry_partitionable": True,
    "jax_transfer_guard": None,
    "jax_transfer_guard_device_to_device": None,
    "jax_transfer_guard_device_to_host": None,
    "jax_transfer_guard_host_to_device": None,
    "jax_use_direct_linearize": True,
    "jax_use_hlo_logistic_lowering": None,
    "jax_use_rgv3": True,
    "jax_use_simplified_jaxpr_constants": False,
}
"""The options of jax that can change a draw, a precision or a rounding, or that raise; with jax's defaults.

An option that a release does not have is left out there.
"""

_MOST_THREADS = 4096
_DEVICE = (
    "JAX_PLATFORMS",
    "JAX_PLATFORM_NAME",
    "JAX_CUDA_VISIBLE_DEVICES",
    "JAX_ROCM_VISIBLE_DEVICES",
    "JAX_ONEAPI_VISIBLE_DEVICES",
)
# XLA and the libraries that it calls; not how they use memory, and not what they log.
_RECORDED = re.compile(
    r"XLA_(?!PYTHON_CLIENT_|CLIENT_)\w+|LIBTPU_INIT_ARGS|PJRT_(?!NPROC$)\w+|NVIDIA_TF32_OVERRIDE"
    r"|(TF|ONEDNN|DNNL|MKL|CUBLAS|CUBLASLT|CUDNN|MIOPEN|ROCBLAS|HIPBLASLT)_(?!CPP_)\w+"
)


def require_default_jax() -> None:
    """Checks that jax computes in this process as it does by default, on a device that is there.

    Raises:
      UsageError: it does not; the message names the variable or the option.
    """
    _check_xla_flags(os.environ.get("XLA_FLAGS", ""))
    if threads() > _MOST_THREADS:
        raise UsageError(f"PJRT_NPROC={_shown(threads())}: XLA would start as many threads; at most {_MOST_THREADS}")
    import jax

    values = jax.config.values
    for name, default in PINNED.items():
        value = values.get(name, default)
        value = value.name.lower() if isinstance(value, enum.Enum) else value
        if value != default:
            raise UsageError(
                f"{name}: is {_shown(value)} here, and every run is computed with jax's default, {default}; set it "
                f"back with jax.config, or take {name.upper()} out of the environment"
            )
    try:
        jax.devices()
    except (RuntimeError, AssertionError, ValueError, LookupError) as error:
        chosen = [f"{name}={_shown(os.environ[name])}" for name in _DEVICE if os.environ.get(name)]
        what = " ".join(chosen) or "jax"
        why = f" ({one_line(error, 200, with_type=False)})" if str(error) else ""
        raise UsageError(f"{what}: no such device can be used here{why}") from error


def check_in_another_process() -> None:
    """Does what `require_default_jax` does for a process that never imports jax itself, but whose children do.

    Raises:
      UsageError: what the environment asks of jax cannot be had.
    """
    if not os.environ.get("XLA_FLAGS") and threads() <= _MOST_THREADS and not _device_is_chosen():
        return
    child = _child("from vaecli.environment import exit_without_default_jax as check; check()")
    if child.returncode:
        reason = child.stderr.strip().rpartition("\n")[2]
        raise UsageError(reason or f"jax: cannot be started here (exit code {child.returncode})")


def may_have_accelerator(*, surely: bool = False) -> bool:
    """Returns whether jax may compute on something else than a CPU here; false is certain.

    Args:
      surely: whether true is to be certain, too: then another process asks jax, where it may.
    """
    chosen = os.environ.get("JAX_PLATFORMS") or os.environ.get("JAX_PLATFORM_NAME") or ""
    if chosen.partition(",")[0].strip() == "cpu":
        return False
    from importlib.metadata import entry_points
    from importlib.util import find_spec

    # How jax finds what drives a device.
    if not (entry_points(group="jax_plugins") or find_spec("jax_plugins") or find_spec("libtpu")):
        return False
    return not surely or _child("import jax; print(jax.default_backend())").stdout.split()[-1:] != ["cpu"]


def _device_is_chosen() -> bool:
    return any(os.environ.get(name, "") not in ("", "cpu") for name in _DEVICE)


def exit_without_default_jax() -> None:
    """Ends this process with the message of `require_default_jax`, where it has one."""
    try:
        require_default_jax()
    except UsageError as error:
        sys.exit(str(error))


@functools.cache
def _check_xla_flags(flags: str) -> None:
    """Has another process read the flags, since XLA ends the one that reads flags which it does not know."""
    if not flags:
        return
    child = _child("import jax; jax.devices()", JAX_PLATFORMS="cpu")
    if child.returncode:
        reason = re.search(r"^[EF]\d{4} .*?\] (.*)$", child.stderr, re.MULTILINE)
        why = f" ({one_line(ValueError(reason[1]), 200, with_type=False)})" if reason else ""
        raise UsageError(f"XLA_FLAGS: XLA cannot read {_shown(flags)}{why}")


def _child(code: str, **variables: str) -> "CompletedProcess[str]":
    """Runs a line of Python in another process, which finds this package as the launcher's processes do."""
    import subprocess

    command = [sys.executable, "-P", "-c", f"import sys; sys.path.append(sys.argv[1]); {code}"]
    try:
        return subprocess.run(
            [*command, str(Path(__file__).parents[1])],
            env=os.environ | variables,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=300,
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise UsageError(f"jax: cannot be started in another process ({one_line(error, 200)})") from error


def recorded_environment() -> Environment:
    """Returns the device, what it computes with, and the variables that reach it; jax must have been imported."""
    import jax

    (device,) = jax.device_put(0.0).devices()
    variables = {name: _content(name, value) for name, value in sorted(os.environ.items()) if _RECORDED.fullmatch(name)}
    machine = {"cpu": _cpu(), "threads": threads()} if device.platform == "cpu" else {}
    return {"device": device.device_kind, **machine, **{name: text for name, text in variables.items() if text}}


def differing(recorded: Environment, current: Environment) -> list[str]:
    """Says what of an environment is another one now, as in `threads 2, now 4`; nothing for one without a record."""
    names = dict.fromkeys([*recorded, *current]) if recorded else {}
    return [
        f"{name} {_shown(recorded.get(name, 'unset'))}, now {_shown(current.get(name, 'unset'))}"
        for name in names
        if recorded.get(name) != current.get(name)
    ]


def notes() -> list[str]:
    """Says which variables have no effect, and why compiled programs are not kept, for a person to read."""
    names = sorted(name for name, value in startup.set_aside.items() if not _is_default(name, value))
    shown = ", ".join(names[:8]) + ", …" * (len(names) > 8)
    one = len(names) == 1
    without = f"{shown}: {'is' if one else 'are'} set and {'has' if one else 'have'} no effect ('vae docs environment')"
    return [without] * bool(names) + [startup.unused_cache] * bool(startup.unused_cache)


def threads() -> int:
    """Returns the number of threads with which XLA computes in this process, on a CPU."""
    given = os.environ.get("PJRT_NPROC", "")
    if given.isascii() and given.isdecimal() and len(given) < 20 and int(given):
        return int(given)
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


@functools.cache
def _cpu() -> str:
    """Returns the model of the CPU, which decides the instructions that XLA uses."""
    import platform

    return _cpuinfo("model name") or platform.machine()


def cpu_instructions() -> str:
    """Returns the names of what the CPU can do; nothing where the system does not list them."""
    return _cpuinfo("flags") or _cpuinfo("Features")


@functools.cache
def _cpuinfo(field: str) -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
            return next((line.partition(":")[2].strip() for line in file if line.startswith(field)), "")
    except OSError:
        return ""


def _content(name: str, value: str) -> str:
    """Returns the value of a variable; XLA takes flags that do not begin with a dash for the name of a file."""
    if name != "XLA_FLAGS" or not value or value.lstrip().startswith("-"):
        return value
    try:
        with open(value, encoding="utf-8", errors="replace") as file:
            return file.read(10_000)
    except OSError:
        return value


def _is_default(name: str, value: str) -> bool:
    """Returns whether a variable that was set aside asks for what there is anyway."""
    if name.lower() not in PINNED:
        return False
    default = PINNED[name.lower()]
    if isinstance(default, bool):
        return value.lower() in (startup.TRUE if default else startup.FALSE)
    return value.lower() == ("" if default is None else str(default).lower())


def _shown(value: Any) -> str:
    """Returns a value as it can be put into a line."""
    text = " ".join(str(value).split())
    return text if len(text) <= 80 else f"{text[:80]} …"
