"""Single-band TIFFs: read as fast as a file can be read.

The band files of the data set are plain ones: little-endian, one band, in strips that are
uncompressed or deflated. They are read here in a hundredth of the time that a general library
needs to open a file: half a million patches share a few directories, so what a directory means is
worked out once; the rest is slicing. Every other single-band TIFF is left to rasterio, an optional
dependency.

Source: TIFF revision 6.0 (Adobe, 1992); deflate: Adobe Photoshop TIFF Technical Notes (2002).
"""

import struct
import zlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from reben.data.tiff.tags import (
    PLAIN_START,
    STARTS,
    Directory,
    FaultError,
    Field,
    Tag,
    damaged,
    read_directory,
    require_inside,
)
from reben.data.tiff.with_rasterio import open_with_rasterio, require_readable
from reben.errors import TiffError
from reben.support.bounds import MAX_BAND_BYTES, MAX_QUICK_STRIPS, MEBIBYTE, read_file

_UNCOMPRESSED = 1
_DEFLATE = (8, 32946)
_ONE_IF_PLAIN = (Tag.PHOTOMETRIC, Tag.FILL_ORDER, Tag.ORIENTATION, Tag.PREDICTOR)
_DTYPES: dict[tuple[int, int], np.dtype[Any]] = {
    (bits, code): np.dtype(f"<{letter}{bits // 8}")
    for code, letter, sizes in (
        (1, "u", (8, 16, 32, 64)),
        (2, "i", (8, 16, 32, 64)),
        (3, "f", (32, 64)),
    )
    for bits in sizes
}


class Strips(NamedTuple):
    """The pixels of a TIFF, row after row.

    Args:
        dtype: Dtype of a pixel, little-endian.
        shape: Height and width.
        content: Their bytes.
    """

    dtype: np.dtype[Any]
    shape: tuple[int, int]
    content: bytes | memoryview


def read_tiff(path: str | Path) -> NDArray[Any]:
    """Return the pixels of a single-band TIFF, [H, W] in the file's own dtype and unit.

    Pixels are never changed: no scaling, no masking of nodata. Treat the array as read-only; it
    mostly is a view of the bytes that were read.
    """
    return parse_tiff(read_content(path), str(path))


def read_content(path: str | Path) -> bytes:
    """Return the bytes of the TIFF of a band."""
    try:
        return read_file(path, MAX_BAND_BYTES)
    except OSError as error:
        raise TiffError(f"Cannot read {path}: {error.strerror or error}.") from error


def parse_tiff(content: bytes, name: str) -> NDArray[Any]:
    """Return the pixels of a single-band TIFF in memory; see `read_tiff`.

    Args:
        content: All bytes of the file.
        name: What the file is called in error messages.
    """
    dtype, shape, pixels = read_pixels(content, name)
    flat = np.frombuffer(pixels, dtype)
    flat = flat if flat.flags.aligned else flat.copy()
    return flat.reshape(shape)


def read_pixels(content: bytes, name: str) -> Strips:
    """Return the pixels of a single-band TIFF as bytes, little-endian; see `parse_tiff`."""
    try:
        strips = read_strips(content) if content.startswith(PLAIN_START) else None
        return strips or _read_with_rasterio(content, name)
    except FaultError as fault:
        raise TiffError(f"{name} {fault}") from None


def read_strips(content: bytes) -> Strips | None:
    """Return the pixels of a plain TIFF, mostly as a view; None if it is of another kind.

    Args:
        content: All bytes of the file, which start with `PLAIN_START`.
    """
    found = _find_strips(content)
    if found is None:
        return None
    plan, layout = found
    view = memoryview(content)
    if layout.run is not None:
        return Strips(plan.dtype, plan.shape, view[layout.run : layout.end])
    pieces: list[bytes | memoryview] = []
    for offset, size, needed in layout.strips:
        piece = view[offset : offset + size]
        pixels = _inflate(piece, needed) if plan.deflated else piece[:needed]
        if pixels is None:
            return None
        pieces.append(pixels)
    return Strips(plan.dtype, plan.shape, b"".join(pieces))


def pixels_start(content: bytes) -> int | None:
    """Return where the pixels of a TIFF start that was read, if they lie there in one piece."""
    found = _find_strips(content) if content.startswith(PLAIN_START) else None
    return None if found is None else found[1].run


def _find_strips(content: bytes) -> "tuple[_Plan, _Layout] | None":
    plan = _plan(read_directory(content))
    if plan is None:
        return None
    offsets, sizes = plan.offsets, plan.sizes
    require_inside(content, max(offsets.end, sizes.end), "its list of strips")
    layout = _lay_out(plan, content[offsets.start : offsets.end], content[sizes.start : sizes.end])
    if layout is not None:
        require_inside(content, layout.end, "its last strip")
    return None if layout is None else (plan, layout)


@dataclass(frozen=True, eq=False, slots=True)
class _Plan:
    """What a directory of a plain TIFF means; hashed by identity."""

    dtype: np.dtype[Any]
    shape: tuple[int, int]
    strip_bytes: int
    total: int
    deflated: bool
    offsets: Field
    sizes: Field


