"""Values of cells as a Cloud-Optimised GeoTIFF; scores have one band per label, named by it.

Axes: Y rows of cells, X columns of cells, K labels.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from reben.data.tiff.with_rasterio import raster_errors
from reben.errors import ConfigError
from reben.scene.grid import GRID_METRES, Grid
from reben.support.atomic import write_bytes, writing
from reben.support.extras import optional

if TYPE_CHECKING:
    from types import ModuleType

Dtype = Literal["float32", "uint8"]
DTYPES: tuple[Dtype, ...] = ("float32", "uint8")
"""How scores can be stored."""
BYTE_STEPS = 200
"""As uint8, a score of 1 is this number."""
BYTE_NO_DATA = 255


def write_raster(  # noqa: PLR0913 - all after the second are named
    path: Path,
    scores_YXK: NDArray[np.float32],
    *,
    grid: Grid,
    stride_metres: int,
    labels: Sequence[str],
    dtype: Dtype,
    tags: Mapping[str, str],
) -> None:
    """Write scores, one pixel per cell, as a whole or not at all.

    Measures of certainty, which are 0 to 1 too, are written by it as well.

    Args:
        path: The file; an existing one is replaced.
        scores_YXK: 0 to 1, NaN if masked. Row 0 is the northernmost.
        grid: Grid of the scene. Cells begin in its upper left corner; those at the right and lower
            edges may extend beyond it.
        stride_metres: Side length of a cell.
        labels: Names of the K bands.
        dtype: ``float32`` (no data is NaN), or ``uint8``: scores times 200 (no data is 255).
        tags: Further tags of the file.
    """
    write_values(
        path,
        np.moveaxis(_stored(scores_YXK, dtype), -1, 0),
        grid=grid,
        stride_metres=stride_metres,
        nodata=np.nan if dtype == "float32" else BYTE_NO_DATA,
        descriptions=labels,
        scale=None if dtype == "float32" else 1 / BYTE_STEPS,
        tags=tags,
    )


def write_values(  # noqa: PLR0913 - all after the second are named
    path: Path,
    pixels_KYX: NDArray[Any],
    *,
    grid: Grid,
    stride_metres: int,
    nodata: float,
    descriptions: Sequence[str],
    tags: Mapping[str, str],
    scale: float | None = None,
    colours: Mapping[int, tuple[int, int, int]] | None = None,
) -> None:
    """Write values of cells as they are, as a whole or not at all.

    Args:
        path: The file; an existing one is replaced.
        pixels_KYX: Values of K bands.
        grid: As for `write_raster`.
        stride_metres: Side length of a cell.
        nodata: The value of masked cells.
        descriptions: Names of the K bands.
        tags: Further tags of the file.
        scale: What a value is multiplied by to get what it stands for.
        colours: Value -> red, green, blue, for a single band of classes. Its overviews show the
            most frequent class, those of other values the mean.
    """
    rasterio = require_rasterio("Writing a GeoTIFF")
    num_bands, height, width = pixels_KYX.shape
    across, down = (metres * (stride_metres // GRID_METRES) for metres in grid.pixel)
    profile = {
        "driver": "GTiff",
        "dtype": pixels_KYX.dtype,
        "count": num_bands,
        "height": height,
        "width": width,
        "crs": grid.crs,
        "transform": rasterio.Affine(across, 0, grid.left, 0, -down, grid.top),
        "nodata": nodata,
    }
    options = {"compress": "deflate", "predictor": "yes", "overview_resampling": "average"}
    if colours is not None:
        profile["photometric"] = "palette"
        options |= {"predictor": "no", "overview_resampling": "mode"}
    with (
        writing(path, *raster_errors()),
        rasterio.MemoryFile() as memory,
        rasterio.MemoryFile(ext=".tif") as whole,
    ):
        with memory.open(**profile) as file:
            file.write(pixels_KYX)
            file.descriptions = tuple(descriptions)
            if scale is not None:
                file.scales = (scale,) * num_bands
            if colours is not None:
                file.write_colormap(1, dict(colours))
            if "attribution" in tags:  # where programs look for it
                file.update_tags(TIFFTAG_COPYRIGHT=tags["attribution"])
            file.update_tags(**tags)
        with memory.open() as file:
            # Only GDAL's own driver orders a file's parts as the format asks for.
            rasterio.shutil.copy(file, whole.name, driver="COG", **options)
        # GDAL does not say that a disk is full if it finds out when it closes a file.
        write_bytes(path, whole.getbuffer())


def read_tags(path: Path) -> dict[str, str]:
    """Return what `write_raster` wrote into a file as tags; nothing if it is no such file."""
    rasterio = require_rasterio("Reading a GeoTIFF")
    try:
        with rasterio.open(path) as file:
            tags: dict[str, str] = file.tags()
            return tags
    except rasterio.errors.RasterioIOError:
        return {}


def require_dtype(dtype: str) -> Dtype:
    """Return ``dtype`` if scores can be stored so."""
    for known in DTYPES:
        if dtype == known:
            return known
    raise ConfigError(f"Scores cannot be stored as {dtype}. Choose {' or '.join(DTYPES)}.")


def require_rasterio(what: str) -> "ModuleType":
    """Return the package rasterio."""
    for part in ("rasterio.shutil", "rasterio.warp"):
        optional(part, "geo", what)
    module: ModuleType = optional("rasterio", "geo", what)
    return module


def _stored(scores_YXK: NDArray[np.float32], dtype: Dtype) -> NDArray[Any]:
    if dtype == "float32":
        return scores_YXK
    is_known = ~np.isnan(scores_YXK)
    steps = np.rint(np.where(is_known, scores_YXK, 0) * np.float32(BYTE_STEPS))
    return np.where(is_known, steps, BYTE_NO_DATA).astype(np.uint8)
