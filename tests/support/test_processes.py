"""Cores are those that this process may use."""

import os

import pytest

from reben.support.processes import _quota, usable_cores


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
