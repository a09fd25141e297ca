"""A Zarr store of somebody else: a folder, a zip that is not unpacked, or an address.

Arrays are read only through codecs that make numbers of bytes, and never through one that runs what
it finds (pickle); chunks of Blosc, which trusts its header, are checked first.
"""

import math
import re
import struct
import sys
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
    MissingExtraError,
    ProductError,
    RebenError,
    cut,
    first_line,
)
from reben.support.bounds import MAX_JSON_BYTES, MAX_SCENE_BLOCK_BYTES, MAX_ZIP_ENTRIES, check_file
from reben.support.extras import optional

if TYPE_CHECKING:
    from xarray import DataArray

_USE = "Reading a product in Zarr"
MARKS = ("zarr.json", ".zgroup")
_METADATA = ("zarr.json", ".zmetadata", ".zattrs")
_BLOSC_BYTES = 16
_MOST_METADATA_BYTES = 4 * MAX_JSON_BYTES
_CODECS = frozenset(
    ("bytes", "blosc", "zstd", "gzip", "zlib", "lz4", "bz2", "crc32c", "shuffle", "transpose",
     "sharding_indexed")
)  # fmt: skip
SCHEMES = ("http", "https", "s3", "gs", "az", "abfs")
SIGNED = re.compile(r"\?[^\s'\"]*|(?<=//)[^/@\s]+@")
"""What is left out of addresses in messages, as it can hold a signature."""


class ZarrStore:
    """A Zarr store that is open for reading.

    Args:
        store: The store of the package zarr.
        shown: Its name in error messages.
        inside: The path of the product in it.
    """

    def __init__(self, store: Any, shown: str, inside: str = "") -> None:  # noqa: ANN401
        import zarr

        self._chunk_bytes: dict[str, int] = {}
        checked = _with_checks(store, self._chunk_bytes)
        self._root = root = zarr.open_group(checked, path=inside, mode="r")
        self._shown = shown
        self._coordinates: dict[str, NDArray[Any]] = {}
        with said(f"{shown} cannot be read"):
            self.attributes: dict[str, Any] = dict(root.attrs)

    @classmethod
    def open(cls, product: str | Path) -> "ZarrStore":
        """Open a folder, a zip or an address."""
        storage = optional("zarr.storage", "zarr", _USE)
        optional("xarray", "zarr", _USE)
        shown = SIGNED.sub("", str(product))
        with said(f"{shown} cannot be opened as a Zarr store"):
            if urlsplit(str(product)).scheme in SCHEMES:
                if shown.endswith(".zip"):
                    raise ProductError(f"{shown} is a zip on the web. Download it, and pass that.")
                optional("fsspec", "zarr", "Reading Zarr from the web")
                return cls(storage.FsspecStore.from_url(str(product), read_only=True), shown)
            path = Path(product)
            if path.is_dir():
                for name in _METADATA:
                    if (path / name).exists():
                        check_file(path / name, _MOST_METADATA_BYTES)
                return cls(storage.LocalStore(path, read_only=True), shown)
            check_file(path, sys.maxsize)
            return cls(storage.ZipStore(path, mode="r"), shown, _root_in(path))

    def has(self, path: str) -> bool:
        """Tell whether there is an array at a path."""
        with said(f"{self._shown} cannot be read"):
            return path in self._root

    def array(self, path: str, name: str, *, axes: int) -> Any:  # noqa: ANN401
        """Return an array of numbers; a ProductError if it is none, or of an unknown codec.

        Args:
            path: Its path.
            name: Its name in error messages.
            axes: How many it has.
        """
        with said(f"{name} cannot be read"):
            array: Any = self._root[path]
            if getattr(array, "ndim", 0) != axes or array.dtype.kind not in "uif":
                raise ProductError(f"{name} is no array of numbers with {axes} axes.")
            codecs = _codecs(array.metadata.to_dict())
            unknown = sorted(codecs - _CODECS)
            if "blosc" in codecs and "sharding_indexed" in codecs:  # cannot be checked in parts
                unknown.append("blosc in shards")
        if unknown:
            raise ProductError(
                f"{name} is stored with {cut(', '.join(unknown))}; only what makes numbers of "
                f"bytes is run: {', '.join(sorted(_CODECS))}. Write it with one of these."
            )
        num_bytes = math.prod(array.chunks) * array.dtype.itemsize
        if num_bytes > MAX_SCENE_BLOCK_BYTES:
            raise ProductError(f"{name} has chunks of {array.chunks} pixels. Write smaller ones.")
        if "blosc" in codecs:
            self._chunk_bytes[array.path] = num_bytes
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
                with said(f"{axis} of {name} cannot be read"):
                    self._coordinates[key] = np.asarray(found[:])
            coordinates[axis] = self._coordinates[key]
        told = dict(array.attrs)
        told = {**mapping_of(told.pop("_eopf_attrs", None)), **told}
        if told.get("fill_value") is not None:
            told.setdefault("_FillValue", told["fill_value"])
        values = np.broadcast_to(np.zeros((), array.dtype), array.shape)
        return xarray.DataArray(values, coordinates, ("y", "x"), attrs=told)

    def close(self) -> None:
        """Close it; again does nothing."""
        self._root.store.close()


def _with_checks(store: Any, chunk_bytes: Mapping[str, int]) -> Any:  # noqa: ANN401
    """Return a store that refuses chunks whose Blosc header is wrong: Blosc itself trusts it.

    Args:
        store: The store.
        chunk_bytes: Path of an array -> bytes of each of its chunks, decoded.
    """
    from zarr.storage import WrapperStore

    class Checked(WrapperStore[Any]):
        async def get(self, key: str, prototype: Any, byte_range: Any = None) -> Any:  # noqa: ANN401
            found = await super().get(key, prototype, byte_range)
            if found is None or PurePosixPath(key).name in (*_METADATA, ".zarray"):
                return found
            for path, expected in chunk_bytes.items():
                if key.startswith(f"{path}/"):
                    header = found.as_numpy_array()[:_BLOSC_BYTES].tobytes()
                    sizes = struct.unpack("<4xIII", header) if len(header) == _BLOSC_BYTES else ()
                    if sizes[::2] != (expected, len(found)):
                        raise ProductError(f"The chunk {key} is damaged. Download it again.")
            return found

    return Checked(store)


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
    roots = [path.parent for path in paths if path.name in MARKS]
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
            told = mapping_of(codec)
            names.add(str(told.get("id") or told.get("name")))
            names |= _codecs(mapping_of(told.get("configuration")))
    return names


def mapping_of(value: object) -> Mapping[str, Any]:
    """Return a value that is a mapping, else an empty one."""
    return value if isinstance(value, Mapping) else {}


@contextmanager
def said(what: str) -> Iterator[None]:
    """Raise a ProductError for what zarr and those below it raise."""
    try:
        yield
    except RebenError:
        raise
    except ImportError as error:
        raise MissingExtraError(f"{what}: {first_line(error)}.") from None
    except _errors() as error:
        reason = SIGNED.sub("", first_line(error))
        raise ProductError(
            f"{what}: {reason}. Download the product again, or correct the path."
        ) from None


def _errors() -> tuple[type[Exception], ...]:
    web = sys.modules.get("aiohttp")  # only where it was used
    return (
        OSError, ValueError, KeyError, TypeError, RuntimeError, AttributeError, EOFError,
        MemoryError, SystemError, zipfile.BadZipFile, *([web.ClientError] if web else []),
    )  # fmt: skip
