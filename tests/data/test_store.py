import json
import multiprocessing
import os
import pickle
import struct
import subprocess
import sys
import textwrap

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from safetensors.numpy import load, save

from made_up import patch, patch_id, read_band, s1_name, write_store
from reben.data.storage.environment import read_transaction
from reben.data.storage.value import blob_layout, view_tensor
from reben.data.store import Store, StoreWriter
from reben.errors import BandsMismatchError, MissingPatchError, StoreError
from reben.spec.bands import S2_FULL


@pytest.fixture
def store(tmp_path):
    return Store.open(write_store(tmp_path / "store"))


def test_what_was_put_is_what_is_read(store):
    read = store.get(patch_id(2))
    for name, pixels in patch(2, S2_FULL).items():
        np.testing.assert_array_equal(read[name], pixels, strict=True)


def test_only_the_tensors_asked_for_are_read_in_the_order_asked(store):
    assert list(store.get(patch_id(0), ["B11", "B02"])) == ["B11", "B02"]


def test_tensors_are_copies_that_may_be_written(store):
    store.get(patch_id(0))["B02"][:] = 0
    assert store.get(patch_id(0))["B02"].any()


def test_names_length_and_membership_agree(store):
    names = list(store.names())
    assert len(names) == len(store) == 24
    assert patch_id(3) in store
    assert s1_name(3) in store
    assert "nothing" not in store
    assert "" not in store


def blob_in_order(tensors, order):
    """A safetensors blob whose tensors lie in ``order``, as other writers leave them."""
    header, body = {}, b""
    for name in order:
        content = tensors[name].tobytes()
        header[name] = {
            "dtype": "U16",
            "shape": list(tensors[name].shape),
            "data_offsets": [len(body), len(body) + len(content)],
        }
        body += content
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + body


@given(st.permutations(S2_FULL.names))
def test_the_order_of_tensors_in_a_blob_does_not_matter(order):
    tensors = patch(1, S2_FULL)
    blob = blob_in_order(tensors, order)
    places = blob_layout(blob, "it")
    for name, pixels in tensors.items():
        np.testing.assert_array_equal(view_tensor(blob, places[name]), pixels)


@given(
    arrays(
        st.sampled_from([np.uint8, np.int16, np.uint16, np.int32, np.float16, np.float32]),
        st.tuples(st.integers(1, 5), st.integers(1, 7)),
    )
)
def test_every_dtype_and_shape_comes_back_as_it_was(pixels):
    blob = save({"Data": pixels, "other": np.zeros(3, np.float64)})
    found = view_tensor(blob, blob_layout(blob, "it")["Data"])
    np.testing.assert_array_equal(found, pixels, strict=True)


@given(st.binary(max_size=200))
def test_a_damaged_blob_is_an_error_of_ours_whatever_its_bytes(content):
    with pytest.raises(StoreError, match="damaged"):
        blob_layout(content, "it")


@given(st.integers(0, 400), st.integers(0, 255))
def test_a_blob_with_one_byte_changed_is_read_or_refused(position, value):
    blob = bytearray(save({"B01": np.arange(400, dtype=np.uint16).reshape(20, 20)}))
    blob[position] = value
    try:
        for place in blob_layout(bytes(blob), "it").values():
            view_tensor(bytes(blob), place)
    except StoreError:
        pass


def test_a_truncated_blob_says_how_long_it_should_be():
    blob = save({"B01": np.zeros((20, 20), np.uint16)})
    with pytest.raises(StoreError, match=f"has {len(blob) - 1} bytes and should have {len(blob)}"):
        blob_layout(blob[:-1], "it")


def test_a_missing_patch_is_named_with_the_store(store):
    with pytest.raises(MissingPatchError, match=r"No patch 'nowhere' in the store .*24 values"):
        store.get("nowhere")


def test_a_missing_band_is_named_with_those_there(store):
    with pytest.raises(BandsMismatchError, match=r"lacks B02; it has .*VV"):
        store.get(s1_name(0), ["VV", "B02"])


