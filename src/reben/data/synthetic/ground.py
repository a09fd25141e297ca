"""Made-up land cover: a map of CORINE codes for a whole tile, cut into patches.

Irregular regions (a warped Voronoi mosaic) get codes by smooth fields of relief, wetness,
settlement and woodland, so that kinds of land keep company as they do outdoors. Sea, shore, lakes
and rivers are drawn over them. Every value depends on its place alone, so neighbouring patches
fit together and any patch can be made by itself.

The likelihoods are invented; they are meant to give all 19 labels, some often and some rarely.

Made-up surfaces: the spectra of materials, and what each CORINE class is made of.

Every class is a mixture of a few materials. Forest types look alike to radar, and towns look like
bare soil in the optical bands, so both sensors together tell more than either alone.

The figures are invented, in the range that such surfaces have. Their mixture comes near the
published means over the data set.

Smooth random fields over an endless plane: the same place always has the same value.
"""

import math
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from reben.spec.labels import CORINE_TO_LABEL
from reben.spec.patches import PATCH_PIXELS

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


MATERIALS: dict[str, tuple[int, ...]] = {
    "clear water": (260, 235, 180, 95, 85, 75, 70, 62, 58, 55, 35, 25),
    "murky water": (330, 350, 450, 320, 290, 220, 215, 180, 160, 150, 80, 55),
    "dry soil": (560, 720, 1010, 1320, 1560, 1720, 1870, 2000, 2120, 2150, 2850, 2380),
    "wet soil": (260, 320, 430, 510, 650, 850, 960, 1050, 1150, 1200, 1450, 1020),
    "crop": (240, 270, 590, 300, 930, 2900, 3750, 3950, 4100, 4150, 1850, 880),
    "grass": (280, 330, 650, 430, 1080, 2600, 3200, 3350, 3500, 3550, 2100, 1100),
    "dry grass": (430, 540, 830, 990, 1430, 1950, 2150, 2350, 2450, 2500, 2800, 1850),
    "broad leaves": (190, 210, 430, 230, 680, 2350, 3050, 3150, 3350, 3400, 1600, 700),
    "bare branches": (260, 310, 440, 520, 800, 1150, 1300, 1400, 1500, 1550, 1800, 1150),
    "needles": (150, 170, 300, 180, 430, 1200, 1450, 1550, 1650, 1700, 780, 350),
    "shrub": (230, 290, 470, 480, 800, 1450, 1650, 1750, 1900, 1950, 1900, 1150),
    "moss": (270, 330, 500, 520, 900, 1450, 1650, 1750, 1900, 1950, 1500, 800),
    "town": (760, 880, 1040, 1120, 1250, 1480, 1600, 1700, 1780, 1820, 1850, 1600),
    "roofs": (1300, 1500, 1650, 1750, 1850, 1950, 2050, 2150, 2200, 2250, 2300, 2100),
    "sand": (1050, 1350, 1800, 2150, 2350, 2500, 2600, 2750, 2800, 2850, 3300, 3000),
    "rock": (850, 950, 1080, 1180, 1280, 1380, 1450, 1520, 1600, 1650, 1850, 1700),
}
"""Material -> digital numbers (reflectance x 10000) in the order of `reben.spec.bands.S2_FULL`."""

SNOW = (7600, 7700, 7500, 7400, 7300, 7100, 6900, 6800, 6500, 4600, 1000, 850)
CLOUD = (5400, 5300, 5200, 5300, 5400, 5600, 5700, 5800, 5800, 3200, 3900, 3000)


class Look(NamedTuple):
    """What a class looks like.

    Args:
        materials: Names and shares of what it is made of.
        vv_db: Mean backscatter in VV, in dB.
        vh_db: Mean backscatter in VH, in dB.
        fields: How much the mixture differs from field to field.
        regions: How much it differs from region to region; the radar's spread grows with it.
        texture: How much it differs from place to place within a field.
    """

    materials: dict[str, float]
    vv_db: float
    vh_db: float
    fields: float = 0
    regions: float = 0.3
    texture: float = 0.5


