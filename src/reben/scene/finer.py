"""Bands that are stored with finer pixels than their own, brought back to those."""

import logging
from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from reben.data.patch_folders.multiband import Resample
from reben.errors import GridError
from reben.scene.band_names import native_metres
from reben.scene.grid import GRID_MULTIPLE
from reben.scene.sources import Size

logger = logging.getLogger(__name__)

_PLACES = (0.1, 0.3, 0.5, 0.7, 0.9)
_WORDS = {
    "mean": "mean of finer pixels",
    "centre": "centre of finer pixels",
    "exact": "repeated pixels taken back",
}


class FinerBands:
    """Brings bands of one scene back to their own pixels, and knows how that was done.

    Args:
        scene: Name of the scene.
        factors: Band -> how many stored pixels are one of its own along a side.
        how: See `Resample`.
    """

    def __init__(self, scene: str, factors: Mapping[str, int], how: Resample) -> None:
        self.factors = {band: factor for band, factor in factors.items() if factor > 1}
        self._scene = scene
        self._resample = how
        self._untold: list[str] = []
        # What finer pixels are is unknown until some were seen that are no repeats.
        self._how = dict.fromkeys(self.factors, "exact" if how == "auto" else str(how))

    def to_native(self, band: str, stored: NDArray[np.generic]) -> NDArray[np.generic]:
        """Return rows of a band in its own pixels; ``stored`` has 0 where there are no data.

        Raises:
            GridError: If only repeated pixels are to be taken back, and these are not.
        """
        factor = self.factors.get(band, 1)
        if factor == 1:
            return stored
        if self._resample == "centre":
            return np.ascontiguousarray(stored[factor // 2 :: factor, factor // 2 :: factor])
        native = average_down(stored, factor)
        if self._how[band] == "exact" and not _repeats(stored, native, factor):
            self._found_interpolated(band, factor)
        return native

    def begin(self, read: Callable[[str, int, int], NDArray[np.generic]], size: Size) -> Size:
        """Return the first row and column at which repeated pixels of all bands begin.

        An image that is cut out anywhere begins within a pixel of 20 m or 60 m. What follows that
        pixel can be taken back as it was.

        Args:
            read: Returns a square of a band as stored by its first row and column.
            size: Rows and columns of the image.
        """
        if self._resample not in ("auto", "exact"):
            return 0, 0
        found: list[dict[str, set[int]]] = [{}, {}]
        for share in _PLACES if self.factors else ():
            top, left = (int(side * share) // GRID_MULTIPLE * GRID_MULTIPLE for side in size)
            for band, factor in self.factors.items():
                square = read(band, top, left)
                for axis, turned in enumerate((square, square.T)):
                    found[axis].setdefault(band, set()).update(_steps(turned, factor))
        row, column = (_first(steps, self.factors) for steps in found)
        if row or column:
            logger.warning(
                "%s: %d rows at its upper edge and %d columns at its left are left out: they are "
                "parts of pixels of 20 m or 60 m, which were repeated to 10 m.",
                self._scene,
                row,
                column,
            )
        return row, column

    @property
    def about(self) -> dict[str, str]:
        """How bands were brought back, for provenance."""
        by_word: dict[str, list[str]] = {}
        for band, how in self._how.items():
            by_word.setdefault(_WORDS[how], []).append(band)
        told = "; ".join(f"{', '.join(bands)}: {word}" for word, bands in by_word.items())
        return {"resampled": told} if told else {}

    def tell(self) -> None:
        """Name in the log the bands that were found to be interpolated since the last time."""
        bands, self._untold = self._untold, []
        if bands:
            logger.warning(
                "%s: the pixels of %s are finer than the bands are by nature and repeat none, so "
                "they were interpolated; the model gets the mean of those that make up one.",
                self._scene,
                ", ".join(bands),
            )

    def _found_interpolated(self, band: str, factor: int) -> None:
        metres = native_metres(band)
        if self._resample == "exact":
            raise GridError(
                f"{band} of {self._scene} has pixels of {metres // factor} m that are not those "
                f"of {metres} m repeated, so its own pixels are unknown. Pass the band at {metres} "
                "m, or take means: --resample mean (resample='mean')."
            )
        self._how[band] = "mean"
        self._untold.append(band)


def average_down(values: NDArray[np.generic], factor: int) -> NDArray[np.float32]:
    """Return means over squares of ``factor`` pixels; those without data, 0 or NaN, do not count.

    Example:
        >>> average_down(np.array([[4, 6, 0, 0], [0, 5, 0, 0]], np.uint16), 2)
        array([[5., 0.]], dtype=float32)
    """
    height, width = (side // factor for side in values.shape)
    known = np.nan_to_num(values[: height * factor, : width * factor].astype(np.float32))
    squares = known.reshape(height, factor, width, factor)
    count = np.maximum((squares != 0).sum(axis=(1, 3)), 1)
    # Equal pixels have just their value as mean: 36 of them are summed without rounding.
    means: NDArray[np.float32] = (squares.sum(axis=(1, 3), dtype=np.float64) / count).astype(
        np.float32
    )
    return means


def _steps(stored: NDArray[np.generic], factor: int) -> set[int]:
    """Return the rows, modulo ``factor``, at which numbers differ from those above."""
    upper, lower = stored[:-1], stored[1:]
    differ = ((upper != lower) & (upper != 0) & (lower != 0)).any(axis=1)
    return {int(row + 1) % factor for row in np.flatnonzero(differ)}


def _first(steps: Mapping[str, set[int]], factors: Mapping[str, int]) -> int:
    """Return the first row at which pixels of all bands begin that are repeated."""
    known = [(factors[band], *rows) for band, rows in steps.items() if len(rows) == 1]
    fits = (row for row in range(GRID_MULTIPLE) if all(row % n == first for n, first in known))
    return next(fits, 0)


def _repeats(stored: NDArray[np.generic], native: NDArray[np.float32], factor: int) -> bool:
    """Tell whether finer pixels repeat coarser ones, leaving out those without data."""
    repeated = native.repeat(factor, axis=0).repeat(factor, axis=1)
    finer = stored[: repeated.shape[0], : repeated.shape[1]].astype(np.float32)
    return bool(((finer == repeated) | (finer == 0)).all())
