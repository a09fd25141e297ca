"""Sentinel-2 level 2A as a STAC item with one raster asset for each band.

Bands are found by the names that the item gives them (``eo:bands``, ``bands``), else by the asset's
key: the band itself, or the common name that catalogues use for it.

Source: STAC extensions eo, raster, and common metadata of STAC 1.1; the items of Earth Search v1,
Planetary Computer and the Copernicus Data Space.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from reben.errors import MissingBandError, ProductError, ProductLevelError, RebenError
from reben.scene.alignment import CLASSIFICATION, native_metres
from reben.scene.band_file import BandFile
from reben.scene.band_names import band_named
from reben.scene.band_scene import Ingredients
from reben.scene.calibration import (
    Statement,
    check_given_offset,
    decide,
    statement_of_scale,
    statements_in,
)
from reben.scene.stac_item import Item
from reben.spec.bands import S2_FULL


class _Asset(NamedTuple):
    key: str
    asset: Mapping[str, Any]
    fields: Mapping[str, Any]  # those of its only band, and its own


def read_stac(item: Item, boa_offset: float | None = None) -> Ingredients:
    """Return the Sentinel-2 bands of an item and how their numbers are to be read.

    Raises:
        ProductLevelError: If the item says that it is of level 1C.
        ProductError: If an asset cannot be read, or several claim to be one band.
        MissingBandError: If no asset is a band.
        UnknownOffsetError: If neither the item nor ``boa_offset`` say which offset is carried.
        OffsetConflictError: If the item contradicts itself and ``boa_offset`` does not decide.
        MissingExtraError: If rasterio is not installed.
    """
    check_given_offset(boa_offset)
    _refuse_level_1c(item)
    chosen = _choose(item)
    if not set(chosen) - {CLASSIFICATION}:
        raise MissingBandError(
            f"{item.id} has no asset that is a Sentinel-2 band. Its assets: "
            f"{', '.join(item.assets) or 'none'}."
        )
    said = statements_in(item.properties)
    sources = _open(item, chosen)
    try:
        calibrations = {
            band: decide(
                band,
                item.id,
                [*said, *_statements(chosen[band]), *source.statements],
                boa_offset,
            )
            for band, source in sources.items()
            if band != CLASSIFICATION
        }
    except RebenError:
        _close(sources)
        raise
    missing = {
        band: f"an asset of {item.id}" for band in (*S2_FULL, CLASSIFICATION) if band not in chosen
    }
    about = {
        "source": "STAC item",
        "processing_baseline": str(item.properties.get("s2:processing_baseline", "")),
        "sensing_time": str(item.properties.get("datetime") or ""),
    }
    return Ingredients(item.id, sources, calibrations, missing, about)


def _refuse_level_1c(item: Item) -> None:
    kind = str(item.properties.get("s2:product_type", ""))
    level = str(item.properties.get("processing:level", ""))
    if "1C" in kind.upper() or level.upper() in {"L1C", "L1"}:
        raise ProductLevelError(
            f"{item.id} is of level 1C ({kind or level}): reflectance at the top of the "
            "atmosphere. The models were trained on level 2A; take that item of the same scene."
        )


def _choose(item: Item) -> dict[str, _Asset]:
    candidates: dict[str | None, list[_Asset]] = {}
    for key, asset in item.assets.items():
        found = _Asset(key, asset, _fields(asset))
        band = _band_of(found)
        if band in S2_FULL or band == CLASSIFICATION:
            candidates.setdefault(band, []).append(found)
    return {band: _best(item, band, found) for band, found in candidates.items() if band}


def _fields(asset: Mapping[str, Any]) -> Mapping[str, Any]:
    merged: dict[str, Any] = {}
    for key in ("eo:bands", "raster:bands", "bands"):
        listed = asset.get(key)
        if isinstance(listed, Sequence) and len(listed) == 1 and isinstance(listed[0], Mapping):
            merged.update(listed[0])
    return {**asset, **merged}


def _band_of(found: _Asset) -> str | None:
    if found.key.lower() in ("thumbnail", "preview", "overview", "visual", "tci"):
        return None
    listed = [found.asset.get(key) for key in ("eo:bands", "bands")]
    if any(isinstance(bands, Sequence) and len(bands) > 1 for bands in listed):
        return None
    name = str(found.fields.get("name", ""))
    common = str(found.fields.get("eo:common_name") or found.fields.get("common_name") or "")
    key = found.key.partition("_")[0]
    return next((band for band in map(band_named, (name, key, common)) if band), None)


def _best(item: Item, band: str, found: Sequence[_Asset]) -> _Asset:
    ranked = sorted(found, key=lambda asset: _rank(band, asset))
    if len(ranked) > 1 and _rank(band, ranked[0]) == _rank(band, ranked[1]):
        keys = ", ".join(asset.key for asset in found)
        raise ProductError(
            f"Several assets of {item.id} are {band} at {native_metres(band)} m: {keys}. Leave one."
        )
    return ranked[0]


def _rank(band: str, found: _Asset) -> tuple[bool, bool, bool]:
    native = native_metres(band)
    stated = [
        found.fields.get(key) for key in ("gsd", "spatial_resolution", "raster:spatial_resolution")
    ]
    sizes = [float(size) for size in stated if isinstance(size, int | float)]
    ending = found.key.rpartition("_")[2]
    if ending.endswith("m") and ending[:-1].isdecimal():
        sizes = [float(ending[:-1])]
    # GDAL reads parts of a GeoTIFF, but whole tiles of a JPEG 2000 file, over the network.
    jpeg2000 = "jp2" in str(found.asset.get("type", "")) or found.asset["href"].endswith(".jp2")
    return bool(sizes) and native not in sizes, jpeg2000, band_named(found.key) is None


def _statements(found: _Asset) -> list[Statement]:
    said = []
    for prefix in ("", "raster:"):
        scale, offset = found.fields.get(f"{prefix}scale"), found.fields.get(f"{prefix}offset")
        if isinstance(scale, int | float):
            given = float(offset) if isinstance(offset, int | float) else None
            words = f"asset {found.key} has scale {scale:g} and offset {given}"
            said.append(statement_of_scale(words, float(scale), given))
    return said


def _open(item: Item, chosen: Mapping[str, _Asset]) -> dict[str, BandFile]:
    # One after the other: threads that open files and hide a warning get into each other's way.
    sources: dict[str, BandFile] = {}
    try:
        for band, found in chosen.items():
            href = str(found.asset["href"])
            sources[band] = BandFile(item.raster_path(href), item.shown(href))
    except RebenError:
        _close(sources)
        raise
    return sources


def _close(sources: Mapping[str, BandFile]) -> None:
    for source in sources.values():
        source.close()
