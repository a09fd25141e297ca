"""Sentinel-2 level 2A as a STAC item with one raster asset per band.

Bands are found by the names that the item gives them (``eo:bands``, ``bands``), else by the asset's
key: the band itself, or the common name that catalogues use for it.

An item is somebody else's text. Its assets are read only over http(s) or from cloud storage or, if
the item itself is a local file, from local files; an item from the web cannot name a local file.

Source: STAC extensions eo, raster, and common metadata of STAC 1.1; the items of Earth Search v1,
Planetary Computer and the Copernicus Data Space.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote, urljoin, urlsplit

from reben.errors import (
    MissingBandError,
    ProductError,
    cut,
)
from reben.scene.band_names import CLASSIFICATION, band_named, native_metres
from reben.scene.band_source import BandFile
from reben.scene.mission import require_mission
from reben.scene.offset import (
    ScaleStatement,
    check_given_offset,
    statement_of_scale,
    statements_in,
)
from reben.scene.sources import BandSources, closed_on_error
from reben.spec.bands import S2_FULL

_CURE = "Name one STAC item, not a collection or a list of items."
_LARGEST_NUMBER = 1e9
_CLOUD = {"s3": "/vsis3/", "gs": "/vsigs/", "az": "/vsiaz/"}
_WEB = ("http", "https")


@dataclass(frozen=True)
class Item:
    """A STAC item.

    Args:
        id: Its id.
        properties: Its properties, and its collection.
        assets: Key -> asset, as in the item.
        base: The URL of a web item, the folder of a local one, empty for one in memory.
    """

    id: str
    properties: Mapping[str, Any]
    assets: Mapping[str, Mapping[str, Any]]
    base: str

    def raster_path(self, href: str) -> str:
        """Return the path that GDAL opens to read an asset."""
        address = self._address(href)
        scheme = _scheme(address)
        if scheme in _WEB:
            return f"/vsicurl/{address}"
        if scheme in _CLOUD:
            return _CLOUD[scheme] + address.partition("://")[2]
        return str(self._local(address, scheme))

    def shown(self, href: str) -> str:
        """Return the name of an asset in error messages."""
        return shown(self._address(href))

    def _address(self, href: str) -> str:
        if not _scheme(href) and _scheme(self.base) in _WEB:
            return urljoin(self.base, href)
        return href

    def _local(self, address: str, scheme: str) -> Path:
        if scheme not in ("", "file"):
            raise ProductError(
                f"{self.id} names {shown(address)}; only http, https, s3, gs, az and files can be "
                "read. Download the asset and change the address to the file."
            )
        if _scheme(self.base) in _WEB:
            raise ProductError(
                f"{self.id} comes from the web and names the local file {address}, which is not "
                "read. Save the item beside its files and pass the saved one."
            )
        path = Path(unquote(urlsplit(address).path)) if scheme else Path(address)
        if not path.is_absolute() and not self.base:
            raise ProductError(
                f"{self.id} names {address}, a relative address: an item in memory needs absolute "
                "addresses, or a link with rel 'self'."
            )
        path = Path(self.base) / path
        try:
            is_there = path.is_file()
        except (OSError, ValueError):  # a name that no file can have
            is_there = False
        if not is_there:
            raise ProductError(
                f"{self.id} names {cut(address, 200)}, but there is no file {cut(str(path), 300)}. "
                "Download the asset, or correct the address."
            )
        return path


def is_web_address(text: str) -> bool:
    """Tell whether a text is an http or https URL."""
    return _scheme(text) in _WEB


def _scheme(address: str) -> str:
    """Return the scheme of an address; a ProductError if it is none."""
    try:
        return urlsplit(address).scheme.lower()
    except ValueError as error:
        raise ProductError(
            f"{cut(address, 200)} is not an address that can be read: {error}. Correct it."
        ) from None


def open_item(item: Mapping[Any, Any]) -> Item:
    """Return a STAC item from a mapping; relative addresses begin from its link ``self``."""
    return _parse(item, f"The STAC item {cut(str(item.get('id', 'without id')))}", _self_link(item))


def shown(address: str) -> str:
    """Return a URL without its query, which can hold a signature, and without credentials.

    Example:
        >>> shown("https://some.host/B02.tif?sig=secret")
        'https://some.host/B02.tif'
    """
    if not _scheme(address):
        return address
    parts = urlsplit(address)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def _parse(item: Mapping[Any, Any], name: str, base: str) -> Item:
    if item.get("type") != "Feature":
        raise ProductError(
            f"{name} is not a STAC item: its type is {cut(repr(item.get('type')))}, not 'Feature'. "
            f"{_CURE}"
        )
    properties, assets = item.get("properties"), item.get("assets")
    if not isinstance(properties, Mapping) or not isinstance(assets, Mapping):
        raise ProductError(f"{name} is not a STAC item: it lacks properties or assets. {_CURE}")
    whole = {
        key: asset
        for key, asset in assets.items()
        if isinstance(key, str)
        and isinstance(asset, Mapping)
        and isinstance(asset.get("href"), str)
    }
    known = {"collection": item.get("collection"), **properties}
    return Item(cut(str(item.get("id", name)), 200), known, whole, base)


def link_of(item: Mapping[str, Any], rel: str) -> str:
    """Return the address of the first link of a kind; empty if there is none."""
    links = item.get("links")
    hrefs = [
        str(link.get("href", ""))
        for link in (links if isinstance(links, list | tuple) else ())
        if isinstance(link, Mapping) and link.get("rel") == rel
    ]
    return hrefs[0] if hrefs else ""


def _self_link(item: Mapping[str, Any]) -> str:
    address = link_of(item, "self")
    if is_web_address(address) or not address:
        return address
    path = Path(unquote(urlsplit(address).path) if address.startswith("file:") else address)
    return str(path.parent) if path.is_absolute() else ""


class _Asset(NamedTuple):
    key: str
    asset: Mapping[str, Any]
    fields: Mapping[str, Any]  # those of its only band, and its own


def read_stac(item: Item, boa_offset: float | None = None) -> BandSources:
    """Return the Sentinel-2 bands of an item; for the errors see `open_scene`."""
    require_mission(item.id, item.properties, "Sentinel-2")
    check_given_offset(boa_offset)
    chosen = _choose(item)
    if not set(chosen) - {CLASSIFICATION}:
        raise MissingBandError(
            f"{item.id} has no asset with a Sentinel-2 band. Its assets: "
            f"{cut(', '.join(item.assets), 300) or 'none'}."
        )
    said = statements_in(item.properties)
    about = {
        "source": "STAC item",
        "processing_baseline": str(item.properties.get("s2:processing_baseline", "")),
        "sensing_time": str(item.properties.get("datetime") or ""),
    }
    with closed_on_error() as sources:
        # One after the other: rasterio changes the process's warnings while it opens a file.
        for band, found in chosen.items():
            href = str(found.asset["href"])
            sources[band] = BandFile(item.raster_path(href), item.shown(href))
        return BandSources.decided(
            item.id,
            sources,
            lambda band: [*said, *_statements(chosen[band]), *sources[band].statements],
            boa_offset,
            where=f"an asset of {item.id}",
            about=about,
        )


def _choose(item: Item) -> dict[str, _Asset]:
    candidates: dict[str | None, list[_Asset]] = {}
    for key, asset in item.assets.items():
        found = _Asset(key, asset, fields_of(asset))
        band = _band_of(found)
        if band in S2_FULL or band == CLASSIFICATION:
            candidates.setdefault(band, []).append(found)
    return {band: _best(item, band, found) for band, found in candidates.items() if band}


def fields_of(asset: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the fields of an asset, and of its only band."""
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
        keys = cut(", ".join(asset.key for asset in found), 300)
        raise ProductError(
            f"Several assets of {item.id} are {band} at {native_metres(band)} m: {keys}. Keep one."
        )
    return ranked[0]


