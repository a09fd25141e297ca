import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from made_up import row, write_metadata
from reben.data.metadata import PatchTable
from reben.errors import EmptySplitError, MetadataError, MissingPatchError, UnknownLabelError
from reben.spec.labels import LABELS, PAPER_LABELS, to_multi_hot


@pytest.fixture
def table(tmp_path):
    rows = [
        row(0, "train"),
        row(1, "train", contains_seasonal_snow=True),
        row(2, "validation", contains_cloud_or_shadow=True),
        row(
            3,
            "test",
            patch_id="S2B_MSIL2A_20180420T095029_N9999_R079_T34TCT_03_04",
            country="Kosovo",
        ),
    ]
    return PatchTable.read(write_metadata(tmp_path / "metadata.parquet", rows))


def test_rows_keep_the_order_of_the_file(table):
    assert [name[-5:] for name in table.patch_ids] == ["00_00", "00_01", "00_02", "03_04"]
    assert [name.split("_")[-1] for name in table.s1_names] == ["0", "1", "2", "3"]


def test_several_files_follow_each_other(tmp_path):
    first = write_metadata(tmp_path / "a.parquet", [row(4)])
    second = write_metadata(tmp_path / "b.parquet", [row(2)])
    assert [name[-2:] for name in PatchTable.read(first, second).patch_ids] == ["04", "02"]


def test_multi_hot_is_what_the_names_say_in_both_orders(table):
    for order in (LABELS, PAPER_LABELS):
        expected = [to_multi_hot(names, order) for names in table.label_names]
        np.testing.assert_array_equal(table.multi_hot(order), expected)


def test_multi_hot_of_filtered_rows_is_of_those_rows(table):
    kept = table.filter(split="test")
    np.testing.assert_array_equal(kept.multi_hot(), table.multi_hot()[3:])


@pytest.mark.parametrize(
    ("asked", "kept"),
    [
        ({"split": "train"}, [0, 1]),
        ({"countries": ["Finland"]}, [0, 2]),
        ({"countries": ["Finland", "Kosovo"]}, [0, 2, 3]),
        ({"months": [4]}, [3]),
        ({"months": [6], "snow": False}, [0, 2]),
        ({"snow": True}, [1]),
        ({"snow": False, "cloud": False}, [0, 3]),
        ({}, [0, 1, 2, 3]),
    ],
)
def test_filters_keep_the_rows_for_which_all_holds(table, asked, kept):
    assert table.filter(**asked).patch_ids == [table.patch_ids[number] for number in kept]


def test_a_filter_that_leaves_nothing_says_what_there_is(table):
    with pytest.raises(EmptySplitError, match=r"split test, with snow\. It has 4 .* train 2"):
        table.filter(split="test", snow=True)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"split": "val"}, "No split 'val'. Known: train, validation, test"),
        ({"countries": ["Germany"]}, "No country 'Germany'. Known: Austria, Finland, Kosovo"),
        ({"countries": "Austria"}, "must be a list"),
        ({"months": [0]}, "No month 0"),
    ],
)
def test_a_filter_that_cannot_be_is_named(table, asked, message):
    with pytest.raises(MetadataError, match=message):
        table.filter(**asked)


def test_unknown_columns_are_tolerated(tmp_path):
    rows = [row(0, extra="x", __index_level_0__=3)]
    assert len(PatchTable.read(write_metadata(tmp_path / "m.parquet", rows))) == 1


def test_large_strings_and_dictionaries_are_read_too(tmp_path):
    rows = pa.Table.from_pylist([row(0), row(1, "test")])
    wide = rows.set_column(0, "patch_id", rows.column("patch_id").cast(pa.large_string()))
    coded = wide.set_column(2, "split", wide.column("split").dictionary_encode())
    pq.write_table(coded, tmp_path / "m.parquet")
    assert len(PatchTable.read(tmp_path / "m.parquet").filter(split="test")) == 1