_FIELDS = {"crop": 0.5, "dry soil": 0.3, "grass": 0.1, "dry grass": 0.1}
LOOKS: dict[int, Look] = {
    111: Look({"town": 0.85, "roofs": 0.1, "broad leaves": 0.05}, -4.6, -12.8, texture=0.9),
    112: Look({"town": 0.5, "grass": 0.25, "broad leaves": 0.2, "dry soil": 0.05}, -7.4, -15.0,
              fields=0.9, texture=0.9),
    121: Look({"town": 0.55, "roofs": 0.3, "grass": 0.1, "dry soil": 0.05}, -4.9, -14.4,
              fields=1.0),
    124: Look({"grass": 0.6, "town": 0.4}, -13.0, -20.5, fields=0.6),
    131: Look({"rock": 0.5, "dry soil": 0.5}, -11.0, -19.0, fields=0.5),
    142: Look({"grass": 0.6, "broad leaves": 0.25, "town": 0.15}, -10.8, -17.3, fields=0.5),
    211: Look(_FIELDS, -11.6, -18.6, fields=1.5, texture=0.2),
    212: Look({"crop": 0.7, "dry soil": 0.3}, -11.0, -17.8, fields=1.2, texture=0.2),
    213: Look({"crop": 0.45, "murky water": 0.35, "wet soil": 0.2}, -15.0, -22.0, fields=0.9),
    221: Look({"dry soil": 0.5, "crop": 0.2, "dry grass": 0.3}, -8.0, -15.6, fields=0.5),
    222: Look({"broad leaves": 0.4, "grass": 0.35, "dry soil": 0.25}, -8.6, -14.6, fields=0.6),
    223: Look({"shrub": 0.45, "dry soil": 0.3, "dry grass": 0.25}, -8.4, -15.0, fields=0.4),
    231: Look({"grass": 0.8, "crop": 0.1, "dry grass": 0.1}, -12.6, -19.9, fields=0.6,
              texture=0.25),
    241: Look({"crop": 0.3, "shrub": 0.4, "dry soil": 0.3}, -8.6, -15.4, fields=0.8),
    242: Look({"crop": 0.35, "grass": 0.25, "dry soil": 0.2, "broad leaves": 0.12, "town": 0.08},
              -8.9, -17.6, fields=1.8, texture=0.5),
    243: Look({"crop": 0.25, "grass": 0.3, "broad leaves": 0.3, "shrub": 0.15}, -10.6, -17.0,
              fields=1.1, texture=0.9),
    244: Look({"dry grass": 0.55, "shrub": 0.2, "broad leaves": 0.25}, -10.9, -17.2, texture=1.2),
    311: Look({"broad leaves": 0.95, "shrub": 0.05}, -10.2, -15.6, texture=0.3),
    312: Look({"needles": 0.93, "shrub": 0.07}, -10.6, -16.2, texture=0.3),
    313: Look({"broad leaves": 0.5, "needles": 0.5}, -10.3, -15.8, regions=0.5, texture=0.8),
    321: Look({"grass": 0.25, "dry grass": 0.6, "rock": 0.15}, -13.2, -20.8, texture=0.6),
    322: Look({"shrub": 0.75, "moss": 0.25}, -12.6, -18.4, texture=0.6),
    323: Look({"shrub": 0.7, "dry soil": 0.15, "broad leaves": 0.15}, -10.8, -17.0, texture=0.8),
    324: Look({"shrub": 0.35, "grass": 0.2, "broad leaves": 0.25, "needles": 0.2}, -9.8, -17.2,
              regions=0.5, texture=0.9),
    331: Look({"sand": 0.9, "dry grass": 0.1}, -15.5, -24.5),
    332: Look({"rock": 0.9, "dry grass": 0.1}, -9.5, -18.5),
    333: Look({"rock": 0.45, "dry grass": 0.4, "shrub": 0.15}, -11.0, -18.9, texture=0.7),
    411: Look({"grass": 0.45, "wet soil": 0.3, "murky water": 0.25}, -9.0, -18.6, texture=0.8),
    412: Look({"moss": 0.65, "wet soil": 0.25, "needles": 0.1}, -13.8, -19.9, texture=0.6),
    421: Look({"grass": 0.35, "wet soil": 0.4, "moss": 0.25}, -11.0, -20.2, texture=0.7),
    422: Look({"murky water": 0.5, "sand": 0.3, "wet soil": 0.2}, -16.5, -25.0, fields=1.2),
    423: Look({"wet soil": 0.7, "murky water": 0.3}, -16.0, -24.5),
    511: Look({"murky water": 0.95, "wet soil": 0.05}, -17.5, -25.5),
    512: Look({"murky water": 0.4, "clear water": 0.6}, -19.0, -27.0, regions=0.2, texture=0.15),
    521: Look({"murky water": 0.7, "clear water": 0.3}, -18.5, -26.5, texture=0.15),
    522: Look({"murky water": 0.85, "clear water": 0.15}, -17.5, -26.0, texture=0.15),
    523: Look({"clear water": 0.93, "murky water": 0.07}, -17.2, -26.2, regions=0.05,
              texture=0.15),
}  # fmt: skip
"""CORINE code -> look."""


