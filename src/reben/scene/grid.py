"""The grid of a scene: where its pixels lie on the ground."""

from dataclasses import dataclass

PIXEL_METRES = 10
"""Side length of a pixel of the grid, in metres: that of the sharpest bands."""


@dataclass(frozen=True)
class Grid:
    """Pixels of 10 m in rows from north to south and columns from west to east.

    Args:
        crs: Coordinate reference system in metres, for example ``EPSG:32633``.
        left: Easting of the western edge of the first column, in metres.
        top: Northing of the northern edge of the first row, in metres.
        width: Columns of pixels.
        height: Rows of pixels.

    Example:
        >>> Grid("EPSG:32633", left=300_000, top=5_000_040, width=120, height=240).bounds
        (300000, 4997640, 301200, 5000040)
    """

    crs: str
    left: float
    top: float
    width: int
    height: int

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """Left, bottom, right and top edge, in metres."""
        return (
            self.left,
            self.top - self.height * PIXEL_METRES,
            self.left + self.width * PIXEL_METRES,
            self.top,
        )
