import numpy as np
import pytest

from reben.data.synthetic.ground import Hills, Noise


@pytest.mark.parametrize("spacing", [2.5, 40])
def test_values_have_mean_0_and_deviation_1(spacing):
    places = np.arange(0, 128 * spacing, spacing / 5)
    values = Noise(np.random.default_rng(1), spacing).at(places, places)
    assert values.mean() == pytest.approx(0, abs=0.05)
    assert values.std() == pytest.approx(1, abs=0.05)


def test_a_place_has_one_value_whatever_is_asked_with_it():
    noise = Noise(np.random.default_rng(1), 7)
    whole = noise.at(np.arange(50.0, 90), np.arange(200.0, 260))
    part = noise.at(np.arange(61.0, 70), np.arange(233.0, 250))
    np.testing.assert_array_equal(part, whole[11:20, 33:50])


def test_values_change_gradually():
    values = Noise(np.random.default_rng(1), 50).at(np.arange(300.0), np.arange(200.0))
    assert np.abs(np.diff(values, axis=0)).max() < 0.2
    assert np.abs(np.diff(values, axis=1)).max() < 0.2


def test_rows_and_columns_are_not_swapped():
    values = Noise(np.random.default_rng(1), 5).at(np.arange(30.0), np.arange(40.0))
    assert values.shape == (30, 40)
    assert not np.allclose(values[:30, :30], values[:30, :30].T)


def test_hills_add_up():
    places = np.arange(40.0)
    hills = Hills(np.random.default_rng(3), {9: 2, 30: 0.5})
    random = np.random.default_rng(3)
    expected = 2 * Noise(random, 9).at(places, places) + 0.5 * Noise(random, 30).at(places, places)
    np.testing.assert_allclose(hills.at(places, places), expected, rtol=1e-6)
