"""The names in a store, read without touching the values.

py-lmdb reads every page of each value that a cursor passes, even where only keys are asked for
(``preload`` in its cpython.c), so listing the names of the whole data set would read all 160 GB
of it. The names lie in a thousandth of that, the branch and leaf pages of the tree, and those
are walked here.

Source: MDB_meta, MDB_page and MDB_node in mdb.c of LMDB 0.9, data version 1.
"""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from reben.data.environment import read_transaction
from reben.errors import StoreError

_DATA_FILE = "data.mdb"
_META = struct.Struct("<16xII16xI84xQ8xQ")
_META_BYTES = 256
_PAGE = struct.Struct("<10xHHH")
_NODE = struct.Struct("<HHHH")
_MAGIC, _VERSION = 0xBEEFC0DE, 1
_BRANCH, _LEAF = 1, 2
_NO_PAGE = 2**64 - 1


def stored_names(folder: Path) -> Iterator[str]:
    """Yield all names in the store in ``folder``, in byte order.

    Raises:
        StoreError: If it cannot be opened, or is damaged.
    """
    # As long as a reader is registered, no writer reuses a page of what it could read.
    with read_transaction(folder), (folder / _DATA_FILE).open("rb", buffering=0) as file:
        page_bytes, root = _read_meta(file, folder)
        if root == _NO_PAGE:
            return
        try:
            for key in _walk(file, page_bytes, root):
                yield key.decode()
        except (struct.error, ValueError, RecursionError) as error:
            raise StoreError(f"The store {folder} is damaged: {error}. Encode it anew.") from error


def _read_meta(file: IO[bytes], folder: Path) -> tuple[int, int]:
    """Return the page size, and the root page of the last commit."""
    start = file.read(_META_BYTES)
    page_bytes = _META.unpack_from(start)[2]
    file.seek(page_bytes)
    metas = [_META.unpack_from(start), _META.unpack_from(file.read(_META_BYTES))]
    for magic, version, *_ in metas:
        if (magic, version) != (_MAGIC, _VERSION):
            raise StoreError(
                f"The store {folder} is of LMDB data version {version}; this reben reads names "
                f"from version {_VERSION}. Encode it anew."
            )
    root = max(metas, key=lambda meta: meta[4])[3]
    return page_bytes, root


def _walk(file: IO[bytes], page_bytes: int, number: int) -> Iterator[bytes]:
    """Yield the keys at and below page ``number``."""
    file.seek(number * page_bytes)
    page = file.read(page_bytes)
    flags, lower, _ = _PAGE.unpack_from(page)
    places = struct.unpack_from(f"<{(lower - 16) // 2}H", page, 16)
    for place in places:
        low, high, highest, key_bytes = _NODE.unpack_from(page, place)
        if flags & _BRANCH:
            yield from _walk(file, page_bytes, low | high << 16 | highest << 32)
        elif flags & _LEAF:
            yield page[place + 8 : place + 8 + key_bytes]
        else:
            raise ValueError(f"page {number} is neither branch nor leaf")
