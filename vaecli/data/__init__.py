"""The images of runs: the MNIST that ships in this package, a folder of files of the same form, or arrays."""

from vaecli.data.arrays import Images, is_of_arrays
from vaecli.data.binarise import in_unit
from vaecli.data.checksums import same_images
from vaecli.data.dataset import (
    MNIST_IMAGES,
    Dataset,
    check_count,
    check_pixels,
    check_size,
    description,
    load,
    read,
    split,
)
from vaecli.data.images import RawImages

__all__ = [
    "MNIST_IMAGES",
    "Dataset",
    "Images",
    "RawImages",
    "check_count",
    "check_pixels",
    "check_size",
    "description",
    "in_unit",
    "is_of_arrays",
    "load",
    "read",
    "same_images",
    "split",
]
