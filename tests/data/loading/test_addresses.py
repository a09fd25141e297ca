import json
import struct
import subprocess
import sys
import threading
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from made_up import TILE, band, patch, patch_id, row, s1_name, write_metadata, write_store
from reben.data.loader import Loader, RawLoader
from reben.data.loading.addresses import BandAddresses
from reben.data.metadata import PatchTable
from reben.data.opening import open_dataset
from reben.data.preprocess import Preprocess
from reben.data.storage.environment import close_shared, open_lmdb
from reben.data.store import StoreWriter
from reben.errors import BandsMismatchError, MissingPatchError, StoreError
from reben.spec.bands import ALL, ALL_FULL, S1, S2, S2_FULL, BandSet
from reben.spec.statistics import published_statistics

CODES = {"uint16": "U16", "float32": "F32", "float64": "F64", "int16": "I16"}


def blob(tensors, order, padding=0):
    """A safetensors blob whose tensors lie in ``order``, as other writers leave them."""
    header, body = {}, b""
    for name in order:
        content = tensors[name].tobytes()
        header[name] = {
            "dtype": CODES[tensors[name].dtype.name],
            "shape": list(tensors[name].shape),
            "data_offsets": [len(body), len(body) + len(content)],
        }
        body += content
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8 + padding)
    return struct.pack("<Q", len(text)) + text + body


def write_blobs(folder, blobs, num_patches):
    folder.mkdir(parents=True, exist_ok=True)
    close_shared(folder)
    environment = open_lmdb(folder, map_size=1 << 26)
    with environment.begin(write=True) as transaction:
        for name, content in blobs.items():
            transaction.put(name.encode(), content)
    environment.close()
    write_metadata(folder / "metadata.parquet", [row(number) for number in range(num_patches)])
    return folder


def pair_blobs(number, s2_order, s1_order=("VV", "VH"), padding=0):
    return {
        patch_id(number): blob(patch(number), s2_order, padding),
        s1_name(number): blob(patch(number), s1_order, padding),
    }


def first_batch(folder, bands, **settings):
    loader = Loader(open_dataset(folder), Preprocess(bands, published_statistics()), 64, **settings)
    return next(iter(loader))


def expected_images(numbers, bands):
    preprocess = Preprocess(bands, published_statistics())
    stacked = {n: np.stack([band(n, number) for number in numbers]) for n in bands}
    return preprocess({name: torch.from_numpy(array) for name, array in stacked.items()})


@given(
    st.lists(st.permutations(S2_FULL.names), min_size=2, max_size=4),
    st.booleans(),
    st.sampled_from([0, 1, 3]),
)
def test_the_order_of_tensors_may_differ_from_patch_to_patch(tmp_path_factory, orders, s1, odd):
    blobs = {}
    for number, order in enumerate(orders):
        blobs |= pair_blobs(number, order, ("VH", "VV") if s1 else ("VV", "VH"), odd)
    folder = write_blobs(tmp_path_factory.mktemp("store"), blobs, len(orders))
    images = first_batch(folder, ALL_FULL).images
    assert torch.equal(images, expected_images(range(len(orders)), ALL_FULL))


def test_addresses_point_at_the_first_values(tmp_path):
    dataset = open_dataset(write_store(tmp_path), ALL)
    addresses_of = BandAddresses(dataset)
    with addresses_of.find([3, 7]) as addresses:
        assert addresses.shape == (2, 12)
        places = {"VH": (ALL.index("VH"), np.float32), "B12": (ALL.index("B12"), np.uint16)}
        for name, (column, dtype) in places.items():
            for at, number in enumerate((3, 7)):
                memory = np.ctypeslib.as_array(
                    (np.ctypeslib.as_ctypes_type(dtype) * 5).from_address(
                        int(addresses[at, column])
                    )
                )
                np.testing.assert_array_equal(memory, band(name, number).ravel()[:5])


WRITE = """
import sys, lmdb
with lmdb.open(sys.argv[1], map_size=1 << 26) as environment, environment.begin(write=True) as all:
    all.put(sys.argv[2].encode(), sys.stdin.buffer.read())
"""


