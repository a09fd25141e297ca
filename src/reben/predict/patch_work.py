"""The work of predicting patches: parts of a source through a model into part files.

Axes: B patches of a batch, C channels, H rows, W columns, K labels, D features.
"""

from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa

from reben.data.preprocess import Suspicious
from reben.errors import ConfigError, PredictError
from reben.model.classifier import Classifier
from reben.model.inference import InferenceClassifier, optimise_for_inference
from reben.predict.patch_inputs import Bad, Part, PatchSource, ReadBatch, Reading
from reben.predict.resume import PartFiles
from reben.predict.table_files import rings_of
from reben.predict.tables import Rows, batch_of_embeddings, batch_of_scores

What = Literal["scores", "embeddings"]


@dataclass(frozen=True)
class Work:
    """What is to be done, as it is handed to each process that does some of it.

    Args:
        source: The patches.
        out: The file that it is for.
        what: Whether to write scores or embeddings.
        part_size: Patches in a part.
        thresholds: For each label, the score above which it counts as present.
        batch_size: Patches that go through the network together.
        num_workers: Threads of each process that read ahead.
        geometry: Whether to write where patches lie.
        strict: Whether the first bad patch ends the work.
    """

    source: PatchSource
    out: Path
    what: What
    part_size: int
    thresholds: tuple[float, ...]
    batch_size: int = 32
    num_workers: int = 2
    geometry: bool = True
    strict: bool = False


def do_work(model: Classifier, work: Work, *, rank: int = 0, world_size: int = 1) -> Iterator[int]:
    """Write the parts that are not there yet; yield after each batch how many patches it had.

    Args:
        model: The classifier, on any device.
        work: What to do.
        rank: Which process this is, counted from zero. Of several, each writes its own parts.
        world_size: How many there are.

    Raises:
        PredictError: If a patch is bad and the work is strict; the message names it.
        ConfigError: If scores are NaN, since the weights are.
        OutputError: If a part cannot be written.
    """
    fast = model if isinstance(model, InferenceClassifier) else optimise_for_inference(model)
    how = Reading(fast.preprocess, work.batch_size, work.num_workers, work.geometry)
    files = PartFiles(work.out)
    for number, part in enumerate(work.source.parts(work.part_size)):
        if number % world_size == rank and files.num_done(number) != len(part):
            found = yield from _predict_part(fast, part, work, how)
            files.write(number, *found)


def _predict_part(
    model: Classifier, part: Part, work: Work, how: Reading
) -> Generator[int, None, tuple[pa.Table, list[Bad], Suspicious]]:
    """Yield the number of patches of each batch; return rows, bad patches, and how many look so."""
    batches: list[pa.RecordBatch] = []
    bad: list[Bad] = []
    suspicious = Suspicious()
    for batch in part.read(how):
        if batch.bad and work.strict:
            name, reason = batch.bad[0]
            raise PredictError(
                f"Patch {name} cannot be used: {reason} Nothing more was predicted; what was "
                "done before is kept, and the same command goes on from there."
            )
        bad += batch.bad
        suspicious += batch.suspicious
        if batch.names:
            batches.append(_predict_batch(model, batch, work))
        yield batch.num_patches
    rows = pa.Table.from_batches(batches) if batches else pa.table({})
    return rows, bad, suspicious


def _predict_batch(model: Classifier, batch: ReadBatch, work: Work) -> pa.RecordBatch:
    polygons = rings_of(batch.bounds) if work.geometry else None
    if work.what == "embeddings":
        values = model.embed_images(batch.images_BCHW)
        _require_finite(values)
        return batch_of_embeddings(batch.names, values, polygons)
    values = model.score_images(batch.images_BCHW).values
    _require_finite(values)
    return batch_of_scores(Rows(batch.names, values, polygons), model.labels, work.thresholds)


def _require_finite(values: np.ndarray) -> None:
    if not np.isfinite(values).all():
        raise ConfigError(
            "The model gives NaN for patches without any, since its weights are not finite. "
            "Choose another one."
        )
