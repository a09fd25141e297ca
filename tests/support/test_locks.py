import errno
import os
import subprocess
import sys

import pytest

from reben.errors import OutputError, RunError
from reben.support.locks import lock_file, locked

HOLD = """
import sys
from pathlib import Path
from reben.errors import OutputError, RunError
from reben.support.locks import locked
with locked(Path(sys.argv[1]), lambda: RunError("taken")):
    print("held", flush=True)
    sys.stdin.read()
"""


def refused():
    return RunError("taken")


def test_a_second_holder_is_refused_until_the_first_one_ends_however(tmp_path):
    file = tmp_path / "log"
    file.write_text("kept")
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(file)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout.readline() == b"held\n"
    with pytest.raises(RunError, match="taken"), locked(file, refused):
        pass

    process.kill()
    process.communicate()

    with locked(file, refused):
        assert file.read_text() == "kept"


def test_the_same_process_is_refused_too_and_may_take_it_afterwards(tmp_path):
    file = tmp_path / "log"
    with locked(file, refused), pytest.raises(RunError), locked(file, refused):
        pass
    with locked(tmp_path / "log", refused):
        pass


def test_a_file_system_without_locks_is_said(tmp_path, monkeypatch, caplog):
    def fail(*_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr("fcntl.flock", fail)
    with locked(tmp_path / "log", refused):
        pass
    assert "knows no locks" in caplog.text


def test_a_lock_file_tells_who_holds_it_and_is_gone_at_the_end(tmp_path):
    path = tmp_path / ".lock"
    path.write_text("left by a process that was killed")
    with lock_file(path, RunError):
        with pytest.raises(RunError, match=f"process {os.getpid()} on "), lock_file(path, RunError):
            pass
        assert path.exists()
    assert not path.exists()
    with lock_file(path, RunError):
        assert path.exists()


def test_a_lock_file_that_was_replaced_meanwhile_is_refused(tmp_path, monkeypatch):
    path, other = tmp_path / ".lock", tmp_path / "other"
    other.touch()
    monkeypatch.setattr("fcntl.flock", lambda *_: other.replace(path))
    with pytest.raises(RunError, match="just ending"), lock_file(path, RunError):
        pass


def test_a_pipe_in_the_place_of_the_file_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "log")
    with pytest.raises(OutputError), locked(tmp_path / "log", refused):
        pass
