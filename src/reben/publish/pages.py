"""Foreign Markdown and YAML, read by parsers and within bounds of size, depth and time.

A card is what anybody may have written: an endless row of brackets, YAML that names itself. No
regular expression here can run away on it, and nothing is read that is larger than a card.
"""

import errno
from collections.abc import Iterator, Sequence
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from reben.errors import CardError, first_line
from reben.support.bounds import (
    MAX_CAPTIONED,
    MAX_CARD_BYTES,
    MAX_CARD_PICTURES,
    MAX_DEPTH,
    MAX_YAML_BYTES,
    MAX_YAML_NODES,
    read_text,
)

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.token import Token


def read_page(path: Path) -> str:
    """Return the text of a Markdown file, with plain line ends and without a byte order mark.

    Raises:
        CardError: If it cannot be read, is no UTF-8, or is larger than a card.
    """
    try:
        text = read_text(path, MAX_CARD_BYTES)
    except OSError as error:
        if error.errno == errno.EFBIG:
            most = MAX_CARD_BYTES >> 10
            raise CardError(f"it is larger than {most} KiB, which no card is") from None
        raise CardError(f"it could not be read: {first_line(error)}") from error
    return text.removeprefix("\ufeff").replace("\r\n", "\n")


def split_head(text: str) -> tuple[str | None, str]:
    r"""Return the YAML between lines of dashes at the top of a page, and the text below.

    Example:
        >>> split_head("---\nlicense: mit\n---\n# A card")
        ('license: mit', '# A card')
    """
    lines = text.split("\n")
    first = next((place for place, line in enumerate(lines) if line.strip()), 0)
    if lines[first].strip() != "---":
        return None, text
    for place in range(first + 1, len(lines)):
        if lines[place].rstrip() == "---":
            return "\n".join(lines[first + 1 : place]), "\n".join(lines[place + 1 :])
    return None, text


def parse_head(block: str) -> dict[str, Any]:
    """Return the fields of YAML.

    Raises:
        CardError: If it is not YAML, has no fields, or is beyond what a card has.
    """
    import yaml  # type: ignore[import-untyped]

    if len(block) > MAX_YAML_BYTES:
        raise CardError(f"the front matter is larger than {MAX_YAML_BYTES >> 10} KiB")
    try:
        _require_flat(yaml.parse(block, Loader=yaml.SafeLoader))
        head = yaml.safe_load(block)
        _count(head, {})
    except (
        yaml.YAMLError, ArithmeticError, AttributeError, LookupError, TypeError, ValueError,
    ) as error:  # fmt: skip
        raise CardError(
            f"the front matter is not valid YAML: {' '.join(str(error).split())}"
        ) from None
    if not isinstance(head, dict) or not all(isinstance(name, str) for name in head):
        raise CardError("the front matter has no fields")
    return head


def _require_flat(events: Iterator[Any]) -> None:
    """Raise ValueError where YAML is nested deeper or longer than a card's."""
    depth = 0
    for number, event in enumerate(events):
        name = type(event).__name__
        depth += name.endswith("StartEvent") - name.endswith("EndEvent")
        if depth > MAX_DEPTH:
            raise ValueError(f"it is nested more than {MAX_DEPTH} levels deep")
        if number > 2 * MAX_YAML_NODES:
            raise ValueError(f"it holds more than {MAX_YAML_NODES:,} values")


def _count(value: object, known: dict[int, int]) -> int:
    """Return how many values there are when all aliases of YAML are written out."""
    if not isinstance(value, dict | list):
        return 1
    if id(value) not in known:
        known[id(value)] = MAX_YAML_NODES + 1  # so that one that holds itself is too many
        inside = value.values() if isinstance(value, dict) else value
        known[id(value)] = 1 + sum(_count(each, known) for each in inside)
    if known[id(value)] > MAX_YAML_NODES:
        raise ValueError(f"with its aliases it holds more than {MAX_YAML_NODES:,} values")
    return known[id(value)]


def pictures(text: str) -> tuple[str, ...]:
    """Return the pictures that Markdown shows: paths beside it, or addresses.

    Raises:
        CardError: If it is beyond what a card holds.
    """
    found: list[str] = []
    left = MAX_CAPTIONED
    if text.count("![") > MAX_CARD_PICTURES:
        raise CardError(f"it shows more than {MAX_CARD_PICTURES:,} pictures")
    environment: dict[str, Any] = {}
    for token in _blocks(text, environment):
        if token.type == "html_block":
            found += _shown_in_html(token.content)
        elif token.type == "inline" and ("![" in token.content or "<" in token.content):
            left -= len(token.content)
            if left < 0:
                raise CardError(
                    f"the paragraphs with pictures are longer than {MAX_CAPTIONED >> 10} KiB"
                )
            found += _shown_inline(token.content, environment)
    return tuple(found)


def table_rows(text: str) -> Iterator[list[str]]:
    """Yield the rows of the tables of Markdown with their heads, each cell as it is written."""
    row: list[str] = []
    for token in _blocks(text, {}):
        if token.type == "tr_open":
            row = []
        elif token.type == "inline":
            row.append(token.content)
        elif token.type == "tr_close":
            yield row


def fenced(text: str, language: str) -> Iterator[str]:
    """Yield the content of the fenced blocks of Markdown that are in a language."""
    for token in _blocks(text, {}):
        if token.type == "fence" and token.info.strip().lower() == language:
            yield token.content.strip()


def code_lines(text: str) -> Iterator[tuple[int, int, str]]:
    """Yield the blocks of Markdown that are no prose: first line, line after, kind of token."""
    for token in _blocks(text, {}):
        if token.type in ("fence", "code_block", "html_block") and token.map is not None:
            yield token.map[0], token.map[1], token.type


def prose(text: str) -> str:
    """Return Markdown without its blocks of code and its comments."""
    lines = text.split("\n")
    for first, last, kind in code_lines(text):
        if kind != "html_block":
            lines[first:last] = [""] * (last - first)
    parts = "\n".join(lines).split("<!--")
    return parts[0] + "".join(part.partition("-->")[2] for part in parts[1:])


def _blocks(text: str, environment: dict[str, Any]) -> "Sequence[Token]":
    """Return the blocks of Markdown; what is inside paragraphs is not parsed yet."""
    return _parser(inside=False).parse(text, environment)


@cache
def _parser(*, inside: bool) -> "MarkdownIt":
    from markdown_it import MarkdownIt

    parser = MarkdownIt("commonmark").enable("table")
    return parser if inside else parser.disable("inline")


def _shown_inline(text: str, environment: dict[str, Any]) -> Iterator[str]:
    (whole,) = _parser(inside=True).parseInline(text, environment)
    for token in whole.children or ():
        if token.type == "image":
            yield unquote(str(token.attrs["src"]))
        elif token.type == "html_inline":
            yield from _shown_in_html(token.content)


def _shown_in_html(text: str) -> list[str]:
    reader = _Pictures()
    reader.feed(text)
    return reader.found


class _Pictures(HTMLParser):
    """Collects the sources of the pictures in HTML."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note the source of a picture."""
        if tag == "img":
            self.found += [value for name, value in attrs if name == "src" and value]
