"""How sure figures are: 95 % bootstrap intervals, and differences between two models.

Patches of one tile show one landscape on one day, so they are not independent: drawing patches one
by one takes a split for larger than it is, and gives intervals that are too narrow. So whole tiles
are drawn, with replacement, as often as there are tiles; intervals by patch stand beside them.

An interval is the range between two percentiles of the resampled figures. It says how far a figure
would move on other tiles of the same kind, and nothing of other seeds of the training.
"""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import combinations
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import NDArray

from reben.errors import ConfigError
from reben.learn.metrics.classification import THRESHOLD, Threshold
from reben.learn.predictions import Predictions, require_same_patches
from reben.support.json_files import Count, Finite
from reben.support.processes import usable_cores

if TYPE_CHECKING:
    from reben.learn.metrics.resampling import Resampled

FIGURES = ("average_precision", "f1", "precision", "recall", "accuracy")
"""The figures that have intervals."""
ROUNDS = 1000
LEVEL = 0.95
FEW_TILES = 10
"""With fewer tiles than this an interval by tile is too narrow to be trusted, and says so."""
_BLOCK = 16  # resamples that share one walk along the scores; the random numbers depend on it


@dataclass(frozen=True)
class Interval:
    """The range in which a figure lies with the probability of the level."""

    low: Finite
    high: Finite


@dataclass(frozen=True)
class Resampling:
    """How patches were resampled.

    Args:
        unit: What was drawn: ``tile`` or ``patch``.
        num_units: How many of them there are.
        rounds: How many resamples were drawn.
        level: Probability of the intervals.
        seed: What the resamples follow from.
    """

    unit: str
    num_units: Count
    rounds: Count
    level: Finite
    seed: int


@dataclass(frozen=True)
class Intervals(Resampling):
    """Intervals of the figures of one model, resampled in one way; see `Resampling`.

    Args:
        macro: Figure -> interval.
        micro: Figure -> interval.
        average_precision: Label -> interval of its average precision, from the resamples that
            have a patch with the label; None for a label that no patch has.
        reason: Why there are no intervals, if there are none.
        caution: Why they should not be trusted, if so.
    """

    macro: Mapping[str, Interval] = field(default_factory=dict)
    micro: Mapping[str, Interval] = field(default_factory=dict)
    average_precision: Mapping[str, Interval | None] = field(default_factory=dict)
    reason: str | None = None
    caution: str | None = None


@dataclass(frozen=True)
class MetricDifference:
    """How much a figure of one model is above that of another, on the same patches.

    Args:
        value: First minus second.
        low: Lower end of the interval.
        high: Upper end.
        p_value: Two-sided: how often resamples disagree with the sign, doubled. Of R resamples it
            cannot be below 2 / (R + 1).
    """

    value: float
    low: float
    high: float
    p_value: float

    @property
    def is_real(self) -> bool:
        """Whether the interval leaves out zero."""
        return self.low > 0 or self.high < 0

    def turned(self) -> Self:
        """Return how much the second model is above the first."""
        return replace(self, value=-self.value, low=-self.high, high=-self.low)


@dataclass(frozen=True)
class Comparison(Resampling):
    """Differences between two models on the same patches; see `Resampling`.

    Args:
        macro: Figure -> difference.
        micro: Figure -> difference.
        reason: Why there are no differences, if there are none.
        caution: Why they should not be trusted, if so.
    """

    macro: Mapping[str, MetricDifference] = field(default_factory=dict)
    micro: Mapping[str, MetricDifference] = field(default_factory=dict)
    reason: str | None = None
    caution: str | None = None


