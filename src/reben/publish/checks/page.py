"""Checks for every card: front matter, pictures, unfilled placeholders."""

import re
import struct
import zlib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Literal, Self

from huggingface_hub import ModelCardData

from reben.errors import CardError, first_line
from reben.publish.cards.front_matter import LICENCES
from reben.publish.cards.record import without_sections
from reben.publish.mlm_fields import CARD_FILE
from reben.publish.pages import parse_head, pictures, prose, split_head

HEAD = f"{CARD_FILE}, front matter"
_FIELDS = {
    "library_name": "the library that loads the model",
    "pipeline_tag": "the task",
    "tags": "words to find the model by",
    "datasets": "what it was trained on",
    "metrics": "what it was measured by",
}
_PLACEHOLDER = re.compile(
    r"""
    \{\{[^{}\n]{0,200}\}\} | \{%[^{}\n]{0,200}%\} | \{\#[^{}\n]{0,200}\#\}  # Jinja nobody filled
    | (?<!\\)<(?!(?:BR|HR|[A-Z]|[HOTU][1-6DHLR]|LI)>)[A-Z][A-Z0-9_ -]{0,60}(?<![_ -])>
    | (?i:\[\s{0,5}More\ Information\ Needed\s{0,5}\])
    | (?i:\[\s{0,5}(?:insert|your)\b[^\]\n]{0,200}\](?!\())
    | (?i:\blorem\ ipsum\b)
    """,
    re.VERBOSE,
)
"""What templates leave where something must be filled in; <BR> and the like are HTML.

Every repetition is bounded, so that no text keeps the search busy.
"""
_MOST_TOLD = 20
"""Placeholders that are named; a card with more was not filled in at all."""
_LONGEST_PATH, _MOST_PIXELS = 200, 50_000_000
_PICTURE_FAULTS = (
    ArithmeticError, EOFError, LookupError, OSError, SyntaxError, TypeError, ValueError,
    struct.error, zlib.error,
)  # fmt: skip
"""What Pillow raises for a damaged picture, format by format."""


@dataclass(frozen=True)
class CardProblem:
    """One thing that is wrong with a card, or that cannot be verified.

    Args:
        where: The file, and the section or field in it.
        what: What it says and what it should say.
        severity: ``error`` if the card must not be published like this, else ``warning``.
    """

    where: str
    what: str
    severity: Literal["error", "warning"] = "error"

    def __str__(self) -> str:
        """Return it as one line."""
        note = " (warning)" if self.severity == "warning" else ""
        return f"{self.where}: {self.what}{note}"


@dataclass(frozen=True)
class CardText:
    """A card taken apart."""

    head: Mapping[str, Any]  # the front matter as plain values
    trouble: str | None  # why the front matter cannot be parsed, if so
    text: str  # the text below it

    @classmethod
    def parse(cls, content: str) -> Self:
        """Return the card in a text."""
        block, text = split_head(content)
        try:
            if block is None:
                raise CardError(
                    "the front matter is missing: there is no block of YAML between lines of dashes"
                )
            head = parse_head(block)
        except CardError as error:
            return cls({}, str(error), text)
        return cls(head, _refused(head), text)


def _refused(head: dict[str, Any]) -> str | None:
    """Return why the Hub's client cannot read the fields of a front matter, if so."""
    try:
        ModelCardData(**head)
    except (ValueError, TypeError, LookupError, AttributeError) as error:
        return f"the Hub cannot use the front matter: {type(error).__name__} {first_line(error)}"
    return None


def check_page(
    folder: Path, card: CardText, unknown: Collection[str] = ()
) -> Iterator[CardProblem]:
    """Yield what is wrong with a card, whoever wrote it, but for ``unknown`` fields of its head."""
    if card.trouble is not None:
        yield CardProblem(CARD_FILE, card.trouble)
    yield from _check_head(card.head, unknown)
    yield from _check_pictures(folder, card)


def check_placeholders(card: CardText, known: Mapping[str, Any]) -> Iterator[CardProblem]:
    """Yield unfilled placeholders outside sections, code, and the ``known`` fields of reben."""
    free = [_added(value, known.get(name)) for name, value in card.head.items()]
    text = prose(without_sections(card.text))
    for word in islice(dict.fromkeys(_PLACEHOLDER.findall(f"{text}\n{free}")), _MOST_TOLD):
        yield CardProblem(CARD_FILE, f"the placeholder {word!r} was not filled in", "warning")


def _added(there: object, known: object) -> object:
    """Return what an author added to a field of the front matter, or put in its place."""
    if isinstance(there, list) and isinstance(known, list):
        return [entry for entry in there if entry not in known]
    return None if there == known else there


def _check_head(head: Mapping[str, Any], unknown: Collection[str]) -> Iterator[CardProblem]:
    licence = head.get("license")
    if not licence:
        yield CardProblem(HEAD, "license is missing: the licence of the weights")
    elif not isinstance(licence, str) or licence not in LICENCES:
        yield CardProblem(HEAD, f"license {licence!r} is not an identifier that the Hub knows")
    elif licence == "other" and not (head.get("license_name") and head.get("license_link")):
        what = "license is other, so license_name and license_link have to say which"
        yield CardProblem(HEAD, what, "warning")
    for name, what in _FIELDS.items():
        if not head.get(name) and name not in unknown:
            yield CardProblem(HEAD, f"{name} is missing: {what}", "warning")
    task = head.get("pipeline_tag")
    if task and task != "image-classification":
        yield CardProblem(
            HEAD, f"pipeline_tag is {task!r}; it should be image-classification", "warning"
        )


def _check_pictures(folder: Path, card: CardText) -> Iterator[CardProblem]:
    """Yield pictures that are missing or cannot be read."""
    widgets = card.head.get("widget")
    named = [
        entry.get("src")
        for entry in (widgets if isinstance(widgets, list) else ())
        if isinstance(entry, dict)
    ]
    try:
        shown = pictures(card.text)
    except CardError as error:
        yield CardProblem(CARD_FILE, str(error))
        return
    for path in dict.fromkeys([*shown, *(str(src) for src in named if src)]):
        if "://" not in path and not path.startswith(("//", "data:")):
            yield from _check_picture(folder, path)


def _check_picture(folder: Path, path: str) -> Iterator[CardProblem]:
    from PIL import Image

    shown, file = path[:_LONGEST_PATH], folder / path
    try:
        inside, there = file.resolve().is_relative_to(folder.resolve()), file.is_file()
    except (OSError, ValueError):  # a name that no file can have
        inside, there = True, False
    if not inside:
        yield CardProblem(shown, "the card shows a picture outside its folder")
    elif not there:
        yield CardProblem(shown, "the card shows this picture, but it is missing")
    elif file.suffix.lower() != ".svg":  # drawn by the browser; Pillow reads pixels only
        try:
            with Image.open(file) as picture:
                if picture.width * picture.height > _MOST_PIXELS:
                    raise ValueError(f"it has {picture.width} x {picture.height} pixels")
                picture.load()
        except _PICTURE_FAULTS as error:
            yield CardProblem(shown, f"it is not a readable picture: {first_line(error)}")
