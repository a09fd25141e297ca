import numpy as np
import pytest
import rasterio.warp

from reben.data.places import ground_size, require_pyproj, to_degrees
from reben.errors import ConfigError, MissingExtraError


def test_degrees_are_those_that_rasterio_finds():
    x, y = np.array([[399_960.0, 500_000], [610_000, 350_000]]), np.full((2, 2), 5_900_020.0)
    wanted = rasterio.warp.transform("EPSG:32633", "EPSG:4326", x.ravel(), y.ravel())
    for found, right in zip(to_degrees("EPSG:32633", x, y), wanted, strict=True):
        np.testing.assert_allclose(found, np.reshape(right, (2, 2)), atol=1e-9)


def test_without_pyproj_the_extra_and_the_way_around_are_named(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pyproj", None)
    with pytest.raises(MissingExtraError, match=r"--no-geometry.*reben\[geo\]"):
        require_pyproj()


def test_a_utm_zone_measures_the_ground():
    assert ground_size(32633, 499_400, 5_900_000, 500_600, 5_901_200) == pytest.approx(
        (1200, 1200), rel=1e-3
    )


def test_web_mercator_stretches_the_ground_by_the_latitude():
    _, latitude = to_degrees(3857, 1_500_000, 8_400_600)
    width, height = ground_size(3857, 1_500_000, 8_400_000, 1_501_200, 8_401_200)
    assert width == pytest.approx(1200 * np.cos(np.radians(latitude)), rel=3e-3)
    assert height == pytest.approx(width, rel=1e-2)


def test_degrees_are_longer_from_south_to_north():
    assert ground_size(4326, 15, 60, 15.01, 60.01) == pytest.approx((557, 1114), rel=1e-2)


def test_a_place_that_is_nowhere_has_no_size():
    assert np.isnan(ground_size(32633, 1e12, 1e12, 2e12, 2e12)).all()


def test_an_unknown_reference_system_is_refused():
    with pytest.raises(ConfigError, match="is not a known reference system"):
        ground_size("no such system", 0, 0, 1, 1)
