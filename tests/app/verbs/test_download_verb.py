import json

import pytest

from flaky_server import Record, serve
from reben.app.cli import run


@pytest.fixture
def record():
    with serve(Record({"BigEarthNet-S2.tar.zst": b"s2" * 5000, "metadata.parquet": b"m"})) as it:
        yield it


def test_files_are_fetched_and_their_places_written(record, tmp_path, capsys):
    assert run(["download", str(tmp_path), "--record", f"{record.url}/record", "--json"]) == 0
    files = json.loads(capsys.readouterr().out)["files"]
    assert files == [str(tmp_path / name) for name in record.files]


def test_one_part_goes_to_stdout_for_a_pipe(record, capfdbinary):
    words = ["download", "-", "--only", "s2", "--record", f"{record.url}/record"]
    assert run(words) == 0
    assert capfdbinary.readouterr().out == b"s2" * 5000


def test_a_pipe_needs_one_part(record, capsys):
    assert run(["download", "-", "--record", f"{record.url}/record"]) == 2
    assert "name it with --only" in capsys.readouterr().err


def test_an_unknown_part_is_one_clear_line(record, tmp_path, capsys):
    words = ["download", str(tmp_path), "--only", "s2,b10", "--record", f"{record.url}/record"]
    assert run(words) == 2
    assert capsys.readouterr().err.startswith("ConfigError: No part b10.")
