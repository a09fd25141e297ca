"""Encoding is killed at random moments, again and again, and what it leaves is always good."""

import json
import random
import signal
import subprocess
import sys
import textwrap
import time

import pytest

from made_up_files import KINDS, ROOTS, write_archives, write_tree
from reben.data.encode import LOCK_FILE, encode
from reben.data.inspection import verify_store
from reben.data.storage.environment import open_lmdb, stored_names
from reben.data.storage.record import RECORD_FILE, StoreRecord
from reben.data.storage.writer import boot_id
from reben.data.store import Store

NUM_PAIRS = 100
SCRIPT = """
    import json
    import sys
    import reben
    if __name__ == "__main__":
        reben.encode(sys.argv[1], **json.loads(sys.argv[2]), workers=int(sys.argv[3]))
"""


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return write_tree(tmp_path_factory.mktemp("tree"), range(NUM_PAIRS))


@pytest.fixture(scope="module")
def archives(tmp_path_factory):
    return write_archives(tmp_path_factory.mktemp("archives"), range(NUM_PAIRS), ".tar.zst")


@pytest.fixture(scope="module")
def undisturbed(folders, tmp_path_factory):
    store = tmp_path_factory.mktemp("undisturbed")
    encode(store, **folders, workers=1)
    return read_values(store)


def read_values(folder):
    environment = open_lmdb(folder, readonly=True)
    with environment.begin() as transaction:
        values = {key.decode(): bytes(value) for key, value in transaction.cursor()}
    environment.close()
    return values


def start(script, store, inputs, num_workers):
    arguments = json.dumps({which: str(path) for which, path in inputs.items()})
    command = [sys.executable, script, store, arguments, str(num_workers)]
    return subprocess.Popen(command, stderr=subprocess.PIPE)


def kill_while_writing(process, store, generator, *, seconds=60):
    """Kill the process some moments after its first value appears; tell whether it still ran."""
    deadline = time.monotonic() + seconds
    before = size_of(store)
    while size_of(store) == before and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.002)
    time.sleep(generator.uniform(0, 0.12))
    still_ran = process.poll() is None
    process.send_signal(signal.SIGKILL)
    # The workers hold the other end of stderr, so this waits until they have noticed.
    process.communicate(timeout=20)
    return still_ran


def size_of(store):
    """Return the blocks that the values take; 0 before the encoding has begun, record and all."""
    if not (store / RECORD_FILE).exists():
        return 0
    return (store / "data.mdb").stat().st_blocks


@pytest.mark.parametrize(
    ("form", "num_workers", "num_kills"),
    [
        ("folders", 2, 3),
        pytest.param("folders", 2, 20, marks=pytest.mark.slow),
        pytest.param("archives", 1, 10, marks=pytest.mark.slow),
        pytest.param("archives", 2, 10, marks=pytest.mark.slow),
    ],
)
def test_a_killed_encoding_leaves_a_valid_store_that_the_same_command_finishes(
    form, num_workers, num_kills, undisturbed, request, tmp_path
):
    inputs = request.getfixturevalue(form)
    script, store = tmp_path / "script.py", tmp_path / "store"
    script.write_text(textwrap.dedent(SCRIPT))
    generator = random.Random(f"{form} {num_workers}")
    num_killed, num_there = 0, []
    kinds = {KINDS[which] for which in inputs}
    for _ in range(num_kills):
        num_killed += kill_while_writing(
            start(script, store, inputs, num_workers), store, generator
        )
        names = list(stored_names(store))
        assert names == sorted(names)
        found = read_values(store)
        assert found.items() <= undisturbed.items()
        num_there.append(len(found))
        record = StoreRecord.read(store)
        # The guard against power cuts stays on until everything is on disk.
        assert record.finished or record.written_since_boot == boot_id()
        assert {source.kind for source in record.sources} == kinds
    assert num_killed
    assert num_there == sorted(num_there)
    last = start(script, store, inputs, num_workers)
    assert (last.wait(timeout=120), last.stderr.read()) == (0, b"")
    last.stderr.close()
    assert read_values(store) == undisturbed
    assert len(Store.open(store)) == len(ROOTS) * NUM_PAIRS
    assert verify_store(store).num_problems == 0
    record = StoreRecord.read(store)
    assert (record.finished, record.written_since_boot) == (True, "")
    assert record.values == dict.fromkeys(sorted(kinds), NUM_PAIRS)
    assert not (store / LOCK_FILE).exists()
