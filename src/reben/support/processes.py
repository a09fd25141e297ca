"""Work in several processes: how many cores there are, and one pool for every long task.

`run_tasks` hands tasks to processes that it spawns, or to any `concurrent.futures.Executor`, and
yields their answers as they come. Encoding, tables of scores and lists of scenes all use it.
"""

import copy
import multiprocessing
import os
import pickle
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import islice
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnContext, SpawnProcess
from pathlib import Path
from queue import SimpleQueue
from types import ModuleType
from typing import Any, Generic, NamedTuple, TypeVar

from reben.support.signals import ENDING

_CGROUP = Path("/sys/fs/cgroup")
_LEFT_TO_PARENT = {signal.SIGINT, *ENDING} - {signal.SIGTERM}
"""What workers do not heed: the parent ends them, with SIGTERM."""
_MOST_ELSEWHERE = 1000
"""Tasks that a foreign executor has at a time; nothing says how many workers it has."""

_Task = TypeVar("_Task")
_Value = TypeVar("_Value")


def usable_cores() -> int:
    """Return how many cores this process may use: by affinity, and by the quota of its cgroup.

    Source: cpu.max of cgroup v2, cpu.cfs_quota_us of v1 (Linux kernel documentation).
    """
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    quota = _quota(
        _words("cpu.max"), _words("cpu/cpu.cfs_quota_us"), _words("cpu/cpu.cfs_period_us")
    )
    return max(1, min(cores, cores if quota is None else int(quota)))


def _words(file: str) -> list[str]:
    try:
        return (_CGROUP / file).read_text(encoding="ascii").split()
    except (OSError, UnicodeDecodeError):
        return []


def _quota(new: list[str], old: list[str], old_period: list[str]) -> float | None:
    """Return the cores that a cgroup grants, from the words of its files; None without a limit."""
    pair = new or [*old, *old_period]
    if len(pair) != 2 or not all(word.isdecimal() for word in pair) or int(pair[1]) == 0:
        return None  # "max" of v2 and -1 of v1 are no limit
    return int(pair[0]) / int(pair[1])


class WorkerDiedError(Exception):
    """The process that worked on a task died; ``exit_code`` is negative for a signal."""

    def __init__(self, exit_code: int) -> None:
        super().__init__(f"its process died (exit code {exit_code})")
        self.exit_code = exit_code


@dataclass(frozen=True)
class Answer(Generic[_Task, _Value]):
    """A value that a task yielded, or the error that ended it.

    Args:
        task: The task, as it was given.
        value: What it yielded; meaningless beside an error.
        error: What its function raised, or a `WorkerDiedError`. Errors that cannot be pickled
            arrive as a RuntimeError with the same text.
    """

    task: _Task
    value: _Value | None = None
    error: BaseException | None = None


def run_tasks(  # noqa: PLR0913 - all after the second are named
    function: Callable[[_Task], Iterable[_Value]],
    tasks: Iterable[_Task],
    *,
    num_processes: int,
    executor: Executor | None = None,
    in_flight: int | None = None,
    retry: bool = True,
    is_eager: bool = False,
    initializer: Callable[..., None] | None = None,
    initargs: tuple[Any, ...] = (),
) -> Generator[Answer[_Task, _Value], None, None]:
    """Run ``function`` on every task in other processes; yield what it yields, as it comes.

    A task that fails does not disturb the others. Processes are spawned when there is work for
    them. They do not import the user's main module, leave interruptions to this process, and end
    with it. Closing the generator early ends them at once; so does an exception or Ctrl-C in it. A
    caller that may leave its loop early uses ``contextlib.closing``.

    If a process dies, a new pool takes over. Each task that was in flight is run again by itself,
    from its beginning, so values that it had yielded come once more; if it kills its process again,
    its answer is a `WorkerDiedError`.

    Args:
        function: Does one task and yields any number of values: results, or steps on the way. It
            and the tasks are pickled, so it is a function of a module (or a partial of one).
        tasks: What to do. Taken from the iterable only when there is room for them.
        num_processes: How many processes share the tasks.
        executor: Who runs the tasks instead, for example a ThreadPoolExecutor or what
            ``distributed.Client.get_executor(pure=False)`` returns. It stays open. The values of a
            task then come together at its end, and nothing here retries: that is up to the
            executor. Leaving early cancels tasks that wait, and waits for those that run.
        in_flight: Tasks handed out at a time; by default one for each process, so that a death
            concerns as few as possible. Twice as many keep processes busy with short tasks. With
            ``executor`` at most 1000, unless given.
        retry: Whether tasks get a second chance after the death of a process. Otherwise all that
            were in flight end with a `WorkerDiedError`.
        is_eager: Whether processes start before the first task is taken, which may be slow to find.
        initializer: Called once in each spawned process before its first task, for state that lasts
            from task to task. If it raises, every task of that process ends with that error. Not
            called with ``executor``: its workers may be threads, or not ours alone.
        initargs: Arguments of ``initializer``. They may hold what only a spawned process can
            inherit, such as a multiprocessing Connection or Lock.

    Example:
        >>> from concurrent.futures import ThreadPoolExecutor
        >>> with ThreadPoolExecutor(1) as threads:
        ...     answers = list(run_tasks(range, [1, 2], num_processes=1, executor=threads))
        >>> [(answer.task, answer.value) for answer in answers]
        [(1, 0), (2, 0), (2, 1)]
    """
    if executor is not None:
        yield from _run_elsewhere(function, iter(tasks), executor, in_flight or _MOST_ELSEWHERE)
        return
    in_flight = in_flight or num_processes
    start = partial(_Workers, num_processes, initializer, initargs)
    coming, workers = iter(tasks), start()
    if is_eager:
        workers.start()
    while lost := (yield from _run_here(function, coming, workers, in_flight)):
        for task in lost.tasks:
            again = (yield from _run_here(function, iter([task]), start(), 1)) if retry else lost
            if again:
                yield Answer(task, error=WorkerDiedError(again.exit_code))
        workers = start()


