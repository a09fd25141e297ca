"""The windows of a scene as rows of a table: where each lies, and its scores."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from reben.predict.cog import require_rasterio
from reben.predict.resume import SceneProgress
from reben.predict.windows import Axis, Plan
from reben.scene.grid import GRID_METRES, Grid
from reben.spec.patches import PATCH_METRES

if TYPE_CHECKING:
    from reben.predict.table_files import Ring


def write_windows(  # noqa: PLR0913 - all after the second are named
    path: Path,
    parts: SceneProgress,
    *,
    plan: Plan,
    grid: Grid,
    name: str,
    labels: Sequence[str],
    thresholds: Sequence[float],
    about: Mapping[str, str],
) -> None:
    """Write one row for each window that was not left out, in the format of the file's ending.

    Columns: ``id`` (the name of the product, column and row of the window), ``geometry``,
    ``column``, ``row``, ``bad`` (share of its pixels that are not good), one for each label, and
    ``labels`` (those above their threshold).

    Raises:
        OutputError: If the file cannot be written.
        MissingExtraError: If rasterio is not installed.
    """
    from reben.predict.tables import Rows, TableWriter

    with TableWriter(path, labels=labels, thresholds=thresholds, about=about) as writer:
        for row in range(plan.rows.num_windows):
            part = parts.read(row)
            used = np.flatnonzero(~np.isnan(part.scores[:, 0]))
            rings = footprints(grid, plan.rows.start(row), plan.columns, used)
            writer.write(
                Rows(
                    ids=[f"{name}_{column:02d}_{row:02d}" for column in used.tolist()],
                    scores=part.scores[used],
                    polygons=rings,
                    extra={
                        "column": used.tolist(),
                        "row": [row] * len(used),
                        "bad": part.bad[used].tolist(),
                    },
                )
            )


def footprints(grid: Grid, top: int, columns: Axis, which: NDArray[np.int64]) -> "list[Ring]":
    """Return the outlines of windows in longitude and latitude, anticlockwise, closed.

    Where one crosses the 180th meridian, its longitudes go on beyond 180 degrees.

    Args:
        grid: Grid of the scene.
        top: First row of pixels of the windows.
        columns: Windows along the side from west to east.
        which: Which of them.

    Raises:
        MissingExtraError: If rasterio is not installed.
    """
    if not len(which):
        return []
    rasterio = require_rasterio("Saying where windows lie")
    left = grid.left + GRID_METRES * np.array([columns.start(int(window)) for window in which])
    bottom = grid.top - GRID_METRES * top - PATCH_METRES
    eastings = left[:, None] + PATCH_METRES * np.array([0, 1, 1, 0, 0])
    northings = bottom + PATCH_METRES * np.array([[0, 0, 1, 1, 0]]) + np.zeros_like(eastings)
    longitudes, latitudes = rasterio.warp.transform(
        grid.crs, "EPSG:4326", eastings.ravel().tolist(), northings.ravel().tolist()
    )
    shape = eastings.shape
    lon, lat = np.reshape(longitudes, shape), np.reshape(latitudes, shape)
    lon = lon[:, :1] + (lon - lon[:, :1] + 180) % 360 - 180
    return [tuple(zip(x.tolist(), y.tolist(), strict=True)) for x, y in zip(lon, lat, strict=True)]