def test_a_value_that_another_process_replaced_between_epochs_is_read_anew(tmp_path):
    folder = write_blobs(tmp_path, pair_blobs(0, S2_FULL.names), 1)
    loader = RawLoader(open_dataset(folder, S2), 1)
    for number in (0, 3):  # the order of tensors changes as well as their values
        content = blob(patch(number), S2_FULL.names[number:] + S2_FULL.names[:number])
        command = [sys.executable, "-c", WRITE, str(folder), patch_id(0)]
        subprocess.run(command, input=content, check=True)
        for _ in range(2):
            (batch,) = loader
            np.testing.assert_array_equal(batch.bands["B12"][0], band("B12", number))


@pytest.mark.parametrize("padding", [1, 2, 3])
def test_values_at_odd_addresses_are_left_to_others(tmp_path, padding):
    folder = write_blobs(tmp_path, pair_blobs(0, S2_FULL.names, padding=padding), 1)
    dataset = open_dataset(folder)
    with BandAddresses(dataset.with_bands(S1)).find([0]) as addresses:
        assert addresses is None


@pytest.mark.parametrize("bands", [S1, S2])
def test_only_the_blobs_of_the_bands_are_read(tmp_path, bands):
    blobs = pair_blobs(0, S2_FULL.names)
    del blobs[patch_id(0) if bands == S1 else s1_name(0)]
    folder = write_blobs(tmp_path, blobs, 1)
    assert torch.equal(first_batch(folder, bands).images, expected_images([0], bands))


@pytest.mark.parametrize("loader", ["images", "raw"])
@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_missing_patch_or_band_is_named_whoever_finds_it(tmp_path, loader, num_workers):
    blobs = pair_blobs(0, S2_FULL.names) | pair_blobs(1, S2_FULL.names)
    blobs[patch_id(1)] = blob(patch(1), ("B02", "B03"))
    del blobs[s1_name(0)]
    folder = write_blobs(tmp_path, blobs, 2)
    table = PatchTable.read(folder / "metadata.parquet")  # all of them, stored or not
    dataset = replace(open_dataset(folder, S2), table=table)

    def load(bands):
        if loader == "raw":
            return list(RawLoader(dataset.with_bands(bands), 2, num_workers=num_workers))
        preprocess = Preprocess(bands, published_statistics())
        return list(Loader(dataset, preprocess, 2, num_workers=num_workers))

    with pytest.raises(MissingPatchError, match=s1_name(0)):
        load(S1)
    with pytest.raises(BandsMismatchError, match=rf"{patch_id(1)}.*lacks B12; it has B02, B03"):
        load(BandSet(("B03", "B12")))


@pytest.mark.parametrize("kind", ["short", "empty", "tail", "length", "text"])
def test_a_damaged_value_is_named(tmp_path, kind):
    blobs = pair_blobs(0, S2_FULL.names)
    whole = blobs[patch_id(0)]
    blobs[patch_id(0)] = {
        "short": whole[:5],
        "empty": b"",
        "tail": whole[:-100],
        "length": b"\xff" * 8 + whole[8:],
        "text": whole[:8] + b"x" + whole[9:],
    }[kind]
    folder = write_blobs(tmp_path, blobs, 1)
    with pytest.raises(StoreError, match=rf"{patch_id(0)} is damaged"):
        first_batch(folder, S2)


def test_a_truncated_value_is_found_after_whole_ones_of_its_kind(tmp_path):
    blobs = {}
    for number in range(3):
        blobs |= pair_blobs(number, S2_FULL.names)
    blobs[patch_id(2)] = blobs[patch_id(2)][:-1]
    folder = write_blobs(tmp_path, blobs, 3)
    with pytest.raises(StoreError, match=rf"{patch_id(2)} is damaged"):
        first_batch(folder, S2)


def test_a_writer_waits_until_nobody_reads_the_mapped_file(tmp_path):
    folder = write_store(tmp_path)
    dataset = open_dataset(folder, "B02")
    addresses_of = BandAddresses(dataset)
    opened = threading.Event()

    def write():
        with StoreWriter(folder) as writer:
            opened.set()
            writer.put(f"{TILE}_99_99", {"B02": np.zeros((120, 120), np.uint16)})

    writing = threading.Thread(target=write)
    with addresses_of.find([0]):
        writing.start()
        assert not opened.wait(0.2)
    writing.join(30)
    assert opened.is_set()
    with addresses_of.find([0]) as addresses:
        assert addresses is not None
