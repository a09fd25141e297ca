"""The real sample: 24 patch pairs of BigEarthNet v2.0, downloaded, verified and unpacked.

The Python package configilm 0.7.1 holds them as test data. pip downloads its wheel, without
dependencies, into a cache. Nothing is unpacked before the checksum is verified, and none of its
code is used.

Source: package configilm 0.7.1 (MIT) on the Python Package Index; the patches are from Zenodo
record 10891137 (CDLA-Permissive-1.0).
"""

import hashlib
import logging
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from reben.data.metadata import METADATA_FILE, SNOW_CLOUD_FILE
from reben.errors import ChecksumError, DownloadError
from reben.support.atomic import atomic_folder, require_free, write_text, writing

WHEEL_NAME = "configilm-0.7.1-py3-none-any.whl"
WHEEL_SHA256 = "54e8c2424c55bb4e68dfda07593e155e9ecfa6c60b50585c4b378076934cf5e3"
NOTICE_FILE = "NOTICE"

_MEMBERS = {
    "BigEarthNet-V2-LMDB/data.mdb": "data.mdb",
    METADATA_FILE: METADATA_FILE,
    SNOW_CLOUD_FILE: SNOW_CLOUD_FILE,
}
_MEMBER_FOLDER = "configilm/extra/mock_data/BENv2"
_PIP_DOWNLOAD = (
    sys.executable,
    "-m",
    "pip",
    "download",
    "--no-deps",
    "--only-binary=:all:",
    # Its metadata exclude Python 3.12 and later, but only its data are used.
    "--python-version=3.11",
    "--no-input",
    "--disable-pip-version-check",
    "--quiet",
    "configilm==0.7.1",
)
_LOG = logging.getLogger(__name__)

_NOTICE_TITLE = "24 real patch pairs of BigEarthNet v2.0 (reBEN)\n"
_NOTICE = f"""\
{_NOTICE_TITLE}
What: 24 Sentinel-1 and Sentinel-2 patches with labels. 18 of them are in {METADATA_FILE} (6 train,
6 validation, 6 test; tile T33UUP, Austria); 6 patches with snow, cloud or shadow are in
{SNOW_CLOUD_FILE} (tiles T33UUP and T35VNJ).
They are an excerpt to try things on; figures from them say nothing of the whole data set.

From: BigEarthNet v2.0, https://doi.org/10.5281/zenodo.10891137
Licence of the data: Community Data License Agreement - Permissive - Version 1.0
(CDLA-Permissive-1.0), https://cdla.dev/permissive-1-0/
Contains modified Copernicus Sentinel data 2017 and Copernicus Land Monitoring Service
information (CORINE Land Cover 2018).

Cite: K. N. Clasen, L. Hackel, T. Burgert, G. Sumbul, B. Demir, V. Markl: "reBEN: Refined
BigEarthNet Dataset for Remote Sensing Image Analysis", 2024, https://arxiv.org/abs/2407.03653

By way of: {WHEEL_NAME}, sha256
{WHEEL_SHA256},
folder {_MEMBER_FOLDER}, unchanged.
The wheel's licence is MIT, copyright its authors:
https://github.com/lhackel-tub/ConfigILM
"""


def fetch_sample(folder: str | Path, *, wheel: str | Path | None = None) -> Path:
    """Write 24 real patch pairs with their metadata into a store, and return its folder.

    If the folder holds the sample already, nothing happens. The wheel is kept in the folder that
    REBEN_CACHE names, or in the user's cache.

    Args:
        folder: A new or empty folder for the store.
        wheel: The file `WHEEL_NAME`, if it is on this machine; by default pip downloads it.

    Raises:
        OutputError: If the folder holds something else, or cannot be written.
        DownloadError: If there is no network, no pip, or no such wheel.
        ChecksumError: If the wheel is not the one that is known to hold the sample.
    """
    folder = Path(folder)
    if _holds_sample(folder):
        _LOG.info("%s holds the sample already.", folder)
        return folder
    require_free(folder)
    wheel = _cached_wheel() if wheel is None else _checked(Path(wheel))
    with atomic_folder(folder) as temporary:
        _unpack(wheel, temporary)
    _LOG.info("Unpacked 24 patch pairs into %s.", folder)
    return folder


