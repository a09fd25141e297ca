"""Datasets: the patches of a metadata table with their raw values and reference maps in a store.

Axes: B patches, H rows, W columns.
"""

import logging
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from reben.data.identity import (
    DataDescription,
    DataIdentity,
    Drawn,
    StoredPart,
    identify,
)
from reben.data.metadata import PatchTable
from reben.data.places import require_partners
from reben.data.selecting.filters import Filters, FractionBy
from reben.data.selecting.stored import find_missing, require_all_partners, why_part
from reben.data.storage.record import OwnPatches
from reben.data.storage.value import kind_of_value, own_kind_of_value
from reben.data.store import NO_PARTNER, Store
from reben.errors import (
    EmptySplitError,
    MissingPatchError,
    PatchShapeError,
    PixelValueError,
)
from reben.spec.band_names import REFERENCE_MAP_TENSOR
from reben.spec.bands import BandSet
from reben.spec.labels import CORINE_TO_LABEL, LABELS
from reben.spec.patches import PATCH_PIXELS, REFERENCE_MAP_SUFFIX, SPLITS

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Dataset", "Masks"]

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Dataset:
    """The patches of a table, with their pixels in a store.

    Args:
        store: Holds the pixels.
        table: The patches, in order, with their labels.
        bands: The bands that are read.
        filters: The filters that the table went through, for the record.
        label_table: The file that the labels come from, if not from the metadata.
        description: What their owner says of the data, in ``data.toml``.
        metadata: The files that list the patches, for the record.
        parts: Split -> how many of its patches that pass the filters the store holds, before any
            are drawn; empty if that is not known.
        drawn: What was drawn, if these are a fraction.
        own: What the patches are, if they are not those of BigEarthNet v2.0.
    """

    store: Store
    table: PatchTable
    bands: BandSet
    filters: tuple[tuple[str, str], ...] = field(default=())
    label_table: Path | None = None
    description: DataDescription | None = None
    metadata: tuple[Path, ...] = ()
    parts: Mapping[str, StoredPart] = field(default_factory=dict)
    drawn: Drawn | None = None
    own: OwnPatches | None = None

    @property
    def size(self) -> int:
        """Side length of the patches in pixels of 10 m."""
        return PATCH_PIXELS if self.own is None else self.own.size

    def __len__(self) -> int:
        """Count the patches."""
        return len(self.table)

    def __getitem__(self, split: str) -> "Dataset":
        """Return the patches of ``split``: train, validation or test.

        Raises:
            MetadataError: If the name is not that of a split.
            EmptySplitError: If the split has no patch, or the store holds none of its patches.
        """
        part = self.parts.get(split)
        if part is not None and not part.num_stored:
            raise EmptySplitError(
                f"The store {self.store.path} holds none of the {part.num_listed:,} patches of the "
                f"{split} split that the metadata list.{why_part(self.store.path)} It has patches "
                f"of {', '.join(self.splits)}. Encode those of {split} into it, or choose another "
                "split."
            )
        is_drawn = split == "train"
        filters = self.filters if is_drawn else (f for f in self.filters if f[0] != "fraction")
        return replace(
            self,
            table=self.table.filter(split=split),
            filters=(*filters, ("split", split)),
            parts={} if part is None else {split: part},
            drawn=self.drawn if is_drawn else None,
        )

    def draw(
        self,
        *,
        fraction: float | None = None,
        fraction_by: FractionBy = "tile",
        fraction_seed: int = 0,
        limit: int | None = None,
    ) -> "Dataset":
        """Return a part of these patches, of whatever split; see `reben.data.selecting.filters`.

        Raises:
            ConfigError: If a fraction, a seed or a limit cannot be.
            MetadataError: If the names of patches tell no tile.
        """
        asked = Filters(None, None, None, None, fraction, fraction_by, fraction_seed)
        table, drawn = asked.draw(self.table, SPLITS)
        told = asked.told()
        if limit is not None:
            told += Filters(snow=None, cloud=None, limit=limit).told()
            table = table.take(range(min(limit, len(table))))
        return replace(self, table=table, filters=self.filters + told, drawn=drawn or self.drawn)

    @property
    def part(self) -> StoredPart | None:
        """How many of the patches that the metadata list the store holds; None if all."""
        stored, listed = (
            sum(getattr(part, name) for part in self.parts.values())
            for name in ("num_stored", "num_listed")
        )
        return StoredPart(stored, listed) if stored < listed else None

    def require_whole(self) -> None:
        """Return if the store holds all patches that the metadata list and filters leave.

        Raises:
            MissingPatchError: If it holds a part of them.
        """
        if self.part is not None:
            raise MissingPatchError(
                f"The store {self.store.path} holds {self.part} patches ({', '.join(self.splits)}) "
                f"that the metadata list.{why_part(self.store.path)} Encode the others into it, or "
                "leave out --strict to use those that are there."
            )

    @cached_property
    def identity(self) -> DataIdentity:
        """Which data set the patches are of, and how that is known."""
        return identify(self.table, self.description)

    def with_bands(self, bands: BandSet | str) -> "Dataset":
        """Return the same patches, read with other bands."""
        return replace(self, bands=BandSet.parse(bands))

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits with at least one patch, in the order train, validation, test."""
        counts = self.table.counts("split")
        return tuple(split for split in SPLITS if split in counts)

    def require_size(self, image_size: int) -> None:
        """Raise a PatchShapeError if images of this side would be patches that were scaled.

        Those of 120 pixels are an exception: models for other sizes of 1200 m are published.
        """
        if self.size in (PATCH_PIXELS, image_size):
            return
        cure = (
            f"encode them again with --tile {image_size} or --crop {image_size}, or "
            if self.size > image_size
            else ""
        )
        raise PatchShapeError(
            f"The patches in {self.store.path} have {self.size} x {self.size} pixels of 10 m, and "
            f"the images {image_size} x {image_size}; nothing is scaled, since a model knows no "
            f"other scale than that of its training. To fit them, {cure}train a model for this "
            f"size: --image-size {self.size} --statistics auto"
        )

    def read(self, positions: Iterable[int]) -> dict[str, NDArray[Any]]:
        """Return the raw values of several patches.

        Args:
            positions: Rows of the table.

        Returns:
            Band -> array [B, h, w] at native size: digital numbers uint16 (Sentinel-2), dB
            float32 (Sentinel-1).

        Raises:
            MissingPatchError: If the store lacks a patch; the message names it.
            BandsMismatchError: If a patch lacks a band.
            PatchShapeError: If a band differs in size between patches.
        """
        rows = list(positions)
        patches = [self._read_one(row) for row in rows]
        stacked = {}
        for name in self.bands:
            shapes = {patch[name].shape for patch in patches}
            if len(shapes) > 1:
                odd = next(
                    self.table.names[row]
                    for row, patch in zip(rows, patches, strict=True)
                    if patch[name].shape != patches[0][name].shape
                )
                raise PatchShapeError(
                    f"Band {name} has several sizes in the store {self.store.path}: "
                    f"{', '.join(map(str, sorted(shapes)))}. Check patch {odd}."
                )
            stacked[name] = np.stack([patch[name] for patch in patches])
        return stacked

    def patch(self, which: int | str) -> dict[str, NDArray[Any]]:
        """Return the raw values of one patch, by position or Sentinel-2 patch name.

        Returns:
            Band -> array [h, w] at native size.

        Raises:
            MissingPatchError: If the table or the store lacks the patch.
        """
        row = self.table.position(which) if isinstance(which, str) else range(len(self))[which]
        return self._read_one(row)

    def require_stored(self, *, masks: bool = False) -> None:
        """Return if the store holds all patches, judging by names, without reading values.

        The names of the whole data set take some two seconds, so it is worth calling before
        anything that takes long.

        Args:
            masks: Ask for the reference maps too.

        Raises:
            MissingPatchError: If patches are missing: how many, and the first ones.
            PlaceError: If a pair is of two places by its names.
            StoreError: If the store is damaged.
        """
        if self.bands.of_sensor("Sentinel-2") and self.bands.of_sensor("Sentinel-1"):
            require_all_partners(self.table)
        missing, num_needed = find_missing(self.store, self.table, self.bands, masks=masks)
        if not missing:
            return
        if "" in missing:
            raise MissingPatchError(NO_PARTNER)
        kind_of = kind_of_value if self.own is None else own_kind_of_value
        kinds = Counter(map(kind_of, missing))
        counted = ", ".join(f"{count} {kind}" for kind, count in kinds.items())
        raise MissingPatchError(
            f"The store {self.store.path} lacks {len(missing)} of the {num_needed} values that the "
            f"{len(self)} patches need ({counted}), the first one {missing[0]}. Encode them into "
            "it, choose bands that it has, or leave these patches out of the metadata."
        )

    def _read_one(self, row: int) -> dict[str, NDArray[Any]]:
        sentinel1 = self.bands.of_sensor("Sentinel-1")
        sentinel2 = self.bands.of_sensor("Sentinel-2")
        tensors: dict[str, NDArray[Any]] = {}
        patch_id, s1_name = self.table.names[row], self.table.partners[row]
        if sentinel1 and sentinel2:
            require_partners(patch_id, s1_name)
        if sentinel2:
            tensors |= self.store.get(patch_id, sentinel2)
        if sentinel1:
            tensors |= self.store.get(s1_name, sentinel1)
        return {name: tensors[name] for name in self.bands}


Masks = Literal["codes", "classes"]
"""What the pixels of a mask are: CORINE level-3 codes, or positions of labels."""
UNLABELLED = -100
"""The class of a pixel whose code has no label; torch's losses ignore it by default."""


