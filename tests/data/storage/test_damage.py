"""Stores whose file is cut off or damaged, or grows while it is read: never a signal."""

import multiprocessing
import os
import random
import struct
import subprocess
import sys
import textwrap

import lmdb
import numpy as np
import pytest

from made_up import band, grow, patch_id, row, s1_name, write_metadata, write_store
from reben.data.inspection import summarise_store, verify_store
from reben.data.loader import RawLoader
from reben.data.metadata import METADATA_FILE
from reben.data.opening import open_dataset
from reben.data.storage.environment import close_shared, is_remote, stored_names
from reben.data.storage.tree import read_meta
from reben.data.storage.writer import ValueWriter
from reben.data.store import Store, StoreWriter
from reben.errors import MissingPatchError, RebenError, StoreError

PAGE = 4096


@pytest.fixture
def store(tmp_path):
    return write_store(tmp_path / "store", num_train=2, num_validation=1, num_test=1)


@pytest.fixture
def small(tmp_path):
    """A store of short values on several pages, and long ones, from several commits."""
    folder = tmp_path / "small"
    for commit in range(4):
        with ValueWriter(folder) as writer:
            for number in range(60):
                name = f"{number}_{commit}" + "x" * 60
                writer.add(name, bytes([8, 250][commit % 2]) * (40 if number % 9 == 0 else 1))
            writer.commit()
    return folder


def change(folder, at, content):
    with (folder / "data.mdb").open("r+b") as file:
        file.seek(at)
        file.write(content)


def read_all(folder):
    names = list(stored_names(folder))
    store = Store.open(folder)
    for name in names:
        try:
            store.get(name)
        except RebenError:
            continue


def write_some(folder):
    with StoreWriter(folder) as writer:
        for number in range(20):
            writer.put(f"new{number}", {"x": np.zeros(300)})


@pytest.mark.parametrize("share", [0.02, 0.3, 0.95])
@pytest.mark.parametrize(
    "use", [Store.open, stored_names, summarise_store, verify_store, write_some]
)
def test_a_file_that_is_cut_off_is_refused_with_both_sizes(use, share, store):
    size = (store / "data.mdb").stat().st_size
    left = int(share * size)
    os.truncate(store / "data.mdb", left)
    with pytest.raises(StoreError, match=f"has {left} bytes and should have {size}"):
        list(use(store))


@pytest.mark.parametrize("size", [1, 100, PAGE, PAGE + 100])
def test_a_file_without_its_first_pages_is_refused(size, store):
    os.truncate(store / "data.mdb", size)
    with pytest.raises(StoreError, match="store"):
        Store.open(store)
    with pytest.raises(StoreError, match="store"):
        StoreWriter(store)


def test_free_pages_at_the_end_need_not_be_there(store):
    # LMDB leaves out pages that a commit took and gave back.
    for start in (0, PAGE):
        (last,) = struct.unpack_from("<Q", (store / "data.mdb").read_bytes(), start + 136)
        change(store, start + 136, struct.pack("<Q", last + 7))
    with (store / "data.mdb").open("rb") as file:
        meta = read_meta(file)
    assert meta.num_pages * meta.page_bytes > (store / "data.mdb").stat().st_size
    assert verify_store(store).num_problems == 0


@pytest.mark.parametrize("use", [read_all, write_some])
@pytest.mark.parametrize("which", ["store", "small"])
def test_no_damage_ends_the_process(use, which, request):
    folder = request.getfixturevalue(which)
    whole = (folder / "data.mdb").read_bytes()
    pages = range(0, len(whole), PAGE)
    pages = [at for at in pages if at < 2 * PAGE or whole[at + 10] in (1, 2)]
    generator = random.Random(1)
    num_found = 0
    for _ in range(100):
        (folder / "data.mdb").write_bytes(whole)
        for _ in range(generator.choice([1, 3])):
            place = generator.choice([generator.randrange(160), generator.randrange(PAGE)])
            change(folder, generator.choice(pages) + place, generator.randbytes(1))
        try:
            use(folder)
        except StoreError:
            num_found += 1
        close_shared(folder)
    assert num_found > 5


def test_a_value_that_reaches_out_of_the_file_is_refused(store):
    content = (store / "data.mdb").read_bytes()
    at = content.rindex(patch_id(0).encode())
    change(store, at - 8, struct.pack("<I", 1 << 30))
    with pytest.raises(StoreError, match=r"damaged: a value is not in it\. Copy it again"):
        Store.open(store)


def test_an_lmdb_of_several_data_bases_is_no_store(tmp_path):
    environment = lmdb.open(str(tmp_path), max_dbs=2)
    environment.open_db(b"one")
    environment.close()
    with pytest.raises(StoreError, match=r"not a store that can be opened.*several data bases"):
        Store.open(tmp_path)


