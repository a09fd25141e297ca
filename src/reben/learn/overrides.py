"""Settings from elsewhere than code: a TOML file, and texts such as ``epochs=3``."""

import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from reben.errors import ConfigError


def read_config_file(path: Path) -> dict[str, Any]:
    """Return the settings that a TOML file names.

    Raises:
        ConfigError: If it cannot be read.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"The settings in {path} cannot be read: {error}.") from None


def read_assignments(texts: Iterable[str]) -> dict[str, Any]:
    """Return settings given as ``name=value``, with values as in TOML; quotes may be left out.

    Raises:
        ConfigError: If a text is not of that form.

    Example:
        >>> read_assignments(["epochs=3", "flips=false", "bands=s1"])
        {'epochs': 3, 'flips': False, 'bands': 's1'}
    """
    values: dict[str, Any] = {}
    for text in texts:
        name, equals, value = (part.strip() for part in text.partition("="))
        if not name or not equals:
            raise ConfigError(f"{text!r} does not set anything. Write name=value.")
        try:
            values[name] = tomllib.loads(f"value = {value}")["value"]
        except tomllib.TOMLDecodeError:
            values[name] = value
    return values
