"""The checksums that may lie beside data files, and those by which data are known."""

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from vaecli.config import UsageError

CHECKSUMS = "SHA256SUMS"


def same_images(one: Mapping[str, str], other: Mapping[str, str]) -> bool:
    """Returns whether two data sets have the same images, by their recorded checksums.

    Labels do not matter, since nothing uses them, nor does the place of the files.
    """
    roles = ("train-images", "t10k-images")
    return all(one.get(role) == other.get(role) is not None for role in roles)


def check_checksums(folder: Path, needed: Iterable[Sequence[Path]], others: Iterable[Path], remedy: str) -> None:
    """Checks files against the `SHA256SUMS` of their folder, as `sha256sum` writes it, where there is one.

    Args:
      folder: where the files lie, or folders that hold them.
      needed: groups of files that hold the same; the list must name one of each.
      others: files that the list may name.
      remedy: what to do about one that is damaged.

    Raises:
      UsageError: a file is not what the list says, or the list does not name it or cannot be read.
    """
    path = folder / CHECKSUMS
    if not path.exists():
        return
    try:
        listed = _listed(path)
        files = [*others]
        for group in needed:
            if not any(_name_in(folder, file) in listed for file in group):
                name = _name_in(folder, group[0])
                raise UsageError(f"{path}: has no line for {name}; write it again with sha256sum, or remove it")
            files += group
        for file in files:
            if (wanted := listed.get(_name_in(folder, file))) and _sha256(file) != wanted:
                raise UsageError(f"{file}: its SHA-256 is not that in {CHECKSUMS}; {remedy}")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: cannot be read ({error})") from error


def _name_in(folder: Path, file: Path) -> str:
    """Returns the name of a file as seen from a folder."""
    return file.relative_to(folder).as_posix()


def _listed(path: Path) -> Mapping[str, str]:
    """Returns the SHA-256 of each file that a list names."""
    if not path.is_file():
        raise UsageError(f"{path}: is not a file; remove it")
    lines = path.read_text(encoding="utf-8-sig").splitlines()
    matches = (re.fullmatch(r"([0-9a-fA-F]{64}) [ *](?:\./)?(.+)", line) for line in lines)
    return {match[2]: match[1].lower() for match in matches if match}


def _sha256(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
