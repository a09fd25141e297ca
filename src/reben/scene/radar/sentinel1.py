"""Sentinel-1 for a scene: calibrated, geocoded backscatter, found by the names VV and VH."""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from reben.errors import (
    ConfigError,
    MissingBandError,
    ProductError,
    ProductLevelError,
)
from reben.scene.band_names import band_files
from reben.scene.band_source import BandFile
from reben.scene.grid import Grid
from reben.scene.mission import require_mission
from reben.scene.radar.backscatter import (
    QUANTITIES,
    UNITS,
    Backscatter,
    Quantity,
    Unit,
    unit_of,
    words_of_names,
)
from reben.scene.radar.warped import Sentinel1, WarpedBand
from reben.scene.readers.arrays import BandArray, named_arrays
from reben.scene.readers.stac import Item, fields_of, open_item
from reben.scene.search import is_stac, only_item
from reben.scene.sources import BandSource, closed_on_error
from reben.spec.bands import S1
from reben.support.times import time_in

if TYPE_CHECKING:
    from xarray import Dataset

# The name of a product as ESA distributes it, also of a zip of one.
_LEVEL_1_NAME = re.compile(r"S1[A-D]_(S[1-6]|IW|EW|WV)_(GRD|SLC|RAW).*\.(SAFE|zip)$", re.IGNORECASE)
_ASSET_WORDS = ("unit", "raster:unit", "title", "description")
_TIMES = ("datetime", "start_datetime", "time")
_ITEM_WORDS = ("card4l:measurement_type", "card4l:measurement_convention", "title", "description")


def open_sentinel1(
    product: "str | Path | Mapping[str, Any] | Dataset",
    grid: Grid,
    unit: Unit | None = None,
    quantity: Quantity | None = None,
) -> tuple[Sentinel1, dict[str, str]]:
    """Return VV and VH on the grid of a scene, and facts about them for provenance.

    What differs from the training data is logged once.

    Args:
        product: A folder of files named by VV and VH, a mapping of such files, a STAC item (file,
            URL or mapping), or a Dataset with VV and VH.
        grid: The grid of the scene.
        unit: "db" or "linear", if the product does not state it.
        quantity: "sigma0", "gamma0" or "beta0", if the product does not state it.
    """
    if unit is not None and unit not in UNITS:
        raise ConfigError(f"sentinel1_unit must be one of {', '.join(UNITS)}, not {unit!r}.")
    if quantity is not None and quantity not in QUANTITIES:
        raise ConfigError(
            f"sentinel1_quantity must be one of {', '.join(QUANTITIES)}, not {quantity!r}."
        )
    found = _sources_of(product)
    name, sources = found.name, found.sources
    try:
        _require_both(name, sources)
        named = words_of_names(found.names)
        warped, words = {}, dict(named)
        for band in S1:
            _refuse_radar_geometry(sources[band])
            told = {**found.words.get(band, {}), **sources[band].words}
            words |= told
            band_unit = unit_of(sources[band].name, told, unit, named)
            warped[band] = WarpedBand(sources[band], grid, band_unit, band)
        known = Backscatter.of(name, words, quantity, warped["VV"].pixel_metres)
        known = replace(known, sensed=time_in((*found.times, *found.names)))
    except BaseException:
        for source in sources.values():
            source.close()
        raise
    known.log(name, warped["VH"].typical_db)
    units = sorted({band.unit for band in warped.values()})
    return Sentinel1(warped, known), {"sentinel1": name, "sentinel1_unit": " and ".join(units)}


class _Found(NamedTuple):
    name: str
    sources: dict[str, BandSource]
    words: Mapping[str, Mapping[str, str]]  # band -> what is said of it beside its file
    names: Sequence[str]  # of the product and its files
    times: Sequence[str] = ()  # when it was acquired, where that is stated


def _sources_of(product: "str | Path | Mapping[str, Any] | Dataset") -> _Found:
    if is_stac(product):
        return _from_item(open_item(only_item(product)))
    if isinstance(product, str | Path):
        return _from_path(product)
    is_mapping = isinstance(product, Mapping) and not hasattr(product, "data_vars")
    if is_mapping and all(isinstance(value, str | Path) for value in product.values()):
        files = {str(band).upper(): Path(path) for band, path in product.items()}
        return _from_files("Sentinel-1 files", files, ())
    given: Any = product
    if not isinstance(given, Mapping) and not hasattr(given, "coords"):
        raise ProductError(
            f"sentinel1 must be a folder with files named by VV and VH, a mapping of such files, a "
            f"STAC item or an xarray Dataset, not {type(given).__name__}."
        )
    arrays, attributes, crs = named_arrays(product)
    require_mission("The Sentinel-1 Dataset", attributes, "Sentinel-1")
    sources: dict[str, BandSource] = {
        band: BandArray(arrays[band], f"{band} of the Sentinel-1 Dataset", crs)
        for band in S1
        if band in arrays
    }
    words = {key: value for key, value in attributes.items() if isinstance(value, str)}
    name = str(attributes.get("name", "a Sentinel-1 Dataset"))
    collection = str(attributes.get("collection", ""))
    names = (name, collection)
    return _Found(name, sources, dict.fromkeys(sources, words), names, _times(attributes))


def _times(properties: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(str(properties[key]) for key in _TIMES if properties.get(key) is not None)


def _from_path(product: str | Path) -> _Found:
    path = Path(product)
    if not os.path.exists(path):  # noqa: PTH110 - no error for names that no file can have
        raise ProductError(f"No Sentinel-1 product at {product}. Check the path.")
    _refuse_safe(path)
    if path.is_dir():
        return _from_files(path.name, band_files(path, S1), (path.absolute().name,))
    raise ProductError(
        f"{product} is not a known kind of Sentinel-1 product. Pass a folder with files named "
        "..._VV and ..._VH, or a STAC item (.json)."
    )


def _from_files(name: str, files: Mapping[str, Path], names: Sequence[str]) -> _Found:
    with closed_on_error() as sources:
        for band in S1:
            if band in files:
                sources[band] = BandFile(str(files[band]))
    return _Found(name, sources, {}, (*names, *(files[band].name for band in sources)))


def _from_item(item: Item) -> _Found:
    require_mission(item.id, item.properties, "Sentinel-1")
    words: dict[str, Mapping[str, str]] = {}
    names = [item.id, str(item.properties.get("collection") or "")]
    common = {key: str(item.properties[key]) for key in _ITEM_WORDS if item.properties.get(key)}
    with closed_on_error() as sources:
        for key, asset in item.assets.items():
            band = key.upper()
            if band not in S1:
                continue
            href = str(asset["href"])
            sources[band] = BandFile(item.raster_path(href), item.shown(href))
            fields = fields_of(asset)
            told = {name: str(fields[name]) for name in _ASSET_WORDS if fields.get(name)}
            words[band] = {**common, **told}
            names.append(item.shown(href).rpartition("/")[-1])
    return _Found(item.id, sources, words, names, _times(item.properties))


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
