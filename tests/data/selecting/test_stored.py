import json
import logging

import pytest

from made_up import patch, patch_id, row, s1_name, write_metadata, write_store
from reben.data.identity import StoredPart
from reben.data.opening import open_dataset
from reben.data.store import StoreWriter
from reben.errors import EmptySplitError, MissingPatchError


@pytest.fixture
def part(tmp_path):
    """A store of 4 train, 2 validation and 1 test patches, beside a table of 20, 10 and 5."""
    write_store(tmp_path / "store", num_train=4, num_validation=2, num_test=1)
    (tmp_path / "store" / "metadata.parquet").unlink()
    splits = ["train"] * 4 + ["validation"] * 2 + ["test"] * 1
    splits += ["train"] * 16 + ["validation"] * 8 + ["test"] * 4
    rows = [row(at, split) for at, split in enumerate(splits)]
    write_metadata(tmp_path / "all.parquet", rows)
    return tmp_path / "store", tmp_path / "all.parquet"


def open_part(part, bands="all", **more):
    return open_dataset(part[0], bands, metadata=part[1], **more)


def test_the_patches_of_the_table_that_the_store_holds_are_used_and_counted(part, caplog):
    data = open_part(part)

    assert data.table.patch_ids == [patch_id(at) for at in range(7)]
    assert data.part == StoredPart(7, 35)
    assert data["validation"].part == StoredPart(2, 10)
    assert "holds 7 of the 35 patches that the metadata list; the others are left out." in (
        caplog.text
    )
    for split in data.splits:
        data[split].require_stored()


def test_a_store_that_holds_all_says_nothing(part, caplog):
    with caplog.at_level(logging.INFO):
        data = open_part(part, countries=["Austria"], labels=None)
        assert data.part is not None
        caplog.clear()
        write_metadata(part[1], [row(at) for at in range(7)])
        assert open_part(part).part is None
    assert not caplog.text
    open_part(part).require_whole()


def test_filters_come_before_the_store(part):
    data = open_part(part, countries=["Austria"])
    assert data.part == StoredPart(3, 17)


def test_limit_and_fraction_come_after_the_store(part):
    data = open_part(part, fraction=0.5, fraction_by="label", limit=1)
    assert data["train"].drawn.num_before == 4
    assert data.table.counts("split") == {"train": 1, "validation": 1, "test": 1}
    assert data["train"].part == StoredPart(4, 20)


def test_a_part_is_refused_on_request(part):
    data = open_part(part)
    with pytest.raises(MissingPatchError, match=r"holds 2 of 10 patches \(validation\).*--strict"):
        data["validation"].require_whole()


def test_a_split_of_which_the_store_holds_nothing_is_an_error(part):
    write_metadata(part[1], [row(at, "train" if at < 7 else "test") for at in range(12)])
    data = open_part(part)
    with pytest.raises(EmptySplitError, match=r"none of the 5 patches of the test split.*train"):
        data["test"]
    with pytest.raises(EmptySplitError, match="No patch is left for split validation"):
        data["validation"]


def test_a_store_of_other_patches_is_an_error(part):
    write_metadata(part[1], [row(at) for at in range(100, 105)])
    with pytest.raises(MissingPatchError, match=f"none of the 5.*{patch_id(100)}.*--metadata FILE"):
        open_part(part)


def test_a_mission_that_the_store_lacks_altogether_is_asked_for_when_it_is_read(tmp_path):
    with StoreWriter(tmp_path) as writer:
        for at in range(2):
            writer.put(patch_id(at), patch(at, ("B02", "B03", "B04")))
    write_metadata(tmp_path / "metadata.parquet", [row(at) for at in range(4)])
    data = open_dataset(tmp_path)
    assert len(data) == 2
    data.with_bands("rgb").require_stored()
    with pytest.raises(MissingPatchError, match="2 Sentinel-1"):
        data.with_bands("all").require_stored()


def test_one_mission_of_a_store_with_pieces_of_both_asks_for_its_own_patches_only(tmp_path):
    with StoreWriter(tmp_path) as writer:
        for at in range(3):
            writer.put(patch_id(at), patch(at, ("B02", "B03", "B04")))
        writer.put(s1_name(1), patch(1, ("VV", "VH")))
    write_metadata(tmp_path / "metadata.parquet", [row(at) for at in range(4)])
    assert open_dataset(tmp_path, "rgb").table.patch_ids == [patch_id(at) for at in range(3)]
    assert open_dataset(tmp_path, "s1").table.patch_ids == [patch_id(1)]
    assert open_dataset(tmp_path, "VV,B02").table.patch_ids == [patch_id(1)]


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ({"finished": False, "selection": {}}, "The store is unfinished"),
        ({"num_failures": 3, "selection": {}}, "3 patches were left out when it was encoded"),
        ({"selection": {"limit": 7}}, 'It was encoded as a part: {"limit": 7}'),
        ({"selection": {}}, "are left out.\n"),
    ],
)
def test_why_a_store_is_a_part_is_said(part, caplog, source, said):
    record = {"kind": "Sentinel-2", "name": "S2", "num_failures": 0, "finished": True, **source}
    content = {
        "format_version": 1,
        "sources": [record],
        "values": {"Sentinel-2": 7},
        "metadata": [],
        "finished": record["finished"],
    }
    (part[0] / "store.json").write_text(json.dumps(content))
    open_part(part)
    assert said in caplog.text
