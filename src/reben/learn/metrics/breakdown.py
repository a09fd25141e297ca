"""Figures by country, month and number of labels; which labels occur together.

Axes: N patches, K labels.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reben.errors import ConfigError
from reben.learn.metrics.classification import (
    THRESHOLD,
    average_precision,
    count,
    is_found,
)
from reben.learn.predictions import Predictions
from reben.support.json_files import Count, Finite

_MONTHS = frozenset(str(month) for month in range(1, 13))


@dataclass(frozen=True)
class Slice:
    """The figures of some of the patches.

    Few slices have all labels, so there are two kinds of macro figures. Those named ``macro`` are
    means over the labels that occur, and tell how well the model does there. The ``comparable``
    ones count absent labels as 0, as the figures of the whole split do.

    Args:
        num_patches: Number of patches.
        macro_average_precision: Mean over the labels that occur; None if none does.
        macro_f1: Mean over the labels that occur; None if none does.
        micro_average_precision: Over all decisions; None if no label occurs.
        micro_f1: Over all decisions; None if no label occurs.
        comparable_macro_average_precision: Mean over all labels.
        comparable_macro_f1: Mean over all labels.
        absent: Labels that no patch of the slice has.
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
    """The figures by country, month and number of labels.

    Args:
        country: Country -> figures; None where the countries are unknown.
        month: Month of acquisition, 1 to 12 -> figures; None where the months are unknown.
        num_labels: Number of labels of a patch -> figures.
    """

    country: Mapping[str, Slice] | None
    month: Mapping[str, Slice] | None
    num_labels: Mapping[str, Slice]

    def __post_init__(self) -> None:
        """Check the names of months and numbers of labels, which files may hold anything for."""
        odd = [name for name in self.month or () if name not in _MONTHS]
        odd += [name for name in self.num_labels if not (name.isascii() and name.isdigit())]
        if odd:
            raise ConfigError(f"{odd[0]!r} is neither a month, 1 to 12, nor a number of labels.")


@dataclass(frozen=True)
class CoOccurrence:
    """How many patches have two labels at once, K rows of K, in truth and above the threshold.

    The diagonal counts those with the label itself.
    """

    truth: tuple[tuple[Count, ...], ...]
    prediction: tuple[tuple[Count, ...], ...]


def break_down(predictions: Predictions) -> Breakdowns:
    """Return the figures by country, month and number of labels."""

    def by(values: Sequence[Any] | None) -> dict[str, Slice] | None:
        if values is None:
            return None
        names, slices = np.unique(np.array(values), return_inverse=True)
        return {
            str(name): _measure(predictions, slices == number) for number, name in enumerate(names)
        }

    num_labels = predictions.labels.sum(1, dtype=np.int64).tolist()
    return Breakdowns(by(predictions.countries), by(predictions.months), by(num_labels) or {})


def _measure(predictions: Predictions, rows: NDArray[np.bool_]) -> Slice:
    """Return the figures of the patches in ``rows``, a mask [N] with at least one patch."""
    scores, real = predictions.scores[rows], predictions.labels[rows].astype(np.bool_)
    found = is_found(scores, THRESHOLD)
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
        absent=tuple(np.array(predictions.label_names, object)[~present]),
    )


def count_co_occurrence(predictions: Predictions) -> CoOccurrence:
    """Return how often labels occur together, in truth and in prediction."""
    return CoOccurrence(_pairs(predictions.labels), _pairs(predictions.scores > THRESHOLD))


def _pairs(matrix_NK: NDArray[Any]) -> tuple[tuple[int, ...], ...]:
    # In float64, since whole numbers are multiplied slowly; exact up to 2**53.
    counts = matrix_NK.astype(np.float64).T @ matrix_NK
    return tuple(tuple(int(count) for count in row) for row in counts)
