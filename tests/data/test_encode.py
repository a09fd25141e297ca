import json
import logging
import multiprocessing
import os
import shutil
import subprocess
import sys
import textwrap
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import rasterio

from made_up import patch_id, row, s1_name, write_metadata
from made_up_files import (
    COMPRESS,
    KINDS,
    ROOTS,
    DeadlyJob,
    archive_of,
    files_of,
    name_of,
    tar_of,
    tensors_of,
    write_archives,
    write_tree,
)
from reben.data.encode import REPORT_FILE, encode
from reben.data.encoding import patch_files
from reben.data.encoding.report import MAX_LISTED
from reben.data.encoding.workers import do_jobs
from reben.data.inspection import summarise_store
from reben.data.loader import open_dataset
from reben.data.metadata import METADATA_FILE, SNOW_CLOUD_FILE
from reben.data.storage.environment import open_lmdb
from reben.data.storage.value import blob_header, blob_layout, view_tensor
from reben.data.storage.writer import ValueWriter
from reben.data.store import Store
from reben.errors import (
    ArchiveError,
    ConfigError,
    EmptySplitError,
    EncodeError,
    MetadataError,
    OutputError,
    StoreError,
    TiffError,
)
from reben.support.bounds import MAX_BAND_BYTES

NUMBERS = range(6)
ALL = {kind: len(NUMBERS) for kind in KINDS.values()}


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """The keyword arguments that name the three folders; do not write into them."""
    return write_tree(tmp_path_factory.mktemp("tree"), NUMBERS)


@pytest.fixture(scope="module")
def values(tree, tmp_path_factory):
    """What encoding these gives: name -> bytes."""
    folder = tmp_path_factory.mktemp("values")
    encode(folder, **tree, workers=1)
    return read_values(folder)


@pytest.fixture
def copy(tree, tmp_path):
    """Folders that may be written to."""
    for path in tree.values():
        shutil.copytree(path, tmp_path / "copy" / path.name)
    return {which: tmp_path / "copy" / path.name for which, path in tree.items()}


def read_values(folder):
    environment = open_lmdb(folder, readonly=True)
    with environment.begin() as transaction:
        values = {key.decode(): bytes(value) for key, value in transaction.cursor()}
    environment.close()
    return values


def record_of(folder):
    return json.loads((folder / "store.json").read_text())


def without(values, *names):
    return {name: value for name, value in values.items() if name not in names}


def file_of(copy, which, number, ending):
    (path,) = copy[which].glob(
        f"*/{name_of(which, number).removesuffix('_reference_map')}/*{ending}"
    )
    return path


# Values ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("which", ROOTS)
def test_what_is_read_back_is_what_rasterio_reads(which, tree, tmp_path):
    encode(tmp_path / "store", **tree, workers=1)
    store = Store.open(tmp_path / "store")
    for number in NUMBERS:
        read = store.get(name_of(which, number))
        assert set(read) == set(tensors_of(which, number))
        for tensor, pixels in read.items():
            ending = "reference_map" if tensor == "Data" else tensor
            with rasterio.open(file_of(tree, which, number, f"_{ending}.tif")) as image:
                np.testing.assert_array_equal(pixels, image.read(1), strict=True)


def test_there_is_a_value_for_every_patch_and_no_other(values):
    assert set(values) == {name_of(which, number) for which in ROOTS for number in NUMBERS}


def test_tensors_follow_each_other_in_the_order_of_their_names(values):
    for name, value in values.items():
        places = blob_layout(value, name)
        assert list(places) == sorted(places)
        assert (
            b"".join(view_tensor(value, place).tobytes() for place in places.values())
            == (value[-sum(view_tensor(value, place).nbytes for place in places.values()) :])
        )


@pytest.mark.parametrize("ending", COMPRESS)
def test_an_archive_gives_the_same_values_as_the_folder(ending, values, tmp_path):
    archives = write_archives(tmp_path, NUMBERS, ending)
    report = encode(tmp_path / "store", **archives, workers=1)
    assert read_values(tmp_path / "store") == values
    assert report.new == ALL


@pytest.mark.parametrize("given", ["BigEarthNet-S2.tar.gzaa", "BigEarthNet-S2.tar.gz"])
def test_split_parts_give_the_same_values(given, values, tmp_path):
    content = COMPRESS[".tar.gz"](archive_of("s2", NUMBERS))
    for place, ending in enumerate(["aa", "ab", "ac"]):
        size = len(content) // 3 + 1
        part = tmp_path / f"BigEarthNet-S2.tar.gz{ending}"
        part.write_bytes(content[place * size : (place + 1) * size])
    path = tmp_path / (
        "BigEarthNet-S2.tar.gzaa" if given == "first part" else "BigEarthNet-S2.tar.gz"
    )
    encode(tmp_path / "store", s2=path, workers=1)
    assert read_values(tmp_path / "store").items() <= values.items()
    assert len(read_values(tmp_path / "store")) == len(NUMBERS)


PIPED = """
    import sys
    import reben
    if __name__ == "__main__":
        report = reben.encode(sys.argv[1], s2="-", s1=sys.argv[2], workers=int(sys.argv[3]))
"""


@pytest.mark.parametrize(("ending", "num_workers"), [(".tar", 1), (".tar.zst", 2)])
def test_an_archive_on_stdin_gives_the_same_values(ending, num_workers, tree, values, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(PIPED))
    subprocess.run(
        [sys.executable, script, tmp_path / "store", tree["s1"], str(num_workers)],
        input=COMPRESS[ending](archive_of("s2", NUMBERS)),
        check=True,
        timeout=60,
    )
    assert read_values(tmp_path / "store") == without(
        values, *(name_of("reference_maps", number) for number in NUMBERS)
    )


@pytest.mark.parametrize("mixed", [False, True])
def test_two_workers_give_the_same_values_as_one(mixed, tree, values, tmp_path):
    inputs = tree | (write_archives(tmp_path, NUMBERS, ".tar.zst", ["s2"]) if mixed else {})
    report = encode(tmp_path / "store", **inputs, workers=2)
    assert read_values(tmp_path / "store") == values
    assert report.new == ALL


def test_more_workers_than_work_is_fine(tmp_path):
    tree = write_tree(tmp_path, [3], ["s1"])
    assert encode(tmp_path / "store", **tree, workers=3).new == {"Sentinel-1": 1}


# Inputs ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("which", ROOTS)
def test_any_input_alone_works_and_a_second_run_adds_the_others(which, tree, values, tmp_path):
    first = encode(tmp_path / "store", **{which: tree[which]}, workers=1)
    assert first.new == {KINDS[which]: len(NUMBERS)}
    second = encode(tmp_path / "store", **tree, workers=1)
    assert second.there[KINDS[which]] == len(NUMBERS)
    assert sum(second.new.values()) == 2 * len(NUMBERS)
    assert read_values(tmp_path / "store") == values
    record = record_of(tmp_path / "store")
    assert record["finished"]
    assert record["values"] == ALL
    assert record["sources"][0]["name"] == ROOTS[which]


