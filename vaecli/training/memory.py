"""What a person is told where memory runs out."""

import contextlib
from collections.abc import Iterator

from vaecli.config import Config, UsageError
from vaecli.config.errors import is_memory_shortage


@contextlib.contextmanager
def memory_shortage_as_usage_error(config: Config, **asked: int) -> Iterator[None]:
    """Turns the error of memory that runs out into one line that names the sizes that were asked for.

    Args:
      config: the config of the run that memory is needed for.
      asked: other sizes, by the name of their flag, which come first.

    Raises:
      UsageError: memory ran out within.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_memory_shortage(error):
            raise
        widths = ",".join(map(str, config.hidden)) or "''"
        sizes = asked | {"hidden": widths, "latent": config.latent, "batch-size": config.batch_size}
        named = ", ".join(f"--{name} {size}" for name, size in sizes.items())
        raise UsageError(
            f"memory ran out, with {named}; make them smaller, or use a machine with more memory"
        ) from error
