"""What each setting of a training has besides its type and default, and how values are checked.

`reben.learn.config.TrainConfig` keeps a `Setting` in the metadata of each field. The command line,
the checks, the docstring and the model card all read it from there.
"""

import json
import math
import operator
from collections.abc import Callable, Iterable
from dataclasses import field, fields
from types import UnionType
from typing import Any, Literal, NamedTuple, TypeVar, get_args, get_origin

from reben.errors import ConfigError, shown

_KEY = "setting"
_Value = TypeVar("_Value")
_Class = TypeVar("_Class", bound=type)
_BOUNDS: dict[str, tuple[str, Callable[[Any, Any], bool]]] = {
    "ge": ("at least", operator.ge),
    "gt": ("above", operator.gt),
    "le": ("at most", operator.le),
    "lt": ("below", operator.lt),
}


class Allowed(NamedTuple):
    """Which values of its type a setting may have."""

    words: str
    """What comes after "must be"."""
    check: Callable[[Any], bool]


class Setting(NamedTuple):
    """The help, name and range of a setting."""

    help: str
    card: str
    """Its name on the model card; by default the name of the field in words."""
    allowed: Allowed
    in_recipe: bool
    """Whether it can change the result, and so counts as a difference from the paper."""


def setting(
    default: _Value,
    text: str,
    *,
    card: str = "",
    in_recipe: bool = True,
    allowed: Allowed | None = None,
    **bounds: float,
) -> _Value:
    """Return a dataclass field with a `Setting` in its metadata, which ``text`` is the help of.

    ``bounds`` are a range of finite numbers (``ge``, ``gt``, ``le``, ``lt``); ``allowed`` are the
    values where they are something else.
    """
    told = Setting(text, card, allowed or _within(bounds), in_recipe)
    return field(default=default, metadata={_KEY: told})


def _within(bounds: dict[str, float]) -> Allowed:
    return Allowed(
        " and ".join(f"{_BOUNDS[name][0]} {bound}" for name, bound in bounds.items()),
        lambda value: (
            all(_BOUNDS[name][1](value, bound) for name, bound in bounds.items())
            and value != math.inf
        ),
    )


def settings_of(kind: type) -> dict[str, Setting]:
    """Return the `Setting` of each field of a dataclass, by name."""
    told: dict[str, Setting] = {each.name: each.metadata[_KEY] for each in fields(kind)}
    return {
        name: one._replace(card=one.card or name.replace("_", " ").capitalize())
        for name, one in told.items()
    }


def documented(kind: _Class) -> _Class:
    """Add ``Args:`` to the docstring of a dataclass of settings, before ``Raises:``."""
    told = "".join(f"        {name}: {one.help}\n" for name, one in settings_of(kind).items())
    kind.__doc__ = (kind.__doc__ or "").replace("    Raises:", f"    Args:\n{told}\n    Raises:", 1)
    return kind


def check_value(name: str, value: object, hint: Any, allowed: Allowed) -> object:  # noqa: ANN401 - a type
    """Return ``value`` if it has the type ``hint`` and is allowed; an int may stand for a float."""
    value = _check_type(name, value, hint)
    if value is not None and not allowed.check(value):
        finite = " and finite" if value == math.inf else ""
        raise ConfigError(f"{name} must be {allowed.words}{finite}; got {shown(value, 500)}.")
    return value


def _check_type(name: str, value: object, hint: Any) -> object:  # noqa: ANN401 - a type
    if get_origin(hint) is Literal:
        if value not in get_args(hint):
            choices = ", ".join(map(str, get_args(hint)))
            raise ConfigError(f"{name} must be one of {choices}; got {shown(value, 500)}.")
        return value
    if get_origin(hint) is tuple:
        if isinstance(value, tuple | list) and all(isinstance(text, str) for text in value):
            return tuple(value)
        raise ConfigError(f"{name} must be a list of names; got {shown(value, 500)}.")
    kinds = get_args(hint) if isinstance(hint, UnionType) else (hint,)
    if float in kinds and type(value) is int:
        return float(value) if -1e300 < value < 1e300 else math.inf * (1 if value > 0 else -1)
    if type(value) not in kinds:
        wanted = " or ".join("unset" if kind is type(None) else kind.__name__ for kind in kinds)
        raise ConfigError(f"{name} must be {wanted}; got {shown(value, 500)}.")
    return value


def to_toml(values: Iterable[tuple[str, object]]) -> str:
    """Return names and values as flat TOML, without those that are None or empty."""
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