def test_the_folder_above_or_below_the_published_one_works_too(tree, values, tmp_path):
    (tile,) = tree["s2"].iterdir()
    encode(tmp_path / "above", s1=tree["s1"].parent, workers=1)
    encode(tmp_path / "tile", s2=tile, workers=1)
    encode(tmp_path / "patch", s2=tile / patch_id(2), workers=1)
    assert numbers_in(tmp_path / "above", "s1") == list(NUMBERS)
    assert read_values(tmp_path / "tile").items() <= values.items()
    assert list(read_values(tmp_path / "patch")) == [patch_id(2)]


def test_patches_at_any_depth_are_encoded(copy, values, tmp_path):
    for path in copy.values():
        inside = list(path.iterdir())
        deep = path.joinpath(*"abcdefgh")
        deep.mkdir(parents=True)
        for tile in inside:
            shutil.move(tile, deep / tile.name)
    encode(tmp_path / "store", **copy, workers=1)
    assert read_values(tmp_path / "store") == values


def test_links_to_folders_above_and_rings_make_no_patch_twice(copy, values, tmp_path):
    tile = file_of(copy, "s2", 0, "_B02.tif").parent.parent
    (tile / "above").symlink_to(copy["s2"].parent)
    (copy["s2"] / "a_ring").symlink_to(copy["s2"])
    (copy["s2"] / "z_same_tile").symlink_to(tile)
    report = encode(tmp_path / "store", **copy, workers=1)
    assert read_values(tmp_path / "store") == values
    assert (report.new, set(report.same.values())) == (ALL, {0})


def test_folders_are_listed_once(copy, tmp_path, monkeypatch):
    listed, scandir = [], os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: listed.append(path) or scandir(path))
    encode(tmp_path / "store", s2=copy["s2"], workers=1)
    inside = [path for path in listed if str(path).startswith(str(copy["s2"]))]
    assert len(inside) == len(set(inside)) == 2


def test_files_that_are_no_tiffs_are_passed_over(copy, values, tmp_path):
    folder = file_of(copy, "s2", 1, "_B02.tif").parent
    (folder / "labels.json").write_text("{}")
    (folder / f"{patch_id(1)}_B02.tif.aux.xml").write_text("<x/>")
    (folder / f"._{patch_id(1)}_B02.tif").write_bytes(b"x")
    (copy["s2"] / "LICENSE.txt").write_text("x")
    encode(tmp_path / "store", **copy, workers=1)
    assert read_values(tmp_path / "store") == values


def test_nothing_to_encode_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="nothing to encode"):
        encode(tmp_path / "store")


def test_what_is_not_there_is_refused(tmp_path):
    with pytest.raises(ArchiveError, match="no folder and no archive"):
        encode(tmp_path / "store", s1=tmp_path / "nothing")


def test_two_inputs_from_stdin_are_refused(tmp_path, monkeypatch):
    reading, _ = os.pipe()
    with os.fdopen(reading) as pipe:
        monkeypatch.setattr(sys, "stdin", pipe)
        with pytest.raises(ConfigError, match="Only one input can come from stdin"):
            encode(tmp_path / "store", s1="-", s2="-")


@pytest.mark.parametrize("workers", [0, -1])
def test_an_impossible_number_of_workers_is_refused(workers, tree, tmp_path):
    with pytest.raises(ConfigError, match="workers must be at least 1"):
        encode(tmp_path / "store", **tree, workers=workers)


def test_an_input_without_a_patch_of_its_kind_is_refused(tree, tmp_path):
    with pytest.raises(ArchiveError, match=r"no Sentinel-2 patch in BigEarthNet-S1\. Is it"):
        encode(tmp_path / "store", s2=tree["s1"], workers=1)


# One folder for all -------------------------------------------------------------------------------


def with_tables(folder, *, names=(METADATA_FILE,)):
    for start, name in enumerate(names):
        write_metadata(folder / name, [row(number) for number in list(NUMBERS)[start::2]])
    return folder


@pytest.mark.parametrize("ending", ["folder", ".tar.zst", ".tar.gz"])
def test_all_inputs_are_found_in_a_folder_of_published_names(ending, values, tmp_path, caplog):
    folder = with_tables(tmp_path / "data", names=[METADATA_FILE, SNOW_CLOUD_FILE])
    if ending == "folder":
        write_tree(folder, NUMBERS)
    else:
        write_archives(folder, NUMBERS, ending)
    with caplog.at_level(logging.INFO):
        report = encode(tmp_path / "store", folder=folder, workers=1)
    assert read_values(tmp_path / "store") == values
    assert report.absent == dict.fromkeys(ALL, 0)
    assert record_of(tmp_path / "store")["metadata"] == [METADATA_FILE, SNOW_CLOUD_FILE]
    shown = "BigEarthNet-S1" + ("" if ending == "folder" else ending)
    assert f"Found Sentinel-1: {folder / shown}" in caplog.text
    assert f"Found metadata: {folder / METADATA_FILE}" in caplog.text


def test_tables_that_are_not_used_are_not_told(tmp_path, caplog):
    folder = with_tables(tmp_path / "data", names=[METADATA_FILE, SNOW_CLOUD_FILE])
    write_tree(folder, NUMBERS)

    with caplog.at_level(logging.INFO):
        encode(tmp_path / "s", folder=folder, metadata=iter([folder / METADATA_FILE]), workers=1)

    assert record_of(tmp_path / "s")["metadata"] == [METADATA_FILE]
    assert "Found metadata" not in caplog.text


def test_a_split_archive_is_found_by_its_parts(values, tmp_path):
    content = COMPRESS[".tar.gz"](archive_of("s1", NUMBERS))
    for place, ending in enumerate(["aa", "ab"]):
        size = len(content) // 2 + 1
        part = tmp_path / "data" / "BigEarthNet-S1" / f"BigEarthNet-S1.tar.gz{ending}"
        part.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(content[place * size : (place + 1) * size])
    report = encode(tmp_path / "store", folder=tmp_path / "data", workers=1)
    assert report.new == {"Sentinel-1": len(NUMBERS)}
    assert read_values(tmp_path / "store").items() <= values.items()


def test_folders_of_other_names_are_found_by_their_patches(copy, values, tmp_path):
    names = {"s2": "x/optical", "s1": "radar", "reference_maps": "y"}
    for which, path in copy.items():
        (tmp_path / "data" / names[which]).parent.mkdir(parents=True, exist_ok=True)
        shutil.move(path, tmp_path / "data" / names[which])
    encode(tmp_path / "store", folder=tmp_path / "data", workers=1)
    assert read_values(tmp_path / "store") == values


