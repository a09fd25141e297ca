"""Reports side by side: which model is better, and which differences are real.

Figures of different patches say nothing about which model is better. So reports are grouped by
their patches and labels, and ranked within a group only, unless asked for otherwise.
"""

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from reben.errors import ConfigError, RunError
from reben.learn.metrics.bootstrap import (
    FIGURES,
    LEVEL,
    ROUNDS,
    Comparison,
    Interval,
    MetricDifference,
    compare_models,
)
from reben.learn.predictions import Predictions
from reben.learn.report import REPORT_FILE, Report
from reben.learn.run import Run
from reben.learn.run_files import CONFIG_FILE
from reben.model.config import ModelConfig
from reben.model.folder import CONFIG_FILE as MODEL_CONFIG_FILE
from reben.model.folder import run_folder
from reben.publish.report_page import PREDICTIONS_FILE
from reben.support.json_files import read_json

Mean = Literal["macro", "micro"]
MEANS: tuple[Mean, ...] = ("macro", "micro")
_Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class LeaderboardRow:
    """One model of a leaderboard.

    Args:
        name: What it is called there; no two have the same name.
        report: What it reached.
        predictions: The file of its scores, if it lies beside the report.
        parameters: Number of parameters, where known.
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

    def figure(self, mean: Mean, figure: str) -> float:
        """Return a figure of the report."""
        return float(getattr(getattr(self.report, mean), figure))

    def interval(self, mean: Mean, figure: str) -> Interval | None:
        """Return the interval of a figure, by tile where there is one, else by patch."""
        found: Mapping[str, Interval] = getattr(self.report.best_intervals, mean, {})
        return found.get(figure)


@dataclass(frozen=True)
class ComparableReports:
    """Models whose figures may be compared, the best first.

    Args:
        entries: The models.
        comparisons: Pair of names -> how much the first is above the second. Pairs without
            predictions are missing.
        same_patches: Whether all were measured on the same patches and labels.
    """

    entries: tuple[LeaderboardRow, ...]
    comparisons: Mapping[tuple[str, str], Comparison] = field(default_factory=dict)
    same_patches: bool = True

    def difference(
        self, first: str, second: str, mean: Mean, figure: str
    ) -> MetricDifference | None:
        """Return how much ``first`` is above ``second``; None if that is not known."""
        for pair in ((first, second), (second, first)):
            found: Mapping[str, MetricDifference] = getattr(self.comparisons.get(pair), mean, {})
            if figure in found:
                return found[figure] if pair == (first, second) else found[figure].turned()
        return None

    def is_real(self, first: str, second: str, mean: Mean, figure: str) -> bool:
        """Return whether a difference is more than chance, of all those of the group.

        The p-values of all pairs are corrected by Holm's method, so that of equal models a real
        difference is told in at most one leaderboard of twenty.

        Source: Holm, A simple sequentially rejective multiple test procedure, 1979.
        """
        found = {pair: self.difference(*pair, mean, figure) for pair in self.comparisons}
        ranked = sorted((one.p_value, pair) for pair, one in found.items() if one is not None)
        for place, (p_value, pair) in enumerate(ranked):
            if p_value * (len(ranked) - place) >= 1 - LEVEL:
                return False
            if set(pair) == {first, second}:
                return True
        return False


@dataclass(frozen=True)
class Leaderboard:
    """Groups of models, and the figure that each is ranked by.

    Args:
        groups: The groups, the largest first.
        mean: ``macro`` or ``micro``.
        figure: Name of the figure.
        notes: What a reader has to know, in sentences.
    """

    groups: tuple[ComparableReports, ...]
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
    progress: _Progress | None = None,
) -> Leaderboard:
    """Return a leaderboard of reports.

    Args:
        places: For each model its report, the folder of its report, or its run. Differences are
            computed for those with ``predictions.parquet`` beside the report; speed is taken from
            ``speed.json`` beside it or in the run.
        split: Which report of a run to take.
        mean: Mean of the figure to rank by.
        figure: The figure to rank by and to show the differences of.
        together: Rank reports of different patches in one list anyway.
        rounds: Resamples for the differences; 0 leaves the differences out.
        seed: Seed of the resamples.
        progress: Called as ``progress(done, total)``, counted in resamples of all pairs.

    Raises:
        RunError: If a report cannot be read, or a file beside it is about another model.
        ConfigError: If a setting is unknown, or there is nothing to compare.
    """
    if not places:
        raise ConfigError("There is nothing to compare. Name reports, their folders, or runs.")
    if figure not in FIGURES or mean not in MEANS:
        raise ConfigError(
            f"Models cannot be ranked by {mean} {figure}. Means: {', '.join(MEANS)}; figures: "
            f"{', '.join(FIGURES)}."
        )

    def ranked(rows: Iterable[LeaderboardRow]) -> tuple[LeaderboardRow, ...]:
        return tuple(sorted(rows, key=lambda row: -row.figure(mean, figure)))

    by_patches: dict[object, list[LeaderboardRow]] = {}
    for row in _with_own_names(_open_row(Path(place), split) for place in places):
        patches = row.report.fingerprint, frozenset(row.report.labels)
        by_patches.setdefault(patches, []).append(row)
    same = sorted(map(ranked, by_patches.values()), key=len, reverse=True)
    compared = _compare_groups(same, rounds, seed, progress)
    groups = [ComparableReports(*pair) for pair in zip(same, compared, strict=True)]
    if together:
        everything = {pair: found for each in compared for pair, found in each.items()}
        groups = [
            ComparableReports(ranked(itertools.chain(*same)), everything, len(same) == 1),
        ]
    notes = (*_say_groups(len(same), together=together), *_cautions(compared))
    return Leaderboard(tuple(groups), mean, figure, tuple(dict.fromkeys(notes)))


def _open_row(place: Path, split: str) -> LeaderboardRow:
    """Return a report with all that is known of its model."""
    run = None if run_folder(place) is None else Run.open(place)
    if run is not None:
        path, report = run.report_path(split), run.report(split)
    else:
        path = _report_in(place)
        report = Report.load(path)
    predictions = path.parent / PREDICTIONS_FILE
    # A report in its own folder: what lies beside it is its own.
    row = LeaderboardRow(
        report.name,
        report,
        predictions if path.name == REPORT_FILE and predictions.is_file() else None,
    )
    for folder in (path.parent, path.parent if run is None else run.path):
        from reben.learn.cost import count_cost
        from reben.learn.speed import SPEED_FILE

        if (folder / SPEED_FILE).is_file():
            return replace(row, **_read_speed(folder / SPEED_FILE, report))
    if run is None:
        return row
    config = read_json(run.best / MODEL_CONFIG_FILE, dict[str, Any], RunError, "Train again.")
    return replace(row, **count_cost(ModelConfig.from_dict(config))._asdict())


def _report_in(place: Path) -> Path:
    if not place.is_dir():
        return place
    if not (place / REPORT_FILE).is_file():
        raise RunError(
            f"{place} is neither a run (no {CONFIG_FILE}) nor the folder of a report (no "
            f"{REPORT_FILE}). Write one with: reben evaluate MODEL --data STORE --out {place}"
        )
    return place / REPORT_FILE


def _read_speed(path: Path, report: Report) -> dict[str, Any]:
    from reben.learn.speed import Speed

    speed = Speed.load(path)
    if (speed.backbone, speed.bands) != (report.backbone, report.bands):
        raise RunError(
            f"{path} is about {speed.backbone} with bands {', '.join(speed.bands)}, and the report "
            f"beside it about {report.backbone} with {', '.join(report.bands)}. Measure again with "
            f"reben benchmark MODEL --out {path}, or delete the file."
        )
    return {
        "parameters": speed.parameters,
        "gflops": speed.gflops,
        "images_per_second": speed.best.images_per_second,
        "device": speed.device,
    }


def _with_own_names(rows: Iterable[LeaderboardRow]) -> Iterator[LeaderboardRow]:
    """Yield the rows; one whose name is taken gets a number behind it."""
    taken: set[str] = set()
    for row in rows:
        numbered = (f"{row.name} ({number})" for number in itertools.count(2))
        name = next(name for name in itertools.chain([row.name], numbered) if name not in taken)
        taken.add(name)
        yield replace(row, name=name)


def _compare_groups(
    groups: Sequence[Sequence[LeaderboardRow]],
    rounds: int,
    seed: int,
    progress: _Progress | None,
) -> list[dict[tuple[str, str], Comparison]]:
    """Return the differences within each group, as far as predictions are there."""
    known = [[row for row in group if row.predictions and rounds] for group in groups]
    counts = [len(rows) * (len(rows) - 1) // 2 for rows in known]
    compared = []
    for number, rows in enumerate(known):

        def moved(
            done: int, _total: int, before: int = sum(counts[:number]), pairs: int = counts[number]
        ) -> None:
            if progress is not None:
                progress(before * rounds + done * pairs, sum(counts) * rounds)

        found = _compare_rows(rows, rounds, seed, moved) if counts[number] else {}
        compared.append(found)
    return compared


def _compare_rows(
    rows: Sequence[LeaderboardRow], rounds: int, seed: int, progress: _Progress
) -> dict[tuple[str, str], Comparison]:
    first, *others = (_load_predictions(row) for row in rows)
    models = [first, *(_aligned(predictions, first) for predictions in others)]
    for unit in ("tile", "patch"):  # by patch where all is of one tile
        found = compare_models(models, by=unit, rounds=rounds, seed=seed, progress=progress)
        if all(comparison.reason is None for comparison in found.values()):
            break
    return {(rows[a].name, rows[b].name): comparison for (a, b), comparison in found.items()}


def _load_predictions(row: LeaderboardRow) -> Predictions:
    predictions = Predictions.load(str(row.predictions))
    subject, report = predictions.subject, row.report
    if (subject.name, subject.fingerprint) != (report.name, report.fingerprint):
        raise RunError(
            f"{row.predictions} is about {subject.name} and other patches than the report of "
            f"{report.name} beside it. Evaluate the model again into that folder."
        )
    return predictions


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


def _cautions(compared: Sequence[Mapping[tuple[str, str], Comparison]]) -> Iterator[str]:
    found = [comparison for each in compared for comparison in each.values()]
    drawn = {"tile": "whole tiles", "patch": "single patches"}
    for unit in sorted({each.unit for each in found if each.reason is None}):
        yield (
            f"Intervals of differences come from drawing {drawn[unit]}; they are percentiles, for "
            "one pair alone. Which differences are real is corrected for the number of pairs, by "
            "Holm's method at 5 %."
        )
    for pairs in compared:
        rounds = min((one.rounds for one in pairs.values() if one.reason is None), default=0)
        if rounds and 2 / (rounds + 1) * len(pairs) >= 1 - LEVEL:
            yield (
                f"{len(pairs)} pairs and {rounds:,} resamples cannot show a difference as real: "
                f"take {math.ceil(2 * len(pairs) / (1 - LEVEL)):,} or more."
            )
    for each in found:
        yield from filter(None, (each.reason, each.caution))


def _say_groups(count: int, *, together: bool) -> Iterator[str]:
    different = f"These reports are about {count} different sets of patches or labels"
    if count > 1 and together:
        yield (
            f"{different} and are ranked together, as requested; the order says little about "
            "which model is better."
        )
    elif count > 1:
        yield (
            f"{different}, so there are {count} lists: figures of different patches cannot be "
            "ranked together."
        )
