"""The data set's archives from Zenodo: resumed where they broke off, verified, retried.

What files there are, how large they are and their MD5 sums stand in the record's own JSON, which
is read at run time. Of each file a part is kept beside its place until it is whole and right.

A record on Zenodo: its files, and their bytes from any position on.
"""

import hashlib
import http.client
import json
import logging
import random
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Protocol
from urllib.parse import urlsplit

from reben.errors import ChecksumError, ConfigError, DownloadError, OutputError
from reben.support.atomic import output_error

RECORD_URL = "https://zenodo.org/api/records/10891137"
"""The Zenodo record of BigEarthNet v2.0."""

PARTS = {
    "s1": "BigEarthNet-S1",
    "s2": "BigEarthNet-S2",
    "reference_maps": "Reference_Maps",
    "metadata": "metadata",
}
"""The words for parts of the data set, and how the names of their files begin."""

CHUNK_BYTES = 1 << 20
_TIMEOUT_SECONDS = 60
_TRANSIENT = {408, 425, 429, 500, 502, 503, 504}


@dataclass(frozen=True)
class RemoteFile:
    """A file of a record: name, bytes, MD5 as hexadecimal digits, address."""

    name: str
    size: int
    md5: str
    url: str


@dataclass(frozen=True)
class Patience:
    """How often to try again without any progress, and how long to wait before.

    Args:
        tries: Tries in a row that bring not a single byte, before giving up.
        seconds: Wait before the second try; it doubles with each further one, up to a minute.
    """

    tries: int = 8
    seconds: float = 1.0

    def wait(self, attempt: int, at_least: float = 0.0) -> None:
        """Sleep before try number ``attempt``, counted from 1."""
        pause = min(60.0, self.seconds * 2 ** (attempt - 1))
        time.sleep(max(at_least, pause * random.uniform(0.5, 1.0)))  # noqa: S311 - no secret


class BrokenOffError(Exception):
    """A request that may be tried again, with the seconds that the server asks to wait."""

    def __init__(self, reason: str, pause: float = 0.0) -> None:
        super().__init__(reason)
        self.pause = pause


def remote_files(
    record_url: str = RECORD_URL,
    *,
    only: Iterable[str] | None = None,
    patience: Patience | None = None,
) -> list[RemoteFile]:
    """Return the files of a record.

    Raises:
        ConfigError: If a word of ``only`` is unknown.
        DownloadError: If the record cannot be had or understood, or lacks a part.
    """
    words = None if only is None else [word.strip().lower().replace("-", "_") for word in only]
    unknown = [word for word in words or () if word not in PARTS]
    if unknown or words == []:
        raise ConfigError(f"No part {', '.join(unknown) or '(none)'}. Parts: {', '.join(PARTS)}.")
    try:
        record = json.loads(_read_all(record_url, patience or Patience()))
        files = [_remote_file(entry) for entry in record["files"]]
    except (ValueError, KeyError, TypeError) as error:
        raise DownloadError(
            f"The record at {record_url} cannot be understood: {error!r}."
        ) from error
    if words is None:
        return files
    wanted = [file for file in files if any(file.name.startswith(PARTS[word]) for word in words)]
    for word in words:
        if not any(file.name.startswith(PARTS[word]) for file in files):
            names = ", ".join(file.name for file in files)
            raise DownloadError(f"The record at {record_url} holds no {word}; it holds {names}.")
    return wanted


def _remote_file(entry: dict[str, Any]) -> RemoteFile:
    name, size, checksum = str(entry["key"]), int(entry["size"]), str(entry["checksum"])
    if Path(name).name != name or name.startswith(".") or "\\" in name:
        raise ValueError(f"a file may not be called {name!r}")
    kind, _, md5 = checksum.rpartition(":")
    if kind not in {"", "md5"} or len(md5) != 32:
        raise ValueError(f"{name} has no MD5 sum but {checksum!r}")
    links = entry["links"]
    return RemoteFile(name, size, md5.lower(), str(links.get("content") or links["self"]))


