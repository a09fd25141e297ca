r"""Text into Markdown without surprises: whatever a template interpolates is escaped.

A template filled by `render` writes ``{{ value }}`` for text, ``{{ value | code }}`` for text in
the typewriter face, ``{{ value | number }}`` for a figure, ``{{ value | thousands }}`` for a whole
number, ``{{ value | patches }}`` for a number of patches, ``{{ value | attribute }}`` inside an
attribute of HTML, ``{{ value | dash }}`` for a cell that may be empty, ``{{ value | python }}``
inside a block of Python, and ``{{ value | shell }}`` inside a block of commands. Nothing else gets
into the page without being escaped.
"""

import html
import json
import re
import shlex
from typing import Any

from reben.errors import ConfigError

_SPECIAL = re.compile(r"([\\`*_\[\]{}<>#|~$&])")
_SPACES = re.compile(r"[^\S\u00a0]+")  # a space that does not break stays
_BLOCK_START = re.compile(r"^(\d*)([-+.)=])(?= |$)")
DECIMALS = 4
"""Digits after the point of every figure on a card; its model-index is rounded alike."""


class Markdown(str):
    """Text that is Markdown already and is not escaped again."""

    __slots__ = ()


def escape(value: object) -> Markdown:
    r"""Return ``value`` as Markdown that shows just its characters, in one line.

    Example:
        >>> print(escape("S2A_MSIL2A | <b>"))
        S2A\_MSIL2A \| \<b\>
    """
    if isinstance(value, Markdown):
        return value
    text = _SPECIAL.sub(r"\\\1", _one_line(value))
    return Markdown(_BLOCK_START.sub(r"\1\\\2", text))


def code(value: object) -> Markdown:
    r"""Return ``value`` in the typewriter face; right inside tables, too.

    Example:
        >>> print(code("a|b`c"))
        ``a\|b`c``
    """
    text = _one_line(value)
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * (longest + 1)
    pad = " " if text.startswith("`") or text.endswith("`") else ""
    return Markdown(f"{fence}{pad}{text}{pad}{fence}".replace("|", "\\|"))


def attribute(value: object) -> Markdown:
    """Return ``value`` for an attribute of HTML between double quotes; right inside tables, too.

    Example:
        >>> print(attribute('a "b" | <c>'))
        a &quot;b&quot; &#124; &lt;c&gt;
    """
    text = html.escape(_one_line(value), quote=True)
    return Markdown(text.replace("|", "&#124;"))


def number(value: float) -> Markdown:
    """Return a figure with the decimals that every figure on a card has.

    Example:
        >>> print(number(0.61234567))
        0.6123
    """
    return Markdown(f"{value:.{DECIMALS}f}")


def thousands(value: int) -> Markdown:
    """Return a whole number with commas.

    Example:
        >>> print(thousands(237871))
        237,871
    """
    return Markdown(f"{value:,}")


def patches(value: int) -> Markdown:
    """Return a number of patches in words.

    Example:
        >>> print(patches(1), patches(2400), sep="; ")
        1 patch; 2,400 patches
    """
    return Markdown(f"{thousands(value)} {'patch' if value == 1 else 'patches'}")


def python(text: str) -> Markdown:
    """Return ``text`` as Python writes a string, for a block of code."""
    return Markdown(json.dumps(text))


def shell(text: str) -> Markdown:
    """Return ``text`` as one word for a shell, for a block of commands.

    Example:
        >>> print(shell("it's"), shell("org/name"))
        'it'"'"'s' org/name
    """
    return Markdown(shlex.quote(_one_line(text)))


def dash(text: str) -> str:
    """Return ``text``, or a dash where it is empty, as in the cell of a table."""
    return text or Markdown("-")


def _one_line(value: object) -> str:
    return _SPACES.sub(" ", str(value)).strip()


def render(template: str, values: dict[str, Any]) -> str:
    """Return ``template`` filled with ``values``, each escaped where it is interpolated.

    Raises:
        ConfigError: If the template is no Jinja template, or names a value that there is not.
    """
    from jinja2 import StrictUndefined, TemplateError
    from jinja2.sandbox import SandboxedEnvironment

    environment = SandboxedEnvironment(
        undefined=StrictUndefined, finalize=escape, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters.update(
        attribute=attribute,
        code=code,
        dash=dash,
        number=number,
        thousands=thousands,
        patches=patches,
        python=python,
        shell=shell,
    )
    try:
        return str(environment.from_string(template).render(values))
    except (TemplateError, TypeError, ValueError) as error:
        raise ConfigError(
            f"The card template cannot be filled: {error}. It may use: {', '.join(sorted(values))}."
        ) from error
