"""VV and VH of a Sentinel-1 product in any of its forms, found by what they are called.

One matcher for all: names of files, keys of assets, variables, descriptions in a GeoTIFF.
"""

import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from reben.data.patch_folders.multiband import LEFT_OUT
from reben.errors import ConfigError, MissingBandError, ProductError, ProductLevelError, cut
from reben.scene.band_source import BandFile
from reben.scene.mission import is_of, require_mission
from reben.scene.radar.backscatter import words_of_names
from reben.scene.readers.arrays import BandArray, named_arrays
from reben.scene.readers.stac import Item, fields_of, open_item
from reben.scene.search import is_stac, only_item
from reben.scene.sources import BandSource, closed_on_error
from reben.spec.band_names import (
    RASTER_ENDINGS,
    TIFF_ENDINGS,
    band_named,
)
from reben.spec.bands import S1, S2_FULL
from reben.spec.radar_names import is_level_1_image, polarisation_named

if TYPE_CHECKING:
    from xarray import Dataset

# The name of a product as ESA distributes it, also of a zip of one.
_LEVEL_1_NAME = re.compile(r"S1[A-D]_(S[1-6]|IW|EW|WV)_(GRD|SLC|RAW).*\.(SAFE|zip)$", re.IGNORECASE)
_ASSET_WORDS = ("unit", "raster:unit", "title", "description")
_TIMES = ("datetime", "start_datetime", "time")
_ITEM_WORDS = ("card4l:measurement_type", "card4l:measurement_convention", "title", "description")
_CURE = (
    "Make terrain-corrected sigma0 from it first (SNAP: apply orbit file, remove thermal noise, "
    "calibrate, terrain-correct), or use an RTC product of the same pass."
)


class Found(NamedTuple):
    """VV and VH of a product."""

    name: str
    sources: dict[str, BandSource]
    words: Mapping[str, Mapping[str, str]]  # band -> what is said of it beside its file
    names: Sequence[str]  # of the product, its files, assets and variables
    times: Sequence[str] = ()  # when it was acquired, where that is stated


class _Named(NamedTuple):
    """Something that may be a polarisation."""

    label: str  # what it is called
    open: Callable[[], BandSource]
    file: str = ""  # the name of its file, if that is another one
    words: Mapping[str, str] = {}


def is_sentinel1(product: Any, band_names: Sequence[str] | None = None) -> bool:  # noqa: ANN401
    """Tell whether a product is one of Sentinel-1 alone, by what is in it is called.

    Args:
        product: Whatever `find_sentinel1` takes; of STAC, an `Item`.
        band_names: Names of the bands of a GeoTIFF, if not those in it.
    """
    if isinstance(product, str | Path):
        return _is_radar_path(Path(product), band_names)
    if isinstance(product, Item):
        labels = [label for one in product.assets.items() for label in _labels(product, *one)]
        return is_of(product.properties, "Sentinel-1") or _is_radar(labels)
    if hasattr(product, "coords"):
        listed = [product.coords[key] for key in ("band", "bands") if key in product.coords]
        variables = product.data_vars if hasattr(product, "data_vars") else ()
        return _is_radar(
            [*map(str, variables), *(str(one) for names in listed for one in names.values.flat)]
        )
    return isinstance(product, Mapping) and _is_radar(list(map(str, product)))


def _is_radar_path(path: Path, band_names: Sequence[str] | None) -> bool:
    if not os.path.exists(path):  # noqa: PTH110 - no error for names that no file can have
        return False
    if _LEVEL_1_NAME.match(path.name) or (path / "measurement").is_dir():
        return True
    if not path.is_dir() and (path.suffix.lower() not in TIFF_ENDINGS or not path.is_file()):
        return False
    return _is_radar(band_names or [one.label for one in _in_path(path, None)])


