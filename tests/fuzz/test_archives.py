"""Damaged archives give their members or an ArchiveError."""

import gzip
import io
import tarfile

import numpy as np
import pytest
import zstandard

from fuzzing import NUM_CASES, damage, randoms, try_cases
from reben.data.archives.stream import RawStream, decompress
from reben.data.archives.tar import read_members

LONG = "BigEarthNet-S2/" + "S2A_" * 40 + "/B02.tif"
PACK = {
    "tar": lambda content: content,
    "gzip": lambda content: gzip.compress(content, 1, mtime=0),
    "zstd": zstandard.ZstdCompressor(1).compress,
}


def tar(tar_format):
    written = io.BytesIO()
    random = np.random.default_rng(1)
    with tarfile.open(fileobj=written, mode="w", format=tar_format) as archive:
        for name in ("a/é.tif", LONG, "b/B03.tif"):
            content = random.bytes(700)
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            if tar_format == tarfile.PAX_FORMAT:
                entry.pax_headers = {"mtime": "1.5", "size": str(len(content))}
            archive.addfile(entry, io.BytesIO(content))
    return written.getvalue()


def with_a_right_sum(content, random):
    """Damage the header of a member, and make its check sum right again."""
    content = bytearray(content)
    start = 512 * int(random.integers(len(content) // 512))
    header = content[start : start + 512]
    header[:] = damage(header, random)[:512].ljust(512, b"\0")
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    content[start : start + 512] = header
    return bytes(content)


@pytest.mark.parametrize("tar_format", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
def test_tars(tar_format):
    content = tar(tar_format)

    def cases():
        for random in randoms():
            case = with_a_right_sum(content, random) if random.random() < 0.7 else content
            yield damage(case, random) if case == content or random.random() < 0.3 else case

    def read(case):
        for member in read_members(iter([case[:1000], case[1000:]]), "a.tar", lambda *_: True):
            assert len(member.content) <= len(case)

    assert try_cases(read, cases())


@pytest.mark.parametrize("kind", PACK)
def test_streams(kind, tmp_path):
    content, path = PACK[kind](tar(tarfile.PAX_FORMAT)), tmp_path / "a"

    def read(case):
        path.write_bytes(case)
        chunks = decompress(RawStream([path]), "a")
        for _ in read_members(chunks, "a", lambda *_: True):
            pass

    cases = (damage(content, random) for random in randoms(NUM_CASES))
    try_cases(read, cases)
