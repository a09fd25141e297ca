"""Strips of a scene to scores of its windows.

Axes: B windows, K labels.
"""

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from reben.data.preprocess import SuspiciousInputWarning, check_bands
from reben.model.classifier import Classifier
from reben.model.inference import InferenceClassifier, optimise_for_inference
from reben.predict.strips import step_of
from reben.spec.bands import native_size

_BOA_OFFSET = 1000
_DARK_BANDS = ("B02", "B03", "B04")
_LEAST_WINDOWS = 64
"""As many windows are looked at before a scene is said to look wrong."""


class Scorer:
    """Scores windows, and says once if the scene looks as if its values were wrong.

    Args:
        classifier: The model; it is not changed.
        batch_size: How many windows go through it at once, at most.
    """

    def __init__(self, classifier: Classifier, batch_size: int) -> None:
        is_fast = isinstance(classifier, InferenceClassifier)
        self._fast = classifier if is_fast else optimise_for_inference(classifier)
        self._batch_size = batch_size
        self._checked = False
        self._suspicion = Suspicion()

    def score(self, bands: Mapping[str, NDArray[Any]], lefts: Sequence[int]) -> NDArray[np.float32]:
        """Return the scores of windows of one strip, float32 [B, K], 0 to 1.

        Args:
            bands: Band -> [h, W] at native size, as high as a window; no NaN.
            lefts: Where the windows begin, in pixels of 10 m.

        Raises:
            PixelValueError: If the values of the first windows are in a wrong unit.

        Warns:
            SuspiciousInputWarning: Once, if most windows look wrong.
        """
        batches = [
            self._score(cut_windows(bands, self._fast.bands.names, batch))
            for batch in _split(lefts, self._batch_size)
        ]
        num_labels = len(self._fast.labels)
        return np.concatenate(batches) if batches else np.empty((0, num_labels), np.float32)

    def end(self) -> None:
        """Say what has not been said for want of windows."""
        self._suspicion.warn(at_least=1)

    def _score(self, tensors: Mapping[str, Tensor]) -> NDArray[np.float32]:
        if not self._checked:
            check_bands(tensors, self._fast.bands)
            self._checked = True
        self._suspicion.look_at(tensors)
        self._suspicion.warn(at_least=_LEAST_WINDOWS)
        return self._fast.score_images(self._fast.preprocess(tensors)).values


class Suspicion:
    """Counts windows that can be right but mostly are not, and warns where most are like that.

    Whole windows of cloud or snow are nothing unusual in a scene, so one of them tells nothing.
    """

    def __init__(self) -> None:
        self._num_windows = 0
        self._num_bright = 0
        self._num_swapped = 0
        self._has_warned = False

    def look_at(self, tensors: Mapping[str, Tensor]) -> None:
        """Count windows, given as band -> [B, h, w]."""
        if self._has_warned:
            return
        self._num_windows += len(next(iter(tensors.values())))
        dark = [tensors[name] for name in _DARK_BANDS if name in tensors]
        if dark:
            # Not every dtype of digital numbers knows a minimum in torch.
            lowest = np.stack([tensor.numpy().min(axis=(1, 2)) for tensor in dark]).min(axis=0)
            self._num_bright += int(np.count_nonzero(lowest >= _BOA_OFFSET))
        if "VV" in tensors and "VH" in tensors:
            means = {name: tensors[name].numpy().mean(axis=(1, 2)) for name in ("VV", "VH")}
            self._num_swapped += int(np.count_nonzero(means["VV"] < means["VH"]))

    def warn(self, *, at_least: int) -> None:
        """Warn once, if ``at_least`` as many windows were looked at and most are suspicious."""
        if self._has_warned or self._num_windows < at_least:
            return
        if 2 * self._num_bright > self._num_windows:
            self._say(
                f"{self._num_bright} of {self._num_windows} windows hold no pixel below "
                f"{_BOA_OFFSET} in B02, B03, B04. Either most of it is cloud or snow, or the "
                "BOA offset of a Sentinel-2 product of processing baseline 04.00 or later was not "
                "applied. Check where the product comes from, and boa_offset."
            )
        if 2 * self._num_swapped > self._num_windows:
            self._say(
                f"In {self._num_swapped} of {self._num_windows} windows VV is weaker than VH on "
                "average, which nature hardly ever does. Are the two swapped?"
            )

    def _say(self, text: str) -> None:
        self._has_warned = True
        warnings.warn(text, SuspiciousInputWarning, stacklevel=2)


def cut_windows(
    bands: Mapping[str, NDArray[Any]], names: Sequence[str], lefts: Sequence[int]
) -> dict[str, Tensor]:
    """Return windows of a strip, band -> [B, h, w] at native size.

    Args:
        bands: Band -> [h, W] at native size, as high as a window.
        names: Which bands to cut.
        lefts: Where the windows begin, in pixels of 10 m; multiples of 6.
    """
    windows: dict[str, Tensor] = {}
    for name in names:
        side, step = native_size(name), step_of(name)
        starts = [left // step for left in lefts]
        cut = np.stack([bands[name][:, start : start + side] for start in starts])
        windows[name] = torch.from_numpy(cut)
    return windows


def _split(lefts: Sequence[int], size: int) -> list[Sequence[int]]:
    return [lefts[start : start + size] for start in range(0, len(lefts), size)]