TILE_PATCHES = 90
"""Patches along a side of a tile."""

Biome = Literal["alpine", "atlantic", "boreal", "continental", "mediterranean"]

_REGION = 74
"""Distance of region centres, in pixels."""
_MARGIN = 4
_SHORE = 2000
"""How far the shore is from the middle of the tile, in pixels."""
_LEAST_LABELLED = 0.75
"""The data set holds no patch of which less is labelled."""


class Cover(NamedTuple):
    """How likely a code is: its log weight, and what each field of the landscape adds to it."""

    weight: float
    relief: float = 0
    wet: float = 0
    people: float = 0
    wood: float = 0
    biomes: tuple[Biome, ...] = ()


COVERS: dict[int, Cover] = {
    111: Cover(-3.6, people=2.6),
    112: Cover(-1.5, relief=-0.6, people=2.1),
    121: Cover(-2.6, people=1.9, relief=-0.5),
    124: Cover(-5.5, people=1.0),
    131: Cover(-4.2, people=0.4, relief=0.4),
    142: Cover(-4.0, people=1.2),
    211: Cover(1.2, relief=-1.0, wood=-0.9),
    212: Cover(-0.2, wet=-0.6, relief=-1.0, biomes=("mediterranean",)),
    213: Cover(-1.0, wet=1.4, relief=-1.0, biomes=("mediterranean",)),
    221: Cover(-1.6, relief=0.2, wet=-0.9, biomes=("mediterranean", "continental")),
    222: Cover(-2.4, wet=-0.3, relief=-0.2),
    223: Cover(-0.2, wet=-0.9, biomes=("mediterranean",)),
    231: Cover(0.4, wet=0.7, wood=-0.5),
    241: Cover(-2.2, biomes=("mediterranean",)),
    242: Cover(0.2, people=0.7, wood=-0.4),
    243: Cover(0.5, wood=0.3),
    244: Cover(0.9, wet=-0.8, wood=0.5, biomes=("mediterranean",)),
    311: Cover(0.4, wood=1.1, relief=0.2),
    312: Cover(0.4, wood=1.0, relief=1.0),
    313: Cover(0.6, wood=1.1, relief=0.6),
    321: Cover(-1.9, relief=1.3, wood=-0.6),
    322: Cover(-1.4, relief=1.0, wet=0.3, biomes=("alpine", "atlantic", "boreal")),
    323: Cover(-0.6, relief=0.8, wet=-0.7, biomes=("mediterranean",)),
    324: Cover(0.2, wood=0.7, relief=0.4),
    331: Cover(-5.0, wet=0.5),
    332: Cover(-2.8, relief=2.2, biomes=("alpine",)),
    333: Cover(-3.0, relief=1.6, biomes=("alpine", "mediterranean")),
    411: Cover(-2.3, wet=1.4, relief=-0.4),
    412: Cover(-1.6, wet=1.5, biomes=("atlantic", "boreal")),
}
"""CORINE code -> likelihood of a region; a code with biomes grows in these alone."""

