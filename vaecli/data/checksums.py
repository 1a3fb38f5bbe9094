"""The checksums that may lie beside data files."""

import hashlib
import re
from collections.abc import Iterable
from pathlib import Path

from vaecli.config import UsageError

CHECKSUMS = "SHA256SUMS"


def check_checksums(folder: Path, names: Iterable[str], remedy: str) -> None:
    """Checks files against the `SHA256SUMS` of their folder, as `sha256sum` writes it, where there is one.

    Args:
      folder: where the files lie.
      names: their names.
      remedy: what to do about one that is damaged.

    Raises:
      UsageError: a file is not what the list says, or the list does not name it or cannot be read.
    """
    path = folder / CHECKSUMS
    if not path.exists():
        return
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        listed = {match[2]: match[1] for line in lines if (match := re.fullmatch(r"([0-9a-f]{64}) [ *](.+)", line))}
        for name in names:
            if name not in listed:
                raise UsageError(f"{path}: has no line for {name}; write it again with sha256sum, or remove it")
            if hashlib.sha256((folder / name).read_bytes()).hexdigest() != listed[name]:
                raise UsageError(f"{folder / name}: its SHA-256 is not that in {CHECKSUMS}; {remedy}")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: cannot be read ({error})") from error
