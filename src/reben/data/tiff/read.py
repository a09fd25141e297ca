"""Single-band TIFFs: read as fast as a file can be read.

The band files of the data set are plain ones, which `reben.data.tiff.read` reads in a hundredth of
the time that a general library needs to open a file. Everything else that is a single-band TIFF is
left to rasterio, an optional dependency.

The plain TIFF: little-endian, one band, in strips that are uncompressed or deflated.

All band files of the data set are of this kind. Half a million patches share a few directories,
so what a directory says is worked out once; the rest is slicing.

Source: TIFF revision 6.0 (Adobe, 1992); deflate: Adobe Photoshop TIFF Technical Notes (2002).
"""

import struct
import warnings
import zlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import numpy as np
from numpy.typing import NDArray

from reben.data.tiff.write import GeoTransform, write_geotiff
from reben.errors import MissingExtraError, TiffError

PLAIN_START = b"II*\x00"
"""What such a file starts with."""

_ENTRY = struct.Struct("<HHII")
_SHORT, _LONG = 3, 4
_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC = 256, 257, 258, 259, 262
_FILL_ORDER, _STRIP_OFFSETS, _ORIENTATION, _SAMPLES, _ROWS_PER_STRIP = 266, 273, 274, 277, 278
_STRIP_BYTES, _PREDICTOR, _TILE_WIDTH, _FORMAT = 279, 317, 322, 339
_UNCOMPRESSED = 1
_DEFLATE = (8, 32946)

_DTYPES: dict[tuple[int, int], np.dtype[Any]] = {
    (bits, code): np.dtype(f"<{letter}{bits // 8}")
    for code, letter, sizes in (
        (1, "u", (8, 16, 32, 64)),
        (2, "i", (8, 16, 32, 64)),
        (3, "f", (32, 64)),
    )
    for bits in sizes
}

_ONE_IF_PLAIN = (_PHOTOMETRIC, _FILL_ORDER, _ORIENTATION, _PREDICTOR)

_Entry = tuple[int, int, int, int]
"""Kind, number of values, the value itself or where the values lie, and where the value lies."""


class Strips(NamedTuple):
    """The pixels of a plain TIFF, row after row.

    Args:
        dtype: Dtype of a pixel, little-endian.
        shape: Height and width.
        content: Their bytes.
    """

    dtype: np.dtype[Any]
    shape: tuple[int, int]
    content: bytes | memoryview


@dataclass(frozen=True, eq=False, slots=True)
class _Directory:
    """What is the same in all files with the same directory; it is remembered by its identity.

    ``offsets`` and ``sizes`` are lists in the file: format of a number, first byte, end.
    """

    dtype: np.dtype[Any]
    shape: tuple[int, int]
    strip_bytes: int
    total: int
    deflated: bool
    offsets: tuple[str, int, int]
    sizes: tuple[str, int, int]


class _Layout(NamedTuple):
    """Where the strips lie: first byte, bytes in the file, bytes of pixels of each.

    ``end`` is where the last of them ends; ``run`` where all pixels start, if they lie there
    uncompressed in one piece.
    """

    strips: tuple[tuple[int, int, int], ...]
    end: int
    run: int | None


def read_strips(content: bytes, name: str) -> Strips | None:
    """Return the pixels of a plain TIFF, or None if the file is one of another kind.

    Args:
        content: All bytes of the file, which start with `PLAIN_START`. What is returned may be a
            view of them.
        name: What the file is called in error messages.

    Raises:
        TiffError: If it is a plain TIFF and damaged, or has more than one band.
    """
    try:
        return _read(content)
    except _DamageError as error:
        raise TiffError(f"{name} is a damaged TIFF: {error}. Fetch the file again.") from None
    except _BandsError as error:
        raise TiffError(
            f"{name} has {error} bands; a patch has one TIFF for each band. "
            "Write every band to its own file."
        ) from None


class _DamageError(Exception):
    """What is wrong with a file; the functions that are remembered do not know its name."""


