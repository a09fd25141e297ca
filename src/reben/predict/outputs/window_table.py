"""The windows of a scene as rows of a table: where each lies, and its scores."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from reben.predict.polygons import Ring, to_rings
from reben.predict.resume import MapPart, RowReader
from reben.predict.table_files import write_table
from reben.predict.tables import Rows, batch_of_scores
from reben.predict.windows import Axis, Plan
from reben.scene.grid import Grid
from reben.spec.patches import PATCH_PIXELS


def write_windows(  # noqa: PLR0913 - all after the second are named
    path: Path,
    parts: RowReader,
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
    ``column``, ``row``, ``bad`` (share of its pixels that are not good), for maps ``clear_looks``
    (how often its pixels were seen clearly, in the mean), one for each label, and ``labels`` (those
    above their threshold).
    """
    top, left = plan.first

    def batches() -> Iterator[pa.RecordBatch]:
        for row in range(plan.rows.num_windows):
            part = parts.read(row)
            used = np.flatnonzero(~np.isnan(part.scores[:, 0]))
            looks = part.looks[used].astype(np.float64) if isinstance(part, MapPart) else None
            rows = Rows(
                ids=[f"{name}_{column + left:02d}_{row + top:02d}" for column in used.tolist()],
                scores=part.scores[used],
                polygons=footprints(grid, plan.rows.start(row), plan.columns, used),
                extra={
                    "column": used + left,
                    "row": np.full(len(used), row + top),
                    "bad": part.bad[used].astype(np.float64),
                    **({} if looks is None else {"clear_looks": looks}),
                },
            )
            yield batch_of_scores(rows, labels, thresholds)

    write_table(path, batches(), {"labels": list(labels), "thresholds": list(thresholds), **about})


def footprints(grid: Grid, top: int, columns: Axis, which: NDArray[np.int64]) -> list[Ring]:
    """Return the outlines of windows in longitude and latitude.

    Args:
        grid: Grid of the scene.
        top: First row of pixels of the windows.
        columns: Windows along the side from west to east.
        which: Which of them.
    """
    starts = np.array([columns.start(int(window)) for window in which], np.float64)
    across, down = (PATCH_PIXELS * metres for metres in grid.pixel)
    left = grid.left + grid.pixel[0] * starts[:, None]
    bottom = grid.point(0, top)[1] - down
    eastings = left + across * np.array([0, 1, 1, 0])
    northings = bottom + down * np.array([[0, 0, 1, 1]]) + np.zeros_like(eastings)
    return to_rings(grid.crs, eastings, northings)