def bootstrap(  # noqa: PLR0913 - all but the first are named
    predictions: Predictions,
    *,
    by: str = "tile",
    rounds: int = ROUNDS,
    level: float = LEVEL,
    seed: int = 0,
    threshold: Threshold = THRESHOLD,
    progress: Callable[[int, int], None] | None = None,
) -> Intervals:
    """Return intervals for the figures of predictions.

    Args:
        predictions: The scores and labels.
        by: What to draw: ``tile`` or ``patch``.
        rounds: How many resamples to draw.
        level: Probability of the intervals, above 0 and below 1.
        seed: The same seed gives the same intervals, on any number of cores.
        threshold: A label counts as found where its score is greater than this; one, or K.
        progress: Called as ``progress(done, total)``, counted in resamples.

    Raises:
        ConfigError: If a setting cannot be.
    """
    units, reason, caution = _units(predictions, by)
    _check(rounds, level)
    found = Intervals(by, _count(units), rounds, level, seed, reason=reason, caution=caution)
    if units is None or reason is not None:
        return found
    ((_, drawn),) = _resample([predictions], units, rounds, seed, threshold, progress)
    ranked = drawn.per_class["average_precision"]
    present = predictions.labels.sum(0) > 0
    return replace(
        found,
        macro={name: _interval(drawn.macro[name], level) for name in FIGURES},
        micro={name: _interval(drawn.micro[name], level) for name in FIGURES},
        average_precision={
            label: _interval(ranked[:, k], level) if present[k] else None
            for k, label in enumerate(predictions.label_names)
        },
    )


def paired_bootstrap(  # noqa: PLR0913 - all after the second are named
    first: Predictions,
    second: Predictions,
    *,
    by: str = "tile",
    rounds: int = ROUNDS,
    level: float = LEVEL,
    seed: int = 0,
    threshold: Threshold = THRESHOLD,
    progress: Callable[[int, int], None] | None = None,
) -> Comparison:
    """Return how much the figures of one model are above those of another.

    Both are measured on the very same resamples, so what makes a resample hard for both cancels.

    Args:
        first: Scores of one model.
        second: Scores of the other one, for the same patches in the same order.
        by: What to draw: ``tile`` or ``patch``.
        rounds: How many resamples to draw.
        level: Probability of the intervals, above 0 and below 1.
        seed: The same seed gives the same intervals, on any number of cores.
        threshold: A label counts as found where its score is greater than this; one, or K.
        progress: Called as ``progress(done, total)``, counted in resamples.

    Raises:
        LabelsError: If the two have not the same labels.
        ConfigError: If they are about other patches, or a setting cannot be.
    """
    found = compare_models(
        [first, second], by=by, rounds=rounds, level=level, seed=seed, threshold=threshold,
        progress=progress,
    )  # fmt: skip
    return found[0, 1]


def compare_models(  # noqa: PLR0913 - all but the first are named
    models: Sequence[Predictions],
    *,
    by: str = "tile",
    rounds: int = ROUNDS,
    level: float = LEVEL,
    seed: int = 0,
    threshold: Threshold = THRESHOLD,
    progress: Callable[[int, int], None] | None = None,
) -> dict[tuple[int, int], Comparison]:
    """Return `paired_bootstrap` of every two models, with each model resampled only once.

    Args:
        models: Predictions of two models or more, for the same patches in the same order.
        by: As for `paired_bootstrap`, like everything that follows.
        rounds: How many resamples to draw.
        level: Probability of the intervals.
        seed: What the resamples follow from.
        threshold: A label counts as found where its score is greater than this.
        progress: Called as ``progress(done, total)``, counted in resamples.

    Returns:
        Positions of two models -> how much the figures of the first are above the second's.

    Raises:
        LabelsError: If they have not the same labels.
        ConfigError: If they are about other patches, or a setting cannot be.
    """
    for other in models[1:]:
        require_same_patches(models[0], other)
    _check(rounds, level)
    units, reason, caution = _units(models[0], by)
    none = Comparison(by, _count(units), rounds, level, seed, reason=reason, caution=caution)
    pairs = list(combinations(range(len(models)), 2))
    if units is None or reason is not None:
        return dict.fromkeys(pairs, none)
    resampled = _resample(models, units, rounds, seed, threshold, progress)
    return {
        (first, second): replace(
            none,
            macro=_differences(resampled[first], resampled[second], "macro", level),
            micro=_differences(resampled[first], resampled[second], "micro", level),
        )
        for first, second in pairs
    }


