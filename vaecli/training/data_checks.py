"""What is asked of the data of runs before any of them is trained."""

import contextlib
import functools
from collections.abc import Callable, Iterable, Iterator

from vaecli.config import Config, UsageError
from vaecli.data import RawImages, check_pixels, check_size, read, same_images
from vaecli.runs.directory import Summary


@contextlib.contextmanager
def data_first(configs: Iterable[Config], images: Callable[[str], RawImages] = read) -> Iterator[None]:
    """Says what is wrong with the data of runs, if anything is, before what is wrong with their directories.

    The data of runs that are done need not be there any more, so they are read only where something is wrong.

    Args:
      configs: the runs.
      images: returns the images of a data folder.

    Raises:
      UsageError: that of the data, or what is raised within.
    """
    try:
        yield
    except UsageError:
        for config in {config.data_dir: config for config in configs}.values():
            check_pixels(images(config.data_dir), config.data_dir)
            check_size(images(config.data_dir), config)
        raise


def same_data_as(data_dir: str, images: Callable[[str], RawImages] = read) -> Callable[[Summary], bool]:
    """Returns what says whether a finished run was trained on the images in a folder, which is read once, if at all."""
    read_once = functools.cache(lambda: images(data_dir).sha256)
    return lambda summary: same_images(summary["data_sha256"], read_once())
