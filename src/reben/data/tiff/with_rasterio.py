"""TIFFs that are unlike those of the data set: opened by rasterio, an optional dependency."""

import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from reben.errors import TiffError
from reben.support.extras import optional

if TYPE_CHECKING:
    from rasterio.io import DatasetReader


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
                yield stack.enter_context(rasterio.open(file, driver="GTiff"))
    except (errors.RasterioError, OSError) as error:
        reason = error.__cause__ or error
        raise TiffError(f"{name} is a TIFF that cannot be read: {reason}") from error
