import errno
import json
import os

import pytest

from reben.errors import OutputError
from reben.support.atomic import atomic_file, write_bytes, write_text, writing


def test_a_file_is_written_with_missing_folders(tmp_path):
    write_text(tmp_path / "a" / "b.txt", "Übersee")
    assert (tmp_path / "a" / "b.txt").read_text(encoding="utf-8") == "Übersee"


def test_nothing_is_left_behind(tmp_path):
    write_bytes(tmp_path / "a", b"1")
    write_bytes(tmp_path / "a", b"2")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_failed_write_keeps_what_was_there(tmp_path):
    write_text(tmp_path / "a", "old")
    with pytest.raises(TypeError), atomic_file(tmp_path / "a") as temporary:
        temporary.write_text(3)
    assert (tmp_path / "a").read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 1


def test_a_full_disk_is_said_with_what_is_free(tmp_path):
    write_text(tmp_path / "a", "old")
    full = pytest.raises(OutputError, match=r"No space left.*MB are free.*unchanged")
    with full, atomic_file(tmp_path / "a"):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert (tmp_path / "a").read_text() == "old"


def test_a_folder_that_cannot_be_is_an_output_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="Choose a folder"):
        write_text(tmp_path / "file" / "a", "x")


def test_the_file_has_the_usual_permissions(tmp_path):
    write_text(tmp_path / "ours", "x")
    (tmp_path / "usual").write_text("x")
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "usual").stat().st_mode


@pytest.mark.parametrize("name", ["x" * 255, "é" * 127, os.fsdecode(b"\xff" * 255)], ids=ascii)
def test_any_name_that_a_file_may_have_is_written(tmp_path, name):
    write_text(tmp_path / name, "x")
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("x" * 256, "File name too long. Choose a shorter name"),
        ("a\0b", "null byte. Choose another name"),
        ("folder", "Is a directory. Name a file"),
    ],
    ids=["long", "zero", "folder"],
)
def test_a_name_that_cannot_be_is_refused_before_the_work(tmp_path, name, said):
    (tmp_path / "folder").mkdir()
    with pytest.raises(OutputError, match=said), atomic_file(tmp_path / name):
        pytest.fail("this is too late")
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_bytes_of_file_names_that_are_no_text_can_be_written(tmp_path):
    name = os.fsdecode(b"\xffa")
    write_text(tmp_path / "a.json", json.dumps({"file": name}, ensure_ascii=False))
    assert json.loads((tmp_path / "a.json").read_text()) == {"file": name}


def test_what_another_library_says_of_a_full_disk_counts(tmp_path):
    with (
        pytest.raises(OutputError, match=r"MB are free.*unchanged"),
        writing(tmp_path / "a", LookupError),
    ):
        raise LookupError(f"write failed ({os.strerror(errno.ENOSPC)})")