def read_from(file: RemoteFile, there: int) -> Iterator[bytes]:
    """Yield the bytes of a file from ``there`` on, until the server or the file ends.

    Raises:
        BrokenOffError: If the connection breaks off, or the server asks to come back later.
        DownloadError: If the server does not give the file.
    """
    headers = {"Range": f"bytes={there}-"} if there else {}
    with _as_broken_off(file.url), _open(file.url, headers) as response:
        skip = there if response.status == 200 else 0  # the server knows no ranges
        left = file.size - there
        while left and (chunk := response.read(min(CHUNK_BYTES, left + skip))):
            if skip:
                skipped = min(skip, len(chunk))
                skip -= skipped
                chunk = chunk[skipped:]
            left -= len(chunk)
            yield chunk


def _read_all(url: str, patience: Patience) -> bytes:
    for attempt in range(1, patience.tries + 1):
        try:
            with _as_broken_off(url), _open(url, {"Accept": "application/json"}) as response:
                return bytes(response.read())
        except BrokenOffError as error:
            broken = error
        if attempt < patience.tries:
            patience.wait(attempt, broken.pause)
    raise DownloadError(
        f"{url} cannot be had: {broken}. Check the connection, or fetch the files by hand from "
        "the record's page."
    )


def _open(url: str, headers: dict[str, str]) -> Any:  # noqa: ANN401 - urllib's response
    if urlsplit(url).scheme not in {"http", "https"}:
        raise DownloadError(f"{url!r} is not an address on the web.")
    request = urllib.request.Request(url, headers={"User-Agent": "reben", **headers})  # noqa: S310
    return urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS)  # noqa: S310 - checked above


@contextmanager
def _as_broken_off(url: str) -> Iterator[None]:
    """Turn what the network raises into `BrokenOffError`, or into `DownloadError` where final."""
    try:
        yield
    except DownloadError:
        raise
    except urllib.error.HTTPError as error:
        with error:
            reason = f"the server answers {error.code} {error.reason}"
            if error.code not in _TRANSIENT:
                raise DownloadError(f"{url} cannot be had: {reason}.") from error
            asked = error.headers.get("Retry-After", "")
            raise BrokenOffError(reason, float(asked) if asked.isdigit() else 0.0) from error
    except (OSError, http.client.HTTPException) as error:
        reason = str(getattr(error, "reason", error)) or type(error).__name__
        raise BrokenOffError(reason) from error


logger = logging.getLogger(__name__)

Progress = Callable[[str, int, int], None]
"""Called with the name of a file, the bytes there are, and the bytes it has."""


class _Sink(Protocol):
    def write(self, content: bytes, /) -> object: ...


def download(
    folder: str | Path,
    *,
    only: Iterable[str] | None = None,
    record_url: str = RECORD_URL,
    patience: Patience | None = None,
    progress: Progress | None = None,
) -> list[Path]:
    """Fetch the files of the data set into ``folder`` and return where they are.

    A file that is there whole is not fetched again; one that broke off is resumed.

    Args:
        folder: Where to put the files; made if it is not there.
        only: Words of `PARTS`; all files of the record by default.
        record_url: Address of the record's JSON.
        patience: How often to try again.
        progress: Called often with name, bytes there, bytes in all.

    Raises:
        ConfigError: If a word of ``only`` is unknown.
        DownloadError: If the record or a file cannot be had; what came so far is kept.
        ChecksumError: If a file is wrong even after it was fetched anew.
        OutputError: If there is no space, or the folder cannot be written.
    """
    folder = Path(folder)
    patience = patience or Patience()
    wanted = remote_files(record_url, only=only, patience=patience)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise output_error(folder, error) from error
    missing = [file for file in wanted if not _is_there(folder / file.name, file)]
    _require_space(folder, missing)
    for file in wanted:
        if file in missing:
            _fetch_verified(file, folder, patience, progress)
        elif progress:
            progress(file.name, file.size, file.size)
    return [folder / file.name for file in wanted]


