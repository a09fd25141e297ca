"""The results on a card: rows of figures with intervals, and what tuning changed.

Lines of the tables on a card.
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from reben.learn.metrics.bootstrap import Interval, Intervals
from reben.learn.metrics.classification import Metrics
from reben.learn.report import Report
from reben.model.config import DEFAULT_THRESHOLD, ModelConfig
from reben.publish.markdown import Markdown, number, patches, thousands

METRICS = {
    "average_precision": "Average precision",
    "f1": "F1",
    "precision": "Precision",
    "recall": "Recall",
    "accuracy": "Accuracy",
    "auroc": "AUROC",
}
"""The figures of a report, each with its name for people."""
HEADLINE = ("average_precision", "f1", "precision")
"""The figures that the model-index has."""
TUNED = ("f1", "precision", "recall", "accuracy")
"""The figures that depend on thresholds."""
NO_INTERVAL = "-"
_SPACE = "\u00a0"  # so that an interval stays in one line of its cell


@dataclass(frozen=True)
class Uncertainty:
    """Which intervals a card shows, and what has to be said of them.

    Args:
        intervals: The intervals; None if the report has none.
        sentences: Why there are none by tile, or why not to trust those that there are.
    """

    intervals: Intervals | None
    sentences: tuple[str, ...]


def uncertainty(report: Report) -> Uncertainty:
    """Return the intervals by tile if there are any, else those by patch."""
    sentences: list[str] = []
    for by in ("tile", "patch"):
        found = report.intervals.get(by)
        if found is None:
            continue
        if found.macro:
            return Uncertainty(found, (*sentences, *([found.caution] if found.caution else [])))
        sentences.append(f"There are no intervals by {by}: {found.reason}")
    return Uncertainty(None, tuple(sentences))


def how_sure(report: Report) -> str:
    """Return in words what the intervals of a card are from; empty if there is nothing to say."""
    found = uncertainty(report)
    own = found.intervals
    if own is None:
        return " ".join(found.sentences)
    resamples = f"The intervals are from {thousands(own.rounds)} resamples of"
    if own.unit == "tile":
        first = (
            f"{resamples} whole tiles of the Sentinel-2 grid ({thousands(own.num_units)} of them), "
            "since patches of one tile are not independent."
        )
    else:
        first = (
            f"{resamples} single patches. Patches that are neighbours are not independent, so "
            "these intervals are too narrow."
        )
    return " ".join((first, *found.sentences, "They say nothing of another seed of the training."))


def calibration_sentences(config: ModelConfig, report: Report) -> tuple[str, ...]:
    """Return in words what a model was tuned to, on what, and how far its scores are probabilities.

    Args:
        config: Of the model.
        report: What it reached.
    """
    return (*_tuning(config, report), *_calibration_error(report))


def overall_rows(report: Report) -> list[dict[str, str]]:
    """Return the rows of the table of macro and micro figures."""
    own = uncertainty(report).intervals
    return [
        {
            "name": title,
            "macro": number(getattr(report.macro, key)),
            "macro_interval": _interval(own.macro.get(key)) if own else "",
            "micro": number(getattr(report.micro, key)),
            "micro_interval": _interval(own.micro.get(key)) if own else "",
        }
        for key, title in METRICS.items()
    ]


def label_rows(report: Report) -> list[dict[str, Any]]:
    """Return the rows of the table of labels, in the order of the model."""
    own = uncertainty(report).intervals
    return [
        {
            "label": label,
            "support": report.per_class[label].support,
            "interval": _interval(own.average_precision.get(label)) if own else "",
            **{key: number(getattr(report.per_class[label], key)) for key in METRICS},
        }
        for label in report.labels
    ]


def tuned_rows(metrics: Metrics) -> list[dict[str, str]]:
    """Return macro and micro figures at the model's own thresholds."""
    return [
        {
            "name": METRICS[key],
            "macro": number(getattr(metrics.macro, key)),
            "micro": number(getattr(metrics.micro, key)),
        }
        for key in TUNED
    ]


def threshold_rows(config: ModelConfig, metrics: Metrics | None) -> list[dict[str, str]]:
    """Return each label's threshold, with its figures there if they were measured."""
    figures: Mapping[str, dict[str, Any]] = (
        {} if metrics is None else {label: asdict(own) for label, own in metrics.per_class.items()}
    )
    return [
        {
            "label": label,
            "threshold": number(threshold),
            **{key: number(figures[label][key]) for key in TUNED if label in figures},
        }
        for label, threshold in zip(config.labels, config.thresholds, strict=True)
    ]


def has_own_thresholds(config: ModelConfig) -> bool:
    """Tell whether any label of a model has another threshold than the usual one."""
    return any(threshold != DEFAULT_THRESHOLD for threshold in config.thresholds)


def commonest_and_rarest(report: Report) -> tuple[tuple[str, int], tuple[str, int]] | None:
    """Return the labels that most and fewest patches have, absent ones left out; None if alike."""
    counts = {
        label: own.support for label, own in report.per_class.items() if label not in report.absent
    }
    if len(set(counts.values())) < 2:
        return None
    most, fewest = max(counts, key=counts.__getitem__), min(counts, key=counts.__getitem__)
    return (most, counts[most]), (fewest, counts[fewest])


def _tuning(config: ModelConfig, report: Report) -> Iterator[str]:
    temperature, on = number(config.temperature), config.tuned_on
    if on is not None:
        yield (
            f"The model carries a temperature of {temperature} and a threshold for each label, "
            f"tuned on {patches(on.num_patches)} of the {on.split} split. Its logits are divided "
            "by that temperature before the sigmoid."
        )
        if on.kept:
            kept = "; ".join(on.kept)
            yield f"No patch there has {kept}; the threshold of what is missing is the default."
        if report.calibrated is None:
            yield f"What it reaches with them was not measured. {report.why_not_calibrated or ''}"
    elif has_own_thresholds(config) or config.temperature != 1:
        yield (
            f"The model carries a temperature of {temperature} and thresholds of its own; what "
            "they were tuned on is not recorded."
        )
    else:
        yield (
            f"The model was not calibrated: its temperature is {temperature}, and a label counts "
            f"as present where its score is above {DEFAULT_THRESHOLD}."
        )


def _calibration_error(report: Report) -> Iterator[str]:
    if report.reliability is None:
        return
    tuned = ""
    if report.calibrated is not None:
        own = number(report.calibrated.reliability.expected_error)
        tuned = f" and {own} at the model's own"
    yield (
        "The expected calibration error is "
        f"{number(report.reliability.expected_error)} at temperature 1{tuned}: the mean distance "
        "between a score and the share of labels with that score that are really there."
    )


def _interval(found: Interval | None) -> Markdown:
    if found is None:
        return Markdown(NO_INTERVAL)
    return Markdown(_SPACE.join((number(found.low), "to", number(found.high))))


class Line(NamedTuple):
    """One line of a table."""

    name: str
    value: object


class DifferenceLine(NamedTuple):
    """One setting that is not the paper's."""

    name: str
    paper: object
    own: object
