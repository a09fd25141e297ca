r"""Jinja templates for Markdown in which every interpolated value is escaped.

A template filled by `render` writes ``{{ value }}`` for text, ``{{ value | code }}`` for inline
code, ``{{ value | number }}`` for a figure, ``{{ value | thousands }}`` for a whole number,
``{{ value | patches }}`` for a number of patches, ``{{ value | attribute }}`` inside an HTML
attribute, ``{{ value | dash }}`` for a table cell that may be empty, ``{{ value | python }}`` in a
block of Python, and ``{{ value | shell }}`` in a block of commands.
"""

import html
import json
import re
import shlex
from collections.abc import Mapping
from traceback import extract_tb
from typing import Any

from reben.errors import ConfigError, first_line

_SPECIAL = re.compile(r"([\\`*_\[\]{}<>#|~$&])")
_SPACES = re.compile(r"[^\S\u00a0]+")  # a space that does not break stays
_BLOCK_START = re.compile(r"^(\d*)([-+.)=])(?=\2*$| )")
_LINKED = re.compile(
    r"""
    (?<=:)(?=//) | (?<=@) | (?<=www)(?=\.)
    | (?<=\w\.)(?=(?:[a-z]{2}|aero|asia|biz|com|coop|edu|gov|info|museum|name|net|org|pro|shop)\b)
    """,
    re.VERBOSE | re.IGNORECASE,
)
"""Where what Markdown makes a link of by itself can be parted: addresses, mail, names of hosts."""
DECIMALS = 4
"""Decimals of every figure on a card and in its model-index."""


class Markdown(str):
    """Text that is Markdown already and must not be escaped again."""

    __slots__ = ()


def escape(value: object) -> Markdown:
    r"""Return ``value`` as Markdown that shows exactly its characters, on one line.

    Example:
        >>> print(escape("S2A_MSIL2A | <b>"))
        S2A\_MSIL2A \| \<b\>
    """
    if isinstance(value, Markdown):
        return value
    text = _SPECIAL.sub(r"\\\1", _one_line(value))
    return Markdown(_BLOCK_START.sub(r"\1\\\2", _LINKED.sub("<!-- -->", text)))


def code(value: object) -> Markdown:
    r"""Return ``value`` as inline code, also valid inside tables.

    Example:
        >>> print(code("a|b`c"))
        ``a\|b`c``
    """
    text = _one_line(value)
    if not text:
        return Markdown()
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * (longest + 1)
    pad = " " if text.startswith("`") or text.endswith("`") else ""
    return Markdown(f"{fence}{pad}{text}{pad}{fence}".replace("|", "\\|"))


def attribute(value: object) -> Markdown:
    """Return ``value`` for a double-quoted HTML attribute, also valid inside tables.

    Example:
        >>> print(attribute('a "b" | <c>'))
        a &quot;b&quot; &#124; &lt;c&gt;
    """
    text = html.escape(_one_line(value), quote=True)
    return Markdown(text.replace("|", "&#124;"))


def number(value: float) -> Markdown:
    """Return a figure with `DECIMALS` decimals.

    Example:
        >>> print(number(0.61234567))
        0.6123
    """
    return Markdown(f"{value:.{DECIMALS}f}")


def thousands(value: int) -> Markdown:
    """Return a whole number with thousands separators.

    Example:
        >>> print(thousands(237871))
        237,871
    """
    return Markdown(f"{value:,}")


def patches(value: int) -> Markdown:
    """Return a number of patches with its unit.

    Example:
        >>> print(patches(1), patches(2400), sep="; ")
        1 patch; 2,400 patches
    """
    return Markdown(f"{thousands(value)} {plural(value, 'patch', 'patches')}")


def plural(count: int, one: str, many: str | None = None) -> str:
    """Return the word for so many of ``one``; by default with an s if they are several."""
    return one if count == 1 else many or f"{one}s"


def within_a_sentence(name: str) -> str:
    """Return the name of a figure without its capital, unless that belongs to it."""
    return name if name[1:2].isupper() or name[1:2].isdigit() else name[0].lower() + name[1:]


def python(text: str) -> Markdown:
    """Return ``text`` as a Python string literal, for a block of code."""
    return Markdown(json.dumps(text))


def shell(text: str) -> Markdown:
    """Return ``text`` quoted as one word of a shell, for a block of commands.

    Example:
        >>> print(shell("it's"), shell("org/name"))
        'it'"'"'s' org/name
    """
    return Markdown(shlex.quote(_one_line(text)))


def dash(text: str) -> str:
    """Return ``text``, or a dash if it is empty."""
    return text or Markdown("-")


def _one_line(value: object) -> str:
    return _SPACES.sub(" ", str(value)).strip()


def render(template: str, values: Mapping[str, Any], name: str = "The card template") -> str:
    """Return ``template`` filled with ``values``, each escaped where it is interpolated.

    Templates see plain values only, cannot change them, and load no other template. What else a
    foreign template may do is bounded by `reben.publish.cards.sandbox`.
    """
    from jinja2 import StrictUndefined, TemplateError, UndefinedError
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    environment = ImmutableSandboxedEnvironment(
        undefined=StrictUndefined, finalize=escape, trim_blocks=True, lstrip_blocks=True
    )
    ways = (attribute, code, dash, number, thousands, patches, python, shell)
    environment.filters.update({way.__name__: way for way in ways})
    try:
        return environment.from_string(template).render(values)
    except (TemplateError, *_FAULTS) as error:
        line = _line_of(error)
        where = name if line is None else f"{name}, line {line},"
        known = f" It may use: {', '.join(sorted(values))}." * isinstance(error, UndefinedError)
        raise ConfigError(f"{where} cannot be filled: {first_line(error)}.{known}") from error


_FAULTS = (
    ArithmeticError, AttributeError, LookupError, MemoryError, RuntimeError, TypeError, ValueError,
)  # fmt: skip
"""What an expression of a template can raise, besides the errors of Jinja."""


def _line_of(error: BaseException) -> int | None:
    """Return the line of a template in which an error arose."""
    frames = extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if frame.filename == "<template>"]
    return lines[-1] if lines else getattr(error, "lineno", None)
