"""Cores are those that this process may use."""

import os
import time
from pathlib import Path

import pytest

from reben.support.processes import _quota, run_tasks, usable_cores


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="only Linux binds processes")
def test_cores_are_those_that_the_process_is_bound_to():
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(before)})
        assert usable_cores() == 1
    finally:
        os.sched_setaffinity(0, before)


@pytest.mark.parametrize(
    ("new", "old", "period", "cores"),
    [
        (["150000", "100000"], [], [], 1.5),
        (["max", "100000"], [], [], None),
        ([], ["200000"], ["100000"], 2.0),
        ([], ["-1"], ["100000"], None),
        ([], [], [], None),
    ],
)
def test_the_quota_of_a_container_is_read_from_either_version(new, old, period, cores):
    assert _quota(new, old, period) == cores


def test_eager_processes_are_there_before_the_first_task_is_taken(tmp_path):
    started = tmp_path / "started"

    def tasks():
        deadline = time.monotonic() + 20
        while not started.exists() and time.monotonic() < deadline:
            time.sleep(0.001)
        assert started.exists()
        yield 2

    answers = run_tasks(
        range, tasks(), num_processes=1, is_eager=True, initializer=Path.touch, initargs=(started,)
    )
    assert [answer.value for answer in answers] == [0, 1]
