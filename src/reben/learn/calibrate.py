"""Calibration: a temperature and thresholds that fit a model to the validation split.

The weights do not change. The temperature divides all logits, so that scores approximate
probabilities; it minimises the cross-entropy. The thresholds say above which score a label counts
as present; each maximises the F1 of its label.

Calibrated scores are ``sigmoid(logits / temperature)``. Before calibration the temperature is 1,
and scores equal those of the published models bit for bit. The comparable figures of a report
(threshold 0.5, temperature 1) never depend on a calibration.

Axes: N patches, K labels.
"""

import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from reben.errors import ConfigError
from reben.learn.metrics.classification import trace_curve
from reben.learn.predictions import Predictions, Subject
from reben.model.config import DEFAULT_THRESHOLD, Calibration

if TYPE_CHECKING:
    from reben.model.classifier import Classifier

_logger = logging.getLogger(__name__)
_LOWEST, _HIGHEST = 0.05, 20.0
_STEPS = 100
_LARGEST_LOGIT = 17.0  # float32 scores of larger ones are 1


def calibrate_predictions(predictions: Predictions) -> Calibration:
    """Return the temperature and thresholds that fit predictions best.

    Every distinct score is tried as a threshold. The threshold lies half way to the next lower
    score; among equally good ones the one nearest to 0.5 wins, and of two equally near ones the
    higher. A label without patches keeps 0.5 and is named in ``kept``.
    """
    subject = predictions.subject
    require_tunable(subject.split)
    temperature = fit_temperature(predictions.scores, predictions.labels)
    if not _LOWEST < temperature < _HIGHEST:
        _logger.warning(
            "The temperature is %g, the end of its range: the scores of this model say next to "
            "nothing about probabilities, or %d patches are too few to tell.",
            temperature,
            len(predictions),
        )
    scores = at_temperature(predictions.scores, temperature)
    present = predictions.labels.sum(0) > 0
    return Calibration(
        temperature=temperature,
        thresholds=tuple(
            best_threshold(scores[:, k], predictions.labels[:, k])
            if present[k]
            else DEFAULT_THRESHOLD
            for k in range(scores.shape[1])
        ),
        split=subject.split,
        fingerprint=subject.fingerprint,
        num_patches=len(predictions),
        kept=tuple(
            label
            for label, there in zip(predictions.label_names, present, strict=True)
            if not there
        ),
    )


def require_tunable(split: str) -> None:
    """Raise ConfigError if the test split is among ``split``."""
    if "test" in split.split(", "):
        raise ConfigError(
            f"Nothing may be tuned on the split {split}: figures of patches that thresholds were "
            "tuned on say nothing about other patches. Calibrate on the validation split."
        )


def best_threshold(scores: NDArray[Any], labels: NDArray[Any]) -> float:
    """Return the threshold that maximises the F1 of one label, from scores and labels, [N].

    Example:
        >>> best_threshold(np.array([0.9, 0.3, 0.1]), np.array([1, 1, 0]))
        0.2
    """
    curve = trace_curve(scores.astype(np.float64), labels)
    # No threshold is below a score of 0, so that nothing finds it.
    f1 = np.where(curve.scores > 0, curve.f1, -1)
    # Half way down to the next score, or to 0 below the lowest one.
    limits = (curve.scores + np.append(curve.scores[1:], 0.0)) / 2
    best = np.flatnonzero(f1 >= f1.max() - 1e-12)
    distance = np.abs(limits[best] - DEFAULT_THRESHOLD)
    return float(limits[best][np.lexsort((-limits[best], distance))[0]])


def fit_temperature(scores: NDArray[Any], labels: NDArray[Any]) -> float:
    """Return the temperature, 0.05 to 20, that minimises the cross-entropy.

    The cross-entropy is convex in one over the temperature, so bisection finds where its slope is
    zero. Scores [N, K] are those at temperature 1.
    """
    logits = logits_of(scores)
    real = labels.astype(np.float64)

    def slope(sharpness: float) -> float:
        return float(np.mean(logits * (1 / (1 + np.exp(-logits * sharpness)) - real)))

    low, high = 1 / _HIGHEST, 1 / _LOWEST
    if slope(low) >= 0:
        return _HIGHEST
    if slope(high) <= 0:
        return _LOWEST
    for _ in range(_STEPS):
        middle = (low + high) / 2
        low, high = (middle, high) if slope(middle) < 0 else (low, middle)
        if high - low < 1e-9:
            break
    return 2 / (low + high)


def logits_of(scores: NDArray[Any]) -> NDArray[np.float64]:
    """Return the logits of scores, within what float32 scores tell: -17 to 17."""
    safe = np.clip(scores.astype(np.float64), 1e-30, 1 - 1e-12)
    logits = np.log(safe) - np.log1p(-safe)
    return np.asarray(np.clip(logits, -_LARGEST_LOGIT, _LARGEST_LOGIT), np.float64)


def at_temperature(scores: NDArray[Any], temperature: float) -> NDArray[np.float32]:
    """Return scores at another temperature, float32; 1 gives the same scores bit for bit."""
    if temperature == 1:
        return np.asarray(scores, np.float32)
    return (1 / (1 + np.exp(-logits_of(scores) / temperature))).astype(np.float32)


def why_not_calibrated(subject: Subject) -> str | None:
    """Return why figures at the tuned thresholds would mislead; None if they do not."""
    calibration = subject.calibration
    if calibration is None:
        return "The model was not calibrated."
    shared = set(calibration.split.split(", ")) & set(subject.split.split(", "))
    if shared or calibration.fingerprint == subject.fingerprint:
        return (
            f"The model was calibrated on the {calibration.split} split, so its tuned figures on "
            f"the {subject.split} split would be too good."
        )
    return None


def apply_calibration(model: "Classifier", calibration: Calibration) -> None:
    """Give a model the temperature and thresholds of a calibration."""
    model.config = replace(
        model.config,
        temperature=calibration.temperature,
        thresholds=calibration.thresholds,
        tuned_on=calibration,
    )
