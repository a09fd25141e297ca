"""Backscatter of Sentinel-1: in which unit a source gives it, and dB on the grid of a scene.

Interpolation is done in linear power, where means mean something, and only its result is brought
to dB. Positions are right to an eighth of a pixel, which is GDAL's way of being quick. Of what has
no data nothing is interpolated; a pixel without any gets the mean of the data set that the models
were trained on, which normalises to 0, and the mask says that it is not real.
"""

import math
import re
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from reben.errors import GridError, ProductError, UnknownUnitError
from reben.scene.band_file import import_rasterio
from reben.scene.grid import GRID_METRES, Grid
from reben.scene.sources import BandSource, Transform
from reben.spec.statistics import published_statistics

Unit = Literal["db", "linear"]
UNITS: tuple[Unit, ...] = ("db", "linear")

_WORDS: Mapping[str, re.Pattern[str]] = {
    "db": re.compile(r"(?<![a-z])(db|decibels?)(?![a-z])", re.IGNORECASE),
    "linear": re.compile(r"(?<![a-z])(linear|power|intensity)(?![a-z])", re.IGNORECASE),
    "amplitude": re.compile(r"(?<![a-z])amplitude(?![a-z])", re.IGNORECASE),
}
_MARGIN_PIXELS = 3


def unit_of(name: str, words: Mapping[str, str], given: Unit | None) -> Unit:
    """Return the unit of backscatter by what its metadata say, or by what the user says.

    Args:
        name: What it is called in error messages.
        words: Key -> text of metadata: units, descriptions, tags.
        given: What the user says.

    Raises:
        UnknownUnitError: If nobody says it, metadata say several units, amplitude, or another one
            than the user.

    Example:
        >>> unit_of("VV.tif", {"description": "sigma0 VV [dB]"}, None)
        'db'
    """
    said = {
        unit: f"{key} is {text!r}"
        for unit, pattern in _WORDS.items()
        for key, text in words.items()
        if pattern.search(text)
    }
    if "amplitude" in said:
        raise UnknownUnitError(
            f"{name} holds amplitude ({said['amplitude']}); the models need power in dB. Square it "
            "first, and say sentinel1_unit='linear'."
        )
    if given is not None:
        other = [text for unit, text in said.items() if unit != given]
        if other and given not in said:
            raise UnknownUnitError(
                f"sentinel1_unit is {given!r}, but {name} says otherwise: {other[0]}. Leave it "
                "out, or put the metadata of the file right."
            )
        return given
    if len(said) != 1:
        reason = "; ".join(said.values()) if said else "no unit, description or tag says it"
        raise UnknownUnitError(
            f"Whether {name} is in dB or linear power is not clear: {reason}. Say it: "
            "sentinel1_unit='db' or sentinel1_unit='linear' (--sentinel1-unit)."
        )
    return "db" if "db" in said else "linear"


class WarpedBand:
    """One polarisation, warped to the grid of a scene.

    Args:
        source: What it is read from; in any reference system, north-up.
        grid: Where it is needed.
        unit: The unit of the source's values.
        band: VV or VH.

    Raises:
        GridError: If the source does not touch the grid.
        ProductError: If its values are whole numbers: those are not calibrated.
        UnknownUnitError: If its values cannot be of the unit.
    """

    def __init__(self, source: BandSource, grid: Grid, unit: Unit, band: str) -> None:
        self.source, self.grid, self.unit = source, grid, unit
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
        values = stored.astype(np.float32)
        values[~self._has_data(values)] = np.nan
        if self.unit == "linear":
            return values
        power: NDArray[np.float32] = np.power(np.float32(10), values / 10)
        return power

    def _has_data(self, values: NDArray[Any]) -> NDArray[np.bool_]:
        # 0 is what programs fill with, also in dB, where hardly a pixel measures it exactly.
        there: NDArray[np.bool_] = np.isfinite(values) & (values != 0)
        if self.source.nodata is not None:
            there &= values != np.float32(self.source.nodata)
        return there

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
        ground_top = self.grid.top - top * GRID_METRES
        ground_bottom = ground_top - height * GRID_METRES
        bounds = (self.grid.left, ground_bottom, self.grid.bounds[2], ground_top)
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
                f"{upper:g} in {self.source.placement.crs[:40]}, and the scene "
                f"{self.grid.bounds} in {self.grid.crs}. Take the product of the same place."
            )

    def _check_values(self) -> None:
        height = min(60, self.grid.height)
        for share in (0.5, 0.25, 0.75):
            top = int((self.grid.height - height) * share)
            found = self._stored_around(top, height)
            if found is not None:
                self._check_unit(found[0])

    def _check_unit(self, stored: NDArray[Any]) -> None:
        name = self.source.name
        if stored.dtype.kind != "f":
            raise ProductError(
                f"{name} holds whole numbers ({stored.dtype}): digital numbers that were not "
                "calibrated. Calibrate them to sigma0 or gamma0 first, with SNAP for example, or "
                "take an RTC product."
            )
        values = stored[self._has_data(stored)]
        if values.size == 0:
            return
        smallest = float(values.min())
        if self.unit == "linear" and smallest < 0:
            raise UnknownUnitError(
                f"{name} is said to be linear power, but has the value {smallest:.4g}; power is "
                "never negative. If it is in dB, say sentinel1_unit='db'."
            )
        if self.unit == "db" and smallest > 0:
            raise UnknownUnitError(
                f"{name} is said to be in dB, but has no value below {smallest:.4g}; land and "
                "water are mostly at -5 to -30 dB. If it is linear power, say "
                "sentinel1_unit='linear'."
            )


class Sentinel1:
    """Both polarisations on the grid of a scene; a `reben.scene.band_scene.Backscatter`."""

    def __init__(self, warped: Mapping[str, WarpedBand]) -> None:
        self._warped = warped

    @property
    def bands(self) -> tuple[str, ...]:
        """The polarisations there are."""
        return tuple(self._warped)

    def read(self, band: str, top: int, height: int) -> tuple[NDArray[np.float32], NDArray[Any]]:
        """Return dB [height, width] of a strip, and whether each pixel was measured."""
        return self._warped[band].read(top, height)

    def close(self) -> None:
        """Let go of what is held open."""
        for warped in self._warped.values():
            warped.source.close()


def _range(first: float, last: float, size: int) -> range:
    if not (math.isfinite(first) and math.isfinite(last)):
        return range(0)  # where the other reference system has no numbers
    return range(
        max(0, math.floor(first) - _MARGIN_PIXELS), min(size, math.ceil(last) + _MARGIN_PIXELS)
    )