@pytest.mark.parametrize("kind", ["missing", "empty", "file"])
def test_what_is_no_store_is_refused(tmp_path, kind):
    path = tmp_path / "thing"
    if kind == "empty":
        path.mkdir()
    if kind == "file":
        path.write_text("hello")
    with pytest.raises(StoreError, match=r"data\.mdb"):
        Store.open(path)


def test_a_data_file_that_is_no_lmdb_is_refused(tmp_path):
    (tmp_path / "data.mdb").write_bytes(b"not a database" * 1000)
    with pytest.raises(StoreError, match="is not a store that can be opened"):
        Store.open(tmp_path)


def test_the_folder_above_a_store_is_refused_with_a_hint(store):
    with pytest.raises(StoreError, match=r"Did you mean .*store"):
        Store.open(store.path.parent)


def test_one_store_may_be_opened_many_times_in_a_process(store):
    again = [Store.open(store.path) for _ in range(3)]
    assert all(patch_id(0) in one for one in again)


def test_a_pickled_store_reads_the_same(store):
    again = pickle.loads(pickle.dumps(store))
    np.testing.assert_array_equal(again.get(patch_id(1))["B04"], store.get(patch_id(1))["B04"])


@pytest.mark.parametrize("method", ["fork", "spawn"])
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork.*:DeprecationWarning")
def test_workers_read_from_the_parents_store(store, method):
    expected = store.get(patch_id(4), ["B02"])["B02"].sum()
    context = multiprocessing.get_context(method)
    queue = context.Queue()
    workers = [
        context.Process(target=read_band, args=(store, patch_id(4), queue)) for _ in range(2)
    ]
    for worker in workers:
        worker.start()
    assert [queue.get(timeout=60) for _ in workers] == [expected, expected]
    for worker in workers:
        worker.join()
    assert store.get(patch_id(4), ["B02"])["B02"].sum() == expected


def test_a_read_only_folder_is_read_without_a_lock_file(store, monkeypatch):
    path = store.path
    del store
    (path / "lock.mdb").unlink()
    # The super-user may write anywhere, so permissions alone would not show it.
    monkeypatch.setattr(os, "access", lambda place, mode: False)
    assert patch_id(0) in Store.open(path)
    assert not (path / "lock.mdb").exists()


def test_the_map_grows_as_needed(tmp_path):
    size = 0
    with StoreWriter(tmp_path) as writer:
        for number in range(300):
            pixels = {"B02": np.full((120, 120), number, np.uint16)}
            writer._BATCH_BYTES = 1 << 20
            writer.put(patch_id(number), pixels)
            size += pixels["B02"].nbytes
    assert size < (tmp_path / "data.mdb").stat().st_size < 2 * size
    assert Store.open(tmp_path).get(patch_id(299))["B02"][0, 0] == 299


def test_the_same_value_again_is_no_news_and_another_one_is_an_error(tmp_path):
    with StoreWriter(tmp_path) as writer:
        assert writer.put("a", {"x": np.zeros(3)})
        assert not writer.put("a", {"x": np.zeros(3)})
        writer.commit()
        assert not writer.put("a", {"x": np.zeros(3)})
        with pytest.raises(StoreError, match="already holds another value for a"):
            writer.put("a", {"x": np.ones(3)})


def test_a_store_that_was_read_can_be_added_to_in_the_same_process(store):
    with StoreWriter(store.path) as writer:
        writer.put("new", {"x": np.arange(3)})
    assert store.get("new")["x"].tolist() == [0, 1, 2]


def test_reading_while_writing_in_one_process_says_what_to_close(tmp_path):
    with StoreWriter(tmp_path) as writer:
        writer.put("a", {"x": np.zeros(3)})
        writer.commit()
        with pytest.raises(StoreError, match="Close the writer"):
            Store.open(tmp_path)


FULL_DISK = """
    import resource
    import sys
    import numpy as np
    from reben import StoreWriter
    with StoreWriter(sys.argv[1]) as writer:
        size = int(sys.argv[2])
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
        writer.put("new", {"x": np.zeros(1_000_000)})
"""


