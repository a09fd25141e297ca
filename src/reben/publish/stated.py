"""What a run, or the card of a model, states of the model: figures, warnings, licence, citation."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from reben.data.identity import DataIdentity
from reben.errors import RebenError, RunError
from reben.learn.run import Run
from reben.model.folder import CONFIG_FILE, run_folder
from reben.model.hub import fetch_file, is_hub_id, split_revision
from reben.publish.cards.data_words import CardPatches, toy_words
from reben.publish.cards.front_matter import LICENCES
from reben.publish.cards.record import RECORD_FILE
from reben.publish.hub_models import indexed_precision, table_precision
from reben.publish.markdown import number
from reben.publish.mlm_fields import CARD_FILE
from reben.publish.pages import fenced, parse_head, read_page, split_head
from reben.support.json_files import read_json

_logger = logging.getLogger(__name__)
_UNMEASURED = "Average precision: not stated. Measure it with: reben evaluate"
_UNLICENSED = "Licence: not stated. Ask its authors before you use it."


@dataclass(frozen=True)
class StatedFacts:
    """What is stated of a model, as sentences of plain text that somebody else may have written."""

    # its macro average precision, and what that was measured on; or that none is stated
    figures: str = _UNMEASURED
    licence: str = _UNLICENSED  # the licence of its weights; or that none is stated
    warnings: tuple[str, ...] = ()  # why its scores are not to be relied on, if there is a reason
    citations: tuple[str, ...] = ()  # entries of BibTeX
    licence_id: str | None = None  # the identifier of the licence on the Hub, if it is stated


def stated_facts(place: str) -> StatedFacts:
    """Return what is stated of the model that `reben.open_model` opens by ``place``."""
    folder = run_folder(place)
    try:
        if folder is not None:
            return _of_run(Run.open(folder))
        return _of_card(_file(place, CARD_FILE), _file(place, RECORD_FILE))
    except RebenError as error:
        _logger.warning("What is stated of %s could not be read: %s", place, error)
        return StatedFacts()


def _file(place: str, name: str) -> Path | None:
    repository, revision = split_revision(place)
    if is_hub_id(repository) and not (Path(place) / CONFIG_FILE).is_file():
        return fetch_file(repository, name, {"revision": revision})
    path = Path(place) / name
    return path if path.is_file() else None


def _of_run(run: Run) -> StatedFacts:
    measured, figures = DataIdentity("unknown"), _UNMEASURED
    split = "test"
    try:
        report = run.report()
    except RunError:
        report = None
    if report is not None:
        measured, split = report.data or measured, report.split
        figures = (
            f"Macro average precision {number(report.macro.average_precision)}, measured on "
            f"{measured.describe(report.num_patches, split)}."
        )
    found = CardPatches.of_run(run, measured)
    licence = "Licence: none yet, the model is not published."
    return StatedFacts(figures, licence, tuple(toy_words(found, report)))


def _of_card(card: Path | None, record: Path | None) -> StatedFacts:
    page = "" if card is None else read_page(card)
    block, body = split_head(page)
    head = {} if block is None else parse_head(block)
    found = indexed_precision(SimpleNamespace(eval_results=_results(head.get("model-index"))))
    found = found or table_precision(body)
    figures = _UNMEASURED
    if found is not None:
        on = f", measured on {found[1]}" if found[1] else ", as its card states"
        figures = f"Macro average precision {found[0]:.4f}{on}."
    licence = head.get("license_name") or head.get("license")
    warnings: Sequence[str] = ()
    if record is not None:
        values = read_json(record, dict[str, Any], RunError, "").get("values")
        stated = values.get("warning") if isinstance(values, dict) else None
        warnings = [str(text) for text in stated] if isinstance(stated, list) else ()
    return StatedFacts(
        figures,
        f"Licence: {licence}." if isinstance(licence, str) else _UNLICENSED,
        tuple(warnings),
        tuple(fenced(body, "bibtex")),
        next((known for known in LICENCES if known == head.get("license")), None),
    )


def _results(index: object) -> list[Any]:
    """Return the results of a model-index that has the form of one."""
    from huggingface_hub.repocard_data import model_index_to_eval_results

    try:
        return list(model_index_to_eval_results(index)[1])  # type: ignore[arg-type]
    except (AttributeError, KeyError, TypeError, ValueError, IndexError):
        return []
