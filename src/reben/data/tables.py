"""Tables from elsewhere, parquet and CSV: read from ordinary files, within bounds.

Reading raises `OSError` (no file that can be read, or a larger one) or `pa.ArrowException` (another
format, or too much when unpacked) alone, whatever the file holds.
"""

from collections.abc import Collection, Iterator
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


@contextmanager
def _as_text() -> Iterator[None]:
    try:
        yield
    except UnicodeDecodeError:  # where Arrow puts a name into a message or gives it to Python
        raise pa.ArrowInvalid("it holds bytes that are no text in UTF-8") from None


@_as_text()
def read_parquet(path: str | Path, texts_as_numbers: Collection[str] = ()) -> pa.Table:
    """Return the table in a parquet file.

    Args:
        path: The file.
        texts_as_numbers: Columns with few different texts, which are read as a dictionary of texts
            and numbers; other columns, and these where they hold no texts, are read as they are.
    """
    content = pa.BufferReader(read_file(path, MAX_TABLE_FILE_BYTES))
    with pq.ParquetFile(content) as file:
        _check_size(file.metadata.num_columns, file.metadata.num_rows)
        leaves = (file.schema.column(at).path for at in range(len(file.schema)))
        short = [leaf for leaf in leaves if leaf.partition(".")[0] in texts_as_numbers]
    with pq.ParquetFile(content, read_dictionary=short) as file:
        pieces, num_bytes = [file.schema_arrow.empty_table()], 0
        for batch in file.iter_batches(_ROWS_AT_ONCE, use_threads=False):
            # A page of a few bytes may stand for as many rows as one likes.
            num_bytes += sum(map(_unpacked_bytes, batch.columns))
            if num_bytes > MAX_TABLE_BYTES:
                raise pa.ArrowInvalid(f"it unpacks to more than {MAX_TABLE_BYTES // MEBIBYTE} MiB")
            pieces.append(pa.Table.from_batches([batch]))
        return _checked(pa.concat_tables(pieces))


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
    names = table.column_names
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise pa.ArrowInvalid(f"two of its columns are called {twice}")
    return table
