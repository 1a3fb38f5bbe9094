"""`vae compare`"""

import dataclasses

DESCRIPTION = "."
FIELDS = ()


@dataclasses.dataclass(frozen=True)
class Options:
    """x"""
