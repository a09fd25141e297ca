"""A record on Zenodo: its files, and their bytes from any position on."""

import http.client
import json
import random
import time
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from reben.errors import ConfigError, DownloadError

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
