"""Patches in files to predict: folders of TIFFs, or TIFFs of several bands; threads read ahead."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path

from reben.data.georeference import read_bounds
from reben.data.multiband import Resample, read_multiband
from reben.data.patch_folder import read_patch_folder
from reben.data.patch_source import (
    Part,
    ReadBatch,
    Reading,
    ReadResult,
    bounds_of_name,
    checked,
    finish,
)
from reben.data.patch_tree import PatchPlace, PatchTree
from reben.data.preprocess import NamedBands
from reben.data.workers import run_ahead
from reben.spec.patches import Bounds

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
