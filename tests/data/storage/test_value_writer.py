import multiprocessing

import pytest

from made_up_files import write_many
from reben.data.storage.environment import open_lmdb, stored_names
from reben.data.storage.writer import StoredValues, ValueWriter
from reben.data.store import Store
from reben.errors import OutputError, StoreError


def test_values_are_there_after_the_commit_and_not_before(tmp_path):
    with ValueWriter(tmp_path) as writer:
        writer.add("b", b"2")
        writer.add("a", b"1")
        assert writer.get("a") is None
        assert writer.commit() == StoredValues(2, 2, (), ())
        assert writer.get("a") == b"1"
        assert writer.pending_bytes == 0
    assert list(stored_names(tmp_path)) == ["a", "b"]


def test_what_was_not_committed_is_dropped(tmp_path):
    with ValueWriter(tmp_path) as writer:
        writer.add("a", b"1")
    assert list(stored_names(tmp_path)) == []


def test_a_name_that_is_taken_is_told_apart_by_its_value(tmp_path):
    with ValueWriter(tmp_path) as writer:
        for name, value in {"a": b"1", "b": b"2"}.items():
            writer.add(name, value)
        writer.commit()
        for name, value in (("a", b"1"), ("b", b"x"), ("c", b"3"), ("c", b"3"), ("c", b"y")):
            writer.add(name, value)
        assert writer.commit() == StoredValues(1, 1, ("a", "c"), ("b", "c"))
        assert [writer.get(name) for name in "abc"] == [b"1", b"2", b"3"]


def test_the_map_grows_while_several_processes_write(tmp_path):
    context = multiprocessing.get_context("spawn")
    workers = [
        context.Process(target=write_many, args=(str(tmp_path), letter, 300)) for letter in "ab"
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0, 0]
    assert len(Store.open(tmp_path)) == 600
    # 30 MB in steps of 1 MB or an eighth: the map grew, and no further than it had to.
    environment = open_lmdb(tmp_path, readonly=True)
    assert environment.info()["map_size"] < 50e6
    environment.close()


def test_a_folder_that_cannot_be_made_is_an_output_error(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError):
        ValueWriter(tmp_path / "file" / "store")


def test_a_file_that_is_no_store_is_refused(tmp_path):
    (tmp_path / "data.mdb").write_bytes(b"not a database" * 1000)
    with pytest.raises(StoreError, match="is not a store"):
        ValueWriter(tmp_path)