@lru_cache(maxsize=128)
def _plan(directory: Directory) -> _Plan | None:
    """Return what the directory means, or None if the file is not plain."""
    width, height = directory.number(Tag.WIDTH, 0), directory.number(Tag.HEIGHT, 0)
    _check_image(width, height, directory.number(Tag.SAMPLES, 1))
    dtype = _DTYPES.get((directory.number(Tag.BITS, 1), directory.number(Tag.SAMPLE_FORMAT, 1)))
    rows = min(directory.number(Tag.ROWS_PER_STRIP, height), height)
    compression = directory.number(Tag.COMPRESSION, _UNCOMPRESSED)
    offsets, sizes = (directory.fields.get(tag) for tag in (Tag.STRIP_OFFSETS, Tag.STRIP_BYTES))
    if (
        dtype is None
        or offsets is None
        or sizes is None
        or {offsets.code, sizes.code} - {"H", "I"}
        or min(width, height, rows, directory.number(Tag.SAMPLES, 1)) < 0
        or compression not in (_UNCOMPRESSED, *_DEFLATE)
        or Tag.TILE_WIDTH in directory.fields
        or any(directory.number(tag, 1) != 1 for tag in _ONE_IF_PLAIN)
        or offsets.num_values > MAX_QUICK_STRIPS
    ):
        return None
    if height * width * dtype.itemsize > MAX_BAND_BYTES:
        raise FaultError(
            f"claims {width} x {height} pixels of {dtype}; the bands of a patch have at most "
            f"{MAX_BAND_BYTES / MEBIBYTE:g} MiB. Cut the patch out, or predict a whole image "
            "with: reben predict-scene"
        )
    if rows == 0 or not offsets.num_values == sizes.num_values == -(-height // rows):
        raise damaged(f"{offsets.num_values} strips of {rows} rows do not make {height} rows")
    row_bytes = width * dtype.itemsize
    deflated = compression != _UNCOMPRESSED
    return _Plan(
        dtype, (height, width), rows * row_bytes, height * row_bytes, deflated, offsets, sizes
    )


def _check_image(width: int, height: int, samples: int) -> None:
    if samples > 1:
        raise FaultError(
            f"has {samples} bands; a patch has one TIFF for each band. "
            "Write every band to its own file."
        )
    if 0 in (width, height, samples):
        raise damaged(f"it claims {width} x {height} pixels in {samples} bands")


class _Layout(NamedTuple):
    """Where the strips lie: first byte, bytes in the file, bytes of pixels of each.

    ``end`` is where the last of them ends; ``run`` where all pixels start, if they lie there
    uncompressed in one piece.
    """

    strips: tuple[tuple[int, int, int], ...]
    end: int
    run: int | None


@lru_cache(maxsize=128)
def _lay_out(plan: _Plan, offset_list: bytes, size_list: bytes) -> _Layout | None:
    """Return where the strips lie, or None if some are left out of the file."""
    offsets = [value for (value,) in struct.iter_unpack(f"<{plan.offsets.code}", offset_list)]
    sizes = [value for (value,) in struct.iter_unpack(f"<{plan.sizes.code}", size_list)]
    if 0 in offsets or 0 in sizes:
        return None
    strips = []
    left = plan.total
    for offset, size in zip(offsets, sizes, strict=True):
        needed = min(plan.strip_bytes, left)
        left -= needed
        if size < needed and not plan.deflated:
            raise damaged(f"a strip has {size} bytes and needs {needed}")
        strips.append((offset, size if plan.deflated else needed, needed))
    end = max(offset + size for offset, size, _ in strips)
    run = range(offsets[0], offsets[0] + plan.total, plan.strip_bytes)
    in_one_piece = not plan.deflated and offsets == list(run)
    return _Layout(tuple(strips), end, offsets[0] if in_one_piece else None)


def _inflate(strip: memoryview, needed: int) -> bytes | None:
    """Return the pixels of a deflated strip, or None if it holds more than that."""
    inflater = zlib.decompressobj()
    try:
        pixels = inflater.decompress(strip, needed + 1)
    except zlib.error as error:
        raise damaged(f"a strip cannot be decompressed ({error})") from None
    if len(pixels) < needed or not (
        inflater.eof or inflater.unconsumed_tail or len(pixels) > needed
    ):
        raise damaged(f"a strip decompresses to {len(pixels)} bytes and needs {needed}")
    return pixels if inflater.eof and len(pixels) == needed else None


def _read_with_rasterio(content: bytes, name: str) -> Strips:
    if not content.startswith(STARTS):
        what = "it starts with other bytes" if content else "it is empty"
        raise FaultError(f"is not a TIFF: {what}. Fetch the file again.")
    use = f"Reading {name}, which is tiled, compressed or else unlike the files of BigEarthNet,"
    with open_with_rasterio(content, name, use) as image:
        _check_image(image.width, image.height, image.count)
        require_readable(image, name, MAX_BAND_BYTES)
        pixels: NDArray[Any] = image.read(1)
    pixels = pixels.astype(pixels.dtype.newbyteorder("<"), copy=False)
    return Strips(pixels.dtype, (pixels.shape[0], pixels.shape[1]), pixels.tobytes())
