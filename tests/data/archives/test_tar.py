import io
import random
import tarfile
import time
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from made_up_files import archive_of, tar_of
from reben.data.archives.tar import read_members
from reben.errors import ArchiveError

FORMATS = {"ustar": tarfile.USTAR_FORMAT, "gnu": tarfile.GNU_FORMAT, "pax": tarfile.PAX_FORMAT}
LONG = "BigEarthNet-S2/" + "S2A_MSIL2A_" * 12 + "/patch_B02.tif"
FILES = [("a/b/c.tif", b"first"), ("a/b/empty", b""), ("block", b"x" * 512), ("last", b"y" * 1300)]


def chunked(content, size):
    return (content[start : start + size] for start in range(0, len(content), size))


def members_of(content, wants=lambda name, size: True, size=1 << 20):
    return [tuple(member) for member in read_members(chunked(content, size), "x.tar", wants)]


def oracle(content):
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        return [(m.name, archive.extractfile(m).read()) for m in archive if m.isfile()]


def with_member(kind, name="bad", link="/etc/passwd"):
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w") as archive:
        entry = tarfile.TarInfo(name)
        entry.type, entry.linkname = kind, link
        archive.addfile(entry)
    return tar_of(FILES) + written.getvalue()


@pytest.mark.parametrize("tar_format", FORMATS.values(), ids=FORMATS)
@pytest.mark.parametrize("size", [1, 7, 512, 1000, 1 << 20])
def test_members_are_those_that_the_standard_library_reads(tar_format, size):
    content = tar_of(FILES, tar_format)
    assert members_of(content, size=size) == oracle(content) == FILES


@pytest.mark.parametrize("tar_format", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT], ids=["gnu", "pax"])
def test_long_names_are_read_whole(tar_format):
    content = tar_of([(LONG, b"1"), ("short", b"2"), (LONG + "ä", b"3")], tar_format)
    assert members_of(content) == oracle(content)
    assert [name for name, _ in members_of(content)] == [LONG, "short", LONG + "ä"]


def test_a_ustar_name_is_joined_from_its_two_fields():
    name = "d" * 90 + "/" + "f" * 60
    assert members_of(tar_of([(name, b"1")], tarfile.USTAR_FORMAT)) == [(name, b"1")]


@given(
    st.lists(
        st.tuples(
            st.text("abcäß/_.-", min_size=1, max_size=200).filter(
                lambda name: not {"..", ".", ""} & set(name.split("/"))
            ),
            st.binary(max_size=2000),
        ),
        max_size=6,
    ),
    st.sampled_from([tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]),
    st.integers(1, 3000),
)
def test_whatever_the_standard_library_writes_is_read(files, tar_format, size):
    content = tar_of(files, tar_format)
    assert members_of(content, size=size) == files


def test_what_is_not_wanted_is_passed_over():
    content = tar_of(FILES)
    asked = []

    def wants(name, size):
        asked.append((name, size))
        return name == "block"

    assert members_of(content, wants, size=100) == [("block", b"x" * 512)]
    assert asked == [(name, len(file)) for name, file in FILES]


def test_archives_one_behind_another_are_read_as_one():
    assert members_of(tar_of(FILES) + tar_of([("more", b"1")])) == [*FILES, ("more", b"1")]


@pytest.mark.parametrize(
    ("kind", "what"),
    [
        (tarfile.SYMTYPE, "a symbolic link"),
        (tarfile.LNKTYPE, "a hard link"),
        (tarfile.CHRTYPE, "a device"),
        (tarfile.BLKTYPE, "a device"),
        (tarfile.FIFOTYPE, "a pipe"),
    ],
)
def test_links_and_devices_are_refused_by_name(kind, what):
    with pytest.raises(ArchiveError, match=rf"x\.tar holds 'bad', which is {what}"):
        members_of(with_member(kind))


@pytest.mark.parametrize(
    "name", ["/etc/x.tif", "../x.tif", "a/../../x.tif", "a/..", "C:/x.tif", "..\\x.tif", "a\\b"]
)
@pytest.mark.parametrize("tar_format", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT], ids=["gnu", "pax"])
def test_a_name_that_leads_out_is_refused_by_name(name, tar_format):
    content = tar_of([("fine", b"")]) + tar_of([(name, b"x")], tar_format, folders=False)
    with pytest.raises(ArchiveError, match="leads out of the archive's folder") as caught:
        members_of(content)
    assert repr(name) in str(caught.value)


def test_a_long_name_that_leads_out_is_refused():
    with pytest.raises(ArchiveError, match="leads out"):
        members_of(tar_of([("a/" * 80 + "../" * 90 + "x", b"x")]))


