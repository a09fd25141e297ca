import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from made_up import patch_id, row, s1_name, write_metadata, write_store
from reben.data.loader import open_dataset
from reben.data.metadata import PatchTable
from reben.data.selecting.label_table import read_label_names, read_label_table
from reben.errors import MetadataError, MissingPatchError, UnknownLabelError
from reben.spec.bands import BandSet
from reben.spec.labels import LABELS


@pytest.fixture
def metadata(tmp_path):
    rows = [row(0), row(1, "validation"), row(2, "test"), row(3)]
    return PatchTable.read(write_metadata(tmp_path / "metadata.parquet", rows))


def write_csv(path, *lines):
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def csv(tmp_path):
    return write_csv(
        tmp_path / "crops.csv",
        "patch_id,labels",
        f"{patch_id(2)},wheat; winter barley",
        f'{patch_id(0)},"maize, sweet"',
        f"{patch_id(1)},",
    )


def test_a_csv_gives_the_labels_and_the_metadata_the_rest(csv, metadata):
    table = read_label_table(csv, metadata)

    assert table.labels == ("maize, sweet", "wheat", "winter barley")
    assert table.patch_ids == [patch_id(2), patch_id(0), patch_id(1)]
    assert table.label_names == [("wheat", "winter barley"), ("maize, sweet",), ()]
    assert table.splits == ["test", "train", "validation"]
    assert table.s1_names == [s1_name(2), s1_name(0), s1_name(1)]
    assert table.counts("country") == {"Finland": 2, "Austria": 1}


def test_the_names_are_those_of_the_table_in_alphabetical_order(csv):
    assert read_label_names(csv) == ("maize, sweet", "wheat", "winter barley")


def test_parquet_may_hold_lists(tmp_path, metadata):
    rows = [{"patch_id": patch_id(3), "labels": ["wheat", "rye"], "split": "test"}]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "crops.parquet")

    table = read_label_table(tmp_path / "crops.parquet", metadata)

    assert table.label_names == [("wheat", "rye")]
    assert table.splits == ["test"]  # its own, not that of the metadata


def test_a_table_with_splits_needs_no_metadata(tmp_path):
    file = write_csv(tmp_path / "a.csv", "patch_id,labels,split", f"{patch_id(0)},rye,train")

    table = read_label_table(file)

    assert table.splits == ["train"]
    assert table.counts("country") == {"unknown": 1}
    assert not table.rows["contains_cloud_or_shadow"][0].as_py()


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (["patch,labels", "x,rye"], "lacks the column patch_id. It has patch, labels"),
        (["patch_id,crop", "x,rye"], "lacks the column labels"),
        (["patch_id,labels", "elsewhere,rye"], "no column split, and the store has no metadata"),
        (["patch_id,labels,split", "x,rye,val"], "No split 'val'. Known: train, validation"),
        (["patch_id,labels,split", "x,rye,test", "x,oat,test"], "x occurs more than once"),
        (["patch_id,labels", "x,rye,oat"], "Cannot read"),
    ],
)
def test_a_table_that_cannot_be_used_says_why(tmp_path, lines, said):
    with pytest.raises(MetadataError) as caught:
        read_label_table(write_csv(tmp_path / "a.csv", *lines))
    assert said in str(caught.value)


def test_a_patch_of_which_nothing_tells_the_split_is_named(tmp_path, metadata):
    file = write_csv(tmp_path / "a.csv", "patch_id,labels", f"{patch_id(0)},rye", "other,rye")

    with pytest.raises(MetadataError, match="lack 1 of its patches, for example other"):
        read_label_table(file, metadata)


def test_a_file_that_is_no_table_is_refused(tmp_path):
    with pytest.raises(MetadataError, match=r"name must end in \.csv or \.parquet"):
        read_label_table(tmp_path / "names.txt")
    with pytest.raises(MetadataError, match=r"label table .*nowhere\.csv does not exist"):
        read_label_table(tmp_path / "nowhere.csv")


def test_a_table_without_any_label_has_no_names(tmp_path):
    with pytest.raises(MetadataError, match="names no label"):
        read_label_names(write_csv(tmp_path / "a.csv", "patch_id,labels", "x,"))


def test_labels_that_were_not_asked_for_are_an_error(csv, metadata):
    with pytest.raises(UnknownLabelError, match="maize, sweet"):
        read_label_table(csv, metadata, labels=("wheat", "winter barley"))


# With a store -------------------------------------------------------------------------------------


def test_a_store_is_opened_with_the_patches_and_labels_of_a_table(tmp_path):
    store = write_store(tmp_path / "store", num_train=3, num_validation=1, num_test=0)
    file = write_csv(tmp_path / "a.csv", "patch_id,labels", f"{patch_id(2)},rye")

    data = open_dataset(store, labels=None, label_table=file)

    assert data.table.labels == ("rye",)
    assert data.table.patch_ids == [patch_id(2)]
    assert data["train"].label_table == file


def test_a_missing_partner_is_an_error_only_where_it_is_needed(tmp_path):
    store = write_store(tmp_path / "store", num_train=2)
    (store / "metadata.parquet").unlink()
    file = write_csv(tmp_path / "a.csv", "patch_id,labels,split", f"{patch_id(1)},rye,train")
    data = open_dataset(store, labels=None, label_table=file)

    assert data.with_bands(BandSet(("B02",))).patch(0)["B02"].shape == (120, 120)
    with pytest.raises(MissingPatchError, match="Add the column s1_name"):
        data.patch(0)


def test_labels_that_occur_are_taken_where_that_is_asked_for(tmp_path):
    own = write_metadata(tmp_path / "own.parquet", [row(0, labels=["rye", "oat"])])
    usual = write_metadata(tmp_path / "usual.parquet", [row(0, labels=["Pastures"])])

    assert PatchTable.read(own, labels=None).labels == ("oat", "rye")
    assert PatchTable.read(usual, labels=None).labels == LABELS
