"""The work of encoding, cut into jobs: one process does a job from reading to writing.

Only names cross between processes, never pixels.
"""

import ctypes
import os
import platform
import sys
import threading
from array import array
from bisect import bisect_left
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Executor
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from hashlib import blake2b
from multiprocessing.connection import Connection
from pathlib import Path
from typing import ClassVar

import numpy as np

from reben.data.archives.stream import RawStream, decompress, read_ahead
from reben.data.encoding.patch_files import (
    PatchFiles,
    PatchFilesError,
    patches_of_archive,
    read_patch_files,
)
from reben.data.encoding.report import Failure, Step
from reben.data.storage.value import KINDS, Kind
from reben.data.storage.writer import ValueWriter, boot_id
from reben.errors import ArchiveError, ConfigError, EncodeError
from reben.support.processes import WorkerDiedError, run_tasks

BATCH_BYTES = 32 << 20
"""Size of a transaction: large enough that waiting for the disk does not count."""
DIFFERENT = "it is there twice, with different pixels; the one that came first was kept"
_SWITCH_SECONDS = 0.0005
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
"""Names of settings; source: malloc.h of glibc."""


class NameSet:
    """A set of names that takes eight bytes a name, the same in every process.

    Any two names are confused with a chance of one in 10^19.

    Example:
        >>> names = NameSet(["a", "b"])
        >>> "a" in names, "c" in names, len(names)
        (True, False, 2)
    """

    def __init__(self, names: Iterable[str]) -> None:
        hashes = np.unique(np.fromiter(map(_hash, names), np.uint64))
        self._hashes = array("Q", hashes.tobytes())

    def __contains__(self, name: object) -> bool:
        if not isinstance(name, str):
            return False
        number = _hash(name)
        place = bisect_left(self._hashes, number)
        return place < len(self._hashes) and self._hashes[place] == number

    def __len__(self) -> int:
        return len(self._hashes)


def _hash(name: str) -> int:
    content = name.encode("utf-8", "surrogateescape")
    return int.from_bytes(blake2b(content, digest_size=8).digest(), "little")


@dataclass(frozen=True)
class FolderJob:
    """Encode the patch folders at some paths."""

    kind: str
    folders: list[str]

    @property
    def name(self) -> str:
        """What it is called in messages."""
        return self.folders[0]

    def run(self, writer: ValueWriter, *, strict: bool, pipe: int | None) -> Iterator[Step]:
        """Do it, and yield what was done after every commit."""
        batch = _Batch(KINDS[self.kind], writer)
        for folder in self.folders:
            batch.add(read_patch_files(folder, batch.kind))
            if batch.is_full or (strict and batch.failures):
                yield batch.commit()
        yield batch.commit()


@dataclass(frozen=True)
class ArchiveJob:
    """Encode the wanted patches of an archive (None: all) that the store did not have."""

    kind: str
    name: str
    parts: tuple[Path, ...]
    """Its files, in order; none for stdin."""
    wanted: NameSet | None
    there: NameSet

    def run(self, writer: ValueWriter, *, strict: bool, pipe: int | None) -> Iterator[Step]:
        """Do it, and yield what was done after every commit.

        If the archive is damaged or cannot be trusted, the last step says so; patches that were
        complete before are written.
        """
        batch = _Batch(KINDS[self.kind], writer)
        raw = RawStream(self.parts or (0 if pipe is None else pipe))
        try:
            with closing(read_ahead(decompress(raw, self.name))) as chunks:
                for patch in patches_of_archive(chunks, self.name, batch.kind, self._wants(batch)):
                    if patch.problem is None and len(patch.files) < len(batch.kind.sizes):
                        yield batch.commit(raw.num_read)
                        batch.settle(patch)
                    else:
                        batch.add(patch)
                    if batch.is_full or (strict and batch.failures):
                        yield batch.commit(raw.num_read)
            yield batch.commit(raw.num_read)
        except ArchiveError as error:
            yield batch.commit(raw.num_read)
            yield Step(self.kind, broken=Failure(self.kind, self.name, str(error)))

    def _wants(self, batch: "_Batch") -> Callable[[str], bool]:
        def wants(patch: str) -> bool:
            if self.wanted is not None and patch not in self.wanted:
                return False
            if patch + batch.kind.suffix in self.there:
                batch.num_there += 1
                return False
            return True

        return wants


Job = FolderJob | ArchiveJob


