"""A scene read from north to south in strips as high as a window.

Rows that two strips share are read once. A thread reads the next strips while the last one is in
use, so that reading and computing overlap: as many as a row of tiles of a product's files makes, so
that there is something to compute while the next row of tiles is decoded.

The scene classification is read first. Bands are needed only in windows that it leaves below the
limit of bad pixels, and pixels elsewhere count as the classification has them.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reben.data.loading.threads import run_ahead
from reben.data.values import bad_pixels
from reben.predict.windows import Axis
from reben.scene.band_scene import Scene
from reben.scene.grid import GRID_METRES
from reben.scene.masks import NO_DATA
from reben.scene.row_blocks import Runs
from reben.scene.stored import runs_of
from reben.spec.bands import PIXEL_METRES
from reben.spec.patches import PATCH_PIXELS

_AHEAD = 9
"""Strips that may wait: a tile of 1024 rows makes as many."""


@dataclass(frozen=True)
class Strip:
    """The rows of pixels that one row of windows reads.

    Args:
        row: Which row of windows.
        bands: Band -> [h, w] at native size, the full width of the scene; no NaN.
        mask: uint8 [120, W], `GOOD`, `NO_DATA` or `OBSCURED`.
        num_fresh: Number of rows of pixels at the lower end that no earlier row of windows reads.
    """

    row: int
    bands: dict[str, NDArray[Any]]
    mask: NDArray[np.uint8]
    num_fresh: int


class StripReader:
    """Reads strips of a scene, one after the other.

    Args:
        scene: The scene; nothing else may read from it meanwhile.
        bands: Bands to read.
        rows: Windows along the side from north to south.
        fill: Band -> the value that replaces values that are no measurement: masked, NaN, out of
            range. Such pixels count as `NO_DATA`, whichever band they are in.
        needed: Where bands are needed, bool [rows of windows, pixels of a row]; by default
            everywhere.
        whole: Bands that are needed everywhere.
    """

    def __init__(
        self,
        scene: Scene,
        bands: Sequence[str],
        rows: Axis,
        fill: Mapping[str, float],
        needed: NDArray[np.bool_] | None = None,
        whole: Sequence[str] = (),
    ) -> None:
        self._scene = scene
        self._bands = tuple(bands)
        self._rows = rows
        self._fill = fill
        self._needed = needed
        self._whole = whole
        self._last: Strip | None = None

    def read(self, row: int) -> Strip:
        """Return the strip of a row of windows; quickest if the one above it was read before."""
        start = self._rows.start(row)
        stop = start + PATCH_PIXELS
        above = self._rows.start(row - 1) + PATCH_PIXELS if row else 0
        last = self._last if self._last is not None and self._last.row == row - 1 else None
        top = start if last is None else max(start, above)
        bands, mask = self._read(top, stop - top)
        if last is not None and top > start:
            kept = top - start
            bands = {
                name: np.concatenate([last.bands[name][-(kept // step_of(name)) :], fresh])
                for name, fresh in bands.items()
            }
            mask = np.concatenate([last.mask[-kept:], mask])
        self._last = Strip(row, bands, mask, num_fresh=stop - max(start, above))
        return self._last

    def read_ahead(self, rows: Iterable[int]) -> Iterator[Strip]:
        """Yield the strips of several rows of windows; each is read while another is used."""
        found: dict[int, Strip] = {}

        def read(row: int) -> None:
            found[row] = self.read(row)

        for row in run_ahead(rows, lambda row: [lambda: read(row)], num_workers=1, ahead=_AHEAD):
            yield found.pop(row)

    def blank(self, row: int) -> Strip:
        """Return a strip that is not read: no data everywhere."""
        width, above = self._scene.grid.width, self._rows.start(row - 1) if row else -PATCH_PIXELS
        bands = {
            name: np.zeros((PATCH_PIXELS // step_of(name), width // step_of(name)), np.float32)
            for name in self._bands
        }
        mask = np.full((PATCH_PIXELS, width), NO_DATA, np.uint8)
        return Strip(row, bands, mask, num_fresh=min(PATCH_PIXELS, self._rows.start(row) - above))

    def _read(self, top: int, height: int) -> tuple[dict[str, NDArray[Any]], NDArray[np.uint8]]:
        """Return rows of pixels; those of the same windows at once, as they need the same."""
        if self._needed is None:
            return self._filled(self._scene.read(self._bands, top, height), top, height, ())
        starts = [self._rows.start(row) for row in range(self._rows.num_windows)]
        edges = {edge for start in starts for edge in (start, start + PATCH_PIXELS)}
        cuts = [top, *sorted(edge for edge in edges if top < edge < top + height), top + height]
        found = []
        for first, stop in pairwise(cuts):
            touching = [start < stop and first < start + PATCH_PIXELS for start in starts]
            runs = runs_of(np.any(self._needed[touching], axis=0))
            part = [band for band in self._bands if band not in self._whole]
            size = first, stop - first
            bands = self._scene.read(self._bands, *size, dict.fromkeys(part, runs))
            found.append(self._filled(bands, *size, (runs,)))
        if len(found) == 1:
            return found[0]
        joined = {name: np.concatenate([bands[name] for bands, _ in found]) for name in self._bands}
        return joined, np.concatenate([mask for _, mask in found])

    def _filled(
        self, bands: dict[str, NDArray[Any]], top: int, height: int, needed: tuple[Runs, ...]
    ) -> tuple[dict[str, NDArray[Any]], NDArray[np.uint8]]:
        mask = self._scene.read_mask(top, height, *needed)
        for name in self._bands:
            bad = bad_pixels(name, bands[name])
            if bad is not None:
                pixels = np.ma.getdata(bands[name])
                bands[name] = np.where(bad, pixels.dtype.type(self._fill[name]), pixels)
                step = step_of(name)
                wide = bad.repeat(step, axis=0).repeat(step, axis=1)
                mask = np.where(wide, np.uint8(NO_DATA), mask)
        return {name: bands[name] for name in self._bands}, mask


def step_of(name: str) -> int:
    """Return how many 10 m pixels a pixel of band ``name`` is wide."""
    return PIXEL_METRES[name] // GRID_METRES


def count_bad(mask: NDArray[Any], edges: Iterable[tuple[int, int]]) -> NDArray[np.int64]:
    """Return how many pixels of a mask [H, W] are not 0, between pairs of columns, [pairs]."""
    sums = np.concatenate([[0], np.cumsum(np.count_nonzero(mask, axis=0))])
    return np.array([sums[stop] - sums[start] for start, stop in edges], np.int64)