def test_members_before_a_refused_one_are_read():
    reader = read_members(chunked(with_member(tarfile.SYMTYPE), 99), "x", lambda *_: True)
    assert [tuple(next(reader)) for _ in FILES] == FILES
    with pytest.raises(ArchiveError):
        next(reader)


def test_an_archive_that_ends_early_is_an_error_wherever_it_ends():
    content = archive_of("s1", [1])
    end = len(content.rstrip(b"\0"))
    cuts = random.Random(5).sample(range(end), 200)
    for cut in [*cuts, 0, 1, 511, 512, 513]:
        with pytest.raises(ArchiveError, match=r"ends too early"):
            members_of(content[:cut])


@pytest.mark.parametrize("content", [b"hello" * 1000, bytes(range(256)) * 40])
def test_what_is_no_archive_is_refused(content):
    with pytest.raises(
        ArchiveError, match=r"x\.tar cannot be read as a tar archive: it does not start"
    ):
        members_of(content)


def test_something_behind_the_end_is_refused():
    with pytest.raises(ArchiveError, match="cannot be read as a tar archive"):
        members_of(tar_of(FILES) + b"rubbish" * 100)


@given(st.integers(0, 511), st.integers(0, 255))
def test_a_header_with_one_byte_changed_is_read_the_same_or_refused(position, value):
    content = bytearray(tar_of([("name.tif", b"content")]))
    content[position] = value
    try:
        found = members_of(bytes(content))
    except ArchiveError:
        return
    # The checksum field itself may be written in several ways.
    assert found == [("name.tif", b"content")]


@given(st.binary(max_size=3000))
def test_any_bytes_are_read_or_an_error_of_ours(content):
    with suppress(ArchiveError):
        members_of(tar_of([("a", b"1")])[:1024] + content)


def test_a_size_in_base_256_is_read():
    content = bytearray(tar_of([("name", b"content")]))
    content[124:136] = b"\x80" + (7).to_bytes(11, "big")
    content[148:156] = b" " * 8
    content[148:156] = b"%06o\0 " % sum(content[:512])
    assert members_of(bytes(content)) == [("name", b"content")]


def test_a_huge_description_is_refused_without_reading_it():
    content = bytearray(tar_of([(LONG, b"1")]))
    content[124:136] = b"%011o\0" % (1 << 33)
    content[148:156] = b" " * 8
    content[148:156] = b"%06o\0 " % sum(content[:512])
    with pytest.raises(ArchiveError):
        members_of(bytes(content))


@pytest.mark.parametrize("key", ["size", "path"])
def test_numbers_of_thousands_of_digits_are_refused(key):
    record = b"9" * 5000 + f" {key}=".encode() + b"9" * 5000 + b"\n"
    entry = tarfile.TarInfo("x")
    entry.type, entry.size = tarfile.XHDTYPE, len(record)
    content = entry.tobuf() + record.ljust(-(-len(record) // 512) * 512, b"\0")
    with pytest.raises(ArchiveError, match=r"a\.tar .*description of a member cannot be read"):
        list(read_members(iter([content]), "a.tar", lambda *_: True))


def test_a_size_of_thousands_of_digits_is_refused():
    value = b" size=" + b"9" * 5000 + b"\n"
    record = b"%d" % (len(value) + 4) + value
    entry = tarfile.TarInfo("x")
    entry.type, entry.size = tarfile.XHDTYPE, len(record)
    content = entry.tobuf() + record.ljust(-(-len(record) // 512) * 512, b"\0")
    with pytest.raises(ArchiveError, match=r"a\.tar .*a member has size 9999"):
        list(read_members(iter([content]), "a.tar", lambda *_: True))


def test_zeros_without_end_are_refused():
    zeros = iter([bytes(1 << 20)] * 1000)
    with pytest.raises(ArchiveError, match="zeros follow"):
        list(read_members(zeros, "a.tar", lambda *_: True))
    assert len(list(zeros)) > 900


def test_a_name_that_no_file_has_is_not_repeated_in_the_message():
    entry = tarfile.TarInfo("x" * 100_000)
    content = entry.tobuf(tarfile.GNU_FORMAT) + bytes(1024)
    with pytest.raises(ArchiveError, match="name of 100000 characters") as caught:
        list(read_members(iter([content]), "a.tar", lambda *_: True))
    assert len(str(caught.value)) < 300


def test_a_description_of_many_records_is_read_in_a_moment():
    record = b"6 a=b\n" * 150_000
    entry = tarfile.TarInfo("x")
    entry.type, entry.size = tarfile.XHDTYPE, len(record)
    padded = record.ljust(-(-len(record) // 512) * 512, b"\0")
    content = entry.tobuf() + padded + tarfile.TarInfo("x").tobuf() + bytes(1024)
    started = time.process_time()
    assert len(list(read_members(iter([content]), "a.tar", lambda *_: True))) == 1
    assert time.process_time() - started < 5
