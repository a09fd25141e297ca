"""Where the pixels of a TIFF lie, by its own tags.

The band files of the data set are read without a library, from the few bytes at their start;
others are left to rasterio.

Source: TIFF revision 6.0 (Adobe, 1992); GeoTIFF standard 1.1 (OGC 19-008r4).
"""

import struct
import warnings
from pathlib import Path
from typing import Any

from reben.data.strips import PLAIN_START
from reben.errors import MissingExtraError, TiffError
from reben.spec.patches import Bounds

_START_BYTES = 1 << 14
_ENTRY = struct.Struct("<HHII")
_CODES = {3: "H", 4: "I", 12: "d"}
_WIDTH, _HEIGHT, _SCALE, _TIEPOINT, _TRANSFORM, _KEYS = 256, 257, 33550, 33922, 34264, 34735
_RASTER_TYPE, _GEOGRAPHIC, _PROJECTED = 1025, 2048, 3072
_USER_DEFINED = 32767


def read_bounds(path: str | Path) -> Bounds | None:
    """Return the rectangle that a TIFF covers, or None if it does not say so.

    Raises:
        TiffError: If the file cannot be read.
        MissingExtraError: If it is unlike the files of the data set, and rasterio, which reads
            such files, is not installed.
    """
    try:
        with open(path, "rb", buffering=0) as file:  # noqa: PTH123 - half a million times
            start = file.read(_START_BYTES)
    except OSError as error:
        raise TiffError(f"Cannot read {path}: {error.strerror or error}.") from error
    tags = _read_tags(start) if start.startswith(PLAIN_START) else None
    if tags is None or _TRANSFORM in tags:
        return _ask_rasterio(path)
    if not {_SCALE, _TIEPOINT, _KEYS, _WIDTH, _HEIGHT} <= tags.keys():
        return None
    keys = tags[_KEYS]
    known = {keys[at]: keys[at + 3] for at in range(4, len(keys) - 3, 4) if keys[at + 1] == 0}
    epsg = int(known.get(_PROJECTED, known.get(_GEOGRAPHIC, _USER_DEFINED)))
    if epsg == _USER_DEFINED:
        return _ask_rasterio(path)
    column, row, _, x, y, _ = tags[_TIEPOINT][:6]
    across, down = tags[_SCALE][:2]
    # Where a pixel is a point, its coordinates are those of its middle.
    shift = 0.5 if known.get(_RASTER_TYPE) == 2 else 0.0
    left, top = x - (column + shift) * across, y + (row + shift) * down
    width, height = tags[_WIDTH][0], tags[_HEIGHT][0]
    return Bounds(epsg, left, top - height * down, left + width * across, top)


def _read_tags(start: bytes) -> dict[int, tuple[Any, ...]] | None:
    """Return the numbers of each tag of a directory near the start, or None if it is not there."""
    try:
        (place,) = struct.unpack_from("<I", start, 4)
        (count,) = struct.unpack_from("<H", start, place)
        entries = start[place + 2 : place + 2 + count * _ENTRY.size]
        tags = {}
        for number, (tag, kind, length, value) in enumerate(_ENTRY.iter_unpack(entries)):
            if tag in (_WIDTH, _HEIGHT, _SCALE, _TIEPOINT, _TRANSFORM, _KEYS):
                numbers = struct.Struct(f"<{length}{_CODES[kind]}")
                here = place + 2 + number * _ENTRY.size + 8
                tags[tag] = numbers.unpack_from(start, here if numbers.size <= 4 else value)
    except (struct.error, KeyError):
        return None
    return tags if number + 1 == count else None


def _ask_rasterio(path: str | Path) -> Bounds | None:
    try:
        import rasterio
        from rasterio.errors import NotGeoreferencedWarning, RasterioError
    except ImportError as error:
        raise MissingExtraError(
            f"To say where {path} lies needs rasterio, which is missing. Install it: "
            'pip install "reben[geo]", or leave geometry out: --no-geometry'
        ) from error
    try:
        with (
            warnings.catch_warnings(action="ignore", category=NotGeoreferencedWarning),
            rasterio.open(path, driver="GTiff") as image,
        ):
            epsg = None if image.crs is None else image.crs.to_epsg()
            if epsg is None or image.transform.b or image.transform.d:
                return None
            return Bounds(epsg, *image.bounds)
    except RasterioError as error:
        raise TiffError(f"{path} is a TIFF that cannot be read: {error}") from error
