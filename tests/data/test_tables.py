"""Tables that are damaged, huge or no files: an error of the two kinds that readers catch."""

import os

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from made_up import row
from reben.data.metadata import PatchTable
from reben.data.selecting.label_table import read_label_table
from reben.data.tables import read_csv, read_parquet
from reben.errors import MetadataError


def test_a_table_comes_back_as_it_was_written(tmp_path):
    table = pa.table({"a": list(range(20_000)), "b": [["x", None]] * 20_000})
    table = table.replace_schema_metadata({"k": "v"})
    pq.write_table(table, tmp_path / "t.parquet")
    assert read_parquet(tmp_path / "t.parquet").equals(pq.read_table(tmp_path / "t.parquet"))
    pq.write_table(table.slice(0, 0), tmp_path / "t.parquet")
    assert read_parquet(tmp_path / "t.parquet").schema.equals(table.schema)


def test_a_few_bytes_that_stand_for_gigabytes_are_refused(tmp_path):
    column = pa.DictionaryArray.from_arrays(np.zeros(200_000, np.int32), ["x" * 100_000])
    pq.write_table(pa.table({"a": column.slice(0, 200_000)}), tmp_path / "t.parquet")
    assert (tmp_path / "t.parquet").stat().st_size < 300_000
    with pytest.raises(pa.ArrowInvalid, match="unpacks to more than 1024 MiB"):
        read_parquet(tmp_path / "t.parquet")


def test_rows_without_end_are_refused(tmp_path):
    pq.write_table(pa.table({"a": np.zeros(10_000_001, np.bool_)}), tmp_path / "t.parquet")
    with pytest.raises(pa.ArrowInvalid, match=r"it has 10,000,001 rows, and at most 10,000,000"):
        read_parquet(tmp_path / "t.parquet")


def test_columns_of_one_name_and_without_end_are_refused(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("a,b,a\n1,2,3\n")
    with pytest.raises(pa.ArrowInvalid, match="two of its columns are called a"):
        read_csv(path, ["a"])
    path.write_text("," * 30_000 + "\n")
    with pytest.raises(pa.ArrowInvalid, match="it has 30,001 columns"):
        read_csv(path, ["a"])


NOT_FILES = {
    "folder": "is a folder",
    "pipe": "is a pipe",
    "/dev/zero": "is a device",
    os.fsdecode(b"\xff"): "does not exist|No such file",
    "x" * 250: "does not exist|No such file",
    "x" * 300: "File name too long",
    "a\0b": "no file can have this name",
}


@pytest.mark.parametrize("name", NOT_FILES, ids=ascii)
def test_what_is_no_file_is_said(tmp_path, name):
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(MetadataError, match=NOT_FILES[name]):
        PatchTable.read(tmp_path / name)


BAD = {
    "patch_id": ["", "x" * 300, "a\nb", "a\0b"],
    "s1_name": ["x" * 300, "a\nb"],
    "labels": [[""], ["a\nb"], ["x" * 5000], [" a"], ["Pastures", None]],
}


@pytest.mark.parametrize("name", BAD)
def test_names_that_no_patch_or_label_has_are_refused(tmp_path, name):
    for value in BAD[name]:
        table = pa.Table.from_pylist([row(0), row(1, **{name: value})])
        with pytest.raises(MetadataError, match=name.partition("_")[0]) as caught:
            PatchTable.from_arrow(table, labels=None)
        assert len(str(caught.value)) < 400


@pytest.mark.parametrize("label", ["x\ny", "x\0y", "x" * 5000])
def test_a_label_table_with_such_labels_is_refused_by_name(tmp_path, label):
    path = tmp_path / "own.csv"
    path.write_text(f'patch_id,labels,split\na,"{label}",train\n')
    with pytest.raises(MetadataError, match=r"own\.csv cannot be used"):
        read_label_table(path)


def test_a_label_that_is_missing_within_a_list_is_not_called_none(tmp_path):
    path = tmp_path / "own.parquet"
    pq.write_table(pa.table({"patch_id": ["a"], "labels": [["x", None]], "split": ["test"]}), path)
    with pytest.raises(MetadataError, match=r"own\.parquet cannot be used: one is no text"):
        read_label_table(path)


def test_fractions_are_no_flags(tmp_path):
    table = pa.Table.from_pylist([row(0, contains_seasonal_snow=float("nan"))])
    pq.write_table(table, tmp_path / "m.parquet")
    with pytest.raises(MetadataError, match=r"m\.parquet .*contains_seasonal_snow holds fractions"):
        PatchTable.read(tmp_path / "m.parquet")
