"""Patches to predict, in parts of a fixed size, wherever they come from.

A part is the same whoever reads it and whenever, so what was done once need not be done again.
Patches that cannot be read are named and left out; the others of their batch are as if alone.

Axes: B patches, C channels, H rows, W columns.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from reben.data.preprocess import (
    NamedBands,
    Preprocess,
    Suspicious,
    check_bands,
    count_suspicious,
)
from reben.errors import MissingExtraError, PatchNameError, RebenError
from reben.spec.patches import Bounds, Sentinel2Patch, is_sentinel2_name


class Bad(NamedTuple):
    """A patch that cannot be used."""

    name: str
    reason: str


@dataclass
class ReadBatch:
    """What was read of a few patches.

    Args:
        names: Of the patches that can be used.
        images_BCHW: Their normalised images.
        bounds: Where they lie, as far as is known and was asked for.
        bad: The patches that cannot be used.
        suspicious: How many of those that can be used look wrong all the same.
    """

    names: list[str]
    images_BCHW: Tensor
    bounds: list[Bounds | None]
    bad: list[Bad] = field(default_factory=list)
    suspicious: Suspicious = field(default_factory=Suspicious)

    @property
    def num_patches(self) -> int:
        """How many patches it is about, the bad ones among them."""
        return len(self.names) + len(self.bad)


@dataclass(frozen=True)
class Reading:
    """How to read.

    Args:
        preprocess: What makes images of raw values; a model has its own.
        batch_size: Patches in a batch.
        num_workers: Threads that read ahead.
        geometry: Whether to find out where patches lie.
    """

    preprocess: Preprocess
    batch_size: int = 32
    num_workers: int = 2
    geometry: bool = True


class Part(Protocol):
    """Some patches that follow each other."""

    def __len__(self) -> int:
        """Count them."""

    def read(self, how: Reading) -> Iterator[ReadBatch]:
        """Yield them in batches, in order."""


class PatchSource(Protocol):
    """Patches in a fixed order; it can be handed to another process."""

    def parts(self, size: int) -> Iterator[Part]:
        """Yield all patches in parts of ``size``, the last one smaller; nothing is read yet."""

    def measure(self) -> tuple[int, str]:
        """Return how many patches there are, and a SHA-256 of what they are."""


ReadResult = tuple[dict[str, Tensor], Bounds | None] | str
"""Bands [1, h, w] and bounds of a patch, or why there are none."""


def read_each(
    names: list[str],
    reads: Sequence[Callable[[], tuple[NamedBands, Bounds | None]]],
    how: Reading,
) -> ReadBatch:
    """Return what reading each by itself gives."""
    return finish(names, [checked(read, how) for read in reads], how)


def checked(read: Callable[[], tuple[NamedBands, Bounds | None]], how: Reading) -> ReadResult:
    """Return what was read if it can be used, else the reason."""
    try:
        bands, bounds = read()
        return check_bands(bands, how.preprocess.bands), bounds
    except MissingExtraError:
        raise  # no patch's fault, and the same for all
    except RebenError as error:
        return str(error)


def finish(names: list[str], results: Sequence[ReadResult], how: Reading) -> ReadBatch:
    """Return the images of the patches that could be read, and the others by name."""
    bad = [
        Bad(name, result)
        for name, result in zip(names, results, strict=True)
        if isinstance(result, str)
    ]
    good = [
        (name, *result)
        for name, result in zip(names, results, strict=True)
        if not isinstance(result, str)
    ]
    if not good:
        return ReadBatch([], torch.empty(0), [], bad)
    tensors = {
        band: torch.cat([bands[band].float() for _, bands, _ in good])
        for band in how.preprocess.bands
    }
    with torch.no_grad():
        images_BCHW = how.preprocess(tensors)
    return ReadBatch(
        [name for name, _, _ in good],
        images_BCHW,
        [bounds for _, _, bounds in good],
        bad,
        count_suspicious(tensors),
    )


def bounds_of_name(name: str, how: Reading) -> Bounds | None:
    """Return where a patch lies by its name, or None if that is not wanted or it does not say."""
    if not (how.geometry and is_sentinel2_name(name)):
        return None
    try:
        return Sentinel2Patch.parse(name).bounds
    except PatchNameError:
        return None  # no such tile
