"""Reports side by side: which model is better, and which differences are real.

Figures of different patches say nothing about which model is better. So reports are grouped by
their patches and labels, and ranked within a group only, unless it is asked for otherwise.

One line of a leaderboard: a report with all that is known of its model.
"""

import itertools
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np

from reben.errors import ConfigError, RunError
from reben.learn.metrics.bootstrap import (
    FIGURES,
    ROUNDS,
    Comparison,
    Interval,
    MetricDifference,
    paired_bootstrap,
)
from reben.learn.predictions import Predictions
from reben.learn.report import REPORT_FILE, Report
from reben.learn.run import CONFIG_FILE, Run
from reben.learn.speed import SPEED_FILE, Speed, count_cost
from reben.model.config import ModelConfig
from reben.model.folder import CONFIG_FILE as MODEL_CONFIG_FILE
from reben.model.folder import run_folder
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


MEANS: tuple[Mean, ...] = ("macro", "micro")


@dataclass(frozen=True)
class Group:
    """Models whose figures may be compared, the best first.

    Args:
        entries: The models.
        comparisons: Pair of names -> how much the first is above the second. Pairs of which
            predictions are not there are missing.
        same_patches: Whether all were measured on the same patches and labels.
    """

    entries: tuple[Entry, ...]
    comparisons: Mapping[tuple[str, str], Comparison] = field(default_factory=dict)
    same_patches: bool = True

    def difference(
        self, first: str, second: str, mean: Mean, figure: str
    ) -> MetricDifference | None:
        """Return how much ``first`` is above ``second``; None if that is not known."""
        if (first, second) in self.comparisons:
            found: Mapping[str, MetricDifference] = getattr(self.comparisons[first, second], mean)
            return found.get(figure)
        turned = getattr(self.comparisons.get((second, first)), mean, {}).get(figure)
        if turned is None:
            return None
        return MetricDifference(-turned.value, -turned.high, -turned.low, turned.p_value)


@dataclass(frozen=True)
class Leaderboard:
    """Groups of models, and the figure that each is ranked by.

    Args:
        groups: The groups, the largest first.
        mean: ``macro`` or ``micro``.
        figure: Name of the figure.
        notes: What a reader has to know, in sentences.
    """

    groups: tuple[Group, ...]
    mean: Mean = "macro"
    figure: str = "average_precision"
    notes: tuple[str, ...] = ()


def compare(  # noqa: PLR0913 - all after the first are named
    places: Sequence[str | Path],
    *,
    split: str = "test",
    mean: Mean = "macro",
    figure: str = "average_precision",
    together: bool = False,
    rounds: int = ROUNDS,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Leaderboard:
    """Return a leaderboard of reports.

    Args:
        places: For each model its report, the folder of its report, or its run.
        split: Which report of a run to take.
        mean: Mean of the figure to rank by.
        figure: The figure to rank by and to show the differences of.
        together: Rank reports of different patches in one list all the same.
        rounds: Resamples for each pair of models; none are drawn if it is 0.
        seed: What the resamples follow from.
        progress: Called as ``progress(done, total)``, counted in resamples of all pairs.

    Raises:
        RunError: If a report cannot be read, or what lies beside it is about another model.
        ConfigError: If a setting cannot be.
    """
    if not places:
        raise ConfigError("There is nothing to compare. Name reports, their folders, or runs.")
    if figure not in FIGURES or mean not in MEANS:
        raise ConfigError(
            f"No figure {mean} {figure} to rank by. Means: {', '.join(MEANS)}; figures: "
            f"{', '.join(FIGURES)}."
        )
    grouped: dict[object, list[Entry]] = {}
    for entry in with_own_names([open_entry(place, split=split) for place in places]):
        report = entry.report
        grouped.setdefault((report.fingerprint, frozenset(report.labels)), []).append(entry)
    same = [_ranked(entries, mean, figure) for entries in grouped.values()]
    same.sort(key=len, reverse=True)
    pairs = [pair for entries in same for pair in itertools.combinations(entries, 2)]
    compared = _compare_pairs(pairs, rounds, seed, progress)
    notes = list(dict.fromkeys(_cautions(compared)))
    if len(same) > 1:
        notes.insert(0, _say_groups(len(same), together=together))
    if together:
        everything = _ranked(itertools.chain(*same), mean, figure)
        return Leaderboard((Group(everything, compared, len(same) == 1),), mean, figure, (*notes,))
    groups = [
        Group(entries, {p: c for p, c in compared.items() if p[0] in {e.name for e in entries}})
        for entries in same
    ]
    return Leaderboard((*groups,), mean, figure, (*notes,))


def _ranked(
    entries: "Sequence[Entry] | itertools.chain[Entry]", mean: Mean, figure: str
) -> tuple[Entry, ...]:
    return tuple(sorted(entries, key=lambda entry: -entry.figure(mean, figure)))


def _compare_pairs(
    pairs: Sequence[tuple[Entry, Entry]],
    rounds: int,
    seed: int,
    progress: Callable[[int, int], None] | None,
) -> dict[tuple[str, str], Comparison]:
    """Return the differences of the pairs of which all predictions are there."""
    known = [pair for pair in pairs if pair[0].predictions and pair[1].predictions and rounds]
    compared = {}
    for number, (first, second) in enumerate(known):

        def moved(done: int, _total: int, before: int = number * rounds) -> None:
            if progress is not None:
                progress(before + done, len(known) * rounds)

        ours = load_predictions(first)
        theirs = _aligned(load_predictions(second), ours)
        for unit in ("tile", "patch"):  # by patch where all is of one tile
            found = paired_bootstrap(
                ours, theirs, by=unit, rounds=rounds, seed=seed, progress=moved
            )
            if found.reason is None:
                break
        compared[first.name, second.name] = found
    return compared


def _aligned(predictions: Predictions, like: Predictions) -> Predictions:
    """Return predictions in the order of patches and labels of ``like``, where it has the same."""
    if sorted(predictions.label_names) == sorted(like.label_names):
        columns = [predictions.label_names.index(name) for name in like.label_names]
        predictions = replace(
            predictions,
            label_names=like.label_names,
            scores=predictions.scores[:, columns],
            labels=predictions.labels[:, columns],
        )
    places = {name: place for place, name in enumerate(predictions.patch_ids)}
    if places.keys() == set(like.patch_ids):
        predictions = predictions.take(np.array([places[name] for name in like.patch_ids]))
    return predictions


def _cautions(compared: Mapping[tuple[str, str], Comparison]) -> list[str]:
    texts = [text for each in compared.values() for text in (each.reason, each.caution) if text]
    units = {each.unit for each in compared.values() if each.reason is None}
    drawn = {"tile": "whole tiles", "patch": "single patches"}
    return [
        *(f"Intervals of differences come from drawing {drawn[unit]}." for unit in sorted(units)),
        *texts,
    ]


def _say_groups(count: int, *, together: bool) -> str:
    if together:
        return (
            f"These reports are about {count} different sets of patches or labels and are ranked "
            "together as was asked for; the order says little about which model is better."
        )
    return (
        f"These reports are about {count} different sets of patches or labels, so there are "
        f"{count} lists: figures of different patches cannot be ranked together."
    )
