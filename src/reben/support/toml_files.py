"""TOML that comes from elsewhere: parsed in one place, within bounds; values are not checked."""

import tomllib
from pathlib import Path
from typing import Any

from reben.errors import RebenError, first_line
from reben.support.bounds import MAX_TOML_BYTES, read_text


def read_toml(path: Path, error: type[RebenError], cure: str) -> dict[str, Any]:
    """Return the values in a TOML file, or raise ``error`` that ends with the sentence ``cure``."""
    try:
        text = read_text(path, MAX_TOML_BYTES)
    except OSError as refused:
        raise error(f"{path} cannot be read: {first_line(refused)}. {cure}") from None
    return parse_toml(text, str(path), error, cure)


def parse_toml(text: str, name: str, error: type[RebenError], cure: str) -> dict[str, Any]:
    """Return the values in TOML text; ``name`` is what the message calls it. See `read_toml`."""
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise error(f"{name} is not as it should be: it is nested too deeply. {cure}") from None
    except ValueError as refused:  # TOML's own error, or a number of thousands of digits
        raise error(f"{name} is not TOML: {first_line(refused)}. {cure}") from None
