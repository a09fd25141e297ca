"""Tables from elsewhere, parquet and CSV: read from ordinary files, within bounds.

Reading raises `OSError` (no file that can be read, or a larger one) or `pa.ArrowException` (another
format, or too much when unpacked) alone, whatever the file holds.
"""

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from reben.support.bounds import (
    MAX_COLUMNS,
    MAX_ROWS,
    MAX_TABLE_BYTES,
    MAX_TABLE_FILE_BYTES,
    MEBIBYTE,
    read_file,
)

_ROWS_AT_ONCE = 1024
_PIECE_BYTES = 64 * MEBIBYTE
_MAX_PASSING_BYTES = 4 * MAX_TABLE_BYTES
"""What a table may unpack to if only a shorter form of it is kept."""


@contextmanager
def _as_text() -> Iterator[None]:
    try:
        yield
    except UnicodeDecodeError:  # where Arrow puts a name into a message or gives it to Python
        raise pa.ArrowInvalid("it holds bytes that are no text in UTF-8") from None


@_as_text()
def read_parquet(
    path: str | Path,
    columns: Collection[str] | None = None,
    shorten: Callable[[pa.Table], pa.Table] | None = None,
) -> pa.Table:
    """Return the table in a parquet file.

    Args:
        path: The file.
        columns: Those that are read, as far as the file has them; None reads all.
        shorten: Takes some rows at a time, and returns what is kept of them.
    """
    with pq.ParquetFile(pa.BufferReader(read_file(path, MAX_TABLE_FILE_BYTES))) as file:
        _check_size(file.metadata.num_columns, file.metadata.num_rows)
        _require_different(file.schema_arrow.names)
        most = MAX_TABLE_BYTES if shorten is None else _MAX_PASSING_BYTES
        kept: list[pa.Table] = []
        for piece in _pieces(file, columns, most):
            kept.append(piece if shorten is None else shorten(piece))
            _require_bytes(sum(table.nbytes for table in kept), MAX_TABLE_BYTES)
        return pa.concat_tables(kept)


def _pieces(
    file: pq.ParquetFile, columns: Collection[str] | None, most_bytes: int
) -> Iterator[pa.Table]:
    """Yield the rows of some columns, at least one piece, or raise an error beyond a bound."""
    names = [name for name in file.schema_arrow.names if columns is None or name in columns]
    schema = file.schema_arrow.empty_table().select(names).schema
    waiting: list[pa.RecordBatch] = []
    num_bytes = waiting_bytes = 0
    for batch in file.iter_batches(_ROWS_AT_ONCE, columns=names, use_threads=False):
        # A page of a few bytes may stand for as many rows as one likes.
        unpacked = sum(map(_unpacked_bytes, batch.columns))
        num_bytes, waiting_bytes = num_bytes + unpacked, waiting_bytes + unpacked
        _require_bytes(num_bytes, most_bytes)
        waiting.append(batch.select(names))
        if waiting_bytes > _PIECE_BYTES:
            yield _checked(pa.Table.from_batches(waiting, schema))
            waiting, waiting_bytes = [], 0
    yield _checked(pa.Table.from_batches(waiting, schema))


def _require_bytes(num_bytes: int, most: int) -> None:
    if num_bytes > most:
        raise pa.ArrowInvalid(f"it unpacks to more than {most // MEBIBYTE} MiB")


@_as_text()
def read_csv(path: str | Path, texts: list[str]) -> pa.Table:
    """Return the table in a CSV file; the columns ``texts`` are not taken for numbers or dates."""
    content = read_file(path, MAX_TABLE_FILE_BYTES)
    _check_size(content.partition(b"\n")[0].count(b",") + 1, content.count(b"\n"))
    options = pa_csv.ConvertOptions(column_types=dict.fromkeys(texts, pa.string()))
    return _checked(pa_csv.read_csv(pa.BufferReader(content), convert_options=options))


def _check_size(num_columns: int, num_rows: int) -> None:
    for what, number, most in (("columns", num_columns, MAX_COLUMNS), ("rows", num_rows, MAX_ROWS)):
        if number > most:
            raise pa.ArrowInvalid(f"it has {number:,} {what}, and at most {most:,} are read")


def _unpacked_bytes(column: pa.Array) -> int:
    size: int = column.nbytes
    if pa.types.is_dictionary(column.type):
        size += len(column) * column.dictionary.nbytes // max(len(column.dictionary), 1)
    return size


def _checked(table: pa.Table) -> pa.Table:
    table.validate(full=True)
    _require_different(table.column_names)
    return table


def _require_different(names: list[str]) -> None:
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise pa.ArrowInvalid(f"two of its columns are called {twice}")
