"""The pages of a store, read without LMDB: whether the file is whole, and the names in it.

py-lmdb reads every page of each value that a cursor passes, even where only keys are asked for
(``preload`` in its cpython.c), so listing the names of the whole data set would read all 160 GB
of it. The names lie in a thousandth of that, the branch and leaf pages of the tree, and those
are walked here.

LMDB trusts its file: if that is cut off, or leads to a page or a value outside of it, the process
ends with a signal. So whatever LMDB would follow is checked here on the way.

Source: MDB_meta, MDB_page and MDB_node in mdb.c of LMDB 0.9, data version 1.
"""

import os
import struct
from collections.abc import Iterator
from typing import IO, NamedTuple

import numpy as np
from numpy.typing import NDArray

_START = struct.Struct("<16xII16x")
_TREE = struct.Struct("<IHH5Q")
_END = struct.Struct("<2Q")
_META_BYTES = _START.size + 2 * _TREE.size + _END.size
_PAGE = struct.Struct("<Q2x3H")
_MAGIC, _VERSION = 0xBEEFC0DE, 1
_BRANCH, _LEAF, _KINDS = 1, 2, 0x7F
_LARGE = 1
"""Mark of a value that has pages of its own."""
_FREE_FLAGS = 9
"""Marks that the tree of free pages may have: its keys are numbers, the map has a fixed place."""
_NO_PAGE = 2**64 - 1
_HEADER_BYTES, _NODE_BYTES = 16, 8
_WORDS = np.arange(4)[:, None]
"""The numbers at the start of a node, of two bytes each."""
_FIRST_PAGE = 2
_PAGE_BYTES = {1 << power for power in range(9, 17)}


class DamageError(Exception):
    """What is wrong with the file of a store, as the end of a sentence."""


class ForeignError(Exception):
    """Why a file is no store that this version reads, as the end of a sentence."""


class Tree(NamedTuple):
    """One of the two trees in a file: where it starts, and how large it is."""

    flags: int
    num_pages: int
    num_nodes: int
    root: int


class Meta(NamedTuple):
    """What the file says of its last commit."""

    page_bytes: int
    num_pages: int
    """Pages that were ever in use; the last ones may be free, and then not written."""
    commit: int
    free: Tree
    values: Tree


def read_meta(file: IO[bytes]) -> Meta:
    """Return what a file says of its last commit."""
    first = _read(file, _META_BYTES, 0)
    if len(first) < _META_BYTES:
        raise ForeignError(f"has only {len(first)} bytes")
    magic, version = _START.unpack_from(first)
    if magic != _MAGIC:
        raise ForeignError("is not an LMDB file")
    if version != _VERSION:
        raise ForeignError(f"has LMDB data version {version}, and {_VERSION} is read here")
    page_bytes = _TREE.unpack_from(first, _START.size)[0]
    if page_bytes not in _PAGE_BYTES:
        raise DamageError(f"its pages have {page_bytes} bytes")
    second = _read(file, _META_BYTES, page_bytes)
    if len(second) < _META_BYTES or _START.unpack_from(second) != (magic, version):
        raise DamageError("its second page is not as it should be")
    meta = max(_parse_meta(first), _parse_meta(second), key=lambda meta: meta.commit)
    if meta.values.flags or meta.free.flags & ~_FREE_FLAGS:
        raise ForeignError("keeps its values in another way")
    return meta._replace(page_bytes=page_bytes)


def _read(file: IO[bytes], num_bytes: int, start: int) -> bytes:
    file.seek(start)
    return file.read(num_bytes)


def _parse_meta(page: bytes) -> Meta:
    trees = []
    for at in (_START.size, _START.size + _TREE.size):
        page_bytes, flags, _, branches, leaves, _, num_nodes, root = _TREE.unpack_from(page, at)
        trees.append(Tree(flags, branches + leaves, num_nodes, root))
    last_page, commit = _END.unpack_from(page, _START.size + 2 * _TREE.size)
    return Meta(page_bytes, last_page + 1, commit, *trees)


def require_whole(file: IO[bytes]) -> Meta:
    """Return what `read_meta` does; raise `DamageError` if the file is shorter than it says."""
    meta = read_meta(file)
    size, needed = os.fstat(file.fileno()).st_size, meta.num_pages * meta.page_bytes
    if size < needed:
        try:
            walk_all(file, meta)  # pages at the end that are free need not be there
        except DamageError as error:
            raise DamageError(
                f"it is cut off: it has {size} bytes and should have {needed}"
            ) from error
    return meta


