"""What an author wrote into a card, kept when reben writes the card again."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import chain
from typing import Any

import yaml  # type: ignore[import-untyped]

from reben.errors import CardError, OutputError
from reben.publish.cards.record import CardRecord, join_pieces, read_sections, split_pieces
from reben.publish.markdown import plural
from reben.publish.pages import parse_head, split_head

_MOST_LINES = 4000  # that are compared line by line


@dataclass(frozen=True)
class Kept:
    """A new card with the words of the author of the old one."""

    page: str
    told: tuple[str, ...]  # what was kept, in sentences


def keep_words(old_page: str, old: CardRecord | None, new_page: str) -> Kept:
    """Return a new card with what the author of the old one wrote outside reben's sections.

    Sentences, tables and sections stay behind the section that they stood behind; fields, tags and
    results that were added to the front matter stay, too. Without a record of what reben wrote,
    all that differs is kept. An old card that cannot be taken apart is an OutputError.
    """
    (old_head, old_text), (new_head, new_text) = split_head(old_page), split_head(new_page)
    fault = read_sections(old_text)[1]
    if fault is not None:
        raise OutputError(
            f"What the author of the card there wrote cannot be told from reben's words: {fault}. "
            "Nothing was changed. Mend the marks, see reben card FOLDER --check, or write to "
            "another folder."
        )
    written = {} if old is None else old.outside
    head, added = _join_heads(old_head or "", old, new_head or "")
    text, moved = _join_texts(dict(split_pieces(old_text)), written, new_text)
    told = (f"{count} {plural(count, 'line')} of yours {place}" for place, count in moved.items())
    return Kept(f"---\n{head.strip()}\n---\n{text}", (*told, *added))


def _join_texts(
    theirs: Mapping[str, str], written: Mapping[str, str], new_text: str
) -> tuple[str, Counter[str]]:
    """Return the new text with the author's lines, and how many stand where."""
    pieces = dict(split_pieces(new_text))
    counts: Counter[str] = Counter()
    last = ""
    for name, own in theirs.items():
        last = name if name in pieces else last
        base = written.get(name, pieces.get(name, ""))
        joined = _join_lines(base.split("\n"), own.split("\n"), pieces[last].split("\n"))
        if name not in pieces:  # a section that the new card has not, with words behind it
            added = [line for line in own.split("\n") if line not in base.split("\n")]
            joined = [*pieces[last].split("\n"), *added, ""] if added else joined
        place = f"behind the section {last}" if last else "above the first section"
        before = pieces[last].split("\n")
        counts[place] += sum(1 for line in joined if line.strip() and line not in before)
        pieces[last] = "\n".join(joined)
    return join_pieces(new_text, pieces), +counts  # without those of no lines


def _join_lines(base: Sequence[str], own: Sequence[str], new: Sequence[str]) -> list[str]:
    """Return ``new`` with the lines that ``own`` has and ``base`` has not, where they stood."""
    if list(base) == list(new) or len(base) + len(own) + len(new) > _MOST_LINES:
        return list(own)
    if list(own) == list(base):
        return list(new)
    same = SequenceMatcher(None, base, new, autojunk=False).get_matching_blocks()
    places = {block.a + k: block.b + k for block in same for k in range(block.size)}
    inserted: dict[int, list[str]] = {}
    changes = SequenceMatcher(None, base, own, autojunk=False).get_opcodes()
    for kind, first, _, begin, end in changes:
        if kind in ("insert", "replace"):
            before = [places[line] + 1 for line in range(first) if line in places]
            inserted.setdefault(max(before, default=0), []).extend(own[begin:end])
    parts = ([*inserted.get(number, []), line] for number, line in enumerate(new))
    return [*chain.from_iterable(parts), *inserted.get(len(new), [])]


def _join_heads(old_head: str, old: CardRecord | None, new_head: str) -> tuple[str, list[str]]:
    """Return the new front matter with what the author added to the old one, and what that is."""
    try:
        there, new = parse_head(old_head), parse_head(new_head)
    except CardError as error:
        raise OutputError(
            f"The front matter of the card that is there cannot be read: {error}. Nothing was "
            "changed. Mend it, or write to another folder."
        ) from error
    written = new if old is None else old.front_matter
    told = list(_join_fields(there, written, new))
    if not told:
        return new_head, []
    return yaml.safe_dump(new, sort_keys=False, allow_unicode=True), told


def _join_fields(
    there: Mapping[str, Any], written: Mapping[str, Any], new: dict[str, Any]
) -> Iterator[str]:
    """Add to ``new`` what is ``there`` and was not ``written`` by reben; yield what that is."""
    for name, value in there.items():
        if name == "model-index":
            more = _added(_results(value), _results(written.get(name)))
            if more and _results(new.get(name)):
                new[name][0]["results"] += more
                yield f"{len(more)} of your results in the model-index"
        elif name not in written and name not in new:
            new[name] = value
            yield f"your field {name} of the front matter"
        elif isinstance(value, list) and isinstance(new.get(name), list):
            more = [one for one in _added(value, written.get(name)) if one not in new[name]]
            new[name] += more
            if more:
                yield f"your {name} {', '.join(map(str, more))[:200]}"


def _results(index: Any) -> list[Any]:  # noqa: ANN401 - whatever YAML holds
    try:
        found = index[0]["results"]
    except (TypeError, LookupError):
        return []
    return found if isinstance(found, list) else []


def _added(there: list[Any], written: Any) -> list[Any]:  # noqa: ANN401
    return [one for one in there if not isinstance(written, list) or one not in written]
