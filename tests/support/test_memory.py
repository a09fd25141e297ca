"""Freed memory that stays: counted by the pages that the system has to clear."""

import os
import subprocess
import sys

import pytest

_COUNT = """
import resource
from reben.support.memory import keep_freed_memory
{call}
def work():
    for _ in range(50):
        bytearray(4_000_000)
work()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
work()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(call):
    done = subprocess.run(
        [sys.executable, "-c", _COUNT.format(call=call)],
        env=os.environ | {"MALLOC_TRIM_THRESHOLD_": "65536"},  # as Dask's workers are started
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    return int(done.stdout)


@pytest.mark.skipif(
    not hasattr(os, "confstr") or "glibc" not in (os.confstr("CS_GNU_LIBC_VERSION") or ""),
    reason="settings of glibc",
)
def test_freed_blocks_are_used_again_where_the_system_would_have_to_clear_them_anew():
    assert faults("") > 1000
    assert faults("keep_freed_memory()") < 100
