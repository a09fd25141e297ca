"""The grid of a map: cells of 1200 m at multiples of 1200 m from the origin of a zone.

Sentinel-2 tiles of one UTM zone begin at multiples of 60 m from its origin (its central meridian
less 500 km, and the equator), so pixels of neighbours join, and windows cross their edges. A cell
belongs to one zone: that of the longitude of its centre, if a product of that zone is there.

Source: the zones of UTM, and those of Norway and Svalbard, of the Military Grid Reference System.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from reben.data.places import to_degrees, transformer
from reben.data.vector.areas import Area
from reben.errors import AreaError, GridError
from reben.predict.selection import touches
from reben.scene.grid import GRID_METRES, GRID_MULTIPLE, Grid
from reben.spec.patches import PATCH_METRES, PATCH_PIXELS, is_utm

TILE_CELLS = 50
"""Cells along the side of a map tile: 60 km, so that a Sentinel-2 tile is read by four or more."""
_EQUATOR_IN_THE_SOUTH = 10_000_000
_NORWAY = ((56, 64, 3, 12, 32),)
_SVALBARD = ((72, 84, 0, 9, 31), (72, 84, 9, 21, 33), (72, 84, 21, 33, 35), (72, 84, 33, 42, 37))


@dataclass(frozen=True, eq=False)
class Zone:
    """The part of a map in one reference system.

    Args:
        grid: The rectangle of its cells.
        is_wanted: Which cells are predicted, bool [rows, columns].
        first: Row and column of its first cell, counted from the origin of the zone to the south
            and east.
    """

    grid: Grid
    is_wanted: NDArray[np.bool_]
    first: tuple[int, int]

    @property
    def code(self) -> str:
        """What files of this zone are called: ``32633``."""
        return self.grid.crs.rpartition(":")[2] if len(self.grid.crs) < 20 else "other"

    def tiles(self) -> Iterator["Zone"]:
        """Yield the map tiles with cells that are wanted, each cut to these."""
        (rows, columns), (top, left) = self.is_wanted.shape, self.first
        for row in range(top - top % TILE_CELLS, top + rows, TILE_CELLS):
            for column in range(left - left % TILE_CELLS, left + columns, TILE_CELLS):
                window = (
                    slice(max(row - top, 0), row - top + TILE_CELLS),
                    slice(max(column - left, 0), column - left + TILE_CELLS),
                )
                if self.is_wanted[window].any():
                    part = self._part(window[0].start, window[1].start, self.is_wanted[window])
                    yield part.cropped()

    def cropped(self) -> "Zone":
        """Return the rectangle of the cells that are wanted."""
        rows = np.flatnonzero(self.is_wanted.any(axis=1))
        columns = np.flatnonzero(self.is_wanted.any(axis=0))
        window = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
        return self._part(int(rows[0]), int(columns[0]), self.is_wanted[window])

    def _part(self, row: int, column: int, is_wanted: NDArray[np.bool_]) -> "Zone":
        left, top = self.grid.point(column * PATCH_PIXELS, row * PATCH_PIXELS)
        height, width = (cells * PATCH_PIXELS for cells in is_wanted.shape)
        grid = replace(self.grid, left=left, top=top, height=height, width=width)
        return Zone(grid, is_wanted, (self.first[0] + row, self.first[1] + column))


def zones_of(grids: Sequence[Grid], area: Area | None) -> list[Zone]:
    """Return the parts of a map, one for each reference system, without those that have no cell.

    Several that are not all UTM zones are a GridError; an area that touches no product is an
    AreaError, and None is all that they cover.
    """
    by_crs: dict[str, list[Grid]] = {}
    for grid in grids:
        by_crs.setdefault(grid.crs, []).append(grid)
    if len(by_crs) > 1 and not all(_utm_code(crs) for crs in by_crs):
        raise GridError(
            f"The products lie in {', '.join(sorted(by_crs))}. Of several reference systems all "
            "must be UTM zones, else nothing says which of them a place belongs to. Predict them "
            "into one map for each."
        )
    zones = [_zone(crs, of_crs, area) for crs, of_crs in sorted(by_crs.items())]
    if len(zones) > 1:
        zones = [replace(zone, is_wanted=_own(zone, by_crs)) for zone in zones]
    found = [zone.cropped() for zone in zones if zone.is_wanted.any()]
    if area is not None and not found:
        raise AreaError(_elsewhere(area, grids))
    return found


def first_on_cells(grid: Grid) -> tuple[int, int] | None:
    """Return the first row and column of a product that begin at multiples of 60 m.

    None if its pixels do not begin at multiples of 10 m from the origin of the zone.
    """
    corner = np.array([_origin(grid.crs) - grid.top, grid.left]) / GRID_METRES
    is_pixel = all(metres == GRID_METRES for metres in grid.pixel)
    if not is_pixel or (corner % 1).any():
        return None
    row, column = (-corner % GRID_MULTIPLE).astype(int).tolist()
    return row, column


def zone_of(longitudes: ArrayLike, latitudes: ArrayLike) -> NDArray[np.int64]:
    """Return the EPSG codes of the UTM zones of places, of their shape.

    Example:
        >>> zone_of([13.0, 5.0, 5.0, 25.0], [48.0, 48.0, 60.0, -10.0]).tolist()
        [32633, 32631, 32632, 32735]
    """
    x, y = np.asarray(longitudes), np.asarray(latitudes)
    number = np.clip(np.floor((x + 180) / 6).astype(np.int64) + 1, 1, 60)
    for south, north, west, east, zone in (*_NORWAY, *_SVALBARD):
        number = np.where((y >= south) & (y < north) & (x >= west) & (x < east), zone, number)
    return np.where(y >= 0, 32600, 32700) + number


def _zone(crs: str, grids: Sequence[Grid], area: Area | None) -> Zone:
    origin = _origin(crs)
    left, top, right, bottom = (_rectangles(grids, crs) / PATCH_METRES).T  # in cells
    first_row, first_column = math.floor(top.min()), math.floor(left.min())
    shape = math.ceil(bottom.max()) - first_row, math.ceil(right.max()) - first_column
    is_covered = np.zeros(shape, np.bool_)
    for x0, y0, x1, y1 in zip(left, top, right, bottom, strict=True):
        rows = slice(math.floor(y0) - first_row, math.ceil(y1) - first_row)
        is_covered[rows, math.floor(x0) - first_column : math.ceil(x1) - first_column] = True
    grid = Grid(
        crs,
        first_column * PATCH_METRES,
        origin - first_row * PATCH_METRES,
        shape[1] * PATCH_PIXELS,
        shape[0] * PATCH_PIXELS,
    )
    if area is not None:
        cells = np.nonzero(is_covered)
        tops, lefts = (numbers * PATCH_PIXELS for numbers in cells)
        is_covered[cells] = touches(area, grid, tops, lefts)
    return Zone(grid, is_covered, (first_row, first_column))


def _own(zone: Zone, by_crs: Mapping[str, Sequence[Grid]]) -> NDArray[np.bool_]:
    """Return which wanted cells are of this zone and not of another one that covers them."""
    rows, columns = np.nonzero(zone.is_wanted)
    x = zone.grid.left + (columns + 0.5) * PATCH_METRES
    y = zone.grid.top - (rows + 0.5) * PATCH_METRES
    longitudes, latitudes = to_degrees(zone.grid.crs, x, y)
    homes = zone_of(longitudes, latitudes)
    own = zone.is_wanted.copy()
    for crs, grids in by_crs.items():
        theirs = np.flatnonzero((homes == _utm_code(crs)) & (crs != zone.grid.crs))
        if len(theirs):
            move = transformer(4326, crs)
            there = np.array(move.transform(longitudes[theirs], latitudes[theirs])).T
            there[:, 1] = _origin(crs) - there[:, 1]
            low, high = np.split(_rectangles(grids, crs)[None], 2, axis=-1)
            inside = ((there[:, None] >= low) & (there[:, None] < high)).all(-1).any(-1)
            own[rows[theirs[inside]], columns[theirs[inside]]] = False
    return own


def _rectangles(grids: Sequence[Grid], crs: str) -> NDArray[np.float64]:
    """Return left, top, right, bottom in metres to the east and south of the origin, [grids, 4]."""
    origin = _origin(crs)
    bounds = [grid.bounds for grid in grids]
    return np.array([(left, origin - top, right, origin - low) for left, low, right, top in bounds])


def _origin(crs: str) -> int:
    """Return the northing that rows of cells are counted from."""
    return _EQUATOR_IN_THE_SOUTH if _utm_code(crs) // 100 == 327 else 0


def _utm_code(crs: str) -> int:
    """Return the EPSG code of a UTM zone, 0 for other reference systems."""
    text = crs.removeprefix("EPSG:")
    return int(text) if text.isdecimal() and is_utm(int(text)) else 0


def _elsewhere(area: Area, grids: Sequence[Grid]) -> str:
    corners = []
    for grid in grids:
        left, bottom, right, top = grid.bounds
        x, y = [left, left, right, right], [bottom, top, bottom, top]
        corners.append(to_degrees(grid.crs, x, y))
    lon, lat = (np.concatenate(values) for values in zip(*corners, strict=True))
    west, south, east, north = area.bounds_degrees
    return (
        f"The area {area.name} touches none of the products: it reaches from {west:.4f} to "
        f"{east:.4f} in longitude and from {south:.4f} to {north:.4f} in latitude; they from "
        f"{lon.min():.4f} to {lon.max():.4f} and from {lat.min():.4f} to {lat.max():.4f}. Choose "
        "another area, or products of that place."
    )
