"""Backscatter of one polarisation, warped to the grid of a scene.

Backscatter is interpolated in linear power, where averages are meaningful; only the result is
converted to dB. Positions are accurate to an eighth of a pixel, GDAL's default. Nothing is
interpolated from pixels without data; those get the mean of the training data, which normalises to
0, and the mask marks them.
"""

import math
from collections.abc import Mapping
from copy import copy
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from reben.data.places import ground_size
from reben.data.values import RANGES, bad_pixels
from reben.errors import (
    GridError,
    ProductError,
    UnknownUnitError,
)
from reben.scene.band_source import import_rasterio
from reben.scene.grid import Grid
from reben.scene.radar.backscatter import (
    Backscatter,
    Unit,
)
from reben.scene.sources import BandSource, Transform
from reben.spec.statistics import published_statistics

if TYPE_CHECKING:
    pass

_MARGIN_PIXELS = 3
_LEAST_POWER, _MOST_POWER = (10 ** (db / 10) for db in RANGES["Sentinel-1"])
_FILL_BELOW = -1000  # no dB, so what a negative number of this size stands for is no data


class WarpedBand:
    """One polarisation, warped to the grid of a scene.

    Args:
        source: Its source, north-up in any reference system.
        grid: The grid of the scene.
        unit: The unit of the source's values.
        band: VV or VH.
    """

    def __init__(self, source: BandSource, grid: Grid, unit: Unit, band: str) -> None:
        self.source, self.grid, self.unit, self.band = source, grid, unit, band
        self._fill = np.float32(published_statistics(size=120, upsampling="nearest").mean[band])
        self._last: tuple[tuple[int, int], NDArray[np.float32], NDArray[np.bool_]] | None = None
        self._refuse_elsewhere()
        self._scale = self._pixels_per_source_pixel()
        self._check_values()

    def read(self, top: int, height: int) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Return dB [height, width] of a strip, and whether each pixel was measured."""
        last = self._last
        if last is not None and last[0] == (top, height):
            return last[1], last[2]
        power = self._warp(top, height)
        measured = power > 0  # False for NaN
        decibels = np.full(power.shape, self._fill, np.float32)
        np.log10(power, out=decibels, where=measured)
        np.multiply(decibels, 10, out=decibels, where=measured)
        self._last = ((top, height), decibels, measured)
        return decibels, measured

    @property
    def pixel_metres(self) -> tuple[float, float]:
        """Width and height of a pixel of the source on the ground, in the middle of the scene."""
        from rasterio.warp import transform

        left, bottom, right, top = self.grid.bounds
        placement = self.source.placement
        (x,), (y,) = transform(
            self.grid.crs, placement.crs, [(left + right) / 2], [(bottom + top) / 2]
        )
        a, _, _, _, e, _ = placement.transform
        across, along = 50 * a, 50 * e  # enough pixels to be measured
        sides = ground_size(placement.crs, x - across, y + along, x + across, y - along)
        return sides[0] / 100, sides[1] / 100

    def _warp(self, top: int, height: int) -> NDArray[np.float32]:
        rasterio = import_rasterio()
        from rasterio.warp import Resampling, reproject

        warped = np.full((height, self.grid.width), np.nan, np.float32)
        found = self._stored_around(top, height)
        if found is None:
            return warped
        stored, transform = found
        reproject(
            self._to_power(stored),
            warped,
            src_transform=rasterio.Affine(*transform),
            src_crs=self.source.placement.crs,
            src_nodata=np.nan,
            dst_transform=rasterio.Affine(*self._transform_of_rows(top)),
            dst_crs=self.grid.crs,
            dst_nodata=np.nan,
            resampling=Resampling.bilinear,
            **self._scale,  # else GDAL takes it from the strip's outline, and blurs what is turned
        )
        return warped

    def _to_power(self, stored: NDArray[Any]) -> NDArray[np.float32]:
        values = np.ma.getdata(stored).astype(np.float32)
        values[~self._has_data(stored)] = np.nan
        if self.unit == "linear":
            return values
        power: NDArray[np.float32] = np.power(np.float32(10), values / 10)
        return power

    def _has_data(self, stored: NDArray[Any]) -> NDArray[np.bool_]:
        values = np.ma.getdata(stored).astype(np.float32)
        # 0 is what programs fill with, also in dB, where hardly a pixel measures it exactly.
        there: NDArray[np.bool_] = np.isfinite(values) & (values != 0) & ~np.ma.getmaskarray(stored)
        if self.unit == "linear":
            there &= (values >= _LEAST_POWER) & (values <= _MOST_POWER)
            if self.source.nodata is not None:
                there &= values != np.float32(self.source.nodata)
            return there
        bad = bad_pixels(self.band, values, self.source.nodata)
        return there if bad is None else there & ~bad

    def _stored_around(self, top: int, height: int) -> tuple[NDArray[Any], Transform] | None:
        rows, columns = self._window(top, height)
        if not rows or not columns:
            return None
        stored = self.source.read_rows(rows.start, len(rows))[:, columns.start : columns.stop]
        a, _, left, _, e, upper = self.source.placement.transform
        return stored, (a, 0.0, left + columns.start * a, 0.0, e, upper + rows.start * e)

    def _window(self, top: int, height: int) -> tuple[range, range]:
        from rasterio.warp import transform_bounds

        placement = self.source.placement
        a, _, left, _, e, upper = placement.transform
        right, ground_bottom = self.grid.point(self.grid.width, top + height)
        bounds = (self.grid.left, ground_bottom, right, self.grid.point(0, top)[1])
        west, south, east, north = transform_bounds(self.grid.crs, placement.crs, *bounds)
        rows = _range((north - upper) / e, (south - upper) / e, placement.height)
        return rows, _range((west - left) / a, (east - left) / a, placement.width)

    def _pixels_per_source_pixel(self) -> dict[str, float]:
        from rasterio.warp import transform

        left, bottom, right, top = self.grid.bounds
        middle = (left + right) / 2, (top + bottom) / 2
        eastings = [left, right, middle[0], middle[0]]
        northings = [middle[1], middle[1], bottom, top]
        a, _, _, _, e, _ = self.source.placement.transform
        x, y = transform(self.grid.crs, self.source.placement.crs, eastings, northings)
        across = math.hypot((x[1] - x[0]) / a, (y[1] - y[0]) / e)
        along = math.hypot((x[3] - x[2]) / a, (y[3] - y[2]) / e)
        return {"XSCALE": self.grid.width / across, "YSCALE": self.grid.height / along}

    def _transform_of_rows(self, top: int) -> Transform:
        a, b, left, d, e, upper = self.grid.transform
        return (a, b, left, d, e, upper + top * e)

    def _refuse_elsewhere(self) -> None:
        a, b, left, d, e, upper = self.source.placement.transform
        if b or d or a <= 0 or e >= 0:
            raise GridError(
                f"{self.source.name} is rotated or not north-up: its transform is "
                f"{self.source.placement.transform}. Warp it first: gdalwarp -t_srs "
                f"{self.grid.crs} -tr 10 10 -tap -r bilinear IN.tif OUT.tif"
            )
        if not all(self._window(0, self.grid.height)):
            right = left + a * self.source.placement.width
            lower = upper + e * self.source.placement.height
            raise GridError(
                f"{self.source.name} lies elsewhere: it covers {left:g} to {right:g}, {lower:g} to "
                f"{upper:g} in {self.source.placement.crs[:40]}, the scene {self.grid.bounds} in "
                f"{self.grid.crs}. Use a product of the same place."
            )

    @property
    def typical_db(self) -> float:
        """The median of the rows that were looked at first, in dB; NaN if they have no data."""
        return self._typical_db

    def _check_values(self) -> None:
        medians = []
        height = min(60, self.grid.height)
        for share in (0.5, 0.25, 0.75):
            top = int((self.grid.height - height) * share)
            found = self._stored_around(top, height)
            if found is not None:
                self._check_unit(found[0])
                power = self._to_power(found[0])
                if np.isfinite(power).any():
                    medians.append(10 * math.log10(float(np.nanmedian(power))))
        self._typical_db = float(np.median(medians)) if medians else math.nan

    def _check_unit(self, stored: NDArray[Any]) -> None:
        name = self.source.name
        if stored.dtype.kind != "f":
            raise ProductError(
                f"{name} holds integers ({stored.dtype}): digital numbers that are not calibrated. "
                "Calibrate them to sigma0 or gamma0 first, for example with SNAP, or use an RTC "
                "product."
            )
        if self.unit == "linear":
            stored = np.ma.filled(stored, np.nan)
            there = np.isfinite(stored) & (stored != (self.source.nodata or 0))
            values = stored[there & (stored >= _FILL_BELOW)]
        else:
            values = np.ma.getdata(stored)[self._has_data(stored)]
        if values.size == 0:
            return
        smallest = float(values.min())
        if self.unit == "linear" and smallest < 0:
            raise UnknownUnitError(
                f"{name} is declared as linear power but has the value {smallest:.4g}; power is "
                "never negative. If it is in dB, pass sentinel1_unit='db'."
            )
        if self.unit == "db" and smallest > 0:
            raise UnknownUnitError(
                f"{name} is declared as dB but has no value below {smallest:.4g}; land and water "
                "are mostly at -5 to -30 dB. If it is linear power, pass sentinel1_unit='linear'."
            )


class Sentinel1:
    """Both polarisations on the grid of a scene, and what is known of them."""

    def __init__(self, warped: Mapping[str, WarpedBand], known: Backscatter) -> None:
        self._warped = warped
        self.known = known
        self._top, self._columns = 0, slice(None)

    def cut(self, top: int, left: int, width: int) -> Self:
        """Return a part of it that begins at a row and column; warped as a whole, as ever."""
        part = copy(self)
        first = left + (self._columns.start or 0)
        part._top, part._columns = self._top + top, slice(first, first + width)
        return part

    @property
    def bands(self) -> tuple[str, ...]:
        """The polarisations."""
        return tuple(self._warped)

    def read(self, band: str, top: int, height: int) -> tuple[NDArray[np.float32], NDArray[Any]]:
        """Return dB [height, width] of a strip, and whether each pixel was measured."""
        decibels, measured = self._warped[band].read(self._top + top, height)
        return decibels[:, self._columns], measured[:, self._columns]

    def close(self) -> None:
        """Close the files."""
        for warped in self._warped.values():
            warped.source.close()


def _range(first: float, last: float, size: int) -> range:
    if not (math.isfinite(first) and math.isfinite(last)):
        return range(0)  # where the other reference system has no numbers
    return range(
        max(0, math.floor(first) - _MARGIN_PIXELS), min(size, math.ceil(last) + _MARGIN_PIXELS)
    )
