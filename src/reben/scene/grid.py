"""The grid of a scene: where its 10 m pixels lie on the ground."""

import math
from dataclasses import dataclass

from reben.errors import GridError

GRID_METRES = 10
"""Side length of a pixel of the grid: that of the finest bands."""
GRID_MULTIPLE = 6
"""Width and height are multiples of it, so that the pixels of 20 m and 60 m end with the grid."""


@dataclass(frozen=True)
class Grid:
    """A north-up grid of 10 m pixels in a projected reference system of metres.

    It lies where the image lies: its corner need not be a multiple of anything.

    Args:
        crs: The coordinate reference system, such as ``"EPSG:32633"``.
        left: Easting of the outer edge of the upper-left pixel, in metres.
        top: Northing of the outer edge of the upper-left pixel, in metres.
        width: Pixels of 10 m from west to east; a multiple of 6.
        height: Pixels of 10 m from north to south; a multiple of 6.
        pixel: Width and height of a pixel, in metres: 10, or what an image has instead that is
            so near to it that it counts as 10, such as 9.98.

    Raises:
        GridError: If there is no reference system, a number is not finite, or not such a multiple.

    Example:
        >>> grid = Grid("EPSG:32633", left=300000, top=5900040, width=10980, height=10980)
        >>> grid.bounds
        (300000, 5790240, 409800, 5900040)
        >>> Grid("EPSG:32633", left=300005, top=5900040, width=100, height=10980)
        Traceback (most recent call last):
        reben.errors.GridError: width is 100 pixels; it must be a positive multiple of 6...
    """

    crs: str
    left: float
    top: float
    width: int
    height: int
    pixel: tuple[float, float] = (GRID_METRES, GRID_METRES)

    def __post_init__(self) -> None:
        """Refuse grids that bands of 10 m, 20 m and 60 m do not share."""
        if not self.crs:
            raise GridError("A grid needs a coordinate reference system, such as EPSG:32633.")
        for name in ("left", "top"):
            value = getattr(self, name)
            if not math.isfinite(value):
                raise GridError(f"{name} is {value}; it must be a number of metres.")
        for name in ("width", "height"):
            value = getattr(self, name)
            if value < GRID_MULTIPLE or value % GRID_MULTIPLE:
                raise GridError(
                    f"{name} is {value} pixels; it must be a positive multiple of "
                    f"{GRID_MULTIPLE}, which is one pixel of 60 m."
                )

    @property
    def transform(self) -> tuple[float, float, float, float, float, float]:
        """The affine transform (a, b, c, d, e, f) from pixel to metres, as rasterio orders it.

        Example:
            >>> Grid("EPSG:32633", 300000, 5900040, 60, 120).transform
            (10, 0, 300000, 0, -10, 5900040)
        """
        return (self.pixel[0], 0, self.left, 0, -self.pixel[1], self.top)

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """The outer edges (left, bottom, right, top) in metres."""
        right, bottom = self.point(self.width, self.height)
        return (self.left, bottom, right, self.top)

    def point(self, column: float, row: float) -> tuple[float, float]:
        """Return easting and northing of the upper left corner of a pixel, in metres."""
        return (self.left + column * self.pixel[0], self.top - row * self.pixel[1])

    def require_rows(self, name: str, top: int, height: int) -> None:
        """Raise a GridError if a scene called ``name`` has no such strip of rows."""
        if top % GRID_MULTIPLE or height % GRID_MULTIPLE:
            raise GridError(
                f"top and height must be multiples of {GRID_MULTIPLE}, so that strips hold whole "
                f"pixels of 60 m; they are {top} and {height}."
            )
        if top < 0 or height <= 0 or top + height > self.height:
            raise GridError(f"{name} has rows 0 to {self.height}, not {top} to {top + height}.")
