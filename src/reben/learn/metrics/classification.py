"""Scores against labels: average precision, F1, precision, recall, accuracy, AUROC.

Each figure is defined here once, for reports, resamples, breakdowns, curves and calibration. The
definitions are those of torchmetrics and scikit-learn. Average precision and curves take the
distinct scores as thresholds: patches of the same score are found together, so the order of the
rows never matters.

Axes: N patches (or decisions), K labels, M distinct scores.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import compress
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from reben.errors import ConfigError, EmptySplitError, LabelsError
from reben.learn.predictions import check_values
from reben.support.json_files import Count, Finite

if TYPE_CHECKING:
    from torch import Tensor

THRESHOLD = 0.5
"""A label counts as found where its score is greater than this, as in the published figures."""

Threshold = float | Sequence[float]
"""One for all labels, or K, one for each."""


@dataclass(frozen=True, eq=False)
class Counts:
    """Decisions counted against the truth: what is found and right, found, and right.

    They are numbers, or arrays of one shape.
    """

    hits: NDArray[Any]
    found: NDArray[Any]
    real: NDArray[Any]

    @property
    def f1(self) -> NDArray[np.float64]:
        """Harmonic mean of precision and recall; 0 if nothing is found and nothing is right."""
        return _divided(2 * self.hits, self.found + self.real)

    @property
    def precision(self) -> NDArray[np.float64]:
        """Share of what is found that is right; 0 if nothing is found."""
        return _divided(self.hits, self.found)

    @property
    def recall(self) -> NDArray[np.float64]:
        """Share of what is right that is found; 0 if nothing is right."""
        return _divided(self.hits, self.real)

    def rates(self) -> dict[str, NDArray[np.float64]]:
        """Return F1, precision and recall by name."""
        return {"f1": self.f1, "precision": self.precision, "recall": self.recall}


@dataclass(frozen=True, eq=False)
class Curve(Counts):
    """`Counts` [M] as the threshold falls: step ``m`` finds what scores at least ``scores[m]``."""

    scores: NDArray[Any]


def _divided(part: NDArray[Any], whole: NDArray[Any]) -> NDArray[np.float64]:
    return part / np.where(whole > 0, whole, 1)


def is_found(scores: NDArray[Any], threshold: Threshold) -> NDArray[np.bool_]:
    """Return where scores [N, K] are above the threshold."""
    # One number is compared in the scores' own precision, so that 0.4 is not above 0.4. Thresholds
    # per label may lie between two neighbouring scores, and keep all their digits.
    limits = threshold if isinstance(threshold, float | int) else np.asarray(threshold, np.float64)
    return np.asarray(scores > limits)


def count(found: NDArray[np.bool_], real: NDArray[np.bool_], axis: int | None = 0) -> Counts:
    """Return the counts of decisions against the truth, along an axis or of all."""
    return Counts((found & real).sum(axis), found.sum(axis), real.sum(axis))


def trace_curve(scores: NDArray[Any], labels: NDArray[Any]) -> Curve:
    """Return the curve of one label, from scores [N] without NaN and labels [N]."""
    order = np.argsort(-scores, kind="stable")
    falling = scores[order]
    ends = np.flatnonzero(np.append(falling[1:] != falling[:-1], [True] * bool(len(order))))
    hits = np.cumsum(labels[order].astype(np.int64))
    return Curve(hits[ends], ends + 1, np.asarray(hits[-1] if len(hits) else 0), falling[ends])


def average_precision(scores: NDArray[Any], labels: NDArray[Any]) -> float:
    """Return the area under `trace_curve`'s precision over recall, as a sum of steps.

    It is 0 without positives.

    Example:
        >>> average_precision(np.array([0.9, 0.8, 0.7]), np.array([1, 0, 1]))
        0.8333333333333333
    """
    curve = trace_curve(scores, labels)
    return float(np.sum(np.diff(curve.recall, prepend=0) * curve.precision))


@dataclass(frozen=True)
class Figures:
    """Six figures, each in 0..1; all but the first and last depend on the threshold.

    Args:
        average_precision: Area under the precision-recall curve, as a sum of steps.
        f1: Harmonic mean of precision and recall.
        precision: Share of what was found that is right.
        recall: Share of what is right that was found.
        accuracy: Share of the decisions that are right.
        auroc: Area under the receiver operating characteristic.
    """

    average_precision: Finite
    f1: Finite
    precision: Finite
    recall: Finite
    accuracy: Finite
    auroc: Finite


@dataclass(frozen=True)
class ClassFigures(Figures):
    """The figures of one label, and how many patches have it (``support``)."""

    support: Count


@dataclass(frozen=True)
class SampleFigures:
    """Figures of each patch by itself, averaged over the patches.

    As in the published figures, a patch in which nothing is found counts as 0 in precision and
    F1, and a patch without labels as 0 in recall and F1.

    Args:
        f1: Mean F1.
        precision: Mean precision.
        recall: Mean recall.
        accuracy: Mean share of the decisions that are right.
        subset_accuracy: Share of the patches with every label right.
        hamming_distance: Share of the decisions that are wrong: 1 - accuracy.
    """

    f1: Finite
    precision: Finite
    recall: Finite
    accuracy: Finite
    subset_accuracy: Finite
    hamming_distance: Finite


@dataclass(frozen=True)
class Metrics:
    """All figures of one set of scores.

    Args:
        macro: Means over the labels, each label counting the same.
        micro: Over all decisions at once, each patch and label counting the same.
        per_class: Label -> its own figures.
        absent: Labels that no patch has. Their average precision, F1, precision, recall and AUROC
            count as 0, in ``macro`` too, as in the published figures.
        in_every_patch: Labels that all patches have. Their AUROC is undefined and counts as 0.
        per_sample: Figures of each patch by itself, averaged; None in reports of reben 0.1.
    """

    macro: Figures
    micro: Figures
    per_class: Mapping[str, ClassFigures]
    absent: tuple[str, ...]
    in_every_patch: tuple[str, ...]
    per_sample: SampleFigures | None = None

    def figure_of(self, label: str, figure: str) -> float | None:
        """Return a figure of a label; None where it is undefined, and counts as 0 in ``macro``."""
        undefined = self.absent + (self.in_every_patch if figure == "auroc" else ())
        return None if label in undefined else float(getattr(self.per_class[label], figure))


def compute_metrics(
    scores: "NDArray[Any] | Tensor",
    labels: "NDArray[Any] | Tensor",
    label_names: Sequence[str],
    threshold: Threshold = THRESHOLD,
) -> Metrics:
    """Return the figures of scores against labels.

    Args:
        scores: Scores after the sigmoid, [N, K], 0..1; not logits.
        labels: Zeros and ones, [N, K].
        label_names: Names of the K labels.
        threshold: A label counts as found where its score is greater than this; one value, or K.

    Example:
        >>> found = compute_metrics(np.array([[0.9, 0.2], [0.4, 0.1]]), np.eye(2), ("A", "B"))
        >>> found.macro.average_precision, found.per_class["B"].recall
        (0.75, 0.0)
    """
    scores_NK, labels_NK = _as_array(scores), _as_array(labels)
    _check_shapes(scores_NK, labels_NK, label_names)
    _check_threshold(threshold, len(label_names))
    check_values(scores_NK, labels_NK)
    found_NK, real_NK = is_found(scores_NK, threshold), labels_NK != 0
    support = real_NK.sum(0).tolist()
    columns = list(zip(scores_NK.T, real_NK.T, strict=True))
    each = {
        "average_precision": [average_precision(*column) for column in columns],
        **_at_threshold(found_NK, real_NK),
        "auroc": [_auroc(*column) for column in columns],
    }
    flat_scores, flat_real = scores_NK.ravel(), real_NK.ravel()
    flat = _at_threshold(found_NK.reshape(-1, 1), flat_real[:, None])
    return Metrics(
        macro=Figures(**{name: sum(values) / len(values) for name, values in each.items()}),
        micro=Figures(
            average_precision=average_precision(flat_scores, flat_real),
            auroc=_auroc(flat_scores, flat_real),
            **{name: values[0] for name, values in flat.items()},
        ),
        per_class={
            label: ClassFigures(
                **{name: values[k] for name, values in each.items()}, support=support[k]
            )
            for k, label in enumerate(label_names)
        },
        absent=tuple(compress(label_names, ~real_NK.any(0))),
        in_every_patch=tuple(compress(label_names, real_NK.all(0))),
        per_sample=_per_sample(found_NK, real_NK),
    )


def _auroc(scores_N: NDArray[Any], real_N: NDArray[np.bool_]) -> float:
    import torch
    from torchmetrics.functional.classification import binary_auroc

    if not real_N.any() or real_N.all():
        return 0.0
    return float(binary_auroc(torch.tensor(scores_N), torch.tensor(real_N).long()))


def _per_sample(found_NK: NDArray[np.bool_], real_NK: NDArray[np.bool_]) -> SampleFigures:
    each = _at_threshold(found_NK.T, real_NK.T)
    # Summed exactly, so that the order of the patches changes nothing.
    means = {name: math.fsum(values) / len(values) for name, values in each.items()}
    return SampleFigures(
        **means,
        subset_accuracy=float((found_NK == real_NK).all(1).mean()),
        hamming_distance=float((found_NK != real_NK).mean()),
    )


def _at_threshold(found: NDArray[np.bool_], real: NDArray[np.bool_]) -> dict[str, list[float]]:
    """Return the figures of decisions [M, K] against truth [M, K], each for every column."""
    rates = {**count(found, real).rates(), "accuracy": (found == real).mean(0)}
    return {name: values.tolist() for name, values in rates.items()}


def _as_array(values: "NDArray[Any] | Tensor") -> NDArray[Any]:
    if not isinstance(values, np.ndarray) and hasattr(values, "detach"):
        # numpy has no bfloat16.
        half = values.is_floating_point() and values.element_size() == 2
        values = (values.float() if half else values).detach().cpu().numpy()
    array = np.ascontiguousarray(values)
    return array.astype(np.float32) if array.dtype == np.float16 else array


def _check_shapes(scores: NDArray[Any], labels: NDArray[Any], names: Sequence[str]) -> None:
    if scores.ndim != 2 or scores.shape != labels.shape or scores.shape[1] != len(names):
        raise LabelsError(
            f"Scores of shape {scores.shape}, labels of shape {labels.shape} and {len(names)} "
            "names do not belong together. Pass shapes of (patches, names)."
        )
    if not scores.size:
        raise EmptySplitError(
            f"There is nothing to measure: {scores.shape[0]} patches, {len(names)} labels."
        )


def _check_threshold(threshold: Threshold, num_labels: int) -> None:
    limits = np.asarray(threshold)
    if limits.shape not in ((), (num_labels,)):
        raise ConfigError(f"There are {limits.size} thresholds for {num_labels} labels.")
    if not ((limits >= 0) & (limits <= 1)).all():
        raise ConfigError(f"The threshold must lie in 0..1; got {threshold}.")
