"""TIFFs that are unlike those of the data set: opened by rasterio, an optional dependency."""

import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from reben.errors import RebenError, TiffError, first_line
from reben.support.bounds import MAX_BLOCK_BYTES, MEBIBYTE, check_file
from reben.support.extras import optional

if TYPE_CHECKING:
    from rasterio.io import DatasetReader

_NUM_BYTES = {
    f"{kind}{bits}": bits // 8
    for kind, sizes in (
        ("uint", (8, 16, 32, 64)),
        ("int", (8, 16, 32, 64)),
        ("float", (16, 32, 64)),
    )
    for bits in sizes
}
"""Dtype of a band, as rasterio calls it -> bytes of a pixel; complex numbers are none."""


@contextmanager
def open_with_rasterio(
    file: str | Path | bytes, name: str | Path, use: str
) -> Iterator["DatasetReader"]:
    """Yield an open TIFF, also one that is not georeferenced.

    Args:
        file: Its path or its content.
        name: What it is called in error messages.
        use: What needs rasterio, as the beginning of a sentence.
    """
    rasterio, errors = (optional(part, "geo", use) for part in ("rasterio", "rasterio.errors"))
    try:
        with warnings.catch_warnings(), ExitStack() as stack:
            warnings.simplefilter("ignore", errors.NotGeoreferencedWarning)
            if isinstance(file, bytes):
                memory = stack.enter_context(rasterio.MemoryFile(file, filename="image.tif"))
                yield stack.enter_context(memory.open(driver="GTiff"))
            else:
                check_file(file, 1 << 62)
                yield stack.enter_context(rasterio.open(file, driver="GTiff"))
    except RebenError:
        raise
    except raster_errors() as error:
        reason = error.__cause__ or error
        raise TiffError(f"{name} is a TIFF that cannot be read: {first_line(reason)}.") from error


def apply_mask(pixels: NDArray[Any], image: "DatasetReader", band: int) -> NDArray[Any]:
    """Return a band as it is, or masked where a mask in the file says that there is no data.

    Args:
        pixels: The band, masked or not.
        image: The open file.
        band: Its number in the file, counted from 1.
    """
    from rasterio.enums import MaskFlags

    if MaskFlags.per_dataset not in image.mask_flag_enums[band - 1]:
        return pixels
    missing = image.read_masks(band) == 0
    return np.ma.masked_array(pixels, missing, keep_mask=True) if missing.any() else pixels


def raster_errors() -> tuple[type[Exception], ...]:
    """Return what rasterio raises for files that are damaged, once it is installed.

    Besides its own errors: one for a reference system that makes no sense, what GDAL says where
    rasterio does not expect it, and names in a file that are no text.
    """
    from rasterio._err import CPLE_BaseError
    from rasterio.errors import CRSError, RasterioError

    return RasterioError, CRSError, CPLE_BaseError, OSError, UnicodeDecodeError


def require_readable(image: "DatasetReader", name: str | Path, most_bytes: int) -> None:
    """Refuse an open TIFF before its pixels take memory: complex, or larger than ``most_bytes``.

    Args:
        image: The file.
        name: What it is called in error messages.
        most_bytes: The largest band.
    """
    for dtype, (height, width) in zip(image.dtypes, image.block_shapes, strict=True):
        size = _NUM_BYTES.get(dtype)
        claim = f"{name} claims {image.width} x {image.height} pixels of {dtype}"
        if size is None:
            raise TiffError(
                f"{claim}, which is no kind of number that a band has. Write it as uint16 or "
                "float32."
            )
        if image.width * image.height * size > most_bytes:
            raise TiffError(
                f"{claim}, which are {image.width * image.height * size / MEBIBYTE:.0f} MiB; the "
                f"bands of a patch have at most {most_bytes / MEBIBYTE:g} MiB. Cut the patch out, "
                "or predict a whole image with: reben predict-scene"
            )
        is_mixed = image.interleaving is not None and image.interleaving.name == "pixel"
        together = image.count if is_mixed else 1
        if height * width * size * together > MAX_BLOCK_BYTES:
            raise TiffError(
                f"{name} claims blocks of {width} x {height} pixels of {dtype} in {together} "
                f"bands, and at most {MAX_BLOCK_BYTES / MEBIBYTE:g} MiB are decompressed at once. "
                "Write it with smaller blocks."
            )
