"""Sets of names that take eight bytes a name: a million and a half of them are no burden.

The work of encoding, cut into jobs; one process does a job from reading to writing.

Worker processes that encode; only names cross between processes, never pixels.

Every worker reads, builds values and writes them itself. Workers are spawned, not forked: a
forked child of a process that has torch or LMDB loaded is not safe to use.
"""

import ctypes
import multiprocessing
import os
import sys
from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from hashlib import blake2b
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from types import TracebackType
from typing import NoReturn, Self

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
from reben.data.storage.writer import ValueWriter
from reben.errors import ArchiveError, EncodeError, RebenError
from reben.support.processes import belong_to_parent, interrupts_blocked, main_module_hidden


class NameSet:
    """Names to look up, not to list; the same in every process.

    Two names are taken for one with a chance of one in 10^19 for each pair of names.

    Example:
        >>> names = NameSet(["a", "b"])
        >>> "a" in names, "c" in names, len(names)
        (True, False, 2)
    """

    def __init__(self, names: Iterable[str]) -> None:
        hashes = np.unique(np.fromiter(map(_hash, names), np.uint64))
        self._hashes = array("Q", hashes.tobytes())

    def __contains__(self, name: object) -> bool:
        """Tell whether ``name`` is in the set."""
        if not isinstance(name, str):
            return False
        if not self._hashes:
            return False
        number = _hash(name)
        place = bisect_left(self._hashes, number)
        return place < len(self._hashes) and self._hashes[place] == number

    def __len__(self) -> int:
        """Count the names."""
        return len(self._hashes)


def _hash(name: str) -> int:
    content = name.encode("utf-8", "surrogateescape")
    return int.from_bytes(blake2b(content, digest_size=8).digest(), "little")


BATCH_BYTES = 32 << 20
"""Size of a transaction: large enough that waiting for the disk does not count."""
DIFFERENT = "it is there twice, with different pixels; the one that came first was kept"


@dataclass(frozen=True)
class FolderJob:
    """Encode some patch folders.

    Args:
        kind: What they hold.
        folders: Their paths.
    """

    kind: str
    folders: list[str]

    def run(self, writer: ValueWriter, *, strict: bool) -> Iterator[Step]:
        """Do it, and yield what was done after every commit."""
        batch = _Batch(KINDS[self.kind], writer)
        for folder in self.folders:
            batch.add(read_patch_files(folder, batch.kind))
            if batch.is_full or (strict and batch.failures):
                yield batch.commit()
        yield batch.commit()


@dataclass(frozen=True)
class ArchiveJob:
    """Encode the patches of an archive.

    Args:
        kind: What they hold.
        name: What the archive is called in messages.
        parts: Its files, in order; none for the pipe that the worker was given.
        wanted: Names of the patch folders to encode; all if None.
        there: Names of the values that the store had when the encoding began.
    """

    kind: str
    name: str
    parts: tuple[Path, ...]
    wanted: NameSet | None
    there: NameSet

    def run(self, writer: ValueWriter, *, strict: bool, pipe: int | None = None) -> Iterator[Step]:
        """Do it, and yield what was done after every commit.

        Raises:
            ArchiveError: If the archive is damaged or not to be trusted; patches that were
                complete before are written.
        """
        batch = _Batch(KINDS[self.kind], writer)
        raw = RawStream(self.parts or (0 if pipe is None else pipe))
        chunks = read_ahead(decompress(raw, self.name))
        try:
            for patch in patches_of_archive(chunks, self.name, batch.kind, self._wants(batch)):
                if patch.problem is None and len(patch.files) < len(batch.kind.sizes):
                    yield batch.commit(raw.num_read)
                    batch.settle(patch)
                else:
                    batch.add(patch)
                if batch.is_full or (strict and batch.failures):
                    yield batch.commit(raw.num_read)
        except ArchiveError:
            yield batch.commit(raw.num_read)
            raise
        finally:
            chunks.close()
        yield batch.commit(raw.num_read)

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
    """Values until their commit, and what else there is to say of it."""

    def __init__(self, kind: Kind, writer: ValueWriter) -> None:
        self.kind = kind
        self.num_there = 0
        self.failures: list[Failure] = []
        self._writer = writer
        self._num_same = 0

    @property
    def is_full(self) -> bool:
        """Whether it is time to commit."""
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
        written = self._writer.commit()
        for name in written.different:
            self._fail(name.removesuffix(self.kind.suffix), DIFFERENT)
        step = Step(
            kind=self.kind.name,
            num_new=written.num_new,
            num_there=self.num_there,
            num_same=self._num_same + len(written.same),
            num_bytes=written.num_bytes,
            failures=tuple(self.failures),
            read_bytes=read_bytes,
        )
        self.num_there = self._num_same = 0
        self.failures = []
        return step

    def _fail(self, patch: str, reason: str) -> None:
        # A name may hold bytes that are no text; the report does.
        patch, reason = (
            text.encode(errors="backslashreplace").decode() for text in (patch, reason)
        )
        self.failures.append(Failure(self.kind.name, patch, reason))


_JOBS_AHEAD = 2
"""Jobs that a worker has at a time, so that it never waits for the next one."""


_SWITCH_SECONDS = 0.0005
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
"""Names of settings; source: malloc.h of glibc."""


