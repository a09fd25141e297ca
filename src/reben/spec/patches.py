"""Patch names: parsed, formatted, and where on the ground a name says that a patch lies.

A patch pair has a Sentinel-2 name and a Sentinel-1 name. Which Sentinel-1 patch belongs to which
Sentinel-2 patch cannot be derived from the names; the metadata table says it.

Patches are cut from tiles of the Sentinel-2 grid. A tile is a square of 100 km of the Military Grid
Reference System, enlarged to the east and south to 109.8 km. Its upper left corner is that of the
square, moved outwards onto the pixels of 60 m: west and north, to multiples of 60 m. Northings are
counted from the equator for that, also in the south, where UTM adds 10,000 km, which is no multiple
of 60 m.

Source: names: layout of the archives in Zenodo record 10891137. Tiles: letters of the squares and
least northings of the bands: DMA TM 8358.1, chapter 3; the rule of the corner: ULX and ULY in the
metadata of real products, tests/spec/test_tiles.py.
"""

import re
from abc import ABC, abstractmethod
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar, Literal, NamedTuple, Self

from reben.errors import PatchNameError

PATCH_METRES = 1200
"""Side length of every patch, in metres."""

PATCH_PIXELS = 120
"""Side length of a patch at 10 m a pixel, in pixels."""

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")
"""The geographic splits, as the metadata table writes them."""

REFERENCE_MAP_SUFFIX = "_reference_map"
"""What follows the Sentinel-2 patch name in the name of its reference map."""

_TIME = "%Y%m%dT%H%M%S"
_SQUARE = 100_000
_PIXEL = 60
"""The largest pixels of the products; corners lie on them."""
_FALSE_NORTHING = 10_000_000
_ROW_CYCLE = 2_000_000
"""Letters of rows repeat after so many metres."""
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


class Bounds(NamedTuple):
    """A rectangle on the ground, in the units of a reference system; metres for patches."""

    epsg: int
    """Code of the reference system."""
    left: float
    bottom: float
    right: float
    top: float

    @property
    def zone(self) -> str:
        """The UTM zone of ``epsg``, for example ``33N``."""
        return utm_zone(self.epsg)


def is_utm(epsg: int) -> bool:
    """Tell whether ``epsg`` is the code of a UTM zone on WGS 84."""
    return 32601 <= epsg <= 32660 or 32701 <= epsg <= 32760


def utm_zone(epsg: int) -> str:
    """Return number and hemisphere of the UTM zone with code ``epsg``, for example ``33N``."""
    return f"{epsg % 100}{'N' if epsg // 100 == 326 else 'S'}"