def _rank(band: str, found: _Asset) -> tuple[bool, bool, bool]:
    native = native_metres(band)
    stated = [
        found.fields.get(key) for key in ("gsd", "spatial_resolution", "raster:spatial_resolution")
    ]
    sizes: list[float] = [size for size in stated if isinstance(size, int | float)]
    ending = found.key.rpartition("_")[2]
    if ending.endswith("m") and ending[:-1].isdecimal():
        sizes = [float(ending[:-1])]
    # GDAL reads parts of a GeoTIFF, but whole tiles of a JPEG 2000 file, over the network.
    jpeg2000 = "jp2" in str(found.asset.get("type", "")) or found.asset["href"].endswith(".jp2")
    return bool(sizes) and native not in sizes, jpeg2000, band_named(found.key) is None


def _statements(found: _Asset) -> list[ScaleStatement]:
    said = []
    for prefix in ("", "raster:"):
        scale, offset = (_number(found, f"{prefix}{name}") for name in ("scale", "offset"))
        if scale is not None:
            words = f"asset {cut(found.key)} has scale {scale:g} and offset {offset}"
            said.append(statement_of_scale(words, scale, offset))
    return said


def _number(found: _Asset, key: str) -> float | None:
    value = found.fields.get(key)
    if not isinstance(value, int | float):
        return None
    if not abs(value) < _LARGEST_NUMBER:
        raise ProductError(
            f"{key} of asset {cut(found.key)} is beyond {_LARGEST_NUMBER:g}. Correct it in the "
            "item."
        )
    return float(value)
