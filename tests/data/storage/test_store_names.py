import os
import struct

import lmdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from made_up import patch, patch_id
from reben.data.encoding.jobs import NameSet
from reben.data.storage.environment import close_shared, open_lmdb, stored_names
from reben.data.store import Store, StoreWriter
from reben.errors import StoreError
from reben.spec.bands import S2_FULL


def write(folder, values):
    environment = open_lmdb(folder, map_size=1 << 26)
    with environment.begin(write=True) as transaction:
        for name, value in values.items():
            transaction.put(name.encode(), value)
    environment.close()


def names_by_lmdb(folder):
    environment = open_lmdb(folder, readonly=True)
    with environment.begin() as transaction:
        names = [key.decode() for key in transaction.cursor().iternext(values=False)]
    environment.close()
    return names


@given(values=st.dictionaries(st.text("abä_1", min_size=1, max_size=90), st.binary(max_size=9000)))
def test_names_are_those_that_lmdb_lists(tmp_path_factory, values):
    folder = tmp_path_factory.mktemp("store")
    write(folder, values)
    expected = names_by_lmdb(folder)
    assert list(stored_names(folder)) == expected
    close_shared(folder)


@pytest.mark.parametrize("num_names", [1, 30, 500, 20_000])
def test_trees_of_any_depth_are_walked(num_names, tmp_path):
    names = [f"{patch_id(number % 8000)}_{number}" for number in range(num_names)]
    write(tmp_path, dict.fromkeys(names, b"x"))
    assert list(stored_names(tmp_path)) == sorted(names)


def test_the_last_commit_counts(tmp_path):
    for number in range(5):
        write(tmp_path, {f"name{number}": bytes(number * 5000)})
    assert list(stored_names(tmp_path)) == [f"name{number}" for number in range(5)]


def test_removed_names_are_gone(tmp_path):
    write(tmp_path, {f"{number:04d}": bytes(100) for number in range(2000)})
    environment = open_lmdb(tmp_path, map_size=1 << 26)
    with environment.begin(write=True) as transaction:
        for number in range(0, 2000, 3):
            transaction.delete(f"{number:04d}".encode())
    environment.close()
    assert list(stored_names(tmp_path)) == [f"{n:04d}" for n in range(2000) if n % 3]


def test_an_empty_store_has_no_names(tmp_path):
    write(tmp_path, {})
    assert list(stored_names(tmp_path)) == []


def test_a_damaged_tree_is_an_error_of_ours(tmp_path):
    write(tmp_path, {f"{number:04d}": bytes(100) for number in range(2000)})
    content = bytearray((tmp_path / "data.mdb").read_bytes())
    content[3 * 4096 :] = b"\xff" * (len(content) - 3 * 4096)
    (tmp_path / "data.mdb").write_bytes(content)
    with pytest.raises(StoreError):
        list(stored_names(tmp_path))


def test_pages_that_go_round_in_a_ring_are_an_error_of_ours(tmp_path):
    write(tmp_path, {f"{number:04d}": bytes(100) for number in range(2000)})
    content = bytearray((tmp_path / "data.mdb").read_bytes())
    for start in range(0, len(content), 4096):
        flags, lower = struct.unpack_from("<HH", content, start + 10)
        if flags == 1:  # a branch: each of its nodes leads back to itself
            for place in struct.unpack_from(f"<{(lower - 16) // 2}H", content, start + 16):
                struct.pack_into("<HHH", content, start + place, start // 4096, 0, 0)
    (tmp_path / "data.mdb").write_bytes(content)
    with pytest.raises(StoreError, match="go round in a ring"):
        list(stored_names(tmp_path))


def test_the_names_of_the_real_sample_are_listed(real_store):
    assert len(list(stored_names(real_store))) == 48


def test_a_name_set_holds_its_names_and_no_others():
    names = NameSet(patch_id(number) for number in range(0, 3000, 2))
    assert len(names) == 1500
    assert all((patch_id(number) in names) == (number % 2 == 0) for number in range(3000))
    assert 5 not in names
    assert "x" not in NameSet([])


def test_lmdb_is_of_the_version_whose_pages_are_walked():
    assert lmdb.version()[:2] == (0, 9)


def test_a_store_may_lie_in_a_folder_whose_name_is_no_text(tmp_path):
    folder = tmp_path / os.fsdecode(b"\xff\xfe")
    with StoreWriter(folder) as writer:
        writer.put(patch_id(0), patch(bands=S2_FULL))
    assert set(Store.open(folder).get(patch_id(0))) == set(S2_FULL)


def test_a_pipe_or_folder_in_the_place_of_the_data_is_refused(tmp_path):
    for name, make in (("pipe", os.mkfifo), ("folder", os.mkdir)):
        (tmp_path / name).mkdir()
        make(tmp_path / name / "data.mdb")
        for use in (Store.open, StoreWriter):
            with pytest.raises(StoreError, match=rf"{tmp_path / name}"):
                use(tmp_path / name)
