"""Scores against labels: average precision, F1, precision, recall, accuracy, AUROC.

Axes: N patches, K labels.

What follows from the order of scores: curves of precision and recall, average precision.

One label at a time, in float64, with thresholds at the distinct scores: patches of the same score
are found together, so the order of the rows never matters. These are the definitions of
torchmetrics and scikit-learn.

Axes: N patches (or decisions), M distinct scores.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchmetrics.functional import classification

from reben.errors import ConfigError, EmptySplitError, LabelsError


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


THRESHOLD = 0.5
"""A label counts as found where its score is greater than this, as in the published figures."""


@dataclass(frozen=True)
class Figures:
    """The six figures, each in 0..1.

    Args:
        average_precision: Area under the precision-recall curve, as a sum of steps.
        f1: Harmonic mean of precision and recall at the threshold.
        precision: Which part of what was found is right, at the threshold.
        recall: Which part of what is right was found, at the threshold.
        accuracy: Which part of the decisions is right, at the threshold.
        auroc: Area under the receiver operating characteristic.
    """

    average_precision: float
    f1: float
    precision: float
    recall: float
    accuracy: float
    auroc: float


@dataclass(frozen=True)
class ClassFigures(Figures):
    """The figures of one label.

    Args:
        support: How many patches have the label.
    """

    support: int


@dataclass(frozen=True)
class SampleFigures:
    """Figures of each patch by itself, averaged over the patches.

    A patch of which nothing is found counts as 0 in precision and F1; one without labels as 0 in
    recall and F1, as in the published figures.

    Args:
        f1: Mean over the patches of the F1 of its labels.
        precision: Mean over the patches: which part of the labels that were found is right.
        recall: Mean over the patches: which part of its labels was found.
        accuracy: Mean over the patches: which part of the decisions is right.
        subset_accuracy: Which part of the patches has every label right.
        hamming_distance: Which part of the decisions is wrong: 1 - accuracy.
    """

    f1: float
    precision: float
    recall: float
    accuracy: float
    subset_accuracy: float
    hamming_distance: float


@dataclass(frozen=True)
class Metrics:
    """All figures of one set of scores.

    Args:
        macro: Means over the labels, each label counting the same.
        micro: Over all decisions at once, each patch and label counting the same.
        per_class: Label -> its own figures.
        absent: Labels that no patch has. Of these nothing can be found: average precision, F1,
            precision, recall and AUROC count as 0, in ``macro`` too, as in the published figures.
        in_every_patch: Labels that all patches have. Their AUROC is undefined and counts as 0.
        per_sample: Figures of each patch by itself, averaged; None in reports of reben 0.1.
    """

    macro: Figures
    micro: Figures
    per_class: Mapping[str, ClassFigures]
    absent: tuple[str, ...]
    in_every_patch: tuple[str, ...]
    per_sample: SampleFigures | None = None


def compute_metrics(
    scores: NDArray[Any] | Tensor,
    labels: NDArray[Any] | Tensor,
    label_names: Sequence[str],
    threshold: float | Sequence[float] = THRESHOLD,
) -> Metrics:
    """Return the figures of scores against labels.

    Args:
        scores: Scores after the sigmoid, [N, K], 0..1. Logits are refused: the metrics library
            takes them for scores whenever they all happen to lie in 0..1.
        labels: Zeros and ones, [N, K].
        label_names: Names of the K labels.
        threshold: A label counts as found where its score is greater than this; one for all
            labels, or K, one for each.

    Raises:
        EmptySplitError: If there is no patch.
        LabelsError: If labels, scores and names are not of the same shape, or a label is neither
            zero nor one.
        ConfigError: If a score is NaN or outside 0..1, or the threshold is.

    Example:
        >>> found = compute_metrics(np.array([[0.9, 0.2], [0.4, 0.1]]), np.eye(2), ("A", "B"))
        >>> found.macro.average_precision, found.per_class["B"].recall
        (0.75, 0.0)
    """
    scores_NK, labels_NK = _as_tensor(scores), _as_tensor(labels)
    _check(scores_NK, labels_NK, label_names, threshold)
    labels_NK = labels_NK.long()
    # One number is compared in the scores' own precision, so that 0.4 is not above 0.4; thresholds
    # for each label may lie between two neighbouring scores, and keep all their digits.
    limits = (
        threshold
        if isinstance(threshold, float | int)
        else torch.tensor(threshold, dtype=torch.float64)
    )
    found_NK, real_NK = scores_NK > limits, labels_NK.bool()
    support = labels_NK.sum(0).tolist()
    columns = list(zip(scores_NK.T, labels_NK.T, strict=True))
    each = {
        "average_precision": [_average_precision(*column) for column in columns],
        **_at_threshold(found_NK, real_NK),
        "auroc": [_auroc(*column) for column in columns],
    }
    flat = _at_threshold(found_NK.reshape(-1, 1), real_NK.reshape(-1, 1))
    return Metrics(
        macro=Figures(**{name: sum(values) / len(values) for name, values in each.items()}),
        micro=Figures(
            average_precision=_average_precision(scores_NK.flatten(), labels_NK.flatten()),
            auroc=_auroc(scores_NK.flatten(), labels_NK.flatten()),
            **{name: values[0] for name, values in flat.items()},
        ),
        per_class={
            label: ClassFigures(
                **{name: values[k] for name, values in each.items()}, support=support[k]
            )
            for k, label in enumerate(label_names)
        },
        absent=_named(label_names, support, 0),
        in_every_patch=_named(label_names, support, len(labels_NK)),
        per_sample=_per_sample(found_NK, real_NK),
    )


def _average_precision(scores_N: Tensor, labels_N: Tensor) -> float:
    # Not the metrics library's: its float32 is off by 1e-7, more than a resample of the patches
    # with all weights one, which shares this definition.
    return average_precision(scores_N.numpy(), labels_N.numpy())


def _auroc(scores_N: Tensor, labels_N: Tensor) -> float:
    if not labels_N.any() or labels_N.all():
        return 0.0
    return float(classification.binary_auroc(scores_N, labels_N))


def _per_sample(found_NK: Tensor, real_NK: Tensor) -> SampleFigures:
    each = _at_threshold(found_NK.T, real_NK.T)
    # Summed exactly, so that the order of the patches changes nothing.
    means = {name: math.fsum(values) / len(values) for name, values in each.items()}
    return SampleFigures(
        **means,
        subset_accuracy=float((found_NK == real_NK).all(1).double().mean()),
        hamming_distance=float((found_NK != real_NK).double().mean()),
    )


def _at_threshold(found: Tensor, real: Tensor) -> dict[str, list[float]]:
    """Return the figures of decisions [M, K] against truth [M, K], each for every column."""
    both = (found & real).sum(0).double()
    num_found, num_real = found.sum(0), real.sum(0)
    figures = {
        "f1": _divided(2 * both, num_found + num_real),
        "precision": _divided(both, num_found),
        "recall": _divided(both, num_real),
        "accuracy": (found == real).double().mean(0),
    }
    return {name: values.tolist() for name, values in figures.items()}


def _divided(part: Tensor, whole: Tensor) -> Tensor:
    """Return ``part / whole``, and 0 where there is nothing."""
    return part / whole.clamp(min=1)


def _named(names: Sequence[str], support: Sequence[int], count: int) -> tuple[str, ...]:
    return tuple(name for name, number in zip(names, support, strict=True) if number == count)


def _as_tensor(values: NDArray[Any] | Tensor) -> Tensor:
    array = (
        values.detach().cpu() if isinstance(values, Tensor) else torch.tensor(np.asarray(values))
    )
    return array.float() if array.dtype in (torch.float16, torch.bfloat16) else array


def _check(
    scores: Tensor, labels: Tensor, names: Sequence[str], threshold: float | Sequence[float]
) -> None:
    if scores.ndim != 2 or scores.shape != labels.shape or scores.shape[1] != len(names):
        raise LabelsError(
            f"Scores of shape {tuple(scores.shape)}, labels of shape {tuple(labels.shape)} and "
            f"{len(names)} names do not belong together; the shape is (patches, names)."
        )
    if not scores.numel():
        raise EmptySplitError(
            f"There is nothing to measure: {scores.shape[0]} patches, {len(names)} labels."
        )
    if bool(((labels != 0) & (labels != 1)).any()):
        raise LabelsError("Labels are zeros and ones; there are other values among them.")
    limits = np.asarray(threshold)
    if limits.shape not in ((), (len(names),)):
        raise ConfigError(f"There are {limits.size} thresholds for {len(names)} labels.")
    if not ((limits >= 0) & (limits <= 1)).all():
        raise ConfigError(f"The threshold must lie in 0..1; got {threshold}.")
    nan = int(scores.isnan().sum())
    if nan:
        raise ConfigError(
            f"{nan} of {scores.numel()} scores are NaN, in "
            f"{int(scores.isnan().any(1).sum())} of {len(scores)} patches. The weights of the "
            "model are damaged, or its training diverged."
        )
    low, high = float(scores.min()), float(scores.max())
    if low < 0 or high > 1:
        raise ConfigError(
            f"Scores must lie in 0..1; these reach from {low:.4g} to {high:.4g}. If they are "
            "logits, apply the sigmoid first."
        )
