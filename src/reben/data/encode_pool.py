"""Worker processes that encode; only names cross between processes, never pixels.

Every worker reads, builds values and writes them itself. Workers are spawned, not forked: a
forked child of a process that has torch or LMDB loaded is not safe to use.
"""

import ctypes
import multiprocessing
import os
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from types import TracebackType
from typing import NoReturn, Self

from reben.data.encode_job import BATCH_BYTES, ArchiveJob, Job
from reben.data.encode_report import Failure, Step
from reben.data.spawned import belong_to_parent, interrupts_blocked, main_module_hidden
from reben.data.value_writer import ValueWriter
from reben.errors import ArchiveError, EncodeError, RebenError

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
