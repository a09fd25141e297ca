"""The results on a card: tables of figures with intervals, and what calibration changed."""

from collections.abc import Iterable, Iterator
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
HEADLINE = ("average_precision", "f1", "precision")
"""The figures of the model-index and of leaderboards, macro and micro each."""
TUNED = ("f1", "precision", "recall", "accuracy")
"""The figures that depend on thresholds."""


def result_values(config: ModelConfig, report: Report) -> dict[str, Any]:
    """Return the template values about the results of a model."""
    own, caveats = report.best_intervals, _caveats(report)
    tuned = None if report.calibrated is None else report.calibrated.metrics
    kind = own and {"unit": own.unit, "rounds": own.rounds, "num_units": own.num_units}
    return {
        "report": _summary(report),
        "filters": "; ".join(f"{key}: {value}" for key, value in report.filters.items()),
        "uncertainty": {"intervals": kind, "sentences": caveats},
        "how_sure": _how_sure(own, caveats),
        "overall": _mean_rows(report.metrics, METRICS, own),
        "per_class": _label_rows(report, own),
        "tuned_on": config.tuned_on,
        "calibration": (*_tuning(config, report), *_calibration_error(report)),
        "own_thresholds": _has_own_thresholds(config),
        "thresholds": _threshold_rows(config, tuned),
        "tuned": tuned and _mean_rows(tuned, TUNED),
        "extremes": _commonest_and_rarest(report),
    }


def _summary(report: Report) -> dict[str, Any]:
    """Return a report without its curves, breakdowns and intervals, which are long."""
    names = (
        *("name", "split", "num_patches", "fingerprint", "filters", "threshold"),
        *("reben_version", "created", "macro", "micro", "per_sample", "per_class"),
        *("absent", "in_every_patch"),
    )
    return {name: to_plain(getattr(report, name)) for name in names}


def _caveats(report: Report) -> list[str]:
    """Return why the shown intervals are not by tile, and why not to trust them."""
    own = report.best_intervals
    unused = report.intervals.get("patch") if own is not None and own.unit == "tile" else None
    if unused is None:
        return list(report.cautions)
    of_unused = unused.caution, f"There are no intervals by {unused.unit}: {unused.reason}"
    return [told for told in report.cautions if told not in of_unused]


def _how_sure(own: Intervals | None, caveats: Iterable[str]) -> str:
    """Return in words where the intervals come from and what they leave out."""
    if own is None:
        return " ".join(caveats)
    resamples = f"The intervals come from {thousands(own.rounds)} bootstrap resamples of"
    if own.unit == "tile":
        first = (
            f"{resamples} whole tiles of the Sentinel-2 grid ({thousands(own.num_units)} tiles), "
            "since patches of one tile are not independent."
        )
    else:
        first = (
            f"{resamples} single patches. Neighbouring patches are not independent, so these "
            "intervals are too narrow."
        )
    last = (
        f"They are {own.method}, and do not cover how results vary between trainings with "
        "different seeds."
    )
    return " ".join((first, *caveats, last))


def _cells(metrics: Metrics, label: str, keys: Iterable[str]) -> dict[str, str]:
    """Return figures of a label; nothing where one is undefined, as for one without patches."""
    found = {key: metrics.figure_of(label, key) for key in keys}
    return {key: "" if value is None else number(value) for key, value in found.items()}


def _mean_rows(
    metrics: Metrics, keys: Iterable[str], own: Intervals | None = None
) -> list[dict[str, str]]:
    """Return macro and micro figures, with their intervals if there are any."""
    return [
        {
            "name": METRICS[key],
            "macro": number(getattr(metrics.macro, key)),
            "macro_interval": interval_words(own.macro.get(key)) if own else "",
            "micro": number(getattr(metrics.micro, key)),
            "micro_interval": interval_words(own.micro.get(key)) if own else "",
        }
        for key in keys
    ]


def _label_rows(report: Report, own: Intervals | None) -> list[dict[str, Any]]:
    return [
        {
            "label": label,
            "support": report.per_class[label].support,
            "interval": interval_words(own.average_precision.get(label)) if own else "",
            **_cells(report.metrics, label, METRICS),
        }
        for label in report.labels
    ]


def _threshold_rows(config: ModelConfig, metrics: Metrics | None) -> list[dict[str, str]]:
    """Return the threshold of each label, with its figures there if they were measured."""
    return [
        {
            "label": label,
            "threshold": number(threshold),
            **({} if metrics is None else _cells(metrics, label, TUNED)),
        }
        for label, threshold in zip(config.labels, config.thresholds, strict=True)
    ]


def _has_own_thresholds(config: ModelConfig) -> bool:
    return any(threshold != DEFAULT_THRESHOLD for threshold in config.thresholds)


def _commonest_and_rarest(report: Report) -> tuple[tuple[str, int], tuple[str, int]] | None:
    """Return the labels of most and of fewest patches, without absent ones; None if all tie."""
    counts = {
        label: own.support for label, own in report.per_class.items() if label not in report.absent
    }
    if len(set(counts.values())) < 2:
        return None
    most, fewest = max(counts, key=counts.__getitem__), min(counts, key=counts.__getitem__)
    return (most, counts[most]), (fewest, counts[fewest])


def _tuning(config: ModelConfig, report: Report) -> Iterator[str]:
    """Yield in words what a model was calibrated to, and on what."""
    temperature, on = number(config.temperature), config.tuned_on
    if on is not None:
        yield (
            f"The model has a temperature of {temperature} and a threshold for each label, tuned "
            f"on {patches(on.num_patches)} of the {on.split} split. Logits are divided by the "
            "temperature before the sigmoid."
        )
        if on.kept:
            kept = "; ".join(on.kept)
            yield f"None of these patches has {kept}, so the default threshold is kept there."
        if report.calibrated is None:
            yield f"Its results with them were not measured. {report.why_not_calibrated or ''}"
    elif _has_own_thresholds(config) or config.temperature != 1:
        yield (
            f"The model has a temperature of {temperature} and thresholds of its own; what they "
            "were tuned on is not recorded."
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
        f"{number(report.reliability.expected_error)} at temperature 1{tuned}: the mean gap "
        "between a score and how often labels with that score are true."
    )


def interval_words(found: Interval | None, space: str = "\u00a0") -> str:
    """Return an interval as text; its spaces do not break, so that it stays in one line."""
    return "" if found is None else space.join((number(found.low), "to", number(found.high)))
