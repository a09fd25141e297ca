import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from reben.errors import OffsetConflictError, PixelValueError, ProductError
from reben.scene.offset import (
    OffsetAndScale,
    ScaleStatement,
    decide,
    offset_of_baseline,
    statement_of_scale,
    statements_in,
)

NUMBERS = arrays(np.uint16, (3, 5), elements=st.integers(0, 65535))


@given(stored=NUMBERS, offset=st.integers(-65535, 0))
def test_whole_numbers_become_what_exact_arithmetic_gives(stored, offset):
    values = OffsetAndScale(offset, 10_000, "").apply(stored, "B02")

    expected = [max(0, int(number) + offset) if number else 0 for number in stored.ravel()]
    assert values.ravel().tolist() == expected
    assert values.dtype == np.uint16


@given(
    stored=NUMBERS,
    offset=st.floats(-5000, 5000, allow_nan=False),
    quantification=st.floats(1000, 50_000),
)
def test_other_offsets_and_quantifications_do_too(stored, offset, quantification):
    values = OffsetAndScale(offset, quantification, "").apply(stored, "B02")

    exact = (stored.astype(float) + offset) * 10_000 / quantification
    expected = np.where(stored == 0, 0, exact.clip(0, 65535))
    np.testing.assert_allclose(values, expected, rtol=1e-6, atol=1e-3)


@given(stored=NUMBERS)
def test_the_stored_numbers_are_left_as_they_are(stored):
    before = stored.copy()

    OffsetAndScale(-1000, 10_000, "").apply(stored, "B02")

    np.testing.assert_array_equal(stored, before)


@pytest.mark.parametrize(
    ("baseline", "offset"),
    [("02.12", 0), ("03.01", 0), ("04.00", -1000), ("05.11", -1000), ("99.99", None)],
)
def test_a_baseline_means_an_offset_or_none(baseline, offset):
    assert offset_of_baseline(baseline) == offset


@pytest.mark.parametrize("text", ["", "N0509", "5", "05.09.01", "-1.0"])
def test_what_is_no_baseline_is_refused(text):
    with pytest.raises(ProductError, match="not a processing baseline"):
        offset_of_baseline(text)


def test_a_scale_and_offset_in_reflectance_are_a_statement_in_numbers():
    assert statement_of_scale("x", 0.0001, -0.1) == ScaleStatement("x", -1000, 10_000)
    assert statement_of_scale("x", 0.00025, None) == ScaleStatement("x", None, 4000)
    with pytest.raises(ProductError, match="the scale must be positive"):
        statement_of_scale("x", 0, -0.1)


def test_a_flag_that_is_no_flag_is_refused():
    with pytest.raises(ProductError, match="should be true or false"):
        statements_in({"earthsearch:boa_offset_applied": "no"})


def test_statements_that_agree_are_one():
    said = [
        ScaleStatement("a", -1000),
        ScaleStatement("b", None, 10_000),
        ScaleStatement("c", -1000),
    ]

    decided = decide("B02", "item", said, None)

    assert decided == OffsetAndScale(-1000, 10_000, "a; c")


def test_quantifications_that_contradict_each_other_are_refused_whatever_the_offset():
    said = [ScaleStatement("a", 0, 4000), ScaleStatement("b", 0, 5000)]

    with pytest.raises(OffsetConflictError, match="quantification values for B02: 4000, 5000"):
        decide("B02", "item", said, 0)


def test_numbers_that_cannot_be_are_refused():
    with pytest.raises(ProductError, match="must be finite"):
        OffsetAndScale(float("nan"), 10_000, "x")
    with pytest.raises(ProductError, match="must be finite"):
        OffsetAndScale(0, 0, "x")


@pytest.mark.parametrize(
    ("offset", "quantification"), [(0, 1e-320), (0, 1e308), (-1e300, 10_000), (-70_000, 10_000)]
)
def test_numbers_that_no_product_has_are_refused(offset, quantification):
    with pytest.raises(ProductError, match=r"Sentinel-2 has offsets of 0 or -1000"):
        OffsetAndScale(offset, quantification, "x")


def test_a_statement_about_the_files_themselves_decides():
    flag, left = ScaleStatement("flag", 0, decides=True), ScaleStatement("asset", -1000)

    decided = decide("B02", "item", [left, flag], None)

    assert decided == OffsetAndScale(0, 10_000, "flag", (left,))
    assert decide("B02", "item", [left, flag], -1000).unused == (flag,)


def test_reflectances_have_a_cure_for_files():
    with pytest.raises(PixelValueError, match=r"gdal_translate -ot Float32 -scale 0 1 0 10000 "):
        OffsetAndScale(0, 10_000, "").apply(np.array([[0.1, 0.3]]), "B02 of a file")