def test_what_is_named_takes_the_place_of_what_is_found(copy, tree, metadata, values, tmp_path):
    damage(copy, "missing")
    folder = with_tables(copy["s2"].parent, names=[METADATA_FILE, SNOW_CLOUD_FILE])
    encode(tmp_path / "store", folder=folder, s2=tree["s2"], metadata=[metadata], workers=1)
    assert read_values(tmp_path / "store") == values
    assert record_of(tmp_path / "store")["metadata"] == [METADATA_FILE]


def test_two_inputs_of_a_kind_in_a_folder_are_a_choice_to_make(copy, tree, tmp_path):
    folder = copy["s1"].parent
    write_archives(folder, NUMBERS, ".tar", ["s1"])
    with pytest.raises(
        ConfigError, match=r"Sentinel-1 input: BigEarthNet-S1\.tar, BigEarthNet-S1\. .*--s1 PATH"
    ):
        encode(tmp_path / "store", folder=folder, workers=1)
    report = encode(tmp_path / "store", folder=folder, s1=tree["s1"], workers=1)
    assert report.new == ALL


def test_a_download_that_is_not_finished_is_refused(tmp_path):
    folder = tmp_path / "data"
    write_archives(folder, NUMBERS, ".tar", ["s1"])
    (folder / ".BigEarthNet-S2.tar.zst.part").touch()
    with pytest.raises(ConfigError, match=r"BigEarthNet-S2\.tar\.zst into .* is not finished"):
        encode(tmp_path / "store", folder=folder)


def test_maps_and_patches_in_one_folder_are_refused(copy, tmp_path):
    for number, which in enumerate(("s2", "reference_maps", "s2")):
        for tile in copy[which].iterdir():
            shutil.copytree(tile, tmp_path / "data" / f"{number}")
    with pytest.raises(ConfigError, match="lie among each other"):
        encode(tmp_path / "store", folder=tmp_path / "data")


def test_a_folder_without_inputs_says_what_it_should_hold(tmp_path):
    (tmp_path / "data").mkdir()
    with pytest.raises(ConfigError, match="should hold BigEarthNet-S2, BigEarthNet-S1, Reference"):
        encode(tmp_path / "store", folder=tmp_path / "data")
    with pytest.raises(ConfigError, match="nothing is not a folder"):
        encode(tmp_path / "store", folder=tmp_path / "nothing")


# Record, report, progress ------------------------------------------------------------------------


def test_the_record_names_sources_without_their_paths(tree, tmp_path):
    encode(tmp_path / "store", **tree, workers=1)
    text = (tmp_path / "store" / "store.json").read_text()
    assert str(tmp_path) not in text
    assert str(tree["s1"].parent) not in text
    record = json.loads(text)
    assert record["format_version"] == 1
    assert {source["kind"]: source["name"] for source in record["sources"]} == {
        KINDS[which]: ROOTS[which] for which in ROOTS
    }
    assert all(source["finished"] for source in record["sources"])


def test_the_report_lies_in_the_store_as_it_was_returned(tree, tmp_path):
    report = encode(tmp_path / "store", **tree, workers=1)
    written = json.loads((tmp_path / "store" / REPORT_FILE).read_text())
    assert written == json.loads(json.dumps(report.to_dict()))
    assert report.num_bytes == sum(map(len, read_values(tmp_path / "store").values()))


@pytest.mark.parametrize("ending", ["folder", ".tar.gz"])
def test_progress_rises_to_the_number_of_patches(ending, tree, tmp_path):
    inputs = tree if ending == "folder" else write_archives(tmp_path, NUMBERS, ending)
    calls = []
    encode(tmp_path / "store", **inputs, workers=1, progress=lambda *call: calls.append(call))
    assert [done for done, _, _ in calls] == sorted(done for done, _, _ in calls)
    assert calls[-1][:2] == (3 * len(NUMBERS), 3 * len(NUMBERS))
    assert calls[-1][2] == sum(map(len, read_values(tmp_path / "store").values()))


# Metadata ----------------------------------------------------------------------------------------


@pytest.fixture
def metadata(tmp_path):
    splits = ["train", "test", "train", "validation", "train", "test"]
    rows = [row(number, split) for number, split in zip(NUMBERS, splits, strict=True)]
    return write_metadata(tmp_path / "given" / METADATA_FILE, rows)


def numbers_in(folder, which="s2"):
    names = read_values(folder)
    return [number for number in NUMBERS if name_of(which, number) in names]


def test_metadata_are_kept_so_that_a_store_is_opened_by_one_path(tree, metadata, tmp_path):
    encode(tmp_path / "store", **tree, metadata=[metadata], workers=1)
    assert (tmp_path / "store" / METADATA_FILE).read_bytes() == metadata.read_bytes()
    dataset = open_dataset(tmp_path / "store", "all_full")
    patch = dataset["validation"].patch(0)
    np.testing.assert_array_equal(patch["B8A"], tensors_of("s2", 3)["B8A"])
    np.testing.assert_array_equal(patch["VH"], tensors_of("s1", 3)["VH"])


@pytest.mark.parametrize("ending", ["folder", ".tar"])
@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({"split": "test"}, [1, 5]),
        ({"countries": ["Finland"]}, [0, 2, 4]),
        ({"limit": 4}, [0, 1, 2, 3]),
        ({"split": "train", "limit": 2}, [0, 2]),
        ({"split": "test", "countries": ["Austria", "Finland"]}, [1, 5]),
    ],
)
def test_filters_choose_patches_of_all_inputs(filters, expected, ending, tree, metadata, tmp_path):
    inputs = tree if ending == "folder" else write_archives(tmp_path, NUMBERS, ending)
    report = encode(tmp_path / "store", **inputs, metadata=[metadata], workers=1, **filters)
    for which in ROOTS:
        assert numbers_in(tmp_path / "store", which) == expected
    assert set(report.absent.values()) == {0}
    assert record_of(tmp_path / "store")["sources"][0]["selection"] == filters


def test_a_later_run_without_filters_adds_the_rest(tree, metadata, values, tmp_path):
    encode(tmp_path / "store", **tree, metadata=[metadata], split="test", workers=1)
    report = encode(tmp_path / "store", **tree, workers=1)
    assert read_values(tmp_path / "store") == values
    assert report.there["Sentinel-1"] == 2


