"""Rows of windows put together: scores of the cells of a scene.

Axes: Y rows of cells, X columns of cells, K labels.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reben.scene.parts import Part, Parts
from reben.scene.windows import Axis, Plan


@dataclass(frozen=True, eq=False)
class Mosaic:
    """Scores of all cells.

    Args:
        scores: float32 [Y, X, K], 0 to 1; NaN in cells that are masked.
        colours: Bands of the quick look with fewer pixels, float32 [h, w, bands].
        kinds: What most pixels are there, uint8 [h, w], as in `reben.scene.strips`.
        counts: How many pixels are good, without data, and covered, int64 [3].
        num_masked_windows: How many windows were left out.
    """

    scores: NDArray[np.float32]
    colours: NDArray[np.float32]
    kinds: NDArray[np.uint8]
    counts: NDArray[np.int64]
    num_masked_windows: int

    @property
    def is_masked(self) -> NDArray[np.bool_]:
        """Which cells have no scores, bool [Y, X]."""
        return np.isnan(self.scores[..., 0])

    @property
    def dominant(self) -> NDArray[np.int64]:
        """Position of the label with the highest score, int64 [Y, X]; -1 in masked cells."""
        filled = np.where(self.is_masked[..., None], np.float32(-1), self.scores)
        return np.where(self.is_masked, -1, filled.argmax(axis=-1))

    def shares(self, labels: Sequence[str]) -> dict[str, float]:
        """Return label -> share of the cells with scores where it is dominant, largest first."""
        counts = np.bincount(self.dominant[~self.is_masked], minlength=len(labels))
        order = np.argsort(-counts, kind="stable")
        total = max(int(counts.sum()), 1)
        return {labels[i]: int(counts[i]) / total for i in order if counts[i]}


def put_together(parts: Parts, plan: Plan, max_bad: float) -> Mosaic:
    """Return the mosaic of all parts.

    A cell has the mean of the scores of the windows that cover it and were not left out. It is
    masked where there is none, and where more than ``max_bad`` of its own pixels are bad.
    """
    rows = [parts.read(row) for row in range(plan.rows.num_windows)]
    num_labels = rows[0].scores.shape[-1]
    shape = (plan.rows.num_cells, plan.columns.num_cells)
    sums = np.zeros((*shape, num_labels), np.float32)
    counts = np.zeros(shape, np.int32)
    for row, part in enumerate(rows):
        row_sums, row_counts = _spread(part, plan.columns)
        cells = plan.rows.cells_of(row)
        sums[cells.start : cells.stop] += row_sums
        counts[cells.start : cells.stop] += row_counts
    bad = np.concatenate([part.bad_of_cells for part in rows])
    is_masked = (counts == 0) | (bad > max_bad)
    sums /= np.maximum(counts, 1)[..., None]
    sums[is_masked] = np.nan
    return Mosaic(
        scores=sums,
        colours=np.concatenate([part.colours for part in rows]),
        kinds=np.concatenate([part.kinds for part in rows]),
        counts=np.sum([part.counts for part in rows], axis=0),
        num_masked_windows=sum(int(np.isnan(part.scores[:, 0]).sum()) for part in rows),
    )


def _spread(part: Part, columns: Axis) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """Return sums [X, K] and numbers [X] of the scores of one row of windows, for each cell."""
    used = ~np.isnan(part.scores[:, 0])
    scores = np.where(used[:, None], part.scores, np.float32(0))
    sums = np.zeros((columns.num_cells, scores.shape[1]), np.float32)
    counts = np.zeros(columns.num_cells, np.int32)
    regular = columns.num_regular
    for step in range(columns.cells_per_window):
        sums[step : step + regular] += scores[:regular]
        counts[step : step + regular] += used[:regular]
    for window in range(regular, columns.num_windows):
        cells = columns.cells_of(window)
        sums[cells.start :] += scores[window]
        counts[cells.start :] += used[window]
    return sums, counts
