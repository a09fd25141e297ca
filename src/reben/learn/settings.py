"""What is known of each setting of a training beside its type and default, and how it is checked.

`reben.learn.config.TrainConfig` keeps a `Setting` in the metadata of each of its fields. The
command line, the checks, the docstring and the model card read it from there.
"""

import json
import math
from collections.abc import Callable, Iterable
from dataclasses import field, fields
from types import UnionType
from typing import Any, Literal, NamedTuple, TypeVar, get_args, get_origin

from reben.errors import ConfigError

_KEY = "setting"
_Value = TypeVar("_Value")
_Class = TypeVar("_Class", bound=type)


class Allowed(NamedTuple):
    """Which values of its type a setting may have."""

    words: str
    """After "must be"."""
    check: Callable[[Any], bool]


AT_LEAST_0 = Allowed("at least 0", lambda value: value >= 0)
AT_LEAST_1 = Allowed("at least 1", lambda value: value >= 1)
ABOVE_0 = Allowed("above 0 and finite", lambda value: 0 < value < math.inf)
NOT_NEGATIVE = Allowed("at least 0 and finite", lambda value: 0 <= value < math.inf)
PART = Allowed("at least 0 and below 1", lambda value: 0 <= value < 1)
FACTOR = Allowed("above 0 and at most 1", lambda value: 0 < value <= 1)
SEED = Allowed("at least 0 and below 2**32", lambda value: 0 <= value < 2**32)
ARCHITECTURE = Allowed("the name of an architecture", lambda value: value == value.strip() != "")
MODEL = Allowed("a folder or the id of a model", lambda value: value.strip() != "")
DISTINCT = Allowed(
    "names that occur only once", lambda value: all(value) and len(set(value)) == len(value)
)


class Setting(NamedTuple):
    """What people are told of a setting, and what is asked of its value."""

    card: str
    """Its name on the model card."""
    help: str
    allowed: Allowed | None
    in_recipe: bool
    """Whether it can change the result; else it says what is trained, on what, how quickly."""


def setting(
    default: _Value, card: str, text: str, allowed: Allowed | None = None, *, in_recipe: bool = True
) -> _Value:
    """Return a dataclass field with this default and a `Setting` in its metadata."""
    told = Setting(card, text, allowed, in_recipe)
    return field(default=default, metadata={_KEY: told})


def settings_of(kind: type) -> dict[str, Setting]:
    """Return the `Setting` of each field of a dataclass, by name."""
    return {each.name: each.metadata[_KEY] for each in fields(kind)}


def documented(kind: _Class) -> _Class:
    """Give the docstring of a dataclass of settings its ``Args:``, before ``Raises:``."""
    told = "".join(f"        {name}: {one.help}\n" for name, one in settings_of(kind).items())
    kind.__doc__ = (kind.__doc__ or "").replace("    Raises:", f"    Args:\n{told}\n    Raises:", 1)
    return kind


def check_type(name: str, value: object, hint: Any) -> object:  # noqa: ANN401 - a type
    """Return ``value`` if it is of the type ``hint``; a whole number may stand for a float.

    Raises:
        ConfigError: If it is not.
    """
    if get_origin(hint) is Literal:
        if value not in get_args(hint):
            choices = ", ".join(map(str, get_args(hint)))
            raise ConfigError(f"{name} must be one of {choices}; got {value!r}.")
        return value
    if get_origin(hint) is tuple:
        if isinstance(value, tuple | list) and all(isinstance(text, str) for text in value):
            return tuple(value)
        raise ConfigError(f"{name} must be a list of names; got {value!r}.")
    kinds = get_args(hint) if isinstance(hint, UnionType) else (hint,)
    if float in kinds and type(value) is int:
        return float(value)
    if type(value) not in kinds:
        wanted = " or ".join("unset" if kind is type(None) else kind.__name__ for kind in kinds)
        raise ConfigError(f"{name} must be {wanted}; got {value!r}.")
    return value


def to_toml(values: Iterable[tuple[str, object]]) -> str:
    """Return names and values as flat TOML; what is unset, None or empty, is left out."""
    return "".join(
        f"{name} = {_toml(value)}\n" for name, value in values if value is not None and value != ()
    )


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        # JSON's escapes are TOML's, but for DEL, which JSON leaves as it is.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, tuple):
        return f"[{', '.join(map(_toml, value))}]"
    return repr(value)
