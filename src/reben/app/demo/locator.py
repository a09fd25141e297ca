"""Where a patch or a cell lies: in degrees, in words, and on a map of Europe.

The map comes with reben, so no server is asked; ``scripts/europe_outlines.py`` drew it. Its
projection is Lambert's azimuthal equal-area one about 52° N, 10° E, on a sphere.
"""

from functools import cache
from html import escape
from importlib.resources import files
from typing import Any

from reben.data.places import to_degrees
from reben.spec.patches import Bounds
from reben.support.extras import optional

_LEFT, _RIGHT, _BOTTOM, _TOP = -2.25e6, 2.05e6, -1.75e6, 2.25e6
"""What is shown, in metres from the middle of the projection."""
WIDTH, HEIGHT = 430, 400
"""Of the map, in pixels."""


def centre_of(place: Bounds) -> tuple[float, float]:
    """Return longitude and latitude of the middle of ``place``, in degrees."""
    middle = (place.left + place.right) / 2, (place.bottom + place.top) / 2
    longitude, latitude = to_degrees(place.epsg, *middle)
    return float(longitude), float(latitude)


def describe_degrees(longitude: float, latitude: float) -> str:
    """Return a point as people write it.

    Example:
        >>> describe_degrees(13.52, -48.1)
        '48.1000° S, 13.5200° E'
    """
    north, east = "NS"[latitude < 0], "EW"[longitude < 0]
    return f"{abs(latitude):.4f}° {north}, {abs(longitude):.4f}° {east}"


def describe_place(place: Bounds) -> list[tuple[str, str]]:
    """Return where ``place`` lies, as names and values."""
    corner = f"{place.left:,.0f} m E, {place.top:,.0f} m N, UTM {place.zone}"
    return [("Centre", describe_degrees(*centre_of(place))), ("Upper left corner", corner)]


def project(longitude: float, latitude: float) -> tuple[float, float]:
    """Return where a point lies on the map: pixels from the left and from the top."""
    x, y = _projection()(longitude, latitude)
    return (x - _LEFT) / (_RIGHT - _LEFT) * WIDTH, (_TOP - y) / (_TOP - _BOTTOM) * HEIGHT


def draw_locator(place: Bounds, where: str) -> str:
    """Return the map as SVG, with a mark at ``place``.

    Args:
        place: What to mark.
        where: What is there, for those who cannot see the map.
    """
    longitude, latitude = centre_of(place)
    x, y = project(longitude, latitude)
    text = f"Map of Europe. {where} at {describe_degrees(longitude, latitude)}."
    mark = (
        f'<g class="here"><circle class="halo" cx="{x:.1f}" cy="{y:.1f}" r="15"/>'
        f'<circle class="dot" cx="{x:.1f}" cy="{y:.1f}" r="5.5"/></g>'
    )
    if not (0 <= x <= WIDTH and 0 <= y <= HEIGHT):
        text, mark = f"{text} That is outside this map.", ""
    return (
        f'<svg class="locator" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="{escape(text)}">{_europe()}{mark}</svg>'
    )


def _pyproj() -> Any:  # noqa: ANN401 - a module
    return optional("pyproj", "demo", "Showing where a patch lies")


@cache
def _projection() -> Any:  # noqa: ANN401 - pyproj is optional
    return _pyproj().Proj(proj="laea", lat_0=52, lon_0=10, R=6_371_000)


@cache
def _europe() -> str:
    return files("reben.app.demo").joinpath("europe.svg").read_text(encoding="utf-8")
