import gzip
import os
import random
import threading

import pytest
import zstandard

from made_up_files import COMPRESS
from reben.data.archives.stream import RawStream, decompress, find_parts, read_ahead
from reben.errors import ArchiveError

CONTENT = random.Random(3).randbytes(200_000) + b"compressible " * 400_000


def read(parts):
    return b"".join(decompress(RawStream(parts), "x"))


def write_parts(folder, content, names):
    size = len(content) // len(names) + 1
    paths = [folder / name for name in names]
    for place, path in enumerate(paths):
        path.write_bytes(content[place * size : (place + 1) * size])
    return paths


@pytest.mark.parametrize("ending", COMPRESS)
def test_every_compression_is_seen_from_the_bytes(ending, tmp_path):
    path = tmp_path / "named-otherwise"
    path.write_bytes(COMPRESS[ending](CONTENT))
    assert read([path]) == CONTENT


@pytest.mark.parametrize("ending", [".tar.gz", ".tar.zst"])
def test_several_compressed_pieces_one_behind_another_are_all_read(ending, tmp_path):
    path = tmp_path / "x"
    pieces = [CONTENT[:1000], b"", CONTENT[1000:300_000], CONTENT[300_000:]]
    path.write_bytes(b"".join(COMPRESS[ending](piece) for piece in pieces))
    assert read([path]) == CONTENT


