"""Check a card folder: does the card agree with its report, config and weights?

Any folder with a model card can be checked. What reben wrote is compared with the record beside
it; other cards get the checks that apply to every card. Nothing is downloaded.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from reben.errors import CardError, RebenError
from reben.learn.report import REPORT_FILE, Report
from reben.model.folder import CONFIG_FILE
from reben.model.published import is_published_config
from reben.model.weights import WEIGHTS_FILE
from reben.publish.cards.facts import CardSubject
from reben.publish.cards.record import RECORD_FILE, CardRecord, read_sections
from reben.publish.checks.page import CardProblem, CardText, check_page, check_placeholders
from reben.publish.checks.written import Written, check_written
from reben.publish.mlm_check import check_mlm
from reben.publish.mlm_fields import CARD_FILE, MLM_FILE
from reben.publish.pages import read_page
from reben.support.json_files import read_json

if TYPE_CHECKING:
    from reben.model.classifier import Classifier

__all__ = ["CardProblem", "check_card"]


def check_card(folder: Path | str) -> tuple[CardProblem, ...]:
    """Return what is wrong with a card folder; nothing if all is well.

    Every card: the front matter parses and has a licence that the Hub knows; pictures exist and
    can be read; the config names its bands; the weights match the model exactly; ``mlm.json``, if
    there is one, describes these very files.

    A card that reben wrote, with ``card.json``: channels, statistics, labels and thresholds follow
    from ``config.json``, figures from ``report.json``, and the scores of the example from its raw
    bands; front matter and marked sections read exactly as reben writes them from these. Text
    outside the marks is the author's and is not checked.

    Args:
        folder: The folder.

    Returns:
        The problems; the ``severity`` of each is ``error`` or ``warning``. A card with errors is
        not pushed.

    Example:
        >>> [str(problem) for problem in check_card("nowhere")]
        ['README.md: there is no such file in nowhere']
    """
    return tuple(dict.fromkeys(_find(Path(folder))))


def _find(folder: Path) -> Iterator[CardProblem]:
    try:
        card = CardText.parse(read_page(folder / CARD_FILE))
    except CardError as error:
        missing = isinstance(error.__cause__, FileNotFoundError)
        what = f"there is no such file in {folder}" if missing else str(error)
        yield CardProblem(CARD_FILE, what)
        return
    model, record = _load_model(folder), _load_record(folder, card)
    yield from (found for found in (model, record) if isinstance(found, CardProblem))
    yield from _check_bands_stated(folder)
    written = record if isinstance(record, CardRecord) else None
    untold = written is not None and not written.values.get("datasets")
    yield from check_page(folder, card, ("datasets",) if untold else ())
    yield from check_placeholders(card, {} if written is None else written.front_matter)
    loaded = None if isinstance(model, CardProblem) else model
    if written is not None:
        report = _load_report(folder, loaded)
        if isinstance(report, CardProblem):
            yield report
        known = report if isinstance(report, Report) else None
        yield from check_written(Written(folder, card, written, loaded, known))
    if (folder / MLM_FILE).is_file():
        yield from (CardProblem(MLM_FILE, sentence) for sentence in check_mlm(folder / MLM_FILE))


def _load_model(folder: Path) -> "Classifier | CardProblem":
    from reben.model.classifier import Classifier

    try:
        return Classifier.from_pretrained(folder)
    except RebenError as error:
        return CardProblem(WEIGHTS_FILE, f"the model could not be loaded: {error}")


def _load_record(folder: Path, card: CardText) -> CardRecord | CardProblem:
    if not (folder / RECORD_FILE).is_file():
        sections, fault = read_sections(card.text)
        if sections or fault:
            return CardProblem(RECORD_FILE, "it is missing, so nothing on the card can be verified")
        return CardProblem(
            RECORD_FILE,
            "it is missing: another program or an older reben wrote the card, so its figures "
            "cannot be verified",
            "warning",
        )
    try:
        return CardRecord.read(folder)
    except RebenError as error:
        return CardProblem(RECORD_FILE, str(error))


def _load_report(folder: Path, model: "Classifier | None") -> Report | CardProblem:
    """Return the report of a card, if it is about a model like the one beside it."""
    if not (folder / REPORT_FILE).is_file():
        return CardProblem(REPORT_FILE, "it is missing, so no figure can be verified")
    try:
        report = Report.load(folder / REPORT_FILE)
        if model is not None:
            CardSubject(model, str(folder)).require_report(report)
    except RebenError as error:
        return CardProblem(REPORT_FILE, str(error))
    tuned = report.calibrated
    parts = [report.per_class, *([] if tuned is None else [tuned.metrics.per_class])]
    if any(set(own) != set(report.labels) for own in parts):
        return CardProblem(REPORT_FILE, "it does not have figures for each of its labels")
    return report


def _check_bands_stated(folder: Path) -> Iterator[CardProblem]:
    try:
        values = read_json(folder / CONFIG_FILE, dict, RebenError, "")
    except RebenError:
        return  # reported by _load_model
    if is_published_config(values):
        yield CardProblem(CONFIG_FILE, "it does not name the bands, so their order is a guess")
