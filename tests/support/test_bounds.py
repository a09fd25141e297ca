"""Only ordinary files of a bounded size are read."""

import os

import pytest

from reben.support.bounds import check_file, read_file, read_start


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(bytes(range(200)) * 1000)
    return path


def test_a_file_is_read_as_a_whole_or_in_part(file):
    assert read_file(file, 200_000) == file.read_bytes()
    assert read_file(str(file), 1 << 40) == file.read_bytes()
    assert read_start(file, 300) == file.read_bytes()[:300]
    assert read_start(file, 1 << 20) == file.read_bytes()
    check_file(file, 200_000)


def test_a_larger_file_is_refused_with_both_sizes(file):
    for read in (read_file, check_file):
        with pytest.raises(OSError, match=r"it has 0.2 MiB, and at most 0.125 MiB are read"):
            read(file, 1 << 17)


@pytest.mark.parametrize("read", [read_file, read_start, check_file])
def test_pipes_devices_and_folders_are_refused_at_once(tmp_path, read):
    os.mkfifo(tmp_path / "pipe")
    for path, kind in (
        (tmp_path / "pipe", "pipe"),
        ("/dev/zero", "device"),
        (tmp_path, "folder"),
    ):
        with pytest.raises(OSError, match=f"it is a {kind}, not a file"):
            read(path, 100)


@pytest.mark.parametrize("read", [read_file, read_start, check_file])
def test_a_name_that_no_file_has_is_an_os_error(tmp_path, read):
    with pytest.raises(OSError, match="no file can have this name"):
        read(f"{tmp_path}/a\0b", 100)
    with pytest.raises(OSError, match="too long"):
        read(tmp_path / ("x" * 256), 100)
    with pytest.raises(FileNotFoundError):
        read(tmp_path / os.fsdecode(b"\xff"), 100)
