import mmap
import re
import sys
from pathlib import Path

import numpy as np
import pytest

from reben.data.storage import mapped
from reben.data.storage.mapped import MappedPages

NUM_BYTES = 8 << 20


@pytest.fixture
def content(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(bytes(range(256)) * (NUM_BYTES // 256))
    with path.open("rb") as file:
        memory = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        yield np.frombuffer(memory, np.uint8)


def resident(content):
    """Kilobytes of the map that count as memory of this process, as the system says."""
    of_map = Path("/proc/self/smaps").read_text("utf-8").split(f"{content.ctypes.data:x}-")[1]
    return int(re.search(r"^Rss: +(\d+) kB", of_map, re.MULTILINE)[1])


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells, and gives pages back")
@pytest.mark.parametrize(("most", "left"), [(0, 0), (1 << 60, NUM_BYTES // 1024)])
def test_pages_are_given_back_once_too_many_are_mapped(content, most, left):
    pages = MappedPages(most)
    total = content.sum(dtype=np.int64)
    assert resident(content) == NUM_BYTES // 1024
    for start in range(0, NUM_BYTES, NUM_BYTES // 64):
        pages.count_value(memoryview(content[start : start + NUM_BYTES // 64]))
    assert resident(content) == left
    assert content.sum(dtype=np.int64) == total


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells, and gives pages back")
def test_unless_told_otherwise_half_of_the_memory_may_be_mapped(content, monkeypatch):
    words = Path("/proc/meminfo").read_text("utf-8").split()
    half = int(words[words.index("MemTotal:") + 1]) * 1024 // 2
    pages, total = MappedPages(), content.sum(dtype=np.int64)
    for mapped_bytes, left in ((half - (1 << 20), NUM_BYTES // 1024), (half + (1 << 20), 0)):
        monkeypatch.setattr(mapped, "_mapped_bytes", lambda number=mapped_bytes: number)
        pages.count(content.ctypes.data, content.ctypes.data + NUM_BYTES - 1, 64)
        assert resident(content) == left
    assert content.sum(dtype=np.int64) == total


def test_where_pages_cannot_be_given_back_they_stay(content, monkeypatch):
    monkeypatch.setattr(mapped, "_madvise", lambda: None)
    pages = MappedPages(0)
    for _ in range(100):
        pages.count_value(memoryview(content))
    assert content[255] == 255
