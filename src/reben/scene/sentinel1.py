"""Sentinel-1 for a scene: calibrated, geocoded backscatter, VV and VH by name, in dB on its grid.

Backscatter is interpolated in linear power, where averages are meaningful; only the result is
converted to dB. Positions are accurate to an eighth of a pixel, GDAL's default. Nothing is
interpolated from pixels without data; those get the mean of the training data, which normalises to
0, and the mask marks them.
"""

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from reben.errors import (
    ConfigError,
    GridError,
    MissingBandError,
    ProductError,
    ProductLevelError,
    UnknownUnitError,
)
from reben.scene.arrays import BandArray, named_arrays
from reben.scene.band_names import band_files
from reben.scene.band_source import BandFile, BandSource, Transform, import_rasterio
from reben.scene.grid import GRID_METRES, Grid
from reben.scene.mission import require_mission
from reben.scene.stac import Item, is_web_address, looks_like_item, open_item
from reben.spec.bands import S1
from reben.spec.statistics import published_statistics

if TYPE_CHECKING:
    from xarray import Dataset

Unit = Literal["db", "linear"]
UNITS: tuple[Unit, ...] = ("db", "linear")

_WORDS: Mapping[str, re.Pattern[str]] = {
    "db": re.compile(r"(?<![a-z])(db|decibels?)(?![a-z])", re.IGNORECASE),
    "linear": re.compile(r"(?<![a-z])(linear|power|intensity)(?![a-z])", re.IGNORECASE),
    "amplitude": re.compile(r"(?<![a-z])amplitude(?![a-z])", re.IGNORECASE),
}
_MARGIN_PIXELS = 3


def unit_of(name: str, words: Mapping[str, str], given: Unit | None) -> Unit:
    """Return the unit of backscatter by its metadata or by the user.

    Args:
        name: Its name in error messages.
        words: Key -> text of metadata: units, descriptions, tags.
        given: The user's unit.

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
            "first, and pass sentinel1_unit='linear'."
        )
    if given is not None:
        other = [text for unit, text in said.items() if unit != given]
        if other and given not in said:
            raise UnknownUnitError(
                f"sentinel1_unit is {given!r}, but {name} says otherwise: {other[0]}. Leave it "
                "out, or correct the metadata of the file."
            )
        return given
    if len(said) != 1:
        reason = "; ".join(said.values()) if said else "no unit, description or tag says so"
        raise UnknownUnitError(
            f"It is not clear whether {name} is in dB or linear power: {reason}. Pass "
            "sentinel1_unit='db' or sentinel1_unit='linear' (--sentinel1-unit)."
        )
    return "db" if "db" in said else "linear"


class WarpedBand:
    """One polarisation, warped to the grid of a scene.

    Args:
        source: Its source, north-up in any reference system.
        grid: The grid of the scene.
        unit: The unit of the source's values.
        band: VV or VH.
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
                f"{upper:g} in {self.source.placement.crs[:40]}, the scene {self.grid.bounds} in "
                f"{self.grid.crs}. Use a product of the same place."
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
                f"{name} holds integers ({stored.dtype}): digital numbers that are not calibrated. "
                "Calibrate them to sigma0 or gamma0 first, for example with SNAP, or use an RTC "
                "product."
            )
        values = stored[self._has_data(stored)]
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
    """Both polarisations on the grid of a scene."""

    def __init__(self, warped: Mapping[str, WarpedBand]) -> None:
        self._warped = warped

    @property
    def bands(self) -> tuple[str, ...]:
        """The polarisations."""
        return tuple(self._warped)

    def read(self, band: str, top: int, height: int) -> tuple[NDArray[np.float32], NDArray[Any]]:
        """Return dB [height, width] of a strip, and whether each pixel was measured."""
        return self._warped[band].read(top, height)

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


# The name of a product as ESA distributes it, also of a zip of one.
_LEVEL_1_NAME = re.compile(r"S1[A-D]_(S[1-6]|IW|EW|WV)_(GRD|SLC|RAW).*\.(SAFE|zip)$", re.IGNORECASE)
_ASSET_WORDS = ("unit", "raster:unit", "title", "description")


def open_sentinel1(
    product: "str | Path | Mapping[str, Any] | Dataset", grid: Grid, unit: Unit | None = None
) -> tuple[Sentinel1, dict[str, str]]:
    """Return VV and VH on the grid of a scene, and facts about them for provenance.

    Args:
        product: A folder of files named by VV and VH, a mapping of such files, a STAC item (file,
            URL or mapping), or a Dataset with VV and VH.
        grid: The grid of the scene.
        unit: "db" or "linear", if the product does not state it.
    """
    if unit is not None and unit not in UNITS:
        raise ConfigError(f"sentinel1_unit must be one of {', '.join(UNITS)}, not {unit!r}.")
    name, sources, words = _sources_of(product)
    try:
        _require_both(name, sources)
        warped = {}
        for band in S1:
            _refuse_radar_geometry(sources[band])
            told = {**words.get(band, {}), **sources[band].words}
            warped[band] = WarpedBand(
                sources[band], grid, unit_of(sources[band].name, told, unit), band
            )
    except Exception:
        for source in sources.values():
            source.close()
        raise
    units = sorted({band.unit for band in warped.values()})
    return Sentinel1(warped), {"sentinel1": name, "sentinel1_unit": " and ".join(units)}


