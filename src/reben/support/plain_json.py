"""Dataclasses to the plain values that JSON has."""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any


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
