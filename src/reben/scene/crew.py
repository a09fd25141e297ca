"""Tasks shared by processes of this machine, each with a model and an equal part of the cores.

A process that dies takes its task with it, which then has failed, and another one takes its place.
"""

import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Any

from reben.data.spawned import belong_to_parent, interrupts_blocked, main_module_hidden
from reben.scene.tasks import SceneOutcome, SceneTask

_Do = Callable[[SceneTask], SceneOutcome]


class _Worker:
    """A process and the task it is at."""

    def __init__(self, do: _Do, num_threads: int) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.process: SpawnProcess = context.Process(
            target=_work, args=(theirs, do, num_threads), daemon=True
        )
        with interrupts_blocked(), main_module_hidden():
            self.process.start()
        theirs.close()
        self.task: SceneTask | None = None

    def begin(self, task: SceneTask) -> None:
        """Hand over a task."""
        self.task = task
        self.connection.send(task)

    def outcome(self) -> SceneOutcome:
        """Return what came of the task, also if the process died over it."""
        assert self.task is not None  # noqa: S101 - only workers with a task are waited for
        try:
            found: SceneOutcome = self.connection.recv()
        except (EOFError, OSError):
            self.process.join()
            reason = (
                f"its process died (exit code {self.process.exitcode}). If memory ran out, use "
                "fewer processes or smaller batches"
            )
            found = SceneOutcome(self.task.product, self.task.out, "failed", reason)
        self.task = None
        return found

    def end(self) -> None:
        """End the process, whatever it is at."""
        self.process.terminate()
        self.process.join()
        self.connection.close()


def do_in_processes(
    do: _Do, tasks: Sequence[SceneTask], num_processes: int
) -> Iterator[SceneOutcome]:
    """Yield the outcomes of tasks as they come.

    Args:
        do: Does one task; a function of a module, since processes have to find it.
        tasks: What there is to do.
        num_processes: How many processes do it.
    """
    waiting = list(reversed(tasks))
    num_processes = min(num_processes, len(tasks))
    num_threads = max(1, (os.cpu_count() or 1) // num_processes)
    workers: list[_Worker] = []
    try:
        for _ in range(num_processes):
            workers.append(_Worker(do, num_threads))
            workers[-1].begin(waiting.pop())
        while busy := {worker.connection: worker for worker in workers if worker.task is not None}:
            for connection in wait(list(busy)):
                worker = busy[connection]  # type: ignore[index]
                yield worker.outcome()
                if waiting and not worker.process.is_alive():
                    workers.remove(worker)
                    worker.end()
                    worker = _Worker(do, num_threads)
                    workers.append(worker)
                if waiting:
                    worker.begin(waiting.pop())
    finally:
        for worker in workers:
            worker.end()


def _work(connection: "Connection[Any, Any]", do: _Do, num_threads: int) -> None:
    """Do tasks until there is nobody who hands them over."""
    import torch

    belong_to_parent()
    torch.set_num_threads(num_threads)
    while True:
        try:
            task = connection.recv()
        except EOFError:
            return
        connection.send(do(task))