def _units(
    predictions: Predictions, by: str
) -> tuple[NDArray[np.int64] | None, str | None, str | None]:
    """Return the number of the unit of each patch [N], why it cannot be, and why to be careful."""
    if by == "patch":
        return np.arange(len(predictions)), _too_few(len(predictions), "patch"), None
    if by != "tile":
        raise ConfigError(f"Resampling goes by tile or by patch; got {by!r}.")
    if predictions.tiles is None:
        return None, "The names of the patches do not tell their tiles.", None
    names, units = np.unique(np.array(predictions.tiles), return_inverse=True)
    caution = None
    if len(names) < FEW_TILES:
        caution = f"There are only {len(names)} tiles, so the intervals are too narrow."
    return units.astype(np.int64), _too_few(len(names), "tile"), caution


def _too_few(count: int, unit: str) -> str | None:
    if count > 1:
        return None
    return f"All is of one {unit}, and nothing can be told from one {unit} about others."


def _count(units: NDArray[np.int64] | None) -> int:
    return 0 if units is None else int(units.max()) + 1


def _check(rounds: int, level: float) -> None:
    if rounds < 1:
        raise ConfigError(f"There must be at least one resample; got {rounds}.")
    if not 0 < level < 1:
        raise ConfigError(f"The level must lie between 0 and 1; got {level}.")


def _resample(
    models: Sequence[Predictions],
    units: NDArray[np.int64],
    rounds: int,
    seed: int,
    threshold: Threshold,
    progress: Callable[[int, int], None] | None,
) -> "list[tuple[Resampled, Resampled]]":
    """Return the figures of each model: of the patches, and of the resamples, all the same ones."""
    from reben.learn.metrics.resampling import Resampled, Resampler

    resamplers = [Resampler(model.scores, model.labels, threshold) for model in models]
    num_units = _count(units)

    def draw(first: int) -> list[Resampled]:
        generator = np.random.default_rng([seed, first])
        size = min(_BLOCK, rounds - first)
        drawn = generator.integers(num_units, size=(size, num_units))
        counts = np.stack([np.bincount(row, minlength=num_units) for row in drawn])
        weights = counts.astype(np.uint8)[:, units]  # nothing is drawn 256 times by chance
        return [resampler.figures(weights) for resampler in resamplers]

    blocks = []
    with ThreadPoolExecutor(usable_cores()) as pool:
        for number, block in enumerate(pool.map(draw, range(0, rounds, _BLOCK)), start=1):
            blocks.append(block)
            if progress is not None:
                progress(min(number * _BLOCK, rounds), rounds)
    once = np.ones((1, len(units)), np.uint8)
    return [
        (resampler.figures(once), Resampled.joined(own))
        for resampler, own in zip(resamplers, zip(*blocks, strict=True), strict=True)
    ]


def _interval(values: NDArray[np.float64], level: float) -> Interval:
    low, high = np.nanquantile(values, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(low), float(high))


def _differences(
    first: "tuple[Resampled, Resampled]",
    second: "tuple[Resampled, Resampled]",
    mean: str,
    level: float,
) -> dict[str, MetricDifference]:
    whole, drawn = (
        {name: getattr(ours, mean)[name] - getattr(theirs, mean)[name] for name in FIGURES}
        for ours, theirs in zip(first, second, strict=True)
    )
    return {name: _difference(float(whole[name][0]), drawn[name], level) for name in FIGURES}


def _difference(value: float, drawn: NDArray[np.float64], level: float) -> MetricDifference:
    interval = _interval(drawn, level)
    below, above = int((drawn <= 0).sum()), int((drawn >= 0).sum())
    p_value = min(1.0, 2 * (min(below, above) + 1) / (len(drawn) + 1))
    return MetricDifference(value, interval.low, interval.high, p_value)
