"""Patches to predict, in chunks of a fixed size, from files or from a store.

A chunk is the same whoever reads it and whenever, so what was done once need not be done again.
Patches that cannot be read are named and left out; the others of their batch are not affected.

Axes: B patches, C channels, H rows, W columns.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from reben.data.dataset import Dataset
from reben.data.loading.threads import run_ahead
from reben.data.patch_folders.folder import read_patch
from reben.data.patch_folders.multiband import Resample, read_multiband
from reben.data.patch_folders.tree import PatchPlace, PatchTree
from reben.data.tiff.places import read_bounds
from reben.data.values import LARGEST_BAD_SHARE, RANGES, WRAPPED
from reben.errors import MissingExtraError, RebenError
from reben.spec.patches import Bounds, are_partners, place_of_name

if TYPE_CHECKING:
    from torch import Tensor

    from reben.data.preprocess import NamedBands, Preprocess, Suspicious

_AHEAD = 2
"""Batches of files that are read while another one is used."""

_Task = Callable[[], None]
_Read = Callable[[], tuple["NamedBands", Bounds | None]]
_Result = tuple[dict[str, "Tensor"], "Suspicious", Bounds | None] | str
"""Bands [1, h, w] of a patch, what is odd about them, and bounds; or why it cannot be used."""


class Unreadable(NamedTuple):
    """A patch that cannot be used, and why."""

    name: str
    reason: str


def _unsuspicious() -> "Suspicious":
    from reben.data.preprocess import Suspicious

    return Suspicious()


@dataclass
class ReadPatches:
    """A batch of patches that were read.

    Args:
        names: Of the patches that can be used.
        images_BCHW: Their normalised images.
        bounds: Where they lie, as far as is known and was asked for.
        bad: The patches that cannot be used.
        suspicious: How many of the usable ones look wrong all the same.
    """

    names: list[str]
    images_BCHW: "Tensor"
    bounds: list[Bounds | None]
    bad: list[Unreadable] = field(default_factory=list)
    suspicious: "Suspicious" = field(default_factory=_unsuspicious)

    @property
    def num_patches(self) -> int:
        """How many patches the batch had, unreadable ones included."""
        return len(self.names) + len(self.bad)


@dataclass(frozen=True)
class ReadSettings:
    """How patches are read.

    Args:
        preprocess: Makes images of raw values; a model has its own.
        batch_size: Patches in a batch.
        num_workers: Threads that read ahead.
        geometry: Whether to find out where patches lie.
    """

    preprocess: "Preprocess"
    batch_size: int = 32
    num_workers: int = 2
    geometry: bool = True


class PatchSource(Protocol):
    """Patches in a fixed order. It is pickled for other processes, and so are its chunks."""

    def measure(self) -> tuple[int, str]:
        """Return how many patches there are, and a SHA-256 that identifies them."""

    def chunks(self, size: int) -> Iterator[Sequence[Any]]:
        """Yield all patches in chunks of ``size``, the last one smaller; nothing is read yet."""

    def read(self, chunk: Any, how: ReadSettings) -> Iterator[ReadPatches]:  # noqa: ANN401
        """Yield the patches of one of its chunks in batches, in order."""


@dataclass(frozen=True)
class FileSource:
    """Patches in folders of TIFFs, or in multi-band TIFFs. A chunk is some of their places.

    Args:
        tree: Where they are.
        band_names: Names of the bands of multi-band TIFFs, if not the descriptions in them.
        resample: How such files are brought to native sizes; see `read_multiband`.
    """

    tree: PatchTree
    band_names: tuple[str, ...] | None = None
    resample: Resample = "exact"

    def measure(self) -> tuple[int, str]:
        """Return how many patches there are, and a SHA-256 of names and paths in their order."""
        count, digest = 0, hashlib.sha256()
        for place in self.tree:
            digest.update("\t".join((place.name, *place.paths, "\n")).encode())
            count += 1
        return count, digest.hexdigest()

    def chunks(self, size: int) -> Iterator[tuple[PatchPlace, ...]]:
        """Yield the places of all patches below the inputs in chunks."""
        coming = iter(self.tree)
        while places := tuple(islice(coming, size)):
            yield places

    def read(self, chunk: Sequence[PatchPlace], how: ReadSettings) -> Iterator[ReadPatches]:
        """Yield the patches of a chunk in batches; threads read ahead."""
        places = (chunk[at : at + how.batch_size] for at in range(0, len(chunk), how.batch_size))
        batches = ((batch, list[_Result]([""] * len(batch))) for batch in places)

        def reads(batch: tuple[Sequence[PatchPlace], list[_Result]]) -> Iterator[_Task]:
            for at, place in enumerate(batch[0]):
                yield partial(_read_into, batch[1], at, partial(self._read_one, place, how), how)

        for batch, results in run_ahead(batches, reads, num_workers=how.num_workers, ahead=_AHEAD):
            yield _to_images([place.name for place in batch], results, how)

    def _read_one(self, place: PatchPlace, how: ReadSettings) -> "tuple[NamedBands, Bounds | None]":
        if place.problem is not None:
            raise place.problem
        path = place.paths[0]
        if place.is_file:
            values = read_multiband(
                path,
                how.preprocess.bands,
                names=self.band_names,
                resample=self.resample,
                size=how.preprocess.size,
            )
            return values, read_bounds(path) if how.geometry else None
        values, bounds = read_patch(*place.paths, size=how.preprocess.size)
        return values, bounds if how.geometry else None


@dataclass(frozen=True)
class StoreSource:
    """The patches of a data set, read by the fast loader. A chunk is a range of its rows."""

    dataset: Dataset

    def measure(self) -> tuple[int, str]:
        """Return how many rows the table has, and a SHA-256 of their names in their order."""
        digest = hashlib.sha256()
        for name in self.dataset.table.patch_ids:
            digest.update(f"{name}\n".encode())
        return len(self.dataset), digest.hexdigest()

    def chunks(self, size: int) -> Iterator[range]:
        """Yield the rows of the table in chunks."""
        for first in range(0, len(self.dataset), size):
            yield range(first, min(first + size, len(self.dataset)))

    def read(self, chunk: range, how: ReadSettings) -> Iterator[ReadPatches]:
        """Yield the rows of a chunk in batches; one that the loader refuses is read row by row."""
        from reben.data.loader import Loader

        done = 0
        while done < len(chunk):
            left = self.dataset.table.take(chunk[done:])
            loader = Loader(
                replace(self.dataset, table=left),
                how.preprocess,
                how.batch_size,
                labels=left.labels,
                num_workers=how.num_workers,
            )
            try:
                for batch in loader:
                    rows = chunk[done : done + len(batch.names)]
                    done += len(rows)
                    if self._are_pairs(rows) and not _may_be_odd(batch.images, how.preprocess):
                        bounds = [_bounds_of_name(name, how) for name in batch.names]
                        yield ReadPatches(batch.names, batch.images, bounds)
                    else:
                        yield self._read_each(rows, how)
            except RebenError:
                rows = chunk[done : done + how.batch_size]
                done += len(rows)
                yield self._read_each(rows, how)

    def check_first(self, preprocess: "Preprocess", count: int = 32) -> None:
        """Warn if the first patches look wrong; the loader does not look at values.

        Raises:
            PatchShapeError: If the patches have another size than images of the model.

        Warns:
            SuspiciousInputWarning: As `Classifier.predict` does.
        """
        from reben.data.loading.fill import read_checked
        from reben.data.preprocess import count_suspicious

        self.dataset.require_size(preprocess.size)
        rows = range(min(count, len(self.dataset)))
        try:
            bands = read_checked(self.dataset.with_bands(preprocess.bands), rows)
            count_suspicious(bands).warn(stacklevel=3)
        except RebenError:
            return  # each such patch is named when its turn comes

    def _are_pairs(self, rows: range) -> bool:
        table = self.dataset.table
        return all(are_partners(table.patch_ids[row], table.s1_names[row]) for row in rows)

    def _read_each(self, rows: range, how: ReadSettings) -> ReadPatches:
        dataset = self.dataset.with_bands(how.preprocess.bands)
        names = [dataset.table.patch_ids[row] for row in rows]

        def read(row: int, name: str) -> "tuple[NamedBands, Bounds | None]":
            return dataset.patch(row), _bounds_of_name(name, how)

        results = [
            _checked(partial(read, row, name), how) for row, name in zip(rows, names, strict=True)
        ]
        return _to_images(names, results, how)


def _may_be_odd(images_BCHW: "Tensor", preprocess: "Preprocess") -> bool:
    """Tell quickly whether pixels of images may stand for no data; the loader looks at dB only."""
    figures = preprocess.mean.cpu(), preprocess.std.cpu()
    for of in RANGES:
        names = preprocess.bands.of_sensor(of)
        channels = [preprocess.bands.index(name) for name in names]
        for channel in channels[:1]:
            blank = (0 - figures[0][channel]) / figures[1][channel]
            sample = images_BCHW[:, channel, ::7] == blank
            if bool((sample.float().mean((1, 2)) > LARGEST_BAD_SHARE / 2).any()):
                return True
        if of == "Sentinel-2" and channels:
            most = images_BCHW[:, channels].amax((0, 2, 3))[:, None, None]
            wrapped = (min(WRAPPED) - figures[0][channels]) / figures[1][channels]
            if bool((most >= wrapped).any()):
                return True
    return False


def _read_into(results: list[_Result], at: int, read: _Read, how: ReadSettings) -> None:
    results[at] = _checked(read, how)


def _checked(read: _Read, how: ReadSettings) -> _Result:
    from reben.data.preprocess import examine_bands

    try:
        bands, bounds = read()
        return *examine_bands(bands, how.preprocess.bands, how.preprocess.size), bounds
    except MissingExtraError:
        raise  # the same for every patch
    except RebenError as error:
        return str(error)


def _to_images(names: list[str], results: Sequence[_Result], how: ReadSettings) -> ReadPatches:
    """Return the images of the patches that could be read, and the others by name."""
    import torch

    pairs = list(zip(names, results, strict=True))
    bad = [Unreadable(name, result) for name, result in pairs if isinstance(result, str)]
    good = [(name, *result) for name, result in pairs if not isinstance(result, str)]
    if not good:
        return ReadPatches([], torch.empty(0), [], bad)
    tensors = {
        band: torch.cat([bands[band].float() for _, bands, _, _ in good])
        for band in how.preprocess.bands
    }
    with torch.no_grad():
        images_BCHW = how.preprocess(tensors)
    return ReadPatches(
        [name for name, _, _, _ in good],
        images_BCHW,
        [bounds for _, _, _, bounds in good],
        bad,
        sum((odd for _, _, odd, _ in good), _unsuspicious()),
    )


def _bounds_of_name(name: str, how: ReadSettings) -> Bounds | None:
    """Return where a patch lies by its name; None if that is not wanted, or not said."""
    return place_of_name(name) if how.geometry else None
