"""The server of a record: the list of its files, and the bytes of one, however it breaks off."""

import logging
import random
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TYPE_CHECKING, Self

from reben.errors import ConfigError, DownloadError
from reben.support.bounds import MAX_JSON_BYTES
from reben.support.json_files import Count, parse_json

if TYPE_CHECKING:
    import httpx

PARTS = {
    "s1": "BigEarthNet-S1",
    "s2": "BigEarthNet-S2",
    "reference_maps": "Reference_Maps",
    "metadata": "metadata",
}
"""Parts of the data set -> how the names of their files start."""

Progress = Callable[[str, int, int], None]
"""Called with the name of a file, the bytes there are, and its size."""

_TIMEOUT_SECONDS = 60
_MOST_SECONDS = 120.0
"""The longest pause that a server may ask for."""
_RANGE = re.compile(r"bytes (\d{1,18})-\d{1,18}/(\d{1,18}|\*)", re.ASCII)
_TRANSIENT = {408, 425, 429, 500, 502, 503, 504}
_BY_HAND = "Check the connection, or download the files by hand from the record's page."

logger = logging.getLogger("reben.data.download")


@dataclass(frozen=True)
class RemoteFile:
    """A file of a record: name, bytes, MD5 as hexadecimal digits, address."""

    name: str
    size: int
    md5: str
    url: str


@dataclass(frozen=True)
class Patience:
    """How often to try again, and how long to wait before.

    Args:
        tries: Attempts in a row without a single byte before giving up.
        seconds: Wait before the second attempt; it doubles with each further one, up to a minute.
    """

    tries: int = 8
    seconds: float = 1.0

    def wait(self, attempt: int, at_least: float = 0.0) -> None:
        """Sleep after attempt number ``attempt``, counted from 1."""
        pause = min(60.0, self.seconds * 2 ** (attempt - 1))
        time.sleep(max(at_least, pause * random.uniform(0.5, 1.0)))  # noqa: S311 - no secret


@dataclass
class _ListedFile:
    key: str
    size: Count
    checksum: str
    links: dict[str, str]


@dataclass
class _Record:
    files: list[_ListedFile]


class _BrokenOffError(Exception):
    """A request that may be tried again after ``pause`` seconds."""

    def __init__(self, reason: str, pause: float = 0.0) -> None:
        super().__init__(reason)
        self.pause = pause


def parts(only: Iterable[str]) -> list[str]:
    """Return some keys of `PARTS` as they are written there; `ConfigError` if one is unknown."""
    words = [word.strip().lower().replace("-", "_") for word in only]
    unknown = [word for word in words if word not in PARTS]
    if unknown or not words:
        raise ConfigError(f"No part {', '.join(unknown) or '(none)'}. Parts: {', '.join(PARTS)}.")
    return words


