"""What a band of a scene is read from, whatever it is: a file, a web address, an array."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from numpy.typing import NDArray

from reben.scene.calibration import Statement

Transform = tuple[float, float, float, float, float, float]
"""Pixel to reference system, (a, b, c, d, e, f): x = a * column + b * row + c, y alike."""


@dataclass(frozen=True)
class Placement:
    """Where the pixels of a band lie.

    Args:
        crs: The reference system in any form that rasterio reads; empty if there is none.
        transform: Pixel to reference system.
        width: Pixels in a row.
        height: Rows.
    """

    crs: str
    transform: Transform
    width: int
    height: int


class BandSource(Protocol):
    """One band, read in rows of full width."""

    @property
    def name(self) -> str:
        """What it is called in error messages; never with a signature or token in it."""

    @property
    def placement(self) -> Placement:
        """Where its pixels lie."""

    @property
    def statements(self) -> tuple[Statement, ...]:
        """What the source itself says about its numbers."""

    @property
    def nodata(self) -> float | None:
        """The value of pixels without data, None if none is declared."""

    @property
    def words(self) -> Mapping[str, str]:
        """What the source says about itself in words: units, descriptions, tags."""

    def read_rows(self, top: int, height: int) -> NDArray[Any]:
        """Return rows ``top`` to ``top + height`` in full width and as stored, [height, width]."""

    def close(self) -> None:
        """Let go of what is held open."""
