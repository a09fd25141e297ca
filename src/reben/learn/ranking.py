"""What follows from the order of scores: curves of precision and recall, average precision.

One label at a time, in float64, with thresholds at the distinct scores: patches of the same score
are found together, so the order of the rows never matters. These are the definitions of
torchmetrics and scikit-learn.

Axes: N patches (or decisions), M distinct scores.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Curve:
    """What is found as the threshold falls from one distinct score to the next.

    Args:
        scores: The distinct scores, falling, [M]. Step ``m`` finds what scores at least
            ``scores[m]``.
        hits: Weight of what is found and right, int64 or float64 [M].
        found: Weight of all that is found, [M].
        total: Weight of all that is right.
    """

    scores: NDArray[Any]
    hits: NDArray[Any]
    found: NDArray[Any]
    total: float

    @property
    def precision(self) -> NDArray[np.float64]:
        """Which part of what is found is right, float64 [M]; 0 where nothing has a weight."""
        return self.hits / np.where(self.found > 0, self.found, 1)

    @property
    def recall(self) -> NDArray[np.float64]:
        """Which part of what is right is found, float64 [M]; 0 if nothing is right."""
        return self.hits / (self.total or 1)

    @property
    def f1(self) -> NDArray[np.float64]:
        """Harmonic mean of precision and recall, float64 [M]."""
        whole = self.found + self.total
        return 2 * self.hits / np.where(whole > 0, whole, 1)


def trace_curve(
    scores: NDArray[Any], labels: NDArray[Any], weights: NDArray[Any] | None = None
) -> Curve:
    """Return the curve of one label.

    Args:
        scores: Any numbers without NaN, [N].
        labels: Zeros and ones, [N].
        weights: How often each patch counts, at least 0, [N]; once by default.
    """
    order = np.argsort(-scores, kind="stable")
    falling = scores[order]
    each = np.ones(len(order), np.int64) if weights is None else weights[order]
    ends = np.flatnonzero(np.append(falling[1:] != falling[:-1], [True] * bool(len(order))))
    hits = np.cumsum(each * labels[order].astype(np.int64))
    return Curve(falling[ends], hits[ends], np.cumsum(each)[ends], hits[-1] if len(hits) else 0)


def average_precision(
    scores: NDArray[Any], labels: NDArray[Any], weights: NDArray[Any] | None = None
) -> float:
    """Return the area under the precision-recall curve, as a sum of steps; 0 without positives.

    Args:
        scores: Any numbers without NaN, [N].
        labels: Zeros and ones, [N].
        weights: How often each patch counts, at least 0, [N]; once by default.

    Example:
        >>> average_precision(np.array([0.9, 0.8, 0.7]), np.array([1, 0, 1]))
        0.8333333333333333
    """
    curve = trace_curve(scores, labels, weights)
    return float(np.sum(np.diff(curve.recall, prepend=0) * curve.precision))
