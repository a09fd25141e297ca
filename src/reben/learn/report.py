"""Reports: the figures of a model on the patches of a split, and their file."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, ClassVar, Self

from reben.data.identity import DataIdentity, StoredPart
from reben.errors import RunError
from reben.learn.metrics.bootstrap import Intervals, say_few
from reben.learn.metrics.breakdown import Breakdowns, CoOccurrence
from reben.learn.metrics.classification import (
    THRESHOLD,
    ClassFigures,
    Figures,
    Metrics,
    SampleFigures,
)
from reben.learn.metrics.curves import PrecisionRecall, Reliability
from reben.model.config import Calibration
from reben.support.atomic import write_text
from reben.support.json_files import Count, Finite, check_values, parse_json, read_json
from reben.support.plain_json import to_plain

REPORT_FILE = "report.json"
"""The report in a folder of its own, beside pictures and predictions."""
_CURE = "Evaluate the model with this version of reben to write a report."


@dataclass(frozen=True)
class Calibrated:
    """The figures of a model at its calibrated temperature and thresholds.

    These were tuned on other patches than the report's.
    """

    calibration: Calibration
    metrics: Metrics
    reliability: Reliability


@dataclass(frozen=True)
class Report:
    """The figures of a model on the patches of a split.

    Args:
        name: Name of the model: its run, folder, id on the Hub, or what it is made of.
        backbone: Name of its timm architecture.
        bands: Its bands, in the order of the channels.
        labels: Its labels, in the order of the outputs.
        split: The split, as the data set names it; several ones are separated by commas.
        num_patches: Number of patches.
        fingerprint: SHA-256 of the names and labels of these patches.
        metrics: The figures.
        filters: Other criteria that the patches were selected by, such as country or month.
        threshold: A label counts as found where its score is greater than this.
        reben_version: The version that measured.
        created: When, in ISO 8601, UTC.
        intervals: Bootstrap intervals, with ``tile`` or ``patch`` resampled.
        breakdowns: Figures by country, month and number of labels.
        co_occurrence: Which labels occur together.
        curves: Label -> precision over recall, without the labels that no patch has.
        reliability: How close scores are to probabilities, at temperature 1.
        calibrated: The figures after calibration, if there are any.
        why_not_calibrated: Why there are none.
        data: Which data set the patches are of; None in reports of earlier versions.
        part: How many of the patches that the metadata list the store held; None if all.
        engine: What computed the scores, as `reben.optimise_for_inference` names it; None in
            reports of earlier versions.
    """

    __pydantic_config__: ClassVar = {"extra": "forbid"}  # in all parts of a report

    name: str
    backbone: str
    bands: tuple[str, ...]
    labels: tuple[str, ...]
    split: str
    num_patches: Count
    fingerprint: str
    metrics: Metrics
    filters: Mapping[str, str] = field(default_factory=dict)
    threshold: Finite = THRESHOLD
    reben_version: str = field(default_factory=lambda: version("reben"))
    created: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    intervals: Mapping[str, Intervals] = field(default_factory=dict)
    breakdowns: Breakdowns | None = None
    co_occurrence: CoOccurrence | None = None
    curves: Mapping[str, PrecisionRecall] = field(default_factory=dict)
    reliability: Reliability | None = None
    calibrated: Calibrated | None = None
    why_not_calibrated: str | None = None
    data: DataIdentity | None = None
    part: StoredPart | None = None
    engine: str | None = None

    def __post_init__(self) -> None:
        """Check that the parts of a report fit its labels; a file may hold anything."""
        names, number = set(self.labels), len(self.labels)
        parts = [self.metrics, *([] if self.calibrated is None else [self.calibrated.metrics])]
        pairs = self.co_occurrence
        tables = () if pairs is None else (pairs.truth, pairs.prediction)
        shapes = {len(row) for table in tables for row in (table, *table)}
        curves = self.curves.values()
        lengths = {len(curve.recall) - len(curve.precision) for curve in curves}
        for fits, what in (
            (len(names) == number > 0, "its labels are none, or some occur twice"),
            (all(set(part.per_class) == names for part in parts), "figures of other labels"),
            (all(names.issuperset(part.absent) for part in parts), "other absent labels"),
            (names.issuperset(self.curves), "curves of other labels"),
            (lengths <= {0} and all(curve.recall for curve in curves), "curves of no length"),
            (shapes <= {number}, "counts of pairs of another number of labels"),
        ):
            if not fits:
                raise RunError(f"The parts of the report do not belong together: {what}.")

    @property
    def macro(self) -> Figures:
        """Means over the labels, each label counting the same."""
        return self.metrics.macro

    @property
    def micro(self) -> Figures:
        """Figures over all decisions at once."""
        return self.metrics.micro

    @property
    def per_sample(self) -> SampleFigures | None:
        """Figures of each patch by itself, averaged; None in reports of reben 0.1."""
        return self.metrics.per_sample

    @property
    def per_class(self) -> Mapping[str, ClassFigures]:
        """Label -> its own figures."""
        return self.metrics.per_class

    @property
    def absent(self) -> tuple[str, ...]:
        """Labels that no patch has; they count as 0 in the macro figures."""
        return self.metrics.absent

    @property
    def in_every_patch(self) -> tuple[str, ...]:
        """Labels that all patches have; their AUROC counts as 0."""
        return self.metrics.in_every_patch

    @property
    def best_intervals(self) -> Intervals | None:
        """The intervals by tile if there are any, else those by patch; None if there are none."""
        known = (self.intervals.get(unit) for unit in ("tile", "patch"))
        return next((found for found in known if found is not None and found.macro), None)

    @property
    def cautions(self) -> tuple[str, ...]:
        """Why intervals are missing or not to be trusted, in sentences."""
        told = [
            sentence
            for by, found in self.intervals.items()
            for sentence in (
                None if found.reason is None else f"There are no intervals by {by}: {found.reason}",
                found.caution,
            )
        ]
        few = say_few(self.num_patches) if self.best_intervals is not None else None
        return tuple(dict.fromkeys(filter(None, (*told, few))))

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain values, as JSON has them."""
        values: dict[str, Any] = to_plain(self)
        return values

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Return the report that `to_dict` wrote.

        Raises:
            RunError: If a value is missing or of another kind.
        """
        return check_values(values, cls, "The report", RunError, _CURE)

    def to_json(self) -> str:
        """Return the report as JSON text."""
        return json.dumps(self.to_dict(), indent=2, ensure_ascii=False, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Return the report that `to_json` wrote.

        Raises:
            RunError: If the text is no such report.
        """
        return parse_json(text, cls, "The report", RunError, _CURE)

    def save(self, path: str | Path) -> Path:
        """Write the report to ``path``, whole or not at all, and return it.

        Raises:
            OutputError: If the file cannot be written.
        """
        write_text(path, self.to_json())
        return Path(path)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Return the report that `save` wrote.

        Args:
            path: The file, or a folder that holds it as ``report.json``.

        Raises:
            RunError: If there is no such file, or it is no report.
        """
        file = Path(path) / REPORT_FILE if Path(path).is_dir() else Path(path)
        return read_json(file, cls, RunError, _CURE)
