"""Sentinel-2 level 2A as ESA's processing framework EOPF writes it: groups of a Zarr store.

Bands lie in ``measurements/reflectance/r10m/b02`` and so on, the scene classification in
``conditions/mask/l2a_classification/r20m/scl``; attributes of each array give scale, offset and
place, those of the root the STAC item. In a folder, in a zip that is not unpacked, or on the web.

A store is somebody else's: arrays are read only through codecs that make numbers of bytes, and
never through one that runs what it finds (pickle).

Source: attributes and arrays of the products S2A_MSIL2A_20251008T100041_N0511_R122_T32TQM and
S2C_MSIL2A_20250811T112131_N0511_R037_T29TPF of the EOPF Sentinel Zarr Samples Service, Zarr
version 2, as they are kept in the tests of EOPF-Explorer/data-model at commit 5443117.
"""

import os
import re
import sys
import threading
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray

from reben.errors import (
    GridError,
    MissingBandError,
    MissingExtraError,
    ProductError,
    RebenError,
    cut,
    first_line,
)
from reben.scene.mission import require_mission
from reben.scene.offset import check_given_offset, statements_in
from reben.scene.readers.arrays import BandArray
from reben.scene.readers.safe_files import refuse_level_1c
from reben.scene.readers.stac import Item
from reben.scene.row_blocks import Columns, RowBlocks, rows_of_block
from reben.scene.sources import BandSources, closed_on_error
from reben.spec.band_names import CLASSIFICATION, RASTER_ENDINGS, native_metres
from reben.spec.bands import S2_FULL
from reben.support.bounds import MAX_JSON_BYTES, MAX_SCENE_BLOCK_BYTES, MAX_ZIP_ENTRIES, check_file
from reben.support.extras import optional

if TYPE_CHECKING:
    from xarray import DataArray

_USE = "Reading a product in Zarr"
_MARKS = ("zarr.json", ".zgroup")
_METADATA = ("zarr.json", ".zmetadata", ".zattrs")
_MOST_METADATA_BYTES = 4 * MAX_JSON_BYTES
_CLASSES = "conditions/mask/l2a_classification/r20m/scl"
_CODECS = frozenset(
    ("bytes", "blosc", "zstd", "gzip", "zlib", "lz4", "bz2", "crc32c", "shuffle", "transpose",
     "sharding_indexed")
)  # fmt: skip
_SCHEMES = ("http", "https", "s3", "gs", "az", "abfs")
_SIGNED = re.compile(r"\?[^\s'\"]*|(?<=//)[^/@\s]+@")
"""What is left out of addresses in messages, as it can hold a signature."""
_STORE = re.compile(rf"(?:{'|'.join(_SCHEMES)})://[^?#]*?\.zarr(?=/|$)")
_PROPERTIES = ("platform", "constellation")


def is_zarr(product: str | Path) -> bool:
    """Tell whether a path or an address is that of a Zarr store."""
    try:
        address = urlsplit(str(product))
    except ValueError:
        return False
    if address.scheme in _SCHEMES:
        return address.path.rstrip("/").endswith((".zarr", ".zarr.zip"))
    # Of os.path, as names that no file can have are no error there.
    if os.path.isfile(product):  # noqa: PTH113
        return str(product).endswith(".zarr.zip")
    return any(os.path.isfile(os.path.join(product, mark)) for mark in _MARKS)  # noqa: PTH113, PTH118


def store_of(item: Item) -> str | None:
    """Return the address of the store that the bands of a STAC item lie in; None for files."""
    addresses = [str(asset["href"]) for asset in item.assets.values()]
    if any(address.partition("?")[0].lower().endswith(RASTER_ENDINGS) for address in addresses):
        return None
    stores = {match[0] for address in addresses if (match := _STORE.match(address))}
    return stores.pop() if len(stores) == 1 else None