def _sources_of(
    product: "str | Path | Mapping[str, Any] | Dataset",
) -> tuple[str, dict[str, BandSource], dict[str, Mapping[str, str]]]:
    if isinstance(product, str | Path):
        return _from_path(product)
    if isinstance(product, Mapping) and not hasattr(product, "data_vars"):
        if looks_like_item(product):
            return _from_item(open_item(product))
        if all(isinstance(value, str | Path) for value in product.values()):
            files = {str(band).upper(): str(path) for band, path in product.items()}
            return (
                "Sentinel-1 files",
                {band: BandFile(files[band]) for band in S1 if band in files},
                {},
            )
    arrays, attributes, crs = named_arrays(product)
    require_mission("The Sentinel-1 Dataset", attributes, "Sentinel-1")
    sources: dict[str, BandSource] = {
        band: BandArray(arrays[band], f"{band} of the Sentinel-1 Dataset", crs)
        for band in S1
        if band in arrays
    }
    words = {key: value for key, value in attributes.items() if isinstance(value, str)}
    named = str(attributes.get("name", "a Sentinel-1 Dataset"))
    return named, sources, dict.fromkeys(sources, words)


def _from_path(
    product: str | Path,
) -> tuple[str, dict[str, BandSource], dict[str, Mapping[str, str]]]:
    if isinstance(product, str) and is_web_address(product):
        return _from_item(open_item(product))
    path = Path(product)
    if not path.exists():
        raise ProductError(f"No Sentinel-1 product at {product}. Check the path.")
    _refuse_safe(path)
    if path.is_dir():
        files = band_files(path, S1)
        return path.name, {band: BandFile(str(files[band])) for band in S1 if band in files}, {}
    if path.suffix.lower() in {".json", ".geojson"}:
        return _from_item(open_item(path))
    raise ProductError(
        f"{product} is not a known kind of Sentinel-1 product. Pass a folder with files named "
        "..._VV and ..._VH, or a STAC item (.json)."
    )


def _from_item(item: Item) -> tuple[str, dict[str, BandSource], dict[str, Mapping[str, str]]]:
    require_mission(item.id, item.properties, "Sentinel-1")
    sources: dict[str, BandSource] = {}
    words: dict[str, Mapping[str, str]] = {}
    for key, asset in item.assets.items():
        band = key.upper()
        if band not in S1:
            continue
        href = str(asset["href"])
        sources[band] = BandFile(item.raster_path(href), item.shown(href))
        listed = asset.get("raster:bands") or asset.get("bands") or [{}]
        fields = {**asset, **(listed[0] if isinstance(listed[0], Mapping) else {})}
        words[band] = {name: str(fields[name]) for name in _ASSET_WORDS if fields.get(name)}
    return item.id, sources, words


def _require_both(name: str, sources: Mapping[str, BandSource]) -> None:
    missing = S1.missing_from(sources)
    if missing:
        raise MissingBandError(
            f"{name} lacks {' and '.join(missing)}; models with Sentinel-1 use VV and VH. Name "
            "files (..._VV.tif), assets or variables by them."
        )


def _refuse_safe(path: Path) -> None:
    is_safe = (path / "manifest.safe").exists() or (path / "measurement").is_dir()
    if is_safe or _LEVEL_1_NAME.match(path.name):
        raise ProductLevelError(
            f"{path} is a level-1 product of Sentinel-1: digital numbers in radar geometry, "
            "neither calibrated nor geocoded. Make terrain-corrected sigma0 from it first (SNAP: "
            "apply orbit file, remove thermal noise, calibrate, terrain-correct), or use an RTC "
            "product of the same pass."
        )
    if path.suffix.lower() == ".zip":
        raise ProductError(f"{path} is a zip file. Unpack it and pass the folder with VV and VH.")


def _refuse_radar_geometry(source: BandSource) -> None:
    if not source.placement.crs:
        reason = "no reference system"
        if isinstance(source, BandFile) and source.is_tied_by_points:
            reason = "control points instead of a map grid: it is in radar geometry"
        raise ProductLevelError(
            f"{source.name} has {reason}. Calibrate and terrain-correct it first, or use an RTC "
            "product of the same pass."
        )