def test_a_filter_keeps_the_rows_that_it_keeps_and_calls_add_up(tree, metadata, tmp_path, caplog):
    store = tmp_path / "store"
    listed = pq.read_table(metadata)

    def kept():
        return pq.read_table(store / METADATA_FILE).to_pylist()

    encode(store, **tree, metadata=[metadata], split="test", workers=1)
    assert kept() == [listed.to_pylist()[row] for row in (1, 5)]
    data = open_dataset(store, "all")
    assert data.part is None
    assert "left out" not in caplog.text

    encode(store, **tree, metadata=[metadata], limit=3, workers=1)
    assert kept() == [listed.to_pylist()[row] for row in (0, 1, 2, 5)]
    assert not caplog.text
    encode(store, **tree, workers=1)
    assert "list what earlier calls selected" in caplog.text
    encode(store, **tree, metadata=[metadata], workers=1)
    assert (store / METADATA_FILE).read_bytes() == metadata.read_bytes()


def test_rows_that_a_filter_kept_of_another_table_are_not_replaced(tree, metadata, tmp_path):
    encode(tmp_path / "store", **tree, metadata=[metadata], split="test", workers=1)
    rows = [{**row, "country": "Serbia"} for row in pq.read_table(metadata).to_pylist()]
    other = write_metadata(tmp_path / "other" / METADATA_FILE, rows)
    with pytest.raises(MetadataError, match=r"has another metadata\.parquet"):
        encode(tmp_path / "store", **tree, metadata=[other], workers=1)


def test_filters_may_use_the_metadata_of_an_earlier_run(tree, metadata, tmp_path):
    encode(tmp_path / "store", s1=tree["s1"], metadata=[metadata], split="test", workers=1)
    encode(tmp_path / "store", s2=tree["s2"], split="test", workers=1)
    assert numbers_in(tmp_path / "store", "s2") == [1, 5]


def test_patches_asked_for_and_not_in_the_input_are_counted(metadata, tmp_path):
    tree = write_tree(tmp_path, [1, 2], ["s2"])
    report = encode(tmp_path / "store", **tree, metadata=[metadata], split="test", workers=1)
    assert report.new == {"Sentinel-2": 1}
    assert report.absent == {"Sentinel-2": 1}
    assert report.absent_names == {"Sentinel-2": (patch_id(5),)}


def test_patches_that_the_metadata_list_and_the_inputs_lack_are_named(metadata, tmp_path):
    tree = write_tree(tmp_path, [1, 2], ["s1", "reference_maps"])
    tree["s1"] = write_archives(tmp_path, [0, 1, 2, 4], ".tar", ["s1"])["s1"]
    report = encode(tmp_path / "store", **tree, metadata=[metadata], workers=1)
    assert report.absent == {"Sentinel-1": 2, "reference map": 4}
    assert report.absent_names["Sentinel-1"] == (s1_name(3), s1_name(5))
    assert report.absent_names["reference map"] == tuple(patch_id(n) for n in (0, 3, 4, 5))
    assert report.to_dict()["absent_names"]["Sentinel-1"] == report.absent_names["Sentinel-1"]


def test_what_an_earlier_call_stored_is_not_lacking(metadata, tmp_path):
    first = write_tree(tmp_path / "first", [0, 1, 2, 3], ["s2"])
    encode(tmp_path / "store", **first, workers=1)
    second = write_tree(tmp_path / "second", [4], ["s2"])
    report = encode(tmp_path / "store", **second, metadata=[metadata], workers=1)
    assert report.absent_names == {"Sentinel-2": (patch_id(5),)}


def test_a_damaged_patch_is_left_out_and_not_lacking(copy, metadata, tmp_path):
    damage(copy, "missing")
    shutil.rmtree(file_of(copy, "reference_maps", 2, "_reference_map.tif").parent)
    with pytest.raises(EncodeError, match=r"1 of 17 patches were left out") as caught:
        encode(tmp_path / "store", **copy, metadata=[metadata], workers=1)
    assert caught.value.report.absent == {
        "Sentinel-2": 0, "Sentinel-1": 0, "reference map": 1,
    }  # fmt: skip


def test_strict_fails_where_the_metadata_list_more_than_there_is(metadata, tmp_path):
    tree = write_tree(tmp_path, [0, 1, 2, 4], ["s2"])
    with pytest.raises(EncodeError, match=rf"2 Sentinel-2, the first one {patch_id(3)}") as caught:
        encode(tmp_path / "store", **tree, metadata=[metadata], workers=1, strict=True)
    assert numbers_in(tmp_path / "store") == [0, 1, 2, 4]
    assert caught.value.report.finished
    assert record_of(tmp_path / "store")["finished"]


def test_without_metadata_nothing_can_be_lacking(tree, tmp_path):
    report = encode(tmp_path / "store", **tree, workers=1, strict=True)
    assert (report.absent, report.absent_names) == ({}, {})


def test_filters_without_metadata_are_refused(tree, tmp_path):
    with pytest.raises(ConfigError, match="split, limit cannot be applied without metadata"):
        encode(tmp_path / "store", **tree, split="test", limit=3)


def test_filters_that_leave_nothing_are_refused(tree, metadata, tmp_path):
    with pytest.raises(EmptySplitError, match="No patch is left"):
        encode(
            tmp_path / "s", **tree, metadata=[metadata], split="validation", countries=["Finland"]
        )


def test_a_limit_below_one_is_refused(tree, metadata, tmp_path):
    with pytest.raises(ConfigError, match="limit must be at least 1"):
        encode(tmp_path / "store", **tree, metadata=[metadata], limit=0)


def test_both_published_tables_are_kept_under_their_names(tree, metadata, tmp_path):
    snow = write_metadata(tmp_path / SNOW_CLOUD_FILE, [row(9, contains_seasonal_snow=True)])
    encode(tmp_path / "store", **tree, metadata=[metadata, snow], workers=1)
    assert record_of(tmp_path / "store")["metadata"] == [METADATA_FILE, SNOW_CLOUD_FILE]


def test_a_table_of_another_name_becomes_the_metadata(tree, tmp_path):
    other = write_metadata(tmp_path / "mine.parquet", [row(0)])
    encode(tmp_path / "store", **tree, metadata=[other], workers=1)
    assert (tmp_path / "store" / METADATA_FILE).read_bytes() == other.read_bytes()


def test_two_tables_of_other_names_are_refused(tree, tmp_path):
    others = [write_metadata(tmp_path / f"{name}.parquet", [row(0)]) for name in "ab"]
    with pytest.raises(MetadataError, match=r"a\.parquet and b\.parquet would both become"):
        encode(tmp_path / "store", **tree, metadata=others)


def test_other_metadata_than_the_stores_are_refused(tree, metadata, tmp_path):
    encode(tmp_path / "store", **tree, metadata=[metadata], workers=1)
    other = write_metadata(tmp_path / "other" / METADATA_FILE, [row(0)])
    with pytest.raises(MetadataError, match=r"has another metadata\.parquet"):
        encode(tmp_path / "store", **tree, metadata=[other])