def worker_number() -> int:
    """Return which process of its pool this one is, counted from 0; 0 in a process of no pool."""
    return getattr(multiprocessing.current_process(), "number", 0)


class _Lost(NamedTuple):
    tasks: list[Any]
    exit_code: int


class _Event(NamedTuple):
    number: int
    is_last: bool
    value: Any


def _run_here(
    function: Callable[[_Task], Iterable[_Value]],
    coming: Iterator[_Task],
    workers: "_Workers",
    in_flight: int,
) -> Generator[Answer[_Task, _Value], None, _Lost | None]:
    """Yield answers until there are no more tasks, or a worker dies; then return what was lost."""
    flying: dict[int, _Task] = {}
    try:
        while True:
            for task in islice(coming, in_flight - len(flying)):
                flying[workers.submit(function, task)] = task
            if not flying:
                return None
            event = workers.events.get()
            if not isinstance(event.value, BrokenProcessPool):
                yield from _answers(flying, event)
                continue
            exit_code = workers.end()
            while not workers.events.empty():
                yield from _answers(flying, workers.events.get())
            return _Lost(list(flying.values()), exit_code)
    finally:
        workers.end()


def _answers(flying: dict[int, _Task], event: _Event) -> Iterator[Answer[_Task, Any]]:
    if isinstance(event.value, BrokenProcessPool) or event.number not in flying:
        return
    if not event.is_last:
        yield Answer(flying[event.number], event.value)
        return
    task = flying.pop(event.number)
    if event.value is not None:
        yield Answer(task, error=event.value)


def _run_elsewhere(
    function: Callable[[_Task], Iterable[_Value]],
    coming: Iterator[_Task],
    executor: Executor,
    in_flight: int,
) -> Iterator[Answer[_Task, _Value]]:
    flying: dict[Future[tuple[list[_Value], Exception | None]], _Task] = {}
    try:
        while True:
            for task in islice(coming, in_flight - len(flying)):
                flying[executor.submit(_collect, function, task)] = task
            if not flying:
                return
            for future in wait(flying, return_when=FIRST_COMPLETED).done:
                task = flying.pop(future)
                try:
                    values, error = future.result()
                except Exception as lost:  # noqa: BLE001 - it is the answer of this task
                    values, error = [], lost
                yield from (Answer(task, value) for value in values)
                if error is not None:
                    yield Answer(task, error=error)
    finally:
        wait([future for future in flying if not future.cancel()])


def _collect(
    function: Callable[[_Task], Iterable[_Value]], task: _Task
) -> tuple[list[_Value], Exception | None]:
    values: list[_Value] = []
    try:
        values.extend(function(task))
    except Exception as error:  # noqa: BLE001 - handed over with the values before it
        return values, _portable(error)
    return values, None