class EncodePool:
    """Does jobs in one process or several; use it as a context manager.

    Leaving the context ends the workers at once; what they committed stays valid.

    Args:
        store: Folder of the store.
        num_workers: Processes; with 1, the work is done in this one.
        strict: Whether a failure ends a batch, so that it is heard of at once.
        pipe: Descriptor that an archive without files is read from.
    """

    def __init__(
        self, store: Path, num_workers: int, *, strict: bool, pipe: int | None = None
    ) -> None:
        self._store = store
        self._strict = strict
        self._pipe = pipe
        self._workers: list[_Worker] = []
        if num_workers > 1:
            try:
                for _ in range(num_workers):
                    self._workers.append(_start(store, strict=strict, pipe=pipe))
            except BaseException:
                self._end()
                raise

    def __enter__(self) -> Self:
        """Return the pool."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End the workers."""
        self._end()

    def run(self, jobs: Iterable[Job]) -> Iterator[Step]:
        """Do the jobs and yield what was done; an archive that breaks off does not end the others.

        Raises:
            OutputError: If the store cannot be written.
            EncodeError: If a worker dies.
        """
        if self._workers:
            yield from self._run_in_workers(jobs)
            return
        with ValueWriter(self._store) as writer:
            for job in jobs:
                yield from _do(job, writer, strict=self._strict, pipe=self._pipe)

    def _run_in_workers(self, jobs: Iterable[Job]) -> Iterator[Step]:
        queue = _Queue(jobs)
        for worker in self._workers:
            queue.feed(worker)
        while busy := [worker for worker in self._workers if worker.num_jobs]:
            ready = wait([worker.connection for worker in busy])
            for worker in (worker for worker in busy if worker.connection in ready):
                answer = worker.receive()
                if answer is None:
                    worker.num_jobs -= 1
                    queue.feed(worker)
                elif isinstance(answer, Step):
                    yield answer
                else:
                    raise answer

    def _end(self) -> None:
        for worker in self._workers:
            worker.process.terminate()
        for worker in self._workers:
            worker.process.join()
            worker.connection.close()
        self._workers = []


@dataclass
class _Worker:
    process: SpawnProcess
    connection: "Connection[Job, Step | RebenError | None]"
    num_jobs: int = 0

    def send(self, job: Job) -> None:
        try:
            self.connection.send(job)
        except OSError:
            self._raise_death()
        self.num_jobs += 1

    def receive(self) -> Step | RebenError | None:
        try:
            return self.connection.recv()
        except (EOFError, OSError):
            self._raise_death()

    def _raise_death(self) -> NoReturn:
        self.process.join()
        raise EncodeError(
            f"A worker process died (exit code {self.process.exitcode}). If memory ran out, use "
            "fewer workers. The same command goes on from there."
        ) from None


class _Queue:
    """Jobs that no worker has yet: archives, each of which keeps a worker busy, go first."""

    def __init__(self, jobs: Iterable[Job]) -> None:
        self._jobs = iter(jobs)
        self._archives: list[ArchiveJob] = []
        self._first: Job | None = None
        for job in self._jobs:
            if not isinstance(job, ArchiveJob):
                self._first = job
                break
            self._archives.append(job)

    def feed(self, worker: _Worker) -> None:
        """Give a worker as many jobs as it should have."""
        if self._archives:
            if not worker.num_jobs:
                worker.send(self._archives.pop(0))
            return
        while worker.num_jobs < _JOBS_AHEAD and (job := self._next()):
            worker.send(job)

    def _next(self) -> Job | None:
        job, self._first = self._first, None
        return job or next(self._jobs, None)


def _start(store: Path, *, strict: bool, pipe: int | None) -> _Worker:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    # A Connection is how a descriptor gets into a spawned process.
    carried = None if pipe is None else Connection(os.dup(pipe), writable=False)
    process = context.Process(target=_work, args=(theirs, store, strict, carried), daemon=True)
    with interrupts_blocked(), main_module_hidden():
        process.start()
    theirs.close()
    if carried is not None:
        carried.close()
    return _Worker(process, ours)


def _work(
    connection: "Connection[Step | RebenError | None, Job]",
    store: Path,
    strict: bool,
    pipe: "Connection[None, None] | None",
) -> None:
    """Do the jobs that come through ``connection``; end when the first process does."""
    belong_to_parent()
    _keep_freed_memory()
    # The thread that decompresses should not wait long for its turn to hand on a chunk.
    sys.setswitchinterval(_SWITCH_SECONDS)
    descriptor = None if pipe is None else pipe.fileno()
    try:
        with ValueWriter(store) as writer:
            while True:
                job = connection.recv()
                for answer in _do(job, writer, strict=strict, pipe=descriptor):
                    connection.send(answer)
                connection.send(None)
    except EOFError:
        return
    except RebenError as error:
        connection.send(error)


def _keep_freed_memory() -> None:
    """Tell glibc to keep the memory of one batch for the next, which halves the time of writing.

    By default it gives blocks of this size back to the system, which then clears each page anew.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return  # another C library, which decides for itself
    mallopt(_M_TRIM_THRESHOLD, 4 * BATCH_BYTES)
    mallopt(_M_MMAP_THRESHOLD, BATCH_BYTES)


def _do(job: Job, writer: ValueWriter, *, strict: bool, pipe: int | None) -> Iterator[Step]:
    try:
        if isinstance(job, ArchiveJob):
            yield from job.run(writer, strict=strict, pipe=pipe)
        else:
            yield from job.run(writer, strict=strict)
    except ArchiveError as error:
        name = job.name if isinstance(job, ArchiveJob) else job.kind
        yield Step(job.kind, broken=Failure(job.kind, name, str(error)))
