"""Where patches lie, and the map that shows it."""

import re

import numpy as np
import pytest

from reben.app.demo.locator import (
    centre_of,
    draw_locator,
    project,
)
from reben.spec.patches import Bounds

MAP = draw_locator(Bounds(32633, 331_200, 5_330_400, 332_400, 5_331_600), "It lies")


def test_the_centre_of_a_place_is_in_degrees():
    # By Krüger's series: Karney, "Transverse Mercator with an accuracy of a few nanometers" (2011).
    place = Bounds(32633, 331_200, 5_330_400, 332_400, 5_331_600)
    assert centre_of(place) == pytest.approx((12.740300, 48.110035), abs=1e-6)
    assert centre_of(Bounds(32633, 499_400, -600, 500_600, 600)) == pytest.approx((15, 0))


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
        for name, rings in outlines().items()
        if sum(contains(ring, *project(*city)) for ring in rings) % 2
    }
    assert inside == {country}


def contains(ring, x, y):
    """Whether a point is inside a ring, by counting the edges to its right."""
    crossings = 0
    for (x1, y1), (x2, y2) in zip(ring, [*ring[1:], ring[0]], strict=True):
        if (y1 > y) != (y2 > y) and x < (x2 - x1) * (y - y1) / (y2 - y1) + x1:
            crossings += 1
    return crossings % 2 == 1


def outlines():
    """Country -> rings of pixels on the map; land that is in none of the ten is under ``""``."""
    paths = re.findall(r'<path class="(?:land|country)"(?: data-name="(\w+)")? d="([^"]+)"', MAP)
    return {
        name: [
            [tuple(map(float, point.split())) for point in ring.split("L")]
            for ring in path.strip("MZ").split("ZM")
        ]
        for name, path in paths
    }


def test_the_map_says_where_its_outlines_are_from():
    assert "Natural Earth" in MAP
    assert "public domain" in MAP


def test_the_map_is_lamberts_equal_area_projection():
    # Snyder, "Map Projections: A Working Manual" (1987), equations 24-2 to 24-4, on a sphere.
    points = np.radians([(-9.1, 38.7), (24.9, 60.2), (21.2, 42.7), (10, 52)])
    east, north, middle = points[:, 0] - np.radians(10), points[:, 1], np.radians(52)
    cosine = np.sin(middle) * np.sin(north) + np.cos(middle) * np.cos(north) * np.cos(east)
    scale = 6_371_000 * np.sqrt(2 / (1 + cosine))
    x = scale * np.cos(north) * np.sin(east)
    y = np.cos(middle) * np.sin(north) - np.sin(middle) * np.cos(north) * np.cos(east)
    pixels = np.array([project(*np.degrees(point)) for point in points])
    # 10 km are a pixel; the y of a picture points down.
    found = (pixels - pixels[3]) * [1e4, -1e4]
    np.testing.assert_allclose(found, np.stack([x, scale * y], 1), atol=1)


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
