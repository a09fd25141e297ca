"""The processes that do the jobs of an encoding, and what becomes of a job whose process died."""

import os
import platform
import sys
import threading
from collections import Counter
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import BrokenExecutor, Executor
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import ClassVar

from reben.data.encoding.jobs import FolderJob, Job
from reben.data.encoding.report import Step
from reben.data.storage.writer import ValueWriter, boot_id
from reben.errors import ConfigError, EncodeError, first_line
from reben.support.memory import keep_freed_memory
from reben.support.processes import Answer, WorkerDiedError, run_tasks

_SWITCH_SECONDS = 0.0005


def do_jobs(  # noqa: PLR0913 - all after the second are named
    jobs: Iterable[Job],
    store: Path,
    *,
    num_processes: int,
    strict: bool,
    pipe: int | None,
    executor: Executor | None,
    is_eager: bool = False,
) -> Generator[Step]:
    """Do jobs and yield what was done; an archive that breaks off does not stop the others.

    Archives come first, since each keeps a process busy to its end. With one process it is this
    one. With ``strict`` a failure ends a batch, so that it is reported at once. An archive without
    files is read from the descriptor ``pipe``. If it ``is_eager``, processes start while the first
    job is looked for.
    """
    if num_processes == 1 and executor is None:
        with ValueWriter(store) as writer:
            for job in jobs:
                yield from job.run(writer, strict=strict, pipe=pipe)
        return
    # A Connection is how a descriptor gets into a spawned process.
    carried = None if pipe is None else Connection(os.dup(pipe), writable=False)
    run = partial(
        run_tasks,
        partial(_do_in_worker, store=store, strict=strict, machine=_this_machine()),
        executor=executor,
        retry=False,
        initializer=_start_worker,
        initargs=(store, carried),
    )
    lost: list[FolderJob] = []
    in_flight = None if executor else 2 * num_processes
    yield from _steps(
        run(jobs, num_processes=num_processes, in_flight=in_flight, is_eager=is_eager), lost
    )
    while lost:
        yield from _steps(run([lost.pop()], num_processes=1), lost)


def _steps(answers: Iterable[Answer[Job, Step]], lost: list[FolderJob]) -> Iterator[Step]:
    """Yield what was done; add to ``lost`` what is to be done again, since its process died."""
    num_done: Counter[int] = Counter()
    for answer in answers:
        job, error = answer.task, answer.error
        if isinstance(error, WorkerDiedError) and isinstance(job, FolderJob):
            if job.is_alone:
                yield job.as_failure(error)
            lost += job.parts(num_done[id(job)])
        elif isinstance(error, WorkerDiedError | BrokenExecutor):
            raise _death(job, error)
        elif error is not None:
            raise error
        elif answer.value is not None:
            num_done[id(job)] += answer.value.num_patches
            yield answer.value


def _death(job: Job, error: BaseException) -> EncodeError:
    return EncodeError(
        f"A worker process died while it encoded {job.name}: {first_line(error)}. If memory ran "
        "out, use fewer processes. The same command goes on from there; if it ends there again, "
        "unpack the archive and encode the folder, so that the patch is found and left out."
    )


class _Worker:
    """What a worker process keeps from job to job."""

    writer: ClassVar[ValueWriter | None] = None
    pipe: ClassVar["Connection[None, None] | None"] = None
    lock: ClassVar[threading.Lock] = threading.Lock()


def _start_worker(store: Path, pipe: "Connection[None, None] | None") -> None:
    keep_freed_memory()
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