def find_sentinel1(
    product: "str | Path | Mapping[str, Any] | Dataset | Item",
    wanted: Iterable[str | None] = (),
    band_names: Sequence[str] | None = None,
) -> Found:
    """Return VV and VH of a product; their files are open.

    Args:
        product: A folder of files named by VV and VH, a GeoTIFF of both, a mapping of files, a
            STAC item (as for `reben.scene.search.items_of`), or a Dataset.
        wanted: Unit and quantity that the user gave: they choose where a product holds several.
        band_names: Names of the bands of a GeoTIFF in its order, if not those in it.
    """
    if isinstance(product, Item) or is_stac(product):
        item = product if isinstance(product, Item) else open_item(only_item(product))
        return _from_item(item, wanted)
    if isinstance(product, str | Path):
        path = _checked(product)
        places = (path.absolute().name,) if path.is_dir() else ()
        name = path.name if path.is_dir() else path.stem
        return _found(name, _in_path(path, band_names), (*places, name), wanted)
    given: Any = product
    is_mapping = isinstance(given, Mapping) and not hasattr(given, "data_vars")
    if is_mapping and all(isinstance(value, str | Path) for value in given.values()):
        files = [_file(Path(path), str(band)) for band, path in given.items()]
        return _found("Sentinel-1 files", files, (), wanted)
    if not isinstance(given, Mapping) and not hasattr(given, "coords"):
        raise ProductError(
            f"sentinel1 must be a folder with files named by VV and VH, a GeoTIFF of both, a "
            f"mapping of such files, a STAC item or an xarray Dataset, not {type(given).__name__}."
        )
    return _from_arrays(given, wanted)


def _from_arrays(product: Any, wanted: Iterable[str | None]) -> Found:  # noqa: ANN401
    arrays, attributes, crs = named_arrays(product)
    require_mission("The Sentinel-1 Dataset", attributes, "Sentinel-1")
    words = {key: value for key, value in attributes.items() if isinstance(value, str)}

    def opened(key: str) -> Callable[[], BandSource]:
        return lambda: BandArray(arrays[key], f"{key} of the Sentinel-1 Dataset", crs)

    name = str(attributes.get("name", "a Sentinel-1 Dataset"))
    listed = [_Named(key, opened(key), words=words) for key in arrays]
    names = (name, str(attributes.get("collection", "")), str(attributes.get("id", "")))
    return _found(name, listed, names, wanted, _times(attributes))


