"""How a scene is cut into windows, and how their scores become a mosaic of cells.

The scene is divided into cells of ``stride`` metres from its upper left corner; at the right and
lower edges they may be smaller, but a rim narrower than half a cell is left out. A window is
a square of 1200 m that a model looks at. One begins every ``stride`` metres as long as it lies
inside; if that leaves cells at the right or lower edge, one more window is placed flush with the
edge, so that a model sees only pixels of the scene.

A window gives scores to the cells that lie in it as a whole. At a stride of 1200 m, each cell has
exactly one window, and so has each pixel. With a smaller stride, windows overlap and a cell has
several.

Axes: Y rows of cells, X columns of cells, K labels.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from reben.errors import ConfigError, ProductError
from reben.predict.resume import ScenePart, SceneProgress
from reben.scene.grid import GRID_METRES, GRID_MULTIPLE, Grid
from reben.spec.patches import PATCH_METRES, PATCH_PIXELS

STRIDE_METRES = GRID_METRES * GRID_MULTIPLE
"""Strides are multiples of the largest pixel, so that every band is cut between its pixels."""


@dataclass(frozen=True)
class Axis:
    """Windows and cells along one side of a scene; all positions are pixels.

    Args:
        length: Pixels along the side, at least those of a window and a multiple of 6.
        stride: Pixels from one cell to the next; divides those of a window.

    Example:
        >>> axis = Axis(length=300, stride=120)
        >>> [(axis.start(k), list(axis.cells_of(k))) for k in range(axis.num_windows)]
        [(0, [0]), (120, [1]), (180, [2])]
        >>> axis.cell(2)
        (240, 300)
    """

    length: int
    stride: int

    @property
    def num_cells(self) -> int:
        """Number of cells."""
        return -(-self.length // self.stride)

    @property
    def cells_per_window(self) -> int:
        """Number of cells in a window, except one that was placed at the edge."""
        return PATCH_PIXELS // self.stride

    @property
    def num_regular(self) -> int:
        """Number of windows placed by the stride: window k begins with cell k."""
        return (self.length - PATCH_PIXELS) // self.stride + 1

    @property
    def num_windows(self) -> int:
        """Number of windows."""
        return self.num_regular + bool((self.length - PATCH_PIXELS) % self.stride)

    def start(self, window: int) -> int:
        """Return the first pixel that ``window`` reads; it reads 120."""
        return min(window * self.stride, self.length - PATCH_PIXELS)

    def cell(self, number: int) -> tuple[int, int]:
        """Return start and stop of cell ``number``."""
        return number * self.stride, min((number + 1) * self.stride, self.length)

    def cells_of(self, window: int) -> range:
        """Return the cells that lie in ``window`` as a whole."""
        first = -(-self.start(window) // self.stride)
        regular = window < self.num_regular
        return range(first, first + self.cells_per_window if regular else self.num_cells)


@dataclass(frozen=True)
class Window:
    """A square of 120 by 120 pixels, and the cells that it gives scores to.

    Args:
        row: Its position among the rows of windows, from the north.
        column: Its position among the columns of windows, from the west.
        top: First row of pixels that it reads.
        left: First column of pixels that it reads.
        cell_rows: Rows of these cells.
        cell_columns: Columns of these cells.
    """

    row: int
    column: int
    top: int
    left: int
    cell_rows: range
    cell_columns: range


@dataclass(frozen=True)
class Plan:
    """All windows and cells of a scene.

    Args:
        rows: Along the side from north to south.
        columns: Along the side from west to east.
        first: The row and column of windows that the first ones here are, of a whole scene.
    """

    rows: Axis
    columns: Axis
    first: tuple[int, int] = (0, 0)

    @classmethod
    def of(cls, grid: Grid, stride_metres: int = PATCH_METRES) -> Self:
        """Return the windows and cells of a scene, less a rim of less than half a cell.

        Args:
            grid: Grid of the scene.
            stride_metres: Metres from one cell to the next.

        Raises:
            ConfigError: If the stride does not divide 1200 m or is not a multiple of 60 m.
            ProductError: If the scene is smaller than a window.
        """
        require_stride(stride_metres)
        if min(grid.width, grid.height) < PATCH_PIXELS:
            raise ProductError(
                f"The scene has {grid.width} x {grid.height} pixels of {GRID_METRES} m, too few "
                f"for a window of {PATCH_PIXELS} x {PATCH_PIXELS} ({PATCH_METRES} m). Use a larger "
                "cut of the scene."
            )
        stride = stride_metres // GRID_METRES
        height, width = (
            side - side % stride if side % stride * 2 < stride else side
            for side in (grid.height, grid.width)
        )
        return cls(Axis(height, stride), Axis(width, stride))

    @property
    def num_windows(self) -> int:
        """Number of windows."""
        return self.rows.num_windows * self.columns.num_windows

    def windows(self) -> Iterator[Window]:
        """Yield the windows, row by row."""
        for row in range(self.rows.num_windows):
            for column in range(self.columns.num_windows):
                yield Window(
                    row,
                    column,
                    self.rows.start(row),
                    self.columns.start(column),
                    self.rows.cells_of(row),
                    self.columns.cells_of(column),
                )


def require_stride(metres: int) -> int:
    """Return ``metres`` if it is a possible stride, else raise a ConfigError."""
    candidates = range(STRIDE_METRES, PATCH_METRES + 1, STRIDE_METRES)
    possible = [candidate for candidate in candidates if PATCH_METRES % candidate == 0]
    if metres not in possible:
        raise ConfigError(
            f"The stride is {metres} m. It must divide the {PATCH_METRES} m of a window and be a "
            f"multiple of {STRIDE_METRES} m, the largest pixel: {', '.join(map(str, possible))}."
        )
    return metres


@dataclass(frozen=True, eq=False)
class Mosaic:
    """Scores of all cells.

    Args:
        scores: float32 [Y, X, K], 0 to 1; NaN in cells that are masked.
        colours: Bands of the quick look with fewer pixels, float32 [h, w, bands].
        kinds: The most frequent kind of their pixels, uint8 [h, w], as in a mask of the scene.
        counts: Numbers of pixels that are good, without data, and obscured, int64 [3].
        num_masked_windows: Number of windows that were left out.
        num_no_data_windows: Number of those that pixels without data alone put above the limit.
    """

    scores: NDArray[np.float32]
    colours: NDArray[np.float32]
    kinds: NDArray[np.uint8]
    counts: NDArray[np.int64]
    num_masked_windows: int
    num_no_data_windows: int = 0

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


def put_together(parts: SceneProgress, plan: Plan, max_bad: float) -> Mosaic:
    """Return the mosaic of all parts.

    A cell gets the mean score of the windows that cover it and were not left out. It is masked if
    there is none, or if more than ``max_bad`` of its own pixels are bad. Windows outside an area
    have no share of bad pixels, NaN, and are not counted.
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
        num_masked_windows=sum(
            int((np.isnan(part.scores[:, 0]) & ~np.isnan(part.bad)).sum()) for part in rows
        ),
        num_no_data_windows=sum(int((part.no_data > max_bad).sum()) for part in rows),
    )


def _spread(part: ScenePart, columns: Axis) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
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
