"""Memory that is freed stays with the process, for work that asks for the same blocks again."""

import ctypes
from functools import cache

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
"""Names of settings; source: malloc.h of glibc."""
_KEPT = 128 << 20
_LARGEST_BLOCK = 32 << 20
"""The most that glibc takes."""


@cache
def keep_freed_memory() -> None:
    """Tell glibc to keep freed blocks for the next batch, which is as large as the last one.

    By default it returns large blocks to the system, which then clears each page again. That
    doubles the time of writing a store. Dask's workers return all above 64 KB, which makes a
    network a third slower.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return  # another C library
    mallopt(_M_TRIM_THRESHOLD, _KEPT)
    mallopt(_M_MMAP_THRESHOLD, _LARGEST_BLOCK)
