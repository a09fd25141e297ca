import json
import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from at_terminal import run_at_a_terminal
from made_up import patch_id, row, s1_name, write_metadata
from made_up_files import COMPRESS, archive_of, write_archives, write_tree
from reben.app import cli
from reben.data.encode import LOCK_FILE
from reben.data.metadata import METADATA_FILE, SNOW_CLOUD_FILE
from reben.data.storage.environment import stored_names
from reben.data.store import Store, StoreWriter

NUMBERS = range(4)


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    return write_tree(tmp_path_factory.mktemp("tree"), NUMBERS)


@pytest.fixture
def store(tmp_path):
    return tmp_path / "store"


def words_for(inputs, store):
    flags = [(f"--{which.replace('_', '-')}", str(path)) for which, path in inputs.items()]
    return ["encode", *(word for flag in flags for word in flag), "--out", str(store)]


def test_help_explains_inputs_and_resuming(capsys):
    assert cli.run(["encode", "--help"]) == 0
    shown = capsys.readouterr().out
    for word in ("--s1", "--s2", "--reference-maps", "--metadata", "--country", "--json", "stdin"):
        assert word in shown


def test_a_store_is_written_and_counted(tree, store, capsys):
    assert cli.run([*words_for(tree, store), "--processes", "1"]) == 0
    said = capsys.readouterr()
    assert "Sentinel-2" in said.out
    assert "patches/s" in said.err
    assert len(Store.open(store)) == 12


def test_one_folder_is_enough(tree, store, capsys):
    assert cli.run(["encode", str(tree["s1"].parent), "--out", str(store), "--processes", "1"]) == 0
    assert f"Found Sentinel-2: {tree['s2']}" in capsys.readouterr().err
    assert len(Store.open(store)) == 12