_BIOME_BONUS: dict[Biome, dict[int, float]] = {
    "alpine": {211: -0.9, 231: 0.6, 312: 0.7, 321: 1.0},
    "atlantic": {231: 1.2, 312: -0.5, 313: -0.6, 242: 0.3},
    "boreal": {312: 1.3, 313: 0.8, 324: 0.7, 231: -1.2, 242: -0.8, 311: -0.5},
    "continental": {211: 0.5, 311: 0.5},
    "mediterranean": {211: -0.6, 231: -0.9, 312: -0.6, 313: -0.4, 324: 0.3},
}
_CODES = np.array(list(COVERS), np.uint16)
_BEACH, _SALT_MARSH, _SALINES, _FLATS = 331, 421, 422, 423
_RIVER, _LAKE, _LAGOON, _ESTUARY, _SEA = 511, 512, 521, 522, 523
_LABELLED_INSTEAD = {124: 121, 131: 121, 142: 112, 332: 333, _FLATS: _SALT_MARSH}


class Ground(NamedTuple):
    """What lies on one patch.

    Args:
        codes: CORINE codes, uint16 [120, 120].
        regions: Number of the region that each pixel belongs to, int64 [120, 120].
        slope: Steepness towards the south-east, where the sun stands; about -1 to 1, [120, 120].
    """

    codes: NDArray[np.uint16]
    regions: NDArray[np.int64]
    slope: NDArray[np.float32]


