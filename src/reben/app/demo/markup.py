"""The parts of the page as HTML, drawn by the macros of ``markup.html.jinja``."""

from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

from jinja2 import Environment, StrictUndefined

from reben.app.demo.pictures import colours_of, enlarge, png_address

if TYPE_CHECKING:
    from jinja2.environment import TemplateModule


def draw(part: str, *values: object) -> str:
    """Return one part of the page; whatever is not `markupsafe.Markup` is escaped."""
    return str(getattr(_macros(), part)(*values)).strip()


@cache
def _macros() -> "TemplateModule":
    environment = Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined
    )
    environment.globals.update(png=png_address, enlarge=enlarge, colours_of=colours_of)
    text = files("reben.app.demo").joinpath("markup.html.jinja").read_text(encoding="utf-8")
    return environment.from_string(text).module
