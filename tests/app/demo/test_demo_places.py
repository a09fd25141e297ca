"""Where patches lie, and the map that shows it."""

import re

import numpy as np
import pytest

from reben.app.demo.locator import (
    centre_of,
    degrees_of_utm,
    distance_between,
    draw_locator,
    outlines,
    place_of_name,
    project,
)
from reben.spec.patches import Bounds

NAMES = {
    "S2A_MSIL2A_20170613T101031_N9999_R022_T33UUP_26_57": (331_200, 5_331_600),
    "S1B_IW_GRDH_1SDV_20170612T165809_33UUP_26_57": (331_200, 5_331_600),
}


@pytest.mark.parametrize("epsg", [32601, 32633, 32660, 32705, 32756])
def test_degrees_are_those_of_pyproj(epsg):
    pyproj = pytest.importorskip("pyproj")
    transformer = pyproj.Transformer.from_crs(epsg, 4326, always_xy=True)
    generator = np.random.default_rng(epsg)
    for _ in range(40):
        east, north = generator.uniform(170_000, 830_000), generator.uniform(1.2e6, 9.2e6)
        found = degrees_of_utm(epsg, east, north)
        assert found == pytest.approx(transformer.transform(east, north), abs=1e-9)


@pytest.mark.parametrize("name", NAMES)
def test_a_patch_name_says_where_the_patch_lies(name):
    left, top = NAMES[name]
    assert place_of_name(name) == Bounds(32633, left, top - 1200, left + 1200, top)


@pytest.mark.parametrize(
    "name", ["", "my field", "S2A_MSIL2A_20170613T101031_N9999_R022_T33UIP_26_57"]
)
def test_a_name_that_says_nothing_gives_no_place(name):
    assert place_of_name(name) is None


def test_the_distance_of_two_places_is_that_on_the_ground():
    near = Bounds(32633, 500_000, 5_000_000, 501_200, 5_001_200)
    east = Bounds(32633, 503_000, 5_000_000, 504_200, 5_001_200)
    assert distance_between(near, near) == 0
    assert distance_between(near, east) == pytest.approx(3000, rel=0.005)


@pytest.mark.parametrize(
    ("country", "city"),
    [
        ("Austria", (16.37, 48.21)),
        ("Belgium", (4.35, 50.85)),
        ("Finland", (24.94, 60.25)),
        ("Ireland", (-6.40, 53.35)),
        ("Kosovo", (21.17, 42.66)),
        ("Lithuania", (25.28, 54.69)),
        ("Luxembourg", (6.13, 49.61)),
        ("Portugal", (-9.0, 38.80)),
        ("Serbia", (20.46, 44.70)),
        ("Switzerland", (7.45, 46.95)),
        ("", (2.35, 48.86)),
        ("", (21.01, 52.23)),
    ],
)
def test_capitals_lie_inside_the_outlines_of_their_countries(country, city):
    inside = {
        name
        for name, rings in outlines()[1].items()
        if sum(contains(ring, *city) for ring in rings) % 2
    }
    assert inside == {country}


def contains(ring, x, y):
    """Whether a point is inside a ring, by counting the edges to its right."""
    crossings = 0
    for (x1, y1), (x2, y2) in zip(ring, [*ring[1:], ring[0]], strict=True):
        if (y1 > y) != (y2 > y) and x < (x2 - x1) * (y - y1) / (y2 - y1) + x1:
            crossings += 1
    return crossings % 2 == 1


def test_the_outlines_say_where_they_are_from():
    assert "Natural Earth" in outlines()[0]
    assert "public domain" in outlines()[0]


def test_the_map_is_the_equal_area_projection_of_pyproj():
    pyproj = pytest.importorskip("pyproj")
    laea = pyproj.Proj("+proj=laea +lat_0=52 +lon_0=10 +R=6371000")
    points = [(-9.1, 38.7), (24.9, 60.2), (21.2, 42.7), (10, 52)]
    pixels = np.array([project(*point) for point in points])
    metres = np.array([laea(*point) for point in points])
    # 10 km are a pixel; the y of a picture points down.
    np.testing.assert_allclose((pixels - pixels[3]) * [1e4, -1e4], metres, atol=1)


def test_the_mark_is_at_the_place_and_said_in_words():
    place = Bounds(32633, 331_200, 5_330_400, 332_400, 5_331_600)
    svg = draw_locator(place, 'A "patch" lies')
    x, y = project(*centre_of(place))
    assert f'class="dot" cx="{x:.1f}" cy="{y:.1f}"' in svg
    label = re.search(r'aria-label="([^"]*)"', svg)[1]
    assert label == "Map of Europe. A &quot;patch&quot; lies at 48.1100° N, 12.7403° E."


def test_a_place_elsewhere_has_no_mark_and_is_said_to_be_outside():
    svg = draw_locator(Bounds(32719, 600_000, 7_000_000, 601_200, 7_001_200), "A patch lies")
    assert "dot" not in svg
    assert "outside this map" in svg
