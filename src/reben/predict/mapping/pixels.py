"""Pixels of several products on one rectangle of the grid of a map.

Products of one day are one look at the ground: a pixel is taken from the first of them that sees it
clearly, else from the first that has data. Of several looks, each pixel and band has the median of
those that are clear there; where none is, of those with data. All bands of a pixel come from the
same looks: what is chosen is a square of the coarsest band.

Axes: N looks, Y and X squares of the coarsest band.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reben.predict.strips import step_of
from reben.scene.band_scene import Scene
from reben.scene.grid import GRID_METRES, GRID_MULTIPLE, Grid
from reben.scene.masks import GOOD, NO_DATA, OBSCURED
from reben.spec.patches import PATCH_PIXELS

RANKS = np.zeros(3, np.uint8)
RANKS[[GOOD, OBSCURED, NO_DATA]] = 0, 1, 2
"""What a pixel is -> how well it is seen: 0 is best."""
_KINDS = np.array([GOOD, OBSCURED, NO_DATA, NO_DATA], np.uint8)
_NOWHERE = 3
"""The rank of pixels that no product covers, after clear, obscured and without data."""


@dataclass(frozen=True, eq=False)
class Layer:
    """The part of a product that is needed, and where it begins on the map, in multiples of 6."""

    scene: Scene
    top: int
    left: int


def layer_of(scene: Scene, grid: Grid) -> Layer | None:
    """Return a scene on a rectangle of a map; None if it lies elsewhere."""
    left = round((scene.grid.left - grid.left) / GRID_METRES)
    top = round((grid.top - scene.grid.top) / GRID_METRES)
    x0, x1 = _common(left, scene.grid.width, grid.width)
    y0, y1 = _common(top, scene.grid.height, grid.height)
    if x0 >= x1 or y0 >= y1:
        return None
    return Layer(scene.cut(y0 - top, x0 - left, y1 - y0, x1 - x0), y0, x0)


def _common(first: int, size: int, most: int) -> tuple[int, int]:
    """Return the first and last pixel of 60 m that a product and a map share."""
    start = max(0, first + -first % GRID_MULTIPLE)
    stop = min(most, first + size)
    return start, stop - stop % GRID_MULTIPLE


@dataclass(frozen=True, eq=False)
class Look:
    """Rows of a map as one look saw them.

    Args:
        bands: Band -> float32 [h, w] at native size.
        ranks: uint8 [H, W] at 10 m: 0 clear, 1 obscured, 2 no data, 3 not covered.
        squares: The worst of them in each square of the coarsest band, uint8 [Y, X].
    """

    bands: dict[str, NDArray[np.float32]]
    ranks: NDArray[np.uint8]
    squares: NDArray[np.uint8]


class MapScene:
    """A rectangle of whole cells of a map, read in strips like a scene.

    ``looks`` are the products of each day, ``bands`` those that all of them have.
    """

    def __init__(
        self,
        name: str,
        grid: Grid,
        bands: tuple[str, ...],
        looks: Sequence[Sequence[Layer]] = (),
        about: Mapping[str, str] | None = None,
    ) -> None:
        self.name, self.grid, self.bands = name, grid, bands
        self.about: Mapping[str, str] = about or {}
        self._looks = looks
        self._mask: NDArray[np.uint8] = np.empty((0, grid.width), np.uint8)
        rows, columns = grid.height // PATCH_PIXELS, grid.width // PATCH_PIXELS
        self.clear_looks = np.zeros((rows, columns), np.float32)
        """How often the pixels of each cell that was read were seen clearly, in the mean."""

    def read(self, bands: Sequence[str], top: int, height: int) -> dict[str, NDArray[Any]]:
        """Return a row of cells, band -> float32 [h, w] at native size."""
        found = [self._read_look(look, bands, top, height) for look in self._looks]
        whole = found[0] if len(found) == 1 else median_of(found)
        self._mask = _KINDS[whole.ranks]
        clear = sum(
            _in_squares(look.ranks == 0, PATCH_PIXELS).mean(axis=(1, 3)).astype(np.float32)
            for look in found
        )
        self.clear_looks[top // PATCH_PIXELS : (top + height) // PATCH_PIXELS] = clear
        return dict(whole.bands)

    def read_mask(self, top: int, height: int, *_: Any) -> NDArray[np.uint8]:  # noqa: ANN401
        """Return what each pixel of the rows that were read last is, [height, width]."""
        assert height == len(self._mask), (top, height)  # noqa: S101 - an invariant of strips
        return self._mask

    def _read_look(
        self, layers: Sequence[Layer], bands: Sequence[str], top: int, height: int
    ) -> Look:
        width, side = self.grid.width, max(map(step_of, bands))
        squares = np.full((height // side, width // side), _NOWHERE, np.uint8)
        ranks = np.full((height, width), _NOWHERE, np.uint8)
        pixels = {
            band: np.zeros((height // step_of(band), width // step_of(band)), np.float32)
            for band in bands
        }
        for layer in layers:
            grid = layer.scene.grid
            first = max(top, layer.top)
            stop = min(top + height, layer.top + grid.height)
            place = (first - top, stop - top, layer.left, layer.left + grid.width)
            here = squares[_window(place, side)]
            if first >= stop or not here.any():
                continue
            found = layer.scene.read(bands, first - layer.top, stop - first)
            mask = RANKS[layer.scene.read_mask(first - layer.top, stop - first)]
            worst = _in_squares(mask, side).max(axis=(1, 3))
            is_better = worst < here
            here[is_better] = worst[is_better]
            np.copyto(ranks[_window(place, 1)], mask, where=_widened(is_better, side))
            for band, values in found.items():
                where = _widened(is_better, side // step_of(band))
                np.copyto(pixels[band][_window(place, step_of(band))], values, where=where)
        return Look(pixels, ranks, squares)


def median_of(looks: Sequence[Look]) -> Look:
    """Return the median of looks, for each square of those that see it best."""
    squares = np.stack([look.squares for look in looks])
    best = squares.min(axis=0)
    takes = squares == best
    side = looks[0].ranks.shape[0] // best.shape[0]
    ranks = np.stack([look.ranks for look in looks])
    # Seen as well as by the worst of those that are taken: the median holds all of them.
    seen = np.where(_widened(takes, side), ranks, 0).max(axis=0)
    bands = {}
    for band, first in looks[0].bands.items():
        where = _widened(takes, side * first.shape[0] // looks[0].ranks.shape[0])
        values = np.stack([look.bands[band] for look in looks])
        bands[band] = _median(values, where)
    return Look(bands, seen, best)


def _median(values: NDArray[np.float32], where: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Return the median over the first axis of the values that count; at least one does."""
    ordered = np.sort(np.where(where, values, np.inf), axis=0)
    count = where.sum(axis=0)[None]
    lower = np.take_along_axis(ordered, (count - 1) // 2, axis=0)[0]
    upper = np.take_along_axis(ordered, count // 2, axis=0)[0]
    return np.asarray((lower + upper) / 2, np.float32)


def _window(place: tuple[int, int, int, int], step: int) -> tuple[slice, slice]:
    top, stop, left, right = (pixel // step for pixel in place)
    return slice(top, stop), slice(left, right)


def _widened(values: NDArray[np.bool_], times: int) -> NDArray[np.bool_]:
    return values.repeat(times, axis=-2).repeat(times, axis=-1)


def _in_squares(values: NDArray[Any], side: int) -> NDArray[Any]:
    """Return values [H, W] as [H / side, side, W / side, side]."""
    height, width = values.shape
    return values.reshape(height // side, side, width // side, side)
