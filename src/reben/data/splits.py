"""Splits for tables without one, and neighbours that stand on both sides of a split.

Whole tiles, whole squares of ground, or single patches go to a split. Which ones follows from their
names and a seed alone: not from the order of rows, nor from the machine.
"""

import hashlib
import logging
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Literal, NamedTuple, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from reben.data.places import to_degrees
from reben.errors import ConfigError, MetadataError, MissingExtraError, PatchNameError
from reben.spec.patches import PATCH_METRES, SPLITS, Bounds, Split, tile_corner

logger = logging.getLogger(__name__)

SplitBy = Literal["tile", "block", "random"]
"""What goes to a split as a whole: a tile, a square of ground, or each patch by itself."""
SHARES = (0.5, 0.25, 0.25)
"""Of train, validation and test; those of BigEarthNet v2.0 are 0.496, 0.255, 0.25."""
BLOCK_METRES = 10_000
_TILE_METRES = 100_000
_NAME = r"_T(?P<tile>\d{2}[A-Z]{3})_(?P<column>\d{1,3})_(?P<row>\d{1,3})$"
_APART = 0.99 * 2 * PATCH_METRES
"""Metres between the middles of patches with just a patch between them; a UTM metre is not quite
one on the ground."""
_EARTH, _FLATTENING = 6_378_137.0, 1 / 298.257223563
"""Semi-major axis in metres, and flattening. Source: WGS 84, NGA.STND.0036."""


class Neighbours(NamedTuple):
    """How many patches have a neighbour in another split, less than a patch side away."""

    counts: Mapping[str, int]
    """Split -> patches with such a neighbour."""
    num_patches: int
    """How many of all patches say where they lie."""

    def __str__(self) -> str:
        told = ", ".join(f"{count:,} of {split}" for split, count in self.counts.items() if count)
        return (
            f"{sum(self.counts.values()):,} of {self.num_patches:,} patches ({told}) lie less than "
            f"a patch side ({PATCH_METRES} m) from a patch of another split"
        )


def assign_splits(
    table: pa.Table,
    by: SplitBy = "tile",
    *,
    seed: int = 0,
    shares: Sequence[float] = SHARES,
    places: Sequence[Bounds | None] | None = None,
    block_metres: float = BLOCK_METRES,
) -> list[Split]:
    """Return a split for each patch of a table, in the order of its rows.

    A warning says how many patches have a neighbour in another split.

    Args:
        table: It has the column ``patch_id``, and may have the column ``tile``.
        by: ``tile``: by the tile that the table or the names tell, or else by the square of 100 km
            in which a patch lies; ``block``: by squares of ``block_metres``; ``random``: by patch.
        seed: Another seed gives other splits.
        shares: Of train, validation and test; what they mean is their ratio.
        places: Where each patch lies, where known; by default what the names tell.
        block_metres: Side of a block, in metres of the patch's reference system.

    Raises:
        ConfigError: If the shares or the side of a block cannot be.
        MetadataError: If a patch does not say where it lies, or there are fewer tiles, blocks or
            patches than splits.
    """
    wanted = np.asarray(shares, np.float64)
    possible = wanted.shape == (len(SPLITS),) and np.isfinite(wanted).all()
    if not possible or (wanted < 0).any() or not wanted.sum():
        raise ConfigError(
            f"The shares are {', '.join(map(str, shares))}; they must be three numbers from 0 on, "
            "for train, validation and test."
        )
    names = table["patch_id"].to_pylist()
    where = places_of(names) if places is None else list(places)
    if by == "random":
        units: list[Hashable] = list(names)
    elif by == "tile":
        units = _tiles(table, names, where)
    elif block_metres > 0 and np.isfinite(block_metres):
        units = _squares(names, where, block_metres, by)
    else:
        raise ConfigError(f"A block has a side of {block_metres} m; it must be above 0.")
    split_of = _share_out(Counter(units), wanted / wanted.sum(), seed, by)
    splits = [split_of[unit] for unit in units]
    found = find_neighbours(where, splits)
    if found is not None and any(found.counts.values()):
        cure = {"block": "; by tile, fewer do", "random": "; by block or tile, fewer do"}.get(
            by, ""
        )
        logger.warning("Split by %s: %s. Figures will be too good%s.", by, found, cure)
    return splits


