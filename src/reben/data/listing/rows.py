"""The rows of metadata as an Arrow table: read, checked, and made small.

Few texts occur many times, so labels, splits and countries are kept as numbers of a dictionary.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from reben.data.storage.names import Names, cut
from reben.data.tables import read_parquet
from reben.errors import MetadataError, UnknownLabelError, first_line, shown
from reben.spec.labels import LABELS, fault_of_labels
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
_NUMBERED = pa.dictionary(pa.int32(), pa.string())
MADE_UP_KEY = b"made_up_by"
"""Schema metadata of a table of made-up patches; its value says what made them up."""
COLUMNS = tuple(COLUMN_TYPES)
"""Their names."""


def read_columns(path: Path) -> pa.Table:
    """Return the columns `COLUMNS` of a parquet file, made small, or raise a MetadataError."""
    try:
        table = read_parquet(path, COLUMNS, lambda rows: _made_small(rows, path))
        missing = [name for name in COLUMNS if name not in table.column_names]
        present = read_parquet(path).column_names if missing else []
    except FileNotFoundError:
        raise MetadataError(f"The metadata file {path} does not exist.") from None
    except (pa.ArrowException, OSError) as error:
        raise MetadataError(
            f"{path} is not a readable parquet file: {first_line(error)}. Fetch the file again."
        ) from None
    if missing:
        raise MetadataError(
            f"{path} lacks the column {', '.join(missing)}. It has "
            f"{', '.join(present)}. Use the metadata of BigEarthNet v2.0."
        )
    return table


def _made_small(rows: pa.Table, path: Path) -> pa.Table:
    if not set(COLUMNS).issubset(rows.column_names):
        return rows.slice(0, 0)
    try:
        notes = {k: v for k, v in (rows.schema.metadata or {}).items() if k == MADE_UP_KEY}
        for name in (name for name, kind in COLUMN_TYPES.items() if kind == pa.bool_()):
            if pa.types.is_floating(rows.schema.field(name).type):  # any number would be true
                raise pa.ArrowTypeError(f"{name} holds fractions; it should be true or false")
        rows = rows.select(COLUMNS).cast(pa.schema(COLUMN_TYPES.items(), metadata=notes))
    except pa.ArrowException as error:
        raise MetadataError(
            f"{path} has a column of another type than expected: {first_line(error)}. Use the "
            "metadata of BigEarthNet v2.0, or write them in the same form."
        ) from None
    small = compact(rows)
    for name in ("patch_id", "s1_name"):
        small = small.append_column(name, [cut(rows.column(name).combine_chunks())])
    return small.select(COLUMNS)


def compact(rows: pa.Table) -> pa.Table:
    """Return the columns that hold no names, in one piece each, texts as numbers."""
    others = rows.drop_columns(["patch_id", "s1_name"]).unify_dictionaries().combine_chunks()
    for name in ("labels", "split", "country"):
        at = others.column_names.index(name)
        column = others.column(at)
        if name == "labels":
            chunks = [
                pa.ListArray.from_arrays(_from_zero(chunk.offsets), _numbered(chunk.flatten()))
                for chunk in column.chunks
            ]
            kind = pa.list_(_NUMBERED)
        else:
            chunks = [_numbered(chunk) for chunk in column.chunks]
            kind = _NUMBERED
        others = others.set_column(at, name, pa.chunked_array(chunks, kind))
    return others.unify_dictionaries().combine_chunks()


def _numbered(texts: pa.Array) -> pa.DictionaryArray:
    if not pa.types.is_dictionary(texts.type):
        texts = texts.cast(pa.string()).dictionary_encode()
    return texts.cast(_NUMBERED)


def _from_zero(offsets: pa.Array) -> pa.Array:
    return pc.subtract(offsets, offsets[0]) if len(offsets) else offsets


def as_texts(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return a column with its texts in place of numbers."""
    if pa.types.is_list(column.type):
        return column.cast(pa.list_(pa.string()))
    return column.cast(pa.string()) if pa.types.is_dictionary(column.type) else column


def require_full(rows: pa.Table) -> None:
    """Raise a MetadataError if a cell of a column that is needed is empty."""
    for name in COLUMNS:
        empty = rows.column(name).null_count
        if empty:
            raise MetadataError(
                f"The metadata have {empty} empty cells in the column {name}. Fill them."
            )


def require_names(names: Names, name: str) -> None:
    """Refuse names that no folder has: too long, with line breaks; those of patches also empty."""
    least = 1 if name == "patch_id" else 0
    odd = names.first_odd(least, MAX_NAME_BYTES)
    if odd is not None:
        raise MetadataError(
            f"The metadata have the {name} {shown(names[odd])} in row {odd + 1}, which "
            f"cannot be the name of a patch: it takes 1 to {MAX_NAME_BYTES} bytes that can be "
            "printed. Correct it."
        )


def require_known_labels(labels: pa.ListArray, order: Sequence[str]) -> None:
    """Raise an UnknownLabelError unless all labels of patches are in ``order``."""
    flat = labels.flatten()
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


def labels_in(rows: pa.Table) -> tuple[str, ...]:
    """Return the 19 labels if no others occur, else those that occur."""
    found = pc.unique(pc.list_flatten(rows.column("labels"))).to_pylist()
    names = sorted(str(name) for name in found if name is not None)
    if set(LABELS).issuperset(names):
        return LABELS
    fault = fault_of_labels(names)
    if fault is not None:
        raise MetadataError(f"The labels of the metadata cannot be used: {fault}. Correct them.")
    return tuple(names)


def require_in(what: str, values: Iterable[object], known: Iterable[object]) -> None:
    """Raise a MetadataError that names unknown values, and the known ones."""
    known = list(known)
    unknown = [value for value in values if value not in known]
    if unknown:
        said = ", ".join(map(shown, unknown[:5]))
        raise MetadataError(f"No {what} {said}. Known: {', '.join(map(str, known))}.")
