import errno
import os
import time

import pytest

from reben.data.storage import writer as flush
from reben.data.storage.writer import boot_id, flushing
from reben.errors import OutputError


def test_leaving_waits_for_the_disk_and_says_how_long(tmp_path, monkeypatch):
    synced = []

    def sync(descriptor):
        synced.append(os.fstat(descriptor).st_size)
        time.sleep(0.01)

    monkeypatch.setattr(flush, "_sync", sync)
    path = tmp_path / "file"
    path.write_bytes(b"1")
    with flushing(path) as flushed:
        path.write_bytes(b"123")
    assert synced == [3]
    assert flushed.seconds >= 0.01


def test_the_file_is_flushed_while_others_write(tmp_path, monkeypatch):
    synced = []
    monkeypatch.setattr(flush, "_sync", synced.append)
    monkeypatch.setattr(flush, "_SECONDS", 0.001)
    path = tmp_path / "file"
    path.touch()
    with flushing(path):
        deadline = time.monotonic() + 20
        while len(synced) < 3 and time.monotonic() < deadline:
            time.sleep(0.001)
    assert len(synced) > 3


@pytest.mark.parametrize("seconds", [0.001, 100])
def test_a_disk_that_refuses_is_an_output_error(seconds, tmp_path, monkeypatch):
    def refuse(descriptor):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(flush, "_sync", refuse)
    monkeypatch.setattr(flush, "_SECONDS", seconds)
    path = tmp_path / "file"
    path.touch()
    with (
        pytest.raises(OutputError, match=r"Cannot write .*file: Input/output error"),
        flushing(path),
    ):
        time.sleep(0.05)


def test_the_start_of_the_machine_stays_the_same():
    assert boot_id() == boot_id()
