"""The map that shows where a patch lies: Europe's outlines, drawn here, from no server.

The projection is Lambert's azimuthal equal-area one about 52° N, 10° E, on a sphere.

Where a patch lies on the ground: metres of a UTM zone, longitude and latitude.
"""

import json
import math
from functools import cache
from html import escape
from importlib.resources import files

from reben.errors import PatchNameError
from reben.spec.patches import PATCH_METRES, Bounds, Sentinel1Patch, Sentinel2Patch, tile_corner

_FLATTENING = 1 / 298.257223563
_SEMI_MAJOR = 6_378_137.0
_SCALE = 0.9996
_FALSE_EASTING, _FALSE_NORTHING = 500_000.0, 10_000_000.0


def centre_of(place: Bounds) -> tuple[float, float]:
    """Return longitude and latitude of the middle of ``place``, in degrees."""
    middle = (place.left + place.right) / 2, (place.bottom + place.top) / 2
    return degrees_of_utm(place.epsg, *middle)


def distance_between(one: Bounds, other: Bounds) -> float:
    """Return metres between two middles, on a sphere; exact enough to tell places apart."""
    (x1, y1), (x2, y2) = centre_of(one), centre_of(other)
    height, width = math.radians(y2 - y1), math.radians(x2 - x1)
    width *= math.cos(math.radians((y1 + y2) / 2))
    return 6_371_000 * math.hypot(height, width)


def place_of_name(name: str) -> Bounds | None:
    """Return where the patch called ``name`` lies, or None where the name does not say.

    A patch name holds the tile of the Sentinel-2 grid and its place in that tile.
    """
    for kind in (Sentinel2Patch, Sentinel1Patch):
        try:
            patch = kind.parse(name)
            epsg, west, north = tile_corner(patch.tile)
        except PatchNameError:
            continue
        left, top = west + patch.column * PATCH_METRES, north - patch.row * PATCH_METRES
        return Bounds(epsg, left, top - PATCH_METRES, left + PATCH_METRES, top)
    return None


def degrees_of_utm(epsg: int, easting: float, northing: float) -> tuple[float, float]:
    """Return longitude and latitude in degrees of a point in a UTM zone on WGS 84.

    Right to a millimetre inside the zone.

    Source: Krüger's series to the fourth order, as in Karney, "Transverse Mercator with an
    accuracy of a few nanometers", J. Geodesy 85 (2011), equation 36.

    Example:
        >>> degrees_of_utm(32633, 500_000, 0)
        (15.0, 0.0)
    """
    n = _FLATTENING / (2 - _FLATTENING)
    rectifying = _SEMI_MAJOR / (1 + n) * (1 + n**2 / 4 + n**4 / 64)
    beta = (
        n / 2 - 2 * n**2 / 3 + 37 * n**3 / 96 - n**4 / 360,
        n**2 / 48 + n**3 / 15 - 437 * n**4 / 1440,
        17 * n**3 / 480 - 37 * n**4 / 840,
        4397 * n**4 / 161_280,
    )
    north = northing - (_FALSE_NORTHING if epsg // 100 == 327 else 0)
    xi = north / (_SCALE * rectifying)
    eta = (easting - _FALSE_EASTING) / (_SCALE * rectifying)
    xi_0 = xi - sum(
        b * math.sin(2 * k * xi) * math.cosh(2 * k * eta) for k, b in enumerate(beta, 1)
    )
    eta_0 = eta - sum(
        b * math.cos(2 * k * xi) * math.sinh(2 * k * eta) for k, b in enumerate(beta, 1)
    )
    conformal = math.sin(xi_0) / math.hypot(math.sinh(eta_0), math.cos(xi_0))
    latitude = _geographic(conformal)
    longitude = math.atan2(math.sinh(eta_0), math.cos(xi_0))
    central = 6 * (epsg % 100) - 183
    east = (central + math.degrees(longitude) + 180) % 360 - 180
    return east, math.degrees(latitude)


def text_of_degrees(longitude: float, latitude: float) -> str:
    """Return a point as people write it.

    Example:
        >>> text_of_degrees(13.52, -48.1)
        '48.1000° S, 13.5200° E'
    """
    north, east = "NS"[latitude < 0], "EW"[longitude < 0]
    return f"{abs(latitude):.4f}° {north}, {abs(longitude):.4f}° {east}"


def describe_place(place: Bounds) -> list[tuple[str, str]]:
    """Return where ``place`` lies, as names and values."""
    corner = f"{place.left:,.0f} m E, {place.top:,.0f} m N, UTM {place.zone}"
    return [("Centre", text_of_degrees(*centre_of(place))), ("Upper left corner", corner)]


def _geographic(conformal: float) -> float:
    """Return the latitude whose conformal latitude has the tangent ``conformal``, by Newton."""
    eccentricity = math.sqrt(_FLATTENING * (2 - _FLATTENING))
    tangent = conformal
    for _ in range(5):
        sine = tangent / math.hypot(1, tangent)
        sigma = math.sinh(eccentricity * math.atanh(eccentricity * sine))
        there = tangent * math.hypot(1, sigma) - sigma * math.hypot(1, tangent)
        slope = (1 - eccentricity**2) * math.hypot(1, tangent) * math.hypot(1, there)
        slope /= 1 + (1 - eccentricity**2) * tangent**2
        tangent += (conformal - there) / slope
    return math.atan(tangent)


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


def draw_locator(place: Bounds, where: str) -> str:
    """Return the map as SVG, with a mark at ``place``.

    Args:
        place: What to mark.
        where: What is there, for those who cannot see the map.
    """
    longitude, latitude = centre_of(place)
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