def test_json_is_the_report_and_nothing_else(tree, store, capsys):
    assert cli.run([*words_for(tree, store), "--processes", "1", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["new"] == {"Sentinel-2": 4, "Sentinel-1": 4, "reference map": 4}
    assert report["finished"]


def test_the_former_name_of_processes_still_works(tree, store, capsys):
    assert cli.run([*words_for(tree, store), "--workers", "1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["finished"]
    assert cli.run(["encode", "--help"]) == 0
    shown = capsys.readouterr().out
    assert "--processes" in shown
    assert "--workers" not in shown


def test_metadata_may_be_given_several_times(tree, store, tmp_path, capsys):
    tables = [
        write_metadata(tmp_path / METADATA_FILE, [row(0), row(1)]),
        write_metadata(tmp_path / SNOW_CLOUD_FILE, [row(2), row(3)]),
    ]
    words = [word for table in tables for word in ("--metadata", str(table))]
    assert cli.run([*words_for(tree, store), *words, "--processes", "1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["absent"] == dict.fromkeys(
        ["Sentinel-2", "Sentinel-1", "reference map"], 0
    )
    assert (store / SNOW_CLOUD_FILE).is_file()


def test_filters_and_metadata_have_flags(tree, store, tmp_path):
    rows = [row(number, "test" if number else "train") for number in NUMBERS]
    path = write_metadata(tmp_path / METADATA_FILE, rows)
    words = [*words_for(tree, store), "--processes", "1", "--metadata", str(path)]
    assert cli.run([*words, "--split", "test", "--country", "Austria", "--limit", "1"]) == 0
    assert list(stored_names(store)) == sorted(
        [patch_id(1), s1_name(1), patch_id(1) + "_reference_map"]
    )


def test_a_bad_patch_is_said_and_the_exit_code_is_not_zero(tmp_path, store, capsys):
    tree = write_tree(tmp_path, NUMBERS, ["s1"])
    next(tree["s1"].rglob("*_VH.tif")).unlink()
    assert cli.run([*words_for(tree, store), "--processes", "1"]) == 2
    said = capsys.readouterr()
    assert "Left out: Sentinel-1 S1B_" in said.err
    assert "VH is missing" in said.err
    assert said.err.splitlines()[-1].startswith("EncodeError: 1 of 4 patches were left out")
    assert len(Store.open(store)) == 3
    assert cli.run([*words_for(tree, store), "--processes", "1", "--json"]) == 2
    assert json.loads(capsys.readouterr().out)["failed"] == {"Sentinel-1": 1}


def test_strict_has_a_flag(tmp_path, store, capsys):
    tree = write_tree(tmp_path, NUMBERS, ["s1"])
    next(tree["s1"].rglob("*_VH.tif")).unlink()
    assert cli.run([*words_for(tree, store), "--processes", "1", "--strict"]) == 2
    assert "EncodeError: Stopped at" in capsys.readouterr().err


def test_patches_that_the_metadata_list_and_the_inputs_lack_are_said(tree, store, tmp_path, capsys):
    rows = [row(number) for number in range(20)]
    path = write_metadata(tmp_path / METADATA_FILE, rows)
    words = [*words_for(tree, store), "--processes", "1", "--metadata", str(path)]
    assert cli.run(words) == 0
    said = capsys.readouterr().err
    assert f"Listed in the metadata but missing, Sentinel-2: 16 ({patch_id(4)}, " in said
    assert f"{patch_id(13)}, ...)" in said
    assert cli.run([*words, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["absent"]["Sentinel-1"] == 16
    assert report["absent_names"]["Sentinel-1"][0] == s1_name(4)
    assert cli.run([*words, "--strict"]) == 2
    assert "EncodeError: Patches listed in the metadata are missing" in capsys.readouterr().err


def test_an_archive_comes_through_a_pipe(store):
    done = subprocess.run(
        [sys.executable, "-m", "reben", "encode", "--s2", "-", "--out", store, "--processes", "1"],
        input=COMPRESS[".tar.zst"](archive_of("s2", NUMBERS)),
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert len(Store.open(store)) == 4


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="needs a terminal")
def test_nothing_piped_in_is_said(store):
    ours, theirs = pty.openpty()
    done = subprocess.run(
        [sys.executable, "-m", "reben", "encode", "--s2", "-", "--out", store],
        stdin=theirs,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    os.close(ours)
    os.close(theirs)
    assert done.returncode == 2
    assert "nothing is piped in" in done.stderr


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="needs a terminal")
def test_a_terminal_shows_a_bar_with_rate_and_time_left(tmp_path, store):
    archives = write_archives(tmp_path, NUMBERS, ".tar.gz")
    words = ("-m", "reben", *words_for(archives, store))
    shown, _ = run_at_a_terminal(*words, columns=120)
    assert "12/12" in shown
    assert "/s" in shown


def start_encoding(tree, store, *words):
    """Start it in a process group of its own, and return it once it writes."""
    process = subprocess.Popen(
        [sys.executable, "-m", "reben", *words_for(tree, store), *words],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    data = store / "data.mdb"
    while process.poll() is None and (not data.exists() or data.stat().st_blocks < 4000):
        time.sleep(0.005)
    return process


def wait_for_the_end_of(group, *, seconds=10):
    """Wait until no process of a group runs any more, such as a worker."""
    deadline = time.monotonic() + seconds
    while running := [path for path in Path("/proc").glob("[0-9]*") if group == group_of(path)]:
        assert time.monotonic() < deadline, running
        time.sleep(0.05)


def group_of(place):
    try:
        state, _, group = (place / "stat").read_text().rpartition(")")[2].split()[:3]
    except OSError:
        return None
    return None if state == "Z" else int(group)


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    return write_tree(tmp_path_factory.mktemp("many"), range(150), ["s1", "s2"])


@pytest.mark.parametrize(
    ("number", "send", "said"),
    [
        (signal.SIGINT, os.killpg, "Interrupted."),  # as Ctrl-C does: to the workers as well
        (signal.SIGTERM, os.kill, "Interrupted by SIGTERM."),
        (signal.SIGTERM, os.killpg, "Interrupted by SIGTERM."),
        (signal.SIGHUP, os.killpg, "Interrupted by SIGHUP."),
    ],
)
def test_an_interruption_is_said_in_two_lines_and_can_be_resumed(number, send, said, many, store):
    process = start_encoding(many, store)
    send(process.pid, number)
    _, shown = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert shown.count("\n") == 2
    assert shown.startswith("Interrupted after ")
    assert f"the same command goes on from there.\n{said}\n" in shown
    wait_for_the_end_of(process.pid)
    record = json.loads((store / "store.json").read_text())
    assert (record["finished"], record["written_since_boot"]) == (False, "")
    assert cli.run([*words_for(many, store), "--processes", "1"]) == 0
    assert len(Store.open(store)) == 300


def test_a_second_encoding_into_a_store_is_refused_with_who_holds_it(many, tree, store, capsys):
    process = start_encoding(many, store)
    os.killpg(process.pid, signal.SIGSTOP)
    assert cli.run(words_for(tree, store)) == 2
    assert f"is being encoded by process {process.pid} on" in capsys.readouterr().err
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert cli.run([*words_for(tree, store), "--processes", "1"]) == 0
    record = json.loads((store / "store.json").read_text())
    assert {source["kind"]: source["finished"] for source in record["sources"]} == {
        "Sentinel-2": True, "Sentinel-1": True, "reference map": True,
    }  # fmt: skip
    assert not (store / LOCK_FILE).exists()


def test_inspect_verifies_what_encode_wrote(tree, store, capsys):
    cli.run([*words_for(tree, store), "--processes", "1"])
    capsys.readouterr()
    assert cli.run(["inspect", str(store), "--verify"]) == 0
    assert "Verified: 12 values" in capsys.readouterr().out
    assert cli.run(["inspect", str(store), "--verify", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["verified"]["num_problems"] == 0


def test_inspect_says_what_is_wrong_with_a_store(store, capsys):
    with StoreWriter(store) as writer:
        writer.put(s1_name(1), {"VV": np.full((120, 120), np.nan, np.float32)})
    assert cli.run(["inspect", str(store), "--verify"]) == 2
    said = capsys.readouterr()
    assert "it lacks VH" in said.out
    assert "StoreError: 1 of the 1 values" in said.err
    assert cli.run(["inspect", str(store), "--verify", "--json"]) == 2
    assert json.loads(capsys.readouterr().out)["verified"]["problems"][0]["name"] == s1_name(1)
