"""The images of IDX files: the MNIST that ships in this package, or a folder of the same four files."""

from vaecli.data.dataset import Dataset, load

__all__ = ["Dataset", "load"]
