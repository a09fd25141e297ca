"""Whether the numbers of a card are those of its report: model-index, tables, text."""

import re
from collections.abc import Iterator
from itertools import product
from typing import Any

from reben.learn.report import Report
from reben.publish.cards.results import (
    HEADLINE,
    METRICS,
    NO_INTERVAL,
    TUNED,
    label_rows,
    overall_rows,
    tuned_rows,
    uncertainty,
)
from reben.publish.checks.page import CARD, HEAD
from reben.publish.checks.parse import CardText, Problem, Table
from reben.publish.markdown import DECIMALS, number
from reben.support.plain_json import to_plain

INTERVAL = "95 % interval"
_FIGURE = re.compile(r"(?<![\d.,-])\d+\.\d{4}(?![\d.])")
_OF_RUN = re.compile(r"the best by that figure: \d\.\d{4}")
_MEASURED = re.compile(r"(?:Measured on|\bOn) ([\d,]+) patch(?:es)? of the ([\w, ]+?) split")
_HEADLINE = re.compile(r"average precision is (?P<macro>\d\.\d+) macro and (?P<micro>\d\.\d+) m")
_ABSENT = re.compile(r"\*\*Absent:\*\*[^\n]*? has ([^\n]+?)\. As in")


def check_numbers(card: CardText, report: Report) -> Iterator[Problem]:
    """Yield where a card says other numbers than its report."""
    yield from check_model_index(card, report)
    yield from check_overall(card, report)
    yield from check_labels(card, report)
    yield from check_tuned(card, report)
    yield from check_prose(card, report)


def check_model_index(card: CardText, report: Report) -> Iterator[Problem]:
    """Yield headline figures that the model-index lacks or has wrong."""
    if card.data is None:
        return
    results = card.data.eval_results or []
    if not results:
        yield Problem(HEAD, "there is no model-index, so that the Hub shows no figures")
        return
    if not card.data.model_name:
        yield Problem(HEAD, "the model-index does not name the model")
    where = f"{HEAD}, model-index"
    found = {
        (str(each.metric_type), str(dict(each.metric_args or {}).get("average"))): each
        for each in results
        if isinstance(each.metric_args, dict | None)
    }
    for metric, means in product(HEADLINE, ("macro", "micro")):
        right = getattr(getattr(report, means), metric)
        entry = found.get((metric, means))
        if entry is None:
            yield Problem(where, f"there is no {means} {metric}")
        elif not agrees(entry.metric_value, right):
            yield _other(where, f"{means} {metric}", entry.metric_value, number(right))
        elif entry.dataset_split != report.split:
            yield _other(where, f"split of {means} {metric}", entry.dataset_split, report.split)


def check_overall(card: CardText, report: Report) -> Iterator[Problem]:
    """Yield what is wrong in the table of macro and micro figures."""
    table = card.find_table("Macro", "Micro")
    where = f"{CARD}, table of results"
    if table is None:
        yield Problem(
            where, "there is none with columns Macro and Micro to compare with the report"
        )
        return
    own = uncertainty(report).intervals is not None
    if own and INTERVAL not in table.columns:
        yield Problem(where, "it has no 95 % intervals, and the report has some")
    rows = {_metric(cells[0]): cells for cells in table.rows}
    for right in overall_rows(report):
        cells = rows.get(_metric(right["name"]))
        if cells is None:
            if _metric(right["name"]) in {_metric(METRICS[key]) for key in HEADLINE}:
                yield Problem(where, f"there is no {right['name']}")
            continue
        for means in ("Macro", "Micro"):
            place = table.columns.index(means)
            what = f"{means.lower()} {right['name']}"
            yield from _compare(where, what, cells, place, right[means.lower()])
            if own and table.columns[place + 1 : place + 2] == (INTERVAL,):
                interval = right[f"{means.lower()}_interval"]
                yield from _compare(where, f"interval of {what}", cells, place + 1, interval)


def check_labels(card: CardText, report: Report) -> Iterator[Problem]:
    """Yield what is wrong in the table of labels."""
    table = card.find_table("Label", "Patches")
    where = f"{CARD}, table of labels"
    if table is None:
        yield Problem(where, "there is none with columns Label and Patches to compare")
        return
    if table.column("Label") != list(report.labels):
        yield Problem(where, "its labels are not those of the report, in the order of the outputs")
    shown = {title: key for key, title in METRICS.items() if title in table.columns}
    intervals = INTERVAL in table.columns
    rows = {row["Label"]: row for row in table.dicts()}
    for right in label_rows(report):
        row = rows.get(right["label"])
        if row is None:
            continue
        expected = {title: right[key] for title, key in shown.items()}
        expected["Patches"] = f"{right['support']:,}"
        if intervals:
            expected[INTERVAL] = right["interval"] or NO_INTERVAL
        for column, value in expected.items():
            if not _same(row.get(column, ""), value):
                what = f"{column} of {right['label']}"
                yield _other(where, what, row.get(column, ""), value)


