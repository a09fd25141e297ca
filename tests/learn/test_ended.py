"""Trainings that are ended from outside, as real processes: by signals, alone and with several."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress

import pytest

from made_up import write_store

pytestmark = pytest.mark.slow

WORDS = [
    *("--backbone", "test_vit3", "--bands", "rgb", "--accelerator", "cpu", "--epochs", "400"),
    *("--patience", "400", "--batch-size", "6"),
]


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ended") / "store"
    return str(write_store(folder, num_train=13, num_validation=7, num_test=3))


def begin(store, out, *more):
    """Start a training, and return it once it has written a checkpoint."""
    process = subprocess.Popen(
        [sys.executable, "-m", "reben", "train", "--data", store, "--out", str(out), *WORDS, *more],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    until = time.monotonic() + 240
    while not (out / "checkpoints" / "last.ckpt").is_file():
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < until
        time.sleep(0.05)
    return process


@pytest.mark.parametrize("devices", ["1", "2"])
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGUSR1, 138)])
def test_a_signal_to_the_first_process_is_an_interruption_of_all(
    store, tmp_path, devices, number, code
):
    out = tmp_path / "run"
    process = begin(store, out, "--devices", devices)

    process.send_signal(number)

    said = process.communicate(timeout=120)[1]
    assert process.returncode == code, said
    assert f"To resume: reben train --resume {out}" in said
    assert said.count("Interrupted by") == 2  # at once, and at the end
    summary = json.loads((out / "summary.json").read_text())
    assert summary["status"] == "interrupted"
    assert summary["epochs_run"] >= 1
    assert "Traceback" not in said


def test_a_terminal_that_is_closed_leaves_a_checkpoint(store, tmp_path):
    out = tmp_path / "run"
    ours, theirs = os.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "reben", "train", "--data", store, "--out", str(out), *WORDS],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "TERM": "xterm"},
    )
    os.close(theirs)
    os.set_blocking(ours, False)
    until = time.monotonic() + 240
    while not (out / "checkpoints" / "last.ckpt").is_file():
        assert time.monotonic() < until
        time.sleep(0.05)
        with suppress(BlockingIOError):
            os.read(ours, 65536)
    os.close(ours)
    process.send_signal(signal.SIGHUP)

    assert process.wait(timeout=120) == 129
    assert json.loads((out / "summary.json").read_text())["status"] == "interrupted"