def test_metadata_that_are_no_table_are_refused_before_anything_is_encoded(tree, tmp_path):
    (tmp_path / "x.parquet").write_text("x")
    with pytest.raises(MetadataError, match="not a readable parquet file"):
        encode(tmp_path / "store", **tree, metadata=[tmp_path / "x.parquet"])
    assert read_values(tmp_path / "store") == {}


# Patches that are left out -----------------------------------------------------------------------


DAMAGE = {
    "truncated": "damaged TIFF",
    "empty": "empty",
    "missing": "B8A is missing",
    "unknown": "B10.tif is unknown",
    "wrong size": "20 x 20 uint16 and should be 60 x 60",
    "wrong dtype": "120 x 120 float32",
    "garbage": "TIFF",
}


def damage(copy, how, number=2):
    """Damage a band file of a Sentinel-2 patch."""
    file = file_of(copy, "s2", number, "_B8A.tif")
    if how == "missing":
        file.unlink()
    elif how == "unknown":
        file.rename(file.with_name(f"{patch_id(number)}_B10.tif"))
    else:
        contents = {
            "truncated": file.read_bytes()[:3000],
            "empty": b"",
            "wrong size": file_of(copy, "s2", number, "_B01.tif").read_bytes(),
            "wrong dtype": file_of(copy, "s1", number, "_VV.tif").read_bytes(),
            "garbage": b"II*\0" + os.urandom(3000),
        }
        file.write_bytes(contents[how])


def as_archives(copy, folder, ending):
    """The folders as archives."""
    archives = {}
    for which, path in copy.items():
        files = sorted(file for file in path.rglob("*") if file.is_file())
        members = [(f"{path.name}/{file.relative_to(path)}", file.read_bytes()) for file in files]
        archives[which] = folder / f"{path.name}{ending}"
        archives[which].write_bytes(COMPRESS[ending](tar_of(members)))
    return archives


@pytest.mark.parametrize("ending", ["folder", ".tar"])
@pytest.mark.parametrize(("how", "reason"), DAMAGE.items())
def test_a_bad_patch_is_left_out_whole_named_and_told_at_the_end(
    how, reason, ending, copy, values, tmp_path
):
    damage(copy, how)
    inputs = copy if ending == "folder" else as_archives(copy, tmp_path, ending)
    said = rf"1 of 18 patches .* {patch_id(2)}: .*{reason}"
    with pytest.raises(EncodeError, match=said) as caught:
        encode(tmp_path / "store", **inputs, workers=1)
    assert read_values(tmp_path / "store") == without(values, patch_id(2))
    report = caught.value.report
    assert report.failed == {"Sentinel-2": 1, "Sentinel-1": 0, "reference map": 0}
    assert report.failures[0].name == patch_id(2)
    assert reason in report.failures[0].reason
    assert report.finished
    written = json.loads((tmp_path / "store" / REPORT_FILE).read_text())
    assert written["failures"][0]["name"] == patch_id(2)
    assert record_of(tmp_path / "store")["sources"][0]["num_failures"] == 1


def test_a_mended_patch_is_added_by_the_same_command(copy, values, tmp_path):
    file = file_of(copy, "s2", 2, "_B8A.tif")
    content = file.read_bytes()
    damage(copy, "truncated")
    with pytest.raises(EncodeError):
        encode(tmp_path / "store", **copy, workers=1)
    file.write_bytes(content)
    report = encode(tmp_path / "store", **copy, workers=1)
    assert sum(report.new.values()) == 1
    assert read_values(tmp_path / "store") == values
    assert record_of(tmp_path / "store")["sources"][0]["num_failures"] == 0


@pytest.mark.parametrize(("ending", "num_workers"), [("folder", 1), ("folder", 2), (".tar.gz", 1)])
def test_strict_stops_at_the_first_bad_patch(ending, num_workers, copy, values, tmp_path):
    damage(copy, "missing")
    inputs = copy if ending == "folder" else as_archives(copy, tmp_path, ending)
    with pytest.raises(EncodeError, match=rf"Stopped at {patch_id(2)}: B8A is missing") as caught:
        encode(tmp_path / "store", **inputs, workers=num_workers, strict=True)
    assert not caught.value.report.finished
    assert not record_of(tmp_path / "store")["finished"]
    assert read_values(tmp_path / "store").items() <= values.items()


def test_all_that_was_left_out_is_counted_and_part_of_it_listed(copy, tmp_path, monkeypatch):
    monkeypatch.setattr("reben.data.encoding.report.MAX_LISTED", 2)
    for number in NUMBERS:
        damage(copy, "missing", number)
    with pytest.raises(EncodeError) as caught:
        encode(tmp_path / "store", **copy, workers=1)
    assert caught.value.report.failed["Sentinel-2"] == len(NUMBERS)
    assert len(caught.value.report.failures) == 2 < MAX_LISTED


def test_a_folder_with_tiffs_and_another_name_is_reported(copy, values, tmp_path):
    folder = file_of(copy, "s2", 2, "_B8A.tif").parent
    folder.rename(folder.with_name(f"{patch_id(2)}_copy"))
    with pytest.raises(
        EncodeError, match=f"{patch_id(2)}_copy.*not the name of a Sentinel-2 patch"
    ):
        encode(tmp_path / "store", **copy, workers=1)
    assert read_values(tmp_path / "store") == without(values, patch_id(2))


# Duplicates --------------------------------------------------------------------------------------


def add_again(copy, number, tensor=None, *, first=False):
    """Put a patch into another tile folder too; change a band of it, if one is named."""
    folder = file_of(copy, "s2", number, "_B02.tif").parent
    other = copy["s2"] / ("A_tile" if first else "Z_tile") / folder.name
    shutil.copytree(folder, other)
    if tensor is not None:
        file = other / f"{folder.name}_{tensor}.tif"
        content = file.read_bytes()
        file.write_bytes(content[:-2] + bytes([content[-2] ^ 1, content[-1]]))


@pytest.mark.parametrize("ending", ["folder", ".tar"])
def test_a_patch_that_is_there_twice_is_skipped_if_it_is_the_same(ending, copy, values, tmp_path):
    add_again(copy, 3)
    inputs = copy if ending == "folder" else as_archives(copy, tmp_path, ending)
    report = encode(tmp_path / "store", **inputs, workers=1)
    assert report.same == {"Sentinel-2": 1, "Sentinel-1": 0, "reference map": 0}
    assert report.new == ALL
    assert read_values(tmp_path / "store") == values


@pytest.mark.parametrize(("ending", "num_workers"), [("folder", 2), (".tar", 1)])
def test_two_patches_of_one_name_and_different_pixels_are_an_error(
    ending, num_workers, copy, values, tmp_path
):
    add_again(copy, 3, "B09")
    inputs = copy if ending == "folder" else as_archives(copy, tmp_path, ending)
    with pytest.raises(EncodeError, match=f"{patch_id(3)}: it is there twice, with different"):
        encode(tmp_path / "store", **inputs, workers=num_workers)
    assert read_values(tmp_path / "store") == values


