import io
import logging
import os
import subprocess
import sys
import textwrap
import time

import httpx
import numpy as np
import pytest

from flaky_server import Record, serve
from reben.data.download import VERIFIED_FILE, download, stream
from reben.data.downloading.session import Patience, Session, asked_pause
from reben.errors import ChecksumError, ConfigError, DownloadError, OutputError
from reben.support.locks import lock_file

AT_ONCE = Patience(tries=4, seconds=0.0)
FILES = {
    "BigEarthNet-S1.tar.zst": np.random.default_rng(1).bytes(3_000_001),
    "BigEarthNet-S2.tar.zst": np.random.default_rng(2).bytes(2_500_000),
    "Reference_Maps.tar.zst": b"maps" * 1000,
    "metadata.parquet": b"table",
    "metadata_for_patches_with_snow_cloud_or_shadow.parquet": b"snow",
}


@pytest.fixture
def record():
    with serve(Record(FILES)) as running:
        yield running


def fetch(record, folder, **options):
    options = {"patience": AT_ONCE, **options}
    return download(folder, record_url=f"{record.url}/record", **options)


def test_all_files_of_the_record_come_as_they_are(record, tmp_path):
    paths = fetch(record, tmp_path / "new")
    assert {path.name: path.read_bytes() for path in paths} == FILES
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == [
        VERIFIED_FILE, *sorted(FILES),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("only", "names"),
    [
        (["s2"], ["BigEarthNet-S2.tar.zst"]),
        (["metadata"], [name for name in FILES if name.startswith("metadata")]),
        (["Reference-Maps", "s1"], ["BigEarthNet-S1.tar.zst", "Reference_Maps.tar.zst"]),
    ],
)
def test_parts_are_fetched_alone(record, tmp_path, only, names):
    assert [path.name for path in fetch(record, tmp_path, only=only)] == names


def test_broken_connections_are_resumed_where_they_broke(record, tmp_path):
    record.faults = ["drop", "empty", "503", "drop"]
    (path,) = fetch(record, tmp_path, only=["s1"])
    assert path.read_bytes() == FILES[path.name]
    half = len(FILES[path.name]) // 2
    assert record.ranges[:4] == [None, half, half, half]
    assert record.ranges[4] > half


def test_a_file_that_broke_off_for_good_is_resumed_by_the_next_command(record, tmp_path):
    record.faults = ["drop", "empty", "empty", "empty"]
    with pytest.raises(DownloadError, match=r"broke off after 1500000 of 3000001.*to go on"):
        fetch(record, tmp_path, only=["s1"])
    record.ranges.clear()
    (path,) = fetch(record, tmp_path, only=["s1"])
    assert record.ranges == [1_500_000]
    assert path.read_bytes() == FILES[path.name]


def test_a_server_without_ranges_is_borne_with(record, tmp_path):
    record.faults = ["drop", "no-range"]
    (path,) = fetch(record, tmp_path, only=["s2"])
    assert path.read_bytes() == FILES[path.name]


def test_wrong_bytes_are_fetched_anew_once(record, tmp_path):
    record.faults = ["wrong"]
    (path,) = fetch(record, tmp_path, only=["s2"])
    assert path.read_bytes() == FILES[path.name]
    assert record.ranges == [None, None]


def test_bytes_that_stay_wrong_are_an_error_and_not_kept(record, tmp_path):
    record.faults = ["wrong", "wrong"]
    with pytest.raises(ChecksumError, match=r"BigEarthNet-S2.* has the MD5 sum .*the record says"):
        fetch(record, tmp_path, only=["s2"])
    assert not list(tmp_path.iterdir())


def test_a_damaged_part_is_found_by_its_sum(record, tmp_path):
    (tmp_path / ".BigEarthNet-S2.tar.zst.part").write_bytes(b"x" * 1000)
    (path,) = fetch(record, tmp_path, only=["s2"])
    assert path.read_bytes() == FILES[path.name]


