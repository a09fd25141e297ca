"""The data set's archives from Zenodo: resumed where they broke off, verified, retried.

What files there are, how large they are and their MD5 sums stand in the record's own JSON, which
is read at run time. Of each file a part is kept beside its place until it is whole and right.
"""

import hashlib
import logging
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import BinaryIO, Protocol

from reben.data.files import output_error
from reben.data.remote import (
    CHUNK_BYTES,
    RECORD_URL,
    BrokenOffError,
    Patience,
    RemoteFile,
    read_from,
    remote_files,
)
from reben.errors import ChecksumError, ConfigError, DownloadError, OutputError

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