def cache_folder() -> Path:
    """Return the folder for downloads: REBEN_CACHE, or ``reben`` in the user's cache folder."""
    if chosen := os.environ.get("REBEN_CACHE"):
        return Path(chosen).expanduser()
    if caches := os.environ.get("XDG_CACHE_HOME"):
        return Path(caches) / "reben"
    return Path.home() / ".cache" / "reben"


def _holds_sample(folder: Path) -> bool:
    try:
        notice = (folder / NOTICE_FILE).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    is_whole = all((folder / name).is_file() for name in _MEMBERS.values())
    return is_whole and notice.startswith(_NOTICE_TITLE)


def _cached_wheel() -> Path:
    cached = cache_folder() / WHEEL_NAME
    if cached.is_file():
        if _sha256(cached) == WHEEL_SHA256:
            return cached
        _LOG.warning("%s has a wrong checksum; downloading it again.", cached)
    with writing(cached):
        cached.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".download.", dir=cached.parent) as temporary:
            downloaded = Path(temporary) / WHEEL_NAME
            _download(downloaded)
            _checked(downloaded).replace(cached)
    return cached


def _download(wheel: Path) -> None:
    _LOG.info("Downloading %s (55 MB).", WHEEL_NAME)
    try:
        done = subprocess.run(  # noqa: S603 - a fixed command, and a folder that was just made
            [*_PIP_DOWNLOAD, "--dest", str(wheel.parent)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
    except OSError as error:
        raise _download_error(f"pip does not start: {error.strerror or error}") from error
    if done.returncode:
        lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        errors = [line.removeprefix("ERROR:").strip() for line in lines if line[:6] == "ERROR:"]
        reason = (errors or lines or [""])[-1] or f"pip ended with {done.returncode}"
        # pip says "no matching distribution" even if it reached no index.
        prefix = "no connection to the package index; " if "Retrying (" in done.stderr else ""
        raise _download_error(prefix + reason)
    if not wheel.is_file():
        raise _download_error(f"pip did not write {wheel.name}")


def _download_error(reason: str) -> DownloadError:
    return DownloadError(
        f"Could not download configilm 0.7.1, which holds the sample: {reason.rstrip('.')}. "
        f"Check network and pip, or get {WHEEL_NAME} on another machine and pass the file: "
        "reben sample DIR --from-wheel FILE (in Python: wheel=FILE)."
    )


def _checked(wheel: Path) -> Path:
    try:
        found = _sha256(wheel)
    except OSError as error:
        raise DownloadError(
            f"Cannot read {wheel}: {error.strerror or error}. It should be {WHEEL_NAME}."
        ) from error
    if found != WHEEL_SHA256:
        raise ChecksumError(
            f"{wheel.name} is not the wheel that holds the sample: its sha256 is {found} and "
            f"should be {WHEEL_SHA256}. Nothing was unpacked. Get {WHEEL_NAME} from the "
            "Python Package Index: pip download --no-deps configilm==0.7.1 --python-version=3.11 "
            "--only-binary=:all:"
        )
    return wheel


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _unpack(wheel: Path, folder: Path) -> None:
    try:
        with zipfile.ZipFile(wheel) as archive:
            for member, name in _MEMBERS.items():
                packed = archive.open(f"{_MEMBER_FOLDER}/{member}")
                with packed, (folder / name).open("wb") as file:
                    shutil.copyfileobj(packed, file)
    except (zipfile.BadZipFile, KeyError) as error:
        raise DownloadError(f"{wheel} lacks the sample: {error}.") from error
    write_text(folder / NOTICE_FILE, _NOTICE)
