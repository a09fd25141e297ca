"""Download the data set's archives from Zenodo: resumed, retried, verified.

Names, sizes and MD5 sums of the files are read from the record's JSON. A file gets its name when
it is complete and its sum is right; until then it is a hidden ``.part`` beside it.
"""

import hashlib
import logging
import random
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Self

from reben.errors import ChecksumError, ConfigError, DownloadError, OutputError
from reben.support.atomic import output_error
from reben.support.bounds import MAX_JSON_BYTES
from reben.support.json_files import Count, parse_json

if TYPE_CHECKING:
    import httpx

RECORD_URL = "https://zenodo.org/api/records/10891137"
"""The Zenodo record of BigEarthNet v2.0."""

PARTS = {
    "s1": "BigEarthNet-S1",
    "s2": "BigEarthNet-S2",
    "reference_maps": "Reference_Maps",
    "metadata": "metadata",
}
"""Parts of the data set -> how the names of their files start."""

Progress = Callable[[str, int, int], None]
"""Called with the name of a file, the bytes there are, and its size."""

_CHUNK_BYTES = 1 << 20
_TIMEOUT_SECONDS = 60
_TRANSIENT = {408, 425, 429, 500, 502, 503, 504}
_BY_HAND = "Check the connection, or download the files by hand from the record's page."

logger = logging.getLogger(__name__)


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


def download(
    folder: str | Path,
    *,
    only: Iterable[str] | None = None,
    record_url: str = RECORD_URL,
    patience: Patience | None = None,
    progress: Progress | None = None,
) -> list[Path]:
    """Download the files of the data set into ``folder`` and return their paths.

    Complete files are not downloaded again; partial ones are resumed.

    Args:
        folder: Folder for the files; created if necessary.
        only: Keys of `PARTS`; by default all files of the record.
        record_url: URL of the record's JSON.
        patience: How often to try again.
        progress: Called often with name, bytes there, size.

    Raises:
        ConfigError: If a word of ``only`` is unknown.
        DownloadError: If the record or a file could not be downloaded; what arrived is kept.
        ChecksumError: If a file is wrong even after a second download.
        OutputError: If the disk is full, or the folder cannot be written.
    """
    folder = Path(folder)
    with _Session(patience, progress) as session:
        wanted = session.list_files(record_url, only)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise output_error(folder, error) from error
        missing = [file for file in wanted if not _is_there(folder / file.name, file)]
        _require_space(folder, missing)
        for file in wanted:
            if file in missing:
                session.save(file, folder)
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
    """Write one file of the data set to ``sink`` as it arrives, for example into a pipe.

    Broken connections are resumed. Nothing is kept on disk.
    """
    with _Session(patience, progress) as session:
        files = session.list_files(record_url, only)
        if len(files) != 1:
            names = ", ".join(file.name for file in files)
            raise ConfigError(f"Only one file at a time goes into a pipe, not {names}.")
        digest = hashlib.md5(usedforsecurity=False)
        for chunk in session.read(files[0]):
            sink.write(chunk)
            digest.update(chunk)
    if digest.hexdigest() != files[0].md5:
        raise _wrong_sum(files[0], digest.hexdigest(), "Do not use what was made from it.")


def remote_files(
    record_url: str = RECORD_URL,
    *,
    only: Iterable[str] | None = None,
    patience: Patience | None = None,
) -> list[RemoteFile]:
    """Return the files of a record."""
    with _Session(patience, None) as session:
        return session.list_files(record_url, only)


def _is_there(path: Path, file: RemoteFile) -> bool:
    if not path.exists():
        return False
    size = path.stat().st_size
    if size == file.size:
        return True
    raise OutputError(
        f"{path} has {size} bytes, but the file in the record has {file.size}. Move it away, or "
        "choose another folder."
    )


def _require_space(folder: Path, files: Iterable[RemoteFile]) -> None:
    needed = 0
    for file in files:
        part = _part(folder, file)
        needed += file.size - (part.stat().st_size if part.exists() else 0)
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise OutputError(
            f"The download needs {needed / 1e9:.1f} GB, and {folder} has {free / 1e9:.1f} GB free. "
            "Free some space, choose another folder, or download less with --only."
        )


def _part(folder: Path, file: RemoteFile) -> Path:
    return folder / f".{file.name}.part"


def _wrong_sum(file: RemoteFile, found: str, cure: str) -> ChecksumError:
    return ChecksumError(f"{file.name} has the MD5 sum {found}; the record says {file.md5}. {cure}")


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


class _Session:
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
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def list_files(self, record_url: str, only: Iterable[str] | None) -> list[RemoteFile]:
        """Return the files of a record; see `remote_files`."""
        words = None if only is None else [word.strip().lower().replace("-", "_") for word in only]
        unknown = [word for word in words or () if word not in PARTS]
        if unknown or words == []:
            raise ConfigError(
                f"No part {', '.join(unknown) or '(none)'}. Parts: {', '.join(PARTS)}."
            )
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

    def save(self, file: RemoteFile, folder: Path) -> None:
        """Download the rest of a file into ``folder``; name it if its sum is right."""
        part = _part(folder, file)
        try:
            found = self._complete(file, part)
            if found != file.md5:
                logger.warning("%s arrived with a wrong MD5 sum; downloading it again.", file.name)
                part.unlink()
                found = self._complete(file, part)
            if found == file.md5:
                part.replace(folder / file.name)
                return
            part.unlink()
        except DownloadError:
            raise
        except OSError as error:
            raise output_error(part, error) from error
        raise _wrong_sum(file, found, "Try again later.")

    def _complete(self, file: RemoteFile, part: Path) -> str:
        """Download the rest of a file, and return the MD5 sum of all of it."""
        digest = hashlib.md5(usedforsecurity=False)
        with part.open("ab+") as kept:
            if kept.tell() > file.size:
                kept.truncate(0)
            kept.seek(0)
            while chunk := kept.read(_CHUNK_BYTES):
                digest.update(chunk)
            for chunk in self.read(file, kept.tell()):
                kept.write(chunk)
                digest.update(chunk)
        return digest.hexdigest()

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
        headers = {"Range": f"bytes={there}-"} if there else {}
        with self._open(file.url, headers | {"Accept-Encoding": "identity"}) as response:
            skip = there if response.status_code == 200 else 0  # a server without ranges
            left = file.size - there
            for chunk in response.iter_raw():
                wanted = chunk[skip:][:left]
                skip = max(0, skip - len(chunk))
                left -= len(wanted)
                if wanted:
                    yield wanted
                if not left:
                    return

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

        try:
            with self._client.stream("GET", url, headers=headers) as response:
                if not response.is_success:
                    reason = f"the server answers {response.status_code} {response.reason_phrase}"
                    if response.status_code not in _TRANSIENT:
                        raise DownloadError(f"Could not download {url}: {reason}.")
                    asked = response.headers.get("Retry-After", "")
                    raise _BrokenOffError(reason, float(asked) if asked.isdigit() else 0.0)
                yield response
        except (httpx.UnsupportedProtocol, httpx.InvalidURL) as error:
            raise DownloadError(f"{url!r} is not a web address.") from error
        except httpx.HTTPError as error:
            raise _BrokenOffError(str(error) or type(error).__name__) from error


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
