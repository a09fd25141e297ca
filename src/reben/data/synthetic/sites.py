"""Sites of synthetic patches: tiles of ten countries, blocks of patches, splits, dates, names.

A block is a group of neighbouring patches. All patches of a block, on all dates, are in one split,
so that no split sees the places of another.

Source: the shares of the splits are those of BigEarthNet v2.0, about 2 : 1 : 1.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from typing import NamedTuple

import numpy as np

from reben.data.synthetic.ground import TILE_PATCHES, Biome, offshore
from reben.spec.patches import PATCH_PIXELS, Sentinel1Patch, Sentinel2Patch, Split


class Tile(NamedTuple):
    """A tile of the Sentinel-2 grid.

    Args:
        name: Without the leading T.
        country: Where most of it lies.
        biome: What grows there.
        orbit: Relative orbit; made up.
        sea: Direction of the sea in degrees clockwise from east, if it has one.
    """

    name: str
    country: str
    biome: Biome
    orbit: str
    sea: float | None = None


TILES = (
    Tile("33UWP", "Austria", "continental", "R122"),
    Tile("29SND", "Portugal", "mediterranean", "R037", sea=170),
    Tile("34VEN", "Finland", "boreal", "R093", sea=200),
    Tile("29UPU", "Ireland", "atlantic", "R137", sea=10),
    Tile("34TDQ", "Serbia", "continental", "R136"),
    Tile("31UES", "Belgium", "atlantic", "R051", sea=230),
    Tile("32TMT", "Switzerland", "alpine", "R108"),
    Tile("34UEG", "Lithuania", "continental", "R036", sea=180),
    Tile("34TEN", "Kosovo", "continental", "R093"),
    Tile("31UGR", "Luxembourg", "continental", "R008"),
    Tile("33UUP", "Austria", "alpine", "R022"),
    Tile("29SPC", "Portugal", "mediterranean", "R037"),
)
"""The first ones differ most, for data sets with few patches."""

_CELL = 6
"""Side length of the cell that a block lies in, in patches."""
_CELLS = TILE_PATCHES // _CELL
_DATES = 6
"""Dates on which a tile is seen, two months apart."""
MOST_PATCHES = len(TILES) * TILE_PATCHES**2 * _DATES
_CYCLE: Sequence[Split] = (
    "train", "validation", "test", "train", "test", "train", "validation", "train",
)  # fmt: skip


@dataclass(frozen=True)
class Site:
    """One patch pair to make; ``date`` is which of the tile's dates, 0 to 5."""

    tile: Tile
    date: int
    split: Split
    sentinel2: Sentinel2Patch
    sentinel1: Sentinel1Patch

    @property
    def column(self) -> int:
        """Position in the tile, counted in patches from the west."""
        return self.sentinel2.column

    @property
    def row(self) -> int:
        """Position in the tile, counted in patches from the north."""
        return self.sentinel2.row

    @property
    def block(self) -> tuple[str, int, int]:
        """Tile and cell, which belong to one split."""
        return self.tile.name, self.column // _CELL, self.row // _CELL


def plan_sites(num_patches: int, seed: int, tiles: Sequence[Tile] = TILES) -> list[Site]:
    """Return the sites of a data set, tile by tile and date by date.

    Args:
        num_patches: From 6 to `MOST_PATCHES`.
        seed: The same seed gives the same sites.
        tiles: Where sites may lie; small data sets use the first ones.
    """
    random = np.random.default_rng([seed, 0])
    tiles = tiles[: min(len(tiles), max(2, num_patches // 24))]
    cells = [_order_cells(tile, random) for tile in tiles]
    times = [
        [_time_of(t, tile, date, random) for date in range(_DATES)] for t, tile in enumerate(tiles)
    ]
    block_size = min(_CELL * _CELL, max(1, num_patches // 100))
    sites = []
    places = islice(_places(len(tiles), block_size), num_patches)
    for t, visit, date, place in places:
        tile, cell = tiles[t], cells[t][visit % len(cells[t])]
        column = cell % _CELLS * _CELL + place[0]
        row = cell // _CELLS * _CELL + place[1]
        acquired = times[t][date]
        satellite = "AB"[(t + date) % 2]
        # Two radar scenes cover a tile; which one shows a patch, only the table says.
        scene = (visit + row) % 2
        radar_time = acquired + timedelta(hours=5 + 11 * scene, minutes=41 - scene, seconds=7 * t)
        sites.append(
            Site(
                tile, date, _CYCLE[(visit + t) % len(_CYCLE)],
                Sentinel2Patch(f"S2{satellite}", acquired, tile.name, column, row, tile.orbit),
                Sentinel1Patch(f"S1{'AB'[scene]}", radar_time, tile.name, column, row),
            )
        )  # fmt: skip
    return sorted(sites, key=lambda site: (tiles.index(site.tile), site.date))


def _order_cells(tile: Tile, random: np.random.Generator) -> list[int]:
    """Return the cells of a tile in the order of their use.

    Those on the coast come early: some classes occur only there, and small data sets should have
    them.
    """
    order = random.random(_CELLS * _CELLS)
    if tile.sea is not None:
        rows, columns = np.divmod(np.arange(_CELLS * _CELLS), _CELLS)
        pixels = _CELL * PATCH_PIXELS
        far = offshore(tile.sea, (rows + 0.5) * pixels, (columns + 0.5) * pixels)
        order[np.abs(far) < pixels / 2] *= 0.15
    return [int(cell) for cell in np.argsort(order)]


def _places(num_tiles: int, block_size: int) -> Iterator[tuple[int, int, int, tuple[int, int]]]:
    """Yield tile, number of the visit to it, date, and position in the cell, by block."""
    width = math.ceil(math.sqrt(block_size))
    inside = [(i % width, i // width) for i in range(block_size)]
    for round_ in range(_DATES):
        for visit in range(_CELLS * _CELLS):
            for tile in range(num_tiles):
                for place in inside:
                    yield tile, visit, (visit // 2 + round_) % _DATES, place


def _time_of(number: int, tile: Tile, date: int, random: np.random.Generator) -> datetime:
    """Return when a tile was seen: June 2017 to May 2018, at half past ten solar time."""
    month = (5 * number + 2 * date) % 12
    first = datetime(2017 + (month + 5) // 12, (month + 5) % 12 + 1, 1)
    longitude = 6 * int(tile.name[:2]) - 183
    minutes = 630 - 4 * longitude
    return first + timedelta(
        days=int(random.integers(0, 28)), minutes=minutes, seconds=int(random.integers(0, 600))
    )
