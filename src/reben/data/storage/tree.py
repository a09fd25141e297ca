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
from collections.abc import Iterator, Sequence
from typing import IO, NamedTuple

import numpy as np
from numpy.typing import NDArray

_START = struct.Struct("<16xII16x")
_TREE = struct.Struct("<IHH5Q")
_END = struct.Struct("<2Q")
_META_BYTES = _START.size + 2 * _TREE.size + _END.size
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
_AT_ONCE = 512
"""Pages that are read and looked at together."""
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
    for leaves in _leaves(file, meta, meta.free):
        content, num_bytes = leaves.content.tobytes(), meta.page_bytes
        for end, size in zip(leaves.ends.tolist(), leaves.low.tolist(), strict=True):
            # A list of pages, and first its length.
            if end % num_bytes + size <= num_bytes and size >= 8:
                count = int.from_bytes(content[end : end + 8], "little")
                if 8 * count + 8 > size:
                    raise DamageError("its list of free pages is not as it should be")


class Keys(NamedTuple):
    """Names that lie in some bytes: where each starts and ends."""

    content: NDArray[np.uint8]
    starts: NDArray[np.int64]
    ends: NDArray[np.int64]


def walk_keys(file: IO[bytes]) -> Iterator[Keys]:
    """Yield all keys in byte order, some thousands at a time.

    Raises:
        DamageError: On the way, or at the end if they are fewer or more than they should be.
        ForeignError: If the file is of another kind.
    """
    meta = read_meta(file)
    num_names = 0
    for leaves in _leaves(file, meta, meta.values):
        num_names += len(leaves.ends)
        yield Keys(leaves.content, leaves.ends - leaves.key_sizes, leaves.ends)
    if num_names != meta.values.num_nodes:
        raise DamageError(f"it holds {num_names} names and should hold {meta.values.num_nodes}")


def walk_names(file: IO[bytes]) -> Iterator[bytes]:
    """Yield all names, in byte order; raise `DamageError` or `ForeignError` on the way."""
    for keys in walk_keys(file):
        content = keys.content.tobytes()
        for start, end in zip(keys.starts.tolist(), keys.ends.tolist(), strict=True):
            yield content[start:end]


_Ints = NDArray[np.int64]


class _Pages(NamedTuple):
    """Pages of a tree that follow each other: for each node the end of its key, and numbers."""

    content: NDArray[np.uint8]
    kind: int
    ends: _Ints
    """Where the key ends."""
    low: _Ints
    """Size of the value; of a branch, the page that it leads to, but for the highest bits."""
    flags: _Ints
    """Of a branch, the highest bits."""
    key_sizes: _Ints


def _leaves(file: IO[bytes], meta: Meta, tree: Tree) -> Iterator[_Pages]:
    """Yield the leaf pages of a tree in the order of their keys, some at a time."""
    level = np.array([] if tree.root == _NO_PAGE else [tree.root], np.uint64)
    num_left = tree.num_pages
    num_bytes = os.fstat(file.fileno()).st_size
    while len(level):
        below: list[NDArray[np.uint64]] = []
        for first in range(0, len(level), _AT_ONCE):
            numbers = level[first : first + _AT_ONCE]
            num_left -= len(numbers)
            if num_left < 0:
                raise DamageError("its pages go round in a ring")
            pages = _parse_pages(_read_pages(file, meta, numbers.tolist()), numbers)
            if pages.kind == _BRANCH:
                below.append((pages.low | pages.flags << 32).astype(np.uint64))
            else:
                _require_inside(pages, meta.page_bytes, num_bytes)
                yield pages
        if below and sum(map(len, below)) > num_left:
            raise DamageError("its pages go round in a ring")
        level = np.concatenate(below) if below else level[:0]


def _read_pages(file: IO[bytes], meta: Meta, numbers: Sequence[int]) -> NDArray[np.uint8]:
    """Return the bytes of pages, uint8 [P, page_bytes]."""
    pages = []
    for number in numbers:
        content = b""
        if _FIRST_PAGE <= number < meta.num_pages:
            content = _read(file, meta.page_bytes, number * meta.page_bytes)
        if len(content) < meta.page_bytes:
            raise DamageError(f"page {number} is not in it")
        pages.append(content)
    return np.frombuffer(b"".join(pages), np.uint8).reshape(len(pages), meta.page_bytes)


def _parse_pages(content: NDArray[np.uint8], numbers: NDArray[np.uint64]) -> _Pages:
    own, size = content[:, :8].copy().view("<u8")[:, 0], content.shape[1]
    words = content.reshape(-1).view("<u2")
    _, kinds, lower, upper = content[:, 8:16].copy().view("<u2").astype(np.int64).T
    kinds &= _KINDS
    odd = (own != numbers) | ((kinds != _BRANCH) & (kinds != _LEAF)) | (kinds != kinds[0])
    if odd.any():
        raise DamageError(f"page {numbers[odd][0]} is not what it should be")
    fewest = 2 if kinds[0] == _BRANCH else 1
    odd = (lower % 2 > 0) | (lower < _HEADER_BYTES + 2 * fewest) | (lower > upper) | (upper > size)
    _require_none(odd, numbers)
    counts = (lower - _HEADER_BYTES) // 2
    page = np.repeat(np.arange(len(numbers)), counts)
    nth = np.arange(len(page)) - np.repeat(np.cumsum(counts) - counts, counts)
    start = page * size
    places = words[(start + _HEADER_BYTES) // 2 + nth].astype(np.int64)
    odd = (places & 1 > 0) | (places < upper[page]) | (places > size - _NODE_BYTES)
    _require_none(odd, numbers[page])
    low, high, flags, key_sizes = words[(start + places >> 1) + _WORDS].astype(np.int64)
    ends = places + _NODE_BYTES + key_sizes
    _require_none(ends > size, numbers[page])
    return _Pages(
        content.reshape(-1), int(kinds[0]), start + ends, low | high << 16, flags, key_sizes
    )


def _require_none(odd: NDArray[np.bool_], numbers: NDArray[np.uint64]) -> None:
    if odd.any():
        raise DamageError(f"page {numbers[odd][0]} is damaged")


def _require_inside(pages: _Pages, page_bytes: int, num_bytes: int) -> None:
    """Raise an error unless the values of leaf pages lie in them, or on other pages of the file."""
    if (pages.flags & ~_LARGE).any():
        raise ForeignError("holds several data bases")
    is_large = pages.flags == _LARGE
    ends = (pages.ends - 1) % page_bytes + 1
    if (ends + np.where(is_large, 8, pages.low)).max() > page_bytes:
        raise DamageError("a value does not fit into its page")
    if is_large.any():
        first = pages.content[pages.ends[is_large, None] + np.arange(8)].view("<u8")[:, 0]
        last = first.astype(np.float64) * page_bytes + _HEADER_BYTES + pages.low[is_large]
        if first.min() < _FIRST_PAGE or last.max() > num_bytes:
            raise DamageError("a value is not in it")
