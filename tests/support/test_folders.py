import errno
import os

import pytest

from reben.errors import OutputError
from reben.support.atomic import atomic_folder


def make(path):
    with atomic_folder(path) as temporary:
        (temporary / "file").write_text("whole")


def test_a_folder_appears_with_all_its_files(tmp_path):
    make(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b" / "file").read_text() == "whole"
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["b"]


def test_an_empty_folder_is_replaced(tmp_path):
    (tmp_path / "a").mkdir()
    make(tmp_path / "a")
    assert (tmp_path / "a" / "file").is_file()


def test_a_relative_path_is_one_too(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make("a")
    assert (tmp_path / "a" / "file").is_file()


@pytest.mark.parametrize("failure", [KeyboardInterrupt, RuntimeError])
def test_nothing_is_left_of_an_interrupted_folder(tmp_path, failure):
    def fail_half_way():
        with atomic_folder(tmp_path / "a") as temporary:
            (temporary / "file").write_text("half")
            raise failure

    with pytest.raises(failure):
        fail_half_way()
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_an_output_error_and_nothing_is_left(tmp_path):
    def fill_the_disk():
        with atomic_folder(tmp_path / "a"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(OutputError, match="No space left"):
        fill_the_disk()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_with_something_in_it_is_left_alone(tmp_path):
    (tmp_path / "mine.txt").write_text("x")
    with pytest.raises(OutputError, match=r"is not empty: it holds mine\.txt"):
        make(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_a_file_in_the_place_is_left_alone(tmp_path):
    (tmp_path / "a").write_text("x")
    with pytest.raises(OutputError, match="is not a folder"):
        make(tmp_path / "a")
    assert (tmp_path / "a").read_text() == "x"


def test_a_place_that_cannot_be_is_an_output_error(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError, match="Choose a folder"):
        make(tmp_path / "file" / "a")


def test_the_folder_has_the_usual_permissions(tmp_path):
    make(tmp_path / "ours")
    (tmp_path / "usual").mkdir()
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "usual").stat().st_mode
