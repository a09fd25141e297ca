import hashlib
import subprocess
import sys
import zipfile

import pytest

from reben.data import sample
from reben.data.sample import WHEEL_NAME, cache_folder, fetch_sample
from reben.errors import ChecksumError, DownloadError, OutputError

CONTENT = {
    "data.mdb": b"patches",
    "metadata.parquet": b"clear",
    "metadata_for_patches_with_snow_cloud_or_shadow.parquet": b"snow",
}
INSIDE = "configilm/extra/mock_data/BENv2/"


@pytest.fixture
def wheel(tmp_path, monkeypatch):
    """A wheel with made-up content, whose checksum is the expected one."""
    path = tmp_path / "elsewhere" / WHEEL_NAME
    path.parent.mkdir()
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{INSIDE}BigEarthNet-V2-LMDB/data.mdb", CONTENT["data.mdb"])
        archive.writestr(f"{INSIDE}BigEarthNet-V2-LMDB/lock.mdb", b"unwanted")
        for name in list(CONTENT)[1:]:
            archive.writestr(INSIDE + name, CONTENT[name])
        archive.writestr("configilm/__init__.py", "raise SystemExit")
        archive.writestr("../escaped.txt", "unwanted")
    monkeypatch.setattr(sample, "WHEEL_SHA256", hashlib.sha256(path.read_bytes()).hexdigest())
    return path


@pytest.fixture
def cache(tmp_path, monkeypatch):
    folder = tmp_path / "cache"
    monkeypatch.setenv("REBEN_CACHE", str(folder))
    return folder


@pytest.fixture
def pip(monkeypatch, tmp_path):
    """Let a Python script stand for pip; it finds the folder it should write to in ``dest``."""
    calls = tmp_path / "calls"

    def replace(script):
        program = f"import sys; dest = sys.argv[-1]; open({str(calls)!r}, 'a').write('x')\n{script}"
        monkeypatch.setattr(sample, "_PIP_DOWNLOAD", (sys.executable, "-c", program))
        return lambda: len(calls.read_text()) if calls.exists() else 0

    return replace


def delivers(path):
    return f"import shutil; shutil.copy({str(path)!r}, dest)"


def assert_is_sample(folder):
    assert {path.name for path in folder.iterdir()} == {*CONTENT, "NOTICE"}
    for name, content in CONTENT.items():
        assert (folder / name).read_bytes() == content


def test_only_the_sample_and_a_notice_are_unpacked(tmp_path, wheel):
    folder = tmp_path / "new" / "sample"
    assert fetch_sample(folder, wheel=wheel) == folder
    assert_is_sample(folder)
    assert not list(tmp_path.rglob("escaped.txt"))


def test_the_notice_names_licences_origin_and_paper(tmp_path, wheel):
    notice = (fetch_sample(tmp_path / "a", wheel=wheel) / "NOTICE").read_text()
    for text in ("CDLA-Permissive-1.0", "MIT", "zenodo.10891137", "2407.03653", "24 ", "T33UUP"):
        assert text in notice


def test_a_second_call_touches_nothing(tmp_path, wheel, cache, pip):
    calls = pip("raise SystemExit(1)")
    folder = fetch_sample(tmp_path / "a", wheel=wheel)
    (folder / "lock.mdb").write_bytes(b"left by a reader")
    before = {path.name: path.stat() for path in folder.iterdir()}
    fetch_sample(folder)
    fetch_sample(folder, wheel=tmp_path / "not there")
    after = {path.name: path.stat() for path in folder.iterdir()}
    assert {name: (stat.st_mtime_ns, stat.st_ino) for name, stat in before.items()} == {
        name: (stat.st_mtime_ns, stat.st_ino) for name, stat in after.items()
    }
    assert calls() == 0
    assert not cache.exists()


def test_an_empty_folder_is_filled(tmp_path, wheel):
    (tmp_path / "a").mkdir()
    assert_is_sample(fetch_sample(tmp_path / "a", wheel=wheel))


@pytest.mark.parametrize("name", ["thesis.tex", "data.mdb"])
def test_a_folder_with_something_else_is_refused(tmp_path, wheel, name):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / name).write_text("x")
    with pytest.raises(OutputError, match=f"not empty: it holds {name}"):
        fetch_sample(tmp_path / "a", wheel=wheel)
    assert [path.name for path in (tmp_path / "a").iterdir()] == [name]


def test_a_wrong_wheel_is_refused_with_both_checksums(tmp_path, wheel):
    right = hashlib.sha256(wheel.read_bytes()).hexdigest()
    wheel.write_bytes(b"something else")
    wrong = hashlib.sha256(b"something else").hexdigest()
    with pytest.raises(ChecksumError, match=f"{wrong} and should be {right}"):
        fetch_sample(tmp_path / "a", wheel=wheel)
    assert not (tmp_path / "a").exists()


def test_the_checksum_is_the_one_of_the_published_wheel():
    assert sample.WHEEL_SHA256.startswith("54e8c242")
    assert len(sample.WHEEL_SHA256) == 64


def test_a_missing_wheel_is_named(tmp_path):
    with pytest.raises(DownloadError, match=r"Cannot read .*nowhere\.whl: No such file"):
        fetch_sample(tmp_path / "a", wheel=tmp_path / "nowhere.whl")


