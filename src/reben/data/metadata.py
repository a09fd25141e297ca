"""The metadata table: labels, split, country and Sentinel-1 partner of each patch."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import ClassVar, Self, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from reben.data.listing.rows import (
    COLUMN_TYPES,
    COLUMNS,
    MADE_UP_KEY,
    as_texts,
    compact,
    labels_in,
    read_columns,
    require_full,
    require_in,
    require_known_labels,
    require_names,
)
from reben.data.storage.environment import METADATA_FILE, SNOW_CLOUD_FILE
from reben.data.storage.names import Names
from reben.errors import EmptySplitError, MetadataError, MissingPatchError
from reben.spec.labels import LABELS
from reben.spec.patches import SPLITS

__all__ = [
    "COLUMNS",
    "COLUMN_TYPES",
    "MADE_UP_KEY",
    "METADATA_FILE",
    "SNOW_CLOUD_FILE",
    "PatchTable",
]

_AT_ONCE = 1 << 18


@dataclass(frozen=True, eq=False, init=False)
class PatchTable:
    """Patches and their metadata, in a fixed order.

    Args:
        rows: A table with at least the columns `COLUMNS`. Build it with `read`, which checks it.
        labels: The labels that patches may have, in the order of vectors: the 19, unless the
            patches have other labels.
    """

    rows: pa.Table
    labels: tuple[str, ...] = LABELS

    def __init__(self, rows: pa.Table, labels: Sequence[str] = LABELS) -> None:
        names, s1_names = _names_of(rows)
        self._set(names, s1_names, compact(rows), tuple(rows.column_names), tuple(labels))

    def _set(
        self,
        names: Names,
        s1_names: Names,
        others: pa.Table,
        columns: tuple[str, ...],
        labels: tuple[str, ...],
    ) -> Self:
        vars(self).update(  # frozen: nobody sets them again
            names=names, partners=s1_names, _others=others, _columns=columns, labels=labels
        )
        return self

    # No fields: they follow from `rows`, and the class holds none of them.
    names: ClassVar[Names]
    """Sentinel-2 patch names, in a few bytes each."""
    partners: ClassVar[Names]
    """Names of the Sentinel-1 partners, row by row."""
    _others: ClassVar[pa.Table]
    """The other columns, texts as numbers of a dictionary."""
    _columns: ClassVar[tuple[str, ...]]

    @classmethod
    def read(cls, *paths: str | Path, labels: Sequence[str] | None = LABELS) -> Self:
        """Return the patches of one or several parquet files, in the order of the files.

        Args:
            paths: The files.
            labels: The labels that patches may have. None takes the 19 if patches have no others,
                and otherwise the names that occur, in alphabetical order.

        Raises:
            MetadataError: If a file is missing or not a parquet file, lacks a column, has an empty
                cell or an unknown split, or if a patch occurs twice.
            UnknownLabelError: If a label is not one of ``labels``; the message names it.
        """
        if not paths:
            raise MetadataError("No metadata file was given. Name at least one.")
        tables = [read_columns(Path(path)) for path in paths]
        notes = {
            key: note for table in tables for key, note in (table.schema.metadata or {}).items()
        }
        rows = pa.concat_tables([table.replace_schema_metadata(notes) for table in tables])
        return cls.from_arrow(rows, labels=labels)

    @classmethod
    def from_arrow(cls, rows: pa.Table, *, labels: Sequence[str] | None = LABELS) -> Self:
        """Return the patches of an Arrow table, after the same checks as `read`."""
        require_full(rows)
        names = labels_in(rows) if labels is None else tuple(labels)
        table = cls(rows, names)
        _check_values(table)
        return table

    def __getattr__(self, name: str) -> pa.Table:
        """Return `rows`, a table of texts that is made anew each time."""
        if name != "rows":
            raise AttributeError(name)
        kinds = {"patch_id": self.names.to_arrow, "s1_name": self.partners.to_arrow}
        columns = [
            kinds[column]() if column in kinds else as_texts(self._others.column(column))
            for column in self._columns
        ]
        return pa.table(columns, self._columns, metadata=self._others.schema.metadata)

    def __len__(self) -> int:
        """Count the patches."""
        return len(self.names)

    @cached_property
    def patch_ids(self) -> list[str]:
        """Sentinel-2 patch names."""
        return cast("list[str]", self.names.to_arrow().to_pylist())

    @cached_property
    def s1_names(self) -> list[str]:
        """Names of the Sentinel-1 partners, row by row."""
        return cast("list[str]", self.partners.to_arrow().to_pylist())

    @property
    def made_up_by(self) -> str | None:
        """What made the patches up; None if they are measurements, as far as is known."""
        note = (self._others.schema.metadata or {}).get(MADE_UP_KEY)
        return None if note is None else note.decode()

    @property
    def splits(self) -> list[str]:
        """The split of each patch."""
        return cast("list[str]", self.column("split").to_pylist())

    @property
    def label_names(self) -> list[tuple[str, ...]]:
        """The labels of each patch, as the file lists them."""
        return [tuple(names) for names in self.column("labels").to_pylist()]

    def column(self, name: str) -> pa.Array:
        """Return a column other than those of names; texts are numbers of a dictionary."""
        return self._others.column(name).combine_chunks()

    def split_numbers(self) -> NDArray[np.uint8]:
        """Return the position in `SPLITS` of the split of each patch, uint8 [N]."""
        column = self.column("split")
        known = [SPLITS.index(name) for name in column.dictionary.to_pylist()]
        numbers: NDArray[np.uint8] = np.array(known, np.uint8)[column.indices.to_numpy()]
        return numbers

    def multi_hot(self, order: Sequence[str] | None = None) -> NDArray[np.uint8]:
        """Return labels as zeros and ones, uint8 [N, K]; columns follow ``order``, or `labels`.

        Raises:
            UnknownLabelError: If a patch has a label that is not in ``order``.
        """
        order = self.labels if order is None else order
        vectors = np.zeros((len(self), len(order)), np.uint8)
        for rows, some in self._vectors(order):
            vectors[rows] = some
        return vectors

    def label_bits(self, order: Sequence[str] | None = None) -> NDArray[np.uint8]:
        """Return what `multi_hot` does as bits, eight labels a byte; see `numpy.unpackbits`."""
        order = self.labels if order is None else order
        bits = np.zeros((len(self), -(-len(order) // 8)), np.uint8)
        for rows, some in self._vectors(order):
            bits[rows] = np.packbits(some, axis=1)
        return bits

    def _vectors(self, order: Sequence[str]) -> Iterator[tuple[slice, NDArray[np.uint8]]]:
        """Yield rows with their labels as zeros and ones, some at a time."""
        column = self.column("labels")
        known = pc.index_in(column.values.dictionary, value_set=pa.array(order, pa.string()))
        columns = known.fill_null(-1).to_numpy()
        for first in range(0, len(self), _AT_ONCE):
            labels = column.slice(first, _AT_ONCE)
            vectors = np.zeros((len(labels), len(order)), np.uint8)
            found = columns[labels.flatten().indices.to_numpy()]
            if (found < 0).any():
                require_known_labels(self.column("labels"), order)
            vectors[pc.list_parent_indices(labels).to_numpy(), found] = 1
            yield slice(first, first + len(labels)), vectors

    def filter(
        self,
        *,
        split: str | None = None,
        countries: Iterable[str] | None = None,
        months: Iterable[int] | None = None,
        snow: bool | None = None,
        cloud: bool | None = None,
    ) -> Self:
        """Return the patches that pass all filters; None filters nothing.

        Args:
            split: ``train``, ``validation`` or ``test``.
            countries: Names of countries, as the table writes them.
            months: Months in which the Sentinel-2 patch was acquired, 1 to 12.
            snow: Whether the patch has seasonal snow.
            cloud: Whether the patch has cloud or cloud shadow.

        Raises:
            MetadataError: If a split, country or month is unknown; the message lists the known.
            EmptySplitError: If no patch is left; the message says how many patches there are.
        """
        keep = pa.array(np.ones(len(self), np.bool_))
        asked = []
        if split is not None:
            require_in("split", [split], SPLITS)
            keep = pc.and_(keep, pc.equal(self.column("split"), split))
            asked.append(f"split {split}")
        if countries is not None:
            countries = _as_list("countries", countries)
            require_in("country", countries, sorted(self.counts("country")))
            keep = pc.and_(keep, pc.is_in(self.column("country"), pa.array(countries)))
            asked.append(f"country {' or '.join(countries)}")
        if months is not None:
            months = list(months)
            require_in("month", months, range(1, 13))
            wanted = pa.array([f"{month:02d}" for month in months])
            month_text = self.names.each(lambda texts: pc.utf8_slice_codeunits(texts, 15, 17))
            keep = pc.and_(keep, pc.is_in(month_text, wanted))
            asked.append(f"month {' or '.join(map(str, months))}")
        for flag, column, text in (
            (snow, "contains_seasonal_snow", "snow"),
            (cloud, "contains_cloud_or_shadow", "cloud or shadow"),
        ):
            if flag is not None:
                keep = pc.and_(keep, pc.equal(self.column(column), flag))
                asked.append(f"{'with' if flag else 'without'} {text}")
        kept = self.take(keep.to_numpy(zero_copy_only=False))
        if not len(kept):
            raise EmptySplitError(
                f"No patch is left for {', '.join(asked) or 'this table'}. "
                f"It has {len(self)} patches; by split: {_listed(self.counts('split'))}; "
                f"by country: {_listed(self.counts('country'))}. Use fewer filters."
            )
        return kept

    def take(self, positions: Sequence[int] | NDArray[np.integer] | NDArray[np.bool_]) -> Self:
        """Return the patches at ``positions``, in that order, or where a mask is true."""
        rows = np.asarray(positions)
        if rows.dtype == np.bool_:
            others = self._others.filter(pa.array(rows))
        else:
            rows = rows.astype(np.int64)
            others = self._others.take(pa.array(rows))
        names = self.names.take(rows), self.partners.take(rows)
        empty = object.__new__(type(self))
        return empty._set(*names, others.combine_chunks(), self._columns, self.labels)

    def position(self, patch_id: str) -> int:
        """Return the row of patch ``patch_id``.

        Raises:
            MissingPatchError: If the table lacks it.
        """
        row = self.names.row_of(patch_id)
        if row is None:
            raise MissingPatchError(
                f"No patch {patch_id!r} among the {len(self)} of this table"
                + (f"; the first one is {self.names[0]}." if len(self) else ".")
            )
        return row

    def counts(self, column: str) -> dict[str, int]:
        """Return how many patches have each value of ``column``, most frequent first.

        For the column ``labels``: how many patches have each label.
        """
        values = self.column(column)
        if pa.types.is_list(values.type):
            values = values.flatten()
        pairs = [
            (str(row["values"]), int(row["counts"])) for row in pc.value_counts(values).to_pylist()
        ]
        return dict(sorted(pairs, key=lambda pair: (-pair[1], pair[0])))

    def fingerprint(self) -> str:
        """Return a SHA-256 of patch names and labels, whatever their order."""
        order = self.names.order()
        digest = hashlib.sha256()
        for first in range(0, len(order), _AT_ONCE):
            some = self.names.take(order[first : first + _AT_ONCE])
            digest.update(b"\n" * bool(first))
            digest.update(some.lines()[:-1])
        for first in range(0, len(order), _AT_ONCE):
            digest.update(self.take(order[first : first + _AT_ONCE]).multi_hot().tobytes())
        return digest.hexdigest()


def _names_of(rows: pa.Table) -> tuple[Names, Names]:
    """Return the names of both missions, two columns at a time."""
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(Names.of, (rows.column("patch_id"), rows.column("s1_name")))
    return first, second


def _check_values(table: PatchTable) -> None:
    for name, names in (("patch_id", table.names), ("s1_name", table.partners)):
        require_names(names, name)
    splits = pc.unique(table.column("split")).to_pylist()
    require_in("split", splits, SPLITS)
    twice = table.names.first_twice()
    if twice is not None:
        raise MetadataError(
            f"Patch {table.names[twice]} occurs more than once in the metadata. Name each file "
            "once, and keep one row for each patch."
        )
    require_known_labels(table.column("labels"), table.labels)


def _as_list(name: str, values: Iterable[str]) -> list[str]:
    if isinstance(values, str):
        raise MetadataError(f"{name} must be a list of names, not the text {values!r}.")
    return list(values)


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items()) or "none"
