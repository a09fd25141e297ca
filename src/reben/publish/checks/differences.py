"""Compare JSON values field by field."""

from collections.abc import Iterator
from typing import Any

_LONGEST = 70


def differences(there: Any, right: Any, path: str, *, more: bool = False) -> Iterator[str]:  # noqa: ANN401 - JSON
    """Yield, in words, where ``there`` differs from ``right``; ``more`` allows further fields.

    Example:
        >>> list(differences({"a": [1, 2]}, {"a": [1, 3]}, "card"))
        ['card.a[1] is 2; it should be 3']
    """
    if isinstance(there, dict) and isinstance(right, dict):
        for key, value in right.items():
            if key in there:
                yield from differences(there[key], value, f"{path}.{key}", more=more)
            else:
                yield f"{path} lacks {key}"
        for key in () if more else sorted(there.keys() - right.keys()):
            yield f"{path} has an unexpected {key}"
    elif isinstance(there, list) and isinstance(right, list) and len(there) == len(right):
        for place, (value, wanted) in enumerate(zip(there, right, strict=True)):
            yield from differences(value, wanted, f"{path}[{place}]", more=more)
    elif there != right or isinstance(there, bool) != isinstance(right, bool):
        yield f"{path} is {shown(there)}; it should be {shown(right)}"


def shown(value: object) -> str:
    """Return a value for a message, shortened if it is long."""
    text = repr(value)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."