@pytest.mark.parametrize("num_workers", [1, 2])
def test_the_first_of_two_is_kept_whatever_the_number_of_workers(
    num_workers, copy, values, tmp_path
):
    add_again(copy, 3, "B09", first=True)
    with pytest.raises(EncodeError):
        encode(tmp_path / "store", **copy, workers=num_workers)
    read = read_values(tmp_path / "store")
    assert read[patch_id(3)] != values[patch_id(3)]
    assert without(read, patch_id(3)) == without(values, patch_id(3))


@pytest.mark.parametrize("ending", ["folder", ".tar"])
def test_a_second_run_says_again_that_a_patch_is_there_twice(ending, copy, values, tmp_path):
    add_again(copy, 3, "B09")
    inputs = copy if ending == "folder" else as_archives(copy, tmp_path, ending)
    for _ in range(2):
        with pytest.raises(EncodeError, match=f"1 of 19 .*{patch_id(3)}: it is there twice, with"):
            encode(tmp_path / "store", **inputs, workers=1)
    assert read_values(tmp_path / "store") == values


@pytest.mark.parametrize(("ending", "num_workers"), [("folder", 1), ("folder", 2), (".tar", 1)])
def test_a_store_is_not_continued_from_another_data_set(
    ending, num_workers, copy, values, tree, tmp_path
):
    encode(tmp_path / "store", **tree, workers=1)
    file = file_of(copy, "s1", 4, "_VV.tif")
    content = file.read_bytes()
    file.write_bytes(content[:-4] + b"\0\0\x20\xc1")
    file_of(copy, "s2", 1, "_B02.tif").unlink()  # what is there need not be read again
    inputs = copy if ending == "folder" else as_archives(copy, tmp_path, ending)
    with pytest.raises(EncodeError, match=f"1 of 18 .*{s1_name(4)}: the store has other") as caught:
        encode(tmp_path / "store", **inputs, workers=num_workers)
    assert caught.value.report.there == ALL | {"Sentinel-1": 5}
    assert caught.value.report.failed["Sentinel-1"] == 1
    assert read_values(tmp_path / "store") == values
    assert encode(tmp_path / "store", **tree, workers=1).there == ALL


def test_what_another_writer_left_in_another_order_is_the_same(tree, tmp_path):
    tensors = tensors_of("s1", 2)
    header = blob_header(np.dtype("<f4"), tuple((name, (120, 120)) for name in ("VV", "VH")))
    with ValueWriter(tmp_path / "store") as writer:
        pixels = b"".join(tensors[name].tobytes() for name in ("VV", "VH"))
        writer.add(s1_name(2), header + pixels)
        writer.commit()
    report = encode(tmp_path / "store", s1=tree["s1"], workers=1)
    assert (report.there, report.new) == ({"Sentinel-1": 1}, {"Sentinel-1": 5})


@pytest.mark.parametrize("changed", [False, True])
def test_one_file_that_comes_again_later_in_an_archive_is_compared(changed, values, tmp_path):
    files = [
        (path, content) for number in NUMBERS for path, content in files_of("s1", number).items()
    ]
    path, content = files[4]
    again = content[:-1] + b"\x7f" if changed else content
    (tmp_path / "x.tar").write_bytes(tar_of([*files, (path, again)]))
    if changed:
        with pytest.raises(EncodeError, match=f"{s1_name(2)}: it is there twice, with different"):
            encode(tmp_path / "store", s1=tmp_path / "x.tar", workers=1)
    else:
        assert encode(tmp_path / "store", s1=tmp_path / "x.tar", workers=1).same["Sentinel-1"] == 1
    assert read_values(tmp_path / "store") == {
        name_of("s1", n): values[name_of("s1", n)] for n in NUMBERS
    }


# Archives ----------------------------------------------------------------------------------------


def test_patches_may_be_mixed_in_an_archive(values, tmp_path):
    files = [file for number in NUMBERS for file in files_of("s2", number).items()]
    order = np.random.default_rng(4).permutation(len(files))
    (tmp_path / "x.tar").write_bytes(tar_of([files[place] for place in order]))
    encode(tmp_path / "store", s2=tmp_path / "x.tar", workers=1)
    assert read_values(tmp_path / "store").items() <= values.items()
    assert len(read_values(tmp_path / "store")) == len(NUMBERS)


def test_what_waits_for_the_rest_of_a_patch_is_bounded(monkeypatch, tmp_path):
    monkeypatch.setattr("reben.data.encoding.patch_files._MAX_WAITING_BYTES", 300_000)
    files = [file for number in NUMBERS for file in files_of("s2", number).items()]
    files.sort(key=lambda file: file[0][-8:])
    (tmp_path / "x.tar").write_bytes(tar_of(files))
    with pytest.raises(EncodeError, match="missing"):
        encode(tmp_path / "store", s2=tmp_path / "x.tar", workers=1)


@pytest.mark.parametrize(("ending", "num_workers"), [(".tar", 1), (".tar.gz", 1), (".tar.zst", 2)])
def test_what_was_complete_in_a_truncated_archive_is_kept(
    ending, num_workers, values, tree, tmp_path
):
    content = COMPRESS[ending](archive_of("s2", NUMBERS))
    (tmp_path / "x").write_bytes(content[: int(0.7 * len(content))])
    with pytest.raises(ArchiveError, match=r"x .*(ends too early|damaged)") as caught:
        encode(tmp_path / "store", s2=tmp_path / "x", s1=tree["s1"], workers=num_workers)
    read = read_values(tmp_path / "store")
    assert read.items() <= values.items()
    # The other input is not harmed by it.
    assert numbers_in(tmp_path / "store", "s1") == list(NUMBERS)
    assert numbers_in(tmp_path / "store", "s2")[:2] == [0, 1]
    assert not caught.value.report.finished
    sources = {
        source["kind"]: source["finished"] for source in record_of(tmp_path / "store")["sources"]
    }
    assert sources == {"Sentinel-2": False, "Sentinel-1": True}


