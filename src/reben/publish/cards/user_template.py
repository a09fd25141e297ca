"""Templates of a card: reben's own two, a user's in Jinja, a user's with placeholders.

Which of the two a file is follows from what it holds: placeholders in angle brackets that reben
knows, or Jinja. A YAML head, if it has one, becomes the head of the card.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal, Self

from reben.errors import CardError, ConfigError
from reben.publish.cards.placeholders import fill_head, fill_text, has_placeholders, is_known
from reben.publish.cards.sandbox import render_apart
from reben.publish.markdown import render
from reben.publish.pages import parse_head, read_page, split_head

ORIGINAL = "original"
"""The name of the template that has the form of the first published cards."""
_JINJA = re.compile(r"\{\{|\{%|\{#")


@dataclass(frozen=True)
class CardTemplate:
    """A template of a card."""

    name: str  # what messages call it
    text: str  # what it says below its head
    # how it is filled; ``own`` is reben's own, in Jinja
    kind: Literal["own", "jinja", "placeholders"] = "own"
    head: Mapping[str, Any] = field(default_factory=dict)  # the fields of its front matter

    @classmethod
    def read(cls, source: Path | str | None) -> Self:
        """Return reben's own template, the one of the original form, or that in a file."""
        if source is None or str(source) == ORIGINAL:
            name = "original" if source else "card"
            file = files("reben.publish") / "templates" / f"{name}.md.jinja"
            return cls(f"reben's template {name}", file.read_text(encoding="utf-8"))
        try:
            block, text = split_head(read_page(Path(source)))
            head = {} if block is None else parse_head(block)
        except CardError as error:
            raise ConfigError(f"The card template {source} cannot be used: {error}.") from None
        return cls(str(source), text, _kind(text, block or ""), head)

    def fill(self, values: Mapping[str, Any]) -> str:
        """Return the text of the card, in Markdown."""
        if self.kind == "own":
            return render(self.text, values, self.name)
        if self.kind == "jinja":
            return render_apart(self.text, values, self.name)
        return fill_text(self.text, values, self.name)

    def fill_head(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return the fields that the template adds to the front matter."""
        return (
            fill_head(self.head, values, self.name)
            if self.kind == "placeholders"
            else {**self.head}
        )


def _kind(text: str, head: str) -> Literal["jinja", "placeholders"]:
    """Return how a user's template is filled."""
    whole = f"{head}\n{text}"
    if is_known(whole) or (has_placeholders(whole) and not _JINJA.search(text)):
        return "placeholders"
    return "jinja"


@cache
def own_templates() -> tuple[CardTemplate, ...]:
    """Return reben's own templates."""
    return (CardTemplate.read(None), CardTemplate.read(ORIGINAL))