def test_a_part_that_is_too_long_is_begun_anew(record, tmp_path):
    (tmp_path / ".metadata.parquet.part").write_bytes(b"x" * 1000)
    assert fetch(record, tmp_path, only=["metadata"])[0].read_bytes() == b"table"


def test_whole_files_are_not_fetched_again(record, tmp_path):
    fetch(record, tmp_path)
    record.ranges.clear()
    fetch(record, tmp_path)
    assert record.ranges == []


def test_a_file_of_the_right_size_and_wrong_content_is_refused(record, tmp_path):
    wrong = bytes(byte ^ 1 for byte in FILES["metadata.parquet"])
    (tmp_path / "metadata.parquet").write_bytes(wrong)
    with pytest.raises(ChecksumError, match=r"metadata\.parquet has the MD5 sum .*Move .* away"):
        fetch(record, tmp_path)
    assert (tmp_path / "metadata.parquet").read_bytes() == wrong


def test_a_content_is_checked_once_and_again_when_the_file_changes(record, tmp_path, caplog):
    (path,) = fetch(record, tmp_path, only=["s2"])
    with caplog.at_level(logging.INFO):
        fetch(record, tmp_path, only=["s2"])
    assert "Checking" not in caplog.text
    path.write_bytes(FILES[path.name][:-1] + b"x")
    with pytest.raises(ChecksumError), caplog.at_level(logging.INFO):
        fetch(record, tmp_path, only=["s2"])
    assert f"Checking the MD5 sum of {path}" in caplog.text
    path.write_bytes(FILES[path.name])
    assert fetch(record, tmp_path, only=["s2"]) == [path]


@pytest.mark.parametrize(
    "content", ["", "[]", '{"metadata.parquet": 1}', '{"metadata.parquet": {"size"']
)
def test_what_is_remembered_may_be_damaged(content, record, tmp_path):
    fetch(record, tmp_path, only=["metadata"])
    (tmp_path / VERIFIED_FILE).write_text(content)
    assert len(fetch(record, tmp_path, only=["metadata"])) == 2


def test_two_downloads_of_a_file_at_once_are_refused(record, tmp_path):
    with (
        lock_file(tmp_path / ".metadata.parquet.lock", RuntimeError),
        pytest.raises(DownloadError, match=f"downloaded into .* by process {os.getpid()} on"),
    ):
        fetch(record, tmp_path, only=["metadata"])
    assert not list(tmp_path.glob("*.parquet"))
    assert len(fetch(record, tmp_path)) == len(FILES)


def test_a_part_that_another_program_changed_meanwhile_is_not_taken(record, tmp_path):
    changed = []

    def change(name, there, size):
        if not changed and there > 500_000:
            with (tmp_path / f".{name}.part").open("r+b") as part:
                changed.append(part.write(b"other"))

    (path,) = fetch(record, tmp_path, only=["s1"], progress=change)
    assert changed
    assert path.read_bytes() == FILES[path.name]
    assert len(record.ranges) == 2


def test_a_server_that_sends_from_another_byte_is_asked_for_all(record, tmp_path):
    record.faults = ["drop", "shift"]
    (path,) = fetch(record, tmp_path, only=["s2"])
    assert path.read_bytes() == FILES[path.name]
    assert record.ranges == [None, len(FILES[path.name]) // 2, None]


def test_what_came_before_a_reset_is_kept_each_time(record, tmp_path):
    record.faults = ["reset"] * 6
    (path,) = fetch(record, tmp_path, only=["s2"])
    assert path.read_bytes() == FILES[path.name]
    assert record.ranges == [None, *range(100_000, 700_000, 100_000)]


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ("3", 3), ("86400", 120), ("9" * 30, 120), ("soon", 0), ("-5", 0), ("\u0663", 0), ("", 0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 120), ("Fri, 31 Dec 1999 23:59:59 GMT", 0),
    ],
)  # fmt: skip
def test_a_server_may_ask_to_wait_but_not_for_days(asked, expected):
    assert asked_pause({"Retry-After": asked}) == expected