def test_a_full_disk_is_a_clear_error_and_leaves_the_store_valid(store):
    num_before = len(store)
    size = (store.path / "data.mdb").stat().st_size
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(FULL_DISK), store.path, str(size)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 1
    assert "OutputError: Cannot write to the store" in done.stderr
    assert "is still valid" in done.stderr
    assert len(Store.open(store.path)) == num_before
    assert "new" not in store


def test_a_name_that_no_value_can_have_is_refused(tmp_path):
    with StoreWriter(tmp_path) as writer:
        for name in ("", "x" * 512, "ä" * 256):
            with pytest.raises(StoreError, match="use 1 to 511 bytes"):
                writer.put(name, {"x": np.zeros(3)})


def test_a_value_that_another_process_wrote_meanwhile_is_kept(tmp_path):
    # Two writers of one process stand in for two processes: LMDB lets one open it at a time.
    with StoreWriter(tmp_path) as writer:
        writer.put("a", {"x": np.zeros(3)})
        writer._writer.add("b", b"other")
        writer._writer.commit()
        writer._writer.add("b", b"one")
        with pytest.raises(StoreError, match="already holds another value for b"):
            writer.commit()
    assert Store.open(tmp_path).get("a")["x"].tolist() == [0, 0, 0]


HOSTILE_HEADERS = {
    "deep nesting": b"[" * 100_000,
    "an endless number": b'{"a":{"dtype":"U8","shape":[1e999],"data_offsets":[0,1]}}',
    "a huge number": b'{"a":{"dtype":"U8","shape":[%d],"data_offsets":[0,1]}}' % 10**300,
    "sides whose product overflows": (
        b'{"a":{"dtype":"U8","shape":[4294967296,4294967296],"data_offsets":[0,0]}}'
    ),
    "a huge side beside an empty one": (
        b'{"a":{"dtype":"U8","shape":[0,4611686018427387904],"data_offsets":[0,0]}}'
    ),
    "negative sides": b'{"a":{"dtype":"U8","shape":[-1,-1],"data_offsets":[0,1]}}',
    "more axes than an array has": (
        b'{"a":{"dtype":"U8","shape":[' + b"1," * 99 + b'1],"data_offsets":[0,1]}}'
    ),
    "text for a number": b'{"a":{"dtype":"U8","shape":["1"],"data_offsets":[0,1]}}',
    "true for a number": b'{"a":{"dtype":"U8","shape":[true],"data_offsets":[0,1]}}',
    "no dtype": b'{"a":{"shape":[1],"data_offsets":[0,1]}}',
    "a dtype that is a list": b'{"a":{"dtype":[],"shape":[1],"data_offsets":[0,1]}}',
    "a number for a tensor": b'{"a":1}',
    "a list for all": b"[]",
    "bytes that are no text": b'{"\xff":1}',
}


@pytest.mark.parametrize("header", HOSTILE_HEADERS.values(), ids=HOSTILE_HEADERS)
def test_a_header_that_cannot_be_right_is_an_error_of_ours(header):
    blob = struct.pack("<Q", len(header)) + header + bytes(8)
    with pytest.raises(StoreError, match="damaged: its header cannot be read"):
        blob_layout(blob, "it")


def test_large_headers_are_read_and_not_kept():
    tensors = {f"{number:04d}" * 20: np.full(1, number, np.uint16) for number in range(500)}
    places = blob_layout(save(tensors), "it")
    assert len(places) == 500
    assert blob_layout(save(tensors), "it") is not places


def test_the_real_store_reads_as_safetensors_does(real_store):
    with read_transaction(real_store) as (transaction, _):
        blobs = {bytes(key).decode(): bytes(blob) for key, blob in transaction.cursor()}
    store = Store.open(real_store)
    assert sorted(blobs) == list(store.names())
    for name, blob in blobs.items():
        for band, pixels in load(blob).items():
            np.testing.assert_array_equal(store.get(name, [band])[band], pixels, strict=True)
    assert len(store) == 48