@dataclass(frozen=True)
class _Patch(ABC):
    """What the names of both missions say; the classes below add what is their own."""

    _PATTERN: ClassVar[re.Pattern[str]]
    _MISSION: ClassVar[str]
    _EXAMPLE: ClassVar[str]

    satellite: str
    acquired: datetime
    tile: str
    column: int
    row: int

    def __post_init__(self) -> None:
        """Refuse parts that make up no patch name."""
        self._match(self.name)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the patch that ``text`` names.

        Raises:
            PatchNameError: If it is not the name of a patch of this mission.
        """
        parts: dict[str, Any] = cls._match(text).groupdict()
        try:
            parts["acquired"] = datetime.strptime(parts["acquired"], _TIME)
        except ValueError:
            raise PatchNameError(
                f"{text!r} has an impossible time: {parts['acquired']!r}."
            ) from None
        return cls(**parts | {"column": int(parts["column"]), "row": int(parts["row"])})

    @classmethod
    def _match(cls, text: str) -> re.Match[str]:
        match = cls._PATTERN.fullmatch(text)
        if match is None:
            raise PatchNameError(
                f"{text!r} is not the name of a {cls._MISSION} patch. It should look like "
                f"{cls._EXAMPLE}."
            )
        return match

    @property
    @abstractmethod
    def name(self) -> str:
        """The patch name."""

    @property
    def bounds(self) -> Bounds:
        """Where it lies, by the grid of the Sentinel-2 tiles.

        Raises:
            PatchNameError: If there is no such tile.

        Example:
            >>> Sentinel2Patch.parse("S2A_MSIL2A_20170613T101031_N9999_R022_T33UUP_26_57").bounds
            Bounds(epsg=32633, left=331200, bottom=5330400, right=332400, top=5331600)
        """
        epsg, west, north = tile_corner(self.tile)
        left, top = west + self.column * PATCH_METRES, north - self.row * PATCH_METRES
        return Bounds(epsg, left, top - PATCH_METRES, left + PATCH_METRES, top)


@dataclass(frozen=True)
class Sentinel2Patch(_Patch):
    """A Sentinel-2 patch by the parts of its name.

    Args:
        satellite: ``S2A`` or ``S2B``.
        acquired: Sensing time of the product, UTC.
        tile: Tile of the Sentinel-2 grid without the leading T, for example ``33UUP``.
        column: Position in the tile, counted in patches from the west.
        row: Position in the tile, counted in patches from the north.
        orbit: Relative orbit, for example ``R022``.
        baseline: Processing baseline in the name; ``N9999`` for the whole data set.

    Example:
        >>> patch = Sentinel2Patch.parse("S2A_MSIL2A_20170613T101031_N9999_R022_T33UUP_26_57")
        >>> patch.tile, patch.column, patch.row
        ('33UUP', 26, 57)
        >>> patch.tile_name
        'S2A_MSIL2A_20170613T101031_N9999_R022_T33UUP'
    """

    _PATTERN = re.compile(
        r"(?P<satellite>S2[A-D])_MSIL2A_(?P<acquired>\d{8}T\d{6})_(?P<baseline>N\d{4})"
        r"_(?P<orbit>R\d{3})_T(?P<tile>\d{2}[A-Z]{3})_(?P<column>\d{1,3})_(?P<row>\d{1,3})",
        re.ASCII,
    )
    _MISSION = "Sentinel-2"
    _EXAMPLE = "S2A_MSIL2A_20170613T101031_N9999_R022_T33UUP_26_57"

    orbit: str
    baseline: str = "N9999"

    @property
    def tile_name(self) -> str:
        """The folder that holds the patch: its name without column and row."""
        return (
            f"{self.satellite}_MSIL2A_{self.acquired.strftime(_TIME)}_{self.baseline}"
            f"_{self.orbit}_T{self.tile}"
        )

    @property
    def name(self) -> str:
        """The patch name; column and row have at least two digits."""
        return f"{self.tile_name}_{self.column:02d}_{self.row:02d}"


@dataclass(frozen=True)
class Sentinel1Patch(_Patch):
    """A Sentinel-1 patch by the parts of its name.

    Args:
        satellite: ``S1A`` or ``S1B``.
        acquired: Sensing time of the product, UTC.
        tile: Tile of the Sentinel-2 grid that the patch was cut by, without the leading T.
        column: Position in that tile, counted in patches from the west.
        row: Position in that tile, counted in patches from the north.

    Example:
        >>> patch = Sentinel1Patch.parse("S1B_IW_GRDH_1SDV_20170612T165809_33UUP_26_57")
        >>> patch.satellite, patch.column
        ('S1B', 26)
        >>> patch.scene_name
        'S1B_IW_GRDH_1SDV_20170612T165809'
    """

    _PATTERN = re.compile(
        r"(?P<satellite>S1[A-D])_IW_GRDH_1SDV_(?P<acquired>\d{8}T\d{6})"
        r"_(?P<tile>\d{2}[A-Z]{3})_(?P<column>\d{1,3})_(?P<row>\d{1,3})",
        re.ASCII,
    )
    _MISSION = "Sentinel-1"
    _EXAMPLE = "S1B_IW_GRDH_1SDV_20170612T165809_33UUP_26_57"

    @property
    def scene_name(self) -> str:
        """The folder that holds the patch: its name without tile, column and row."""
        return f"{self.satellite}_IW_GRDH_1SDV_{self.acquired.strftime(_TIME)}"

    @property
    def name(self) -> str:
        """The patch name; column and row are not padded, unlike those of Sentinel-2."""
        return f"{self.scene_name}_{self.tile}_{self.column}_{self.row}"


def tile_corner(tile: str) -> tuple[int, int, int]:
    """Return the upper left corner of a tile: EPSG code, easting and northing in metres.

    Args:
        tile: Name of the tile, for example ``33UUP``, with or without a T before it.

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
            f"The Sentinel-2 grid has no tile {tile!r}. A tile is named by UTM zone, latitude "
            "band, column and row of its square, for example 33UUP."
        )
    if match["row"] not in _ROWS:
        raise PatchNameError(
            f"The Sentinel-2 grid has no tile {tile!r}: no row is called {match['row']}. "
            f"Rows are {_ROWS[0]} to {_ROWS[-1]} without I and O."
        )
    south = match["band"] < "N"
    # In even zones the letters of rows start at F.
    row = (_ROWS.index(match["row"]) - (5 if zone % 2 == 0 else 0)) * _SQUARE
    least = _LEAST_NORTHING[match["band"]]
    bottom = least + (row - least) % _ROW_CYCLE
    left = (letters.index(match["column"]) + 1) * _SQUARE
    equator = _FALSE_NORTHING if south else 0
    top = -((equator - bottom - _SQUARE) // _PIXEL) * _PIXEL + equator
    return 32_600 + 100 * south + zone, left // _PIXEL * _PIXEL, top


def place_of_name(name: str) -> Bounds | None:
    """Return where the patch called ``name`` lies, or None if the name does not say.

    Example:
        >>> place_of_name("S1B_IW_GRDH_1SDV_20170612T165809_33UUP_26_57").left
        331200
        >>> place_of_name("field_7")
    """
    for kind in (Sentinel2Patch, Sentinel1Patch):
        try:
            return kind.parse(name).bounds
        except PatchNameError:
            continue
    return None


def are_partners(patch_id: str, s1_name: str) -> bool:
    """Tell whether two names may be of one pair: tile, column and row agree, if both say them.

    They agree in all 549,488 pairs of the data set; which scene is the partner, only the metadata
    say.

    Example:
        >>> s2 = "S2A_MSIL2A_20170613T101031_N9999_R022_T33UUP_06_57"
        >>> are_partners(s2, "S1B_IW_GRDH_1SDV_20170612T165809_33UUP_6_57")
        True
        >>> are_partners(s2, "S1B_IW_GRDH_1SDV_20170612T165809_33UUP_57_6")
        False
    """
    first, second = (
        Sentinel2Patch._PATTERN.fullmatch(patch_id),
        Sentinel1Patch._PATTERN.fullmatch(s1_name),
    )
    if first is None or second is None:
        return True
    return first["tile"] == second["tile"] and all(
        int(first[part]) == int(second[part]) for part in ("column", "row")
    )


def is_sentinel2_name(text: str) -> bool:
    """Tell whether ``text`` looks like the name of a Sentinel-2 patch.

    Example:
        >>> is_sentinel2_name("S2A_MSIL2A_20170613T101031_N9999_R022_T33UUP_26_57")
        True
        >>> is_sentinel2_name("S2A_MSIL2A_20170613T101031_N9999_R022_T33UUP")
        False
    """
    return Sentinel2Patch._PATTERN.fullmatch(text) is not None


def is_sentinel1_name(text: str) -> bool:
    """Tell whether ``text`` looks like the name of a Sentinel-1 patch."""
    return Sentinel1Patch._PATTERN.fullmatch(text) is not None


def reference_map_name(patch_id: str) -> str:
    """Return the name of the reference map of the Sentinel-2 patch ``patch_id``."""
    Sentinel2Patch._match(patch_id)
    return patch_id + REFERENCE_MAP_SUFFIX