def test_a_pause_that_was_asked_for_is_made(record, tmp_path):
    record.faults = ["503 1"]
    started = time.monotonic()
    fetch(record, tmp_path, only=["metadata"])
    assert time.monotonic() - started >= 1


@pytest.mark.parametrize("address", ["file:///etc/passwd", "ftp://127.0.0.1/x", "gopher://x/"])
def test_a_server_that_leads_elsewhere_is_refused(address, record, tmp_path):
    record.faults = [address]
    with pytest.raises(DownloadError, match=f"leads from http to {address[:4]}"):
        fetch(record, tmp_path, only=["s1"])
    assert len(record.ranges) == 1


def test_nobody_leads_from_https_to_http():
    with Session(AT_ONCE, None) as session:
        session._scheme = "https"
        session._check_scheme(httpx.Request("GET", "https://elsewhere/x"))
        with pytest.raises(DownloadError, match="from https to http://"):
            session._check_scheme(httpx.Request("GET", "http://elsewhere/x"))


FULL_DISK = """
    import resource
    import sys
    from reben.app import cli
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))
    sys.exit(cli.run(["download", sys.argv[1], "--record", sys.argv[2], "--only", "s2"]))
"""


def test_a_full_disk_is_said_with_what_is_needed_and_the_same_command_goes_on(record, tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(FULL_DISK), tmp_path, f"{record.url}/record"],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 1
    assert (
        "OutputError: The disk is full: BigEarthNet-S2.tar.zst needs another 0.002 GB"
        in done.stderr
    )
    (path,) = fetch(record, tmp_path, only=["s2"])
    assert record.ranges == [None, 1_000_000]
    assert path.read_bytes() == FILES[path.name]


def test_a_termination_keeps_what_came_and_says_how_to_go_on(record, tmp_path):
    record.faults = ["reset", *["503 60"] * 9]
    words = ("download", str(tmp_path), "--record", f"{record.url}/record", "--only", "s1")
    process = subprocess.Popen(
        [sys.executable, "-m", "reben", *words], stderr=subprocess.PIPE, text=True
    )
    while len(record.ranges) < 2 and process.poll() is None:
        time.sleep(0.01)
    process.terminate()
    _, said = process.communicate(timeout=30)
    assert process.returncode == 143
    assert "the same command goes on from there.\nInterrupted by SIGTERM.\n" in said
    record.faults, record.ranges = [], []
    assert fetch(record, tmp_path, only=["s1"])[0].stat().st_size == 3_000_001
    assert record.ranges == [100_000]


def test_another_file_of_that_name_is_left_alone(record, tmp_path):
    (tmp_path / "metadata.parquet").write_bytes(b"mine")
    with pytest.raises(OutputError, match="has 4 bytes, but the file in the record has 5"):
        fetch(record, tmp_path)
    assert (tmp_path / "metadata.parquet").read_bytes() == b"mine"


@pytest.mark.parametrize("status", [404, 403])
def test_a_refusal_is_said_at_once(record, tmp_path, status):
    record.status = status
    with pytest.raises(DownloadError, match=f"the server answers {status}"):
        fetch(record, tmp_path)


def test_a_server_that_stays_away_is_said(tmp_path):
    with pytest.raises(DownloadError, match=r"Could not download .*refused.*Check the connection"):
        download(tmp_path, record_url="http://127.0.0.1:9/record", patience=AT_ONCE)


@pytest.mark.parametrize("name", ["../evil", "a/b", "/etc/passwd", ".hidden", "a\\b"])
def test_names_that_would_leave_the_folder_are_refused(record, tmp_path, name):
    record.files = {name: b"x"}
    record.md5[name], record.sizes[name] = "0" * 32, 1
    with pytest.raises(DownloadError, match="must not be called"):
        fetch(record, tmp_path)


