import os
import re
import subprocess
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest

import made_up
from reben.data.encoding.inputs import Selection, keep_metadata
from reben.data.identity import DATA_FILE, identify, read_description
from reben.data.loader import open_dataset
from reben.data.metadata import MADE_UP_KEY, METADATA_FILE, SNOW_CLOUD_FILE, PatchTable
from reben.errors import MetadataError
from reben.learn.predictions import Predictions


@pytest.fixture(scope="module")
def sample(real_store):
    return PatchTable.read(real_store / METADATA_FILE, real_store / SNOW_CLOUD_FILE)


def changed(table, column, values):
    """The same table with other values in one column."""
    place = table.rows.column_names.index(column)
    kind = table.rows.schema.field(place).type
    return PatchTable.from_arrow(table.rows.set_column(place, column, pa.array(values, kind)))


def test_the_real_sample_is_a_part_of_the_official_data(sample):
    found = identify(sample)
    assert (found.kind, found.whole, found.name) == ("official", (), "BigEarthNet v2.0")


def test_other_labels_splits_or_names_are_not_official(sample):
    labels = [[*names[1:], "Beaches, dunes, sands"] for names in sample.label_names]
    splits = ["test" if split == "train" else "train" for split in sample.splits]
    names = [name.replace("33UUP", "36MZE") for name in sample.patch_ids]
    for column, values in (("labels", labels), ("split", splits), ("patch_id", names)):
        assert identify(changed(sample, column, values)).kind == "unknown", column


def test_patches_that_were_made_up_say_so_whatever_else_is_said(sample):
    rows = sample.rows.replace_schema_metadata({MADE_UP_KEY: b"a tool"})
    found = identify(PatchTable.from_arrow(rows))
    assert (found.kind, found.made_up_by) == ("synthetic", "a tool")


def test_a_name_of_any_length_is_not_official(sample):
    names = [name + "_" * 60 for name in sample.patch_ids]
    assert identify(changed(sample, "patch_id", names)).kind == "unknown"


def tables():
    folder = Path(os.environ.get("REBEN_TEST_DATA", "nowhere")) / "real-metadata"
    if not (folder / METADATA_FILE).is_file():
        pytest.skip("the real metadata are not here")
    return folder / METADATA_FILE, folder / SNOW_CLOUD_FILE


def test_the_official_splits_are_known_and_one_other_label_is_noticed():
    test = PatchTable.read(tables()[0]).filter(split="test")
    assert identify(test).whole == ("test",)
    assert identify(test.take(range(1, len(test)))) == identify(test.take(range(5)))
    lists = test.label_names
    lists[77_777] = (*lists[77_777], "Beaches, dunes, sands")
    other = changed(test, "labels", lists)
    assert identify(other).whole == ()


def test_patches_with_snow_are_official_and_no_official_split():
    snowy = PatchTable.read(tables()[1])
    found = identify(snowy)
    assert (found.kind, found.whole) == ("official", ())
    assert pc.sum(snowy.rows.column("contains_seasonal_snow")).as_py() > 0


# data.toml ---------------------------------------------------------------------------------------


def test_a_store_is_described_by_the_file_in_it_and_predictions_keep_that(tmp_path):
    from reben.learn.predict import predict_dataset
    from reben.model.classifier import Classifier

    data = open_dataset(made_up.write_store(tmp_path / "store"))
    assert (data.identity.kind, data.identity.name) == ("described", "Ramps")
    found = predict_dataset(Classifier("test_resnet", "rgb"), data["test"])
    again = Predictions.load(found.save(tmp_path / "predictions.parquet"))
    assert again.subject.data == data.identity


def test_the_file_beside_own_metadata_or_labels_comes_before_that_in_the_store(tmp_path):
    store = made_up.write_store(tmp_path / "store")
    beside = made_up.write_metadata(tmp_path / "mine" / "m.parquet", [made_up.row(0)])
    (beside.parent / DATA_FILE).write_text(made_up.DESCRIPTION.replace("Ramps", "Kenya"))
    assert open_dataset(store, metadata=beside).identity.name == "Kenya"
    table = beside.with_name("labels.csv")
    table.write_text(f"patch_id,labels\n{made_up.patch_id(0)},maize\n")
    own = open_dataset(store, labels=None, label_table=table)
    assert own.identity.name == "Kenya"


def test_encoding_copies_the_file_that_lies_beside_the_metadata(tmp_path):
    beside = made_up.write_metadata(tmp_path / "mine" / METADATA_FILE, [made_up.row(0)])
    (beside.parent / DATA_FILE).write_text(made_up.DESCRIPTION)
    (tmp_path / "store").mkdir()
    kept = keep_metadata({METADATA_FILE: beside}, tmp_path / "store", Selection())
    assert kept == [tmp_path / "store" / METADATA_FILE]
    assert (tmp_path / "store" / DATA_FILE).read_text() == made_up.DESCRIPTION


def test_a_store_without_a_description_is_unknown_and_the_cure_is_a_file_that_works(tmp_path):
    store = made_up.write_store(tmp_path / "store")
    (store / DATA_FILE).unlink()
    data = open_dataset(store)
    with pytest.raises(MetadataError, match=r"Nothing says what data set") as caught:
        data.identity.require_known(store)
    command = " ".join(str(caught.value).partition("Type, with yours: ")[2].split())  # as shown
    subprocess.run(["sh", "-c", command], check=True)
    assert open_dataset(store).identity.kind == "described"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('place = "Austria, Finland"\n', "", "place"),
        ('"cc0-1.0"', '" "', "no licence"),
        ("Ramps", "bigearthnet V2.0", "told by its rows"),
        ("2017-06-30", "2016-06-30", "after they end"),
        ("2017-06-30", '"summer"', "not a date"),
        ("start = 2017-06-13", "start = 2017-06-13T10:00:00", "not a date"),
        ('name = "Ramps"', 'name = "Ramps"\nbounds = [0, 91, 1, 92]', "degrees"),
        ('name = "Ramps"', 'name = "Ramps"\nurl = "javascript:x"', "https"),
        ('name = "Ramps"', 'name = "Ramps"\ncolour = 3', "colour"),
        ('name = "Ramps"', "name = 3", "name"),
        ('name = "Ramps"', "name = ", "is not TOML"),
    ],
)
def test_a_description_that_is_not_right_names_file_and_field(old, new, message, tmp_path):
    assert old in made_up.DESCRIPTION
    path = tmp_path / DATA_FILE
    path.write_text(made_up.DESCRIPTION.replace(old, new))
    with pytest.raises(MetadataError, match=rf"(?s){re.escape(str(path))}.*{message}"):
        read_description([tmp_path])
