"""Where the pixels of a TIFF lie, by its own tags.

The band files of the data set are read without a library, from the few bytes at their start;
others are left to rasterio.

Source: TIFF revision 6.0 (Adobe, 1992); GeoTIFF standard 1.1 (OGC 19-008r4).

What a TIFF says of itself before a pixel is read: its size, and where it lies.
"""

import struct
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reben.data.tiff.read import PLAIN_START
from reben.errors import MissingExtraError, TiffError
from reben.spec.patches import Bounds, is_utm

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


_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 12: 8, 16: 8}
_LETTERS = {1: "B", 2: "s", 3: "H", 4: "I", 12: "d", 16: "Q"}
_WIDTH, _HEIGHT, _SAMPLES, _SCALE, _TIEPOINT, _GEO_KEYS = 256, 257, 277, 33550, 33922, 34735
_WANTED = {_WIDTH, _HEIGHT, _SAMPLES, _SCALE, _TIEPOINT, _GEO_KEYS}
_PROJECTED_CRS = 3072
_MOST_VALUES = 4096
STARTS = (b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+")
"""What a TIFF starts with: little-endian and big-endian, classic and BigTIFF."""


@dataclass(frozen=True)
class TiffHeader:
    """The first image of a TIFF.

    Args:
        width: Its width in pixels.
        height: Its height in pixels.
        samples: How many bands it has.
        place: Where it lies, if it is north up in a UTM zone on WGS 84.
    """

    width: int
    height: int
    samples: int
    place: Bounds | None


def read_header(content: bytes, name: str) -> TiffHeader:
    """Return what the file says of itself, without reading a pixel.

    Args:
        content: All bytes of the file.
        name: What the file is called in error messages.

    Raises:
        TiffError: If it is no TIFF, or its first directory is damaged.

    Source: TIFF revision 6.0 (Adobe, 1992); GeoTIFF standard 1.1 (OGC 19-008r4).
    """
    if not content.startswith(STARTS):
        raise TiffError(f"{name} is not a TIFF: it starts with other bytes.")
    try:
        tags = _read_directory(content)
        (width,), (height,) = tags[_WIDTH], tags[_HEIGHT]
        samples = tags.get(_SAMPLES, (1,))[0]
    except (struct.error, KeyError, ValueError, IndexError):
        raise TiffError(f"{name} is a damaged TIFF: its directory cannot be read.") from None
    return TiffHeader(int(width), int(height), int(samples), _place(tags, int(width), int(height)))


def _read_directory(content: bytes) -> dict[int, Sequence[float]]:
    order = "<" if content[:2] == b"II" else ">"
    big = b"+" in content[2:4]
    start = struct.unpack_from(f"{order}{'Q' if big else 'I'}", content, 8 if big else 4)[0]
    count = struct.unpack_from(f"{order}{'Q' if big else 'H'}", content, start)[0]
    if count > _MOST_VALUES:
        raise ValueError(count)
    entry = struct.Struct(f"{order}HH{'Q' if big else 'I'}")
    space = 8 if big else 4
    first = start + (8 if big else 2)
    tags: dict[int, Sequence[float]] = {}
    for number in range(count):
        at = first + number * (entry.size + space)
        tag, kind, length = entry.unpack_from(content, at)
        if tag not in _WANTED or kind not in _SIZES or not 0 < length <= _MOST_VALUES:
            continue
        near = at + entry.size
        if _SIZES[kind] * length > space:
            near = struct.unpack_from(f"{order}{'Q' if big else 'I'}", content, near)[0]
        tags[tag] = struct.unpack_from(f"{order}{length}{_LETTERS[kind]}", content, near)
    return tags


def _place(tags: dict[int, Sequence[float]], width: int, height: int) -> Bounds | None:
    scale, tie, keys = (tags.get(tag, ()) for tag in (_SCALE, _TIEPOINT, _GEO_KEYS))
    entries = [keys[at : at + 4] for at in range(4, len(keys) - 3, 4)]
    epsg = next((int(entry[3]) for entry in entries if entry[0] == _PROJECTED_CRS), 0)
    if len(scale) < 2 or len(tie) < 5 or not is_utm(epsg) or min(scale[:2]) <= 0:
        return None
    left, top = tie[3] - tie[0] * scale[0], tie[4] + tie[1] * scale[1]
    # Numbers that no UTM zone has are damage or a joke; then nothing is known.
    if not (0 <= left <= 1e6 and 0 <= top <= 1e7):
        return None
    return Bounds(epsg, left, top - height * scale[1], left + width * scale[0], top)
