"""Work in a process of its own."""

import pytest

from reben.support.apart import OutOfBoundsError, run_apart


def test_the_process_sees_no_token(monkeypatch, tmp_path):
    (tmp_path / "tells.py").write_text("import os, sys; print(sorted(os.environ), sys.path)")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    told = run_apart("tells", b"", seconds=20).decode()
    assert "PYTHONPATH" in told
    assert "HF_TOKEN" not in told


def test_nothing_is_imported_from_the_folder_that_one_is_in(monkeypatch, tmp_path):
    (tmp_path / "json.py").write_text("raise SystemExit('hostile')")
    monkeypatch.chdir(tmp_path)
    assert run_apart("json.tool", b"{}", seconds=20).strip() == b"{}"


def test_work_that_fails_or_takes_too_long_is_an_error_that_says_so(monkeypatch, tmp_path):
    (tmp_path / "sleeps.py").write_text("import time; time.sleep(60)")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(OutOfBoundsError, match="longer than"):
        run_apart("sleeps", b"", seconds=0.5)
    with pytest.raises(OutOfBoundsError, match="No module named nowhere"):
        run_apart("nowhere", b"", seconds=20)