def test_zeros_behind_a_gzip_are_padding(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(gzip.compress(b"a" * 600) + bytes(2_000_000) + gzip.compress(b"b") + b"\0")
    assert read([path]) == b"a" * 600 + b"b"


def test_a_zstd_with_a_skippable_frame_in_front_is_read(tmp_path):
    path = tmp_path / "x"
    frame = b"\x50\x2a\x4d\x18" + (4).to_bytes(4, "little") + b"skip"
    path.write_bytes(frame + zstandard.compress(CONTENT))
    assert read([path]) == CONTENT


@pytest.mark.parametrize("ending", COMPRESS)
def test_a_pipe_that_brings_a_few_bytes_at_a_time_is_read(ending):
    reading, writing = os.pipe()
    content = COMPRESS[ending](CONTENT[:20_000])

    def write():
        for start in range(0, len(content), 99):
            os.write(writing, content[start : start + 99])
        os.close(writing)

    thread = threading.Thread(target=write)
    thread.start()
    assert read(reading) == CONTENT[:20_000]
    thread.join()
    os.close(reading)


def test_what_was_read_is_counted_as_it_comes(tmp_path):
    parts = write_parts(tmp_path, CONTENT, ["x.taraa", "x.tarab"])
    raw = RawStream(parts)
    assert raw.read(10) == CONTENT[:10]
    assert raw.num_read == 10
    while raw.read():
        pass
    assert raw.num_read == len(CONTENT)


@pytest.mark.parametrize("share", [0.0005, 0.3, 0.999])
def test_a_gzip_that_ends_early_is_an_error(share, tmp_path):
    path = tmp_path / "x"
    content = gzip.compress(CONTENT)
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(ArchiveError, match="x ends too early"):
        read([path])


@pytest.mark.parametrize("ending", [".tar.gz", ".tar.zst"])
def test_damaged_bytes_are_an_error(ending, tmp_path):
    path = tmp_path / "x"
    content = bytearray(COMPRESS[ending](CONTENT))
    content[len(content) // 2 :] = random.Random(1).randbytes(len(content) // 2)
    path.write_bytes(content)
    with pytest.raises(ArchiveError, match="x is damaged"):
        read([path])


@pytest.mark.parametrize(
    ("start", "what"), [(b"\xfd7zXZ\0", "xz"), (b"BZh9", "bzip2"), (b"PK\x03\x04", "zip")]
)
def test_another_compression_is_refused_with_what_to_do(start, what, tmp_path):
    path = tmp_path / "x"
    path.write_bytes(start + bytes(600))
    with pytest.raises(ArchiveError, match=rf"x is a {what} file\. Repack it"):
        read([path])


def test_an_empty_file_is_refused(tmp_path):
    path = tmp_path / "x"
    path.touch()
    with pytest.raises(ArchiveError, match="x is empty"):
        read([path])


def test_an_error_of_the_thread_that_reads_ahead_comes_out():
    def chunks():
        yield b"1"
        raise ArchiveError("broken")

    ahead = read_ahead(chunks())
    assert next(ahead) == b"1"
    with pytest.raises(ArchiveError, match="broken"):
        next(ahead)


def test_the_thread_that_reads_ahead_ends_when_nobody_reads():
    closed = threading.Event()

    def chunks():
        try:
            while True:
                yield b"x"
        finally:
            closed.set()

    ahead = read_ahead(chunks())
    next(ahead)
    ahead.close()
    assert closed.wait(10)


# Parts -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "names",
    [
        ["S2.tar.gzaa", "S2.tar.gzab", "S2.tar.gzac"],
        ["S2.tar.zst.aa", "S2.tar.zst.ab"],
        ["S2.tar.000", "S2.tar.001", "S2.tar.002"],
        ["S2.tgzaa", "S2.tgzab"],
    ],
)
def test_parts_are_found_by_the_first_one_and_by_what_they_start_with(names, tmp_path):
    paths = write_parts(tmp_path, CONTENT, names)
    write_parts(tmp_path, CONTENT, ["S1.tar.gzaa", "S2.txt", "XS2.tar.gzaa"])
    assert find_parts(paths[0]) == tuple(paths)
    assert find_parts(tmp_path / names[0].rstrip("a0").rstrip(".")) == tuple(paths)


def test_parts_are_read_as_one_archive(tmp_path):
    paths = write_parts(tmp_path, COMPRESS[".tar.gz"](CONTENT), ["x.tar.gzaa", "x.tar.gzab"])
    assert read(find_parts(paths[0])) == CONTENT


def test_the_part_after_az_is_ba(tmp_path):
    names = [f"x.tar{a}{b}" for a in "ab" for b in "abcdefghijklmnopqrstuvwxyz"][:30]
    assert find_parts(write_parts(tmp_path, CONTENT, names)[0])[26].name == "x.tarba"


def test_a_missing_part_is_named(tmp_path):
    paths = write_parts(tmp_path, CONTENT, ["x.tar.gzaa", "x.tar.gzab", "x.tar.gzac"])
    paths[1].unlink()
    with pytest.raises(
        ArchiveError, match=r"part x\.tar\.gzab is missing, but x\.tar\.gzac is there"
    ):
        find_parts(paths[0])


def test_a_missing_first_part_is_noticed(tmp_path):
    paths = write_parts(tmp_path, CONTENT, ["x.tar.gzaa", "x.tar.gzab"])
    paths[0].unlink()
    with pytest.raises(ArchiveError, match=r"part x\.tar\.gzaa is missing"):
        find_parts(tmp_path / "x.tar.gz")


def test_a_later_part_is_refused_as_the_first(tmp_path):
    paths = write_parts(tmp_path, CONTENT, ["x.tar.gzaa", "x.tar.gzab"])
    with pytest.raises(ArchiveError, match=r"x\.tar\.gzab is not the first part.*x\.tar\.gzaa is"):
        find_parts(paths[1])


@pytest.mark.parametrize("name", ["x.tar.zst", "x.tar.gz", "x.tar", "x.tgz", "x"])
def test_a_whole_archive_is_its_only_part(name, tmp_path):
    path = tmp_path / name
    path.write_bytes(b"x")
    assert find_parts(path) == (path,)


def test_what_is_not_there_is_refused_with_what_can_be(tmp_path):
    with pytest.raises(ArchiveError, match=r"no folder and no archive .*nothing\.tar"):
        find_parts(tmp_path / "nothing.tar")


def test_a_stream_that_grows_without_end_is_stopped(tmp_path):
    (tmp_path / "a.tar.zst").write_bytes(zstandard.ZstdCompressor(1).compress(bytes(1 << 26)))
    with pytest.raises(ArchiveError, match=r"a\.tar\.zst grows from \d+ bytes to more than"):
        for _ in decompress(RawStream([tmp_path / "a.tar.zst"]), "a.tar.zst", 1 << 25):
            pass
