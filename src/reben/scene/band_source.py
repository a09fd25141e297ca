"""A band of a scene in a raster file.

A raster file is a GeoTIFF or JPEG 2000 file: local, in a zip, or on the web. Files are read in
whole tiles, because a JPEG 2000 tile can only be decoded as a whole: a product's 10 m band has
tiles of 1024 x 1024 pixels, and strips of 120 rows would decode each of them nine times. Only the
tiles that the last strip needed are kept, so the memory of a band is that of one tile row at most:
22 MB for a 10 m band of 10,980 pixels.
"""

import os
import sys
import threading
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

from numpy.typing import NDArray

from reben.data.tiff.with_rasterio import raster_errors
from reben.errors import GridError, ProductError
from reben.scene.offset import (
    ScaleStatement,
    statement_of_scale,
)
from reben.scene.row_blocks import RowBlocks, Runs, num_bytes, rows_of_block
from reben.scene.sources import Placement, Size, Transform
from reben.support.bounds import (
    check_file,
)
from reben.support.extras import optional

# GDAL keeps tiles here until they are copied: those of one reading of each of four threads. Of
# files on the web a row of tiles is read at once, in few requests: 23 MB of a 10 m band.
_CACHE_BYTES = 96 * 2**20
_BYTES_AT_ONCE = 8 * 2**20
_WEB = ("/vsicurl", "/vsis3", "/vsigs", "/vsiaz")
_SMALL_PIXELS = 2_000_000
_OPTIONS = {
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",  # no listing of web folders, no side files
    "GDAL_NUM_THREADS": "ALL_CPUS",
    "GDAL_HTTP_MAX_RETRY": "4",
    "GDAL_HTTP_RETRY_DELAY": "1",
    "GDAL_HTTP_CONNECTTIMEOUT": "20",
    "GDAL_HTTP_LOW_SPEED_TIME": "60",
    "GDAL_HTTP_LOW_SPEED_LIMIT": "100",
    "GDAL_HTTP_MERGE_CONSECUTIVE_RANGES": "YES",
}
# No other format is tried: some, such as VRT, are programs that open further files.
_DRIVERS = ("GTiff", "JP2OpenJPEG", "JP2KAK", "JP2ECW", "JP2MrSID")


import_rasterio = partial(optional, "rasterio", "geo", "Reading scenes")
"""Returns rasterio, or raises a MissingExtraError."""


@contextmanager
def raster_environment(*, cache: bool = False) -> Iterator[None]:
    """Set the GDAL options for reading scenes; the user's environment takes precedence.

    Args:
        cache: Also bound GDAL's cache, which all threads share; for the outermost use.
    """
    options: dict[str, Any] = {key: text for key, text in _OPTIONS.items() if key not in os.environ}
    if cache and "GDAL_CACHEMAX" not in os.environ:
        options["GDAL_CACHEMAX"] = _CACHE_BYTES
    with import_rasterio().Env(**options):
        yield


