"""A model and the patches of a split -> predictions -> a report.

Axes: B patches of a batch, N patches, K labels.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import distributed, nn

from reben.data.loader import Dataset, Loader
from reben.errors import EmptySplitError
from reben.learn.bootstrap import ROUNDS, bootstrap
from reben.learn.breakdown import break_down, count_co_occurrence
from reben.learn.calibrate import (
    at_temperature,
    calibrate_predictions,
    calibration_of,
    require_tunable,
    why_not_calibrated,
)
from reben.learn.curves import measure_reliability, trace_precision_recall
from reben.learn.metrics import THRESHOLD, compute_metrics
from reben.learn.predictions import Calibration, Predictions, Subject
from reben.learn.report import Calibrated, Report
from reben.learn.run import Run, run_folder
from reben.model.classifier import Classifier

__all__ = ["Report", "calibrate", "evaluate", "measure", "predict_dataset"]


def evaluate(
    model: Classifier | Run | str | Path,
    dataset: Dataset,
    *,
    batch_size: int = 64,
    rounds: int = ROUNDS,
    progress: Callable[[int, int], None] | None = None,
) -> Report:
    """Return what a model reaches on the patches of a data set.

    The threshold is 0.5, as in the published figures, whatever thresholds the model has; what it
    reaches at its own stands in `Report.calibrated`.

    Args:
        model: A classifier, a run, the folder of either, or the id of a model on the Hugging Face
            Hub. One that is loaded here goes to the accelerator, if there is one.
        dataset: The patches, for example ``dataset["test"]``; read with the bands of the model.
        batch_size: Patches to predict at a time; beyond rounding it does not change the figures.
        rounds: Resamples for the intervals; none are drawn if it is 0.
        progress: Called as ``progress(done, total)`` after each batch, counted in patches.

    Raises:
        EmptySplitError: If there is no patch.
        BandsMismatchError: If the store lacks a band that the model takes.
        UnknownLabelError: If a patch has a label that the model does not know.
        ConfigError: If the scores are NaN, since the weights are.
        ModelError: If the model cannot be loaded.

    Example:
        >>> report = evaluate("runs/r50-s2", data["test"])  # doctest: +SKIP
        >>> report.per_class["Pastures"].average_precision  # doctest: +SKIP
        0.861
    """
    predictions = predict_dataset(model, dataset, batch_size=batch_size, progress=progress)
    return measure(predictions, rounds=rounds)


def calibrate(
    model: Classifier | Run | str | Path,
    dataset: Dataset,
    *,
    batch_size: int = 64,
    progress: Callable[[int, int], None] | None = None,
) -> Calibration:
    """Return the temperature and thresholds that fit a model best; the model is not changed.

    Args:
        model: As for `evaluate`.
        dataset: The patches to tune on: ``dataset["validation"]``.
        batch_size: Patches to predict at a time.
        progress: Called as ``progress(done, total)`` after each batch, counted in patches.

    Raises:
        ConfigError: If patches of the test split are among them.
        RebenError: As `evaluate` does.

    Example:
        >>> found = calibrate(model, data["validation"])  # doctest: +SKIP
        >>> apply_calibration(model, found)  # doctest: +SKIP
        >>> model.save_pretrained("tuned")  # doctest: +SKIP
    """
    require_tunable(", ".join(dataset.splits))
    return calibrate_predictions(
        predict_dataset(model, dataset, batch_size=batch_size, progress=progress)
    )


def predict_dataset(
    model: Classifier | Run | str | Path,
    dataset: Dataset,
    *,
    batch_size: int = 64,
    progress: Callable[[int, int], None] | None = None,
) -> Predictions:
    """Return the scores of a model for the patches of a data set, in the order of its table.

    Where torch.distributed runs, each process predicts its own part, and every one returns all:
    no patch is predicted twice and none is lost, whatever the number of processes.

    Args:
        model: As for `evaluate`.
        dataset: The patches; read with the bands of the model.
        batch_size: Patches to predict at a time, in each process.
        progress: Called as ``progress(done, total)`` after each batch, counted in the patches of
            this process.

    Raises:
        RebenError: As `evaluate` does.
    """
    name, classifier = _resolve(model)
    if not len(dataset):
        raise EmptySplitError("There is no patch to evaluate on. Choose another split or filter.")
    dataset.table.multi_hot(classifier.labels)  # before hours of prediction, not after
    rank, size = _rank_and_size()
    own = np.arange(rank, len(dataset), size)
    part = replace(dataset, table=dataset.table.take(own))
    scores = _gathered(_predict(classifier, part, batch_size, progress), len(dataset), size)
    return Predictions.of_table(
        dataset.table, _describe(name, classifier, dataset), scores, classifier.labels
    )


@contextmanager
def joined_processes() -> Iterator[bool]:
    """Join the processes that torchrun started, if it did; yield whether this is the first.

    Only the first one has to compute figures and to write them.
    """
    alone = int(os.environ.get("WORLD_SIZE", "1")) == 1 or distributed.is_initialized()
    if not alone:
        distributed.init_process_group("gloo")
    try:
        yield _rank_and_size()[0] == 0
    finally:
        if not alone:
            distributed.destroy_process_group()


def measure(
    predictions: Predictions,
    *,
    rounds: int = ROUNDS,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Report:
    """Return the report of predictions. No model is needed.

    Args:
        predictions: Scores and labels.
        rounds: Resamples for the intervals; none are drawn if it is 0.
        seed: What the resamples follow from.
        progress: Called as ``progress(done, total)``, counted in resamples.

    Raises:
        ConfigError: If a setting cannot be.
    """
    subject, names = predictions.subject, predictions.label_names
    scores, labels = predictions.scores, predictions.labels
    return Report(
        name=subject.name,
        backbone=subject.backbone,
        bands=subject.bands,
        labels=names,
        split=subject.split,
        num_patches=len(predictions),
        fingerprint=subject.fingerprint,
        metrics=compute_metrics(scores, labels, names),
        filters=subject.filters,
        threshold=THRESHOLD,
        intervals={
            by: bootstrap(predictions, by=by, rounds=rounds, seed=seed, progress=progress)
            for by in ("tile", "patch")
            if rounds
        },
        breakdowns=break_down(predictions),
        co_occurrence=count_co_occurrence(predictions),
        curves=trace_precision_recall(predictions),
        reliability=measure_reliability(scores, labels, names),
        calibrated=_measure_calibrated(predictions),
        why_not_calibrated=why_not_calibrated(subject),
    )


@contextmanager
def evaluation_mode(model: nn.Module) -> Iterator[None]:
    """Switch off dropout and the like; afterwards each module is in the mode it was in."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