def seeded(unit: object, seed: int) -> int:
    """Return a number of 64 bits that follows from a name and a seed, the same everywhere."""
    digest = hashlib.blake2b(f"{seed} {unit}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big")


def tiles_of(names: Iterable[str]) -> list[str | None]:
    """Return the tile that each Sentinel-2 patch name tells, or None.

    Example:
        >>> tiles_of(["S2A_MSIL2A_20170613T101031_N9999_R022_T33UUP_26_57", "farm_1"])
        ['33UUP', None]
    """
    parts = pc.extract_regex(pa.array(names, pa.string()), _NAME)
    return cast("list[str | None]", pc.struct_field(parts, "tile").to_pylist())


def places_of(names: Iterable[str]) -> list[Bounds | None]:
    """Return where each patch lies by its Sentinel-2 name, or None; quick for a million names."""
    corners: dict[str, tuple[int, int, int] | None] = {}
    found: list[Bounds | None] = []
    for part in pc.extract_regex(pa.array(names, pa.string()), _NAME).to_pylist():
        tile = "" if part is None else part["tile"]
        if tile not in corners:
            try:
                corners[tile] = tile_corner(tile)
            except PatchNameError:
                corners[tile] = None
        corner = corners[tile]
        if corner is None:
            found.append(None)
            continue
        left = corner[1] + int(part["column"]) * PATCH_METRES
        top = corner[2] - int(part["row"]) * PATCH_METRES
        found.append(Bounds(corner[0], left, top - PATCH_METRES, left + PATCH_METRES, top))
    return found


def _tiles(table: pa.Table, names: Sequence[str], where: Sequence[Bounds | None]) -> list[Hashable]:
    told = table["tile"].to_pylist() if "tile" in table.column_names else [None] * len(names)
    by_name = tiles_of(names)
    rest = [own is None and tile is None for own, tile in zip(told, by_name, strict=True)]
    lost = [place if is_open else None for place, is_open in zip(where, rest, strict=True)]
    open_names = [name for name, is_open in zip(names, rest, strict=True) if is_open]
    open_places = [place for place, is_open in zip(lost, rest, strict=True) if is_open]
    squares = iter(_squares(open_names, open_places, _TILE_METRES, "tile"))
    return [
        next(squares) if is_open else own or tile
        for own, tile, is_open in zip(told, by_name, rest, strict=True)
    ]


