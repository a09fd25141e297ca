"""How certain figures are: 95 % bootstrap intervals, and differences between models.

Patches of one tile show one landscape on one day, so they are not independent. Drawing single
patches treats a split as larger than it is and gives intervals that are too narrow. Therefore
whole tiles are drawn, with replacement, as many as there are; intervals by patch are given too.

An interval is the range between two percentiles of the resampled figures. It says how far a figure
would vary over other tiles of the same kind, and nothing about another training seed.
"""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import combinations
from typing import TYPE_CHECKING, Any, NamedTuple, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from reben.errors import ConfigError
from reben.learn.metrics.classification import THRESHOLD, Threshold
from reben.learn.predictions import Predictions, require_same_patches
from reben.support.json_files import Count, Finite
from reben.support.numbers import require_whole
from reben.support.processes import usable_cores

if TYPE_CHECKING:
    from reben.learn.metrics.resampling import Resampled

FIGURES = ("average_precision", "f1", "precision", "recall", "accuracy")
"""The figures that have intervals."""
ROUNDS = 1000
LEVEL = 0.95
FEW_TILES = 10
"""With fewer tiles, an interval by tile is too narrow to be trusted, and says so."""
FEW_PATCHES = 1000
"""With fewer patches, intervals of average precision lie too high, and reports say so.

Source: six simulated sets of 19 labels with shares of 1 to 50 %: resamples were too high by 0.053
for 60 patches, 0.023 for 200, 0.014 for 500, 0.009 for 1,000, 0.005 for 3,000, 0.002 for 10,000.
"""
METHOD = "percentiles of bootstrap resamples, without correction for bias"
_Kind = TypeVar("_Kind", bound="Resampling")
_BLOCK = 16  # resamples that share one pass over the scores; the random numbers depend on it


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
        rounds: Number of resamples.
        level: Probability of the intervals.
        seed: Seed of the resamples.
        reason: Why there are no intervals, if there are none.
        caution: Why the intervals should not be trusted, if so.
    """

    unit: str
    num_units: Count
    rounds: Count
    level: Finite
    seed: int
    reason: str | None = None
    caution: str | None = None


@dataclass(frozen=True)
class Intervals(Resampling):
    """Intervals of the figures of one model; the other fields are those of `Resampling`.

    Args:
        macro: Figure -> interval.
        micro: Figure -> interval.
        average_precision: Label -> interval of its average precision, from the resamples that
            have a patch with the label; None for a label that no patch has.
        method: How intervals follow from the resamples.
    """

    macro: Mapping[str, Interval] = field(default_factory=dict)
    micro: Mapping[str, Interval] = field(default_factory=dict)
    average_precision: Mapping[str, Interval | None] = field(default_factory=dict)
    method: str = METHOD


@dataclass(frozen=True)
class MetricDifference:
    """How much higher a figure of one model is than that of another, on the same patches.

    Args:
        value: First minus second.
        low: Lower end of the interval.
        high: Upper end.
        p_value: Two-sided: how often resamples disagree with the sign, doubled. With R resamples
            it is at least 2 / (R + 1).
    """

    value: float
    low: float
    high: float
    p_value: float

    @property
    def is_real(self) -> bool:
        """Whether the interval excludes zero."""
        return self.low > 0 or self.high < 0

    def turned(self) -> Self:
        """Return the difference second minus first."""
        return replace(self, value=-self.value, low=-self.high, high=-self.low)


@dataclass(frozen=True)
class Comparison(Resampling):
    """Figure -> difference between two models; the other fields are those of `Resampling`."""

    macro: Mapping[str, MetricDifference] = field(default_factory=dict)
    micro: Mapping[str, MetricDifference] = field(default_factory=dict)


def say_few(num_patches: int) -> str | None:
    """Return why intervals of so few patches mislead; None if they are enough."""
    if num_patches >= FEW_PATCHES:
        return None
    return (
        f"With fewer than {FEW_PATCHES:,} patches the intervals of average precision lie too high, "
        "since a resample holds patches twice: by about 0.01 at 1,000 patches and 0.05 at 60."
    )


class _Settings(NamedTuple):
    """The settings of `paired_bootstrap`."""

    by: str = "tile"
    rounds: int = ROUNDS
    level: float = LEVEL
    seed: int = 0
    threshold: Threshold = THRESHOLD
    progress: Callable[[int, int], None] | None = None


def bootstrap(predictions: Predictions, **settings: Any) -> Intervals:  # noqa: ANN401
    """Return intervals for the figures of one model; the settings are `paired_bootstrap`'s."""
    how = _Settings(**settings)
    found, units = _prepare(Intervals, predictions, how)
    if found.reason is not None:
        return found
    ((_, drawn),) = _resample([predictions], units, how)
    ranked = drawn.per_class["average_precision"]
    present = predictions.labels.sum(0) > 0
    return replace(
        found,
        macro={name: _interval(drawn.macro[name], how.level) for name in FIGURES},
        micro={name: _interval(drawn.micro[name], how.level) for name in FIGURES},
        average_precision={
            label: _interval(ranked[:, k], how.level) if present[k] else None
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
    """Return how much higher the figures of one model are than those of another.

    Both are measured on the same resamples, so what makes a resample hard for both cancels out.

    Args:
        first: Scores of one model.
        second: Scores of the other, for the same patches in the same order.
        by: What to draw: ``tile`` or ``patch``.
        rounds: Number of resamples.
        level: Probability of the intervals, above 0 and below 1.
        seed: The same seed gives the same result, on any number of cores.
        threshold: A label counts as found where its score is greater than this; one value, or K.
        progress: Called as ``progress(done, total)``, counted in resamples.

    Raises:
        LabelsError: If the labels of the two differ.
        ConfigError: If their patches differ, or a setting is out of range.
    """
    settings = _Settings(by, rounds, level, seed, threshold, progress)
    return compare_models((first, second), **settings._asdict())[0, 1]


def compare_models(
    models: Sequence[Predictions],
    **settings: Any,  # noqa: ANN401
) -> dict[tuple[int, int], Comparison]:
    """Return positions of two models -> their `paired_bootstrap`; each model is resampled once."""
    how = _Settings(**settings)
    for other in models[1:]:
        require_same_patches(models[0], other)
    none, units = _prepare(Comparison, models[0], how)
    pairs = list(combinations(range(len(models)), 2))
    if none.reason is not None:
        return dict.fromkeys(pairs, none)
    resampled = _resample(models, units, how)
    return {
        (a, b): replace(
            none,
            macro=_differences(resampled[a], resampled[b], "macro", how.level),
            micro=_differences(resampled[a], resampled[b], "micro", how.level),
        )
        for a, b in pairs
    }


def _prepare(
    kind: type[_Kind], predictions: Predictions, how: _Settings
) -> tuple[_Kind, NDArray[np.int64]]:
    """Return an empty result, and the number of the unit of each patch, [N]."""
    by, rounds, level, seed, *_ = how
    if by not in ("tile", "patch"):
        raise ConfigError(f"Resampling goes by tile or by patch, not by {by!r}.")
    require_whole("The number of resamples", rounds)
    if not 0 < level < 1:
        raise ConfigError(f"The level must lie between 0 and 1; it is {level}.")
    reason = caution = None
    if by == "tile" and predictions.tiles is None:
        reason = "The names of the patches do not tell their tiles."
        return kind(by, 0, rounds, level, seed, reason), np.empty(0, np.int64)
    values = predictions.tiles if by == "tile" else range(len(predictions))
    names, units = np.unique(np.array(values), return_inverse=True)
    if by == "tile" and len(names) < FEW_TILES:
        tiles = "tile" if len(names) == 1 else "tiles"
        caution = f"Only {len(names)} {tiles}: the intervals are too narrow."
    if len(names) < 2:
        reason = f"all patches are of one {by}, which says nothing about other ones."
    return kind(by, len(names), rounds, level, seed, reason, caution), units.astype(np.int64)


def _resample(
    models: Sequence[Predictions], units: NDArray[np.int64], how: _Settings
) -> "list[tuple[Resampled, Resampled]]":
    """Return the figures of each model: of all patches, and of resamples shared by all models."""
    from reben.learn.metrics.resampling import Resampled, Resampler

    rounds = how.rounds
    resamplers = [Resampler(model.scores, model.labels, how.threshold) for model in models]
    num_units = int(units.max()) + 1

    def draw(first: int) -> list[Resampled]:
        generator = np.random.default_rng([how.seed, first])
        size = min(_BLOCK, rounds - first)
        drawn = generator.integers(num_units, size=(size, num_units))
        counts = np.stack([np.bincount(row, minlength=num_units) for row in drawn])
        weights = counts.astype(np.uint8)[:, units]  # nothing is drawn 256 times by chance
        return [resampler.figures(weights) for resampler in resamplers]

    blocks = []
    with ThreadPoolExecutor(usable_cores()) as pool:
        for number, block in enumerate(pool.map(draw, range(0, rounds, _BLOCK)), start=1):
            blocks.append(block)
            if how.progress is not None:
                how.progress(min(number * _BLOCK, rounds), rounds)
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
