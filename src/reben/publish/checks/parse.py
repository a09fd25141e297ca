"""A model card taken apart: front matter, tables, lists, pictures. Any card, not only reben's.

What is wrong with a card folder, one finding each.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, cast

from huggingface_hub import ModelCard, ModelCardData
from yaml import YAMLError  # type: ignore[import-untyped]

_CELL = re.compile(r"(?<!\\)\|")
_ESCAPED = re.compile(r"\\([!-/:-@\[-`{-~])")
_FENCE = re.compile(r"^(`{3,}|~{3,})[^\n]*\n.*?^\1[ \t]*$", re.DOTALL | re.MULTILINE)
_COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
_HEAD = re.compile(r"\A\s*---[ \t]*\n(.*?)\n---[ \t]*(\n|\Z)", re.DOTALL)
_RULE = re.compile(r":?-+:?")
_PICTURE = re.compile(r"!\[(?:[^\[\]]|\[[^\]]*\](?:\([^)]*\))?)*\]\(([^)\s]+)[^)]*\)")
_HTML_PICTURE = re.compile(r"<img\b[^>]*?\bsrc\s*=\s*[\"']([^\"']+)[\"']", re.IGNORECASE)
_NUMBERED = re.compile(r"^\s{0,3}(\d+)[.)]\s+(.+?)\s*$", re.MULTILINE)


@dataclass(frozen=True)
class Table:
    """One table of a card: text of its cells, without escapes and without marks of emphasis."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def dicts(self) -> list[dict[str, str]]:
        """Return the rows, each as column -> cell; the first of two columns of one name counts."""
        return [dict(reversed(list(zip(self.columns, row, strict=False)))) for row in self.rows]

    def column(self, name: str) -> list[str]:
        """Return the cells of a column; nothing if there is no such column."""
        if name not in self.columns:
            return []
        place = self.columns.index(name)
        return [row[place] if place < len(row) else "" for row in self.rows]


@dataclass(frozen=True)
class CardText:
    """A card taken apart.

    Args:
        head: The front matter as plain values.
        data: What huggingface_hub makes of it, with the model-index; None if it cannot.
        trouble: Why the front matter cannot be parsed, if so.
        prose: The text without front matter, comments and blocks of code.
        text: The text without front matter and comments, but with blocks of code.
    """

    head: dict[str, Any]
    data: ModelCardData | None
    trouble: str | None
    prose: str
    text: str

    @classmethod
    def read(cls, path: Path) -> Self:
        """Return the card in a file.

        Raises:
            OSError: If it cannot be read.
            UnicodeDecodeError: If it is no text.
        """
        return cls.parse(path.read_text(encoding="utf-8"))

    @classmethod
    def parse(cls, content: str) -> Self:
        """Return the card in a text."""
        content = content.removeprefix("\ufeff").replace("\r\n", "\n")
        match = _HEAD.match(content)
        rest = content if match is None else content[match.end() :]
        text = _COMMENT.sub("", rest)
        head, data, trouble = _parse_head(content, match is not None)
        return cls(head, data, trouble, _FENCE.sub("", text), text)

    @property
    def tables(self) -> tuple[Table, ...]:
        """The tables, in the order of the card."""
        return tuple(_find_tables(self.prose.splitlines()))

    def find_table(self, *columns: str) -> Table | None:
        """Return the first table that has these columns, whatever others it has."""
        wanted = set(columns)
        return next((table for table in self.tables if wanted <= set(table.columns)), None)

    @property
    def pictures(self) -> tuple[str, ...]:
        """What the text shows as pictures: paths in the folder, or addresses."""
        found = (*_PICTURE.findall(self.prose), *_HTML_PICTURE.findall(self.prose))
        return tuple(dict.fromkeys(found))

    @property
    def numbered(self) -> tuple[str, ...]:
        """The entries of lists that count from 0, as labels do; those of other lists are left."""
        runs: list[list[str]] = []
        for number, entry in _NUMBERED.findall(self.prose):
            if int(number) == 0:
                runs.append([])
            if runs and int(number) == len(runs[-1]):
                runs[-1].append(unescape(entry))
        lengths = [len(run) for run in runs]
        return tuple(runs[lengths.index(max(lengths))]) if runs else ()

    @property
    def without_tables(self) -> str:
        """The prose without the lines of tables, escapes resolved."""
        lines = self.prose.splitlines()
        return unescape("\n".join(line for line in lines if not line.lstrip().startswith("|")))


def unescape(text: str) -> str:
    r"""Return Markdown with its escapes resolved and its emphasis and code marks left as they are.

    Example:
        >>> print(unescape(r"S2A\_MSIL2A \| \<b\>"))
        S2A_MSIL2A | <b>
    """
    return _ESCAPED.sub(r"\1", text)


def _parse_head(
    content: str, has_head: bool
) -> tuple[dict[str, Any], ModelCardData | None, str | None]:
    if not has_head:
        return {}, None, "there is no front matter: no block of YAML between lines of dashes"
    try:
        lenient: Any = ModelCard(content, ignore_metadata_errors=True)
        head = lenient.data.to_dict()
    except (ValueError, TypeError, KeyError, AttributeError, YAMLError) as error:
        return {}, None, f"the front matter cannot be parsed: {_one_line(error)}"
    try:
        return head, cast("ModelCardData", ModelCard(content).data), None
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        return head, None, f"the model-index cannot be parsed: {_one_line(error)}"


def _one_line(error: Exception) -> str:
    return f"{type(error).__name__} {' '.join(str(error).split())}"


def _find_tables(lines: Sequence[str]) -> list[Table]:
    tables = []
    for place, line in enumerate(lines[:-1]):
        columns, rule = _cells(line), _cells(lines[place + 1])
        if len(columns) < 2 or len(rule) != len(columns):
            continue
        if not all(_RULE.fullmatch(cell) for cell in rule):
            continue
        rows = []
        for row in lines[place + 2 :]:
            if "|" not in row:
                break
            rows.append(_cells(row))
        tables.append(Table(columns, tuple(rows)))
    return tables


def _cells(line: str) -> tuple[str, ...]:
    if "|" not in line:
        return ()
    cells = _CELL.split(line.strip())
    if cells and not cells[0]:
        cells = cells[1:]
    if cells and not cells[-1]:
        cells = cells[:-1]
    return tuple(" ".join(unescape(cell).split()) for cell in cells)


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong, or that cannot be verified.

    Args:
        where: The file, with the table, field or line in it.
        what: What is there, and what should be.
    """

    where: str
    what: str

    def __str__(self) -> str:
        """Return both as one line."""
        return f"{self.where}: {self.what}"