class _BandsError(Exception):
    """The number of bands of a file that should have one."""


def _read(content: bytes) -> Strips | None:
    _require_inside(content, 8, "its header")
    start = int.from_bytes(content[4:8], "little") + 2
    end = start + _ENTRY.size * int.from_bytes(content[start - 2 : start], "little")
    _require_inside(content, max(start, end), "its directory")
    directory = _read_directory(content[start:end], start)
    if directory is None:
        return None
    _, offsets_at, offsets_end = directory.offsets
    _, sizes_at, sizes_end = directory.sizes
    _require_inside(content, max(offsets_end, sizes_end), "its list of strips")
    layout = _read_layout(directory, content[offsets_at:offsets_end], content[sizes_at:sizes_end])
    if layout is None:
        return None
    _require_inside(content, layout.end, "its last strip")
    view = memoryview(content)
    if layout.run is not None:
        return Strips(directory.dtype, directory.shape, view[layout.run : layout.end])
    pieces: list[bytes | memoryview] = []
    for offset, size, needed in layout.strips:
        piece = view[offset : offset + size]
        pixels = _inflate(piece, needed) if directory.deflated else piece[:needed]
        if pixels is None:
            return None
        pieces.append(pixels)
    return Strips(directory.dtype, directory.shape, b"".join(pieces))


def _require_inside(content: bytes, end: int, what: str) -> None:
    if end > len(content):
        raise _DamageError(f"{what} should end at byte {end}, and it has {len(content)}")