def test_a_wheel_without_the_sample_leaves_nothing(tmp_path, monkeypatch):
    path = tmp_path / "empty.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("configilm/__init__.py", "")
    monkeypatch.setattr(sample, "WHEEL_SHA256", hashlib.sha256(path.read_bytes()).hexdigest())
    with pytest.raises(DownloadError, match="lacks the sample"):
        fetch_sample(tmp_path / "a", wheel=path)
    assert [found.name for found in tmp_path.iterdir()] == ["empty.whl"]


def test_the_download_is_kept_and_used_again(tmp_path, wheel, cache, pip):
    calls = pip(delivers(wheel))
    assert_is_sample(fetch_sample(tmp_path / "a"))
    assert [path.name for path in cache.iterdir()] == [WHEEL_NAME]
    assert_is_sample(fetch_sample(tmp_path / "b"))
    assert calls() == 1


def test_a_damaged_cache_is_downloaded_again(tmp_path, wheel, cache, pip):
    calls = pip(delivers(wheel))
    cache.mkdir()
    (cache / WHEEL_NAME).write_bytes(b"cut short")
    assert_is_sample(fetch_sample(tmp_path / "a"))
    assert (cache / WHEEL_NAME).read_bytes() == wheel.read_bytes()
    assert calls() == 1


def test_a_wrong_download_is_refused_after_one_try(tmp_path, wheel, cache, pip):
    (tmp_path / "wrong").mkdir()
    (tmp_path / "wrong" / WHEEL_NAME).write_bytes(b"changed on the way")
    calls = pip(delivers(tmp_path / "wrong" / WHEEL_NAME))
    cache.mkdir()
    (cache / WHEEL_NAME).write_bytes(b"cut short")
    wrong = hashlib.sha256(b"changed on the way").hexdigest()
    with pytest.raises(ChecksumError, match=wrong):
        fetch_sample(tmp_path / "a")
    assert calls() == 1
    assert not (tmp_path / "a").exists()
    assert [path.name for path in cache.iterdir()] == [WHEEL_NAME]


def test_a_failure_of_pip_is_told_in_its_own_words_with_the_cure(tmp_path, cache, pip):
    pip(
        "print('WARNING: Retrying (Retry(total=4))', file=sys.stderr);"
        "print('ERROR: No matching distribution found for configilm==0.7.1', file=sys.stderr);"
        "print('[notice] A new release', file=sys.stderr); raise SystemExit(1)"
    )
    words = r"no connection to the package index; No matching distribution .*--from-wheel FILE"
    with pytest.raises(DownloadError, match=words):
        fetch_sample(tmp_path / "a")
    assert list(tmp_path.glob("a*")) == []
    assert list(cache.iterdir()) == []


def test_a_python_without_pip_is_told(tmp_path, cache, pip):
    pip("print(sys.executable + ': No module named pip', file=sys.stderr); raise SystemExit(1)")
    with pytest.raises(DownloadError, match=r"No module named pip.*--from-wheel"):
        fetch_sample(tmp_path / "a")


def test_a_command_that_cannot_start_is_told(tmp_path, cache, monkeypatch):
    monkeypatch.setattr(sample, "_PIP_DOWNLOAD", (str(tmp_path / "no python"),))
    with pytest.raises(DownloadError, match="pip does not start"):
        fetch_sample(tmp_path / "a")


def test_pip_that_writes_nothing_is_told(tmp_path, cache, pip):
    pip("")
    with pytest.raises(DownloadError, match=f"did not write {WHEEL_NAME}"):
        fetch_sample(tmp_path / "a")


def test_an_interrupted_download_leaves_nothing(tmp_path, cache, monkeypatch):
    def interrupted(*_args, **_options):
        raise KeyboardInterrupt

    monkeypatch.setattr(subprocess, "run", interrupted)
    with pytest.raises(KeyboardInterrupt):
        fetch_sample(tmp_path / "a")
    assert list(cache.iterdir()) == []
    assert not (tmp_path / "a").exists()


def test_a_cache_that_cannot_be_written_is_an_output_error(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("REBEN_CACHE", str(tmp_path / "file"))
    with pytest.raises(OutputError, match="Choose a folder"):
        fetch_sample(tmp_path / "a")


def test_pip_is_asked_for_this_wheel_alone_and_for_an_older_python():
    command = sample._PIP_DOWNLOAD
    assert command[:4] == (sys.executable, "-m", "pip", "download")
    assert {"--no-deps", "--only-binary=:all:", "--python-version=3.11"} < set(command)
    assert command[-1] == "configilm==0.7.1"


def test_the_cache_follows_the_environment(tmp_path, monkeypatch):
    monkeypatch.delenv("REBEN_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache" / "reben"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg" / "reben"
    monkeypatch.setenv("REBEN_CACHE", str(tmp_path / "own"))
    assert cache_folder() == tmp_path / "own"


@pytest.mark.network
def test_the_real_sample_is_fetched(tmp_path, cache):
    from reben.data.metadata import PatchTable
    from reben.data.store import Store

    folder = fetch_sample(tmp_path / "a")
    table = PatchTable.read(*sorted(folder.glob("*.parquet")))
    assert len(table) == 24
    assert table.patch_ids[0] in Store.open(folder)
