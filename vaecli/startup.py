"""What a process of this program sets up before it imports jax."""

import gc
import os
import warnings


def prepare() -> None:
    """Lets this process start faster. It must be called before jax is imported."""
    _collect_garbage_rarely()
    _keep_compiled_programs()


def _collect_garbage_rarely() -> None:
    # Imports and traces make a million objects, nearly all of which stay. To go through them again and again, as Python
    # does by default after every 700 new ones, takes 0.5 s of a start. With this threshold no more memory is in use.
    gc.set_threshold(50_000)


def _keep_compiled_programs() -> None:
    """Turns on jax's compilation cache, in the user's cache directory, unless the environment names another one."""
    if "JAX_COMPILATION_CACHE_DIR" in os.environ:
        return
    caches = os.path.expanduser(os.environ.get("XDG_CACHE_HOME") or os.path.join("~", ".cache"))
    folder = os.path.join(caches, "vaecli", "jax")
    if not os.path.isabs(folder):
        return
    try:
        os.makedirs(folder, exist_ok=True)
    except OSError:
        return
    if os.access(folder, os.W_OK):
        os.environ["JAX_COMPILATION_CACHE_DIR"] = folder
        # A cache that is damaged, or on a full disk, costs time and nothing else.
        warnings.filterwarnings("ignore", message="Error (reading|writing) persistent compilation cache entry")
        os.environ.setdefault("JAX_COMPILATION_CACHE_MAX_SIZE", str(2**30))
        # jax keeps only what took a second; here the small programs together take as long as the large one.
        os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.1")