class Landscape:
    """The land cover of one tile.

    Args:
        random: Where all its values come from.
        biome: What grows there.
        sea: Direction of the sea in degrees clockwise from east; None for a tile inland.
    """

    def __init__(self, random: np.random.Generator, biome: Biome, sea: float | None) -> None:
        self._sea_direction = sea
        self._shore = Hills(random, {500: 420, 120: 90, 30: 14})
        self._shore_kind = Noise(random, 130)
        self._relief = Hills(random, {420: 0.85, 130: 0.5})
        self._warp = tuple(Hills(random, {50: 17, 12: 4}) for _ in range(2))
        self._lakes = Hills(random, {150: 0.9, 40: 0.4, 12: 0.08})
        self._lake_level = 1.15 if biome == "boreal" else 2.2
        self._rivers = Hills(random, {420: 1, 90: 0.2})
        self._river_reach = Noise(random, 300)
        side = math.ceil(TILE_PATCHES * PATCH_PIXELS / _REGION) + 2 * _MARGIN
        self._side = side
        cells = np.divmod(np.arange(side * side), side)
        centres = random.uniform(0.12, 0.88, (2, side * side)) + np.stack(cells)
        self._centres_y, self._centres_x = centres.astype(np.float32)
        self._region_codes = self._choose_codes(random, biome)

    @property
    def num_regions(self) -> int:
        """How many regions the tile has; their numbers run from 0."""
        return self._side * self._side

    def ground(self, column: int, row: int) -> Ground:
        """Return what lies on the patch at ``column``, ``row`` of the tile."""
        rows, columns = _pixels(row), _pixels(column)
        regions = self._regions(rows, columns)
        codes = self._region_codes[regions]
        self._draw_inland_water(codes, rows, columns)
        self._draw_sea(codes, rows, columns)
        if np.isin(codes, _UNLABELLED).mean() > 1 - _LEAST_LABELLED:
            for code, instead in _LABELLED_INSTEAD.items():
                codes[codes == code] = instead
        height = self._relief.at(np.append(rows, rows[-1] + 1), np.append(columns, columns[-1] + 1))
        slope = 25 * (2 * height[:-1, :-1] - height[1:, :-1] - height[:-1, 1:])
        slope[codes >= _RIVER] = 0
        return Ground(codes, regions, slope)

    def _choose_codes(self, random: np.random.Generator, biome: Biome) -> NDArray[np.uint16]:
        """Return a code for each region, [side * side]."""
        places = (np.arange(self._side) - _MARGIN + 0.5) * _REGION
        relief = self._relief.at(places, places)
        fields = {
            "relief": relief,
            "wet": Noise(random, 160).at(places, places) - 0.5 * relief,
            "people": Hills(random, {260: 0.6, 70: 0.8}).at(places, places),
            "wood": Hills(random, {200: 0.8, 60: 0.6}).at(places, places),
        }
        best = np.full(relief.shape, -np.inf)
        chosen = np.zeros(relief.shape, np.uint16)
        for code, cover in COVERS.items():
            own = 1.2 * Noise(random, 130).at(places, places) + 0.45 * random.gumbel(
                size=relief.shape
            )
            if cover.biomes and biome not in cover.biomes:
                continue
            likely = cover.weight + _BIOME_BONUS[biome].get(code, 0) + own
            for name, field in fields.items():
                likely += getattr(cover, name) * field
            chosen[likely > best] = code
            best = np.maximum(likely, best)
        return chosen.ravel()

    def _regions(self, rows: NDArray[Any], columns: NDArray[Any]) -> NDArray[np.int64]:
        """Return the region of each pixel: the one with the nearest centre after warping.

        Two by two pixels are alike, which takes a quarter of the time.
        """
        rows, columns = rows[::2] + np.float32(0.5), columns[::2] + np.float32(0.5)
        y = (rows[:, None] + self._warp[0].at(rows, columns)) / np.float32(_REGION) + _MARGIN
        x = (columns[None, :] + self._warp[1].at(rows, columns)) / np.float32(_REGION) + _MARGIN
        cells = np.floor(y).astype(np.int64) * self._side + np.floor(x).astype(np.int64)
        nearest = np.full(y.shape, np.inf, np.float32)
        regions = np.zeros(y.shape, np.int64)
        for step in (-1, 0, 1):
            for candidates in (cells + step * self._side + side for side in (-1, 0, 1)):
                distance = (self._centres_y[candidates] - y) ** 2
                distance += (self._centres_x[candidates] - x) ** 2
                closer = distance < nearest
                np.copyto(regions, candidates, where=closer)
                np.copyto(nearest, distance, where=closer)
        return regions.repeat(2, axis=0).repeat(2, axis=1)

    def _draw_inland_water(
        self, codes: NDArray[np.uint16], rows: NDArray[Any], columns: NDArray[Any]
    ) -> None:
        codes[self._lakes.at(rows, columns) > self._lake_level] = _LAKE
        reach = self._river_reach.at(rows, columns)
        if reach.max() > 1:
            course = np.abs(self._rivers.at(rows, columns))
            codes[course < 0.02 * np.clip(reach - 1, 0, 1)] = _RIVER

    def _draw_sea(
        self, codes: NDArray[np.uint16], rows: NDArray[Any], columns: NDArray[Any]
    ) -> None:
        if self._sea_direction is None:
            return
        out = self._sea(rows, columns)
        if out.max() < -80:
            return
        kind = self._shore_kind.at(rows, columns)
        codes[(out > -14 - 8 * kind) & (kind > 0.1)] = _BEACH
        codes[(out > 40 * (kind + 0.5)) & (kind < -0.5)] = _SALT_MARSH
        codes[(out > -30) & (kind < -1.5)] = _SALINES
        codes[(out > -5) & (kind < -1)] = _FLATS
        codes[out > np.where(kind < -1, 6, 0)] = _SEA
        codes[(out > 0) & (out < 90) & (kind > 1.2)] = _LAGOON
        codes[(out > 8) & (out < 120) & (kind < -1.2)] = _ESTUARY

    def _sea(self, rows: NDArray[Any], columns: NDArray[Any]) -> NDArray[np.float32]:
        """Return the distance from the shore, positive at sea, in pixels, [H, W]."""
        direction = self._sea_direction or 0
        straight = offshore(direction, rows[:, None], columns[None, :])
        return (straight + self._shore.at(rows, columns)).astype(np.float32)


def offshore(direction: float, rows: NDArray[Any], columns: NDArray[Any]) -> NDArray[Any]:
    """Return the distance from the line that the shore winds about, in pixels, positive at sea.

    Args:
        direction: Where the sea lies, in degrees clockwise from east.
        rows: Pixels from the northern edge of the tile.
        columns: Pixels from its western edge, of a shape that goes with ``rows``.
    """
    angle = math.radians(direction)
    middle = TILE_PATCHES * PATCH_PIXELS / 2
    distance: NDArray[Any] = (
        math.cos(angle) * (columns - middle) + math.sin(angle) * (rows - middle) - _SHORE
    )
    return distance


_UNLABELLED = np.array(
    [code for code in (*COVERS, *_LABELLED_INSTEAD) if code not in CORINE_TO_LABEL], np.uint16
)


def _pixels(position: int) -> NDArray[np.float32]:
    """Return the coordinates of the pixels of a patch in its tile."""
    return (position * PATCH_PIXELS + np.arange(PATCH_PIXELS)).astype(np.float32)
