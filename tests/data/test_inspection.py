import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from made_up import patch_id, row, write_metadata, write_store
from reben.data.inspection import TensorFacts, summarise_store
from reben.data.store import StoreWriter
from reben.errors import StoreError

TILE = "S2A_MSIL2A_20170613T101031_N9999_R022_T33UUP"
SCENE = "S1B_IW_GRDH_1SDV_20170612T165809_33UUP"


def rows(*positions, split, country, labels):
    return [
        {
            "patch_id": f"{TILE}_26_{row}",
            "labels": labels,
            "split": split,
            "country": country,
            "s1_name": f"{SCENE}_26_{row}",
            "contains_seasonal_snow": False,
            "contains_cloud_or_shadow": row == 51,
        }
        for row in positions
    ]


@pytest.fixture
def store(tmp_path):
    listed = [
        *rows(50, 51, 52, split="train", country="Austria", labels=["Pastures", "Arable land"]),
        *rows(53, split="test", country="Serbia", labels=["Pastures"]),
    ]
    pq.write_table(pa.Table.from_pylist(listed), tmp_path / "metadata.parquet")
    sentinel2 = {"B02": np.ones((120, 120), np.uint16), "B01": np.ones((20, 20), np.uint16)}
    with StoreWriter(tmp_path) as writer:
        for row in (51, 52, 53, 99):
            writer.put(f"{TILE}_26_{row}", sentinel2)
        for row in (50, 52):
            writer.put(f"{SCENE}_26_{row}", {"VV": np.ones((120, 119), np.float32)})
        writer.put(f"{TILE}_26_51_reference_map", {"Data": np.ones((120, 120), np.uint16)})
        writer.put("something else", {"x": np.ones(3, np.int8)})
    return tmp_path


def test_values_are_counted_by_kind(store):
    assert summarise_store(store).values == {
        "Sentinel-2": 4,
        "Sentinel-1": 2,
        "reference map": 1,
        "other": 1,
    }


def test_patches_are_counted_by_split_country_and_label(store):
    summary = summarise_store(store)
    assert summary.num_patches == 4
    assert summary.splits == {"train": 3, "validation": 0, "test": 1}
    assert summary.clear_splits == {"train": 2, "validation": 0, "test": 1}
    assert summary.countries == {"Austria": 3, "Serbia": 1}
    assert summary.labels["Pastures"] == 4
    assert summary.labels["Arable land"] == 3
    assert summary.labels["Urban fabric"] == 0
    assert len(summary.labels) == 19


def test_what_the_metadata_name_and_the_store_lacks_is_listed(store):
    summary = summarise_store(store)
    assert summary.missing_sentinel2 == (f"{TILE}_26_50",)
    assert summary.missing_sentinel1 == (f"{SCENE}_26_51", f"{SCENE}_26_53")


def test_patches_that_the_metadata_do_not_name_are_counted(store):
    assert summarise_store(store).num_unlisted == 1


def test_one_sample_of_each_kind_shows_shapes_and_dtypes(store):
    samples = summarise_store(store).samples
    assert samples["Sentinel-2"] == (
        TensorFacts("B01", (20, 20), "uint16"),
        TensorFacts("B02", (120, 120), "uint16"),
    )
    assert samples["Sentinel-1"] == (TensorFacts("VV", (120, 119), "float32"),)


def test_a_store_without_metadata_is_still_summarised(store):
    (store / "metadata.parquet").unlink()
    summary = summarise_store(store)
    assert (summary.metadata, summary.num_patches, summary.countries) == ((), 0, {})
    assert summary.values["Sentinel-2"] == 4
    assert summary.num_unlisted == 4


def test_a_folder_that_is_no_store_is_an_error(tmp_path):
    with pytest.raises(StoreError, match=r"holds no data\.mdb"):
        summarise_store(tmp_path)


def test_the_real_sample_has_six_patches_a_split_and_no_gap(real_store):
    summary = summarise_store(real_store)
    assert summary.values == {"Sentinel-2": 24, "Sentinel-1": 24}
    assert sum(summary.splits.values()) == 24
    assert summary.clear_splits == {"train": 6, "validation": 6, "test": 6}
    assert not summary.missing_sentinel1
    assert not summary.missing_sentinel2


def test_tables_beside_a_store_and_neighbours_in_two_splits_are_told(tmp_path):
    store = write_store(tmp_path / "store", num_train=3, num_validation=1, num_test=0)
    rows = [row(at, split) for at, split in ((0, "train"), (1, "train"), (2, "test"), (40, "test"))]
    table = write_metadata(tmp_path / "other.parquet", rows)
    summary = summarise_store(store, [table])
    assert (summary.num_patches, summary.metadata) == (4, ("other.parquet",))
    assert summary.missing_sentinel2 == (patch_id(40),)
    # Row 2 of the tile lies beside row 1, and so row 1 beside row 2; row 0 is a patch away.
    assert summary.neighbours == {"train": 1, "validation": 0, "test": 1}
