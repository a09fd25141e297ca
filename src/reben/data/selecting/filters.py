"""Filters: which patches are used by what the metadata say, and a part drawn of those.

A fraction is drawn from the train split, limits hold for each split. What is drawn follows from
names and a seed: not from the order of rows, nor from the machine.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from reben.data.identity import Drawn
from reben.data.metadata import PatchTable
from reben.data.splits import seeded, tiles_of
from reben.errors import ConfigError, MetadataError
from reben.spec.patches import SPLITS
from reben.support.numbers import require_whole

FractionBy = Literal["tile", "label"]
SEASONS: Mapping[str, tuple[int, ...]] = {
    "spring": (3, 4, 5),
    "summer": (6, 7, 8),
    "autumn": (9, 10, 11),
    "winter": (12, 1, 2),
}
"""Season -> months of acquisition, as meteorologists count them in the north."""


@dataclass(frozen=True)
class Filters:
    """Which patches are used; the arguments of `reben.open_dataset`.

    Args:
        countries: Only patches of these countries.
        months: Only patches acquired in these months, 1 to 12.
        snow: Only patches with (True) or without (False) seasonal snow, or both (None).
        cloud: Only patches with (True) or without (False) cloud or shadow, or both (None).
        fraction: Share of the train split, above 0 and at most 1.
        fraction_by: ``tile``: whole tiles until the share is reached; ``label``: patches, such that
            each combination of labels keeps its share, to one patch.
        fraction_seed: Another seed draws others.
        limit: Only the first so many patches of each split.

    Raises:
        ConfigError: If a fraction, a seed or a limit cannot be.
    """

    countries: Sequence[str] | None = None
    months: Sequence[int] | None = None
    snow: bool | None = False
    cloud: bool | None = False
    fraction: float | None = None
    fraction_by: FractionBy = "tile"
    fraction_seed: int = 0
    limit: int | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot be."""
        if self.fraction is not None and not 0 < self.fraction <= 1:
            raise ConfigError(
                f"A fraction is above 0 and at most 1, for example 0.1; got {self.fraction}."
            )
        if self.fraction_by not in ("tile", "label"):
            raise ConfigError(f"A fraction is drawn by tile or label, not by {self.fraction_by}.")
        require_whole("fraction_seed", self.fraction_seed, least=0)
        if self.limit is not None:
            require_whole("limit", self.limit)

    def told(self) -> tuple[tuple[str, str], ...]:
        """Return the filters that are set, for the record; `filters_of` reads it."""
        told = {
            "countries": ", ".join(self.countries or ()),
            "months": ", ".join(map(str, self.months or ())),
            "snow": None if self.snow is None else str(self.snow).lower(),
            "cloud": None if self.cloud is None else str(self.cloud).lower(),
            "fraction": None
            if self.fraction is None
            else f"{self.fraction!r} by {self.fraction_by}, seed {self.fraction_seed}",
            "limit": None if self.limit is None else str(self.limit),
        }
        return tuple((name, text) for name, text in told.items() if text)

    def keep(self, table: PatchTable) -> PatchTable:
        """Return the patches that pass country, month, snow and cloud; see `PatchTable.filter`."""
        return table.filter(
            countries=self.countries, months=self.months, snow=self.snow, cloud=self.cloud
        )

    def draw(
        self, table: PatchTable, of: Iterable[str] = ("train",)
    ) -> tuple[PatchTable, Drawn | None]:
        """Return the patches that fraction and limit leave, in their order, and what was drawn.

        Args:
            table: Patches.
            of: The splits that the fraction is drawn from; limits hold for each split.
        """
        if self.fraction is None and self.limit is None:
            return table, None
        splits = table.split_numbers()
        keep = np.ones(len(table), np.bool_)
        drawn = None
        if self.fraction is not None:
            own = np.flatnonzero(np.isin(splits, [SPLITS.index(split) for split in of]))
            rows, tiles = self._draw_rows(table.take(own))
            keep[own] = False
            keep[own[rows]] = True
            drawn = Drawn(tiles, len(rows), len(own))
        for split in range(len(SPLITS)) if self.limit is not None else ():
            keep[np.flatnonzero(keep & (splits == split))[self.limit :]] = False
        return table.take(np.flatnonzero(keep)), drawn

    def _draw_rows(self, table: PatchTable) -> tuple[NDArray[np.int64], tuple[str, ...]]:
        """Return the rows of the share, and their tiles."""
        if self.fraction_by == "label":
            return _draw_by_label(table, self.fraction or 1, self.fraction_seed), ()
        tiles = table.names.each(lambda texts: pa.array(tiles_of(texts), pa.string()))
        if tiles.null_count:
            lost = table.names[pc.index(tiles.is_null(), value=True).as_py()]
            raise MetadataError(
                f"The name {lost} tells no tile, so no fraction can be drawn by tile. Draw it by "
                "label: --fraction-by label, fraction_by='label'."
            )
        encoded = tiles.dictionary_encode()
        names, of_patch = encoded.dictionary.to_pylist(), encoded.indices.to_numpy()
        sizes = np.bincount(of_patch, minlength=len(names))
        order = np.array(sorted(range(len(names)), key=lambda at: self._rank(names[at])), np.int64)
        before = np.cumsum(sizes[order]) - sizes[order]  # patches in the tiles before each
        taken = order[before < (self.fraction or 1) * len(table)]
        return np.flatnonzero(np.isin(of_patch, taken)), tuple(sorted(names[at] for at in taken))

    def _rank(self, tile: str) -> tuple[int, str]:
        return seeded(tile, self.fraction_seed), tile


def _draw_by_label(table: PatchTable, share: float, seed: int) -> NDArray[np.int64]:
    """Return rows evenly from patches that are sorted by labels, the rarest label first."""
    labels = table.multi_hot()
    rarest_first = np.argsort(labels.sum(0, dtype=np.int64), kind="stable")
    hashes = np.fromiter(
        (seeded(name, seed) for name in table.names.texts_of_all()), np.uint64, len(table)
    )
    order = np.lexsort((hashes, *labels[:, rarest_first[::-1]].T))
    steps = np.floor(np.arange(len(table) + 1) * share + 1e-9)
    rows = order[np.diff(steps) > 0]
    if not len(rows):
        rows = order[:1]
    return np.sort(rows)


def filters_of(told: Mapping[str, str] | None, *, drawing: bool = True) -> dict[str, Any]:
    """Return the filters that `Filters.told` tells of, as arguments of `open_dataset`.

    Args:
        told: The record of a run; None gives no arguments.
        drawing: Whether fraction and limit count, which are of the training.

    Example:
        >>> filters_of({"countries": "Austria, Serbia", "months": "6, 7", "snow": "false"})
        {'countries': ['Austria', 'Serbia'], 'months': [6, 7], 'snow': False, 'cloud': None}
    """
    if told is None:
        return {}
    read = {
        "countries": lambda text: text.split(", "),
        "months": lambda text: [int(number) for number in text.split(", ")],
        "snow": "true".__eq__,
        "cloud": "true".__eq__,
    }
    known = {name: read[name](told[name]) for name in read if name in told}
    known |= {name: None for name in ("snow", "cloud") if name not in told}
    if drawing and "fraction" in told:
        share, _, rest = told["fraction"].partition(" by ")
        by, _, seed = rest.partition(", seed ")
        known |= {"fraction": float(share), "fraction_by": by, "fraction_seed": int(seed)}
    if drawing and "limit" in told:
        known["limit"] = int(told["limit"])
    return known
