"""The real tables of BigEarthNet v2.0, at full size."""

import os
import resource
import time
from collections import Counter
from pathlib import Path

import pytest

from reben.data.identity import OFFICIAL
from reben.data.metadata import METADATA_FILE, SNOW_CLOUD_FILE, PatchTable
from reben.data.opening import open_dataset
from reben.data.selecting.filters import SEASONS, Filters
from reben.data.splits import tiles_of

FOLDER = Path(os.environ.get("REBEN_TEST_DATA", "no such folder")) / "real-metadata"
pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason="REBEN_TEST_DATA names no metadata")


@pytest.fixture(scope="module")
def everything():
    started = time.process_time()
    table = PatchTable.read(FOLDER / METADATA_FILE, FOLDER / SNOW_CLOUD_FILE)
    assert time.process_time() - started < 20
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < 3e6  # kB; torch takes a part
    return table


def test_the_tables_have_the_counts_that_the_paper_tells(everything):
    assert len(everything) == 480_038 + 69_450
    clear = everything.filter(snow=False, cloud=False)
    assert clear.counts("split") == {"train": 237_871, "validation": 122_342, "test": 119_825}
    assert set(clear.counts("country")) == set(OFFICIAL.place.split(", "))
    covered = Filters(snow=None, cloud=None).keep(everything)
    assert len(covered) == 549_488


def test_filters_agree_with_counts_of_the_names(everything):
    clear = everything.filter(snow=False, cloud=False)
    months = Counter(int(name[15:17]) for name in clear.patch_ids)
    for season in SEASONS.values():
        expected = sum(months[month] for month in season)
        assert len(Filters(months=season).keep(everything)) == expected
    countries = Counter(clear.rows.column("country").to_pylist())
    for country in ("Kosovo", "Finland"):
        assert len(Filters(countries=(country,)).keep(everything)) == countries[country]


def test_a_tenth_of_the_train_split_is_whole_tiles_within_one_of_them(everything):
    clear = everything.filter(snow=False, cloud=False)
    started = time.process_time()
    kept, drawn = Filters(fraction=0.1, fraction_seed=1).draw(clear)
    assert time.process_time() - started < 20
    counts = kept.counts("split")
    assert (counts["validation"], counts["test"]) == (122_342, 119_825)
    sizes = Counter(tiles_of(clear.filter(split="train").patch_ids))
    assert drawn.num_patches == counts["train"] == sum(sizes[tile] for tile in drawn.tiles)
    assert 23_787 <= counts["train"] < 23_787 + max(sizes.values())


def test_a_hundredth_by_label_keeps_the_share_of_each_label(everything):
    train = everything.filter(split="train", snow=False, cloud=False)
    kept, _ = Filters(fraction=0.01, fraction_by="label").draw(train)
    before, after = train.counts("labels"), kept.counts("labels")
    assert len(kept) == 2378
    for label, number in before.items():
        assert abs(after[label] - number / 100) < 5 + 0.05 * number / 100, label


def test_the_table_of_all_beside_a_store_of_24_patches_opens_quickly(real_store):
    started = time.process_time()
    data = open_dataset(
        real_store,
        "all",
        metadata=[FOLDER / METADATA_FILE, FOLDER / SNOW_CLOUD_FILE],
        snow=None,
        cloud=None,
    )
    assert time.process_time() - started < 8
    assert data.part.num_listed == 549_488
    assert len(data) == 24
    own = open_dataset(real_store, "all", snow=None, cloud=None)
    for split in own.splits:
        assert sorted(data[split].table.patch_ids) == sorted(own[split].table.patch_ids)
    assert data["test"].identity.kind == "official"
