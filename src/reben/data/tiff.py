"""Single-band TIFFs: read as fast as a file can be read.

The band files of the data set are little-endian, uncompressed, in strips. Those are parsed here,
which takes a tenth of the time that a general library needs to open a file. Everything else that
is a single-band TIFF is left to rasterio, an optional dependency.

Source: TIFF revision 6.0 (Adobe, 1992).
"""

import struct
import warnings
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from reben.data.geotiff import GeoTransform, write_geotiff
from reben.errors import MissingExtraError, TiffError

__all__ = ["GeoTransform", "parse_tiff", "read_tiff", "write_geotiff"]

_PLAIN = b"II*\x00"
_OTHER_TIFFS = (b"MM\x00*", b"II+\x00", b"MM\x00+")
_ENTRY = struct.Struct("<HHII")
_SHORT, _LONG = 3, 4

_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC = 256, 257, 258, 259, 262
_FILL_ORDER, _STRIP_OFFSETS, _ORIENTATION, _SAMPLES, _ROWS_PER_STRIP = 266, 273, 274, 277, 278
_STRIP_BYTES, _TILE_WIDTH, _FORMAT = 279, 322, 339

_DTYPES: dict[tuple[int, int], np.dtype[Any]] = {
    (bits, code): np.dtype(f"<{letter}{bits // 8}")
    for code, letter, sizes in (
        (1, "u", (8, 16, 32, 64)),
        (2, "i", (8, 16, 32, 64)),
        (3, "f", (32, 64)),
    )
    for bits in sizes
}
_MAX_PIXELS = 10_980**2
"""A whole 10 m band of a Sentinel-2 product: nothing that is read here is larger."""

_Entry = tuple[int, int, int]
"""Kind, number of values, and the value itself or where the values lie."""


def read_tiff(path: str | Path) -> NDArray[Any]:
    """Return the pixels of a single-band TIFF, [H, W] in the file's own dtype and unit.

    Pixels are never changed: no scaling, no masking of nodata. Treat the array as read-only; it
    mostly is a view of the bytes that were read.

    Raises:
        TiffError: If the file is not there, is damaged, or has more than one band.
        MissingExtraError: If the file is compressed, tiled or in another way unlike the files of
            the data set, and rasterio is not installed.
    """
    try:
        with open(path, "rb", buffering=0) as file:  # noqa: PTH123 - a third of the time
            content = file.readall()
    except OSError as error:
        raise TiffError(f"Cannot read {path}: {error.strerror or error}.") from error
    return parse_tiff(content, str(path))


def parse_tiff(content: bytes, name: str) -> NDArray[Any]:
    """Return the pixels of a single-band TIFF in memory; see `read_tiff`.

    Args:
        content: All bytes of the file.
        name: What the file is called in error messages.

    Raises:
        TiffError: If the bytes are damaged, or the image has more than one band.
        MissingExtraError: If rasterio is needed and not installed.
    """
    if content[:4] != _PLAIN:
        if content[:4] in _OTHER_TIFFS:
            return _parse_with_rasterio(content, name)
        what = "it starts with other bytes" if content else "it is empty"
        raise TiffError(f"{name} is not a TIFF: {what}. Fetch the file again.")
    tags = _read_tags(content, name)
    pixels = _read_strips(content, tags, name)
    return _parse_with_rasterio(content, name) if pixels is None else pixels


def _read_tags(content: bytes, name: str) -> dict[int, _Entry]:
    if len(content) < 8:
        _refuse(name, f"it ends after {len(content)} bytes")
    start = int.from_bytes(content[4:8], "little") + 2
    if start > len(content):
        _refuse(name, f"its directory should be at byte {start - 2}, and it has {len(content)}")
    end = start + _ENTRY.size * int.from_bytes(content[start - 2 : start], "little")
    if end > len(content):
        _refuse(name, f"its directory should end at byte {end}, and it has {len(content)}")
    return {
        tag: (kind, count, value)
        for tag, kind, count, value in _ENTRY.iter_unpack(content[start:end])
    }


