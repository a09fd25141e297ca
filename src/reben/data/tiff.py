"""Single-band TIFFs: read as fast as a file can be read.

The band files of the data set are plain ones, which `reben.data.strips` reads in a hundredth of
the time that a general library needs to open a file. Everything else that is a single-band TIFF is
left to rasterio, an optional dependency.
"""

import warnings
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from reben.data.geotiff import GeoTransform, write_geotiff
from reben.data.strips import PLAIN_START, Strips, read_strips
from reben.errors import MissingExtraError, TiffError

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
