"""Patches of a store to predict, read by the fast loader."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial

from reben.data.dataset import Dataset
from reben.data.filling import read_checked
from reben.data.loader import Loader
from reben.data.patch_source import Part, ReadBatch, Reading, bounds_of_name, read_each
from reben.data.preprocess import NamedBands, Preprocess, warn_of_suspicious
from reben.errors import RebenError
from reben.spec.patches import Bounds


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
