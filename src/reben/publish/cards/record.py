"""`card.json`: what a card was filled with, and how its own sections read when it was written.

A template marks what reben writes with comments, which no reader sees::

    <!-- reben:begin results -->
    Measured on ...
    <!-- reben:end results -->

The check compares these sections with the record. Whatever stands outside them is the author's.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Self

import yaml  # type: ignore[import-untyped]

from reben.errors import ConfigError, ModelFolderError
from reben.publish.cards.content import fill, own_template
from reben.publish.cards.front_matter import front_matter
from reben.support.json_files import read_json

RECORD_FILE = "card.json"
MARKER = "<!-- model card by reben -->"
"""What stands in every card that reben wrote, so that it may replace its own folder."""
_SECTION = re.compile(
    r"^<!-- reben:begin ([\w-]+) -->[ \t]*\n(.*?)^<!-- reben:end \1 -->[ \t]*$",
    re.DOTALL | re.MULTILINE,
)
_MARK = re.compile(r"^<!-- reben:(?:begin|end) [\w-]+ -->[ \t]*$", re.MULTILINE)
_WHOLE = "card"


@dataclass(frozen=True)
class CardRecord:
    """What a card was written from.

    Args:
        reben_version: The version that wrote it.
        template: SHA-256 of its template.
        values: What the template was filled with.
        front_matter: What reben wrote into the front matter.
        sections: Name of a section -> SHA-256 of its text.
        files: Name of a picture or of the example -> its SHA-256.
    """

    reben_version: str
    template: str
    values: dict[str, Any]
    front_matter: dict[str, Any]
    sections: dict[str, str]
    files: dict[str, str]

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Return the record in the folder of a card.

        Raises:
            ModelFolderError: If it is damaged.
        """
        cure = "Write the card again with: reben card"
        return read_json(folder / RECORD_FILE, cls, ModelFolderError, cure)

    def to_json(self) -> str:
        """Return the record as JSON text."""
        return json.dumps(asdict(self), indent=1, ensure_ascii=False, allow_nan=False) + "\n"

    def render(self) -> tuple[dict[str, Any], dict[str, str] | None]:
        """Return front matter and sections as they follow from the values.

        What another version of reben wrote is returned as it is in the record, and sections of
        another template not at all: only their checksums are known.

        Raises:
            ConfigError: If the values do not fit the template.
        """
        if self.reben_version != version("reben"):
            return self.front_matter, None
        template = own_template()
        ours = self.template == sha256(template.encode())
        head = yaml.safe_load(front_matter(self.values))
        return head, read_sections(fill(self.values, template))[0] if ours else None


def make_card(
    values: dict[str, Any], template: str, files: Mapping[str, bytes]
) -> tuple[str, CardRecord]:
    """Return a card and its record.

    If the template marks no section, all of its text is one.

    Args:
        values: What the template is filled with.
        template: The template.
        files: Pictures and example of the card.

    Raises:
        ConfigError: If the template cannot be filled, or its marks do not fit together.
    """
    head, text = front_matter(values), fill(values, template)
    if not _MARK.search(text):
        text = f"<!-- reben:begin {_WHOLE} -->\n{text}\n<!-- reben:end {_WHOLE} -->"
    sections, fault = read_sections(text)
    if fault is not None:
        raise ConfigError(f"The card template cannot be used: {fault}.")
    record = CardRecord(
        reben_version=version("reben"),
        template=sha256(template.encode()),
        values=values,
        front_matter=yaml.safe_load(head),
        sections={name: sha256(section.encode()) for name, section in sections.items()},
        files={name: sha256(content) for name, content in files.items()},
    )
    return f"---\n{head}\n---\n\n{MARKER}\n\n{text}", record


def read_sections(text: str) -> tuple[dict[str, str], str | None]:
    """Return name -> text of each section, and what is wrong with the marks, if anything is.

    Spaces at the ends of lines do not count.
    """
    found = [
        (match[1], "\n".join(line.rstrip() for line in match[2].strip().splitlines()))
        for match in _SECTION.finditer(text)
    ]
    fault = None
    if len(dict(found)) < len(found):
        fault = "two sections have the same name"
    elif len(_MARK.findall(text)) != 2 * len(found):
        fault = "a section has no begin or no end, or lies in another one"
    return dict(found), fault


def without_sections(text: str) -> str:
    """Return what stands outside of all sections."""
    return _SECTION.sub("", text)


def sha256(content: bytes) -> str:
    """Return the checksum of some content."""
    return hashlib.sha256(content).hexdigest()
