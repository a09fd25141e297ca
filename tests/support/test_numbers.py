import numpy as np
import pytest

from reben.errors import ConfigError
from reben.support.numbers import require_number, require_whole


@pytest.mark.parametrize("value", [1, np.int64(7), np.uint8(3)])
def test_whole_numbers_of_python_and_numpy_are_taken(value):
    assert require_whole("n", value) == int(value)
    assert type(require_whole("n", value)) is int


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (0, "at least 1, not 0"),
        (-1, "at least 1, not -1"),
        (11, "at most 10, not 11"),
        (True, "a whole number, not True"),
        (np.bool_(1), "a whole number, not"),
        (2.5, "a whole number, not 2.5"),
        (float("nan"), "a whole number, not nan"),
        ("3", "a whole number, not '3'"),
        (None, "a whole number, not None"),
    ],
)
def test_what_is_no_whole_number_within_bounds_is_refused(value, said):
    with pytest.raises(ConfigError, match=f"n must be {said}"):
        require_whole("n", value, most=10)


@pytest.mark.parametrize("value", [0, 1, 0.5, np.float32(0.25)])
def test_numbers_of_python_and_numpy_are_taken(value):
    assert require_number("n", value, 0, 1) == float(value)


@pytest.mark.parametrize(
    "value", [float("nan"), float("inf"), -1e-9, 10**400, True, "0.5", None, [0.5], np.zeros(2)]
)
def test_what_is_no_number_within_bounds_is_refused(value):
    with pytest.raises(ConfigError, match="n must be a number from 0 to 1, not"):
        require_number("n", value, 0, 1)
