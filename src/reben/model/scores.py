"""Scores by name: the result of a model for one patch or several.

Axes: B patches, K labels.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reben.errors import ConfigError, ModelError
from reben.support.numbers import require_number, require_whole


@dataclass(frozen=True, eq=False)
class Scores:
    """Scores of one patch [K] or of several [B, K].

    Args:
        values: Scores, float32 in 0..1: the sigmoid of the logits, divided by the temperature of
            the model first if it was calibrated.
        logits: What the network returned, float32, same shape; never divided by the temperature.
        labels: Names of the K labels.
        thresholds: For each label, the score above which it counts as present.

    Raises:
        ModelError: If a logit is NaN or infinite.

    Example:
        >>> scores = Scores(np.float32([0.9, 0.2]), np.float32([2.2, -1.4]), ("A", "B"), (0.5, 0.1))
        >>> scores.top(1), scores.above(), scores.above(0.5)
        ([('A', 0.9)], ['A', 'B'], ['A'])
        >>> round(scores["B"], 3)
        0.2
    """

    values: NDArray[np.float32]
    logits: NDArray[np.float32]
    labels: tuple[str, ...]
    thresholds: tuple[float, ...]

    def __post_init__(self) -> None:
        """Check that shapes and names match."""
        if self.values.ndim not in (1, 2) or self.values.shape != self.logits.shape:
            raise ConfigError(
                f"Scores of shape {self.values.shape} do not match logits of shape "
                f"{self.logits.shape}."
            )
        require_finite(self.logits)
        if not self.values.shape[-1] == len(self.labels) == len(self.thresholds):
            raise ConfigError(
                f"{self.values.shape[-1]} scores do not match {len(self.labels)} labels and "
                f"{len(self.thresholds)} thresholds."
            )

    def __len__(self) -> int:
        """Count the patches: 1 for the scores of one patch."""
        return len(np.atleast_2d(self.values))

    def __getitem__(self, which: str | int) -> Any:  # noqa: ANN401 - depends on the argument
        """Return the score of the label ``which``, or the scores of patch number ``which``.

        Raises:
            KeyError: If there is no such label.
            IndexError: If there is no such patch.
        """
        if isinstance(which, str):
            if which not in self.labels:
                raise KeyError(f"No label {which!r}. Labels: {'; '.join(self.labels)}.")
            column = self.values[..., self.labels.index(which)]
            return float(column) if self.values.ndim == 1 else column
        values, logits = np.atleast_2d(self.values), np.atleast_2d(self.logits)
        return Scores(values[which], logits[which], self.labels, self.thresholds)

    def top(self, k: int = 5) -> list[Any]:
        """Return the ``k`` highest scores with their labels, highest first.

        Returns:
            ``[(label, score), ...]`` for one patch; a list of such lists for several.

        Raises:
            ConfigError: If ``k`` is not a whole number of at least 0.
        """
        if self.values.ndim == 2:
            return [self[row].top(k) for row in range(len(self))]
        order = np.argsort(-self.values, kind="stable")[: require_whole("k", k, least=0)]
        return [(self.labels[i], _short(self.values[i])) for i in order]

    def above(self, threshold: float | None = None) -> list[Any]:
        """Return the labels whose score exceeds a threshold, highest score first.

        Args:
            threshold: One threshold for all labels, 0 to 1; by default each label's own.

        Returns:
            ``[label, ...]`` for one patch; a list of such lists for several.

        Raises:
            ConfigError: If the threshold is not a number from 0 to 1.
        """
        if self.values.ndim == 2:
            return [self[row].above(threshold) for row in range(len(self))]
        limits = self.thresholds
        if threshold is not None:
            limits = (require_number("threshold", threshold, 0, 1),) * len(self.labels)
        order = np.argsort(-self.values, kind="stable")
        return [self.labels[i] for i in order if float(self.values[i]) > limits[i]]


def require_finite(outputs: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return what a network gave for patches, if all of it are numbers."""
    bad = np.asarray(~np.isfinite(outputs.reshape(-1, outputs.shape[-1])).all(axis=1))
    if bad.any():
        raise ModelError(
            f"The model gives NaN or infinite values for {bad.sum()} of {bad.size} patches: its "
            "weights are damaged, or so large that float32 overflows. Open it again, or train it "
            "again with a lower learning rate."
        )
    return outputs


def _short(value: np.float32) -> float:
    """Return the shortest decimal that is the very same float32."""
    return float(str(value))
