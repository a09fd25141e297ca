"""Reference maps as masks: CORINE codes as they are, or the classes that they stand for."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from reben.data.dataset import Dataset
from reben.errors import ConfigError, PatchShapeError, PixelValueError
from reben.spec.labels import CORINE_TO_LABEL, LABELS
from reben.spec.patches import PATCH_PIXELS, REFERENCE_MAP_SUFFIX

Masks = Literal["codes", "classes"]
"""What a pixel of a mask is: a CORINE level-3 code, or the position of its label."""
UNLABELLED = -100
"""The class of a pixel whose code has no label: the one that torch's losses leave out."""
REFERENCE_MAP_TENSOR = "Data"
"""What the tensor of a reference map is called in a store."""


def read_masks(
    dataset: Dataset, rows: Sequence[int], flips: NDArray[np.bool_], masks: NDArray[np.uint16]
) -> None:
    """Read the reference maps of patches.

    Args:
        dataset: The patches.
        rows: Rows of its table.
        flips: Whether to flip each left to right, and top to bottom, [B, 2].
        masks: Where to write CORINE codes, [B, 120, 120].

    Raises:
        MissingPatchError: If the store lacks a reference map; the message names it.
        PatchShapeError: If one has not the size of a patch.
        PixelValueError: If one is not of dtype uint16.
    """
    for row, (flip_x, flip_y), mask in zip(rows, flips, masks, strict=True):
        name = dataset.table.patch_ids[row] + REFERENCE_MAP_SUFFIX
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


def classes_of_codes(codes: Tensor, labels: Sequence[str] = LABELS) -> Tensor:
    """Return the class of each CORINE code.

    Args:
        codes: CORINE level-3 codes, integers of any shape and device.
        labels: The labels; a class is a position in them.

    Returns:
        int64 of the same shape; `UNLABELLED` where a code has no label.

    Example:
        >>> classes_of_codes(torch.tensor([211, 231, 999]))
        tensor([   1,   15, -100])
    """
    classes = torch.full((1 << 16,), UNLABELLED, dtype=torch.int64)
    for code, label in CORINE_TO_LABEL.items():
        if label in labels:
            classes[code] = labels.index(label)
    return classes.to(codes.device)[codes.long()]


def require_masks(masks: str | None) -> None:
    """Refuse a kind of masks that there is not.

    Raises:
        ConfigError: If it is neither codes nor classes nor None.
    """
    if masks not in (None, "codes", "classes"):
        raise ConfigError(f"No masks {masks!r}. There are 'codes' and 'classes', and None.")
