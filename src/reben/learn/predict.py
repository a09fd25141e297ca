"""A model and the patches of a split to predictions, in one process or several.

Axes: B patches of a batch, N patches, K labels.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import distributed

from reben.data.loader import Dataset, Loader
from reben.errors import ConfigError, EmptySplitError, first_line
from reben.learn.distributed import num_ranks, rank_and_size
from reben.learn.predictions import Predictions, Subject
from reben.model.classifier import Classifier
from reben.model.inference import optimise_for_inference
from reben.model.network import evaluation_mode
from reben.model.open import ModelLike, name_of, open_model
from reben.model.scores import require_finite


def predict_dataset(
    model: ModelLike,
    dataset: Dataset,
    *,
    batch_size: int = 64,
    optimise: bool = True,
    name: str | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Predictions:
    """Return the scores of a model for the patches of a data set, in the order of its table.

    Under torch.distributed each process predicts its own share, each patch exactly once, and all
    of them return the scores of all patches.

    Args:
        model: As for `evaluate`.
        dataset: The patches; read with the bands of the model.
        batch_size: Patches to predict at a time, in each process.
        optimise: Whether to predict with a copy from `reben.optimise_for_inference`, whose logits
            are within 1e-4 of the model's. A subclass of `Classifier` is always used as it is.
        name: What to call the model; by default its run, folder, id, or what it is made of.
        progress: Called as ``progress(done, total)`` after each batch, in patches of this process.

    Raises:
        RebenError: As `evaluate` does.
    """
    classifier = open_model(model)
    if not len(dataset):
        raise EmptySplitError("There is no patch to evaluate. Choose another split or filter.")
    dataset.table.multi_hot(classifier.labels)  # before hours of prediction, not after
    subject = _describe(name or name_of(model), classifier, dataset)
    rank, size = rank_and_size()
    own = np.arange(rank, len(dataset), size)
    part = replace(dataset, table=dataset.table.take(own))
    if optimise and type(classifier) is Classifier:
        classifier = optimise_for_inference(classifier)
    scores = _gathered(_predict(classifier, part, batch_size, progress), len(dataset))
    return Predictions.of_table(dataset.table, subject, scores, classifier.labels)


@contextmanager
def joined_processes() -> Iterator[bool]:
    """Join the processes that torchrun started, if any; yield whether this is the first one.

    Only the first one computes figures and writes them.
    """
    alone = int(os.environ.get("WORLD_SIZE", "1")) == 1 or distributed.is_initialized()
    if not alone:
        distributed.init_process_group("gloo")
    try:
        yield rank_and_size()[0] == 0
    finally:
        if not alone:
            distributed.destroy_process_group()


def _describe(name: str, classifier: Classifier, dataset: Dataset) -> Subject:
    return Subject(
        name=name,
        backbone=classifier.config.backbone,
        bands=classifier.bands.names,
        split=", ".join(dataset.splits),
        fingerprint=dataset.table.fingerprint(),
        filters={key: value for key, value in dataset.filters if key != "split"},
        calibration=classifier.config.tuned_on,
        data=dataset.identity,
    )


def _predict(
    classifier: Classifier,
    dataset: Dataset,
    batch_size: int,
    progress: Callable[[int, int], None] | None,
) -> NDArray[np.float32]:
    """Return the scores of this process, float32 [N, K]; N is 0 if others have all patches."""
    scores, done = [torch.empty(0, len(classifier.labels))], 0
    loader = Loader(dataset, classifier.preprocess, batch_size, labels=classifier.labels)
    try:
        with evaluation_mode(classifier), torch.inference_mode():
            for batch in loader:
                logits = classifier(batch.images).float()
                require_finite(logits.cpu().numpy())
                scores.append(logits.sigmoid().cpu())
                done += len(batch.names)
                if progress is not None:
                    progress(done, len(dataset))
    except torch.OutOfMemoryError as error:
        raise ConfigError(
            f"The memory of the device is full with batch_size {batch_size}, after {done} of "
            f"{len(dataset)} patches: {first_line(error)}. Set batch_size to "
            f"{max(1, batch_size // 2)}; it does not change the scores."
        ) from error
    return np.asarray(torch.cat(scores).numpy(), np.float32)


def _gathered(own: NDArray[np.float32], num_patches: int) -> NDArray[np.float32]:
    """Return the scores of all processes, of which ``r`` of ``size`` has the rows ``r::size``."""
    size = num_ranks()
    if size == 1:
        return own
    parts: list[NDArray[np.float32]] = [own] * size
    distributed.all_gather_object(parts, own)
    scores = np.empty((num_patches, own.shape[1]), np.float32)
    for rank, part in enumerate(parts):
        scores[rank::size] = part
    return scores