def test_groups_of_rows_and_pieces_of_any_size_give_the_same_patches(tmp_path, monkeypatch):
    rows = [row(at, labels=[f"own {at % 7}", f"own {at // 500}"]) for at in range(2500)]
    table = pa.Table.from_pylist(rows)
    pq.write_table(table, tmp_path / "t.parquet", row_group_size=900, dictionary_pagesize_limit=20)
    monkeypatch.setattr("reben.data.tables._PIECE_BYTES", 1000)
    read = PatchTable.read(tmp_path / "t.parquet", labels=None)
    assert read.labels == tuple(f"own {number}" for number in range(7))
    assert read.rows.equals(table.select(read.rows.column_names))
    assert read.names.row_of(rows[1700]["patch_id"]) == 1700
    assert read.fingerprint() == PatchTable.from_arrow(table, labels=None).fingerprint()


def test_missing_columns_are_named(tmp_path):
    kept = {name: value for name, value in row(0).items() if name not in {"split", "s1_name"}}
    with pytest.raises(MetadataError, match=r"lacks the column split, s1_name\. It has patch_id"):
        PatchTable.read(write_metadata(tmp_path / "m.parquet", [kept]))


def test_unknown_labels_are_named(tmp_path):
    rows = [row(0), row(1, labels=["Pastures", "Sea and ocean"])]
    with pytest.raises(UnknownLabelError, match="'Sea and ocean'"):
        PatchTable.read(write_metadata(tmp_path / "m.parquet", rows))


def test_labels_outside_an_asked_order_are_named(table):
    with pytest.raises(UnknownLabelError, match="'Urban fabric'"):
        table.multi_hot([label for label in LABELS if label != "Urban fabric"])


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([row(0), row(0)], "occurs more than once"),
        ([row(0, split="val")], "No split 'val'"),
        ([row(0), row(1, country=None)], "1 empty cells in the column country"),
        ([row(0, contains_seasonal_snow="maybe")], "another type"),
    ],
)
def test_values_that_cannot_be_are_refused(tmp_path, rows, message):
    with pytest.raises(MetadataError, match=message):
        PatchTable.read(write_metadata(tmp_path / "m.parquet", rows))


def test_a_file_that_is_not_there_or_no_parquet_is_named(tmp_path):
    with pytest.raises(MetadataError, match=r"metadata file .*none\.parquet does not exist"):
        PatchTable.read(tmp_path / "none.parquet")
    (tmp_path / "text.parquet").write_text("patch_id,labels")
    with pytest.raises(MetadataError, match=r"text\.parquet is not a readable parquet file"):
        PatchTable.read(tmp_path / "text.parquet")


def test_position_finds_a_patch_or_names_the_one_missing(table):
    assert table.position(table.patch_ids[2]) == 2
    with pytest.raises(MissingPatchError, match="No patch 'nowhere' among the 4"):
        table.position("nowhere")


def test_counts_go_from_the_most_frequent(table):
    assert next(iter(table.counts("split").items())) == ("train", 2)
    assert table.counts("labels")["Urban fabric"] == 1


def test_the_fingerprint_depends_on_content_and_not_on_order(table):
    assert table.take([3, 1, 0, 2]).fingerprint() == table.fingerprint()
    assert table.take([0, 1, 2]).fingerprint() != table.fingerprint()
    relabelled = PatchTable.from_arrow(
        pa.Table.from_pylist([{**table.rows.to_pylist()[0], "labels": ["Pastures"]}])
    )
    assert relabelled.fingerprint() != table.take([0]).fingerprint()


def test_the_real_metadata_are_read(real_store):
    files = sorted(real_store.glob("*.parquet"))
    table = PatchTable.read(*files)
    assert len(table) == 24
    assert table.counts("split") == {"test": 8, "train": 8, "validation": 8}
    assert len(table.filter(snow=False, cloud=False)) == 18


def test_made_up_patches_say_so_through_every_selection(tmp_path):
    rows = pa.Table.from_pylist([row(0), row(1, "test")])
    pq.write_table(rows, tmp_path / "real.parquet")
    pq.write_table(
        rows.replace_schema_metadata({"made_up_by": "a test", "other": "x"}),
        tmp_path / "made_up.parquet",
    )
    table = PatchTable.read(tmp_path / "made_up.parquet")
    assert table.filter(split="test").take([0]).made_up_by == "a test"
    assert PatchTable.read(tmp_path / "real.parquet").made_up_by is None