def walk_all(file: IO[bytes], meta: Meta) -> None:
    """Raise `DamageError` if LMDB would leave the file on its way through it."""
    for _ in _leaves(file, meta, meta.values):
        pass
    for page, ends, sizes, _ in _leaves(file, meta, meta.free):
        for end, size in zip(ends.tolist(), sizes.tolist(), strict=True):
            if end + size <= len(page) and size >= 8:  # a list of pages, and first its length
                count = int.from_bytes(page[end : end + 8], "little")
                if 8 * count + 8 > size:
                    raise DamageError("its list of free pages is not as it should be")


def walk_names(file: IO[bytes]) -> Iterator[bytes]:
    """Yield all names, in byte order; raise `DamageError` or `ForeignError` on the way."""
    meta = read_meta(file)
    num_names = 0
    for page, ends, _, key_sizes in _leaves(file, meta, meta.values):
        num_names += len(ends)
        starts = (ends - key_sizes).tolist()
        yield from [page[at:end] for at, end in zip(starts, ends.tolist(), strict=True)]
    if num_names != meta.values.num_nodes:
        raise DamageError(f"it holds {num_names} names and should hold {meta.values.num_nodes}")


_Ints = NDArray[np.int64]


class _Page(NamedTuple):
    """A page of a tree: what it is, and for each node its end, flags and the two numbers in it."""

    content: bytes
    kind: int
    ends: _Ints
    """Where the key ends."""
    low: _Ints
    """Size of the value; of a branch, the page that it leads to, but for the highest bits."""
    flags: _Ints
    """Of a branch, the highest bits."""
    key_sizes: _Ints


def _leaves(file: IO[bytes], meta: Meta, tree: Tree) -> Iterator[tuple[bytes, _Ints, _Ints, _Ints]]:
    """Yield each leaf page of a tree: its bytes, where keys end, sizes of values and of keys."""
    waiting = [] if tree.root == _NO_PAGE else [tree.root]
    num_left = tree.num_pages
    num_bytes = os.fstat(file.fileno()).st_size
    while waiting:
        number = waiting.pop()
        num_left -= 1
        if num_left < 0:
            raise DamageError("its pages go round in a ring")
        content = b""
        if _FIRST_PAGE <= number < meta.num_pages:
            content = _read(file, meta.page_bytes, number * meta.page_bytes)
        if len(content) < meta.page_bytes:
            raise DamageError(f"page {number} is not in it")
        page = _parse_page(content, number)
        if page.kind == _BRANCH:
            waiting += (page.low | page.flags << 32)[::-1].tolist()
        else:
            _require_inside(page, num_bytes)
            yield content, page.ends, page.low, page.key_sizes


def _parse_page(content: bytes, number: int) -> _Page:
    own, kind, lower, upper = _PAGE.unpack_from(content)
    kind &= _KINDS
    fewest = {_BRANCH: 2, _LEAF: 1}.get(kind)
    if own != number or fewest is None:
        raise DamageError(f"page {number} is not what it should be")
    damage = DamageError(f"page {number} is damaged")
    if lower % 2 or not _HEADER_BYTES + 2 * fewest <= lower <= upper <= len(content):
        raise damage
    words = np.frombuffer(content, "<u2")
    places = words[_HEADER_BYTES // 2 : lower // 2].astype(np.int64)
    if (places & 1).any() or places.min() < upper or places.max() > len(content) - _NODE_BYTES:
        raise damage
    low, high, flags, key_sizes = words[(places >> 1) + _WORDS].astype(np.int64)
    ends = places + _NODE_BYTES + key_sizes
    if ends.max() > len(content):
        raise damage
    return _Page(content, kind, ends, low | high << 16, flags, key_sizes)


def _require_inside(page: _Page, num_bytes: int) -> None:
    """Raise an error unless the values of a leaf page lie in it, or on other pages of the file."""
    if (page.flags & ~_LARGE).any():
        raise ForeignError("holds several data bases")
    is_large = page.flags == _LARGE
    if (page.ends + np.where(is_large, 8, page.low)).max() > len(page.content):
        raise DamageError("a value does not fit into its page")
    if is_large.any():
        content = np.frombuffer(page.content, np.uint8)
        first = content[page.ends[is_large, None] + np.arange(8)].view("<u8")[:, 0]
        last = first.astype(np.float64) * len(content) + _HEADER_BYTES + page.low[is_large]
        if first.min() < _FIRST_PAGE or last.max() > num_bytes:
            raise DamageError("a value is not in it")
