"""Chunks of patches through a model into a table's finished parts, here or in other processes.

Axes: B patches of a batch, C channels, H rows, W columns, K labels, D features.
"""

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import torch

from reben.data.preprocess import Suspicious
from reben.errors import PredictError
from reben.model.classifier import Classifier
from reben.model.inference import optimise_for_inference
from reben.model.open import pick_device
from reben.predict.patch_inputs import PatchSource, ReadPatches, ReadSettings, Unreadable
from reben.predict.patch_options import PredictOptions
from reben.predict.polygons import rings_of
from reben.predict.resume import TableProgress
from reben.predict.tables import Rows, batch_of_embeddings, batch_of_scores
from reben.support.processes import WorkerDiedError, run_tasks, usable_cores, worker_number

What = Literal["scores", "embeddings"]
_Task = tuple[int, Sequence[Any]]
"""The number of a chunk, and the chunk."""


@dataclass(frozen=True)
class PatchJob:
    """What is to be done, as it is handed to each process that does some of it.

    ``thresholds`` are one for each label: the score above which it counts as present.
    """

    source: PatchSource
    out: Path
    what: What
    chunk_size: int
    thresholds: tuple[float, ...]
    options: PredictOptions

    def tasks(self) -> Iterator[_Task]:
        """Yield the chunks that are not done yet."""
        progress = TableProgress(self.out)
        for number, chunk in enumerate(self.source.chunks(self.chunk_size)):
            if progress.num_done(number) != len(chunk):
                yield number, chunk


def predict_here(model: Classifier, job: PatchJob) -> Iterator[int]:
    """Do all chunks that are not done; yield the number of patches of each batch."""
    for task in job.tasks():
        yield from _predict_chunk(model, job, task)


def predict_in_processes(model: Classifier, job: PatchJob) -> Iterator[int]:
    """Do the same in several processes, each with a copy of the model on a device of its own."""
    model.save_pretrained(TableProgress(job.out).model_folder)
    answers = run_tasks(
        _predict_in_worker,
        job.tasks(),
        num_processes=job.options.devices,
        initializer=_start_worker,
        initargs=(job, model.device.type),
    )
    done: dict[int, int] = {}
    with closing(answers):
        for answer in answers:
            if isinstance(answer.error, WorkerDiedError):
                raise PredictError(
                    f"A process died twice over the same patches (exit code "
                    f"{answer.error.exit_code}). If memory ran out, use fewer devices or smaller "
                    "batches. The same command goes on from there."
                )
            if answer.error is not None:
                raise answer.error
            number, chunk = answer.task
            # A chunk that is done again after the death of a process is counted once.
            before = done.get(number, 0)
            done[number] = min(before + (answer.value or 0), len(chunk))
            yield done[number] - before


class _Worker:
    """What a process keeps from one chunk to the next."""

    model: Classifier
    job: PatchJob


def _start_worker(job: PatchJob, kind: str) -> None:
    device = pick_device(kind, rank=worker_number())
    if device.type == "cpu":
        torch.set_num_threads(max(1, usable_cores() // job.options.devices))
    folder = TableProgress(job.out).model_folder
    _Worker.job = job
    model = Classifier.from_pretrained(folder, device=device)
    _Worker.model = optimise_for_inference(model, engine=job.options.engine)


def _predict_in_worker(task: _Task) -> Iterator[int]:
    yield from _predict_chunk(_Worker.model, _Worker.job, task)


def _predict_chunk(model: Classifier, job: PatchJob, task: _Task) -> Iterator[int]:
    """Write the part of one chunk; yield the number of patches of each batch."""
    number, chunk = task
    options = job.options
    how = ReadSettings(model.preprocess, options.batch_size, options.num_workers, options.geometry)
    batches: list[pa.RecordBatch] = []
    bad: list[Unreadable] = []
    suspicious = Suspicious()
    for batch in job.source.read(chunk, how):
        if batch.bad and options.strict:
            name, reason = batch.bad[0]
            raise PredictError(
                f"Patch {name} cannot be used: {reason} Nothing more was predicted; what was "
                "done before is kept, and the same command goes on from there."
            )
        bad += batch.bad
        suspicious += batch.suspicious
        if batch.names:
            batches.append(_predict_batch(model, batch, job))
        yield batch.num_patches
    rows = pa.Table.from_batches(batches) if batches else pa.table({})
    TableProgress(job.out).write(number, rows, bad, suspicious)


def _predict_batch(model: Classifier, batch: ReadPatches, job: PatchJob) -> pa.RecordBatch:
    polygons = rings_of(batch.bounds) if job.options.geometry else None
    if job.what == "embeddings":
        values = model.embed_images(batch.images_BCHW)
        return batch_of_embeddings(batch.names, values, polygons)
    values = model.score_images(batch.images_BCHW).values
    return batch_of_scores(Rows(batch.names, values, polygons), model.labels, job.thresholds)
