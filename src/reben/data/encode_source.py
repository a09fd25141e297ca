"""The inputs of an encoding: folders and archives, and how their work is cut into jobs."""

import os
import stat
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np

from reben.data.byte_stream import find_parts
from reben.data.encode_job import BATCH_BYTES, ArchiveJob, FolderJob
from reben.data.name_set import NameSet
from reben.data.patch_files import find_patch_folders
from reben.data.value import Kind
from reben.errors import ArchiveError, EncodeError

PIPE = "-"
"""The path that stands for stdin."""


@dataclass(frozen=True)
class Source:
    """One input.

    Args:
        kind: What its patch folders hold.
        name: Its name without what is above it.
        folder: Where it lies, if it is a folder.
        parts: Its files in order, if it is an archive.
    """

    kind: Kind
    name: str
    folder: Path | None = None
    parts: tuple[Path, ...] = ()

    @classmethod
    def find(cls, kind: Kind, path: str | Path) -> Self:
        """Return the input at ``path``.

        Raises:
            ArchiveError: If nothing is there, or a part of an archive is missing.
        """
        if str(path) == PIPE:
            if sys.stdin is None or stat.S_ISCHR(os.fstat(sys.stdin.fileno()).st_mode):
                raise ArchiveError(
                    f"The {kind.name} input should come from stdin, and nothing is piped in. "
                    "Pipe an archive, for example: cat S2.tar.zst | reben encode --s2 - ..."
                )
            return cls(kind, PIPE)
        path = Path(path)
        if path.is_dir():
            return cls(kind, path.resolve().name, folder=path)
        return cls(kind, path.name, parts=find_parts(path))

    @property
    def is_pipe(self) -> bool:
        """Whether it comes from stdin."""
        return self.folder is None and not self.parts

    @property
    def num_bytes(self) -> int | None:
        """Size of an archive; None for what has no size beforehand."""
        return sum(part.stat().st_size for part in self.parts) if self.parts else None

    def archive_job(self, wanted: NameSet | None, there: NameSet) -> ArchiveJob:
        """Return the job that encodes it, an archive."""
        name = "The archive on stdin" if self.is_pipe else self.name
        return ArchiveJob(self.kind.name, name, self.parts, wanted, there)


class FolderScan:
    """Goes through the patch folders of an input: once to count, once to hand them out.

    Names are not kept in between, so that memory does not grow with the input. A patch that is
    there twice is handed out a second time by `late_jobs`, after everything else is done, so
    that the first one is the one that is kept, whatever the number of workers.

    Args:
        source: The input, a folder.
        wanted: Names of the patch folders to encode; all if None.
        there: Names of the values that the store has already.
        num_workers: How many share the work.
    """

    def __init__(
        self, source: Source, wanted: NameSet | None, there: NameSet, num_workers: int
    ) -> None:
        self.num_there = 0
        self._source = source
        self._wanted = wanted
        self._there = there
        self._late: list[str] = []
        hashes = np.fromiter((hash(_name(folder)) for folder in self._folders()), np.int64)
        self.num_folders = len(hashes)
        values, counts = np.unique(hashes, return_counts=True)
        self._repeated = {int(value): False for value in values[counts > 1]}
        at_once = BATCH_BYTES // source.kind.num_bytes
        self._at_once = max(1, min(at_once, self.num_folders // (4 * num_workers) + 1))

    def jobs(self) -> Iterator[FolderJob]:
        """Yield the jobs, patches that come again left out."""
        folders: list[str] = []
        for folder in self._folders():
            key = hash(_name(folder))
            if self._repeated.get(key):
                self._late.append(folder)
                continue
            if key in self._repeated:
                self._repeated[key] = True
            folders.append(folder)
            if len(folders) == self._at_once:
                yield FolderJob(self._source.kind.name, folders)
                folders = []
        if folders:
            yield FolderJob(self._source.kind.name, folders)

    def late_jobs(self) -> Iterator[FolderJob]:
        """Yield a job for the patches that came again, if there are any."""
        if self._late:
            yield FolderJob(self._source.kind.name, self._late)

    def _folders(self) -> Iterator[str]:
        kind, folder = self._source.kind, self._source.folder
        self.num_there = 0
        if folder is None:
            return
        try:
            for path in find_patch_folders(folder, kind):
                name = _name(path)
                if kind.is_folder(name):
                    if self._wanted is not None and name not in self._wanted:
                        continue
                    if name + kind.suffix in self._there:
                        self.num_there += 1
                        continue
                yield path
        except OSError as error:
            raise EncodeError(
                f"Cannot list {error.filename}: {error.strerror}. Make it readable, and give the "
                "same command again."
            ) from error


def _name(folder: str) -> str:
    return folder[folder.rfind("/") + 1 :]