class BandFile:
    """One band of a raster file; a `reben.scene.sources.BandSource`.

    Args:
        path: The path that GDAL opens; may start with /vsicurl/, /vsizip/ and the like.
        name: Its name in error messages.
        index: Which band of the file, from 1.
        expected: The placement by the product's metadata; used if the file does not state it.
        beside: Another band of the same file, which stays open as long as this one is used: what
            is decoded for one is there for the other.
    """

    def __init__(
        self,
        path: str,
        name: str = "",
        index: int = 1,
        expected: Placement | None = None,
        beside: "BandFile | None" = None,
    ) -> None:
        self.name = name or path
        self.path = "" if path.startswith("/vsi") else path
        self.index = index
        self._lock: threading.Lock = threading.Lock() if beside is None else beside._lock
        self._dataset: Any = _open(path, self.name) if beside is None else beside._dataset
        if self._dataset.count < index:
            raise ProductError(f"{self.name} has no band {index}; it has {self._dataset.count}.")
        try:
            self._rows_of_block = rows_of_block(
                self.name,
                self._dataset.shape,
                self._dataset.dtypes[index - 1],
                self._dataset.block_shapes[index - 1][0],
                "Write it in smaller tiles: gdal_translate -co TILED=YES IN.tif OUT.tif",
            )
        except ProductError:
            self._dataset.close()
            raise
        shape, tile = self._dataset.shape, self._dataset.block_shapes[index - 1]
        kind = self._dataset.dtypes[index - 1]
        most = max(1, _BYTES_AT_ONCE // (tile[0] * tile[1] * num_bytes(kind)))
        self._blocks = RowBlocks(
            shape,
            kind,
            (self._rows_of_block, tile[1]),
            self._read_block,
            self._lock,
            None if path.startswith(_WEB) else most,
        )
        self.placement = self._placement(expected)
        flags = {flag.name for flag in self._dataset.mask_flag_enums[index - 1]}
        self._is_masked = "per_dataset" in flags  # by a mask or a transparent band beside it

    @property
    def statements(self) -> tuple[ScaleStatement, ...]:
        """What the file's scale and offset tags say; nothing where they are the usual 1 and 0."""
        scale = float(self._dataset.scales[self.index - 1])
        offset = float(self._dataset.offsets[self.index - 1])
        if (scale, offset) == (1.0, 0.0):
            return ()
        said = f"{self.name} has scale {scale:g} and offset {offset:g}"
        return (statement_of_scale(said, scale, offset),)

    @property
    def nodata(self) -> float | None:
        """The value of pixels without data that the file declares."""
        value = self._dataset.nodatavals[self.index - 1]
        return None if value is None else float(value)

    @property
    def words(self) -> Mapping[str, str]:
        """Unit, description and tags of the file and the band."""
        dataset, index = self._dataset, self.index
        told = {"units": dataset.units[index - 1], "description": dataset.descriptions[index - 1]}
        told |= dataset.tags() | dataset.tags(index)
        return {key: str(text) for key, text in told.items() if text}

    @property
    def descriptions(self) -> tuple[str | None, ...]:
        """What the file calls its bands."""
        return tuple(self._dataset.descriptions)

    @property
    def is_tied_by_points(self) -> bool:
        """Whether it is georeferenced by control points, not a transform, as in radar geometry."""
        return bool(self._dataset.gcps[0])

    def read_rows(
        self,
        top: int,
        height: int,
        columns: tuple[int, int] | None = None,
        needed: Runs | None = None,
    ) -> NDArray[Any]:
        """Return rows ``top`` to ``top + height``, [height, width], as stored."""
        return self._blocks.rows(top, height, columns, needed)

    def read_small(self, size: Size, shape: Size) -> NDArray[Any] | None:
        """Return the upper left ``size`` pixels as ``shape``, if small or from overviews."""
        from rasterio.windows import Window

        if not self._dataset.overviews(self.index) and size[0] * size[1] > _SMALL_PIXELS:
            return None
        window = Window(0, 0, size[1], size[0])
        with self._lock, raster_environment(), self._said("as a whole"):
            small: NDArray[Any] = self._dataset.read(
                self.index, window=window, out_shape=shape, masked=self._is_masked
            )
        return small

    def close(self) -> None:
        """Close the file and forget its rows."""
        with self._lock:
            self._blocks.forget()
            self._dataset.close()

    def _placement(self, expected: Placement | None) -> Placement:
        dataset = self._dataset
        crs = ""
        if dataset.crs:
            code = dataset.crs.to_epsg()
            crs = f"EPSG:{code}" if code else dataset.crs.to_wkt()
        transform: Transform = tuple(dataset.transform)[:6]
        placement = Placement(crs, transform, dataset.width, dataset.height)
        if expected is None:
            return placement
        if not crs:
            placement = Placement(expected.crs, expected.transform, dataset.width, dataset.height)
        if placement != expected:
            raise GridError(
                f"{self.name} does not lie where the product's metadata say: it has {placement}, "
                f"they say {expected}. Download the product again."
            )
        return placement

    def _read_block(self, block: int, columns: tuple[int, int]) -> NDArray[Any]:
        from rasterio.windows import Window

        top = block * self._rows_of_block
        height = min(self._rows_of_block, self._dataset.height - top)
        left, stop = columns
        window = Window(left, top, stop - left, height)
        with raster_environment(), self._said(f"in rows {top} to {top + height}"):
            rows: NDArray[Any] = self._dataset.read(
                self.index, window=window, masked=self._is_masked
            )
        return rows

    @contextmanager
    def _said(self, what: str) -> Iterator[None]:
        try:
            yield
        except raster_errors() as error:
            reason = _reason(error, self._dataset.name, self.name)
            raise ProductError(
                f"{self.name} cannot be read {what}: {reason}. Download the file again."
            ) from None


def _open(path: str, name: str) -> Any:  # noqa: ANN401 - rasterio has no types
    rasterio = import_rasterio()
    from rasterio.errors import NotGeoreferencedWarning

    if not path.startswith("/vsi"):
        _require_file(path, name)
    is_jpeg2000 = path.partition("?")[0].lower().endswith((".jp2", ".j2k"))
    errors = []
    with raster_environment(), rasterio.Env() as environment:
        known = [driver for driver in _DRIVERS if driver in environment.drivers()]
        for driver in sorted(known, key=lambda driver: (driver == "GTiff") == is_jpeg2000):
            try:
                # A band without a place on the ground gets one from metadata, or is an error.
                with warnings.catch_warnings(action="ignore", category=NotGeoreferencedWarning):
                    return rasterio.open(path, driver=driver)
            except raster_errors() as error:
                errors.append(_reason(error, path, name))
    cure = "It should be a GeoTIFF or JPEG 2000 file."
    if path.startswith(_WEB):
        cure += " Check the address and the connection, and that you may read it."
    raise ProductError(f"Cannot open {name}: {errors[0]}. {cure}")


def _require_file(path: str, name: str) -> None:
    try:
        path.encode()
        check_file(path, sys.maxsize)
    except UnicodeEncodeError:
        raise ProductError(f"Cannot open {name!r}: its name is no text. Rename it.") from None
    except OSError as error:
        reason = error.strerror or error
        raise ProductError(
            f"Cannot open {name}: {reason}. Name a GeoTIFF or JPEG 2000 file."
        ) from None


def _reason(error: BaseException, path: str, name: str) -> str:
    # GDAL puts the whole address into its message, with what signs it.
    text = str(error.__cause__ or error).replace(path, name).rstrip(". ")
    return text.replace(path.removeprefix("/vsicurl/"), name)
