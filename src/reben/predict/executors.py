"""Several processes that share the parts of one prediction, one for each device.

Each loads the model from the folder of the parts, and writes parts of its own; only counts cross
between processes. On a machine without accelerators they share the cores.

Tasks shared by processes of this machine, each with a model and an equal part of the cores.

A process that dies takes its task with it, which then has failed, and another one takes its place.

Tasks done by a Dask cluster: one scene is one task, wherever a worker is free.
"""

import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Any

import torch

from reben.errors import MissingExtraError, PredictError, RebenError, SceneError
from reben.model.classifier import Classifier
from reben.model.open import pick_device
from reben.predict.patch_work import Work, do_work
from reben.predict.resume import MODEL_FOLDER, PartFiles
from reben.predict.tasks import SceneOutcome, SceneTask
from reben.support.processes import belong_to_parent, interrupts_blocked, main_module_hidden

_Message = int | RebenError | None
"""Patches that were done, an error, or the end."""


def share_work(model: Classifier, work: Work, num_processes: int) -> Iterator[int]:
    """Do the work in several processes; yield the number of patches of each batch that is done.

    Args:
        model: The classifier; it stays as it is, the processes have copies.
        work: What to do.
        num_processes: How many processes.

    Raises:
        PredictError: If a process dies, or a patch is bad and the work is strict.
        RebenError: As `do_work` does.
    """
    model.save_pretrained(PartFiles(work.out).folder / MODEL_FOLDER)
    with _started(work, model.device.type, num_processes) as processes:
        waiting = dict(processes)
        while waiting:
            for connection in wait(list(waiting)):
                message = _receive(connection, waiting[connection])  # type: ignore[arg-type,index]
                if message is None:
                    del waiting[connection]  # type: ignore[arg-type]
                elif isinstance(message, RebenError):
                    raise message
                else:
                    yield message


@contextmanager
def _started(
    work: Work, device: str, num_processes: int
) -> Iterator[dict["Connection[None, _Message]", SpawnProcess]]:
    """Start processes, and end them when the block is left, however it is left."""
    context = multiprocessing.get_context("spawn")
    processes: dict[Connection[None, _Message], SpawnProcess] = {}
    try:
        for rank in range(num_processes):
            ours, theirs = context.Pipe(duplex=False)
            process = context.Process(
                target=_work_shard, args=(theirs, work, device, rank, num_processes), daemon=True
            )
            with interrupts_blocked(), main_module_hidden():
                process.start()
            theirs.close()
            processes[ours] = process
        yield processes
    finally:
        for process in processes.values():
            process.terminate()
        for connection, process in processes.items():
            process.join()
            connection.close()


def _receive(connection: "Connection[None, _Message]", process: SpawnProcess) -> _Message:
    try:
        return connection.recv()
    except (EOFError, OSError):
        process.join()
        raise PredictError(
            f"A process died (exit code {process.exitcode}). If memory ran out, use fewer devices "
            "or smaller batches. The same command goes on from there."
        ) from None


def _work_shard(
    connection: "Connection[_Message, None]", work: Work, kind: str, rank: int, world_size: int
) -> None:
    """Do the parts of one process."""
    belong_to_parent()
    device = pick_device(kind, rank=rank)
    if device.type == "cpu":
        torch.set_num_threads(max(1, (os.cpu_count() or 1) // world_size))
    try:
        model = Classifier.from_pretrained(PartFiles(work.out).folder / MODEL_FOLDER, device=device)
        for count in do_work(model, work, rank=rank, world_size=world_size):
            connection.send(count)
        connection.send(None)
    except RebenError as error:
        connection.send(error)


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


_CONNECT_SECONDS = 20


def do_on_cluster(
    do: Callable[[SceneTask], SceneOutcome], tasks: Sequence[SceneTask], address: str
) -> Iterator[SceneOutcome]:
    """Yield the outcomes of tasks as they come. Tasks that are left when this ends are cancelled.

    The workers need reben, the model, the products and the folder of the outputs under the same
    names. A task whose worker is lost goes on where it was on another one, a few times.

    Args:
        do: Does one task; a function of a module, since workers have to find it.
        tasks: What there is to do.
        address: Of the scheduler, for example ``tcp://10.0.0.1:8786``.

    Raises:
        MissingExtraError: If Dask is not installed.
        SceneError: If there is no scheduler at that address.
    """
    try:
        distributed: Any = import_module("distributed")
    except ImportError as error:
        raise MissingExtraError(
            "A cluster needs Dask, which is not installed. Run: pip install "
            '"reben[dask]", here and on the workers.'
        ) from error
    try:
        client = distributed.Client(address, timeout=_CONNECT_SECONDS, set_as_default=False)
    except (OSError, ValueError) as error:
        raise SceneError(
            f"There is no Dask scheduler at {address}: {error}. Start one with `dask scheduler`, "
            "workers with `dask worker`, and give its address."
        ) from error
    with client:
        futures = {client.submit(do, task, pure=False): task for task in tasks}
        try:
            for future in distributed.as_completed(futures, loop=client.loop):
                yield _outcome(future, futures[future])
        finally:
            client.cancel(list(futures))


def _outcome(future: Any, task: SceneTask) -> SceneOutcome:  # noqa: ANN401 - Dask is optional
    error = future.exception()
    if error is not None:  # the worker was lost, or cannot do such a task at all
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        return SceneOutcome(task.product, task.out, "failed", reason)
    outcome: SceneOutcome = future.result()
    return outcome
