import numpy as np
import pytest
import rasterio.warp
from rasterio.warp import transform_bounds

from reben.data.places import (
    distance_between,
    ground_size,
    require_one_place,
    require_patch_size,
    require_pyproj,
    to_degrees,
)
from reben.errors import ConfigError, MissingExtraError, PatchShapeError, PlaceError
from reben.spec.patches import Bounds, place_of_name


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


def test_the_distance_of_two_places_is_that_on_the_ground():
    near = Bounds(32633, 500_000, 5_000_000, 501_200, 5_001_200)
    east = Bounds(32633, 503_000, 5_000_000, 504_200, 5_001_200)
    assert distance_between(near, near) == 0
    assert distance_between(near, east) == pytest.approx(3000, rel=0.005)
    again = Bounds(32634, *transform_bounds(32633, 32634, *near[1:]))
    assert distance_between(near, again) < 20
    assert distance_between(again, east) == pytest.approx(3000, rel=0.01)


def bounds(left=500_000.0, top=5_001_200.0, side=1200.0, epsg=32633):
    return Bounds(epsg, left, top - side, left + side, top)


def test_places_of_one_patch_are_near_each_other():
    require_one_place({"a": None, "b": bounds(), "c": bounds(500_119), "d": None})
    with pytest.raises(PlaceError, match=r"^b and c lie 121 m apart.*column s1_name"):
        require_one_place({"a": None, "b": bounds(), "c": bounds(500_121)})
    austria = place_of_name("S1A_IW_GRDH_1SDV_20170613T165043_33UUP_65_63")
    finland = place_of_name("S2A_MSIL2A_20180526T100031_N9999_R122_T34WFU_14_23")
    with pytest.raises(PlaceError, match="lie 2,133 km apart"):
        require_one_place({"S1": austria, "S2": finland})


@pytest.mark.parametrize("side", [1188.1, 1200, 1211.9])
def test_a_patch_is_1200_m_wide_on_the_ground(side):
    require_patch_size("x.tif", bounds(side=side), 32633, 120)


@pytest.mark.parametrize(
    ("place", "found"),
    [
        (bounds(side=1128), r"covers 1128 x 1128 m .*EPSG:32633.*pixels of 9\.4 m"),
        (bounds(1_500_000, 8_401_200, epsg=3857), r"covers 60\d\.?\d* x 60\d.*pixels of 5"),
        (bounds(15, 60.012, 0.012, epsg=4326), r"covers 66\d\.\d+ x 133\d.*EPSG:4326"),
        (bounds(15, 60, 1.2, epsg=4326), r"covers \d+ x 1\.3\d+e\+05 m"),
        (bounds(1e12, epsg=32633), "nowhere on the ground"),
        (bounds(float("inf")), "nowhere on the ground"),
    ],
)
def test_an_image_that_covers_other_ground_is_refused_with_its_size(place, found):
    with pytest.raises(PatchShapeError, match=found):
        require_patch_size("x.tif", place, place.epsg, 120)