def _read_strips(content: bytes, tags: dict[int, _Entry], name: str) -> NDArray[Any] | None:
    """Return the pixels, or None if the file is of a kind that rasterio has to read."""
    width, height = _number(tags, _WIDTH, 0), _number(tags, _HEIGHT, 0)
    samples = _number(tags, _SAMPLES, 1)
    _check_image(name, width, height, samples)
    dtype = _DTYPES.get((_number(tags, _BITS, 1), _number(tags, _FORMAT, 1)))
    rows = min(_number(tags, _ROWS_PER_STRIP, height), height)
    if dtype is None or min(width, height, samples, rows) < 0 or not _is_plain(tags):
        return None
    offsets = _numbers(content, tags[_STRIP_OFFSETS], name)
    sizes = _numbers(content, tags[_STRIP_BYTES], name)
    if offsets is None or sizes is None or 0 in offsets or 0 in sizes:
        return None
    if rows == 0 or not len(offsets) == len(sizes) == -(-height // rows):
        _refuse(name, f"{len(offsets)} strips of {rows} rows do not make {height} rows")
    strip_bytes, total = rows * width * dtype.itemsize, height * width * dtype.itemsize
    _check_strips(content, offsets, sizes, strip_bytes, total, name)
    if offsets == tuple(range(offsets[0], offsets[0] + total, strip_bytes)):
        pixels = np.frombuffer(content, dtype, width * height, offsets[0])
    else:
        joined = b"".join([content[offset : offset + strip_bytes] for offset in offsets])
        pixels = np.frombuffer(joined, dtype, width * height)
    pixels = pixels if pixels.flags.aligned else pixels.copy()
    return pixels.reshape(height, width)


def _check_strips(
    content: bytes,
    offsets: tuple[int, ...],
    sizes: tuple[int, ...],
    strip_bytes: int,
    total: int,
    name: str,
) -> None:
    for offset, size in zip(offsets, sizes, strict=True):
        needed = min(strip_bytes, total)
        total -= needed
        if size < needed:
            _refuse(name, f"a strip has {size} bytes and needs {needed}")
        if offset + needed > len(content):
            _refuse(name, f"its pixels reach to byte {offset + needed}, and it has {len(content)}")


def _is_plain(tags: dict[int, _Entry]) -> bool:
    return (
        _STRIP_OFFSETS in tags
        and _STRIP_BYTES in tags
        and _TILE_WIDTH not in tags
        and _number(tags, _COMPRESSION, 1) == 1
        and _number(tags, _PHOTOMETRIC, 1) == 1
        and _number(tags, _FILL_ORDER, 1) == 1
        and _number(tags, _ORIENTATION, 1) == 1
    )


def _number(tags: dict[int, _Entry], tag: int, default: int) -> int:
    """Return the one number of a tag, or -1 if it is not one short or long number."""
    kind, count, value = tags.get(tag, (_LONG, 1, default))
    if count != 1:
        return -1
    if kind == _SHORT:
        return value & 0xFFFF
    return value if kind == _LONG else -1


def _numbers(content: bytes, entry: _Entry, name: str) -> tuple[int, ...] | None:
    """Return the numbers of a tag, or None if they are neither short nor long ones."""
    kind, count, value = entry
    if kind not in (_SHORT, _LONG):
        return None
    size = count * (2 if kind == _SHORT else 4)
    if size <= 4:
        content, value = value.to_bytes(4, "little"), 0
    if value + size > len(content):
        _refuse(name, f"its list of strips reaches to byte {value + size}")
    return struct.unpack_from(f"<{count}{'H' if kind == _SHORT else 'I'}", content, value)


def _refuse(name: str, reason: str) -> NoReturn:
    raise TiffError(f"{name} is a damaged TIFF: {reason}. Fetch the file again.")


def _check_image(name: str, width: int, height: int, samples: int) -> None:
    if samples > 1:
        raise TiffError(
            f"{name} has {samples} bands; a patch has one TIFF for each band. "
            "Write every band to its own file."
        )
    if 0 in (width, height, samples):
        _refuse(name, f"it claims {width} x {height} pixels in {samples} bands")


def _parse_with_rasterio(content: bytes, name: str) -> NDArray[Any]:
    try:
        import rasterio
        from rasterio.errors import NotGeoreferencedWarning, RasterioError
    except ImportError as error:
        raise MissingExtraError(
            f"{name} is compressed, tiled or in another way unlike the files of BigEarthNet, and "
            'rasterio, which reads such files, is missing. Install it: pip install "reben[geo]"'
        ) from error
    try:
        with (
            warnings.catch_warnings(action="ignore", category=NotGeoreferencedWarning),
            rasterio.MemoryFile(content, filename="band.tif") as memory,
            memory.open(driver="GTiff") as image,
        ):
            _check_image(name, image.width, image.height, image.count)
            if image.width * image.height > _MAX_PIXELS or np.dtype(image.dtypes[0]).kind == "c":
                kind = image.dtypes[0]
                _refuse(name, f"it claims {image.width} x {image.height} pixels of {kind}")
            pixels: NDArray[Any] = image.read(1)
    except (RasterioError, OSError) as error:
        reason = error.__cause__ or error
        raise TiffError(f"{name} is a TIFF that cannot be read: {reason}") from error
    return pixels
