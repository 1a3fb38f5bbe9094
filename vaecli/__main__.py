"""`python -m vaecli` is `vae`, and both begin here."""

import os
import sys
import warnings


def run() -> int:
    """Runs the command line of this process, with its three standard streams open."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            # Closed by the caller: a data file must not become our stderr.
            os.open(os.devnull, os.O_RDWR)
    sys.stdout = sys.stdout or os.fdopen(1, "w")
    sys.stderr = sys.stderr or os.fdopen(2, "w")
    try:
        _keep_compiled_programs()
        from vaecli.cli import main

        return main()
    except BaseException as error:
        # Python 3.11 makes a RuntimeError, caused by it, of an interrupt that comes while a class is made.
        if not isinstance(error.__cause__ or error, KeyboardInterrupt):
            raise
        print("vae: stopped", file=sys.stderr)
        return 130


def _keep_compiled_programs() -> None:
    """Turns jax's compilation cache on, below the user's cache directory; what the environment says goes before it."""
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


if __name__ == "__main__":
    sys.exit(run())
