"""Millions of names in a few bytes each: what a patch is called, and what a store holds.

Names of patches differ in their ends; what comes before is shared by thousands. So each is kept as
two numbers: that of its head, and that of its tail, the last eight bytes. No Python object is made
of a name before somebody asks for it.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import ArrayLike, NDArray

from reben.data.storage.tree import Keys

_TAIL = 8
"""Bytes of a tail; shorter names are all head."""
_AT_ONCE = 1 << 18
_HEAD = np.uint64(32)
"""The bits of a code that tell the tail; those above tell the head."""
_TAILS = np.uint64((1 << 32) - 1)


@dataclass(frozen=True, eq=False)
class Names:
    """Names in a fixed order.

    Args:
        heads: The different heads, bytes.
        tails: The different tails, as eight bytes each; 0 stands for none, uint64 [T].
        codes: Number of the head, times 2^32, and number of the tail of each name, uint64 [N].
    """

    heads: pa.BinaryArray
    tails: NDArray[np.uint64]
    codes: NDArray[np.uint64]

    @classmethod
    def of(cls, column: pa.ChunkedArray) -> Self:
        """Return the names in a column without gaps: of texts or bytes, or what `cut` returns."""
        if pa.types.is_struct(column.type):
            pieces = column.chunks
        else:
            steps = range(0, len(column), _AT_ONCE)
            pieces = [cut(column.slice(first, _AT_ONCE).combine_chunks()) for first in steps]
        heads = [piece.field("head") for piece in pieces]
        return cls.joined(heads, [piece.field("tail").to_numpy() for piece in pieces])

    @classmethod
    def joined(cls, heads: Sequence[pa.DictionaryArray], tails: Sequence[ArrayLike]) -> Self:
        """Return the names whose heads and tails these are, piece by piece."""
        kind = pa.dictionary(pa.int32(), pa.binary())
        whole = pa.chunked_array(heads, kind).unify_dictionaries()
        ends = pa.array(np.concatenate([*tails, np.empty(0, np.uint64)])).dictionary_encode()
        codes = ends.indices.to_numpy().astype(np.uint64)
        at = 0
        for chunk in whole.chunks:
            number = chunk.indices.to_numpy().astype(np.uint64)
            codes[at : at + len(chunk)] |= number << _HEAD
            at += len(chunk)
        known = whole.chunk(0).dictionary if whole.num_chunks else pa.array([], pa.binary())
        return cls(known, ends.dictionary.to_numpy(), codes)

    def __len__(self) -> int:
        """Count the names."""
        return len(self.codes)

    def take(self, rows: NDArray[np.integer] | NDArray[np.bool_]) -> Self:
        """Return the names at some positions, or where a mask is true."""
        return replace(self, codes=self.codes[rows])

    def keys(self, rows: ArrayLike) -> list[bytes]:
        """Return the names at some positions as bytes."""
        content, bounds, tails = self._parts
        heads, numbers = self._numbers(np.asarray(rows, np.int64))
        starts, ends = bounds[heads].tolist(), bounds[heads + 1].tolist()
        return [
            content[start:end] + tails[_TAIL * number : _TAIL * (number + 1)].lstrip(b"\0")
            for start, end, number in zip(starts, ends, numbers.tolist(), strict=True)
        ]

    def texts(self, rows: ArrayLike) -> list[str]:
        """Return the names at some positions."""
        return [key.decode() for key in self.keys(rows)]

    def texts_of_all(self) -> Iterator[str]:
        """Yield all names, made some at a time."""
        for first in range(0, len(self), _AT_ONCE):
            yield from self.texts(np.arange(first, min(first + _AT_ONCE, len(self))))

    def __getitem__(self, row: int) -> str:
        """Return one name."""
        return self.texts([row])[0]

    def to_arrow(self, kind: pa.DataType | None = None) -> pa.Array:
        """Return all names as an Arrow array of texts, or of another type."""
        return self._joined(b"").cast(kind or pa.string())

    def _joined(self, end: bytes) -> pa.BinaryArray:
        heads, numbers = self._numbers(slice(None))
        starts = self.heads.take(pa.array(heads))
        tails = self._short_tails.take(pa.array(numbers))
        last, between = pa.scalar(end, pa.binary()), pa.scalar(b"", pa.binary())
        return pc.binary_join_element_wise(starts, tails, last, between)

    def row_of(self, name: str) -> int | None:
        """Return the first position of a name, or None."""
        one = Names.of(pa.chunked_array([pa.array([name.encode()], pa.binary())]))
        rows = np.flatnonzero(self.are_in(one))
        return int(rows[0]) if len(rows) else None

    def are_in(self, others: Self) -> NDArray[np.bool_]:
        """Tell for each name whether it is one of others, bool [N]."""
        heads = pc.index_in(others.heads, value_set=self.heads).fill_null(-1).to_numpy()
        tails = pc.index_in(pa.array(others.tails), value_set=pa.array(self.tails))
        of_heads, of_tails = others._numbers(slice(None))
        theirs_head = heads[of_heads]
        theirs_tail = tails.fill_null(-1).to_numpy()[of_tails]
        known = (theirs_head >= 0) & (theirs_tail >= 0)
        own_heads, own_tails = self._numbers(slice(None))
        # As small numbers, so that numpy needs no sorting where names share heads and tails.
        theirs = theirs_head[known].astype(np.int64) * len(self.tails) + theirs_tail[known]
        return np.isin(own_heads * len(self.tails) + own_tails, theirs)

    def tail_bytes(self) -> list[bytes]:
        """Return the different tails, in the order of `tail_numbers`."""
        return [tail.as_py() for tail in self._short_tails]

    def head_numbers(self) -> NDArray[np.int64]:
        """Return the number of the head of each name."""
        return self._numbers(slice(None))[0]

    def tail_numbers(self) -> NDArray[np.int64]:
        """Return the number of the tail of each name."""
        return self._numbers(slice(None))[1]

    def ends(self) -> NDArray[np.uint64]:
        """Return the tail of each name, the last eight bytes as a number."""
        return self.tails[self.tail_numbers()]

    def first_odd(self, least: int, most: int) -> int | None:
        """Return the first position of a name that is too short or long, or cannot be printed."""
        lengths = pc.binary_length(self.heads).to_numpy()
        odd_heads = (lengths < least) | (lengths > most - _TAIL) | _may_be_odd(self.heads)
        heads, tails = self._numbers(slice(None))
        doubtful = np.flatnonzero(odd_heads[heads] | _may_be_odd(self._short_tails)[tails])
        for first in range(0, len(doubtful), _AT_ONCE):
            rows = doubtful[first : first + _AT_ONCE]
            texts = self.take(rows).to_arrow()
            sizes = pc.binary_length(texts).to_numpy()
            printable = pc.utf8_is_printable(texts).to_numpy(zero_copy_only=False)
            odd = (sizes < least) | (sizes > most) | ~printable
            if odd.any():
                return int(rows[odd.argmax()])
        return None

    def each(self, make: Callable[[pa.StringArray], pa.Array]) -> pa.Array:
        """Return what a function makes of the names as an Arrow array, some at a time."""
        parts = [
            make(replace(self, codes=self.codes[first : first + _AT_ONCE]).to_arrow())
            for first in range(0, max(len(self), 1), _AT_ONCE)
        ]
        return pa.concat_arrays(parts)

    def lines(self) -> memoryview:
        """Return the bytes of all names, each with a line break after it."""
        content = self._joined(b"\n")
        return memoryview(content.buffers()[2] or b"")

    def first_twice(self) -> int | None:
        """Return a position of a name that occurs more than once, or None."""
        codes = np.sort(self.codes)
        twice = codes[1:][codes[1:] == codes[:-1]]
        return int(np.flatnonzero(np.isin(self.codes, twice))[0]) if len(twice) else None

    def order(self) -> NDArray[np.int64]:
        """Return the positions in the order of the names, by code points."""
        lengths = pc.binary_length(self.heads).to_numpy()
        if (lengths != lengths[:1]).any() or not self.tails.all():  # one head may begin another
            return np.asarray(pc.sort_indices(self.to_arrow(pa.binary())), np.int64)
        ranks = _ranks(pc.sort_indices(self.heads).to_numpy())
        tail_ranks = _ranks(np.argsort(self.tails.astype("<u8").view(">u8").astype(np.uint64)))
        heads, tails = self._numbers(slice(None))
        together: NDArray[np.int64] = ranks[heads] * len(self.tails) + tail_ranks[tails]
        return np.argsort(together, kind="stable")

    def padded(self, num_bytes: int) -> NDArray[np.uint8] | None:
        """Return the bytes of names, zeros after each, uint8 [N, num_bytes]; None if longer."""
        texts = self.to_arrow(pa.binary())
        lengths = pc.binary_length(texts).to_numpy()
        if lengths.max(initial=0) > num_bytes:
            return None
        content = np.zeros((len(self), num_bytes), np.uint8)
        if len(self):
            content[np.arange(num_bytes) < lengths[:, None]] = np.frombuffer(
                texts.buffers()[2] or b"", np.uint8, int(lengths.sum())
            )
        return content

    def _numbers(
        self, rows: NDArray[np.int64] | slice
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        codes = self.codes[rows]
        return (codes >> _HEAD).astype(np.int64), (codes & _TAILS).astype(np.int64)

    @cached_property
    def _parts(self) -> tuple[bytes, NDArray[np.int64], bytes]:
        """All heads in a row, where each begins and ends, and all tails in a row."""
        lengths = pc.binary_length(self.heads).to_numpy()
        content = b"".join(self.heads.to_pylist())
        return content, _bounds(lengths), self.tails.astype("<u8").tobytes()

    @property
    def _short_tails(self) -> pa.BinaryArray:
        sizes = np.where(self.tails == 0, 0, _TAIL)
        ends = _bounds(sizes).astype(np.int32)
        content = self.tails[self.tails != 0].astype("<u8").tobytes()
        return pa.Array.from_buffers(
            pa.binary(), len(self.tails), [None, pa.py_buffer(ends), pa.py_buffer(content)]
        )


def cut(names: pa.Array) -> pa.StructArray:
    """Return texts or bytes as their heads, numbers of a dictionary, and tails; gaps stay gaps."""
    content = names.cast(pa.binary())
    tails = _tails_of(content)
    heads = pc.binary_slice(content, 0, -_TAIL)
    if not tails.all():
        heads = pc.if_else(pa.array(tails == 0), content, heads)
    parts = [heads.dictionary_encode(), pa.array(tails)]
    return pa.StructArray.from_arrays(parts, ["head", "tail"], mask=names.is_null())


def _may_be_odd(pieces: pa.BinaryArray) -> NDArray[np.bool_]:
    """Tell for each piece of a name whether it is not all printable ASCII; letters may be cut."""
    texts = pc.cast(pieces, options=pc.CastOptions(pa.string(), allow_invalid_utf8=True))
    is_plain: NDArray[np.bool_] = pc.ascii_is_printable(texts).to_numpy(zero_copy_only=False)
    return ~is_plain


def ends_with(keys: Keys, suffix: bytes) -> NDArray[np.bool_]:
    """Tell for each name whether it ends with some bytes, bool [N]."""
    found = keys.ends - keys.starts >= len(suffix)
    for nth, byte in enumerate(reversed(suffix), start=1):
        rows = np.flatnonzero(found)
        found[rows] = keys.content[keys.ends[rows] - nth] == byte
    return found


def split_sorted(keys: Keys) -> tuple[pa.DictionaryArray, NDArray[np.uint64]]:
    """Return heads and tails of names in byte order, most of which share their head."""
    tails = _tails_at(keys)
    starts, ends = keys.starts, keys.ends - np.where(tails == 0, 0, _TAIL)
    lengths = ends - starts
    is_new = np.ones(len(starts), np.bool_)
    is_new[1:] = lengths[1:] != lengths[:-1]
    words = _words(np.concatenate([keys.content, np.zeros(_TAIL, np.uint8)]))
    masks = np.array([(1 << 8 * size) - 1 for size in range(_TAIL + 1)], np.uint64)
    for first in range(0, int(lengths.max(initial=0)), _TAIL):
        left = np.clip(lengths - first, 0, _TAIL)
        word = words[np.where(left > 0, starts + first, 0)] & masks[left]
        is_new[1:] |= word[1:] != word[:-1]
    content = keys.content.tobytes()
    runs = np.flatnonzero(is_new)
    spans = zip(starts[runs].tolist(), ends[runs].tolist(), strict=True)
    heads = pa.array([content[start:end] for start, end in spans], pa.binary())
    numbers = pa.array(np.cumsum(is_new) - 1, pa.int32())
    return pa.DictionaryArray.from_arrays(numbers, heads), tails


def _words(content: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """Return the eight bytes that start at each place, the first one lowest."""
    return np.ndarray((max(len(content) - _TAIL + 1, 0),), "<u8", content, strides=(1,))


def _tails_at(keys: Keys) -> NDArray[np.uint64]:
    """Return the tails of names, 0 for those that have none, uint64 [N]."""
    content, starts, ends = keys
    tails = np.zeros(len(ends), np.uint64)
    if len(content) >= _TAIL:
        is_long = ends - starts >= _TAIL
        tails[is_long] = _words(content)[ends[is_long] - _TAIL]
    return tails


def _tails_of(names: pa.BinaryArray) -> NDArray[np.uint64]:
    _, offsets, content = names.buffers()
    own = slice(names.offset, names.offset + len(names) + 1)
    bounds = np.frombuffer(offsets, np.int32)[own].astype(np.int64)
    return _tails_at(Keys(np.frombuffer(content or b"", np.uint8), bounds[:-1], bounds[1:]))


def _bounds(lengths: NDArray[np.integer]) -> NDArray[np.int64]:
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)


def _ranks(order: NDArray[np.integer]) -> NDArray[np.int64]:
    ranks = np.empty(len(order), np.int64)
    ranks[order] = np.arange(len(order))
    return ranks
