"""Rows of an image that is made of tiles, each of which can only be decoded as a whole."""

import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reben.errors import ProductError
from reben.support.bounds import (
    MAX_SCENE_BLOCK_BYTES,
    MAX_SCENE_PIXELS,
    MAX_SCENE_SIDE,
    MEBIBYTE,
)

_ROWS_AT_ONCE = 256
Columns = tuple[int, int] | None
"""The first column and the one behind the last; None for all."""
Runs = Sequence[tuple[int, int]]
"""First columns, and those behind the last, from left to right."""


class RowBlocks:
    """Reads rows of whole tiles, only those that are needed, and keeps what the last strip touched.

    Args:
        shape: Rows and columns of the image.
        kind: Its dtype.
        tile: Rows of a block and columns of a tile.
        read: Returns a part of a block, by its number and columns, [rows, columns].
        lock: Held while reading.
        most: How many tiles are read at once, at most.
    """

    def __init__(
        self,
        shape: tuple[int, int],
        kind: str,
        tile: tuple[int, int],
        read: Callable[[int, tuple[int, int]], NDArray[Any]],
        lock: threading.Lock,
        most: int | None = None,
    ) -> None:
        self._width, self._kind, self._step, self._tile = shape[1], kind, *tile
        self._read, self._lock = read, lock
        self._most = most or shape[1]
        self._parts: dict[tuple[int, int], tuple[int, NDArray[Any]]] = {}
        self._columns: Columns = None  # of the parts

    def rows(
        self, top: int, height: int, columns: Columns = None, needed: Runs | None = None
    ) -> NDArray[Any]:
        """Return rows ``top`` to ``top + height``, [height, width], as stored.

        Args:
            top: The first row.
            height: How many.
            columns: Which columns to return.
            needed: Which of these, counted from the first, are of use: of tiles without such a
                column, 0 is returned, and nothing is read. By default all.
        """
        step = self._step
        left, stop = columns or (0, self._width)
        blocks = range(top // step, -(-(top + height) // step))
        with self._lock:
            if columns != self._columns:
                self._parts, self._columns = {}, columns
            self._parts = {key: part for key, part in self._parts.items() if key[0] in blocks}
            runs = [(0, stop - left)] if needed is None else needed
            tiles = self._tiles([(left + a, left + b) for a, b in runs])
            for block in blocks:
                self._read_missing(block, tiles, left, stop)
            parts = list(self._parts.items())
        kind = parts[0][1][1].dtype if parts else np.dtype(self._kind)
        is_masked = any(isinstance(part, np.ma.MaskedArray) for _, (_, part) in parts)
        rows: NDArray[Any] = np.zeros((height, stop - left), kind)
        if is_masked:
            rows = np.ma.zeros((height, stop - left), kind)
        for (block, _), (first, part) in parts:
            start = block * step - top
            above = max(0, -start)
            wanted = part[above : max(0, height - start)]
            place = slice(start + above, start + above + len(wanted))
            rows[place, first - left : first - left + part.shape[1]] = wanted
        return rows

    def forget(self) -> None:
        """Free the memory of all blocks; the caller holds the lock."""
        self._parts = {}

    def _tiles(self, runs: Iterable[tuple[int, int]]) -> list[int]:
        found = (range(a // self._tile, -(-b // self._tile)) for a, b in runs if a < b)
        return sorted({tile for tiles in found for tile in tiles})

    def _read_missing(self, block: int, tiles: Sequence[int], left: int, stop: int) -> None:
        missing = [tile for tile in tiles if (block, tile) not in self._parts]
        while missing:
            run = [tile for place, tile in enumerate(missing) if tile == missing[0] + place]
            run = run[: self._most]
            del missing[: len(run)]
            first = max(left, run[0] * self._tile)
            part = self._read(block, (first, min(stop, (run[-1] + 1) * self._tile)))
            for tile in run:
                a = max(first, tile * self._tile)
                b = min(stop, (tile + 1) * self._tile)
                self._parts[block, tile] = a, part[:, a - first : b - first]


def rows_of_block(
    name: str, shape: tuple[int, int], kind: str, rows_of_tile: int, cure: str
) -> int:
    """Return how many rows are read at once; refuse what takes more memory than any scene.

    Args:
        name: The image, in error messages.
        shape: Its rows and columns.
        kind: Its dtype.
        rows_of_tile: Rows of a tile of it.
        cure: How to write it in smaller tiles, as a sentence.

    Raises:
        ProductError: If it is larger than any scene, or its tiles are.
    """
    height, width = shape
    if max(width, height) > MAX_SCENE_SIDE or width * height > MAX_SCENE_PIXELS:
        raise ProductError(
            f"{name} claims {width} x {height} pixels; a scene has at most {MAX_SCENE_SIDE:,} "
            f"along a side and {MAX_SCENE_PIXELS:,} in all. Cut the place of interest out."
        )
    rows = rows_of_tile * max(1, _ROWS_AT_ONCE // rows_of_tile)
    if min(rows, height) * width * num_bytes(kind) > MAX_SCENE_BLOCK_BYTES:
        raise ProductError(
            f"{name} is made of tiles of {rows} rows, so that {rows} x {width} pixels of {kind} "
            f"have to be read at once: more than {MAX_SCENE_BLOCK_BYTES // MEBIBYTE} MiB. {cure}"
        )
    return rows


def num_bytes(kind: str) -> int:
    """Return how many bytes a pixel has."""
    try:
        return np.dtype(kind).itemsize
    except TypeError:  # a kind of GDAL alone, such as complex whole numbers
        return 16
