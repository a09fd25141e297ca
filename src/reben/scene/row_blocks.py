"""Rows of an image that is made of tiles, each of which can only be decoded as a whole."""

import threading
from collections.abc import Callable
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


class RowBlocks:
    """Reads rows of whole tiles, and keeps those that the last strip touched.

    Args:
        step: Rows of a block.
        read: Returns a block, by its number and columns, [rows, columns].
        lock: Held while reading.
    """

    def __init__(
        self, step: int, read: Callable[[int, Columns], NDArray[Any]], lock: threading.Lock
    ) -> None:
        self._step, self._read, self._lock = step, read, lock
        self._blocks: dict[int, NDArray[Any]] = {}
        self._columns: Columns = None  # of the blocks

    def rows(self, top: int, height: int, columns: Columns = None) -> NDArray[Any]:
        """Return rows ``top`` to ``top + height``, [height, width], read-only."""
        step = self._step
        wanted = range(top // step, -(-(top + height) // step))
        with self._lock:
            if columns != self._columns:
                self._blocks, self._columns = {}, columns
            self._blocks = {block: self._blocks[block] for block in wanted if block in self._blocks}
            for block in wanted:
                if block not in self._blocks:
                    self._blocks[block] = self._read(block, columns)
            parts = [
                rows[max(0, top - block * step) : top + height - block * step]
                for block, rows in sorted(self._blocks.items())
            ]
        if len(parts) == 1:
            return parts[0]
        is_masked = isinstance(parts[0], np.ma.MaskedArray)
        together: Any = np.ma.concatenate if is_masked else np.concatenate
        rows: NDArray[Any] = together(parts)
        return rows

    def forget(self) -> None:
        """Free the memory of all blocks; the caller holds the lock."""
        self._blocks = {}


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
    if min(rows, height) * width * _num_bytes(kind) > MAX_SCENE_BLOCK_BYTES:
        raise ProductError(
            f"{name} is made of tiles of {rows} rows, so that {rows} x {width} pixels of {kind} "
            f"have to be read at once: more than {MAX_SCENE_BLOCK_BYTES // MEBIBYTE} MiB. {cure}"
        )
    return rows


def _num_bytes(kind: str) -> int:
    try:
        return np.dtype(kind).itemsize
    except TypeError:  # a kind of GDAL alone, such as complex whole numbers
        return 16