def _measure_calibrated(predictions: Predictions) -> Calibrated | None:
    calibration = predictions.subject.calibration
    if calibration is None or why_not_calibrated(predictions.subject) is not None:
        return None
    scores = at_temperature(predictions.scores, calibration.temperature)
    names = predictions.label_names
    return Calibrated(
        calibration,
        compute_metrics(scores, predictions.labels, names, calibration.thresholds),
        measure_reliability(scores, predictions.labels, names),
    )


def _describe(name: str, classifier: Classifier, dataset: Dataset) -> Subject:
    return Subject(
        name=name,
        backbone=classifier.config.backbone,
        bands=classifier.bands.names,
        split=", ".join(dataset.splits),
        fingerprint=dataset.table.fingerprint(),
        filters={key: value for key, value in dataset.filters if key != "split"},
        calibration=calibration_of(classifier.config),
    )


def _predict(
    classifier: Classifier,
    dataset: Dataset,
    batch_size: int,
    progress: Callable[[int, int], None] | None,
) -> NDArray[np.float32]:
    """Return the scores of one process, float32 [N, K]; N may be 0 for one of many processes."""
    scores, done = [torch.empty(0, len(classifier.labels))], 0
    loader = Loader(dataset, classifier.preprocess, batch_size, labels=classifier.labels)
    with evaluation_mode(classifier), torch.inference_mode():
        for batch in loader:
            scores.append(classifier(batch.images).float().sigmoid().cpu())
            done += len(batch.names)
            if progress is not None:
                progress(done, len(dataset))
    return np.asarray(torch.cat(scores).numpy(), np.float32)


def _rank_and_size() -> tuple[int, int]:
    """Return the number of this process and how many there are."""
    if not (distributed.is_available() and distributed.is_initialized()):
        return 0, 1
    return distributed.get_rank(), distributed.get_world_size()


def _gathered(own: NDArray[np.float32], num_patches: int, size: int) -> NDArray[np.float32]:
    """Return the scores of all processes in the order of the table.

    Process ``r`` of ``size`` has every ``size``-th row, from row ``r`` on.
    """
    if size == 1:
        return own
    parts: list[NDArray[np.float32]] = [own] * size
    distributed.all_gather_object(parts, own)
    scores = np.full((num_patches, own.shape[1]), np.nan, np.float32)
    for rank, part in enumerate(parts):
        scores[rank::size] = part
    return scores


def _resolve(model: Classifier | Run | str | Path) -> tuple[str, Classifier]:
    """Return a name for the model, and the model."""
    if isinstance(model, Classifier):
        return f"{model.config.backbone}-{model.bands.word}", model
    if not isinstance(model, Run) and run_folder(model) is not None:
        model = Run.open(model)
    if isinstance(model, Run):
        return model.name, _load(model.best)
    name = Path(model).resolve().name if Path(model).is_dir() else str(model)
    return name, _load(model)


def _load(model: str | Path) -> Classifier:
    device = None
    if torch.accelerator.is_available():
        # Each process of one machine takes a device of its own.
        rank = int(os.environ.get("LOCAL_RANK", "0"))
        torch.accelerator.set_device_index(rank % torch.accelerator.device_count())
        device = torch.accelerator.current_accelerator()
    return Classifier.from_pretrained(model, device=device)
