"""Labels of one's own: a table beside a store that says which patches have which.

A CSV or parquet file with one row a patch. It has the columns ``patch_id`` and ``labels``, and may
have ``split``, ``country``, ``s1_name`` and the two flags of the metadata. What it does not have is
taken from the metadata of the store. In a CSV the labels of a patch are separated by semicolons,
since names of labels have commas; in parquet they are a list, or such a text.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from reben.data.metadata import COLUMN_TYPES, MADE_UP_KEY, PatchTable
from reben.errors import MetadataError

SUFFIXES = (".csv", ".parquet")
"""Endings of the names of such files."""
UNKNOWN = "unknown"
"""The country of a patch of which no table tells it."""
_DEFAULTS = {
    "country": UNKNOWN,
    "s1_name": "",
    "contains_seasonal_snow": False,
    "contains_cloud_or_shadow": False,
}


def is_label_table(path: Path) -> bool:
    """Return whether a file is one of those that `read_label_table` reads, by its name."""
    return path.suffix.lower() in SUFFIXES


def read_label_table(
    path: str | Path,
    metadata: PatchTable | None = None,
    *,
    labels: Sequence[str] | None = None,
) -> PatchTable:
    """Return the patches of a table with the labels that it gives them, in its order.

    Args:
        path: The CSV or parquet file.
        metadata: What else is known of the patches; their labels there do not matter.
        labels: The labels that patches can have; by default those that the table names.

    Raises:
        MetadataError: If the file cannot be read, lacks what the metadata do not tell either,
            names a patch twice, or has an empty cell.
        UnknownLabelError: If it has a label that is not among ``labels``.
    """
    file = Path(path)
    own = _read(file)
    columns = {"patch_id": own["patch_id"].to_pylist(), "labels": _label_lists(own)}
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
        raise MetadataError(f"{file} has columns of other types than expected: {error}") from None
    names = _named(columns["labels"]) if labels is None else labels
    return PatchTable.from_arrow(rows, labels=names)


def read_label_names(path: str | Path) -> tuple[str, ...]:
    """Return the labels that a table names, in alphabetical order.

    Raises:
        MetadataError: If the file cannot be read, lacks a column, or names no label.
    """
    names = _named(_label_lists(_read(Path(path))))
    if not names:
        raise MetadataError(f"{path} names no label: its column labels is empty in every row.")
    return names


def _read(file: Path) -> pa.Table:
    if not is_label_table(file):
        raise MetadataError(
            f"{file} is no table of labels, whose name would end in {' or '.join(SUFFIXES)}."
        )
    texts = [name for name, kind in COLUMN_TYPES.items() if kind != pa.bool_()]
    try:
        if file.suffix.lower() == ".parquet":
            own = pq.read_table(file)
        else:
            options = pa_csv.ConvertOptions(column_types=dict.fromkeys(texts, pa.string()))
            own = pa_csv.read_csv(file, convert_options=options)
    except FileNotFoundError:
        raise MetadataError(f"There is no table of labels {file}.") from None
    except (pa.ArrowException, OSError) as error:
        raise MetadataError(f"The table of labels {file} cannot be read: {error}") from None
    for name in ("patch_id", "labels"):
        if name not in own.column_names:
            raise MetadataError(
                f"{file} lacks the column {name}. It has {', '.join(own.column_names) or 'none'}. "
                "Write a row for each patch: its patch_id, and its labels, separated by ;."
            )
    return own


def _label_lists(own: pa.Table) -> list[Any]:
    """Return the labels of each patch; an empty text is no label, an empty cell stays one."""
    return [
        [name.strip() for name in value.split(";") if name.strip()]
        if isinstance(value, str)
        else value
        for value in own["labels"].to_pylist()
    ]


def _named(lists: Sequence[Any]) -> tuple[str, ...]:
    """Return the names in lists of labels, each once, in alphabetical order."""
    return tuple(sorted({str(name) for names in lists for name in names or ()}))


def _from_metadata(
    name: str, patch_ids: Sequence[str], metadata: PatchTable | None, file: Path
) -> list[Any]:
    """Return what the metadata tell of patches in the column ``name``, or its default.

    Raises:
        MetadataError: If nothing tells the split of a patch.
    """
    known: dict[str, Any] = {}
    if metadata is not None:
        pairs = zip(metadata.patch_ids, metadata.rows.column(name).to_pylist(), strict=True)
        known = dict(pairs)
    if name in _DEFAULTS:
        return [known.get(patch_id, _DEFAULTS[name]) for patch_id in patch_ids]
    unknown = [patch_id for patch_id in patch_ids if patch_id not in known]
    if unknown:
        told = (
            "the store has no metadata"
            if metadata is None
            else f"the metadata of the store tell nothing of {len(unknown)} of its patches, the "
            f"first one {unknown[0]}"
        )
        raise MetadataError(
            f"{file} has no column {name}, and {told}. Add the column {name}: train, validation "
            "or test."
        )
    return [known[patch_id] for patch_id in patch_ids]
