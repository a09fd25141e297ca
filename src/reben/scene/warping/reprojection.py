"""Bands of any reference system, brought to the UTM zone of their place while they are read."""

import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from reben.data.values import WRAPPED
from reben.errors import cut
from reben.scene.band_names import CLASSIFICATION, native_metres
from reben.scene.masks import bad_numbers
from reben.scene.offset import OffsetAndScale, ScaleStatement
from reben.scene.row_blocks import Runs
from reben.scene.sources import BandSource, BandSources, Placement, Size
from reben.scene.warping.strips import Warp
from reben.scene.warping.target import COARSE, require_fine, utm_edges

logger = logging.getLogger(__name__)

_BLOCK = 1024
_MOST_PIXELS = 2**23


class ReprojectedBand:
    """A band on another grid; a `reben.scene.sources.BandSource`.

    The classification takes the nearest pixel. Other bands are interpolated bilinearly, from pixels
    with data alone: those that are masked, declared as no data, no reflectance, or 0 (unless
    something else is declared as no data) have none. Saturated pixels stay what they are.

    Args:
        source: The band as it is.
        target: Where its pixels shall lie.
        scaling: How its numbers become reflectances; None for the classification.
        saturated: The value of saturated pixels.
    """

    path = ""
    nodata = None

    def __init__(
        self,
        source: BandSource,
        target: Placement,
        scaling: OffsetAndScale | None,
        saturated: float,
    ) -> None:
        self.name, self.placement = source.name, target
        self._source, self._scaling = source, scaling
        self._odd = (saturated, *WRAPPED)
        self._warp = Warp(source.placement, target)
        self._last: tuple[tuple[Any, ...], NDArray[Any]] | None = None

    @property
    def statements(self) -> tuple[ScaleStatement, ...]:
        """What the source itself states about its numbers."""
        return self._source.statements

    @property
    def words(self) -> Mapping[str, str]:
        """Texts of the metadata of the source."""
        return self._source.words

    def read_rows(
        self,
        top: int,
        height: int,
        columns: tuple[int, int] | None = None,
        needed: Runs | None = None,
    ) -> NDArray[Any]:
        """Return rows [height, width]; masked where there are no data."""
        wanted = (top, height, columns)
        last = self._last  # a strip is read for its pixels, and then for its mask
        if last is None or last[0] != wanted:
            self._last = last = wanted, self._read(top, height, columns)
        return last[1]

    def read_small(self, size: Size, shape: Size) -> NDArray[Any] | None:
        """Return nothing: all of it would have to be warped."""
        return None

    def close(self) -> None:
        """Close the source."""
        self._source.close()

    def _read(self, top: int, height: int, columns: tuple[int, int] | None) -> NDArray[Any]:
        first, stop = columns or (0, self.placement.width)
        down, across = self._warp.window(top, height, columns)
        if len(down) * len(across) > _MOST_PIXELS and stop - first > 1:
            # The image is turned, so that a narrower strip needs fewer of its rows.
            middle = (first + stop) // 2
            halves = [self._read(top, height, edges) for edges in ((first, middle), (middle, stop))]
            joined: NDArray[Any] = cast("Any", np.ma.concatenate)(halves, axis=1)
            return joined
        stored: dict[str, NDArray[Any]] = {}

        def read(rows: range, across: range) -> NDArray[np.float32]:
            # Whole columns of blocks, so that the next strip finds what was decoded for this one.
            first = across.start // _BLOCK * _BLOCK
            stop = min(-(-across.stop // _BLOCK) * _BLOCK, self._source.placement.width)
            whole = self._source.read_rows(rows.start, len(rows), (first, stop))
            stored["there"] = whole[:, across.start - first : across.stop - first]
            return self._without(stored["there"], self._has_none(stored["there"]))

        if self._scaling is None:
            warped = self._warp.warp(read, top, height, columns, nearest=True)
        else:
            warped = self._warp.warp(read, top, height, columns)
            odd = {key: self._is_odd(values) for key, values in stored.items()}
            if any(where.any() for where in odd.values()):

                def read_odd(_rows: range, _across: range) -> NDArray[np.float32]:
                    return self._without(stored["there"], ~odd["there"])

                odd_there = self._warp.warp(read_odd, top, height, columns, nearest=True)
                warped = np.where(np.isnan(odd_there), warped, odd_there)
        missing = np.isnan(warped)
        return np.ma.masked_array(np.where(missing, np.float32(0), warped), missing)

    def _has_none(self, stored: NDArray[Any]) -> NDArray[np.bool_]:
        values, nodata = np.ma.getdata(stored), self._source.nodata
        bad: NDArray[np.bool_] = np.ma.getmaskarray(stored).copy()
        if not nodata:
            bad |= values == 0
        if self._scaling is None:
            bad |= values == nodata
            return bad
        worse = bad_numbers(stored, nodata, self._scaling, self.name)
        bad |= self._is_odd(stored)
        return bad if worse is None else bad | worse

    def _is_odd(self, stored: NDArray[Any]) -> NDArray[np.bool_]:
        values = np.ma.getdata(stored)
        if values.max(initial=0) < min(self._odd):
            return np.zeros(values.shape, np.bool_)
        return np.isin(values, self._odd)

    @staticmethod
    def _without(stored: NDArray[Any], where: NDArray[np.bool_]) -> NDArray[np.float32]:
        return np.where(where, np.float32(np.nan), np.ma.getdata(stored).astype(np.float32))


def reprojected(found: BandSources) -> BandSources:
    """Return bands on a grid of the UTM zone of their place.

    Every band gets its own pixel size, and all the same corner, a multiple of 60 m.

    Raises:
        GridError: If the place is not known, or the pixels are coarser than those of a band.
    """
    zone, (left, bottom, right, top) = utm_edges(found.sources)
    warped: dict[str, ReprojectedBand] = {}
    told, coarse = "", []
    for band, source in found.sources.items():
        across, down = require_fine(band, source)
        told = told or f"{band}: pixels of {across:.2f} x {down:.2f} m on the ground"
        metres = native_metres(band)
        if max(across, down) > COARSE * metres:
            coarse.append(f"{band} ({max(across, down):.0f} m)")
        transform = (float(metres), 0.0, left, 0.0, -float(metres), top)
        size = round((right - left) / metres), round((top - bottom) / metres)
        target = Placement(zone, transform, *size)
        warped[band] = ReprojectedBand(source, target, found.scaling.get(band), found.saturated)
    crs = next(iter(found.sources.values())).placement.crs
    told = f"from {cut(crs)} ({told}), bilinear"
    if CLASSIFICATION in warped:
        told += ", classification nearest"
    if coarse:
        told += f"; coarser than the bands are by nature: {', '.join(coarse)}"
    logger.warning("%s is warped to %s while it is read, %s.", found.name, zone, told)
    return replace(found, sources=warped, about={**found.about, "reprojected": told})