def test_keys_that_are_no_names_are_no_store(tmp_path):
    environment = lmdb.open(str(tmp_path))
    with environment.begin(write=True) as transaction:
        transaction.put(b"\xff\xfe", b"x")
    environment.close()
    with pytest.raises(StoreError, match="has a key that is not a name"):
        list(stored_names(tmp_path))


# Growing -----------------------------------------------------------------------------------------


def test_a_store_may_grow_while_it_is_read(store):
    data = open_dataset(store, "all_full")
    loader = RawLoader(data, 4, num_workers=2)
    before = next(iter(loader)).bands["VV"].clone()
    worker = multiprocessing.get_context("spawn").Process(target=grow, args=(store,))
    worker.start()
    worker.join(60)
    assert data.store.get("new105")["x"][-1] == 105
    assert (next(iter(loader)).bands["VV"] == before).all()
    assert len(data.store) == 18


LIMITED = """
    import multiprocessing
    import resource
    import sys
    from made_up import grow
    from reben.data.store import Store
    if __name__ == "__main__":
        size = 16 << 30
        resource.setrlimit(resource.RLIMIT_AS, (size, size))
        store = Store.open(sys.argv[1])
        assert store._environment.lmdb.info()["map_size"] < size
        worker = multiprocessing.get_context("spawn").Process(target=grow, args=(sys.argv[1],))
        worker.start()
        worker.join(60)
        assert store.get("new105")["x"][-1] == 105
"""


def test_it_may_also_where_memory_is_limited(store, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(LIMITED))
    paths = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, script, store], check=True, timeout=60, env=paths)


def test_writing_while_the_same_thread_reads_is_an_error_and_no_hang(store):
    names = stored_names(store)
    next(names)
    with pytest.raises(StoreError, match="still being read by this thread"):
        StoreWriter(store)
    assert len(list(names)) == 7
    write_some(store)
    assert "new3" in Store.open(store)


# Names and places --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["", "x" * 512, "ä" * 256, "a\udcff"])
def test_impossible_names_are_refused_before_anything_is_written(name, tmp_path):
    with StoreWriter(tmp_path) as writer:
        writer.put("before", {"x": np.zeros(3)})
        with pytest.raises(StoreError, match="use 1 to 511 bytes"):
            writer.put(name, {"x": np.zeros(3)})
        writer.put("after", {"x": np.zeros(3)})
    store = Store.open(tmp_path)
    assert list(store.names()) == ["after", "before"]
    assert name not in store
    with pytest.raises(MissingPatchError):
        store.get(name)
    assert store.missing_names(["before", name]) == [name]


def test_folders_that_machines_share_are_known(tmp_path):
    mounts = tmp_path / "mountinfo"
    mounts.write_text(
        "22 1 254:0 / / rw - ext4 /dev/vda rw\n"
        "40 22 0:52 / /data rw shared:1 - nfs4 host:/data rw\n"
    )
    assert is_remote(os.makedev(0, 52), mounts)
    assert not is_remote(os.makedev(254, 0), mounts)
    assert not is_remote(os.makedev(9, 9), mounts)
    assert not is_remote(os.makedev(0, 52), tmp_path / "nothing")


def test_a_lock_file_that_cannot_be_used_is_done_without(store):
    close_shared(store)
    (store / "lock.mdb").write_bytes(b"x" * 9000)
    assert patch_id(0) in Store.open(store)


# All patches -------------------------------------------------------------------------------------


def test_missing_patches_are_found_by_name(store):
    data = open_dataset(store, "all_full")
    data.require_stored()
    data.with_bands("s2").require_stored()
    with pytest.raises(MissingPatchError, match=r"lacks 4 of the 12 values .*4 reference map"):
        data.require_stored(masks=True)
    assert data.store.missing_names(["b", s1_name(1), "a", "b"]) == ["b", "a"]


def test_a_store_of_one_sensor_is_refused_for_bands_of_the_other(tmp_path):
    with StoreWriter(tmp_path) as writer:
        for number in range(2):
            writer.put(s1_name(number), {name: band(name, number) for name in ("VV", "VH")})
    write_metadata(tmp_path / METADATA_FILE, [row(0), row(1)])
    with pytest.raises(MissingPatchError, match=r"none of the 2 Sentinel-2 patches .*choose"):
        open_dataset(tmp_path, "s2")
    data = open_dataset(tmp_path, "s1")
    data.require_stored()
    with pytest.raises(MissingPatchError, match=r"lacks 2 of the 2 values .*2 Sentinel-2.*choose"):
        data.with_bands("s2").require_stored()
    with pytest.raises(MissingPatchError, match=r"lacks 2 of the 4 values"):
        data.with_bands("all_full").require_stored()
