"""One line of a leaderboard: a report with all that is known of its model."""

import itertools
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from reben.errors import RunError
from reben.learn.bootstrap import Interval
from reben.learn.predictions import Predictions
from reben.learn.report import REPORT_FILE, Report
from reben.learn.run import CONFIG_FILE, Run, run_folder
from reben.learn.speed import count_cost
from reben.learn.speed_record import SPEED_FILE, Speed
from reben.model.config import ModelConfig
from reben.model.folder import CONFIG_FILE as MODEL_CONFIG_FILE
from reben.publish.report_page import PREDICTIONS_FILE

Mean = Literal["macro", "micro"]


@dataclass(frozen=True)
class Entry:
    """One model of a leaderboard.

    Args:
        name: What it is called there; no two have the same.
        report: What it reached.
        predictions: Its scores, if they lie beside the report.
        parameters: How many it has, where known.
        gflops: Cost of one patch in 1e9 operations, where known.
        images_per_second: Its best rate in float32, where it was measured.
        device: What it was measured on.
    """

    name: str
    report: Report
    predictions: Path | None = None
    parameters: int | None = None
    gflops: float | None = None
    images_per_second: float | None = None
    device: str | None = None

    def interval(self, mean: Mean, figure: str) -> Interval | None:
        """Return the interval of a figure, by tile where there is one, else by patch."""
        for unit in ("tile", "patch"):
            found = self.report.intervals.get(unit)
            interval = None if found is None else getattr(found, mean).get(figure)
            if interval is not None:
                return interval  # type: ignore[no-any-return]
        return None

    def figure(self, mean: Mean, figure: str) -> float:
        """Return a figure of the report."""
        return float(getattr(getattr(self.report, mean), figure))


def open_entry(place: str | Path, *, split: str = "test") -> Entry:
    """Return a report with all that is known of its model.

    Args:
        place: A report, the folder of a report, or a run. Predictions and ``speed.json`` are
            taken from beside the report, and ``speed.json`` of a run from its folder, too.
        split: Which report of a run to take.

    Raises:
        RunError: If the report cannot be read, or what lies beside it is about another model.
    """
    run = None if run_folder(place) is None else Run.open(place)
    path = _report_path(Path(place), run, split)
    report = Report.load(path)
    entry = Entry(report.name, report, predictions=_own_predictions(path))
    folders = [path.parent, *([] if run is None else [run.path])]
    for file in (folder / SPEED_FILE for folder in folders):
        if file.is_file():
            return _with_speed(entry, Speed.load(file), file)
    if run is None:
        return entry
    text = (run.best / MODEL_CONFIG_FILE).read_text(encoding="utf-8")
    cost = count_cost(ModelConfig.from_dict(json.loads(text)))
    return replace(entry, parameters=cost.parameters, gflops=cost.gflops)


def _report_path(place: Path, run: Run | None, split: str) -> Path:
    if run is not None:
        run.report(split)  # says how to make one, if there is none
        path = run.report_path(split)
        # Runs of reben 0.1 have the file without a folder around it.
        return path if path.is_file() else path.parent.with_suffix(".json")
    if not place.is_dir():
        return place
    if not (place / REPORT_FILE).is_file():
        raise RunError(
            f"{place} is no run (it holds no {CONFIG_FILE}) and no folder of a report (no "
            f"{REPORT_FILE}). Write one with: reben evaluate MODEL --data STORE --out {place}"
        )
    return place / REPORT_FILE


def _own_predictions(report: Path) -> Path | None:
    """Return the predictions of a report, which are known to be its own by their folder."""
    beside = report.parent / PREDICTIONS_FILE
    return beside if report.name == REPORT_FILE and beside.is_file() else None


def _with_speed(entry: Entry, speed: Speed, path: Path) -> Entry:
    report = entry.report
    if (speed.backbone, speed.bands) != (report.backbone, report.bands):
        raise RunError(
            f"{path} is about {speed.backbone} with bands {', '.join(speed.bands)}, and the report "
            f"beside it about {report.backbone} with {', '.join(report.bands)}. Measure again with "
            f"reben benchmark MODEL --out {path}, or take the file away."
        )
    return replace(
        entry,
        parameters=speed.parameters,
        gflops=speed.gflops,
        images_per_second=speed.best.images_per_second,
        device=speed.device,
    )


def with_own_names(entries: Sequence[Entry]) -> list[Entry]:
    """Return the entries, those that share a name with one before with a number behind it."""
    taken: set[str] = set()
    named = []
    for entry in entries:
        names = itertools.chain([entry.name], (f"{entry.name} ({n})" for n in itertools.count(2)))
        name = next(name for name in names if name not in taken)
        taken.add(name)
        named.append(replace(entry, name=name))
    return named


def load_predictions(entry: Entry) -> Predictions:
    """Return the predictions of an entry.

    Raises:
        RunError: If they are not those that its report was computed from.
    """
    if entry.predictions is None:
        raise AssertionError("only entries with predictions are compared")
    predictions = Predictions.load(entry.predictions)
    subject, report = predictions.subject, entry.report
    if (subject.name, subject.fingerprint) != (report.name, report.fingerprint):
        raise RunError(
            f"{entry.predictions} is about {subject.name} and other patches than the report of "
            f"{report.name} beside it. Evaluate the model again into that folder."
        )
    return predictions
