"""Download the data set's archives from Zenodo: resumed, retried, verified.

Names, sizes and MD5 sums of the files are read from the record's JSON. A file gets its name when
it is complete and the sum of what lies on the disk is right; until then it is a hidden ``.part``
beside it. Which files were found right is remembered in `VERIFIED_FILE`, by size and time.
"""

import hashlib
import json
import logging
import os
import shutil
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO, Self

from reben.data.downloading.session import Patience, Progress, RemoteFile, Session, parts
from reben.errors import ChecksumError, ConfigError, DownloadError, OutputError
from reben.support.atomic import FULL, make_folder, output_error, write_text
from reben.support.json_files import Count, read_json
from reben.support.locks import lock_file

RECORD_URL = "https://zenodo.org/api/records/10891137"
"""The Zenodo record of BigEarthNet v2.0."""

VERIFIED_FILE = ".verified.json"
"""What is remembered of the files in a folder: name -> size, time and MD5 sum."""

logger = logging.getLogger(__name__)


def download(
    folder: str | Path,
    *,
    only: Iterable[str] | None = None,
    record_url: str = RECORD_URL,
    patience: Patience | None = None,
    progress: Progress | None = None,
) -> list[Path]:
    """Download the files of the data set into ``folder`` and return their paths.

    Complete files are not downloaded again, if their content is right; partial ones are resumed.

    Args:
        folder: Folder for the files; created if necessary.
        only: Keys of `PARTS`; by default all files of the record.
        record_url: URL of the record's JSON.
        patience: How often to try again.
        progress: Called often with name, bytes there, size.

    Raises:
        ConfigError: If a word of ``only`` is unknown.
        DownloadError: If the record or a file could not be downloaded; what arrived is kept.
        ChecksumError: If a file is wrong even after a second download, or one that was in the
            folder is.
        OutputError: If the disk is full, or the folder cannot be written.
    """
    folder = Path(folder)
    only = None if only is None else parts(only)
    make_folder(folder)
    try:
        with Session(patience, progress) as session:
            wanted = session.list_files(record_url, only)
            missing = [file for file in wanted if not _is_there(folder, file)]
            _require_space(folder, missing)
            for file in wanted:
                if file in missing:
                    _save(session, file, folder)
                elif progress:
                    progress(file.name, file.size, file.size)
    except KeyboardInterrupt:
        logger.warning("Interrupted. What arrived is kept; the same command goes on from there.")
        raise
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
    only = parts(only)
    if len(set(only)) > 1:
        raise ConfigError(f"Only one file at a time goes into a pipe, not {', '.join(only)}.")
    with Session(patience, progress) as session:
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


def _is_there(folder: Path, file: RemoteFile) -> bool:
    """Tell whether a file is in the folder; an error if another one has its name."""
    path = folder / file.name
    try:
        if not path.exists():
            return False
        state = _State.of(path, file.md5)
        if state.size != file.size:
            raise OutputError(
                f"{path} has {state.size} bytes, but the file in the record has {file.size}. Move "
                "it away, or choose another folder."
            )
        if _verified(folder).get(file.name) == state:
            return True
        logger.info("Checking the MD5 sum of %s (%.1f GB).", path, file.size / 1e9)
        found = _md5(path)
    except OutputError:
        raise
    except OSError as error:
        reason = error.strerror or error
        raise OutputError(
            f"Cannot read {path}: {reason}. Move it away, or choose another folder."
        ) from error
    if found != file.md5:
        raise _wrong_sum(file, found, f"Move {path} away; the same command downloads it again.")
    _remember(folder, file, state)
    return True


def _md5(path: Path) -> str:
    with path.open("rb") as content:
        digest = hashlib.file_digest(content, lambda: hashlib.md5(usedforsecurity=False))
    return digest.hexdigest()


@dataclass(frozen=True)
class _State:
    """A file whose content was found right."""

    size: Count
    changed: Count
    """In microseconds."""
    md5: str

    @classmethod
    def of(cls, path: Path, md5: str) -> Self:
        found = path.stat()
        return cls(found.st_size, found.st_mtime_ns // 1000, md5)


def _verified(folder: Path) -> dict[str, _State]:
    path = folder / VERIFIED_FILE
    if not path.exists():
        return {}
    try:
        return read_json(path, dict[str, _State], DownloadError, "")
    except DownloadError:
        return {}  # then the sums are computed again


def _remember(folder: Path, file: RemoteFile, state: _State) -> None:
    known = _verified(folder) | {file.name: state}
    content = {name: asdict(one) for name, one in known.items()}
    write_text(folder / VERIFIED_FILE, json.dumps(content, indent=2) + "\n")


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


def _save(session: Session, file: RemoteFile, folder: Path) -> None:
    """Download the rest of a file into ``folder``; name it if its sum is right."""

    def refuse(holder: str) -> DownloadError:
        return DownloadError(
            f"{file.name} is being downloaded into {folder} by {holder}. Wait until it is "
            "there, or choose another folder."
        )

    with lock_file(folder / f".{file.name}.lock", refuse):
        if not _is_there(folder, file):  # another process may just have finished it
            _fetch(session, file, folder)


def _fetch(session: Session, file: RemoteFile, folder: Path) -> None:
    part = _part(folder, file)
    try:
        for is_last in (False, True):
            _complete(session, file, part)
            found = _md5(part)
            if found == file.md5:
                part.replace(folder / file.name)
                _remember(folder, file, _State.of(folder / file.name, found))
                return
            part.unlink()
            if not is_last:
                logger.warning("%s arrived with a wrong MD5 sum; trying again.", file.name)
    except (DownloadError, OutputError):
        raise
    except OSError as error:
        if error.errno not in FULL:
            raise output_error(part, error) from error
        left = file.size - (part.stat().st_size if part.exists() else 0)
        raise OutputError(
            f"The disk is full: {file.name} needs another {left / 1e9:.3f} GB in {folder}, and "
            f"{shutil.disk_usage(folder).free / 1e9:.3f} GB are free. What arrived is kept: "
            "free some space, and run the same command again."
        ) from error
    raise _wrong_sum(file, found, "Try again later.")


def _complete(session: Session, file: RemoteFile, part: Path) -> None:
    """Download the rest of a file, and keep what came, whatever happens next."""
    with part.open("ab") as kept:
        if kept.tell() > file.size:
            kept.truncate(0)
        for chunk in session.read(file, kept.seek(0, os.SEEK_END)):
            kept.write(chunk)
            kept.flush()
        os.fsync(kept.fileno())
