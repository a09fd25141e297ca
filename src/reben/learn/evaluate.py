"""A model and the patches of a split to a report: predictions, figures, calibration."""

from collections.abc import Callable

from reben.data.loader import Dataset
from reben.learn.calibrate import (
    at_temperature,
    calibrate_predictions,
    require_tunable,
    why_not_calibrated,
)
from reben.learn.metrics.bootstrap import ROUNDS, bootstrap
from reben.learn.metrics.breakdown import break_down, count_co_occurrence
from reben.learn.metrics.classification import THRESHOLD, compute_metrics
from reben.learn.metrics.curves import measure_reliability, trace_precision_recall
from reben.learn.predict import joined_processes, predict_dataset
from reben.learn.predictions import Predictions
from reben.learn.report import Calibrated, Report
from reben.model.config import Calibration
from reben.model.engines.names import Engine
from reben.model.open import ModelLike

__all__ = [
    "Report",
    "calibrate",
    "evaluate",
    "joined_processes",
    "measure",
    "predict_dataset",
]


def evaluate(
    model: ModelLike,
    dataset: Dataset,
    *,
    batch_size: int = 64,
    rounds: int = ROUNDS,
    engine: Engine = "auto",
    progress: Callable[[int, int], None] | None = None,
) -> Report:
    """Return the report of a model on the patches of a data set.

    The threshold is 0.5, as in the published figures; those at the model's own thresholds are in
    `Report.calibrated`.

    Args:
        model: Whatever `reben.open_model` takes. A copy that is optimised for inference does the
            work, see `predict_dataset`.
        dataset: The patches, for example ``dataset["test"]``; read with the bands of the model.
        batch_size: Patches to predict at a time; it changes figures only by rounding.
        rounds: Resamples for the intervals; 0 leaves the intervals out.
        engine: What computes, see `predict_dataset`.
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
    predictions = predict_dataset(
        model, dataset, batch_size=batch_size, engine=engine, progress=progress
    )
    return measure(predictions, rounds=rounds)


def calibrate(
    model: ModelLike,
    dataset: Dataset,
    *,
    batch_size: int = 64,
    progress: Callable[[int, int], None] | None = None,
) -> Calibration:
    """Return the temperature and thresholds that fit a model best; it is not changed.

    Args:
        model: As for `evaluate`.
        dataset: The patches to tune on: ``dataset["validation"]``.
        batch_size: Patches to predict at a time.
        progress: Called as ``progress(done, total)`` after each batch, counted in patches.

    Raises:
        ConfigError: If the patches include the test split.
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


def measure(
    predictions: Predictions,
    *,
    rounds: int = ROUNDS,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Report:
    """Return the report of predictions, without the model.

    Args:
        predictions: Scores and labels.
        rounds: Resamples for the intervals; 0 leaves the intervals out.
        seed: Seed of the resamples.
        progress: Called as ``progress(done, total)``, counted in resamples.

    Raises:
        ConfigError: If ``rounds`` is negative.
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
        data=subject.data,
        part=subject.part,
        engine=predictions.engine,
    )


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
