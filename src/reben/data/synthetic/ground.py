"""Synthetic land cover: a map of CORINE codes for a whole tile, cut into patches.

Irregular regions (a warped Voronoi mosaic) get codes by smooth fields of relief, wetness,
settlement and woodland, so that kinds of land occur together as they do outdoors. Sea, shore,
lakes and rivers are drawn over them. Every value depends only on its place, so neighbouring
patches fit together and any patch can be made on its own.

The likelihoods are invented; they give all 19 labels, some often and some rarely.
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
    """A smooth field of mean 0 and standard deviation 1 over an endless plane.

    ``spacing`` is the distance of independent values, in pixels; hills are about twice as wide.
    """

    def __init__(self, random: np.random.Generator, spacing: float) -> None:
        self.spacing = spacing
        self._lattice = random.standard_normal((_PERIOD, _PERIOD), np.float32) * np.float32(_UNIT)

    def at(self, rows: NDArray[Any], columns: NDArray[Any]) -> NDArray[np.float32]:
        """Return the values at ``rows`` [H] and ``columns`` [W], [H, W]."""
        near = _crop(_crop(self._lattice, rows / self.spacing).T, columns / self.spacing).T
        along = _interpolate(near, rows / self.spacing)
        return _interpolate(along.T, columns / self.spacing).T


class Hills:
    """A sum of fields; ``octaves`` is spacing in pixels -> height."""

    def __init__(self, random: np.random.Generator, octaves: dict[float, float]) -> None:
        self._octaves = [(Noise(random, spacing), height) for spacing, height in octaves.items()]

    def at(self, rows: NDArray[Any], columns: NDArray[Any]) -> NDArray[np.float32]:
        """Return the values at ``rows`` [H] and ``columns`` [W], [H, W]."""
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


TILE_PATCHES = 90
"""Patches along a side of a tile."""

Biome = Literal["alpine", "atlantic", "boreal", "continental", "mediterranean"]

_REGION = 74
"""Distance of region centres, in pixels."""
_MARGIN = 4
_SHORE = 2000
"""Distance of the shore from the middle of the tile, in pixels."""
_LEAST_LABELLED = 0.75
"""Smallest labelled share of a patch in the data set."""


class Cover(NamedTuple):
    """How likely a code is: a log weight, and what each field of the landscape adds to it."""

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
"""CORINE code -> likelihood for a region; a code with biomes occurs only in these."""

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
    """The ground of one patch.

    Args:
        codes: CORINE codes, uint16 [120, 120].
        regions: Number of the region of each pixel, int64 [120, 120].
        slope: Steepness towards the sun in the south-east; about -1 to 1, [120, 120].
    """

    codes: NDArray[np.uint16]
    regions: NDArray[np.int64]
    slope: NDArray[np.float32]


class Landscape:
    """The land cover of one tile.

    ``sea`` is the direction of the sea in degrees clockwise from east; None for a tile inland.
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
        """Number of regions; they are numbered from 0."""
        return self._side * self._side

    def ground(self, column: int, row: int) -> Ground:
        """Return the ground of the patch at ``column``, ``row`` of the tile."""
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

        Blocks of two by two pixels are in one region, which takes a quarter of the time.
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
    """Return the distance from the mean line of the shore, in pixels, positive at sea.

    ``direction`` is that of the sea, in degrees clockwise from east; ``rows`` and ``columns`` are
    pixels from the northern and western edge of the tile.
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
    return (position * PATCH_PIXELS + np.arange(PATCH_PIXELS)).astype(np.float32)
