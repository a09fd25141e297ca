"""What is wrong with the page of a card: front matter, pictures, what was left to be filled in."""

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from reben.publish.cards.front_matter import LICENCES
from reben.publish.checks.parse import CardText, Problem
from reben.publish.markdown import escape

CARD = "README.md"
HEAD = "README.md, front matter"
_FIELDS = {
    "license": "the licence of the weights",
    "library_name": "the library that loads the model",
    "pipeline_tag": "the task",
    "tags": "words to find the model by",
    "datasets": "what it was trained on",
    "metrics": "what it was measured by",
    "widget": "the example",
}
_PLACEHOLDERS = re.compile(
    r"""
    \{\{.*?\}\} | \{%.*?%\} | \{\#.*?\#\}              # Jinja that nobody filled
    | (?-i:(?<!\\)<(?!(?:BR|HR|[A-Z]|[HOTU][1-6DHLR]|LI)>)[A-Z][A-Z0-9]*(?:[_ -][A-Z0-9]+)*>)
    | \b(?:TODO|FIXME|TBD|PLACEHOLDER)\b
    | \[\s*More\ Information\ Needed\s*\] | \[\s*(?:insert|your)\b[^\]]*\](?!\()
    | \blorem\ ipsum\b
    """,
    re.VERBOSE | re.IGNORECASE,
)
"""What authors leave where something is to be filled in; <BR> and its like are HTML."""
_NO_PICTURE = (OSError, SyntaxError, ValueError)  # what decoders raise
_BIBTEX = re.compile(r"^```bibtex\n.*?^```", re.DOTALL | re.MULTILINE)


def check_front_matter(card: CardText) -> Iterator[Problem]:
    """Yield what is wrong with the front matter by itself."""
    if card.trouble is not None:
        yield Problem(CARD, card.trouble)
    if not card.head:
        return
    for name, what in _FIELDS.items():
        if not card.head.get(name):
            yield Problem(HEAD, f"there is no {name}, {what}")
    yield from _check_values(card.head)


def _check_values(head: Mapping[str, Any]) -> Iterator[Problem]:
    licence = head.get("license")
    if licence and (not isinstance(licence, str) or licence not in LICENCES):
        yield Problem(HEAD, f"license {licence!r} is no identifier that the Hub knows")
    task = head.get("pipeline_tag")
    if task and task != "image-classification":
        yield Problem(HEAD, f"pipeline_tag is {task!r} and should be image-classification")
    for name in ("tags", "datasets", "metrics"):
        found = head.get(name)
        if found and not (isinstance(found, list) and all(isinstance(x, str) for x in found)):
            yield Problem(HEAD, f"{name} is no list of words but {found!r}")


def check_pictures(folder: Path, card: CardText) -> Iterator[Problem]:
    """Yield which pictures are not there, are none, or are not shown."""
    shown = [path for path in card.pictures if not _is_address(path)]
    if "example.png" not in {Path(path).name for path in shown}:
        yield Problem(CARD, "the text does not show example.png")
    widget = [entry.get("src") for entry in widgets(card) if entry.get("src")]
    named = dict.fromkeys([*shown, *(str(src) for src in widget if not _is_address(str(src)))])
    for path in named:
        yield from _check_picture(folder, path)
    figures = folder / "figures"
    for file in sorted(figures.glob("*.png")) if figures.is_dir() else ():
        if f"figures/{file.name}" not in named:
            yield Problem(f"figures/{file.name}", "the text does not show it")


def widgets(card: CardText) -> list[dict[str, Any]]:
    """Return the entries of the widget that can be read."""
    found = card.head.get("widget")
    return [entry for entry in found if isinstance(entry, dict)] if isinstance(found, list) else []


def check_placeholders(card: CardText, known: Iterable[str]) -> Iterator[Problem]:
    """Yield what was left to be filled in.

    Args:
        card: The card.
        known: Names that may look like it: of the model, its labels, the patch.
    """
    text = "\n".join((_BIBTEX.sub("", card.text), *_texts(card.head)))
    for name in sorted(filter(_placeholders, known), key=len, reverse=True):
        text = text.replace(name, "").replace(escape(name), "")
    found = _placeholders(text)
    for word in dict.fromkeys(found):
        yield Problem(CARD, f"the placeholder {word!r} was left")


def _placeholders(text: str) -> list[str]:
    # Words such as "todo" are words of a language; the marks of authors are in capitals.
    words = [match[0] for match in _PLACEHOLDERS.finditer(text)]
    return [word for word in words if not word.isalpha() or word.isupper()]


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for entry in value.values():
            yield from _texts(entry)
    elif isinstance(value, list):
        for entry in value:
            yield from _texts(entry)


def _is_address(path: str) -> bool:
    return "://" in path or path.startswith(("//", "data:"))


def _check_picture(folder: Path, path: str) -> Iterator[Problem]:
    from PIL import Image

    file = folder / path
    if not file.resolve().is_relative_to(folder.resolve()):
        yield Problem(path, "the card shows a picture outside of its folder")
    elif not file.is_file():
        yield Problem(path, "the card shows this picture, and it is not there")
    else:
        try:
            with Image.open(file) as picture:
                picture.load()
        except (*_NO_PICTURE, Image.DecompressionBombError) as error:
            yield Problem(path, f"it is no picture: {' '.join(str(error).split())}")