def _squares(
    names: Sequence[str], where: Sequence[Bounds | None], side: float, by: str
) -> list[Hashable]:
    """Return the square of ground that the middle of each patch lies in."""
    nowhere = [name for name, place in zip(names, where, strict=True) if place is None]
    if nowhere:
        raise MetadataError(
            f"{len(nowhere)} of {len(names)} patches do not say where they lie, the first one "
            f"{nowhere[0]}, so there is no split by {by}. Give the table a geometry or a column "
            "tile, or split by patch: random."
        )
    return [
        (
            place.epsg,
            int((place.left + place.right) / 2 // side),
            int((place.bottom + place.top) / 2 // side),
        )
        for place in where
        if place is not None
    ]


def _share_out(
    sizes: Mapping[Hashable, int], shares: NDArray[np.float64], seed: int, by: str
) -> dict[Hashable, Split]:
    """Return the split of each unit: in a seeded order, each goes where most is lacking."""
    empty = {at for at, share in enumerate(shares) if share > 0}
    if len(sizes) < len(empty):
        smaller = {"tile": "Split by block or random", "block": "Split random"}
        cure = smaller.get(by, f"Take {len(empty)} patches at least")
        raise MetadataError(
            f"There are {len(sizes)} units to split by {by} and {len(empty)} splits. {cure}, or "
            "give shares of 0."
        )
    lacking = shares * sum(sizes.values())
    split_of: dict[Hashable, Split] = {}
    order = sorted(sizes, key=lambda unit: (seeded(unit, seed), str(unit)))
    for left, unit in zip(range(len(order), 0, -1), order, strict=True):
        among = sorted(empty) if left <= len(empty) else [at for at in range(3) if shares[at] > 0]
        at = max(among, key=lambda at: lacking[at])
        lacking[at] -= sizes[unit]
        empty.discard(at)
        split_of[unit] = SPLITS[at]
    return split_of


def find_neighbours(places: Sequence[Bounds | None], splits: Sequence[str]) -> Neighbours | None:
    """Return how many patches have a neighbour in another split; None if that cannot be told.

    Neighbours have less than a patch side between their edges. Patches of different UTM zones are
    compared as well; for that pyproj is needed.
    """
    known = [(place, split) for place, split in zip(places, splits, strict=True) if place]
    if not known:
        return None
    number = {split: at for at, split in enumerate(dict.fromkeys([*SPLITS, *splits]))}
    spots, inverse = np.unique(
        [
            (place.epsg, place.left + place.right, place.bottom + place.top, number[split])
            for place, split in known
        ],
        axis=0,
        return_inverse=True,
    )
    try:
        points = _on_ground(spots)
    except MissingExtraError:
        logger.warning("Whether neighbours stand on both sides needs the extra geo to be told.")
        return None
    has_other = _have_other(points, spots[:, 3].astype(np.int64))[inverse.reshape(-1)]
    counts = Counter(split for (_, split), is_so in zip(known, has_other, strict=True) if is_so)
    return Neighbours({split: counts[split] for split in number}, len(known))


def _on_ground(spots: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the middle of each patch in metres from the middle of the earth, [N, 3]."""
    points = np.empty((len(spots), 3))
    for epsg in np.unique(spots[:, 0]):
        own = spots[:, 0] == epsg
        degrees = to_degrees(int(epsg), spots[own, 1] / 2, spots[own, 2] / 2)
        longitude, latitude = map(np.radians, degrees)
        squeeze = 1 - _FLATTENING * (2 - _FLATTENING)
        radius = _EARTH / np.sqrt(1 - (1 - squeeze) * np.sin(latitude) ** 2)
        flat = radius * np.cos(latitude)
        height = squeeze * radius * np.sin(latitude)
        points[own] = np.stack([flat * np.cos(longitude), flat * np.sin(longitude), height], axis=1)
    return points


def _have_other(points: NDArray[np.float64], kinds: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Tell for each point whether one of another kind is nearer than `_APART`, bool [N].

    Points are sorted into cubes, so that each is compared with those of 27 cubes only.
    """
    cubes = np.floor(points / _APART).astype(np.int64) + (1 << 20)
    keys = (cubes[:, 0] << 42) | (cubes[:, 1] << 21) | cubes[:, 2]
    order = np.argsort(keys, kind="stable")
    keys, points, kinds = keys[order], points[order], kinds[order]
    found = np.zeros(len(points), np.bool_)
    steps = np.arange(-1, 2)
    for step in (steps[:, None, None] << 42) + (steps[:, None] << 21) + steps:
        for offset in step.ravel():
            first = np.searchsorted(keys, keys + offset)
            last = np.searchsorted(keys, keys + offset, side="right")
            for nth in range(int((last - first).max(initial=0))):
                rows = np.flatnonzero((first + nth < last) & ~found)
                others = first[rows] + nth
                near = ((points[rows] - points[others]) ** 2).sum(1) < _APART**2
                found[rows] |= near & (kinds[rows] != kinds[others])
    back = np.empty_like(found)
    back[order] = found
    return back