def read_zarr(product: str | Path, boa_offset: float | None = None) -> BandSources:
    """Return the Sentinel-2 bands of a product of EOPF; for the errors see `open_scene`."""
    check_given_offset(boa_offset)
    store, shown = _Store.open(product), _SIGNED.sub("", str(product))
    attributes = store.attributes
    item = _mapping(attributes.get("stac_discovery"))
    properties = _mapping(item.get("properties"))
    name = cut(str(item.get("id") or PurePosixPath(shown.rstrip("/")).name), 200)
    for ending in (".SAFE", ".zip", ".zarr"):
        name = name.removesuffix(ending)
    known = {key: properties[key] for key in _PROPERTIES if key in properties}
    require_mission(name, known, "Sentinel-2")
    level = f"{properties.get('product:type')} {properties.get('processing:level')} {name}"
    if "L1C" in level.upper():
        refuse_level_1c(Path(name))
    crs = _mapping(attributes.get("other_metadata")).get("horizontal_CRS_code")
    crs = crs or properties.get("proj:code") or properties.get("proj:epsg")
    crs = f"EPSG:{crs}" if isinstance(crs, int) else str(crs or "")
    with closed_on_error() as sources:
        for band in (*S2_FULL, CLASSIFICATION):
            path = _path_of(band)
            if store.has(path):
                sources[band] = ZarrBand(store, path, f"{band} of {name}", crs)
        if not set(sources) - {CLASSIFICATION}:
            raise MissingBandError(
                f"{shown} is a Zarr store without {_path_of('B02')}, where products of EOPF have "
                "their bands. Open it with xarray and pass a Dataset with named bands."
            )
        baseline = properties.get("eopf:baseline") or properties.get("processing:version") or ""
        sensed = properties.get("start_datetime") or properties.get("datetime") or ""
        said = statements_in(properties)
        return BandSources.decided(
            name,
            sources,
            lambda band: [*said, *sources[band].statements],
            boa_offset,
            where=f"measurements/reflectance of {name}, {{band}} in small letters",
            about={
                "source": "EOPF Zarr",
                "processing_baseline": str(baseline),
                "sensing_time": str(sensed),
            },
        )


class ZarrBand(BandArray):
    """One band of a store; a `reben.scene.sources.BandSource`, read in whole rows of chunks.

    A row of chunks is kept, as it has to be decoded whole: 120 MB of a 10 m band of ESA.

    Args:
        store: The store.
        path: The path of the array in it.
        name: Its name in error messages.
        crs: The reference system, if the store states one for all arrays.
    """

    def __init__(self, store: "_Store", path: str, name: str, crs: str) -> None:
        self._store = store
        self._zarr = array = store.array(path, name, axes=2)
        self._step = rows_of_block(
            name, array.shape, array.dtype.str, array.chunks[0], "Write it in smaller chunks."
        )
        template = store.template(path, array, name)
        super().__init__(template, name, crs)
        if not (self._array.y.equals(template.y) and self._array.x.equals(template.x)):
            raise GridError(f"{name} is not north-up, as every product of EOPF is.")
        self._blocks = RowBlocks(self._step, self._read_block, threading.Lock())

    def read_rows(
        self, top: int, height: int, columns: tuple[int, int] | None = None
    ) -> NDArray[Any]:
        """Return rows ``top`` to ``top + height``, [height, width], as stored and read-only."""
        return self._blocks.rows(top, height, columns)

    def close(self) -> None:
        """Forget its rows and close the store, which all bands share."""
        self._blocks.forget()
        self._store.close()

    def _read_block(self, block: int, columns: Columns) -> NDArray[Any]:
        top = block * self._step
        with _said(f"{self.name} cannot be read in rows {top} to {top + self._step}"):
            return np.asarray(self._zarr[top : top + self._step, slice(*(columns or (None, None)))])


