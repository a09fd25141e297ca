"""`card.json`: the values that filled a card, and checksums of the sections that reben wrote.

A template marks these sections with comments, which are invisible on the rendered page::

    <!-- reben:begin results -->
    Measured on ...
    <!-- reben:end results -->

The check compares them with the record. Everything outside is the author's.
"""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, Self

import yaml  # type: ignore[import-untyped]

from reben.errors import ConfigError, ModelFolderError
from reben.publish.cards.content import fill
from reben.publish.cards.front_matter import front_matter
from reben.publish.cards.user_template import CardTemplate, own_templates
from reben.publish.pages import code_lines
from reben.support.json_files import read_json

RECORD_FILE = "card.json"
MARKER = "<!-- model card by reben -->"
"""In every card that reben wrote, so that it may replace its own folder."""
_MARK = re.compile(r"<!-- reben:(begin|end) ([\w-]{1,100}) -->[ \t]*")
_FIGURE = re.compile(r"\d\.\d")
_WHOLE = "card"


@dataclass(frozen=True)
class CardRecord:
    """What a card was written from."""

    reben_version: str
    template: str  # SHA-256 of its template
    values: dict[str, Any]  # the values that filled the template
    front_matter: dict[str, Any]  # the fields that reben wrote
    sections: dict[str, str]  # section -> SHA-256 of its text
    files: dict[str, str]  # picture or example -> SHA-256 of the file
    # section -> the text behind it, as reben wrote it; that above all under no name
    outside: dict[str, str] = field(default_factory=dict)
    # the lines with figures of a user's template that marks no sections
    figures: list[str] = field(default_factory=list)

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Return the record in the folder of a card."""
        cure = "Write the card again with: reben card"
        return read_json(folder / RECORD_FILE, cls, ModelFolderError, cure)

    def to_json(self) -> str:
        """Return the record as JSON text."""
        return json.dumps(asdict(self), indent=1, ensure_ascii=False, allow_nan=False) + "\n"

    def render(self) -> tuple[dict[str, Any], dict[str, str] | None]:
        """Return the front matter and sections that follow from the values.

        If another version of reben wrote the card, the front matter is the recorded one. Sections
        are None if that version or another template wrote them: only checksums are known then.
        """
        if self.reben_version != version("reben"):
            return self.front_matter, None
        head = yaml.safe_load(front_matter(self.values))
        for ours in own_templates():
            if self.template == sha256(ours.text.encode()):
                return head, read_sections(fill(self.values, ours))[0]
        return head, None


def make_card(
    values: dict[str, Any], template: CardTemplate, files: Mapping[str, bytes]
) -> tuple[str, CardRecord]:
    """Return a card and its record.

    If the template marks no sections, all of its text is one section.
    """
    head, text = front_matter(values), fill(values, template)
    if not any(map(_MARK.fullmatch, text.split("\n"))):
        text = f"<!-- reben:begin {_WHOLE} -->\n{text}\n<!-- reben:end {_WHOLE} -->"
    sections, fault = read_sections(text)
    figures = [] if template.kind == "own" else lines_with_figures(sections.get(_WHOLE, ""))
    if fault is not None:
        raise ConfigError(f"The card template cannot be used: {fault}.")
    body = f"\n{MARKER}\n\n{text.rstrip()}\n"
    record = CardRecord(
        reben_version=version("reben"),
        template=sha256(template.text.encode()),
        values=values,
        front_matter=yaml.safe_load(head),
        sections={name: sha256(section.encode()) for name, section in sections.items()},
        files={name: sha256(content) for name, content in files.items()},
        outside=dict(split_pieces(body)),
        figures=figures,
    )
    return f"---\n{head}\n---\n{body}", record


def read_sections(text: str) -> tuple[dict[str, str], str | None]:
    """Return the sections, name -> text, and what is wrong with the marks, if anything."""
    lines = text.split("\n")
    spans, fault = _spans(lines)
    found = {
        name: "\n".join(line.rstrip() for line in lines[first + 1 : last]).strip()
        for name, first, last in spans
    }
    if fault is None and len(found) < len(spans):
        fault = "two sections have the same name"
    return found, fault


def marks_in_code(text: str) -> set[str]:
    """Return the sections of which a mark is shown as code, by a fence that is open around it."""
    lines = text.split("\n")
    blocks = (lines[first:last] for first, last, kind in code_lines(text) if kind != "html_block")
    marks = (_MARK.search(line) for block in blocks for line in block)
    return {mark[2] for mark in marks if mark is not None}


def split_pieces(text: str) -> Iterator[tuple[str, str]]:
    """Yield each section's name and the text behind it; first no name and the text above all."""
    lines = text.split("\n")
    name, start = "", 0
    for following, first, last in _spans(lines)[0]:
        yield name, "\n".join(lines[start:first])
        name, start = following, last + 1
    yield name, "\n".join(lines[start:])


def join_pieces(text: str, pieces: Mapping[str, str]) -> str:
    """Return ``text`` with other pieces outside its sections, see `split_pieces`."""
    lines = text.split("\n")
    parts = [pieces[""]]
    for name, first, last in _spans(lines)[0]:
        parts += ["\n".join(lines[first : last + 1]), pieces[name]]
    return "\n".join(parts)


def lines_with_figures(text: str) -> list[str]:
    """Return the lines of a text that have a number with decimals in them."""
    return [line.strip() for line in text.split("\n") if _FIGURE.search(line)]


def without_sections(text: str) -> str:
    """Return the text outside all sections."""
    lines = text.split("\n")
    for _, first, last in reversed(_spans(lines)[0]):
        del lines[first : last + 1]
    return "\n".join(lines)


def _spans(lines: Sequence[str]) -> tuple[list[tuple[str, int, int]], str | None]:
    """Return each section's name and the lines of its marks, and what is wrong, if anything."""
    spans, opened, is_broken = [], None, False
    for number, line in enumerate(lines):
        mark = _MARK.fullmatch(line)
        if mark is None:
            continue
        if mark[1] == "begin" and opened is None:
            opened = (mark[2], number)
        elif mark[1] == "end" and opened is not None and opened[0] == mark[2]:
            spans.append((*opened, number))
            opened = None
        else:
            is_broken = True
    fault = "a section lacks its begin or end, or is inside another one"
    return spans, fault if is_broken or opened is not None else None


def sha256(content: bytes) -> str:
    """Return the checksum of ``content`` in hexadecimal."""
    return hashlib.sha256(content).hexdigest()