def test_the_whole_archive_finishes_what_a_truncated_one_began(values, tmp_path):
    content = COMPRESS[".tar.zst"](archive_of("s2", NUMBERS))
    (tmp_path / "x.tar.zst").write_bytes(content[: len(content) // 2])
    with pytest.raises(ArchiveError):
        encode(tmp_path / "store", s2=tmp_path / "x.tar.zst", workers=1)
    (tmp_path / "x.tar.zst").write_bytes(content)
    report = encode(tmp_path / "store", s2=tmp_path / "x.tar.zst", workers=1)
    assert report.there["Sentinel-2"] + report.new["Sentinel-2"] == len(NUMBERS)
    assert report.there["Sentinel-2"]
    assert record_of(tmp_path / "store")["finished"]


def test_a_hostile_member_ends_an_archive_and_what_came_before_is_kept(tmp_path):
    members = [
        *files_of("s1", 0).items(),
        ("../../etc/evil_VV.tif", b"x"),
        *files_of("s1", 1).items(),
    ]
    (tmp_path / "x.tar").write_bytes(tar_of(members))
    with pytest.raises(ArchiveError, match=r"x\.tar holds '\.\./"):
        encode(tmp_path / "store", s1=tmp_path / "x.tar", workers=1)
    assert list(read_values(tmp_path / "store")) == [s1_name(0)]


def test_a_file_of_monstrous_size_is_left_out(tmp_path):
    path = next(iter(files_of("s1", 1)))
    members = [
        *files_of("s1", 0).items(),
        (path, bytes(MAX_BAND_BYTES + 1)),
        *files_of("s1", 2).items(),
    ]
    (tmp_path / "x.tar").write_bytes(tar_of(members))
    with pytest.raises(
        EncodeError, match=f"{s1_name(1)}: the file .* has {MAX_BAND_BYTES + 1} bytes"
    ):
        encode(tmp_path / "store", s1=tmp_path / "x.tar", workers=1)
    assert numbers_in(tmp_path / "store", "s1") == [0, 2]


def test_an_archive_of_something_else_is_refused(tmp_path):
    (tmp_path / "x.tar").write_bytes(tar_of([("README.md", b"x"), ("a/b.png", b"x")]))
    with pytest.raises(ArchiveError, match=r"no Sentinel-2 patch in x\.tar"):
        encode(tmp_path / "store", s2=tmp_path / "x.tar", workers=1)


# The machine -------------------------------------------------------------------------------------


LIMITED = """
    import resource
    import sys
    import reben
    if __name__ == "__main__":
        limit = int(sys.argv[3])
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        reben.encode(sys.argv[1], s1=sys.argv[2], workers=int(sys.argv[4]))
"""


@pytest.mark.parametrize("num_workers", [1, 2])
def test_a_full_disk_is_a_clear_error_and_the_store_stays_valid(
    num_workers, values, tree, tmp_path
):
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(LIMITED))
    done = subprocess.run(
        [sys.executable, script, tmp_path / "store", tree["s1"], "500000", str(num_workers)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 1
    assert "reben.errors.OutputError: Cannot write to the store" in done.stderr
    assert "the same command again" in done.stderr
    assert "MB are to be written, and" in done.stderr
    assert record_of(tmp_path / "store")["written_since_boot"] == ""
    assert read_values(tmp_path / "store").items() <= values.items()
    encode(tmp_path / "store", s1=tree["s1"], workers=1)
    assert numbers_in(tmp_path / "store", "s1") == list(NUMBERS)


def test_a_folder_that_cannot_be_made_is_an_output_error(tree, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError):
        encode(tmp_path / "file" / "store", **tree)


def test_an_interruption_says_how_to_go_on(tree, values, tmp_path, caplog):
    def interrupt(done, total, num_bytes):
        if done > len(NUMBERS):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), caplog.at_level(logging.WARNING):
        encode(tmp_path / "store", **tree, workers=2, progress=interrupt)
    assert "the same command goes on from there" in caplog.text
    assert not record_of(tmp_path / "store")["finished"]
    encode(tmp_path / "store", **tree, workers=1)
    assert read_values(tmp_path / "store") == values


def test_a_store_of_a_machine_that_went_down_is_refused(tree, tmp_path):
    encode(tmp_path / "store", **tree, workers=1)
    path = tmp_path / "store" / "store.json"
    record = json.loads(path.read_text()) | {"written_since_boot": "another"}
    path.write_text(json.dumps(record))
    for use in (partial(encode, **tree, workers=1), open_dataset, summarise_store):
        with pytest.raises(StoreError, match="The machine went down while the store"):
            use(tmp_path / "store")


BAD_RECORDS = {
    "nothing": b"",
    "a list": b"[]",
    "no version": b"{}",
    "no sources": b'{"format_version": 1}',
    "no text": b"\0",
    "bytes that are no UTF-8": b'{"format_version": 1, "sources": [], "metadata": ["\xff"]}',
    "deep nesting": b'{"format_version": 1, "sources": ' + b"[" * 100_000,
}
BAD_FIELDS = {
    "format_version": -1,
    "sources": [{"kind": "Sentinel-2", "name": "x", "selection": {}, "num_failures": -3}],
    "values": {"Sentinel-2": 1e400},
    "metadata": "metadata.parquet",
    "finished": "yes",
    "sources.0.selection": [{"kind": "Sentinel-2", "name": "x", "selection": {"a": {"b": 1}}}],
    "surprise": 1,
}


@pytest.mark.parametrize("content", BAD_RECORDS.values(), ids=BAD_RECORDS)
def test_a_record_that_cannot_be_read_is_an_error_that_says_what_to_do(content, tmp_path):
    tree = write_tree(tmp_path, [1], ["s1"])
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "store.json").write_bytes(content)
    with pytest.raises(StoreError, match=r"store\.json is not as it should be.* Remove it"):
        encode(tmp_path / "store", s1=tree["s1"], workers=1)
    with pytest.raises(StoreError, match=r"store\.json is not as it should be.* Remove it"):
        summarise_store(tmp_path / "store")
    (tmp_path / "store" / "store.json").unlink()
    assert encode(tmp_path / "store", s1=tree["s1"], workers=1).finished


@pytest.mark.parametrize(("field", "value"), BAD_FIELDS.items())
def test_a_record_with_a_field_that_cannot_be_names_it(field, value, tree, tmp_path):
    encode(tmp_path / "store", s1=tree["s1"], limit=None, workers=1)
    path = tmp_path / "store" / "store.json"
    name = field.partition(".")[0]
    text = json.dumps(record_of(tmp_path / "store") | {name: value})
    path.write_text(text.replace("Infinity", "1e999"))
    with pytest.raises(
        StoreError, match=rf"store\.json is not as it should be: {field}.*Remove it"
    ):
        encode(tmp_path / "store", s1=tree["s1"], workers=1)


def test_a_record_of_a_later_format_is_refused(tree, tmp_path):
    encode(tmp_path / "store", s1=tree["s1"], workers=1)
    (tmp_path / "store" / "store.json").write_text('{"format_version": 9}')
    with pytest.raises(StoreError, match="format version 9"):
        encode(tmp_path / "store", s1=tree["s1"], workers=1)


def test_a_worker_that_dies_costs_nothing(tmp_path):
    inputs = write_tree(tmp_path, range(300), ["s2"])
    killed = []

    def kill(done, total, num_bytes):
        if done and not killed:
            killed.extend(multiprocessing.active_children())
            for child in killed:
                child.kill()

    report = encode(tmp_path / "store", **inputs, workers=2, progress=kill)
    assert killed
    assert (report.new, report.failed) == ({"Sentinel-2": 300}, {"Sentinel-2": 0})
    assert len(read_values(tmp_path / "store")) == 300


def test_a_patch_that_ends_its_process_is_found_and_left_out(tree, values, tmp_path):
    folders = [str(path) for path in sorted(tree["s2"].glob("*/*"))]
    jobs = [DeadlyJob("Sentinel-2", some) for some in (folders[:2], folders[4:])]
    store = tmp_path / "store"
    steps = list(do_jobs(jobs, store, num_processes=2, strict=False, pipe=None, executor=None))
    failures = [failure for step in steps for failure in step.failures]
    assert [failure.name for failure in failures] == [patch_id(4)]
    assert "the process that read it ended (its process died (exit code -9))" in failures[0].reason
    assert sum(step.num_new for step in steps) == 3


HOSTILE = Path(os.environ.get("REBEN_TEST_DATA", "nowhere")) / "cases" / "hostile"


@pytest.mark.parametrize("num_workers", [1, 2])
def test_whatever_files_hold_only_their_patches_are_left_out(num_workers, tmp_path):
    files = sorted(HOSTILE.glob("*.tif"))
    if not files:
        pytest.skip("no hostile files; REBEN_TEST_DATA names their folder")
    inputs = write_tree(tmp_path, range(len(files) + 1), ["s2"])
    for number, file in enumerate(files):
        file_of(inputs, "s2", number, "_B02.tif").write_bytes(file.read_bytes())
    said = f"{len(files)} of {len(files) + 1} patches were left out"
    with pytest.raises(EncodeError, match=said) as caught:
        encode(tmp_path / "store", **inputs, workers=num_workers)
    assert list(read_values(tmp_path / "store")) == [patch_id(len(files))]
    failures = caught.value.report.failures
    assert [failure.name for failure in failures] == [patch_id(n) for n in range(len(files))]
    assert all(failure.reason.startswith("B02") for failure in failures)


@pytest.mark.parametrize(
    "error", [OverflowError, TypeError, KeyError, MemoryError, RecursionError, OSError, TiffError]
)
@pytest.mark.parametrize("ending", ["folder", ".tar"])
def test_whatever_a_reader_raises_only_the_patch_is_left_out(
    error, ending, copy, values, tmp_path, monkeypatch
):
    inputs = copy if ending == "folder" else as_archives(copy, tmp_path, ending)
    read = patch_files.read_pixels
    odd = file_of(copy, "s2", 2, "_B02.tif").read_bytes()

    def fail(content, name):
        if content == odd:
            raise error("it is odd")
        return read(content, name)

    monkeypatch.setattr(patch_files, "read_pixels", fail)
    with pytest.raises(EncodeError, match=rf"{patch_id(2)}: .*it is odd"):
        encode(tmp_path / "store", **inputs, workers=1)
    assert read_values(tmp_path / "store") == without(values, patch_id(2))
    with pytest.raises(EncodeError, match=f"Stopped at {patch_id(2)}"):
        encode(tmp_path / "strict", **inputs, workers=1, strict=True)


@pytest.mark.parametrize("how", ["folder", "link to nowhere", "link to itself", "pipe", "device"])
def test_whatever_stands_in_the_place_of_a_file_is_named(how, copy, values, tmp_path):
    file = file_of(copy, "s2", 2, "_B02.tif")
    file.unlink()
    if how == "folder":
        file.mkdir()
    elif how == "pipe":
        os.mkfifo(file)
    else:
        to = {"link to nowhere": "nowhere", "link to itself": file.name, "device": "/dev/zero"}
        file.symlink_to(to[how])
    with pytest.raises(EncodeError, match=f"1 of 18 patches .* {patch_id(2)}: "):
        encode(tmp_path / "store", **copy, workers=1)
    assert read_values(tmp_path / "store") == without(values, patch_id(2))


@pytest.mark.parametrize("kind", [ThreadPoolExecutor, ProcessPoolExecutor])
def test_an_executor_of_the_caller_does_the_work(kind, tree, values, tmp_path):
    archives = write_archives(tmp_path, NUMBERS, ".tar.zst", ["s2"])
    options = {} if kind is ThreadPoolExecutor else {"mp_context": get_context("spawn")}
    with kind(2, **options) as executor:
        report = encode(tmp_path / "store", **tree | archives, executor=executor)
        assert report.new == ALL
        assert executor.submit(len, "abc").result() == 3  # it stays open
    assert read_values(tmp_path / "store") == values


def test_an_executor_of_another_machine_is_refused(tree, tmp_path, monkeypatch):
    machines = iter(["here", *["elsewhere"] * 99])
    monkeypatch.setattr("reben.data.encoding.workers._this_machine", lambda: next(machines))
    with ThreadPoolExecutor(1) as executor, pytest.raises(ConfigError, match="another machine"):
        encode(tmp_path / "store", **tree, executor=executor)


def test_an_executor_cannot_read_stdin(tmp_path, monkeypatch):
    reading, _ = os.pipe()
    with os.fdopen(reading) as pipe, ThreadPoolExecutor(1) as executor:
        monkeypatch.setattr(sys, "stdin", pipe)
        with pytest.raises(ConfigError, match="cannot read from stdin"):
            encode(tmp_path / "store", s1="-", executor=executor)


def test_progress_is_shown_within_an_archive(tmp_path, monkeypatch):
    archives = write_archives(tmp_path, range(300), ".tar", ["s2"])
    calls = []
    encode(tmp_path / "s", **archives, workers=2, progress=lambda *call: calls.append(call[0]))
    assert 0 < calls[0] < calls[-1] == 300


def test_the_map_grows_while_two_workers_write(tmp_path, monkeypatch):
    tree = write_tree(tmp_path, range(40), ["s1"])
    monkeypatch.setattr("reben.data.storage.writer._MIN_GROWTH", 1 << 20)
    encode(tmp_path / "store", **tree, workers=1)
    assert len(read_values(tmp_path / "store")) == 40


def test_a_pipe_in_the_place_of_a_band_costs_its_patch_alone(tmp_path):
    inputs = write_tree(tmp_path, [0, 1], ["s2"])
    band = next(inputs["s2"].rglob("*_00_00_B02.tif"))
    band.unlink()
    os.mkfifo(band)
    with pytest.raises(EncodeError, match=rf"1 of 2 patches .*{band.name} cannot be read: it is a"):
        encode(tmp_path / "store", workers=1, **inputs)
