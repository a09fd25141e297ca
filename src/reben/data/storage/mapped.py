"""Pages of a mapped file that were read, given back once they are many.

A page that a process has read in a mapped file counts as memory of the process until it lets go of
it, so after an epoch the whole store would. What is let go stays in the page cache and is read
again without a disk, but the system has to map each page anew, which slows a loader down by far. So
a store stays mapped as long as it fits into half of the machine's memory.
"""

import mmap
import os
import sys
import threading
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np

_AT_ONCE = 64
"""Values between two looks at the memory; Linux may map 2 MB for each, whatever their size."""
_STATM = Path("/proc/self/statm")


class MappedPages:
    """The pages of one map that were read since they were last given back; for any thread.

    Args:
        most: Bytes of files that the process may have mapped before they are given back; None for
            half of the machine's memory.
    """

    def __init__(self, most: int | None = None) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._first, self._last, self._num_values = sys.maxsize, 0, 0

    def count(self, first: int, last: int, num_values: int = 1) -> None:
        """Count values that were read, and give pages back if there are too many.

        Call it while the map is open: all that lies between the addresses must be of this map.

        Args:
            first: Address of a byte of the first value in the map.
            last: Address of a byte of the last one.
            num_values: How many were read.
        """
        with self._lock:
            self._first, self._last = min(self._first, first), max(self._last, last)
            self._num_values += num_values
            if self._num_values < _AT_ONCE:
                return
            self._num_values = 0
            give_back = _madvise()
            if give_back is None:
                return
            most = _half_of_memory() if self._most is None else self._most
            if _mapped_bytes() < most:
                return
            start, end = self._first - self._first % mmap.PAGESIZE, self._last + 1
            self._first, self._last = sys.maxsize, 0
        give_back(start, end - start, mmap.MADV_DONTNEED)

    def count_value(self, value: bytes | memoryview) -> None:
        """Count a value that was read as a whole; it is a view into the map, or empty."""
        if len(value):
            first = np.frombuffer(value, np.uint8).ctypes.data
            self.count(first, first + len(value) - 1)


def _mapped_bytes() -> int:
    """Return how much of files this process has in memory. Source: statm in proc(5)."""
    return int(_STATM.read_bytes().split()[2]) * os.sysconf("SC_PAGE_SIZE")


@cache
def _half_of_memory() -> int:
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2


@cache
def _madvise() -> Callable[[int, int, int], int] | None:
    """Return the C function, or None where it is missing or means something else."""
    if sys.platform != "linux" or not _STATM.exists():
        return None
    import ctypes

    function = getattr(ctypes.CDLL(None), "madvise", None)
    if function is not None:
        function.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    return function
