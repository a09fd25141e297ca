"""Strips of a scene to scores of its windows.

Axes: B windows, K labels.
"""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from reben.data.loading.threads import run_ahead
from reben.data.preprocess import Suspicious, count_suspicious
from reben.data.values import check_units
from reben.model.classifier import Classifier
from reben.model.inference import InferenceClassifier, optimise_for_inference
from reben.predict.strips import Strip, step_of
from reben.spec.bands import native_size

_Made = TypeVar("_Made")
_LEAST_WINDOWS = 64
"""As many windows are looked at before a scene is said to look wrong."""


class Scorer:
    """Scores windows, and warns once if most of a scene looks as if its values were wrong.

    Single windows tell nothing: it is not unusual that a whole one lies under clouds or snow.

    Args:
        classifier: The model; it is not changed.
        batch_size: How many windows go through it at once, at most.
    """

    def __init__(self, classifier: Classifier, batch_size: int) -> None:
        is_fast = isinstance(classifier, InferenceClassifier)
        self._fast = classifier if is_fast else optimise_for_inference(classifier)
        self._batch_size = batch_size
        self._suspicious = Suspicious()
        self._has_warned = False

    @property
    def num_streams(self) -> int:
        """How many strips are scored best at once, each by one thread; 1 leaves threads alone.

        Threads that share each layer wait for one another, busily, while others read.
        """
        in_torch = self._fast.engine in ("eager", "optimised", "compiled")
        return torch.get_num_threads() if in_torch and self._fast.device.type == "cpu" else 1

    def in_streams(self, strips: Iterator[Strip], do: Callable[[Strip], _Made]) -> Iterator[_Made]:
        """Yield what ``do`` makes of strips, in order; `num_streams` of them are done at once.

        An error of reading is raised once all strips that were read before it are done.
        """
        found: dict[int, _Made] = {}
        ended: list[BaseException] = []
        num_streams = self.num_streams

        def readable() -> Iterator[Strip]:
            try:
                yield from strips
            except BaseException as error:  # noqa: BLE001 - raised when what was read is done
                ended.append(error)

        def keep(strip: Strip) -> None:
            if num_streams > 1:
                torch.set_num_threads(1)  # of what this thread calls
            found[strip.row] = do(strip)

        with threads_restored():
            jobs = run_ahead(
                readable(),
                lambda strip: [lambda: keep(strip)],
                num_workers=num_streams,
                ahead=num_streams,
            )
            for strip in jobs:
                yield found.pop(strip.row)
        if ended:
            raise ended[0]

    def score(
        self, bands: Mapping[str, NDArray[Any]], lefts: Sequence[int]
    ) -> tuple[NDArray[np.float32], Suspicious]:
        """Return the scores of windows of one strip, float32 [B, K], 0 to 1, and what looks wrong.

        Args:
            bands: Band -> [h, W] at native size, as high as a window; no NaN.
            lefts: Where the windows begin, in pixels of 10 m.

        Raises:
            PixelValueError: If the strip holds values in another unit.
        """
        if lefts:
            check_units({name: bands[name][None] for name in self._fast.bands})
        scores = [np.empty((0, len(self._fast.labels)), np.float32)]
        suspicious = Suspicious()
        for first in range(0, len(lefts), self._batch_size):
            batch = lefts[first : first + self._batch_size]
            tensors = cut_windows(bands, self._fast.bands.names, batch)
            suspicious += count_suspicious(tensors)
            scores.append(self._fast.score_images(self._fast.preprocess(tensors)).values)
        return np.concatenate(scores), suspicious

    def note(self, suspicious: Suspicious) -> None:
        """Count what looks wrong in a strip; strips are noted in order.

        Warns:
            SuspiciousInputWarning: Once, if most windows look wrong.
        """
        self._suspicious += suspicious
        self._warn(at_least=_LEAST_WINDOWS)

    def end(self) -> None:
        """Warn if that has not been done for want of windows."""
        self._warn(at_least=1)

    def _warn(self, *, at_least: int) -> None:
        if not self._has_warned and self._suspicious.num_patches >= at_least:
            self._has_warned = self._suspicious.warn(
                unit="windows",
                cure="check where the product comes from, and boa_offset",
                share=0.5,
            )


class _Restored:
    """Torch's number of threads before the first of the scenes that are scored now."""

    lock = threading.Lock()
    num_scenes = 0
    before = 1


@contextmanager
def threads_restored() -> Iterator[None]:
    """Leave torch's number of threads as it is, once the last of several scenes is done."""
    with _Restored.lock:
        if not _Restored.num_scenes:
            _Restored.before = torch.get_num_threads()
        _Restored.num_scenes += 1
    try:
        yield
    finally:
        with _Restored.lock:
            _Restored.num_scenes -= 1
            if not _Restored.num_scenes:
                torch.set_num_threads(_Restored.before)


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
