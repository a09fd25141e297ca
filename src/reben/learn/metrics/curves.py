"""Curves of a report: precision over recall, and how close scores are to probabilities.

Axes: N patches, K labels, M points.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reben.learn.metrics.classification import trace_curve
from reben.learn.predictions import Predictions
from reben.support.json_files import Count, Finite

MAX_POINTS = 200
"""Most points of a curve; average precision is computed from all of them, before thinning."""
NUM_BINS = 15
"""Bins of equal width to measure calibration in. Source: Guo et al., arXiv:1706.04599."""
_DIGITS = 5


@dataclass(frozen=True)
class PrecisionRecall:
    """Precision over rising recall, at most `MAX_POINTS` values each.

    Args:
        recall: Share of what is right that is found.
        precision: Share of what is found that is right.
        threshold: The lowest score that counts as found at that point.
    """

    recall: tuple[Finite, ...]
    precision: tuple[Finite, ...]
    threshold: tuple[Finite, ...]


@dataclass(frozen=True)
class Reliability:
    """How often labels are present over the score that they get, in bins of equal width.

    Args:
        count: Decisions in each bin.
        score: Their mean score; the middle of the bin if it is empty.
        share: Share of them with the label present; None if the bin is empty.
        expected_error: Expected calibration error over all decisions: the mean distance between
            score and share, bins weighted by their counts.
        expected_error_per_class: Label -> the same for this label alone.
        log_loss: Mean binary cross-entropy of all decisions, in nats.
    """

    count: tuple[Count, ...]
    score: tuple[Finite, ...]
    share: tuple[Finite | None, ...]
    expected_error: Finite
    expected_error_per_class: Mapping[str, Finite]
    log_loss: Finite


def trace_precision_recall(predictions: Predictions) -> dict[str, PrecisionRecall]:
    """Return label -> curve for the labels that occur, thinned for a figure."""
    return {
        label: _thinned(predictions.scores[:, k], predictions.labels[:, k])
        for k, label in enumerate(predictions.label_names)
        if predictions.labels[:, k].any()
    }


def measure_reliability(
    scores: NDArray[Any], labels: NDArray[Any], label_names: tuple[str, ...]
) -> Reliability:
    """Return how close scores [N, K] in 0..1 are to probabilities, given labels [N, K]."""
    count, score, share = _binned(scores.ravel(), labels.ravel())
    middle = (np.arange(NUM_BINS) + 0.5) / NUM_BINS
    return Reliability(
        count=tuple(count.tolist()),
        score=tuple(np.where(count > 0, score, middle).tolist()),
        share=tuple(
            value if number else None
            for value, number in zip(share.tolist(), count.tolist(), strict=True)
        ),
        expected_error=_expected_error(count, score, share),
        expected_error_per_class={
            label: _expected_error(*_binned(scores[:, k], labels[:, k]))
            for k, label in enumerate(label_names)
        },
        log_loss=log_loss(scores, labels),
    )


def log_loss(scores: NDArray[Any], labels: NDArray[Any]) -> float:
    """Return the mean binary cross-entropy in nats; scores are clipped to 1e-7..1 - 1e-7."""
    safe = np.clip(scores.astype(np.float64), 1e-7, 1 - 1e-7)
    return float(-np.mean(np.where(labels > 0, np.log(safe), np.log1p(-safe))))


def _thinned(scores: NDArray[Any], labels: NDArray[Any]) -> PrecisionRecall:
    curve = trace_curve(scores, labels)
    recall, precision = curve.recall, curve.precision
    # Evenly along the curve rather than along the scores, so that no corner is cut.
    lengths = np.hypot(np.diff(recall, prepend=0), np.diff(precision, prepend=precision[0]))
    way = np.cumsum(lengths)
    wanted = np.linspace(way[0], way[-1], min(MAX_POINTS, len(way)))
    places = np.unique(np.append(np.searchsorted(way, wanted).clip(max=len(way) - 1), 0))[
        :MAX_POINTS
    ]
    return PrecisionRecall(
        *(
            tuple(np.round(values[places].astype(np.float64), _DIGITS).tolist())
            for values in (recall, precision, curve.scores)
        )
    )


def _binned(
    scores: NDArray[Any], labels: NDArray[Any]
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """Return for each bin: number of decisions, mean score, share with the label present."""
    bins = np.minimum((scores * NUM_BINS).astype(np.int64), NUM_BINS - 1)
    count = np.bincount(bins, minlength=NUM_BINS)
    at_least_one = np.maximum(count, 1)
    score = np.bincount(bins, scores, NUM_BINS) / at_least_one
    return count, score, np.bincount(bins, labels, NUM_BINS) / at_least_one


def _expected_error(
    count: NDArray[np.int64], score: NDArray[np.float64], share: NDArray[np.float64]
) -> float:
    return float(np.sum(count * np.abs(score - share)) / max(count.sum(), 1))
