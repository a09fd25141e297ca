"""Sentinel-1 for a scene: calibrated backscatter in map geometry, VV and VH by name."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reben.errors import ConfigError, MissingBandError, ProductError, ProductLevelError
from reben.scene.arrays import BandArray, named_arrays
from reben.scene.backscatter import UNITS, Sentinel1, Unit, WarpedBand, unit_of
from reben.scene.band_file import BandFile
from reben.scene.band_folder import band_files
from reben.scene.grid import Grid
from reben.scene.sources import BandSource
from reben.scene.stac_item import Item, is_web_address, looks_like_item, open_item
from reben.spec.bands import S1

if TYPE_CHECKING:
    from xarray import Dataset

# The name of a product as ESA distributes it, also of a zip of one.
_LEVEL_1_NAME = re.compile(r"S1[A-D]_(S[1-6]|IW|EW|WV)_(GRD|SLC|RAW).*\.(SAFE|zip)$", re.IGNORECASE)
_ASSET_WORDS = ("unit", "raster:unit", "title", "description")


def open_sentinel1(
    product: "str | Path | Mapping[str, Any] | Dataset", grid: Grid, unit: Unit | None = None
) -> tuple[Sentinel1, dict[str, str]]:
    """Return VV and VH on the grid of a scene, and facts about them for provenance.

    Args:
        product: A folder of files named by VV and VH, a mapping of such files, a STAC item (file,
            address or mapping), or a Dataset with VV and VH.
        grid: Where they are needed.
        unit: "db" or "linear", if the product does not say it.

    Raises:
        ConfigError: If the unit is another one.
        ProductLevelError: If it is not calibrated or in radar geometry.
        MissingBandError: If VV or VH is not there.
        UnknownUnitError: If nothing says whether it is in dB, or values cannot be of that unit.
        GridError: If it lies elsewhere.
        ProductError: If a file cannot be read.
        MissingExtraError: If rasterio is not installed.
    """
    if unit is not None and unit not in UNITS:
        raise ConfigError(f"sentinel1_unit is {unit!r}; it is one of {', '.join(UNITS)}.")
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
        raise ProductError(f"There is no Sentinel-1 product {product}. Check the path.")
    _refuse_safe(path)
    if path.is_dir():
        files = band_files(path, S1)
        return path.name, {band: BandFile(str(files[band])) for band in S1 if band in files}, {}
    if path.suffix.lower() in {".json", ".geojson"}:
        return _from_item(open_item(path))
    raise ProductError(
        f"{product} is no Sentinel-1 product that is read: name a folder with files called ..._VV "
        "and ..._VH, or a STAC item (.json)."
    )


def _from_item(item: Item) -> tuple[str, dict[str, BandSource], dict[str, Mapping[str, str]]]:
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
            f"{name} lacks {' and '.join(missing)}; models with Sentinel-1 use VV and VH. Files "
            "must be named by them (..._VV.tif), or assets and variables be called so."
        )


def _refuse_safe(path: Path) -> None:
    is_safe = (path / "manifest.safe").exists() or (path / "measurement").is_dir()
    if is_safe or _LEVEL_1_NAME.match(path.name):
        raise ProductLevelError(
            f"{path} is a level-1 product of Sentinel-1: digital numbers in radar geometry, "
            "neither calibrated nor laid on a map. Make sigma0 with terrain correction from it "
            "first (SNAP: apply orbit file, remove thermal noise, calibrate, terrain-correct), or "
            "take an RTC product of the same pass."
        )
    if path.suffix.lower() == ".zip":
        raise ProductError(f"{path} is a zip file. Unpack it, and name the folder of VV and VH.")


def _refuse_radar_geometry(source: BandSource) -> None:
    if not source.placement.crs:
        reason = "no reference system"
        if isinstance(source, BandFile) and source.is_tied_by_points:
            reason = "control points instead of a map grid: it is in radar geometry"
        raise ProductLevelError(
            f"{source.name} has {reason}. Terrain-correct and calibrate it first, or take an RTC "
            "product of the same pass."
        )