class _Workers:
    """Spawned processes, and the pipe through which tasks answer.

    All values of a task pass through the pipe and so does its end, since nothing orders what comes
    through a pipe and the future of an executor. Futures only tell of deaths.
    """

    def __init__(
        self, count: int, initializer: Callable[..., None] | None, initargs: tuple[Any, ...]
    ) -> None:
        self.events: SimpleQueue[_Event] = SimpleQueue()
        self._context = _Context()
        self._reader, self._writer = self._context.Pipe(duplex=False)
        with _interrupts_blocked():  # a lock starts a helper of multiprocessing
            lock = self._context.Lock()
        self._executor = ProcessPoolExecutor(
            count, self._context, _begin, (self._writer, lock, initializer, initargs)
        )
        self._count, self._num_submitted = count, 0
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    def start(self) -> None:
        """Start all processes; else each starts with a task that no other one is free for."""
        for _ in range(self._count):
            self._executor.submit(_stand_by)

    def submit(self, function: Callable[[Any], Iterable[Any]], task: object) -> int:
        """Hand out a task, and return the number that its events have."""
        number = self._num_submitted
        self._num_submitted += 1
        try:
            future = self._executor.submit(_do, number, function, task)
        except BrokenProcessPool as error:
            self.events.put(_Event(number, is_last=True, value=error))
        else:
            future.add_done_callback(partial(self._heed, number))
        return number

    def end(self) -> int:
        """End the processes at once; return the exit code of one that died by itself, if any."""
        for worker in self._context.workers:
            if worker.pid is not None:
                worker.terminate()
        self._executor.shutdown(cancel_futures=True)
        self._writer.close()
        self._listener.join()
        self._reader.close()
        codes = [worker.exitcode for worker in self._context.workers if worker.pid is not None]
        return next((code for code in codes if code not in (None, -signal.SIGTERM)), None) or (
            -signal.SIGTERM
        )

    def _heed(self, number: int, future: "Future[None]") -> None:
        if not future.cancelled() and (error := future.exception()) is not None:
            self.events.put(_Event(number, is_last=True, value=error))

    def _listen(self) -> None:
        try:
            while True:
                self.events.put(self._reader.recv())
        except (EOFError, OSError):
            return


class _Worker(SpawnProcess):
    """A process that starts without the user's main module, deaf to interruptions."""

    number = 0

    def start(self) -> None:
        with _interrupts_blocked(), _main_module_hidden():
            super().start()


class _Context(SpawnContext):
    """What an executor starts processes with; it keeps them, for their exit codes."""

    def __init__(self) -> None:
        super().__init__()
        self.workers: list[_Worker] = []

    def Process(self, *args: Any, **kwargs: Any) -> _Worker:  # type: ignore[override]  # noqa: ANN401
        worker = _Worker(*args, **kwargs)
        worker.number = len(self.workers)
        self.workers.append(worker)
        return worker


class _Inside:
    """What a worker process knows."""

    writer: "Connection[_Event, None]"
    lock: Any
    error: Exception | None = None


def _begin(
    writer: "Connection[_Event, None]",
    lock: Any,  # noqa: ANN401 - a lock of multiprocessing
    initializer: Callable[..., None] | None,
    initargs: tuple[Any, ...],
) -> None:
    belong_to_parent()
    _Inside.writer, _Inside.lock = writer, lock
    try:
        if initializer is not None:
            initializer(*initargs)
    except Exception as error:  # noqa: BLE001 - the answer of the first task
        _Inside.error = error


def _stand_by() -> None:
    """Do nothing, in a process that is to be there."""


def _do(number: int, function: Callable[[Any], Iterable[Any]], task: object) -> None:
    error: Exception | None = None
    try:
        if _Inside.error is not None:
            raise _Inside.error
        for value in function(task):
            _tell(_Event(number, is_last=False, value=value))
    except Exception as raised:  # noqa: BLE001 - the answer of this task
        error = _portable(raised)
    _tell(_Event(number, is_last=True, value=error))


def _tell(event: _Event) -> None:
    with _Inside.lock:
        _Inside.writer.send(event)


def _portable(error: Exception) -> Exception:
    """Return the error if it survives pickling, else one of the same text; with its traceback."""
    try:
        pickle.dumps(error)
        copy.copy(error)  # made anew from its arguments, as on the other side
    except Exception:  # noqa: BLE001 - whatever its methods raise
        error = RuntimeError(f"{type(error).__name__}: {error}").with_traceback(error.__traceback__)
    error.add_note("".join(traceback.format_tb(error.__traceback__)))
    return error


def belong_to_parent() -> None:
    """Leave interruptions to the process that spawned this one, and end when that one does."""
    for number in _LEFT_TO_PARENT:
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


@contextmanager
def _interrupts_blocked() -> Iterator[None]:
    """Hold interruptions back, also in processes that are started meanwhile.

    Ctrl-C reaches every process of a terminal; it is for the first one to end the others.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _LEFT_TO_PARENT)
    # Starting this helper, which multiprocessing does at need, lets those of Ctrl-C through again.
    resource_tracker.ensure_running()
    signal.pthread_sigmask(signal.SIG_BLOCK, _LEFT_TO_PARENT)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _main_module_hidden() -> Iterator[None]:
    """Keep spawned processes from importing the user's program, which they do not need.

    It might import torch, or be a script without a guard, which would encode once more.
    """
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main
