"""Which files of a data folder hold what, as data sets are distributed and unpacked."""

import itertools
import os
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from vaecli.config import UsageError

_FILE_NAME = re.compile(
    r"(?P<set>.*?)[-_]?(?P<split>train|t10k|test10k|test50k|test)-(?P<kind>images|labels)[-.]idx\d-[a-z0-9]+"
    r"(?P<suffixes>(\.(gz|gzip|xz|bz2|zst|lz4|z|zip|7z|rar|tar|tgz))*)",
    re.IGNORECASE,
)
"""The names that MNIST, Fashion-MNIST, KMNIST, EMNIST and QMNIST give their files, plain or compressed in some way."""

_LOOKED_AT = 2000
"""How many entries of subfolders are looked at to say where the files may lie."""


class DataFiles(NamedTuple):
    """The files of a data set.

    Attributes:
      name: what the names of its files have in front, such as `emnist-letters`; often nothing.
      images: the files of the images by role, `train-images` and `t10k-images`; of several with one role, all must
        hold the same.
      labels: those of the labels, `train-labels` and `t10k-labels`, where there are any.
    """

    name: str
    images: Mapping[str, Sequence[Path]]
    labels: Mapping[str, Sequence[Path]]


class _Candidate(NamedTuple):
    path: Path
    set_name: str
    split: str
    kind: str
    suffixes: str

    @property
    def role(self) -> str:
        return f"{'train' if self.split == 'train' else 't10k'}-{self.kind}"

    @property
    def is_readable(self) -> bool:
        """Whether its name is that of a plain file or a gzipped one."""
        return set(self.suffixes.split(".")) <= {"", "gz", "gzip"}


def data_files(folder: Path) -> DataFiles:
    """Finds the files of the data set in a folder, by their names.

    A file counts where it is a regular one, if need be at the end of a link; hidden files, such as `._train-…` of
    macOS, do not. It may lie in a folder of its own name, as some programs unpack an archive.

    Raises:
      UsageError: the folder cannot be read, has no such files, or those of several data sets.
    """
    try:
        candidates = list(_candidates(folder))
        regular = [candidate for candidate in candidates if candidate.path.is_file()]
        names = {candidate.set_name: candidate.path.name for candidate in regular if candidate.kind == "images"}
        if len(names) > 1:
            listed = ", ".join(sorted(names.values())[:6]) + ", …" * (len(names) > 6)
            raise UsageError(f"{folder}: holds several data sets ({listed}); give each a folder of its own")
        name = next(iter(names), "")
        by_role: dict[str, list[_Candidate]] = defaultdict(list)
        for candidate in regular:
            if candidate.set_name == name:
                by_role[candidate.role].append(candidate)
        files = {role: _preferred(of_role) for role, of_role in by_role.items()}
        for role in ("train-images", "t10k-images"):
            if role not in files:
                raise UsageError(_missing(folder, role, candidates))
    except OSError as error:
        why = "it is a file" if os.path.isfile(folder) else error.strerror
        raise UsageError(f"{folder}: cannot be read as a data folder ({why})") from error
    images = {role: files[role] for role in ("train-images", "t10k-images")}
    return DataFiles(name, images, {role: paths for role, paths in files.items() if role not in images})


def _candidates(folder: Path) -> Iterator[_Candidate]:
    """Yields what has the name of a data file: files and other entries; of a folder, the files in it of that role."""
    for path, match in _matches(folder):
        if path.is_dir():
            for inner, inner_match in _matches(path):
                if all(inner_match[part].lower() == match[part].lower() for part in ("split", "kind")):
                    yield _candidate(inner, match["set"], inner_match)
        else:
            yield _candidate(path, match["set"], match)


def _matches(folder: Path) -> Iterator[tuple[Path, re.Match[str]]]:
    for path in sorted(folder.iterdir()):
        if not path.name.startswith(".") and (match := _FILE_NAME.fullmatch(path.name)):
            yield path, match


def _candidate(path: Path, set_name: str, match: re.Match[str]) -> _Candidate:
    split, kind, suffixes = (match[part].lower() for part in ("split", "kind", "suffixes"))
    return _Candidate(path, set_name.lower(), split, kind, suffixes)


def _preferred(candidates: Sequence[_Candidate]) -> Sequence[Path]:
    """Returns those candidates for one role that count, plain files first.

    QMNIST's `test50k` and `test10k` are parts of its `test`, and an archive that was unpacked is not read.
    """
    whole = [candidate for candidate in candidates if candidate.split in ("train", "t10k", "test")] or candidates
    readable = [candidate for candidate in whole if candidate.is_readable] or whole
    return [candidate.path for candidate in sorted(readable, key=lambda candidate: len(candidate.suffixes))]


def _missing(folder: Path, role: str, candidates: Sequence[_Candidate]) -> str:
    """Says that no file has a role, and what is there instead."""
    others = [candidate.path for candidate in candidates if candidate.role == role]
    if others:
        link = others[0].is_symlink() and not others[0].exists()
        what = f"is a link to {others[0].readlink()}, which does not exist" if link else "is not a file"
        return f"{others[0]}: {what}; put the file itself there"
    below = itertools.islice(itertools.chain(folder.glob("*/*"), folder.glob("*/*/*")), _LOOKED_AT)
    elsewhere = next((path.parent for path in below if path.name[0] != "." and _FILE_NAME.fullmatch(path.name)), None)
    hint = f"; is {elsewhere} the one?" if elsewhere and not candidates else ""
    return f"{folder}: has no file {role}-idx3-ubyte or {role}-idx3-ubyte.gz{hint}"