def read_masks(
    dataset: Dataset, rows: Sequence[int], flips: NDArray[np.bool_], masks: NDArray[np.uint16]
) -> None:
    """Read the reference maps of patches.

    Args:
        dataset: The patches.
        rows: Rows of its table.
        flips: Whether to flip each left to right and top to bottom, [B, 2].
        masks: Receives the CORINE codes, [B, 120, 120].
    """
    for row, (flip_x, flip_y), mask in zip(rows, flips, masks, strict=True):
        name = dataset.table.names[row] + REFERENCE_MAP_SUFFIX
        codes = dataset.store.get(name, (REFERENCE_MAP_TENSOR,))[REFERENCE_MAP_TENSOR]
        if codes.shape != (PATCH_PIXELS, PATCH_PIXELS):
            raise PatchShapeError(
                f"{name} has shape {codes.shape}; a reference map has {PATCH_PIXELS} x "
                f"{PATCH_PIXELS} pixels. Encode it again."
            )
        if codes.dtype != np.uint16:
            raise PixelValueError(
                f"{name} has dtype {codes.dtype}; CORINE codes are uint16. Encode it again."
            )
        mask[...] = codes[:: -1 if flip_y else 1, :: -1 if flip_x else 1]


def classes_of_codes(codes: "Tensor", labels: Sequence[str] = LABELS) -> "Tensor":
    """Return the class of each CORINE code.

    Args:
        codes: CORINE level-3 codes, integers of any shape, on any device.
        labels: The labels; a class is a position in them.

    Returns:
        int64 of the same shape; `UNLABELLED` where a code has no label.

    Example:
        >>> import torch
        >>> classes_of_codes(torch.tensor([211, 231, 999]))
        tensor([   1,   15, -100])
    """
    import torch

    classes = torch.full((1 << 16,), UNLABELLED, dtype=torch.int64)
    for code, label in CORINE_TO_LABEL.items():
        if label in labels:
            classes[code] = labels.index(label)
    return classes.to(codes.device)[codes.long()]
