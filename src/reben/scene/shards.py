"""Several processes that share the parts of one prediction, one for each device.

Each loads the model from the folder of the parts, and writes parts of its own; only counts cross
between processes. On a machine without accelerators they share the cores.
"""

import multiprocessing
import os
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess

import torch

from reben.data.spawned import belong_to_parent, interrupts_blocked, main_module_hidden
from reben.errors import PredictError, RebenError
from reben.model.classifier import Classifier
from reben.scene.part_files import MODEL_FOLDER, PartFiles
from reben.scene.patch_work import Work, choose_device, do_work

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
    with _started(work, num_processes) as processes:
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
    work: Work, num_processes: int
) -> Iterator[dict["Connection[None, _Message]", SpawnProcess]]:
    """Start processes, and end them when the block is left, however it is left."""
    context = multiprocessing.get_context("spawn")
    processes: dict[Connection[None, _Message], SpawnProcess] = {}
    try:
        for rank in range(num_processes):
            ours, theirs = context.Pipe(duplex=False)
            process = context.Process(
                target=_work, args=(theirs, work, rank, num_processes), daemon=True
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


def _work(connection: "Connection[_Message, None]", work: Work, rank: int, world_size: int) -> None:
    """Do the parts of one process."""
    belong_to_parent()
    device = choose_device(rank)
    if device.type == "cpu":
        torch.set_num_threads(max(1, (os.cpu_count() or 1) // world_size))
    try:
        model = Classifier.from_pretrained(PartFiles(work.out).folder / MODEL_FOLDER, device=device)
        for count in do_work(model, work, rank=rank, world_size=world_size):
            connection.send(count)
        connection.send(None)
    except RebenError as error:
        connection.send(error)
