"""Patches to predict, in parts of a fixed size, wherever they come from.

A part is the same whoever reads it and whenever, so what was done once need not be done again.
Patches that cannot be read are named and left out; the others of their batch are as if alone.

Axes: B patches, C channels, H rows, W columns.

Patches in files to predict: folders of TIFFs, or TIFFs of several bands; threads read ahead.

Patches of a store to predict, read by the fast loader.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from reben.data.dataset import Dataset
from reben.data.loader import Loader
from reben.data.loading.fill import read_checked
from reben.data.loading.threads import run_ahead
from reben.data.patch_folders.folder import read_patch_folder
from reben.data.patch_folders.multiband import Resample, read_multiband
from reben.data.patch_folders.tree import PatchPlace, PatchTree
from reben.data.preprocess import (
    NamedBands,
    Preprocess,
    Suspicious,
    check_bands,
    count_suspicious,
    warn_of_suspicious,
)
from reben.data.tiff.tags import read_bounds
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


_AHEAD = 2


@dataclass(frozen=True)
class FileSource:
    """Patches in folders of TIFFs, or in TIFFs of several bands.

    Args:
        tree: Where they are.
        band_names: Names of the bands of TIFFs of several bands, if not the descriptions in them.
        resample: How such files are brought to native sizes; see `read_multiband`.
    """

    tree: PatchTree
    band_names: tuple[str, ...] | None = None
    resample: Resample = "exact"

    def parts(self, size: int) -> Iterator[Part]:
        """Yield what is found below the inputs in parts."""
        coming = iter(self.tree)
        while places := tuple(islice(coming, size)):
            yield FilePart(self, places)

    def measure(self) -> tuple[int, str]:
        """Return how many patches there are, and a SHA-256 of names and paths in their order."""
        count, digest = 0, hashlib.sha256()
        for place in self.tree:
            digest.update("\t".join((place.name, *place.paths, "\n")).encode())
            count += 1
        return count, digest.hexdigest()

    def read_one(self, place: PatchPlace, how: Reading) -> tuple[NamedBands, Bounds | None]:
        """Return the raw bands of one patch, and where it lies.

        Raises:
            RebenError: If it cannot be read.
        """
        if place.problem is not None:
            raise place.problem
        bands = how.preprocess.bands
        if place.is_file:
            values = read_multiband(
                place.paths[0], bands, names=self.band_names, resample=self.resample
            )
            return values, read_bounds(place.paths[0]) if how.geometry else None
        return read_patch_folder(*place.paths), _bounds_of_folder(place, how)


@dataclass(frozen=True)
class FilePart:
    """Some patches in files."""

    source: FileSource
    places: tuple[PatchPlace, ...]

    def __len__(self) -> int:
        """Count the patches."""
        return len(self.places)

    def read(self, how: Reading) -> Iterator[ReadBatch]:
        """Yield the patches in batches; threads read ahead."""
        size = how.batch_size
        batches = (
            _Waiting(self.places[first : first + size]) for first in range(0, len(self), size)
        )
        parts = partial(self._tasks, how=how)
        for waiting in run_ahead(batches, parts, num_workers=how.num_workers, ahead=_AHEAD):
            yield finish([place.name for place in waiting.places], waiting.results, how)

    def _tasks(self, waiting: "_Waiting", how: Reading) -> list[Callable[[], None]]:
        return [partial(self._task, waiting, at, how) for at in range(len(waiting.places))]

    def _task(self, waiting: "_Waiting", at: int, how: Reading) -> None:
        place = waiting.places[at]
        waiting.results[at] = checked(partial(self.source.read_one, place, how), how)


class _Waiting:
    """A batch on its way."""

    def __init__(self, places: Sequence[PatchPlace]) -> None:
        self.places = places
        self.results: list[ReadResult] = [""] * len(places)


def _bounds_of_folder(place: PatchPlace, how: Reading) -> Bounds | None:
    """Return where a patch lies: by the tags of one of its files, else by its name."""
    if not how.geometry:
        return None
    file = min(Path(place.paths[0]).glob("*_[BV]*.tif"))
    return read_bounds(file) or bounds_of_name(place.name, how)


@dataclass(frozen=True)
class StoreSource:
    """The patches of a data set, read by the fast loader."""

    dataset: Dataset

    def parts(self, size: int) -> Iterator[Part]:
        """Yield the rows of the table in parts."""
        for first in range(0, len(self.dataset), size):
            yield StorePart(self.dataset, range(first, min(first + size, len(self.dataset))))

    def measure(self) -> tuple[int, str]:
        """Return how many rows the table has, and a SHA-256 of their names in their order."""
        digest = hashlib.sha256()
        for name in self.dataset.table.patch_ids:
            digest.update(f"{name}\n".encode())
        return len(self.dataset), digest.hexdigest()


@dataclass(frozen=True)
class StorePart:
    """Some rows of a data set's table."""

    dataset: Dataset
    rows: range

    def __len__(self) -> int:
        """Count the rows."""
        return len(self.rows)

    def read(self, how: Reading) -> Iterator[ReadBatch]:
        """Yield the rows in batches; where the loader stumbles, it goes on after that batch."""
        done = 0
        while done < len(self.rows):
            left = self.dataset.table.take(self.rows[done:])
            loader = Loader(
                replace(self.dataset, table=left),
                how.preprocess,
                how.batch_size,
                labels=left.labels,
                num_workers=how.num_workers,
            )
            try:
                for batch in loader:
                    done += len(batch.names)
                    bounds = [bounds_of_name(name, how) for name in batch.names]
                    yield ReadBatch(batch.names, batch.images, bounds)
            except RebenError:
                rows = self.rows[done : done + how.batch_size]
                done += len(rows)
                yield read_each(
                    [self.dataset.table.patch_ids[row] for row in rows],
                    [partial(self._read_one, row, how) for row in rows],
                    how,
                )

    def _read_one(self, row: int, how: Reading) -> tuple[NamedBands, Bounds | None]:
        dataset = self.dataset.with_bands(how.preprocess.bands)
        name = self.dataset.table.patch_ids[row]
        return dataset.patch(row), bounds_of_name(name, how)


def check_first_patches(dataset: Dataset, preprocess: Preprocess, count: int = 32) -> None:
    """Warn if the first patches of a store look wrong; loaders look at no values.

    Warns:
        SuspiciousInputWarning: As `Classifier.predict` does.
    """
    rows = range(min(count, len(dataset)))
    try:
        warn_of_suspicious(read_checked(dataset.with_bands(preprocess.bands), rows))
    except RebenError:
        return  # said of each such patch when its turn comes