def _times(properties: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(str(properties[key]) for key in _TIMES if properties.get(key) is not None)


def _checked(product: str | Path) -> Path:
    path = Path(product)
    if not os.path.exists(path):  # noqa: PTH110 - no error for names that no file can have
        raise ProductError(f"No Sentinel-1 product at {product}. Check the path.")
    is_safe = (path / "manifest.safe").exists() or (path / "measurement").is_dir()
    if is_safe or _LEVEL_1_NAME.match(path.name):
        raise ProductLevelError(
            f"{path} is a level-1 product of Sentinel-1: digital numbers in radar geometry, "
            f"neither calibrated nor geocoded. {_CURE}"
        )
    if path.suffix.lower() == ".zip":
        raise ProductError(f"{path} is a zip file. Unpack it and pass the folder with VV and VH.")
    if not path.is_dir() and path.suffix.lower() not in TIFF_ENDINGS:
        raise ProductError(
            f"{product} is not a known kind of Sentinel-1 product. Pass a folder with files named "
            "..._VV and ..._VH, a GeoTIFF of both, or a STAC item (.json)."
        )
    return path


def _in_path(path: Path, band_names: Sequence[str] | None) -> list[_Named]:
    """Return what a folder or a GeoTIFF holds."""
    if path.is_dir():
        return [
            _file(file, file.stem)
            for file in sorted(path.iterdir())
            if file.suffix.lower() in RASTER_ENDINGS and not file.name.startswith(".")
        ]
    first = BandFile(str(path))
    descriptions = [text or "" for text in first.descriptions]
    first.close()
    if band_names is not None and len(band_names) != len(descriptions):
        raise ConfigError(
            f"{path} has {len(descriptions)} bands, and {len(band_names)} names were given. Name "
            f"all in their order, {LEFT_OUT} for one to skip: --band-names VV,VH"
        )
    listed = enumerate(band_names or descriptions, start=1)
    return [_band(str(path), index, f"{label} of {path}", label) for index, label in listed]


def _file(path: Path, label: str) -> _Named:
    return _Named(label, lambda: BandFile(str(path)), path.name)


def _band(path: str, index: int, name: str, label: str, file: str = "", **words: str) -> _Named:
    return _Named(label, lambda: BandFile(path, name, index), file, words)


def _from_item(item: Item, wanted: Iterable[str | None]) -> Found:
    require_mission(item.id, item.properties, "Sentinel-1")
    common = {key: str(item.properties[key]) for key in _ITEM_WORDS if item.properties.get(key)}
    listed = []
    for key, asset in item.assets.items():
        href, fields = str(asset["href"]), fields_of(asset)
        told = common | {name: str(fields[name]) for name in _ASSET_WORDS if fields.get(name)}
        for index, label in enumerate(_labels(item, key, asset), start=1):
            if polarisation_named(label):
                place, name = item.raster_path(href), item.shown(href)
                listed.append(_band(place, index, name, label, name.rpartition("/")[-1], **told))
    names = (item.id, str(item.properties.get("collection") or ""))
    return _found(item.id, listed, names, wanted, _times(item.properties))


def _labels(item: Item, key: str, asset: Mapping[str, Any]) -> list[str]:
    """Return what the bands of an asset are called: by themselves, its key, its file."""
    kind = str(asset.get("type", "image"))
    if not kind.startswith("image/") and kind != "image":
        return []
    for listed in (asset.get("bands"), asset.get("eo:bands")):
        if isinstance(listed, list | tuple) and len(listed) > 1:
            return [
                str(band.get("name", "")) if isinstance(band, Mapping) else "" for band in listed
            ]
    file = item.shown(str(asset["href"])).rpartition("/")[-1].rpartition(".")[0]
    names = (key, str(fields_of(asset).get("name", "")), file)
    return [next((name for name in names if polarisation_named(name)), key)]


def _is_radar(labels: Sequence[str]) -> bool:
    return any(map(polarisation_named, labels)) and not any(
        band_named(label) in S2_FULL or band_named(label.rpartition("_")[2]) in S2_FULL
        for label in labels
    )


def _found(
    name: str,
    listed: Sequence[_Named],
    names: Sequence[str],
    wanted: Iterable[str | None],
    times: Sequence[str] = (),
) -> Found:
    """Return VV and VH among what a product holds."""
    chosen = {band: _one(name, band, listed, wanted) for band in S1}
    there = {band: one for band, one in chosen.items() if one is not None}
    missing = S1.missing_from(there)
    if missing:
        labels = cut(", ".join(one.label or "(no name)" for one in listed), 200)
        raise MissingBandError(
            f"{name} lacks {' and '.join(missing)}; models with Sentinel-1 use VV and VH. It has "
            f"{labels or 'nothing'}. Name files (..._VV.tif), assets and variables by them, and "
            'describe bands of a GeoTIFF: python -c "import rasterio; '
            "rasterio.open('FILE.tif', 'r+').descriptions = ['VV', 'VH']\""
        )
    for one in there.values():
        if any(is_level_1_image(text.rpartition(".")[0] or text) for text in (one.label, one.file)):
            raise ProductLevelError(
                f"{one.file or one.label} is an image of a level-1 product of Sentinel-1: digital "
                f"numbers in radar geometry, neither calibrated nor geocoded. {_CURE}"
            )
    with closed_on_error() as sources:
        for band, one in there.items():
            sources[band] = one.open()
        told = {band: one.words for band, one in there.items()}
        called = [text for one in there.values() for text in (one.label, one.file) if text]
        return Found(name, sources, told, (*names, *called), times)


def _one(
    name: str, band: str, listed: Sequence[_Named], wanted: Iterable[str | None]
) -> _Named | None:
    """Return what is a band; where several are, the one whose name says what the user wants."""
    found = [one for one in listed if polarisation_named(one.label) == band]
    for asked in filter(None, wanted):
        said = [asked in str(words_of_names((one.label,))).lower() for one in found]
        if len(found) > 1 and any(said):
            found = [one for one, is_said in zip(found, said, strict=True) if is_said]
    if len(found) > 1:
        labels = cut(", ".join(one.label for one in found), 300)
        raise ProductError(
            f"{name} has several that are {band}: {labels}. Keep one, or say which: "
            "sentinel1_quantity='sigma0' or sentinel1_unit='db' (--sentinel1-quantity, "
            "--sentinel1-unit)."
        )
    return found[0] if found else None
