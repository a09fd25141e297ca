"""The stored numbers of a scene's bands: which are measurements, and a sample of them."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reben.data.values import WRAPPED
from reben.scene.alignment import Alignment
from reben.scene.band_names import CLASSIFICATION, native_metres
from reben.scene.band_source import raster_environment
from reben.scene.grid import GRID_METRES, GRID_MULTIPLE, Grid
from reben.scene.masks import GOOD, NO_DATA, OBSCURED, bad_numbers, mask_of
from reben.scene.row_blocks import Runs
from reben.scene.sources import BandSources

_SAMPLED_PIXELS = 1_000_000
SAMPLED_PLACES = (0.1, 0.3, 0.5, 0.7, 0.9)


@dataclass(frozen=True)
class StoredNumbers:
    """Numbers as the files of a scene hold them, within its grid.

    Args:
        found: What a product reader found.
        alignment: How the bands lie on one grid.
        grid: The scene's own grid, which may be a part of that.
        first: Row and column of the alignment's grid at which it begins; None if it is the whole.
    """

    found: BandSources
    alignment: Alignment
    grid: Grid
    first: tuple[int, int] | None = None

    def sample(
        self, bands: Sequence[str], places: Sequence[float] = SAMPLED_PLACES
    ) -> dict[str, NDArray[Any]]:
        """Return stored numbers of a part of the scene, all of one shape: small scenes whole."""
        height, width = self.grid.height, self.grid.width
        shrink = math.ceil(math.sqrt(height * width / _SAMPLED_PIXELS))
        shape = height // shrink, width // shrink
        with raster_environment(cache=True):
            small = {band: self._small(band, shape) for band in bands}
            if all(pixels is not None for pixels in small.values()):
                return {band: pixels for band, pixels in small.items() if pixels is not None}
            # All bands of a strip before the next one: one file may hold them together.
            strips = [
                {band: self.expanded(band, self.read(band, *strip)) for band in bands}
                for strip in self.strips(places)
            ]
            return {band: np.concatenate([strip[band] for strip in strips]) for band in bands}

    def _small(self, band: str, shape: tuple[int, int]) -> NDArray[Any] | None:
        if self.first is not None:
            return None
        metres = self.alignment.pixel_metres[band]
        size = self.grid.height * GRID_METRES // metres, self.grid.width * GRID_METRES // metres
        pixels = self.found.sources[band].read_small(size, shape)
        return None if pixels is None else self.known(band, pixels)

    @property
    def facts_of_place(self) -> dict[str, str]:
        """What of the product lies outside the grid, and how large its pixels are on the ground."""
        columns, rows = self.alignment.cut
        ends = f"{columns} columns at the right, {rows} rows at the lower edge"
        cut = [ends] if columns or rows else []
        if self.first:
            rows, columns = self.first
            cut.insert(0, f"{columns} columns at the left, {rows} rows at the upper edge")
        metres = " x ".join(f"{one:.2f}" for one in self.alignment.ground_metres)
        return ({"cut": ", ".join(cut)} if cut else {}) | {"pixel_metres_on_ground": metres}

    def strips(self, places: Sequence[float]) -> list[tuple[int, int]]:
        """Return the first row and the rows of a strip at each share of the height."""
        tops = [int(self.grid.height * share) for share in places]
        return [(top - top % GRID_MULTIPLE, GRID_MULTIPLE) for top in tops]

    def _raw(self, band: str, top: int, height: int, needed: Runs | None = None) -> NDArray[Any]:
        metres = self.alignment.pixel_metres[band]
        row, column = self.first or (0, 0)
        runs = needed and [
            (a * GRID_METRES // metres, -(-b * GRID_METRES // metres)) for a, b in needed
        ]
        return self.found.sources[band].read_rows(
            (row + top) * GRID_METRES // metres,
            height * GRID_METRES // metres,
            (column * GRID_METRES // metres, (column + self.grid.width) * GRID_METRES // metres),
            runs,
        )

    def read(self, band: str, top: int, height: int, needed: Runs | None = None) -> NDArray[Any]:
        """Return a strip of a band at the size of its stored pixels, as `known` returns it.

        Outside of the runs of columns that are needed, by default all, it may be 0.
        """
        return self.known(band, self._raw(band, top, height, needed))

    def known(self, band: str, stored: NDArray[Any]) -> NDArray[Any]:
        """Return stored numbers with 0 for those that are no measurement."""
        bad = self._bad(band, stored)
        plain = np.ma.getdata(stored)
        return plain if bad is None else np.where(bad, plain.dtype.type(0), plain)

    def _bad(self, band: str, stored: NDArray[Any]) -> NDArray[np.bool_] | None:
        source = self.found.sources[band]
        if band == CLASSIFICATION:
            bad = np.ma.getmaskarray(stored) | (np.ma.getdata(stored) == (source.nodata or 0))
            return bad if bad.any() else None
        nodata = self.found.no_data if source.nodata is None else source.nodata
        return bad_numbers(stored, nodata, self.found.scaling[band], source.name)

    def classified(self, top: int, height: int) -> NDArray[np.uint8]:
        """Return what each pixel of a strip is by the scene classification alone."""
        if CLASSIFICATION not in self.found.sources:
            return np.full((height, self.grid.width), GOOD, np.uint8)
        classes = self.read(CLASSIFICATION, top, height)
        return self.expanded(CLASSIFICATION, mask_of(classes, self.found.name))

    def mask(
        self,
        bands: Iterable[str],
        in_use: Iterable[str],
        top: int,
        height: int,
        needed: Runs | None = None,
    ) -> NDArray[np.uint8]:
        """Return what each pixel of a strip is, [height, width] at 10 m; see `reben.scene.masks`.

        Args:
            bands: All optical bands; where none has data, there is none.
            in_use: Those whose own defects count.
            top: First row of the 10 m grid.
            height: Rows of the 10 m grid.
            needed: Where they count, as runs of columns; by default everywhere.
        """
        mask = self.classified(top, height)
        runs = [(0, self.grid.width)] if needed is None else needed
        used = sorted(in_use, key=native_metres) if runs else []
        empty = self._unmeasured(mask != NO_DATA, bands, used, top, runs)
        inside = np.zeros(self.grid.width, np.bool_)
        for start, stop in runs:
            inside[start:stop] = True
        for band in used:
            saturated, missing = self._defects(band, top, height, runs)
            if saturated is not None:
                mask[self.expanded(band, saturated) & inside] = OBSCURED
            if missing is not None:
                empty |= self.expanded(band, missing) & inside
        mask[empty] = NO_DATA
        return mask

    def _defects(
        self, band: str, top: int, height: int, needed: Runs
    ) -> tuple[NDArray[np.bool_] | None, NDArray[np.bool_] | None]:
        """Return where a band is saturated, and where it alone has no data; None for nowhere."""
        stored = self._raw(band, top, height, needed)
        numbers = np.ma.getdata(stored)
        wrong = [self._bad(band, stored)]
        zero = numbers == 0
        # Where an offset is still to come, no dark pixel is 0; and no band is 0 all over a strip.
        offset = self.found.scaling[band].offset
        if offset or (zero.all() and not np.ma.getdata(self._raw(band, top, height)).any()):
            wrong.append(zero)
        saturated = None
        if numbers.max(initial=0) >= min(self.found.saturated, *WRAPPED):
            saturated = numbers == self.found.saturated
            wrong += [numbers == value for value in WRAPPED if value != self.found.saturated]
        found = [mask for mask in wrong if mask is not None]
        return saturated, np.logical_or.reduce(found) if found else None

    def expanded(self, band: str, pixels: NDArray[Any]) -> NDArray[Any]:
        """Return stored pixels of a band repeated to those of 10 m."""
        factor = self.alignment.pixel_metres[band] // GRID_METRES
        return pixels if factor == 1 else pixels.repeat(factor, axis=0).repeat(factor, axis=1)

    def _unmeasured(
        self,
        empty: NDArray[np.bool_],
        bands: Iterable[str],
        used: Sequence[str],
        top: int,
        needed: Runs,
    ) -> NDArray[np.bool_]:
        """Return which pixels of some of a strip, [height, width], none of the bands measured."""
        # What is decoded anyway, then what is decoded quickest: mostly a pixel of 60 m is enough.
        empty = empty.copy()
        others = sorted(bands, key=native_metres, reverse=True)
        for band, known in [*((band, needed) for band in used), *((band, None) for band in others)]:
            where = runs_of(np.any(empty, axis=0)) if known is None else known
            if not empty.any():
                break
            stored = self.read(band, top, len(empty), where)
            empty &= self.expanded(band, stored == 0)
        return empty


def runs_of(is_needed: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Return the first and last place of each run that is true, the last one excluded.

    Example:
        >>> runs_of(np.array([True, True, False, True]))
        [(0, 2), (3, 4)]
    """
    edges = np.flatnonzero(np.diff(is_needed, prepend=False, append=False))
    return [(int(start), int(stop)) for start, stop in edges.reshape(-1, 2)]
