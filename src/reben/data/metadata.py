"""The metadata table: labels, split, country and Sentinel-1 partner of each patch."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Self, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from reben.data.storage.environment import METADATA_FILE as METADATA_FILE  # noqa: PLC0414
from reben.data.storage.environment import SNOW_CLOUD_FILE as SNOW_CLOUD_FILE  # noqa: PLC0414
from reben.data.tables import read_parquet
from reben.errors import (
    EmptySplitError,
    MetadataError,
    MissingPatchError,
    UnknownLabelError,
    first_line,
    shown,
)
from reben.spec.labels import LABELS, fault_of_labels
from reben.spec.patches import SPLITS
from reben.support.bounds import MAX_NAME_BYTES

COLUMN_TYPES: dict[str, pa.DataType] = {
    "patch_id": pa.string(),
    "labels": pa.list_(pa.string()),
    "split": pa.string(),
    "country": pa.string(),
    "s1_name": pa.string(),
    "contains_seasonal_snow": pa.bool_(),
    "contains_cloud_or_shadow": pa.bool_(),
}
"""The required columns with their types; others are ignored."""
MADE_UP_KEY = b"made_up_by"
"""Schema metadata of a table of made-up patches; its value says what made them up."""
COLUMNS = tuple(COLUMN_TYPES)
"""Their names."""


@dataclass(frozen=True, eq=False)
class PatchTable:
    """Patches and their metadata, in a fixed order.

    Args:
        rows: A table with at least the columns `COLUMNS`. Build it with `read`, which checks it.
        labels: The labels that patches may have, in the order of vectors: the 19, unless the
            patches have other labels.
    """

    rows: pa.Table
    labels: tuple[str, ...] = LABELS

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
        tables = [_read_columns(Path(path)) for path in paths]
        notes = {
            key: note for table in tables for key, note in (table.schema.metadata or {}).items()
        }
        rows = pa.concat_tables([table.replace_schema_metadata(notes) for table in tables])
        return cls.from_arrow(rows, labels=labels)

    @classmethod
    def from_arrow(cls, rows: pa.Table, *, labels: Sequence[str] | None = LABELS) -> Self:
        """Return the patches of an Arrow table, after the same checks as `read`."""
        names = _names_in(rows) if labels is None else tuple(labels)
        _check_values(rows, names)
        return cls(rows.combine_chunks(), names)

    def __len__(self) -> int:
        """Count the patches."""
        return int(self.rows.num_rows)

    @cached_property
    def patch_ids(self) -> list[str]:
        """Sentinel-2 patch names."""
        return cast("list[str]", self.rows.column("patch_id").to_pylist())

    @cached_property
    def s1_names(self) -> list[str]:
        """Names of the Sentinel-1 partners, row by row."""
        return cast("list[str]", self.rows.column("s1_name").to_pylist())

    @property
    def made_up_by(self) -> str | None:
        """What made the patches up; None if they are measurements, as far as is known."""
        note = (self.rows.schema.metadata or {}).get(MADE_UP_KEY)
        return None if note is None else note.decode()

    @property
    def splits(self) -> list[str]:
        """The split of each patch."""
        return cast("list[str]", self.rows.column("split").to_pylist())

    @property
    def label_names(self) -> list[tuple[str, ...]]:
        """The labels of each patch, as the file lists them."""
        return [tuple(names) for names in self.rows.column("labels").to_pylist()]

    def multi_hot(self, order: Sequence[str] | None = None) -> NDArray[np.uint8]:
        """Return labels as zeros and ones, uint8 [N, K]; columns follow ``order``, or `labels`.

        Raises:
            UnknownLabelError: If a patch has a label that is not in ``order``.
        """
        order = self.labels if order is None else order
        labels = self.rows.column("labels").combine_chunks()
        columns = pc.index_in(pc.list_flatten(labels), value_set=pa.array(order, pa.string()))
        if columns.null_count:
            _require_known_labels(self.rows, order)
        vectors = np.zeros((len(self), len(order)), np.uint8)
        vectors[pc.list_parent_indices(labels).to_numpy(), columns.to_numpy()] = 1
        return vectors

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
            _require_in("split", [split], SPLITS)
            keep = pc.and_(keep, pc.equal(self._column("split"), split))
            asked.append(f"split {split}")
        if countries is not None:
            countries = _as_list("countries", countries)
            _require_in("country", countries, sorted(self.counts("country")))
            keep = pc.and_(keep, pc.is_in(self._column("country"), pa.array(countries)))
            asked.append(f"country {' or '.join(countries)}")
        if months is not None:
            months = list(months)
            _require_in("month", months, range(1, 13))
            wanted = pa.array([f"{month:02d}" for month in months])
            month_text = pc.utf8_slice_codeunits(self._column("patch_id"), 15, 17)
            keep = pc.and_(keep, pc.is_in(month_text, wanted))
            asked.append(f"month {' or '.join(map(str, months))}")
        for flag, column, text in (
            (snow, "contains_seasonal_snow", "snow"),
            (cloud, "contains_cloud_or_shadow", "cloud or shadow"),
        ):
            if flag is not None:
                keep = pc.and_(keep, pc.equal(self._column(column), flag))
                asked.append(f"{'with' if flag else 'without'} {text}")
        kept = replace(self, rows=self.rows.filter(keep).combine_chunks())
        if not len(kept):
            raise EmptySplitError(
                f"No patch is left for {', '.join(asked) or 'this table'}. "
                f"It has {len(self)} patches; by split: {_listed(self.counts('split'))}; "
                f"by country: {_listed(self.counts('country'))}. Use fewer filters."
            )
        return kept

    def take(self, positions: Sequence[int] | NDArray[np.integer]) -> Self:
        """Return the patches at ``positions``, in that order."""
        return replace(self, rows=self.rows.take(pa.array(np.asarray(positions, np.int64))))

    def position(self, patch_id: str) -> int:
        """Return the row of patch ``patch_id``.

        Raises:
            MissingPatchError: If the table lacks it.
        """
        if patch_id not in self._positions:
            raise MissingPatchError(
                f"No patch {patch_id!r} among the {len(self)} of this table"
                + (f"; the first one is {self.patch_ids[0]}." if len(self) else ".")
            )
        return self._positions[patch_id]

    def counts(self, column: str) -> dict[str, int]:
        """Return how many patches have each value of ``column``, most frequent first.

        For the column ``labels``: how many patches have each label.
        """
        values = self.rows.column(column)
        if pa.types.is_list(values.type):
            values = pc.list_flatten(values)
        pairs = [
            (str(row["values"]), int(row["counts"])) for row in pc.value_counts(values).to_pylist()
        ]
        return dict(sorted(pairs, key=lambda pair: (-pair[1], pair[0])))

    def fingerprint(self) -> str:
        """Return a SHA-256 of patch names and labels, whatever their order."""
        order = np.argsort(np.array(self.patch_ids))
        digest = hashlib.sha256("\n".join(self.patch_ids[i] for i in order).encode())
        digest.update(self.multi_hot()[order].tobytes())
        return digest.hexdigest()

    @cached_property
    def _positions(self) -> Mapping[str, int]:
        return {name: row for row, name in enumerate(self.patch_ids)}

    def _column(self, name: str) -> pa.Array:
        return self.rows.column(name).combine_chunks()


def _read_columns(path: Path) -> pa.Table:
    try:
        table = read_parquet(path)
    except FileNotFoundError:
        raise MetadataError(f"The metadata file {path} does not exist.") from None
    except (pa.ArrowException, OSError) as error:
        raise MetadataError(
            f"{path} is not a readable parquet file: {first_line(error)}. Fetch the file again."
        ) from None
    missing = [name for name in COLUMNS if name not in table.column_names]
    if missing:
        raise MetadataError(
            f"{path} lacks the column {', '.join(missing)}. It has "
            f"{', '.join(table.column_names)}. Use the metadata of BigEarthNet v2.0."
        )
    try:
        notes = {k: v for k, v in (table.schema.metadata or {}).items() if k == MADE_UP_KEY}
        for name in (name for name, kind in COLUMN_TYPES.items() if kind == pa.bool_()):
            if pa.types.is_floating(table.schema.field(name).type):  # any number would be true
                raise pa.ArrowTypeError(f"{name} holds fractions; it should be true or false")
        return table.select(COLUMNS).cast(pa.schema(COLUMN_TYPES.items(), metadata=notes))
    except pa.ArrowException as error:
        raise MetadataError(
            f"{path} has a column of another type than expected: {first_line(error)}. Use the "
            "metadata of BigEarthNet v2.0, or write them in the same form."
        ) from None


def _check_values(rows: pa.Table, labels: Sequence[str]) -> None:
    for name in COLUMNS:
        empty = rows.column(name).null_count
        if empty:
            raise MetadataError(
                f"The metadata have {empty} empty cells in the column {name}. Fill them."
            )
    for name in ("patch_id", "s1_name"):
        _require_names(rows.column(name), name)
    splits = pc.unique(rows.column("split")).to_pylist()
    _require_in("split", splits, SPLITS)
    patch_ids = rows.column("patch_id")
    if pc.count_distinct(patch_ids).as_py() != len(patch_ids):
        counted = pc.value_counts(patch_ids)
        first = next(row["values"] for row in counted.to_pylist() if row["counts"] > 1)
        raise MetadataError(
            f"Patch {first} occurs more than once in the metadata. Name each file "
            "once, and keep one row for each patch."
        )
    _require_known_labels(rows, labels)


def _require_names(column: pa.ChunkedArray, name: str) -> None:
    """Refuse names that no folder has: too long, with line breaks; those of patches also empty."""
    lengths = pc.binary_length(column)
    odd = pc.or_(pc.greater(lengths, MAX_NAME_BYTES), pc.invert(pc.utf8_is_printable(column)))
    if name == "patch_id":
        odd = pc.or_(odd, pc.equal(lengths, 0))
    if pc.any(odd).as_py():
        row = pc.index(odd, value=True).as_py()
        raise MetadataError(
            f"The metadata have the {name} {shown(column[row].as_py())} in row {row + 1}, which "
            f"cannot be the name of a patch: it takes 1 to {MAX_NAME_BYTES} bytes that can be "
            "printed. Correct it."
        )


def _require_known_labels(rows: pa.Table, order: Sequence[str]) -> None:
    flat = pc.list_flatten(rows.column("labels"))
    if flat.null_count:
        raise MetadataError(
            f"The metadata have {flat.null_count} empty cells among the labels of patches. Leave "
            "them out."
        )
    names = {str(name) for name in pc.unique(flat).to_pylist()}
    unknown = sorted(names.difference(order))
    if unknown:
        more = f" and {len(unknown) - 5} more" if len(unknown) > 5 else ""
        raise UnknownLabelError(
            f"The metadata have the unknown label {'; '.join(map(shown, unknown[:5]))}{more}. "
            f"Their labels: {_listed_names(sorted(names))}. Labels that are asked for: "
            f"{_listed_names(order)}. A model and its patches need the same labels. If the patches "
            "have your own labels, name them: labels=, or --labels FILE."
        )


def _listed_names(names: Sequence[str], most: int = 40) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return "; ".join(str(name)[:60] for name in names[:most]) + more


def _names_in(rows: pa.Table) -> tuple[str, ...]:
    """Return the 19 labels if no others occur, else those that occur."""
    found = pc.unique(pc.list_flatten(rows.column("labels"))).to_pylist()
    names = sorted(str(name) for name in found if name is not None)
    if set(LABELS).issuperset(names):
        return LABELS
    fault = fault_of_labels(names)
    if fault is not None:
        raise MetadataError(f"The labels of the metadata cannot be used: {fault}. Correct them.")
    return tuple(names)


def _require_in(what: str, values: Iterable[object], known: Iterable[object]) -> None:
    known = list(known)
    unknown = [value for value in values if value not in known]
    if unknown:
        said = ", ".join(map(shown, unknown[:5]))
        raise MetadataError(f"No {what} {said}. Known: {', '.join(map(str, known))}.")


def _as_list(name: str, values: Iterable[str]) -> list[str]:
    if isinstance(values, str):
        raise MetadataError(f"{name} must be a list of names, not the text {values!r}.")
    return list(values)


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items()) or "none"
