"""The images of IDX files: the MNIST that ships in this package, or a folder of files of the same form."""

from vaecli.data.checksums import same_images
from vaecli.data.dataset import Dataset, check_pixels, check_size, description, load, read
from vaecli.data.images import Images

__all__ = ["Dataset", "Images", "check_pixels", "check_size", "description", "load", "read", "same_images"]
