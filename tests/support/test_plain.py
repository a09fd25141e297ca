from collections.abc import Mapping
from dataclasses import dataclass

import pytest

from reben.support.plain_json import from_plain, to_plain


@dataclass(frozen=True)
class Inner:
    number: float
    name: str | None = None


@dataclass(frozen=True)
class Outer:
    parts: Mapping[str, Inner]
    pair: tuple[int, ...]
    rows: tuple[tuple[int, ...], ...] = ()


WHOLE = Outer({"a": Inner(1.5), "b": Inner(2.0, "x")}, (3, 4), ((1, 2), (3,)))


def test_taking_apart_and_putting_together_is_identity():
    assert from_plain(Outer, to_plain(WHOLE)) == WHOLE


def test_a_whole_number_may_stand_for_a_float():
    assert from_plain(Inner, {"number": 2}) == Inner(2.0)


@pytest.mark.parametrize(
    ("values", "error", "words"),
    [
        ({"number": "2"}, TypeError, "Inner.number must be of type float"),
        ({"number": True}, TypeError, "Inner.number"),
        ({}, KeyError, "Inner.number"),
        ({"number": 1.0, "colour": 3}, TypeError, "colour"),
        ([], TypeError, "an object"),
    ],
)
def test_what_does_not_fit_is_an_error_that_says_where(values, error, words):
    with pytest.raises(error, match=words):
        from_plain(Inner, values)


def test_a_place_deep_inside_is_named():
    values = to_plain(WHOLE)
    values["parts"]["b"]["number"] = None

    with pytest.raises(TypeError, match=r"Outer\.parts\.b\.number"):
        from_plain(Outer, values)
