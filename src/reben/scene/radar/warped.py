"""Backscatter of one polarisation, warped to the grid of a scene.

Backscatter is interpolated in linear power, where averages are meaningful; only the result is
converted to dB. Positions are accurate to an eighth of a pixel, GDAL's default. Nothing is
interpolated from pixels without data; those get the mean of the training data, which normalises to
0, and the mask marks them.
"""

import math
from collections.abc import Mapping
from copy import copy
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from reben.data.values import RANGES, bad_pixels
from reben.errors import (
    GridError,
    ProductError,
    UnknownUnitError,
)
from reben.scene.band_source import import_rasterio
from reben.scene.grid import GRID_METRES, Grid
from reben.scene.radar.backscatter import (
    Backscatter,
    Unit,
)
from reben.scene.sources import BandSource, Placement
from reben.scene.warping.strips import Warp
from reben.spec.statistics import published_statistics

if TYPE_CHECKING:
    pass

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
        on_grid = Placement(grid.crs, grid.transform, grid.width, grid.height)
        self._warping = Warp(source.placement, on_grid)
        self._refuse_elsewhere()
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
        return self._warping.source_metres

    @cached_property
    def is_on_grid(self) -> bool:
        """Whether its pixels are those of the grid, to a hundredth of one, so that none is warped.

        The grid may leave out rows and columns at its right and lower edges.
        """
        placement, grid = self.source.placement, self.grid
        as_crs = import_rasterio().crs.CRS.from_user_input
        sides = placement.width - grid.width, placement.height - grid.height
        a, _, left, _, e, top = placement.transform
        across = left - grid.left, left + a * grid.width - grid.bounds[2]
        down = top - grid.top, top + e * grid.height - grid.bounds[1]
        return (
            min(sides) >= 0
            and as_crs(placement.crs) == as_crs(grid.crs)
            and all(abs(metres) <= GRID_METRES / 100 for metres in (*across, *down))
        )

    def _warp(self, top: int, height: int) -> NDArray[np.float32]:
        if self.is_on_grid:
            return self._to_power(self.source.read_rows(top, height, (0, self.grid.width)))
        return self._warping.warp(
            lambda rows, columns: self._to_power(self._stored_in(rows, columns)), top, height
        )

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

    def _stored_in(self, rows: range, columns: range) -> NDArray[Any]:
        return self.source.read_rows(rows.start, len(rows))[:, columns.start : columns.stop]

    def _refuse_elsewhere(self) -> None:
        a, b, left, d, e, upper = self.source.placement.transform
        if b or d or a <= 0 or e >= 0:
            raise GridError(
                f"{self.source.name} is rotated or not north-up: its transform is "
                f"{self.source.placement.transform}. Warp it first: gdalwarp -t_srs "
                f"{self.grid.crs} -tr 10 10 -tap -r bilinear IN.tif OUT.tif"
            )
        if not all(self._warping.window(0, self.grid.height)):
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
            window = self._warping.window(top, height)
            if all(window):
                stored = self._stored_in(*window)
                self._check_unit(stored)
                power = self._to_power(stored)
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
