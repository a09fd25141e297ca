"""Checks of a card folder: does the card say what report, config and weights say?

Any folder with a model card can be checked; of a card that reben did not write, what cannot be
verified is among the findings. Nothing is fetched.
"""

import json
from collections.abc import Iterator
from pathlib import Path

from reben.errors import RebenError
from reben.learn.report import Report
from reben.model.classifier import Classifier
from reben.model.folder import CONFIG_FILE, WEIGHTS_FILE
from reben.model.published import is_published_config
from reben.publish.checks.example import check_example
from reben.publish.checks.model import check_model_text, check_report_of_model
from reben.publish.checks.numbers import check_numbers
from reben.publish.checks.page import (
    CARD,
    check_front_matter,
    check_pictures,
    check_placeholders,
    widgets,
)
from reben.publish.checks.parse import CardText, Problem
from reben.publish.mlm import MLM_FILE, check_mlm

__all__ = ["Problem", "check_card"]

REPORT_FILE = "report.json"


def check_card(folder: Path | str) -> tuple[Problem, ...]:
    """Return what is wrong with a card folder; nothing if all is well.

    What is checked: the front matter parses, is complete, and has a licence that the Hub knows;
    model-index, tables and text have the numbers of ``report.json``; channels, statistics, labels
    and thresholds are those of ``config.json``; the weights are exactly the model's; pictures are
    there, are pictures, and are shown; the model gives the scores of the example for its raw
    bands; no placeholder was left; ``mlm.json``, if there is one, is about these very files.

    Args:
        folder: The folder.

    Example:
        >>> [str(problem) for problem in check_card("nowhere")]
        ['README.md: there is no such file in nowhere']
    """
    return tuple(dict.fromkeys(_find(Path(folder))))


def _find(folder: Path) -> Iterator[Problem]:
    try:
        card = CardText.read(folder / CARD)
    except FileNotFoundError:
        yield Problem(CARD, f"there is no such file in {folder}")
        return
    except (OSError, UnicodeDecodeError) as error:
        yield Problem(CARD, f"it cannot be read: {error}")
        return
    model, report = _load_model(folder), _load_report(folder)
    yield from (found for found in (model, report) if isinstance(found, Problem))
    yield from _check_bands_stated(folder)
    yield from check_front_matter(card)
    yield from check_pictures(folder, card)
    yield from check_placeholders(card, _names(card, model, report))
    if isinstance(report, Report):
        yield from check_numbers(card, report)
    if isinstance(model, Classifier):
        yield from check_model_text(card, model)
        if isinstance(report, Report):
            yield from check_report_of_model(model, report)
    yield from check_example(folder, card, model if isinstance(model, Classifier) else None)
    yield from _check_item(folder)


def _load_model(folder: Path) -> Classifier | Problem:
    try:
        return Classifier.from_pretrained(folder)
    except RebenError as error:
        return Problem(WEIGHTS_FILE, f"the model cannot be loaded: {error}")


def _load_report(folder: Path) -> Report | Problem:
    if not (folder / REPORT_FILE).is_file():
        return Problem(REPORT_FILE, "it is not there, so no figure can be verified")
    try:
        report = Report.load(folder / REPORT_FILE)
    except RebenError as error:
        return Problem(REPORT_FILE, str(error))
    tuned = report.calibrated
    parts = [report.per_class, *([] if tuned is None else [tuned.metrics.per_class])]
    limits = report.labels if tuned is None else tuned.calibration.thresholds
    if len(limits) != len(report.labels) or any(set(own) != set(report.labels) for own in parts):
        return Problem(REPORT_FILE, "its figures are not one for each of its labels")
    return report


def _check_bands_stated(folder: Path) -> Iterator[Problem]:
    try:
        values = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return  # the model cannot be loaded, which is told elsewhere
    if isinstance(values, dict) and is_published_config(values):
        yield Problem(CONFIG_FILE, "it does not name the bands, so that their order is a guess")


def _check_item(folder: Path) -> Iterator[Problem]:
    """Yield what is wrong with the STAC item of a card folder; nothing where there is none."""
    if not (folder / MLM_FILE).is_file():
        return
    for sentence in check_mlm(folder / MLM_FILE):
        yield Problem(MLM_FILE, sentence)


def _names(card: CardText, model: Classifier | Problem, report: Report | Problem) -> Iterator[str]:
    """Yield names that stand on the card and may look like anything."""
    if card.data is not None and card.data.model_name:
        yield str(card.data.model_name)
    if isinstance(model, Classifier):
        yield from (model.config.backbone, *model.labels)
    if isinstance(report, Report):
        yield report.name
    for entry in widgets(card):
        yield str(entry.get("example_title", "")).split(" ")[0]