def test_an_address_that_is_none_of_the_web_is_refused(record, tmp_path):
    with pytest.raises(DownloadError, match="not a web address"):
        download(tmp_path, record_url=(tmp_path / "x").as_uri(), patience=AT_ONCE)


def test_unknown_parts_are_refused(record, tmp_path):
    with pytest.raises(ConfigError, match=r"No part s3\. Parts: s1, s2, reference_maps, metadata"):
        fetch(record, tmp_path, only=["s2", "s3"])


def test_a_record_without_the_part_says_what_it_holds(record, tmp_path):
    record.files = {"metadata.parquet": b"table"}
    with pytest.raises(DownloadError, match=r"holds no s1; it holds metadata\.parquet"):
        fetch(record, tmp_path, only=["s1"])


def test_a_disk_that_is_too_small_is_said_before_anything_is_fetched(record, tmp_path):
    record.sizes["BigEarthNet-S1.tar.zst"] = 10**15
    with pytest.raises(OutputError, match=r"needs 1000000\.0 GB"):
        fetch(record, tmp_path)
    assert record.ranges == []


def test_progress_counts_up_to_the_size(record, tmp_path):
    seen = []
    fetch(record, tmp_path, only=["s1"], progress=lambda *facts: seen.append(facts))
    assert seen[-1] == ("BigEarthNet-S1.tar.zst", 3_000_001, 3_000_001)
    assert [there for _, there, _ in seen] == sorted(there for _, there, _ in seen)


def test_a_stream_goes_through_breaks_into_a_pipe(record):
    record.faults = ["drop", "no-range"]
    sink = io.BytesIO()
    stream(sink, only=["s2"], record_url=f"{record.url}/record", patience=AT_ONCE)
    assert sink.getvalue() == FILES["BigEarthNet-S2.tar.zst"]


def test_a_stream_with_wrong_bytes_says_not_to_use_them(record):
    record.faults = ["wrong"]
    with pytest.raises(ChecksumError, match="Do not use"):
        stream(io.BytesIO(), only=["s2"], record_url=f"{record.url}/record", patience=AT_ONCE)


def test_a_reader_that_went_away_ends_the_stream(record):
    class Closed(io.BytesIO):
        def write(self, content):
            raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        stream(Closed(), only=["s2"], record_url=f"{record.url}/record", patience=AT_ONCE)
    assert len(record.ranges) == 1


def test_only_one_file_goes_into_a_pipe(record):
    with pytest.raises(ConfigError, match="Only one file at a time"):
        stream(io.BytesIO(), only=["s1", "s2"], record_url=f"{record.url}/record")


BAD_RECORDS = {
    "no JSON": b"<html>",
    "no files": b"{}",
    "deep nesting": b'{"files": ' + b"[" * 100_000,
    "bytes that are no text": b'{"files": "\xff"}',
    "a negative size": (
        b'{"files": [{"key": "metadata.parquet", "size": -1, "checksum": "md5:0", "links": {}}]}'
    ),
    "an endless size": (
        b'{"files": [{"key": "metadata.parquet", "size": 1e999, "checksum": "", "links": {}}]}'
    ),
    "no address": (
        b'{"files": [{"key": "x", "size": 1, "checksum": "%s", "links": {}}]}' % (b"0" * 32)
    ),
    "no sum": b'{"files": [{"key": "x", "size": 1, "checksum": "sha:1", "links": {}}]}',
}


@pytest.mark.parametrize("content", BAD_RECORDS.values(), ids=BAD_RECORDS)
def test_a_record_that_cannot_be_right_is_an_error_that_says_what_to_do(record, content, tmp_path):
    record.json = lambda: content
    with pytest.raises(DownloadError, match=r"The record at http.*/record .*by hand"):
        fetch(record, tmp_path)


def test_the_record_lists_name_size_sum_and_address(record):
    with Session(None, None) as session:
        file = session.list_files(f"{record.url}/record", None)[3]
    assert (file.name, file.size, file.url) == (
        "metadata.parquet",
        5,
        f"{record.url}/files/metadata.parquet",
    )
