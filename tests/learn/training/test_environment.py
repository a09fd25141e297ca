import json
import platform
import shutil
import subprocess
from importlib.metadata import version
from pathlib import Path

import pytest
import torch

from reben.learn.training.environment import PACKAGES, describe_environment, git_state

GIT = shutil.which("git")
needs_git = pytest.mark.skipif(GIT is None, reason="there is no git on this machine")


def git(folder, *words):
    identity = ("-c", "user.name=a", "-c", "user.email=a@example.org")
    done = subprocess.run(
        [GIT, "-C", str(folder), *identity, *words], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


@pytest.fixture
def repository(tmp_path):
    (tmp_path / "inside").mkdir()
    (tmp_path / "inside" / "code.py").write_text("a = 1\n")
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-q", "-m", "one")
    return tmp_path


def test_the_versions_are_those_that_are_installed():
    environment = describe_environment(torch.device("cpu"))

    assert environment["python"] == platform.python_version()
    assert environment["packages"] == {name: version(name) for name in PACKAGES}
    assert environment["device"]["type"] == "cpu"


def test_neither_machine_nor_user_is_told():
    text = json.dumps(describe_environment(torch.device("cpu")))

    assert str(Path.home()) not in text
    assert str(Path.cwd()) not in text


@needs_git
def test_the_commit_of_tracked_files_is_told(repository):
    expected = {"commit": git(repository, "rev-parse", "HEAD"), "changed": False}

    assert git_state(repository / "inside") == expected


@needs_git
def test_changes_since_the_commit_are_told(repository):
    (repository / "inside" / "code.py").write_text("a = 2\n")

    assert git_state(repository / "inside")["changed"] is True


@needs_git
def test_files_that_git_does_not_track_have_no_commit(repository):
    (repository / "installed").mkdir()
    (repository / "installed" / "code.py").write_text("")

    assert git_state(repository / "installed") is None


def test_a_folder_outside_of_git_has_no_commit(tmp_path):
    assert git_state(tmp_path) is None


def test_without_git_there_is_no_commit(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)

    assert git_state(tmp_path) is None
