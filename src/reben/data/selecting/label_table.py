"""Your own labels: a table beside a store that gives the labels of each patch.

A CSV or parquet file with one row per patch. It has the columns ``patch_id`` (or ``id``) and
``labels`` (or ``label``), and may have ``split``, ``country``, ``s1_name`` and the two flags of the
metadata; missing columns are taken from the metadata of the store. In a CSV, labels are separated
by semicolons, since their names contain commas; in parquet they are a list, or such a text. Without
a column ``labels``, every other column is a label, and holds 0 or 1.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from reben.data.metadata import COLUMN_TYPES, MADE_UP_KEY, PatchTable
from reben.data.tables import read_csv, read_parquet
from reben.errors import MetadataError, first_line, shown
from reben.spec.labels import LABELS, fault_of_labels

SUFFIXES = (".csv", ".parquet")
"""File name suffixes of label tables."""
UNKNOWN = "unknown"
"""The country of a patch if no table tells it."""
_ALIASES = {"id": "patch_id", "label": "labels"}
_NO_LABELS = ("geometry", "tile", "fid", "name", "s2v1_name", "lat", "lon")
"""Columns that tell something else than labels."""
_FORM = "Write one row per patch: patch_id, and labels separated by semicolons."
DEFAULTS = {
    "country": UNKNOWN,
    "s1_name": "",
    "contains_seasonal_snow": False,
    "contains_cloud_or_shadow": False,
}


def is_label_table(path: Path) -> bool:
    """Tell by its name whether `read_label_table` reads a file."""
    return path.suffix.lower() in SUFFIXES


def read_label_table(
    path: str | Path,
    metadata: PatchTable | None = None,
    *,
    labels: Sequence[str] | None = None,
) -> PatchTable:
    """Return the patches of a label table, in its order, with its labels.

    Args:
        path: The CSV or parquet file.
        metadata: The other metadata of the patches; their labels there are ignored.
        labels: The labels that patches may have; by default those that the table names.

    Raises:
        MetadataError: If the file is unreadable, lacks a column that the metadata lack too, names
            a patch twice, or has an empty cell.
        UnknownLabelError: If it has a label that is not in ``labels``.
    """
    file = Path(path)
    own = read_rows(file)
    columns = {"patch_id": own["patch_id"].to_pylist(), "labels": label_lists(own, file)}
    for name in COLUMN_TYPES:
        if name not in columns:
            columns[name] = (
                own[name].to_pylist()
                if name in own.column_names
                else _from_metadata(name, columns["patch_id"], metadata, file)
            )
    made_up_by = None if metadata is None else metadata.made_up_by
    notes = None if made_up_by is None else {MADE_UP_KEY: made_up_by}
    try:
        rows = pa.table(columns, schema=pa.schema(COLUMN_TYPES.items(), metadata=notes))
    except (pa.ArrowException, TypeError) as error:
        raise MetadataError(
            f"{file} has a column of another type than expected: {first_line(error)}. {_FORM}"
        ) from None
    names = _named(columns["labels"], file) if labels is None else labels
    return PatchTable.from_arrow(rows, labels=names)


def read_label_names(path: str | Path) -> tuple[str, ...]:
    """Return the labels of a label table: the 19 if it names no others, else those it names.

    Those that it names are in alphabetical order. A class of the 19 that no patch of the table has
    keeps its output.

    Raises:
        MetadataError: If the file is unreadable, lacks a column, or names no label.
    """
    names = _named(label_lists(read_rows(Path(path)), path), path)
    if not names:
        raise MetadataError(f"{path} names no label: its column labels is empty in every row.")
    return names


def read_rows(file: Path, needs: Sequence[str] = ("patch_id", "labels")) -> pa.Table:
    """Return a label table as `in_columns` does."""
    if not is_label_table(file):
        raise MetadataError(
            f"{file} is not a label table: its name must end in {' or '.join(SUFFIXES)}."
        )
    texts = [name for name, kind in COLUMN_TYPES.items() if kind != pa.bool_()] + [*_ALIASES]
    try:
        is_parquet = file.suffix.lower() == ".parquet"
        own = read_parquet(file) if is_parquet else read_csv(file, texts)
    except FileNotFoundError:
        raise MetadataError(f"The label table {file} does not exist.") from None
    except (pa.ArrowException, OSError) as error:
        raise MetadataError(
            f"Cannot read the label table {file}: {first_line(error)}. {_FORM}"
        ) from None
    return in_columns(own, file, needs=needs)


def in_columns(
    own: pa.Table, file: Path, *, needs: Sequence[str] = ("patch_id", "labels")
) -> pa.Table:
    """Return a table with the columns ``patch_id`` and ``labels``, whatever form it has.

    Args:
        own: The table.
        file: Where it is from, for messages.
        needs: The columns that it must have in some form.
    """
    names = [_ALIASES.get(name, name) for name in own.column_names]
    for alias, name in _ALIASES.items():
        if name in own.column_names and alias in own.column_names:
            names[own.column_names.index(alias)] = alias  # both are there: the full name counts
    own = own.rename_columns(names)
    if "patch_id" in names and not pa.types.is_string(own.schema.field("patch_id").type):
        texts = [None if one is None else str(one) for one in own["patch_id"].to_pylist()]
        own = own.set_column(names.index("patch_id"), "patch_id", pa.array(texts, pa.string()))
    marks = [name for name in names if name not in (*COLUMN_TYPES, *_NO_LABELS)]
    if "labels" in needs and "labels" not in names and marks:
        own = own.append_column("labels", _from_marks(own, marks, file))
    for name in needs:
        if name not in own.column_names:
            raise MetadataError(
                f"{file} lacks the column {name}. It has {', '.join(own.column_names) or 'none'}. "
                f"{_FORM}"
            )
    return own


def _from_marks(own: pa.Table, columns: Sequence[str], file: Path) -> pa.Array:
    """Return the labels of each row by columns of 0 and 1, one for each label."""
    marks = {name: own[name].to_pylist() for name in columns}
    for name, values in marks.items():
        odd = next((value for value in values if value not in (0, 1)), None)
        if odd is not None or None in values:
            raise MetadataError(
                f"{file} lacks the column labels; then each other column is a label that holds 0 "
                f"or 1, but {name} holds {'nothing' if odd is None else shown(odd)}. {_FORM}"
            )
    rows = zip(*marks.values(), strict=True)
    lists = [[name for name, one in zip(columns, row, strict=True) if one] for row in rows]
    return pa.array(lists, pa.list_(pa.string()))


def label_lists(own: pa.Table, file: str | Path) -> list[Any]:
    """Return the labels of each patch: none for an empty text, None for an empty cell."""
    for value in own["labels"].to_pylist():
        if isinstance(value, str) and (value.strip()[:1] in tuple("[({") or "|" in value):
            raise MetadataError(
                f"{file} has the labels {shown(value)}, which may be one label or several. {_FORM}"
            )
    return [
        [name.strip() for name in value.split(";") if name.strip()]
        if isinstance(value, str)
        else value
        for value in own["labels"].to_pylist()
    ]


def _named(lists: Sequence[Any], file: str | Path) -> tuple[str, ...]:
    """Return the 19 labels if no others occur, else those that occur, in alphabetical order."""
    names = {name for names in lists for name in names or ()}
    fault = "one is no text" if any(not isinstance(name, str) for name in names) else None
    fault = fault or (fault_of_labels(sorted(names)) if names else None)
    if fault is not None:
        raise MetadataError(f"The labels in {file} cannot be used: {fault}. {_FORM}")
    return LABELS if names and names.issubset(LABELS) else tuple(sorted(names))


def _from_metadata(
    name: str, patch_ids: Sequence[str], metadata: PatchTable | None, file: Path
) -> list[Any]:
    """Return the column ``name`` of patches from the metadata, or its default if it has one."""
    known: dict[str, Any] = {}
    if metadata is not None:
        pairs = zip(metadata.patch_ids, metadata.rows.column(name).to_pylist(), strict=True)
        known = dict(pairs)
    if name in DEFAULTS:
        return [known.get(patch_id, DEFAULTS[name]) for patch_id in patch_ids]
    unknown = [patch_id for patch_id in patch_ids if patch_id not in known]
    if unknown:
        told = (
            "the store has no metadata"
            if metadata is None
            else f"the metadata of the store lack {len(unknown)} of its patches, for example "
            f"{unknown[0]}"
        )
        raise MetadataError(
            f"{file} has no column {name}, and {told}. Add the column {name}: train, validation "
            "or test."
        )
    return [known[patch_id] for patch_id in patch_ids]
