"""JSON that comes from elsewhere: one place that parses it, within bounds, into checked values.

Whatever a file holds (huge or infinite numbers, other types, deep nesting, bytes that are no text),
the caller gets values of the types it asked for, or a RebenError with file, field and cure.
"""

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, cast

from annotated_types import Ge, Le

from reben.errors import RebenError, cut, first_line, shown
from reben.support.bounds import MAX_JSON_BYTES, MAX_JSON_VALUES, MEBIBYTE, read_file

if TYPE_CHECKING:
    from pydantic import TypeAdapter

Count = Annotated[int, Ge(0), Le(1 << 53)]
"""A whole number that a file may count something with."""
Finite = Annotated[float, Ge(-1e300), Le(1e300)]
"""A float that is a number: neither NaN nor infinite."""

_SHOWN, _LONGEST_SAID = 60, 400
_Kind = TypeVar("_Kind")


def read_json(path: Path, kind: type[_Kind], error: type[RebenError], cure: str) -> _Kind:
    """Return the content of a JSON file as ``kind``: a pydantic model, a dataclass or a dict type.

    Types are strict: ``"1"`` is no number, ``1`` is a float. What is not right is the ``error``,
    which ends with the sentence ``cure``.
    """
    try:
        content = read_file(path, MAX_JSON_BYTES)
    except OSError as refused:
        raise error(f"{path} cannot be read: {refused.strerror or refused}. {cure}") from refused
    return parse_json(content, kind, str(path), error, cure)


def parse_json(  # noqa: PLR0913 - the bounds are named
    content: bytes | str,
    kind: type[_Kind],
    name: str,
    error: type[RebenError],
    cure: str,
    *,
    most_bytes: int = MAX_JSON_BYTES,
    most_values: int = MAX_JSON_VALUES,
) -> _Kind:
    """Return JSON text as ``kind``; ``name`` is what the message calls it. See `read_json`."""
    if len(content) > most_bytes:
        most = most_bytes // MEBIBYTE
        raise error(f"{name} is larger than {most} MiB, which no such file is. {cure}")
    num_commas = content.count(",") if isinstance(content, str) else content.count(b",")
    if num_commas >= most_values:
        raise error(f"{name} has more than {most_values} values, as no such file does. {cure}")
    from pydantic import ValidationError

    try:
        return cast("_Kind", _adapter(cast("Any", kind)).validate_json(content, strict=True))
    except ValidationError as invalid:
        first = invalid.errors(include_url=False, include_context=False)[0]
    where = cut(".".join(map(str, first["loc"])), _SHOWN)
    is_there = first["type"] not in ("missing", "json_invalid")
    found = f"; it is {shown(first['input'], _SHOWN)}" if is_there else ""
    said = cut(f"{where}: {first['msg']}" if where else first["msg"], _LONGEST_SAID)
    raise error(f"{name} is not as it should be: {said}{found}. {cure}")


def check_values(
    values: Mapping[str, Any], kind: type[_Kind], name: str, error: type[RebenError], cure: str
) -> _Kind:
    """Return values that were parsed by somebody else as ``kind``. See `read_json`."""
    try:
        content = json.dumps(values)
    except (TypeError, ValueError, RecursionError) as refused:
        raise error(f"{name} is not as it should be: {first_line(refused)}. {cure}") from None
    return parse_json(content, kind, name, error, cure)


@cache
def _adapter(kind: Any) -> "TypeAdapter[Any]":  # noqa: ANN401 - a type
    from pydantic import TypeAdapter

    return TypeAdapter(kind)
