"""Checks for a card that reben wrote: does it still agree with its model, report and example?

The record, `card.json`, is compared with what follows from the other files in the folder; sections
and front matter are compared with what follows from the record.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reben.errors import ConfigError, RebenError
from reben.learn.report import Report
from reben.publish.cards.content import as_json, missions, model_values
from reben.publish.cards.data_words import CardPatches, data_values
from reben.publish.cards.example import EXAMPLE_FILE, example_values, unpack
from reben.publish.cards.recipe import unrecorded_values
from reben.publish.cards.record import (
    RECORD_FILE,
    CardRecord,
    lines_with_figures,
    marks_in_code,
    read_sections,
    sha256,
)
from reben.publish.cards.results import result_values
from reben.publish.cards.statements import contradictions
from reben.publish.checks.differences import differences, shown
from reben.publish.checks.page import HEAD, CardProblem, CardText
from reben.publish.mlm_fields import CARD_FILE
from reben.support.plain_json import to_plain

if TYPE_CHECKING:
    from reben.model.classifier import Classifier

TOLERANCE = 1e-3
"""How far scores may be from those on the card, since machines round differently."""
_WORDED = frozenset(
    (
        *("warning", "how_sure", "calibration", "recipe", "unknown", "caption", "bands_in_words"),
        *("trained_words", "measured_words", "limits", "data_licences"),
    )
)
"""Values that are sentences, which another version of reben may word differently."""


@dataclass(frozen=True)
class Written:
    """A card, its record, and the files beside them, as far as they can be read."""

    folder: Path
    card: CardText
    record: CardRecord
    model: "Classifier | None"
    report: Report | None


def check_written(found: Written) -> Iterator[CardProblem]:
    """Yield what is wrong with a card that reben wrote."""
    yield from _check_record(found)
    yield from _check_files(found)
    yield from _check_text(found)


def _check_record(found: Written) -> Iterator[CardProblem]:
    """Yield where the record disagrees with config, weights, report and example."""
    try:
        for source, fresh in _recomputed(found):
            yield from _compare(found.record, source, as_json(fresh))
        yield from _check_example(found)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        yield CardProblem(
            RECORD_FILE, f"a value is missing or has the wrong type: {type(error).__name__} {error}"
        )


def _recomputed(found: Written) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield files, each with the values that follow from it."""
    stored, model, report = found.record.values, found.model, found.report
    if model is None:
        return
    yield "config.json and the weights", model_values(model)
    if stored["run"] is None:
        yield "config.json", unrecorded_values(model.config, stored["stated"])
    if report is not None:
        told = CardPatches.of_values(stored["patches"])
        yield "report.json", result_values(model.config, report)
        yield "report.json", data_values(told, report, missions(model.bands))
        if report.data is not None and to_plain(report.data) != stored["patches"]["measured"]:
            yield "report.json", {"patches": {**stored["patches"], "measured": report.data}}


def _compare(record: CardRecord, source: str, fresh: Mapping[str, Any]) -> Iterator[CardProblem]:
    """Yield the first difference in each value."""
    same_version = record.reben_version == version("reben")
    for name, right in fresh.items():
        if same_version or (name in record.values and name not in _WORDED):
            difference = next(differences(record.values[name], right, name), None)
            if difference is not None:
                yield CardProblem(RECORD_FILE, f"{difference}, by {source}")


def _check_example(found: Written) -> Iterator[CardProblem]:
    """Yield where the example differs from what the model predicts for its raw bands."""
    file, model = found.folder / EXAMPLE_FILE, found.model
    if not file.is_file():
        yield CardProblem(EXAMPLE_FILE, "it is missing, so the example cannot be predicted again")
        return
    if model is None:
        return
    try:
        fresh = as_json(example_values(unpack(file, model), model.bands))
    except RebenError as error:
        yield CardProblem(EXAMPLE_FILE, f"the example could not be predicted again: {error}")
        return
    stored = found.record.values["example"]["bars"]
    right = {bar["label"]: bar["score"] for bar in fresh["example"]["bars"]}
    there = {bar["label"]: bar["score"] for bar in stored}
    if there.keys() == right.keys():
        worst = max(right, key=lambda label: abs(there[label] - right[label]))
        if not abs(there[worst] - right[worst]) <= TOLERANCE:
            yield CardProblem(
                RECORD_FILE,
                f"the score of {worst} is {there[worst]}; the model predicts {right[worst]:.4f} "
                f"from the raw bands in {EXAMPLE_FILE}",
            )
        # Scores that are only rounded differently stay as on the card, in its order.
        true = {bar["label"]: bar["is_true"] for bar in fresh["example"]["bars"]}
        ranked = sorted(there, key=lambda label: -there[label])
        fresh["example"]["bars"] = [
            {"label": label, "score": there[label], "is_true": true[label]} for label in ranked
        ]
    yield from _compare(found.record, EXAMPLE_FILE, fresh)