class _Store:
    """A Zarr store that is open for reading.

    Args:
        root: Its root group.
        shown: Its name in error messages.
    """

    def __init__(self, root: Any, shown: str) -> None:  # noqa: ANN401 - zarr is optional
        self._root, self._shown = root, shown
        self._coordinates: dict[str, NDArray[Any]] = {}
        with _said(f"{shown} cannot be read"):
            self.attributes: dict[str, Any] = dict(root.attrs)

    @classmethod
    def open(cls, product: str | Path) -> "_Store":
        """Open a folder, a zip or an address."""
        zarr = optional("zarr", "zarr", _USE)
        optional("xarray", "zarr", _USE)
        shown = _SIGNED.sub("", str(product))
        with _said(f"{shown} cannot be opened as a Zarr store"):
            if urlsplit(str(product)).scheme in _SCHEMES:
                if shown.endswith(".zip"):
                    raise ProductError(f"{shown} is a zip on the web. Download it, and pass that.")
                optional("fsspec", "zarr", "Reading Zarr from the web")
                return cls(zarr.open_group(str(product), mode="r"), shown)
            path = Path(product)
            if path.is_dir():
                for name in _METADATA:
                    if (path / name).exists():
                        check_file(path / name, _MOST_METADATA_BYTES)
                return cls(zarr.open_group(str(path), mode="r"), shown)
            check_file(path, sys.maxsize)
            inside = _root_in(path)
            store = zarr.storage.ZipStore(path, mode="r")
            return cls(zarr.open_group(store, path=inside, mode="r"), shown)

    def has(self, path: str) -> bool:
        """Tell whether there is an array at a path."""
        with _said(f"{self._shown} cannot be read"):
            return path in self._root

    def array(self, path: str, name: str, *, axes: int) -> Any:  # noqa: ANN401
        """Return an array of numbers; a ProductError if it is none, or of an unknown codec.

        Args:
            path: Its path.
            name: Its name in error messages.
            axes: How many it has.
        """
        with _said(f"{name} cannot be read"):
            array = self._root[path]
            if getattr(array, "ndim", 0) != axes or array.dtype.kind not in "uif":
                raise ProductError(f"{name} is no array of numbers with {axes} axes.")
            unknown = sorted(_codecs(array.metadata.to_dict()) - _CODECS)
        if unknown:
            raise ProductError(
                f"{name} is stored with {cut(', '.join(unknown))}; only what makes numbers of "
                f"bytes is run: {', '.join(sorted(_CODECS))}. Write it with one of these."
            )
        if np.prod(array.chunks, dtype=float) * array.dtype.itemsize > MAX_SCENE_BLOCK_BYTES:
            raise ProductError(f"{name} has chunks of {array.chunks} pixels. Write smaller ones.")
        return array

    def template(self, path: str, array: Any, name: str) -> "DataArray":  # noqa: ANN401
        """Return an array of the same place and attributes, which holds no values."""
        import xarray

        group = path.rpartition("/")[0]
        coordinates = {}
        for axis, size in zip(("y", "x"), array.shape, strict=True):
            key = f"{group}/{axis}"
            if key not in self._coordinates:
                found = self.array(key, f"{axis} of {name}", axes=1)
                if found.shape[0] != size:
                    raise GridError(f"{name} has {size} pixels along {axis}, not {found.shape[0]}.")
                with _said(f"{axis} of {name} cannot be read"):
                    self._coordinates[key] = np.asarray(found[:])
            coordinates[axis] = self._coordinates[key]
        told = dict(array.attrs)
        told = {**_mapping(told.pop("_eopf_attrs", None)), **told}
        if told.get("fill_value") is not None:
            told.setdefault("_FillValue", told["fill_value"])
        values = np.broadcast_to(np.zeros((), array.dtype), array.shape)
        return xarray.DataArray(values, coordinates, ("y", "x"), attrs=told)

    def close(self) -> None:
        """Close it; again does nothing."""
        self._root.store.close()


def _path_of(band: str) -> str:
    if band == CLASSIFICATION:
        return _CLASSES
    return f"measurements/reflectance/r{native_metres(band)}m/{band.lower()}"


def _root_in(path: Path) -> str:
    """Return the path of the outermost group in a zip."""
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
    if len(members) > MAX_ZIP_ENTRIES:
        raise ProductError(f"{path} holds {len(members):,} files, as no product does.")
    for member in members:
        is_metadata = PurePosixPath(member.filename).name in _METADATA
        if is_metadata and member.file_size > _MOST_METADATA_BYTES:
            raise ProductError(f"{path} has {member.file_size:,} bytes in {member.filename}.")
    paths = [PurePosixPath(member.filename) for member in members]
    roots = [path.parent for path in paths if path.name in _MARKS]
    if not roots:
        raise ProductError(f"{path} is a zip without a Zarr store. Pass the zip of one.")
    root = str(min(roots, key=lambda root: len(root.parts)))
    return "" if root == "." else root


def _codecs(metadata: Mapping[str, Any]) -> set[str]:
    """Return the names of the codecs of an array, those inside of others too."""
    listed = [metadata.get("compressor"), *(metadata.get("filters") or ())]
    listed += metadata.get("codecs") or ()
    listed += metadata.get("index_codecs") or ()
    names: set[str] = set()
    for codec in listed:
        if codec is not None:
            told = _mapping(codec)
            names.add(str(told.get("id") or told.get("name")))
            names |= _codecs(_mapping(told.get("configuration")))
    return names


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


@contextmanager
def _said(what: str) -> Iterator[None]:
    """Raise a ProductError for what zarr and those below it raise."""
    try:
        yield
    except RebenError:
        raise
    except ImportError as error:
        raise MissingExtraError(f"{what}: {first_line(error)}.") from None
    except _errors() as error:
        reason = _SIGNED.sub("", first_line(error))
        raise ProductError(
            f"{what}: {reason}. Download the product again, or correct the path."
        ) from None


def _errors() -> tuple[type[Exception], ...]:
    web = sys.modules.get("aiohttp")  # only where it was used
    return (
        OSError, ValueError, KeyError, TypeError, RuntimeError, AttributeError, EOFError,
        MemoryError, zipfile.BadZipFile, *([web.ClientError] if web else []),
    )  # fmt: skip
