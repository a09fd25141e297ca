"""Dataclasses <-> the plain values that JSON has."""

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from types import NoneType, UnionType
from typing import Any, TypeVar, Union, cast, get_args, get_origin, get_type_hints

_Kind = TypeVar("_Kind")


def to_plain(value: object) -> Any:  # noqa: ANN401 - JSON
    """Return ``value`` with dataclasses and mappings as dicts, and tuples as lists.

    Example:
        >>> to_plain({"pair": (1, None)})
        {'pair': [1, None]}
    """
    if is_dataclass(value):
        return {field.name: to_plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {key: to_plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [to_plain(entry) for entry in value]
    return value


def from_plain(kind: type[_Kind], values: object) -> _Kind:
    """Return the dataclass ``kind`` that `to_plain` took apart, after checking every type.

    Fields that have a default may be missing, so that files of older versions can be read.
    """
    return cast("_Kind", _revive(kind, values, kind.__name__))


def _revive(kind: Any, value: Any, where: str) -> Any:  # noqa: ANN401 - types and JSON
    origin, parts = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        return _revive_union(parts, value, where)
    if is_dataclass(kind):
        return _revive_dataclass(kind, value, where)
    if origin is tuple:
        _require(isinstance(value, list), value, "a list", where)
        kinds = [parts[0]] * len(value) if parts[1:] == (...,) else parts
        _require(len(kinds) == len(value), value, f"{len(kinds)} values", where)
        return tuple(
            _revive(part, entry, f"{where}[{i}]")
            for i, (part, entry) in enumerate(zip(kinds, value, strict=True))
        )
    if origin is not None and issubclass(origin, Mapping):
        _require(isinstance(value, dict), value, "an object", where)
        return {key: _revive(parts[1], entry, f"{where}.{key}") for key, entry in value.items()}
    return _revive_scalar(kind, value, where)


def _revive_dataclass(kind: Any, value: Any, where: str) -> Any:  # noqa: ANN401
    _require(isinstance(value, dict), value, "an object", where)
    hints = get_type_hints(kind)
    known = {field.name: field for field in fields(kind)}
    unknown = sorted(set(value).difference(known))
    _require(not unknown, unknown, f"one of {', '.join(known)}", where)
    for name, field in known.items():
        if name not in value and field.default is MISSING and field.default_factory is MISSING:
            raise KeyError(f"{where}.{name}")
    return kind(
        **{name: _revive(hints[name], entry, f"{where}.{name}") for name, entry in value.items()}
    )


def _revive_union(kinds: Sequence[Any], value: Any, where: str) -> Any:  # noqa: ANN401
    if value is None and NoneType in kinds:
        return None
    others = [kind for kind in kinds if kind is not NoneType]
    return _revive(others[0], value, where)


def _revive_scalar(kind: Any, value: Any, where: str) -> Any:  # noqa: ANN401
    if kind is float and type(value) is int:
        return float(value)
    _require(type(value) is kind, value, f"of type {kind.__name__}", where)
    return value


def _require(fits: bool, value: object, wanted: str, where: str) -> None:
    if not fits:
        text = repr(value)
        shown = text if len(text) <= 60 else f"{text[:57]}..."
        raise TypeError(f"{where} must be {wanted}; it is {shown}")