def _check_files(found: Written) -> Iterator[CardProblem]:
    """Yield pictures and examples that were changed since the card was written."""
    for name, checksum in found.record.files.items():
        file = found.folder / name
        inside = file.resolve().is_relative_to(found.folder.resolve())
        if inside and file.is_file() and sha256(file.read_bytes()) != checksum:
            yield CardProblem(name, "it was changed since the card was written")


def _check_text(found: Written) -> Iterator[CardProblem]:
    """Yield where front matter and sections do not follow from the record."""
    record = found.record
    try:
        head, texts = record.render()
    except (ConfigError, KeyError, TypeError, AttributeError, ValueError) as error:
        yield CardProblem(RECORD_FILE, f"the card could not be rendered from it: {error}")
        return
    if record.reben_version != version("reben"):
        yield CardProblem(
            RECORD_FILE,
            f"reben {record.reben_version} wrote the card; this is {version('reben')}, which can "
            "only tell whether sections were changed since. Write the card again to update it",
            "warning",
        )
    author = set(record.values.get("author", {}).get("head", {})) - {"widget"}  # may change theirs
    right = {name: value for name, value in head.items() if name not in author}
    yield from _check_head(found.card.head, right)
    if texts is None:
        for sentence in contradictions(found.card.text, record.values):
            yield CardProblem(CARD_FILE, sentence, "warning")
    yield from _check_sections(found, texts)


def _check_sections(found: Written, texts: Mapping[str, str] | None) -> Iterator[CardProblem]:
    """Yield sections that reben did not write like this; without texts, by their checksums."""
    there, fault = read_sections(found.card.text)
    if fault is not None:
        yield CardProblem(CARD_FILE, f"the section marks do not match: {fault}")
    for name in sorted(marks_in_code(found.card.text) & there.keys()):
        yield CardProblem(
            f"{CARD_FILE}, section {name}", "it stands in a block of code, so its page is broken"
        )
    checksums = found.record.sections
    for name in texts or checksums:
        where = f"{CARD_FILE}, section {name}"
        if name not in there:
            own = texts is None and bool(found.record.figures)
            yield CardProblem(where, "it is missing", "warning" if own else "error")
        elif texts is not None and there[name] != texts[name]:
            yield CardProblem(where, _first_difference(there[name], texts[name]))
        elif texts is None and sha256(there[name].encode()) != checksums[name]:
            yield _changed(where, there[name], found.record.figures)
    for name in there.keys() - (texts or checksums).keys():
        yield CardProblem(f"{CARD_FILE}, section {name}", "reben did not write this section")


def _changed(where: str, text: str, figures: Sequence[str]) -> CardProblem:
    """Return what is to be said of a section that is no longer as it was written.

    Of a user's template without marks the words are the user's; lines with figures may go, but not
    be replaced by others.
    """
    if not figures:
        return CardProblem(where, "it was changed since reben wrote it")
    there, before = dict.fromkeys(lines_with_figures(text)), set(figures)
    new = [line for line in there if line not in before]
    gone = [line for line in figures if line not in there]
    if new and gone:
        return CardProblem(where, f"it says {shown(new[0])}; reben wrote {shown(gone[0])}")
    return CardProblem(where, "its words were changed, so they are yours to answer for", "warning")


def _check_head(there: Mapping[str, Any], right: Mapping[str, Any]) -> Iterator[CardProblem]:
    """Yield fields of the front matter that differ from reben's; lists may hold more."""
    for name, value in right.items():
        if name not in there:
            yield CardProblem(HEAD, f"{name} is missing")
        elif name == "model-index" and isinstance(there[name], list) and len(there[name]) == 1:
            yield from _check_model_index(there[name][0], value[0])
        elif isinstance(value, list) and isinstance(there[name], list):
            yield from _check_entries(there[name], value, name)
        elif there[name] != value:
            yield CardProblem(HEAD, next(differences(there[name], value, name)))


def _check_model_index(there: Any, right: Mapping[str, Any]) -> Iterator[CardProblem]:  # noqa: ANN401
    if not isinstance(there, dict) or not isinstance(there.get("results"), list):
        yield CardProblem(HEAD, "model-index has no list of results")
        return
    if there.get("name") != right["name"]:
        yield CardProblem(
            HEAD, next(differences(there.get("name"), right["name"], "model-index.name"))
        )
    yield from _check_entries(there["results"], right["results"], "model-index.results")


def _check_entries(there: list[Any], right: list[Any], name: str) -> Iterator[CardProblem]:
    for place, entry in enumerate(right):
        if entry in there:
            continue
        if place < len(there) and isinstance(entry, dict):
            yield CardProblem(HEAD, next(differences(there[place], entry, f"{name}[{place}]")))
        else:
            yield CardProblem(HEAD, f"{name} lacks {shown(entry)}")


def _first_difference(there: str, right: str) -> str:
    lines = zip_longest(there.splitlines(), right.splitlines(), fillvalue="")
    line, wanted = next(pair for pair in lines if pair[0] != pair[1])
    same = next((i for i, (a, b) in enumerate(zip(line, wanted, strict=False)) if a != b), 0)
    start = max(0, same - 30)
    return f"it says {shown(line[start:])}; it should say {shown(wanted[start:])}"