class Session:
    """A connection to the server of a record."""

    def __init__(self, patience: Patience | None, progress: Progress | None) -> None:
        import httpx

        trusted = httpx.create_ssl_context()
        trusted.load_default_certs()  # the machine's as well
        self._patience = patience or Patience()
        self._progress = progress
        self._client = httpx.Client(
            headers={"User-Agent": "reben"},
            timeout=_TIMEOUT_SECONDS,
            follow_redirects=True,
            verify=trusted,
            event_hooks={"request": [self._check_scheme]},
        )
        self._scheme = ""
        self._without_ranges: set[str] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def list_files(self, record_url: str, words: list[str] | None) -> list[RemoteFile]:
        """Return the files of a record, or those of some keys of `PARTS`."""
        name = f"The record at {record_url}"
        record = parse_json(self._read_record(record_url), _Record, name, DownloadError, _BY_HAND)
        files = [_remote_file(entry, name) for entry in record.files]
        if words is None:
            return files
        for word in words:
            if not any(file.name.startswith(PARTS[word]) for file in files):
                names = ", ".join(file.name for file in files)
                raise DownloadError(f"{name} holds no {word}; it holds {names}.")
        starts = tuple(PARTS[word] for word in words)
        return [file for file in files if file.name.startswith(starts)]

    def read(self, file: RemoteFile, there: int = 0) -> Iterator[bytes]:
        """Yield a file from byte ``there`` to its end, however often the connection breaks."""
        attempt = 0
        while there < file.size:
            before, broken = there, _BrokenOffError("the connection broke off")
            try:
                for chunk in self._read_once(file, there):
                    yield chunk
                    there += len(chunk)
                    if self._progress:
                        self._progress(file.name, there, file.size)
            except _BrokenOffError as error:
                broken = error
            if there >= file.size:
                return
            attempt = 1 if there > before else attempt + 1
            if attempt >= self._patience.tries:
                raise DownloadError(
                    f"{file.name} broke off after {there} of {file.size} bytes, and {attempt} "
                    f"attempts brought nothing more: {broken}. What arrived is kept; run the same "
                    "command to go on."
                )
            logger.info("%s: %s after %d bytes; trying again.", file.name, broken, there)
            self._patience.wait(attempt, broken.pause)

    def _read_once(self, file: RemoteFile, there: int) -> Iterator[bytes]:
        asked = {"Accept-Encoding": "identity"}
        if there and file.name not in self._without_ranges:
            asked["Range"] = f"bytes={there}-"
        with self._open(file.url, asked) as response:
            skip = there
            if response.status_code == 206:
                told = _RANGE.fullmatch(response.headers.get("Content-Range", ""))
                is_of_it = told is not None and told[2] in ("*", str(file.size))
                first = int(told[1]) if told is not None and is_of_it else None
                if first != there:
                    # From now on ask for all of it, and pass over what is there.
                    self._without_ranges.add(file.name)
                    raise _BrokenOffError(f"the server sent from byte {first} instead of {there}")
                skip = 0
            left = file.size - there
            for chunk in response.iter_raw():
                wanted = chunk[skip:][:left]
                skip = max(0, skip - len(chunk))
                left -= len(wanted)
                if wanted:
                    yield wanted
                if not left:
                    return

    def _check_scheme(self, request: "httpx.Request") -> None:
        """Refuse to be led from https to anything else."""
        if request.url.scheme not in ("https", self._scheme):
            raise DownloadError(
                f"The server leads from {self._scheme} to {str(request.url)[:100]}, which is not "
                f"safe. {_BY_HAND}"
            )

    def _read_record(self, url: str) -> bytes:
        for attempt in range(1, self._patience.tries + 1):
            content = b""
            try:
                with self._open(url, {"Accept": "application/json"}) as response:
                    for chunk in response.iter_bytes():
                        content += chunk
                        if len(content) > MAX_JSON_BYTES:
                            break
                return content
            except _BrokenOffError as error:
                broken = error
            if attempt < self._patience.tries:
                self._patience.wait(attempt, broken.pause)
        raise DownloadError(f"Could not download {url}: {broken}. {_BY_HAND}")

    @contextmanager
    def _open(self, url: str, headers: Mapping[str, str]) -> Iterator["httpx.Response"]:
        """Yield the server's answer; raise `_BrokenOffError` if trying again may help."""
        import httpx

        self._scheme = url.partition(":")[0].lower()
        if self._scheme not in ("http", "https"):
            raise DownloadError(f"{url!r} is not a web address.")
        try:
            with self._client.stream("GET", url, headers=headers) as response:
                if not response.is_success:
                    reason = f"the server answers {response.status_code} {response.reason_phrase}"
                    if response.status_code not in _TRANSIENT:
                        raise DownloadError(f"Could not download {url}: {reason}.")
                    raise _BrokenOffError(reason, asked_pause(response.headers))
                yield response
        except (httpx.UnsupportedProtocol, httpx.InvalidURL) as error:
            raise DownloadError(f"{url!r} is not a web address, or leads to none.") from error
        except httpx.HTTPError as error:
            raise _BrokenOffError(str(error) or type(error).__name__) from error


def asked_pause(headers: Mapping[str, str]) -> float:
    """Return the pause in seconds that a server asks for, within bounds.

    Source: RFC 9110, section 10.2.3: seconds, or a date.
    """
    asked = headers.get("Retry-After", "").strip()[:40]
    if re.fullmatch(r"[0-9]{1,40}", asked):
        seconds = float(asked)
    else:
        try:
            seconds = parsedate_to_datetime(asked).timestamp() - time.time()
        except (ValueError, TypeError, OverflowError):
            seconds = 0.0
    return min(max(seconds, 0.0), _MOST_SECONDS)


def _remote_file(entry: _ListedFile, record: str) -> RemoteFile:
    name = entry.key
    kind, _, md5 = entry.checksum.rpartition(":")
    url = entry.links.get("content") or entry.links.get("self")
    if Path(name).name != name or name.startswith(".") or "\\" in name:
        problem = f"a file must not be called {name!r}"
    elif kind not in {"", "md5"} or len(md5) != 32:
        problem = f"{name} has no MD5 sum but {entry.checksum!r}"
    elif not url:
        problem = f"{name} has no URL"
    else:
        return RemoteFile(name, entry.size, md5.lower(), url)
    raise DownloadError(f"{record} cannot be used: {problem}. {_BY_HAND}")
