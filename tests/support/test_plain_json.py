from collections.abc import Mapping
from dataclasses import dataclass

from reben.support.plain_json import to_plain


@dataclass(frozen=True)
class Inner:
    number: float
    name: str | None = None


@dataclass(frozen=True)
class Outer:
    parts: Mapping[str, Inner]
    pair: tuple[int, ...]
    rows: tuple[tuple[int, ...], ...] = ()


def test_dataclasses_mappings_and_tuples_become_what_json_has():
    whole = Outer({"a": Inner(1.5), "b": Inner(2.0, "x")}, (3, 4), ((1, 2), (3,)))

    assert to_plain(whole) == {
        "parts": {"a": {"number": 1.5, "name": None}, "b": {"number": 2.0, "name": "x"}},
        "pair": [3, 4],
        "rows": [[1, 2], [3]],
    }
