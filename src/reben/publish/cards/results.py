"""The results on a card: tables of figures with intervals, and what calibration changed."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from reben.learn.metrics.bootstrap import Interval, Intervals
from reben.learn.metrics.classification import Metrics
from reben.learn.report import Report
from reben.model.config import DEFAULT_THRESHOLD, ModelConfig
from reben.publish.markdown import number, patches, thousands
from reben.support.plain_json import to_plain

METRICS = {
    "average_precision": "Average precision",
    "f1": "F1",
    "precision": "Precision",
    "recall": "Recall",
    "accuracy": "Accuracy",
    "auroc": "AUROC",
}
"""The figures of a report, each with its name for people."""
TUNED = ("f1", "precision", "recall", "accuracy")
"""The figures that depend on thresholds."""
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


def result_values(config: ModelConfig, report: Report) -> dict[str, Any]:
    """Return what a template can say of the results of a model."""
    found = uncertainty(report)
    own = found.intervals
    tuned = None if report.calibrated is None else report.calibrated.metrics
    return {
        "report": _summary(report),
        "filters": "; ".join(f"{key}: {value}" for key, value in report.filters.items()),
        "uncertainty": {
            "intervals": own
            and {"unit": own.unit, "rounds": own.rounds, "num_units": own.num_units},
            "sentences": found.sentences,
        },
        "how_sure": how_sure(found),
        "overall": _overall_rows(report, own),
        "per_class": _label_rows(report, own),
        "tuned_on": config.tuned_on,
        "calibration": (*_tuning(config, report), *_calibration_error(report)),
        "own_thresholds": _has_own_thresholds(config),
        "thresholds": _threshold_rows(config, tuned),
        "tuned": None if tuned is None else _tuned_rows(tuned),
        "extremes": commonest_and_rarest(report),
    }


def _summary(report: Report) -> dict[str, Any]:
    """Return a report without its curves, breakdowns and intervals, which are long."""
    names = (
        *("name", "split", "num_patches", "fingerprint", "filters", "threshold"),
        *("reben_version", "created", "macro", "micro", "per_sample", "per_class"),
        *("absent", "in_every_patch"),
    )
    return {name: to_plain(getattr(report, name)) for name in names}


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


def how_sure(found: Uncertainty) -> str:
    """Return in words what the intervals of a card are from; empty if there is nothing to say."""
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


def _overall_rows(report: Report, own: Intervals | None) -> list[dict[str, str]]:
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


def _label_rows(report: Report, own: Intervals | None) -> list[dict[str, Any]]:
    return [
        {
            "label": label,
            "support": report.per_class[label].support,
            "interval": _interval(own.average_precision.get(label)) if own else "",
            **{key: number(getattr(report.per_class[label], key)) for key in METRICS},
        }
        for label in report.labels
    ]


def _tuned_rows(metrics: Metrics) -> list[dict[str, str]]:
    return [
        {
            "name": METRICS[key],
            "macro": number(getattr(metrics.macro, key)),
            "micro": number(getattr(metrics.micro, key)),
        }
        for key in TUNED
    ]


def _threshold_rows(config: ModelConfig, metrics: Metrics | None) -> list[dict[str, str]]:
    """Return each label's threshold, with its figures there if they were measured."""
    measured: Mapping[str, Any] = {} if metrics is None else metrics.per_class
    return [
        {
            "label": label,
            "threshold": number(threshold),
            **{key: number(getattr(measured[label], key)) for key in TUNED if label in measured},
        }
        for label, threshold in zip(config.labels, config.thresholds, strict=True)
    ]


def _has_own_thresholds(config: ModelConfig) -> bool:
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
    """Yield in words what a model was tuned to, and on what."""
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
    elif _has_own_thresholds(config) or config.temperature != 1:
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
    """Yield in words how far scores are probabilities, if that was measured."""
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


def _interval(found: Interval | None) -> str:
    if found is None:
        return ""
    return _SPACE.join((number(found.low), "to", number(found.high)))
