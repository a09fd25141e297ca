"""Patches that are read quickly have the values that other readers give; odd ones are left."""

import os
import shutil
from pathlib import Path

import lmdb
import numpy as np
import pytest
import rasterio
from safetensors.numpy import save

import made_up_files
from reben.data.encode import encode
from reben.data.encoding.patch_files import read_patch_files
from reben.data.encoding.quick import QuickReader
from reben.data.storage.value import REFERENCE_MAP, SENTINEL1, SENTINEL2

KINDS = {"s1": SENTINEL1, "s2": SENTINEL2}


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(made_up_files, "EAST_OF_NAME", 0)
        roots = made_up_files.write_tree(tmp_path_factory.mktemp("files"), [3, 4, 5])
    return {which: sorted(root.glob("*/*")) for which, root in roots.items()}


@pytest.fixture(params=KINDS)
def case(request, tree, tmp_path):
    """A reader that knows one patch, and copies of others of its kind."""
    kind, (first, *others) = KINDS[request.param], tree[request.param]
    copies = [Path(shutil.copytree(folder, tmp_path / folder.name)) for folder in others]
    return taught(kind, first), copies


def taught(kind, folder):
    reader = QuickReader(kind)
    patch = read_patch_files(str(folder), kind)
    patch.value(kind)
    reader.learn(patch)
    return reader


def by_rasterio(folder):
    bands = {}
    for file in folder.iterdir():
        with rasterio.open(file) as image:
            bands[file.stem.rpartition("_")[2]] = image.read(1)
    return save(bands)


def rewrite(file, change):
    content = bytearray(file.read_bytes())
    change(content)
    file.write_bytes(content)


def test_a_value_is_what_safetensors_makes_of_what_rasterio_reads(case):
    reader, folders = case
    values = [reader.read(str(folder)) for folder in folders]
    assert values == [by_rasterio(folder) for folder in folders]
    assert values[0] != values[1]


def test_room_is_used_again_only_once_it_is_free(case):
    reader, (first, second) = case
    value = reader.read(str(first))
    assert reader.read(str(second)) is not value
    reader.free()
    assert reader.read(str(second)) is value
    assert value == by_rasterio(second)


def add_file(folder, file):
    (folder / f"{folder.name}_{file}").write_bytes(b"II*\0")


def point_east(content):
    at = content.index(np.array([0, 0, 0], "<f8").tobytes()) + 24
    content[at : at + 8] = np.array(np.frombuffer(content[at : at + 8]) + 1200).tobytes()


def pipe(file):
    file.unlink()
    os.mkfifo(file)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda folder, _: add_file(folder, "B99.tif"),
        lambda folder, _: add_file(folder, "VV.tif.aux.xml"),
        lambda _, file: file.unlink(),
        lambda _, file: pipe(file),
        lambda _, file: rewrite(file, lambda content: content.append(0)),
        lambda _, file: rewrite(file, lambda content: content.pop()),
        lambda _, file: rewrite(file, lambda content: content.__setitem__(20, 99)),
        lambda _, file: rewrite(file, point_east),
        lambda folder, _: [rewrite(file, point_east) for file in folder.iterdir()],
        lambda folder, _: [
            rewrite(file, lambda c: c.__setitem__(slice(-1500, None), bytes(1500)))
            for file in folder.iterdir()
        ],
    ],
    ids=[
        *("unknown file", "side file", "missing", "pipe", "longer", "shorter", "other tags"),
        *("one elsewhere", "all elsewhere", "no data"),
    ],
)
def test_a_patch_that_is_unusual_is_not_read_here(case, spoil):
    reader, (folder, good) = case
    spoil(folder, sorted(folder.iterdir())[1])
    assert reader.read(str(folder)) is None
    assert reader.read(str(good)) == by_rasterio(good)


def test_a_name_of_another_place_or_none_is_not_read_here(case):
    reader, (folder, _) = case
    for name in (f"{folder.name[:-2]}77", "field_7_7", folder.name.replace("S", "X")):
        other = folder.rename(folder.with_name(name))
        for file in other.iterdir():
            file.rename(other / f"{name}_{file.stem.rpartition('_')[2]}.tif")
        assert reader.read(str(other)) is None
        folder = other


def test_nothing_is_learnt_of_a_patch_that_was_filled_or_lies_elsewhere(tree):
    first, second, _ = tree["s2"]
    for odd in ({"num_filled": 1}, {"moved_to": (32633, 0, 0, 1200, 1200)}, {"sides": {"B02": ()}}):
        patch = read_patch_files(str(first), SENTINEL2)
        patch.value(SENTINEL2)
        for name, value in odd.items():
            setattr(patch, name, value)
        reader = QuickReader(SENTINEL2)
        reader.learn(patch)
        assert reader.read(str(second)) is None


def test_deflated_maps_are_not_read_here(tree):
    folder = tree["reference_maps"][0]
    assert taught(REFERENCE_MAP, folder).read(str(folder)) is None


def test_a_store_has_the_same_values_whichever_way_patches_are_read(tree, tmp_path, monkeypatch):
    inputs = {which: folders[0].parent.parent for which, folders in tree.items()}
    stored = []
    for out in ("quick", "slow"):
        encode(tmp_path / out, **inputs, workers=1)
        with lmdb.open(str(tmp_path / out), readonly=True) as store, store.begin() as values:
            stored.append(list(values.cursor()))
        monkeypatch.setattr(QuickReader, "learn", lambda *_: None)
    assert len(stored[0]) == 9
    assert stored[0] == stored[1]
