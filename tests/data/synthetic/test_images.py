import numpy as np
import pytest

from reben.data.synthetic.ground import Ground
from reben.data.synthetic.images import SyntheticImages
from reben.spec.bands import ALL_FULL, S1, S2_FULL, native_size

REGIONS = 40


def ground(code, region=7):
    side = (120, 120)
    slope = np.zeros(side, np.float32)
    return Ground(np.full(side, code, np.uint16), np.full(side, region), slope)


def images(month=6, biome="continental", seed=0):
    return SyntheticImages(np.random.default_rng(seed), REGIONS, month, biome)


def measure(code, month=6, biome="continental", weather="clear", seed=0):
    on_date = images(month, biome)
    return on_date.measure(ground(code), 3, 4, np.random.default_rng(seed), weather)


def mean(bands, name):
    return float(bands[name].mean())


def test_all_bands_come_at_native_size_and_dtype():
    bands = measure(211)
    assert set(bands) == set(ALL_FULL)
    for name in S2_FULL:
        assert bands[name].shape == (native_size(name),) * 2
        assert bands[name].dtype == np.uint16
        assert bands[name].min() > 0
    for name in S1:
        assert bands[name].shape == (120, 120)
        assert bands[name].dtype == np.float32
        assert np.isfinite(bands[name]).all()


def test_the_same_random_numbers_give_the_same_picture():
    first, again, other = measure(211), measure(211), measure(211, seed=1)
    for name in ALL_FULL:
        np.testing.assert_array_equal(first[name], again[name])
        assert (first[name] != other[name]).any()


def test_the_picture_shows_what_lies_where():
    codes = np.full((120, 120), 311, np.uint16)
    codes[:40, 60:] = 523
    land = Ground(codes, np.zeros((120, 120), np.int64), np.zeros((120, 120), np.float32))
    bands = images().measure(land, 3, 4, np.random.default_rng(0))
    for name in ("B08", "B11", "B09"):
        size = native_size(name)
        water = bands[name][: size // 3, size // 2 :]
        assert water.mean() < 0.2 * bands[name][size // 3 :].mean()
    assert bands["VV"][:40, 60:].mean() < bands["VV"][40:].mean() - 4


def test_coarse_bands_are_means_of_the_fine_field():
    codes = np.where(np.arange(120)[:, None] < 61, 523, 311).astype(np.uint16).repeat(120, axis=1)
    land = Ground(codes, np.zeros((120, 120), np.int64), np.zeros((120, 120), np.float32))
    rows = images().measure(land, 3, 4, np.random.default_rng(0))["B8A"].mean(axis=1)
    assert rows[30] == pytest.approx((rows[20] + rows[40]) / 2, rel=0.15)


def test_snow_is_white_and_lies_on_land():
    field, snowy = measure(211, month=1), measure(211, month=1, weather="snow")
    assert mean(snowy, "B04") > 3 * mean(field, "B04")
    assert mean(snowy, "B11") < mean(snowy, "B04") / 2
    lake, winter_lake = measure(512, month=1), measure(512, month=1, weather="snow")
    assert mean(winter_lake, "B04") == pytest.approx(mean(lake, "B04"), rel=0.1)


def test_clouds_cover_a_part_and_radar_sees_through():
    clear, cloudy = measure(312), measure(312, weather="cloud")
    covered = (cloudy["B02"] > 2000).mean()
    assert 0.05 < covered < 0.95
    np.testing.assert_array_equal(clear["VV"], cloudy["VV"])


def test_broad_leaved_forest_is_green_in_summer_only():
    summer, winter = measure(311, month=6), measure(311, month=1)
    assert mean(summer, "B08") > 1.3 * mean(winter, "B08")


def test_mediterranean_grass_is_green_in_spring():
    spring, summer = (measure(231, month=month, biome="mediterranean") for month in (3, 9))
    greener = [mean(bands, "B08") / mean(bands, "B04") for bands in (spring, summer)]
    assert greener[0] > 1.3 * greener[1]
