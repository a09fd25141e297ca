"""The tiling grid of Sentinel-2: where a tile lies on the ground.

A tile is a square of 100 km of the Military Grid Reference System, made larger to the east and
south: 109.8 km. Its upper left corner is that of the square, moved outwards onto the pixels of
60 m: west and north, to multiples of 60 m. Northings are counted from the equator for that, also
in the south, where UTM adds 10,000 km, which is no multiple of 60 m.

Source: letters of the squares and least northings of the bands: DMA TM 8358.1, chapter 3; the
rule of the corner: ULX and ULY in the metadata of real products, tests/spec/test_tiles.py.
"""

import re

from reben.errors import PatchNameError

TILE_METRES = 109_800
"""Side length of a tile."""
_SQUARE = 100_000
_PIXEL = 60
"""The largest pixels of the products; corners lie on them."""
_FALSE_NORTHING = 10_000_000
_ROW_CYCLE = 2_000_000
"""Letters of rows come again after this many metres."""
_COLUMNS = ("STUVWXYZ", "ABCDEFGH", "JKLMNPQR")
"""Letters of columns by zone modulo 3, from 100 km east on."""
_ROWS = "ABCDEFGHJKLMNPQRSTUV"
_LEAST_NORTHING = {
    "C": 1_100_000, "D": 2_000_000, "E": 2_800_000, "F": 3_700_000, "G": 4_600_000,
    "H": 5_500_000, "J": 6_400_000, "K": 7_300_000, "L": 8_200_000, "M": 9_100_000,
    "N": 0, "P": 800_000, "Q": 1_700_000, "R": 2_600_000, "S": 3_500_000,
    "T": 4_400_000, "U": 5_300_000, "V": 6_200_000, "W": 7_000_000, "X": 7_900_000,
}  # fmt: skip
"""Lower edge of the lowest squares of each band of latitude."""
_TILE = re.compile(r"T?(?P<zone>\d{2})(?P<band>[C-HJ-NP-X])(?P<column>[A-Z])(?P<row>[A-Z])")


def tile_corner(tile: str) -> tuple[int, int, int]:
    """Return where the upper left corner of a tile lies: EPSG code, easting, northing in metres.

    Args:
        tile: Name of the tile, for example ``33UUP``, with or without a T before it.

    Raises:
        PatchNameError: If there is no such tile.

    Example:
        >>> tile_corner("33UUP")
        (32633, 300000, 5400000)
        >>> tile_corner("T01KAB")
        (32701, 99960, 8200000)
    """
    match = _TILE.fullmatch(tile)
    zone = int(match["zone"]) if match else 0
    letters = _COLUMNS[zone % 3]
    if match is None or not 1 <= zone <= 60 or match["column"] not in letters:
        raise PatchNameError(
            f"There is no tile {tile!r} in the Sentinel-2 grid. A tile is named by UTM zone, band "
            "of latitude, column and row of its square, for example 33UUP."
        )
    if match["row"] not in _ROWS:
        raise PatchNameError(
            f"There is no tile {tile!r} in the Sentinel-2 grid: no row of squares is called "
            f"{match['row']}. Rows are {_ROWS[0]} to {_ROWS[-1]} without I and O."
        )
    south = match["band"] < "N"
    # In zones of even number the letters of rows start at F.
    row = (_ROWS.index(match["row"]) - (5 if zone % 2 == 0 else 0)) * _SQUARE
    least = _LEAST_NORTHING[match["band"]]
    bottom = least + (row - least) % _ROW_CYCLE
    left = (letters.index(match["column"]) + 1) * _SQUARE
    equator = _FALSE_NORTHING if south else 0
    top = -((equator - bottom - _SQUARE) // _PIXEL) * _PIXEL + equator
    return 32_600 + 100 * south + zone, left // _PIXEL * _PIXEL, top
