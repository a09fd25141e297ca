"""Figures by country, month and number of labels; which labels occur together.

Axes: N patches, K labels.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reben.learn.metrics.classification import (
    THRESHOLD,
    average_precision,
    count,
    is_found,
)
from reben.learn.predictions import Predictions
from reben.support.json_files import Count, Finite


@dataclass(frozen=True)
class Slice:
    """The figures of some of the patches.

    Few groups have all labels, so two kinds of macro figures stand here. Those named ``macro``
    are means over the labels that the group has, and tell how well the model does there. The
    ``comparable`` ones count absent labels as 0, as the figures of the whole split do.

    Args:
        num_patches: How many patches the group has.
        macro_average_precision: Mean over the labels that occur; None if none does.
        macro_f1: Mean over the labels that occur; None if none does.
        micro_average_precision: Over all decisions; None if no label occurs.
        micro_f1: Over all decisions; None if no label occurs.
        comparable_macro_average_precision: Mean over all labels.
        comparable_macro_f1: Mean over all labels.
        absent: Labels that no patch of the group has.
    """

    num_patches: Count
    macro_average_precision: Finite | None
    macro_f1: Finite | None
    micro_average_precision: Finite | None
    micro_f1: Finite | None
    comparable_macro_average_precision: Finite
    comparable_macro_f1: Finite
    absent: tuple[str, ...]


@dataclass(frozen=True)
class Breakdowns:
    """The figures of groups of patches; each patch is in one group of each kind.

    Args:
        country: Country -> figures; None where the countries are not known.
        month: Month of acquisition, 1 to 12 -> figures; None where the months are not known.
        num_labels: Number of labels of a patch -> figures.
    """

    country: Mapping[str, Slice] | None
    month: Mapping[str, Slice] | None
    num_labels: Mapping[str, Slice]


@dataclass(frozen=True)
class CoOccurrence:
    """How many patches have two labels at once; the diagonal has those with the label itself.

    Args:
        truth: Counts of the labels, K rows of K.
        prediction: Counts of what scores above the threshold, K rows of K.
    """

    truth: tuple[tuple[Count, ...], ...]
    prediction: tuple[tuple[Count, ...], ...]


def break_down(predictions: Predictions, threshold: float = THRESHOLD) -> Breakdowns:
    """Return the figures by country, month and number of labels.

    Args:
        predictions: The scores and labels.
        threshold: A label counts as found where its score is greater than this.
    """
    num_labels = predictions.labels.sum(1, dtype=np.int64).tolist()

    def by(values: Sequence[Any] | None) -> dict[str, Slice] | None:
        if values is None:
            return None
        names, groups = np.unique(np.array(values), return_inverse=True)
        return {
            str(name): measure_group(predictions, groups == number, threshold)
            for number, name in enumerate(names)
        }

    return Breakdowns(by(predictions.countries), by(predictions.months), by(num_labels) or {})


def measure_group(predictions: Predictions, rows: NDArray[np.bool_], threshold: float) -> Slice:
    """Return the figures of the patches in ``rows``, a mask [N] with at least one patch."""
    scores, real = predictions.scores[rows], predictions.labels[rows].astype(np.bool_)
    found = is_found(scores, threshold)
    f1, present = count(found, real).f1, real.sum(0) > 0
    ranked = np.array([average_precision(*column) for column in zip(scores.T, real.T, strict=True)])
    some = bool(present.any())
    return Slice(
        num_patches=len(real),
        macro_average_precision=float(ranked[present].mean()) if some else None,
        macro_f1=float(f1[present].mean()) if some else None,
        micro_average_precision=average_precision(scores.ravel(), real.ravel()) if some else None,
        micro_f1=float(count(found, real, axis=None).f1) if some else None,
        comparable_macro_average_precision=float(ranked.mean()),
        comparable_macro_f1=float(f1.mean()),
        absent=tuple(
            name for name, there in zip(predictions.label_names, present, strict=True) if not there
        ),
    )


def count_co_occurrence(predictions: Predictions, threshold: float = THRESHOLD) -> CoOccurrence:
    """Return how often labels occur together, in truth and in prediction.

    Args:
        predictions: The scores and labels.
        threshold: A label counts as found where its score is greater than this.
    """
    return CoOccurrence(_pairs(predictions.labels), _pairs(predictions.scores > threshold))


def _pairs(matrix_NK: NDArray[Any]) -> tuple[tuple[int, ...], ...]:
    # In float64 since whole numbers are multiplied slowly, and exactly up to 2**53.
    counts = matrix_NK.astype(np.float64).T @ matrix_NK
    return tuple(tuple(int(count) for count in row) for row in counts)
