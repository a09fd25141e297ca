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

    Args:
        crs: The coordinate reference system, such as ``"EPSG:32633"``.
        left: Easting of the outer edge of the upper-left pixel, in metres; a multiple of 10.
        top: Northing of the outer edge of the upper-left pixel, in metres; a multiple of 10.
        width: Pixels of 10 m from west to east; a multiple of 6.
        height: Pixels of 10 m from north to south; a multiple of 6.
        is_snapped: Whether the corner has to be a multiple of 10 m.

    Raises:
        GridError: If there is no reference system, or a number is not such a multiple.

    Example:
        >>> grid = Grid("EPSG:32633", left=300000, top=5900040, width=10980, height=10980)
        >>> grid.bounds
        (300000, 5790240, 409800, 5900040)
        >>> Grid("EPSG:32633", left=300005, top=5900040, width=10980, height=10980)
        Traceback (most recent call last):
        reben.errors.GridError: left is 300005; it must be a multiple of 10 m...
    """

    crs: str
    left: float
    top: float
    width: int
    height: int
    is_snapped: bool = True

    def __post_init__(self) -> None:
        """Refuse grids that bands of 10 m, 20 m and 60 m do not share."""
        if not self.crs:
            raise GridError("A grid needs a coordinate reference system, such as EPSG:32633.")
        for name in ("left", "top"):
            value = getattr(self, name)
            if not math.isfinite(value) or (self.is_snapped and value % GRID_METRES):
                raise GridError(
                    f"{name} is {value}; it must be a multiple of {GRID_METRES} m. "
                    "Warp the scene to such a grid first."
                )
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
        return (GRID_METRES, 0, self.left, 0, -GRID_METRES, self.top)

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """The outer edges (left, bottom, right, top) in metres."""
        right = self.left + self.width * GRID_METRES
        return (self.left, self.top - self.height * GRID_METRES, right, self.top)
