"""Figures of many resamples of the same patches, fast: weights instead of copies.

A resample says how often each patch counts. Scores are sorted once, per label and over all
decisions; then the figures of a resample take one pass over the sorted scores. They equal those
of `reben.learn.metrics.classification` for copies of the patches.

Axes: R resamples, N patches, K labels.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self, cast

import numpy as np
from numpy.typing import NDArray

from reben.data.loading.kernels import compiled
from reben.learn.metrics.classification import THRESHOLD, Counts, Threshold, is_found


@dataclass(frozen=True, eq=False)
class Resampled:
    """The figures of R resamples.

    Args:
        macro: Figure -> float64 [R]. A label that only the resample lacks is left out of the mean:
            as 0 it would count by accident. A label that no patch has counts as 0, as always.
        micro: Figure -> float64 [R].
        per_class: Figure -> float64 [R, K], NaN where no patch of the resample has the label.
    """

    macro: dict[str, NDArray[np.float64]]
    micro: dict[str, NDArray[np.float64]]
    per_class: dict[str, NDArray[np.float64]]

    @classmethod
    def joined(cls, parts: Sequence[Self]) -> Self:
        """Return the resamples of all parts, in order."""
        joined = {
            mean: {name: np.concatenate([vars(part)[mean][name] for part in parts]) for name in of}
            for mean, of in vars(parts[0]).items()
        }
        return cls(**joined)


class Resampler:
    """Scores, float32 [N, K], and labels, zeros and ones [N, K], prepared for resampling."""

    def __init__(
        self,
        scores: NDArray[np.float32],
        labels: NDArray[Any],
        threshold: Threshold = THRESHOLD,
    ) -> None:
        self.num_patches, self.num_labels = scores.shape
        real = labels.astype(np.bool_)
        self.support = real.sum(0)
        self._num_found = is_found(scores, threshold).sum(0)
        rows = np.arange(self.num_patches)
        self._by_class = [
            _sorted_codes(scores[:, k], real[:, k], rows) for k in range(self.num_labels)
        ]
        self._all = _sorted_codes(scores.ravel(), real.ravel(), np.repeat(rows, self.num_labels))

    def figures(self, weights: NDArray[np.uint8]) -> Resampled:
        """Return the figures of resamples.

        ``weights`` are how often each patch counts, uint8 [R, N]; the sum of a row times K is below
        2**31.
        """
        turned = np.ascontiguousarray(weights.T)
        walks = [
            _walk(codes, turned, num_found)
            for codes, num_found in zip(self._by_class, self._num_found, strict=True)
        ]
        ranked, found, hits, real = (np.stack(part, axis=1) for part in zip(*walks, strict=True))
        size = weights.sum(1, dtype=np.int64)[:, None]
        each = {"average_precision": ranked, **_at_threshold(Counts(hits, found, real), size)}
        together, *_ = _walk(self._all, turned, 0)
        whole = Counts(hits.sum(1), found.sum(1), real.sum(1))
        present = real > 0
        return Resampled(
            macro={name: self._macro(values, present) for name, values in each.items()},
            micro={
                "average_precision": together,
                **_at_threshold(whole, size[:, 0] * self.num_labels),
            },
            per_class={name: np.where(present, x, np.nan) for name, x in each.items()},
        )

    def _macro(
        self, values: NDArray[np.float64], present: NDArray[np.bool_]
    ) -> NDArray[np.float64]:
        there = self.support > 0
        counted = present | ~there
        # Labels without a patch still count, with what compute_metrics gives them.
        mean_there = _mean(values, counted & there)
        mean_absent = _mean(values, counted & ~there)
        num_there = int(there.sum())
        return (mean_there * num_there + mean_absent * (len(there) - num_there)) / len(there)


def _mean(values: NDArray[np.float64], which: NDArray[np.bool_]) -> NDArray[np.float64]:
    mean = np.where(which, values, 0).sum(1) / np.maximum(which.sum(1), 1)
    return cast("NDArray[np.float64]", mean)


def _at_threshold(counts: Counts, size: NDArray[np.int64]) -> dict[str, NDArray[np.float64]]:
    wrong = counts.found + counts.real - 2 * counts.hits
    return {**counts.rates(), "accuracy": 1 - wrong / size}


def _sorted_codes(
    scores: NDArray[np.float32], real: NDArray[np.bool_], rows: NDArray[np.int64]
) -> NDArray[np.uint32]:
    """Return rows by falling score, as row * 4 + 2 if the label is right + 1 if the score ends."""
    order = np.argsort(-scores, kind="stable")
    falling = scores[order]
    ends = np.append(falling[1:] != falling[:-1], True)
    codes: NDArray[np.uint32] = (rows[order] * 4 + real[order] * 2 + ends).astype(np.uint32)
    return codes


@compiled
def _walk(  # noqa: C901 - one walk; a call for each step of it would cost its speed
    codes: NDArray[np.uint32], weights: NDArray[np.uint8], num_found: int
) -> tuple[NDArray[np.float64], ...]:
    """Return average precision, weight found, weight of hits, weight that is right; float64 [R].

    For rows by falling score (`_sorted_codes`), how often each row counts, [N, R], and how many of
    the codes lie above the threshold.
    """
    num_resamples = weights.shape[1]
    found, hits = np.zeros(num_resamples, np.int32), np.zeros(num_resamples, np.int32)
    before = np.zeros(num_resamples, np.int32)
    found_above, hits_above = np.zeros(num_resamples), np.zeros(num_resamples)
    area = np.zeros(num_resamples)
    waiting = False
    for place in range(len(codes)):
        if place == num_found:
            found_above[:] = found
            hits_above[:] = hits
        code = codes[place]
        row = code >> np.uint32(2)
        for r in range(num_resamples):
            found[r] += weights[row, r]
        if code & np.uint32(2):
            waiting = True
            for r in range(num_resamples):
                hits[r] += weights[row, r]
        if waiting and code & np.uint32(1):
            waiting = False
            for r in range(num_resamples):
                if hits[r] > before[r]:
                    area[r] += (hits[r] - before[r]) * (hits[r] / found[r])
                    before[r] = hits[r]
    if num_found == len(codes):
        found_above[:] = found
        hits_above[:] = hits
    return area / np.maximum(hits, 1), found_above, hits_above, hits.astype(np.float64)
