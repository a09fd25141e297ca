"""Smooth random fields over an endless plane: the same place always has the same value."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

_PERIOD = 128
"""A field repeats after this many spacings: far beyond the patches that share a place."""
_UNIT = 315 / 151
"""Brings a cubic B-spline over independent values of variance 1 back to variance 1, in 2-D."""


class Noise:
    """A smooth field of mean 0 and standard deviation 1.

    Args:
        random: Where the values come from.
        spacing: Distance of independent values, in pixels; hills are about twice as wide.
    """

    def __init__(self, random: np.random.Generator, spacing: float) -> None:
        self.spacing = spacing
        self._lattice = random.standard_normal((_PERIOD, _PERIOD), np.float32) * np.float32(_UNIT)

    def at(self, rows: NDArray[Any], columns: NDArray[Any]) -> NDArray[np.float32]:
        """Return the values of all crossings of ``rows`` [H] and ``columns`` [W], [H, W]."""
        near = _crop(_crop(self._lattice, rows / self.spacing).T, columns / self.spacing).T
        along = _interpolate(near, rows / self.spacing)
        return _interpolate(along.T, columns / self.spacing).T


class Hills:
    """Fields of several widths, one on top of the other.

    Args:
        random: Where the values come from.
        octaves: Spacing in pixels -> height.
    """

    def __init__(self, random: np.random.Generator, octaves: dict[float, float]) -> None:
        self._octaves = [(Noise(random, spacing), height) for spacing, height in octaves.items()]

    def at(self, rows: NDArray[Any], columns: NDArray[Any]) -> NDArray[np.float32]:
        """Return the values of all crossings of ``rows`` [H] and ``columns`` [W], [H, W]."""
        total = np.zeros((len(rows), len(columns)), np.float32)
        for noise, height in self._octaves:
            total += np.float32(height) * noise.at(rows, columns)
        return total


def _crop(lattice: NDArray[np.float32], places: NDArray[Any]) -> NDArray[np.float32]:
    """Return the lattice from the first to the last row that `_interpolate` needs."""
    first, last = int(np.floor(places.min())), int(np.floor(places.max()))
    return lattice[np.arange(first, last + 4) % _PERIOD]


def _interpolate(lattice: NDArray[np.float32], places: NDArray[Any]) -> NDArray[np.float32]:
    """Return a cubic B-spline of a cropped lattice along its first axis, at ``places``."""
    whole = np.floor(places).astype(np.int64)
    t = (places - whole).astype(np.float32)[:, None]
    first = whole - whole.min()
    weights = (
        (1 - t) ** 3 / 6,
        (3 * t**3 - 6 * t**2 + 4) / 6,
        (-3 * t**3 + 3 * t**2 + 3 * t + 1) / 6,
        t**3 / 6,
    )
    total: NDArray[np.float32] = weights[0] * lattice[first]
    for step in (1, 2, 3):
        total += weights[step] * lattice[first + step]
    return total