def stream(
    sink: BinaryIO,
    *,
    only: Iterable[str],
    record_url: str = RECORD_URL,
    patience: Patience | None = None,
    progress: Progress | None = None,
) -> None:
    """Write one file of the data set to ``sink`` while it comes, for example into a pipe.

    Connections that break off are resumed. Nothing is kept on disk.

    Raises:
        ConfigError: If ``only`` does not name exactly one file.
        DownloadError: If it cannot be had.
        ChecksumError: If what was written turns out to be wrong; the reader must not use it.
    """
    patience = patience or Patience()
    files = remote_files(record_url, only=only, patience=patience)
    if len(files) != 1:
        names = ", ".join(file.name for file in files)
        raise ConfigError(f"Only one file at a time goes into a pipe; {names} were asked for.")
    (file,) = files
    digest = hashlib.md5(usedforsecurity=False)
    _fetch_from(file, 0, _Tee(sink, digest), patience, progress)
    _require_md5(file, digest.hexdigest(), "Do not use what was made of it.")


def _is_there(path: Path, file: RemoteFile) -> bool:
    if not path.exists():
        return False
    size = path.stat().st_size
    if size == file.size:
        return True
    raise OutputError(
        f"{path} is there with {size} bytes, but the record's file has {file.size}. "
        "Move it away, or choose another folder."
    )


def _require_space(folder: Path, files: Iterable[RemoteFile]) -> None:
    needed = 0
    for file in files:
        part = _part(folder, file)
        needed += file.size - (part.stat().st_size if part.exists() else 0)
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise OutputError(
            f"{needed / 1e9:.1f} GB are still to come and {free / 1e9:.1f} GB are free in "
            f"{folder}. Free some space, choose another folder, or fetch less with --only."
        )


def _part(folder: Path, file: RemoteFile) -> Path:
    return folder / f".{file.name}.part"


def _fetch_verified(
    file: RemoteFile, folder: Path, patience: Patience, progress: Progress | None
) -> None:
    part = _part(folder, file)
    for last_try in (False, True):
        digest = hashlib.md5(usedforsecurity=False)
        try:
            with part.open("ab+") as kept:
                kept.seek(0)
                while chunk := kept.read(CHUNK_BYTES):
                    digest.update(chunk)
                there = kept.tell()
                if there > file.size:
                    kept.truncate(0)
                    there, digest = 0, hashlib.md5(usedforsecurity=False)
                _fetch_from(file, there, _Tee(kept, digest), patience, progress)
            if digest.hexdigest() == file.md5:
                part.replace(folder / file.name)
                return
            part.unlink()
        except DownloadError:
            raise
        except OSError as error:
            raise output_error(part, error) from error
        if last_try:
            _require_md5(file, digest.hexdigest(), "Try again later.")
        logger.warning("%s came with a wrong MD5 sum; it is fetched anew.", file.name)


def _fetch_from(
    file: RemoteFile, there: int, sink: "_Tee", patience: Patience, progress: Progress | None
) -> None:
    """Write bytes ``there`` to the end of a file into ``sink``, through any number of breaks."""
    attempt = 0
    while there < file.size:
        before, broken = there, BrokenOffError("the connection broke off")
        try:
            for chunk in read_from(file, there):
                sink.write(chunk)
                there += len(chunk)
                if progress:
                    progress(file.name, there, file.size)
        except BrokenOffError as error:
            broken = error
        if there >= file.size:
            return
        attempt = 1 if there > before else attempt + 1
        if attempt >= patience.tries:
            raise DownloadError(
                f"{file.name} broke off after {there} of {file.size} bytes, and {attempt} tries "
                f"brought nothing more: {broken}. What came is kept: the same command goes on."
            )
        logger.info("%s: %s after %d bytes; trying again.", file.name, broken, there)
        patience.wait(attempt, broken.pause)


def _require_md5(file: RemoteFile, found: str, cure: str) -> None:
    if found != file.md5:
        raise ChecksumError(
            f"{file.name} has the MD5 sum {found}; the record says {file.md5}. {cure}"
        )


class _Tee:
    """Writes into a file and a digest."""

    def __init__(self, file: _Sink, digest: "hashlib._Hash") -> None:
        self._file = file
        self._digest = digest

    def write(self, content: bytes) -> None:
        self._file.write(content)
        self._digest.update(content)