class _Batch:
    """Values up to their commit, with what else a step says."""

    def __init__(self, kind: Kind, writer: ValueWriter) -> None:
        self.kind = kind
        self.num_there = 0
        self.failures: list[Failure] = []
        self._writer = writer
        self._num_same = 0

    @property
    def is_full(self) -> bool:
        return self._writer.pending_bytes >= BATCH_BYTES

    def add(self, patch: PatchFiles) -> None:
        """Make a value of a patch, or a failure."""
        try:
            self._writer.add(patch.name + self.kind.suffix, patch.value(self.kind))
        except PatchFilesError as error:
            self._fail(patch.name, str(error))

    def settle(self, patch: PatchFiles) -> None:
        """Make a failure of a patch that lacks files, unless its value was written before."""
        value = self._writer.get(patch.name + self.kind.suffix)
        try:
            if value is None:
                patch.value(self.kind)
            elif patch.agrees(self.kind, value):
                self._num_same += 1
            else:
                self._fail(patch.name, DIFFERENT)
        except PatchFilesError as error:
            self._fail(patch.name, str(error))

    def commit(self, read_bytes: int = 0) -> Step:
        """Write the values and return what was done since the last commit."""
        stored = self._writer.commit()
        for name in stored.different:
            self._fail(name.removesuffix(self.kind.suffix), DIFFERENT)
        num_same = self._num_same + len(stored.same)
        step = Step(
            self.kind.name, stored.num_new, self.num_there, num_same, stored.num_bytes,
            tuple(self.failures), read_bytes,
        )  # fmt: skip
        self.num_there = self._num_same = 0
        self.failures = []
        return step

    def _fail(self, patch: str, reason: str) -> None:
        # A name may hold bytes that are not text; the report cannot.
        texts = [text.encode(errors="backslashreplace").decode() for text in (patch, reason)]
        self.failures.append(Failure(self.kind.name, *texts))


def do_jobs(
    jobs: Iterable[Job],
    store: Path,
    *,
    num_processes: int,
    strict: bool,
    pipe: int | None,
    executor: Executor | None,
) -> Generator[Step]:
    """Do jobs and yield what was done; an archive that breaks off does not stop the others.

    Archives come first, since each keeps a process busy to its end. With one process it is this
    one. With ``strict`` a failure ends a batch, so that it is reported at once. An archive without
    files is read from the descriptor ``pipe``.
    """
    if num_processes == 1 and executor is None:
        with ValueWriter(store) as writer:
            for job in jobs:
                yield from job.run(writer, strict=strict, pipe=pipe)
        return
    # A Connection is how a descriptor gets into a spawned process.
    carried = None if pipe is None else Connection(os.dup(pipe), writable=False)
    answers = run_tasks(
        partial(_do_in_worker, store=store, strict=strict, machine=_this_machine()),
        jobs,
        num_processes=num_processes,
        executor=executor,
        in_flight=None if executor else 2 * num_processes,
        retry=False,
        initializer=_start_worker,
        initargs=(store, carried),
    )
    for answer in answers:
        if isinstance(answer.error, WorkerDiedError):
            raise EncodeError(
                f"A worker process died (exit code {answer.error.exit_code}) while it encoded "
                f"{answer.task.name}. If memory ran out, use fewer processes. The same command "
                "goes on from there."
            )
        if answer.error is not None:
            raise answer.error
        if answer.value is not None:
            yield answer.value


class _Worker:
    """What a worker process keeps from job to job."""

    writer: ClassVar[ValueWriter | None] = None
    pipe: ClassVar["Connection[None, None] | None"] = None
    lock: ClassVar[threading.Lock] = threading.Lock()


def _start_worker(store: Path, pipe: "Connection[None, None] | None") -> None:
    _keep_freed_memory()
    # The thread that decompresses should not wait long for its turn to hand on a chunk.
    sys.setswitchinterval(_SWITCH_SECONDS)
    _Worker.writer, _Worker.pipe = ValueWriter(store), pipe


def _do_in_worker(job: Job, store: Path, machine: str, *, strict: bool) -> Iterator[Step]:
    if _Worker.writer is not None:
        pipe = None if _Worker.pipe is None else _Worker.pipe.fileno()
        yield from job.run(_Worker.writer, strict=strict, pipe=pipe)
        return
    if machine != _this_machine():
        raise ConfigError(
            "The executor runs on another machine, but LMDB lets only one machine write a store. "
            "Pass an executor of this machine, or none."
        )
    with _Worker.lock, ValueWriter(store) as writer:  # threads of a process take turns
        yield from job.run(writer, strict=strict, pipe=None)


def _this_machine() -> str:
    return f"{platform.node()} {boot_id()}"


def _keep_freed_memory() -> None:
    """Tell glibc to keep the memory of one batch for the next, which halves the time of writing.

    By default it returns blocks of this size to the system, which then clears each page again.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return  # another C library
    mallopt(_M_TRIM_THRESHOLD, 4 * BATCH_BYTES)
    mallopt(_M_MMAP_THRESHOLD, BATCH_BYTES)
