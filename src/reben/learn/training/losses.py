"""Losses for multi-label classification, averaged over patches and labels.

Axes: B patches, K labels.
"""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from reben.learn.config import Loss

FOCAL_GAMMA = 2.0
"""Source: arXiv:1708.02002, section 4.1."""
ASYMMETRIC_GAMMAS = (0.0, 4.0)
"""For labels that are present, and absent. Source: arXiv:2009.14119, section 2."""
ASYMMETRIC_SHIFT = 0.05
"""How much scores of absent labels are lowered. Source: arXiv:2009.14119, section 2."""


def make_loss(
    kind: Loss, *, label_smoothing: float = 0.0, weights: Tensor | None = None
) -> Callable[[Tensor, Tensor], Tensor]:
    """Return a function of logits and labels, both [B, K], that returns their mean loss.

    timm's asymmetric loss is not used: it clamps logarithms, which leaves clearly wrong logits
    without a gradient, and mixes smoothed targets otherwise.

    Args:
        kind: As in `TrainConfig`, like the next one.
        label_smoothing: How far targets are moved towards 0.5, from 0 to 1.
        weights: Factors on the loss of labels that are present, [K], on the device of the logits.
    """
    terms = {"bce": _cross_entropy, "focal": _focal, "asymmetric": _asymmetric}[kind]

    def loss(logits_BK: Tensor, labels_BK: Tensor) -> Tensor:
        targets_BK = labels_BK
        if label_smoothing:
            targets_BK = labels_BK * (1 - label_smoothing) + label_smoothing / 2
        present_BK, absent_BK = terms(logits_BK)
        if weights is not None:
            present_BK = present_BK * weights
        return (targets_BK * present_BK + (1 - targets_BK) * absent_BK).mean()

    if kind == "bce" and weights is None and not label_smoothing:
        return functional.binary_cross_entropy_with_logits
    return loss


def presence_weights(multi_hot: NDArray[np.uint8]) -> Tensor:
    """Return the ratio of patches without a label to those with it, for each, float32 [K].

    It is 1 for a label that no patch has, or every patch.

    Args:
        multi_hot: Labels of the train split as zeros and ones, [N, K].

    Example:
        >>> presence_weights(np.array([[1, 0], [0, 0], [0, 0]], np.uint8))
        tensor([2., 1.])
    """
    present = multi_hot.sum(0, dtype=np.int64)
    ratios = np.where(present > 0, (len(multi_hot) - present) / np.maximum(present, 1), 1.0)
    # With a weight of 0, a label that all patches have would not be learnt.
    return torch.from_numpy(np.where(ratios > 0, ratios, 1.0)).float()


def _cross_entropy(logits_BK: Tensor) -> tuple[Tensor, Tensor]:
    """Return the loss of each label if it is present, and if it is absent."""
    return functional.softplus(-logits_BK), functional.softplus(logits_BK)


def _focal(logits_BK: Tensor) -> tuple[Tensor, Tensor]:
    present_BK, absent_BK = _cross_entropy(logits_BK)
    scores_BK = logits_BK.sigmoid()
    return present_BK * (1 - scores_BK) ** FOCAL_GAMMA, absent_BK * scores_BK**FOCAL_GAMMA


def _asymmetric(logits_BK: Tensor) -> tuple[Tensor, Tensor]:
    gamma_present, gamma_absent = ASYMMETRIC_GAMMAS
    scores_BK = logits_BK.sigmoid()
    present_BK = functional.softplus(-logits_BK) * (1 - scores_BK) ** gamma_present
    lowered_BK = (scores_BK - ASYMMETRIC_SHIFT).clamp(min=0)
    # The complement is at least the shift, so that its logarithm is finite.
    return present_BK, -(1 - lowered_BK).log() * lowered_BK**gamma_absent
