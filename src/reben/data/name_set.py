"""Sets of names that take eight bytes a name: a million and a half of them are no burden."""

from array import array
from bisect import bisect_left
from collections.abc import Iterable
from hashlib import blake2b

import numpy as np


class NameSet:
    """Names to look up, not to list; the same in every process.

    Two names are taken for one with a chance of one in 10^19 for each pair of names.

    Example:
        >>> names = NameSet(["a", "b"])
        >>> "a" in names, "c" in names, len(names)
        (True, False, 2)
    """

    def __init__(self, names: Iterable[str]) -> None:
        hashes = np.unique(np.fromiter(map(_hash, names), np.uint64))
        self._hashes = array("Q", hashes.tobytes())

    def __contains__(self, name: object) -> bool:
        """Tell whether ``name`` is in the set."""
        if not isinstance(name, str):
            return False
        if not self._hashes:
            return False
        number = _hash(name)
        place = bisect_left(self._hashes, number)
        return place < len(self._hashes) and self._hashes[place] == number

    def __len__(self) -> int:
        """Count the names."""
        return len(self._hashes)


def _hash(name: str) -> int:
    content = name.encode("utf-8", "surrogateescape")
    return int.from_bytes(blake2b(content, digest_size=8).digest(), "little")