def check_tuned(card: CardText, report: Report) -> Iterator[Problem]:
    """Yield what is wrong in the tables of figures at the model's own thresholds."""
    if report.calibrated is None:
        return
    metrics = report.calibrated.metrics
    table = card.find_table("At its own thresholds", "Macro", "Micro")
    where = f"{CARD}, table of tuned figures"
    if table is None:
        yield Problem(where, "there is none, and the report has tuned figures")
    else:
        rows = {row["At its own thresholds"]: row for row in table.dicts()}
        for right in tuned_rows(metrics):
            for means in ("Macro", "Micro"):
                there = rows.get(right["name"], {}).get(means, "")
                if not _same(there, right[means.lower()]):
                    what = f"{means.lower()} {right['name']}"
                    yield _other(where, what, there, right[means.lower()])
    yield from _check_tuned_labels(card.find_table("Label", "Threshold"), report)


def check_prose(card: CardText, report: Report) -> Iterator[Problem]:
    """Yield numbers of the running text that are not the report's."""
    prose, where = card.without_tables, f"{CARD}, text"
    yield from _check_sentences(where, prose, report)
    known = {number(value) for value in _figures_of(report)}
    for figure in dict.fromkeys(_FIGURE.findall(_OF_RUN.sub("", prose))):
        if figure not in known:
            yield Problem(where, f"the figure {figure} is not in the report")
    named = _ABSENT.search(prose)
    if (tuple(named[1].split("; ")) if named else ()) != report.absent:
        absent = "; ".join(report.absent) or "none"
        yield _other(where, "labels without a patch", named[1] if named else "not named", absent)


def agrees(there: object, right: float) -> bool:
    """Tell whether a number, as text or not, is ``right``, to the digits that it has.

    Example:
        >>> agrees("0.6123", 0.61234567), agrees(0.61, 0.6123), agrees("0.6124", 0.61234567)
        (True, True, False)
        >>> agrees("1,204", 1204), agrees("1", 0.7), agrees("none", 0.7)
        (True, False, False)
    """
    text = str(there).replace(",", "").strip()
    try:
        distance = abs(float(text) - right)
    except ValueError:
        return False
    # The report's own figure may come rounded, too, so that more digits say no more.
    digits = min(len(text.partition(".")[2]), DECIMALS)
    return distance <= 0.5001 * 10.0**-digits if digits > 1 else distance < 1e-9


def _check_sentences(where: str, prose: str, report: Report) -> Iterator[Problem]:
    for count, split in _MEASURED.findall(prose):
        if (count, split) != (f"{report.num_patches:,}", report.split):
            right = f"{report.num_patches:,} of the {report.split} split"
            yield _other(where, "patches measured on", f"{count} of the {split} split", right)
    for found, means in product(_HEADLINE.finditer(prose), ("macro", "micro")):
        value = getattr(report, means).average_precision
        if not agrees(found[means], value):
            yield _other(where, f"{means} average precision", found[means], number(value))


def _check_tuned_labels(table: Table | None, report: Report) -> Iterator[Problem]:
    where = f"{CARD}, table of thresholds"
    if table is None or report.calibrated is None:
        return
    calibration, figures = report.calibrated.calibration, report.calibrated.metrics.per_class
    rows = {row["Label"]: row for row in table.dicts()}
    for label, threshold in zip(report.labels, calibration.thresholds, strict=True):
        row = rows.get(label, {})
        own = {METRICS[key]: number(getattr(figures[label], key)) for key in TUNED}
        for column, right in {"Threshold": number(threshold), **own}.items():
            if not _same(row.get(column, ""), right):
                yield _other(where, f"{column} of {label}", row.get(column, ""), right)


def _compare(
    where: str, what: str, cells: tuple[str, ...], place: int, right: str
) -> Iterator[Problem]:
    there = cells[place] if place < len(cells) else ""
    if not _same(there, right or NO_INTERVAL):
        yield _other(where, what, there, right or NO_INTERVAL)


def _same(there: str, right: str) -> bool:
    """Tell whether two cells say the same: the same text, or a number to the digits it has."""
    if there == " ".join(right.split()):  # any space is like another
        return True
    try:
        return agrees(there, float(right.replace(",", "")))
    except ValueError:
        return False


def _metric(name: str) -> str:
    return name.strip("* ").lower().removesuffix(" score").replace(" ", "_")


def _figures_of(report: Report) -> Iterator[float]:
    """Yield the figures that a text may tell, and the temperature of models without another."""
    yield from (1.0, report.threshold)
    told = [report.metrics, report.intervals]
    if report.reliability is not None:
        yield report.reliability.expected_error
    if report.calibrated is not None:
        yield report.calibrated.reliability.expected_error
        told += [report.calibrated.metrics, report.calibrated.calibration]
    waiting: list[Any] = [to_plain(part) for part in told]
    while waiting:
        entry = waiting.pop()
        if isinstance(entry, float):
            yield entry
        elif isinstance(entry, dict | list):
            waiting.extend(entry.values() if isinstance(entry, dict) else entry)


def _other(where: str, what: str, there: object, right: object) -> Problem:
    return Problem(where, f"{what} is {there}; the report says {right}")
