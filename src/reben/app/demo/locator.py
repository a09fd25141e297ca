"""The map that shows where a patch lies: Europe's outlines, drawn here, from no server.

The projection is Lambert's azimuthal equal-area one about 52° N, 10° E, on a sphere.
"""

import json
import math
from functools import cache
from html import escape
from importlib.resources import files

from reben.app.demo.places import Place, text_of_degrees

_CENTRE = (10.0, 52.0)
_LEFT, _RIGHT, _BOTTOM, _TOP = -2250.0, 2050.0, -1750.0, 2250.0
"""What is shown, in kilometres from the middle of the projection."""
_WIDTH = 430
_HEIGHT = 400
_MERIDIANS = range(-30, 51, 10)
_PARALLELS = range(30, 81, 10)


def project(longitude: float, latitude: float) -> tuple[float, float]:
    """Return where a point lies in the drawing: pixels from the left and from the top."""
    east, north = math.radians(longitude - _CENTRE[0]), math.radians(latitude)
    middle = math.radians(_CENTRE[1])
    cosine = math.sin(middle) * math.sin(north)
    cosine += math.cos(middle) * math.cos(north) * math.cos(east)
    scale = 6371 * math.sqrt(2 / (1 + max(cosine, -0.999)))
    x_km = scale * math.cos(north) * math.sin(east)
    y_km = scale * math.cos(middle) * math.sin(north)
    y_km -= scale * math.sin(middle) * math.cos(north) * math.cos(east)
    return (
        (x_km - _LEFT) / (_RIGHT - _LEFT) * _WIDTH,
        (_TOP - y_km) / (_TOP - _BOTTOM) * _HEIGHT,
    )


def draw_locator(place: Place, where: str) -> str:
    """Return the map as SVG, with a mark at ``place``.

    Args:
        place: What to mark.
        where: What is there, for those who cannot see the map.
    """
    longitude, latitude = place.centre
    x, y = project(longitude, latitude)
    inside = 0 <= x <= _WIDTH and 0 <= y <= _HEIGHT
    text = f"Map of Europe. {where} at {text_of_degrees(longitude, latitude)}."
    if not inside:
        text += " That is outside this map."
    mark = (
        f'<g class="here"><circle class="halo" cx="{x:.1f}" cy="{y:.1f}" r="15"/>'
        f'<circle class="dot" cx="{x:.1f}" cy="{y:.1f}" r="5.5"/></g>'
    )
    return (
        f'<svg class="locator" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" '
        f'aria-label="{escape(text)}">{_outlines()}{mark if inside else ""}</svg>'
    )


@cache
def outlines() -> tuple[str, dict[str, list[list[tuple[float, float]]]]]:
    """Return where the outlines are from, and country -> rings of (longitude, latitude).

    Land that is in none of the ten countries of the data set is under the name ``""``.
    """
    text = files("reben.app.demo").joinpath("europe.json").read_text(encoding="utf-8")
    content = json.loads(text)
    shapes = {name: [_unpack(r) for r in rings] for name, rings in content["countries"].items()}
    shapes[""] = [_unpack(ring) for ring in content["land"]]
    return content["source"], shapes


def _unpack(packed: list[int]) -> list[tuple[float, float]]:
    points, x, y = [], 0, 0
    for step_x, step_y in zip(packed[::2], packed[1::2], strict=True):
        x, y = x + step_x, y + step_y
        points.append((x / 100, y / 100))
    return points


@cache
def _outlines() -> str:
    shapes = outlines()[1]
    parts = [f'<rect class="sea" width="{_WIDTH}" height="{_HEIGHT}"/>']
    parts.append(f'<path class="land" d="{_closed(shapes[""])}"/>')
    for name, rings in shapes.items():
        if name:
            parts.append(f'<path class="country" d="{_closed(rings)}"/>')
    lines = [[(float(m), p / 2) for p in range(56, 161)] for m in _MERIDIANS]
    lines += [[(m / 2, float(p)) for m in range(-80, 121)] for p in _PARALLELS]
    path = "".join(_path(line) for line in lines)
    parts.append(f'<path class="graticule" d="{path}"/>')
    return "".join(parts)


def _closed(rings: list[list[tuple[float, float]]]) -> str:
    return "".join(f"{_path(ring)}Z" for ring in rings)


def _path(points: list[tuple[float, float]]) -> str:
    pixels = [project(*point) for point in points]
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in pixels)
