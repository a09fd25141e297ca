"""Checks for every card: front matter, pictures, unfilled placeholders."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

import yaml  # type: ignore[import-untyped]
from huggingface_hub import ModelCard

from reben.errors import first_line
from reben.publish.cards.front_matter import LICENCES
from reben.publish.cards.record import without_sections
from reben.publish.mlm_fields import CARD_FILE

HEAD = f"{CARD_FILE}, front matter"
_FIELDS = {
    "library_name": "the library that loads the model",
    "pipeline_tag": "the task",
    "tags": "words to find the model by",
    "datasets": "what it was trained on",
    "metrics": "what it was measured by",
}
_FENCE = re.compile(r"^(`{3,}|~{3,})[^\n]*\n.*?^\1[ \t]*$", re.DOTALL | re.MULTILINE)
_COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
_HEAD = re.compile(r"\A\s*---[ \t]*\n(.*?)\n?---[ \t]*(\n|\Z)", re.DOTALL)
_PICTURE = re.compile(r"!\[(?:[^\[\]]|\[[^\]]*\](?:\([^)]*\))?)*\]\(([^)\s]+)[^)]*\)")
_HTML_PICTURE = re.compile(r"<img\b[^>]*?\bsrc\s*=\s*[\"']([^\"']+)[\"']", re.IGNORECASE)
_PLACEHOLDER = re.compile(
    r"""
    \{\{.*?\}\} | \{%.*?%\} | \{\#.*?\#\}              # Jinja that nobody filled
    | (?<!\\)<(?!(?:BR|HR|[A-Z]|[HOTU][1-6DHLR]|LI)>)[A-Z][A-Z0-9]*(?:[_ -][A-Z0-9]+)*>
    | (?i:\[\s*More\ Information\ Needed\s*\] | \[\s*(?:insert|your)\b[^\]]*\](?!\())
    | (?i:\blorem\ ipsum\b)
    """,
    re.VERBOSE,
)
"""What templates leave where something must be filled in; <BR> and the like are HTML."""


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
    """A card taken apart.

    Args:
        head: The front matter as plain values.
        trouble: Why the front matter cannot be parsed, if so.
        text: The text below it.
    """

    head: Mapping[str, Any]
    trouble: str | None
    text: str

    @classmethod
    def parse(cls, content: str) -> Self:
        """Return the card in a text."""
        content = content.removeprefix("\ufeff").replace("\r\n", "\n")
        match = _HEAD.match(content)
        if match is None:
            reason = (
                "the front matter is missing: there is no block of YAML between lines of dashes"
            )
            return cls({}, reason, content)
        head, trouble = _parse_head(match[1], content)
        return cls(head, trouble, content[match.end() :])

    @property
    def pictures(self) -> tuple[str, ...]:
        """The pictures that the text shows: paths in the folder, or addresses."""
        prose = _FENCE.sub("", _COMMENT.sub("", self.text))
        return (*_PICTURE.findall(prose), *_HTML_PICTURE.findall(prose))


def _parse_head(block: str, content: str) -> tuple[dict[str, Any], str | None]:
    try:
        head = yaml.safe_load(block)
    except yaml.YAMLError as error:
        return {}, f"the front matter is not valid YAML: {' '.join(str(error).split())}"
    if not isinstance(head, dict):
        return {}, "the front matter has no fields"
    try:
        ModelCard(content)  # as the Hub's client reads it
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        return (
            head,
            f"the Hub cannot use the front matter: {type(error).__name__} {first_line(error)}",
        )
    return head, None


def check_page(folder: Path, card: CardText) -> Iterator[CardProblem]:
    """Yield what is wrong with a card, whoever wrote it."""
    if card.trouble is not None:
        yield CardProblem(CARD_FILE, card.trouble)
    yield from _check_head(card.head)
    yield from _check_pictures(folder, card)


def check_placeholders(card: CardText, known: Mapping[str, Any]) -> Iterator[CardProblem]:
    """Yield unfilled placeholders outside sections and blocks of code.

    Args:
        card: The card.
        known: The fields of the front matter that reben wrote.
    """
    free = [_added(value, known.get(name)) for name, value in card.head.items()]
    text = _FENCE.sub("", _COMMENT.sub("", without_sections(card.text)))
    for word in dict.fromkeys(_PLACEHOLDER.findall(f"{text}\n{free}")):
        yield CardProblem(CARD_FILE, f"the placeholder {word!r} was not filled in", "warning")


def _added(there: object, known: object) -> object:
    """Return what an author added to a field of the front matter, or put in its place."""
    if isinstance(there, list) and isinstance(known, list):
        return [entry for entry in there if entry not in known]
    return None if there == known else there


def _check_head(head: Mapping[str, Any]) -> Iterator[CardProblem]:
    licence = head.get("license")
    if not licence:
        yield CardProblem(HEAD, "license is missing: the licence of the weights")
    elif not isinstance(licence, str) or licence not in LICENCES:
        yield CardProblem(HEAD, f"license {licence!r} is not an identifier that the Hub knows")
    for name, what in _FIELDS.items():
        if not head.get(name):
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
    for path in dict.fromkeys([*card.pictures, *(str(src) for src in named if src)]):
        if "://" not in path and not path.startswith(("//", "data:")):
            yield from _check_picture(folder, path)


def _check_picture(folder: Path, path: str) -> Iterator[CardProblem]:
    from PIL import Image

    file = folder / path
    if not file.resolve().is_relative_to(folder.resolve()):
        yield CardProblem(path, "the card shows a picture outside its folder")
    elif not file.is_file():
        yield CardProblem(path, "the card shows this picture, but it is missing")
    else:
        try:
            with Image.open(file) as picture:
                picture.load()
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
            yield CardProblem(path, f"it is not a readable picture: {first_line(error)}")