@lru_cache(maxsize=1024)
def _read_directory(entries: bytes, position: int) -> _Directory | None:
    """Return what the directory says that lies at byte ``position``, or None if not plain."""
    tags: dict[int, _Entry] = {}
    for place, (tag, kind, count, value) in enumerate(_ENTRY.iter_unpack(entries)):
        tags[tag] = (kind, count, value, position + place * _ENTRY.size + 8)
    width, height = _number(tags, _WIDTH, 0), _number(tags, _HEIGHT, 0)
    samples = _number(tags, _SAMPLES, 1)
    if samples > 1:
        raise _BandsError(samples)
    if 0 in (width, height, samples):
        raise _DamageError(f"it claims {width} x {height} pixels in {samples} bands")
    dtype = _DTYPES.get((_number(tags, _BITS, 1), _number(tags, _FORMAT, 1)))
    rows = min(_number(tags, _ROWS_PER_STRIP, height), height)
    offsets, sizes = _numbers(tags, _STRIP_OFFSETS), _numbers(tags, _STRIP_BYTES)
    compression = _number(tags, _COMPRESSION, _UNCOMPRESSED)
    if (
        dtype is None
        or offsets is None
        or sizes is None
        or min(width, height, samples, rows) < 0
        or compression not in (_UNCOMPRESSED, *_DEFLATE)
        or _TILE_WIDTH in tags
        or any(_number(tags, tag, 1) != 1 for tag in _ONE_IF_PLAIN)
    ):
        return None
    num_strips = tags[_STRIP_OFFSETS][1]
    if rows == 0 or not num_strips == tags[_STRIP_BYTES][1] == -(-height // rows):
        raise _DamageError(f"{num_strips} strips of {rows} rows do not make {height} rows")
    row_bytes = width * dtype.itemsize
    deflated = compression != _UNCOMPRESSED
    return _Directory(
        dtype, (height, width), rows * row_bytes, height * row_bytes, deflated, offsets, sizes
    )


@lru_cache(maxsize=1024)
def _read_layout(directory: _Directory, offset_list: bytes, size_list: bytes) -> _Layout | None:
    """Return where the strips lie, or None if some are left out of the file."""
    offsets = [value for (value,) in struct.iter_unpack(directory.offsets[0], offset_list)]
    sizes = [value for (value,) in struct.iter_unpack(directory.sizes[0], size_list)]
    if 0 in offsets or 0 in sizes:
        return None
    strips = []
    left = directory.total
    for offset, size in zip(offsets, sizes, strict=True):
        needed = min(directory.strip_bytes, left)
        left -= needed
        if size < needed and not directory.deflated:
            raise _DamageError(f"a strip has {size} bytes and needs {needed}")
        strips.append((offset, size if directory.deflated else needed, needed))
    end = max(offset + size for offset, size, _ in strips)
    run = range(offsets[0], offsets[0] + directory.total, directory.strip_bytes)
    in_one_piece = not directory.deflated and offsets == list(run)
    return _Layout(tuple(strips), end, offsets[0] if in_one_piece else None)


def _inflate(strip: memoryview, needed: int) -> bytes | None:
    """Return the pixels of a deflated strip, or None if it holds more than that."""
    inflater = zlib.decompressobj()
    try:
        pixels = inflater.decompress(strip, needed + 1)
    except zlib.error as error:
        raise _DamageError(f"a strip cannot be decompressed ({error})") from None
    if len(pixels) < needed or not (
        inflater.eof or inflater.unconsumed_tail or len(pixels) > needed
    ):
        raise _DamageError(f"a strip decompresses to {len(pixels)} bytes and needs {needed}")
    return pixels if inflater.eof and len(pixels) == needed else None


def _number(tags: dict[int, _Entry], tag: int, default: int) -> int:
    """Return the one number of a tag, or -1 if it is not one short or long number."""
    kind, count, value, _ = tags.get(tag, (_LONG, 1, default, 0))
    if count != 1:
        return -1
    if kind == _SHORT:
        return value & 0xFFFF
    return value if kind == _LONG else -1


def _numbers(tags: dict[int, _Entry], tag: int) -> tuple[str, int, int] | None:
    """Return where the numbers of a tag lie, or None if they are neither short nor long ones."""
    kind, count, value, place = tags.get(tag, (0, 0, 0, 0))
    if kind not in (_SHORT, _LONG):
        return None
    size = count * (2 if kind == _SHORT else 4)
    first = place if size <= 4 else value
    return ("<H" if kind == _SHORT else "<I"), first, first + size


__all__ = ["GeoTransform", "parse_tiff", "read_tiff", "write_geotiff"]

_OTHER_TIFFS = (b"MM\x00*", b"II+\x00", b"MM\x00+")
_MAX_PIXELS = 10_980**2
"""A whole 10 m band of a Sentinel-2 product: nothing that is read here is larger."""


def read_tiff(path: str | Path) -> NDArray[Any]:
    """Return the pixels of a single-band TIFF, [H, W] in the file's own dtype and unit.

    Pixels are never changed: no scaling, no masking of nodata. Treat the array as read-only; it
    mostly is a view of the bytes that were read.

    Raises:
        TiffError: If the file is not there, is damaged, or has more than one band.
        MissingExtraError: If the file is tiled, compressed otherwise than by deflate, or in another
            way unlike the files of the data set, and rasterio is not installed.
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
    dtype, shape, pixels = read_pixels(content, name)
    flat = np.frombuffer(pixels, dtype)
    flat = flat if flat.flags.aligned else flat.copy()
    return flat.reshape(shape)


def read_pixels(content: bytes, name: str) -> Strips:
    """Return the pixels of a single-band TIFF as bytes, little-endian; see `parse_tiff`.

    Raises:
        TiffError: If the bytes are damaged, or the image has more than one band.
        MissingExtraError: If rasterio is needed and not installed.
    """
    if content.startswith(PLAIN_START):
        strips = read_strips(content, name)
        if strips is not None:
            return strips
    elif not content.startswith(_OTHER_TIFFS):
        what = "it starts with other bytes" if content else "it is empty"
        raise TiffError(f"{name} is not a TIFF: {what}. Fetch the file again.")
    pixels = _parse_with_rasterio(content, name)
    height, width = pixels.shape
    pixels = pixels.astype(pixels.dtype.newbyteorder("<"), copy=False)
    return Strips(pixels.dtype, (height, width), pixels.tobytes())


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
