#!/usr/bin/env python3
"""Draw the map of Europe that the demo page marks places on.

    python scripts/europe_outlines.py countries-50m.json src/reben/app/demo/europe.svg

Input: countries-50m.json of the npm package world-atlas 2.0.2, which is Natural Earth 4.1, 1:50m,
as TopoJSON. Natural Earth is in the public domain. Needs shapely and reben.
"""

import json
import sys
from pathlib import Path

from shapely import LineString, MultiPolygon, Polygon, box, make_valid

from reben.app.demo.locator import HEIGHT, WIDTH, project

Ring = list[tuple[float, float]]
"""Longitudes and latitudes."""
WINDOW = box(-30.0, 30.0, 65.0, 75.0)
TOLERANCE = 0.035  # degrees: less than a pixel of the map that is drawn
SMALLEST = 0.02  # square degrees; smaller islands are left out, smaller countries are not
COUNTRIES = (
    "Austria", "Belgium", "Finland", "Ireland", "Kosovo", "Lithuania", "Luxembourg", "Portugal",
    "Serbia", "Switzerland",
)  # fmt: skip
SOURCE = (
    "Natural Earth 4.1, Admin 0 countries, 1:50m, public domain; by way of the npm package "
    "world-atlas 2.0.2; cut to Europe and simplified by scripts/europe_outlines.py"
)


def main(source: Path, target: Path) -> None:
    """Read the TopoJSON ``source`` and write ``target``."""
    topology = json.loads(source.read_text(encoding="utf-8"))
    arcs = [_decode(arc, topology["transform"]) for arc in topology["arcs"]]
    # A border is simplified once, for the countries on both of its sides.
    arcs = [list(LineString(arc).simplify(TOLERANCE).coords) for arc in arcs]
    countries: dict[str, list[Ring]] = {name: [] for name in COUNTRIES}
    land: list[Ring] = []
    for geometry in topology["objects"]["countries"]["geometries"]:
        name = geometry["properties"]["name"]
        rings = _rings(geometry, arcs)
        if name in countries:
            countries[name] = rings
        else:
            land.extend(rings)
    missing = [name for name, rings in countries.items() if not rings]
    if missing:
        sys.exit(f"No outline of {', '.join(missing)}.")
    target.write_text(_svg(countries, land), encoding="utf-8")


def _svg(countries: dict[str, list[Ring]], land: list[Ring]) -> str:
    """Return the map: sea, land, the ten countries of the data set, meridians and parallels."""
    lines = [[(float(m), p / 2) for p in range(56, 161)] for m in range(-30, 51, 10)]
    lines += [[(m / 2, float(p)) for m in range(-80, 121)] for p in range(30, 81, 10)]
    parts = [
        f"<metadata>{SOURCE}</metadata>",
        f'<rect class="sea" width="{WIDTH}" height="{HEIGHT}"/>',
        f'<path class="land" d="{_closed(land)}"/>',
        *(
            f'<path class="country" data-name="{name}" d="{_closed(rings)}"/>'
            for name, rings in countries.items()
        ),
        f'<path class="graticule" d="{"".join(map(_path, lines))}"/>',
    ]
    return "\n".join(parts) + "\n"


def _closed(rings: list[Ring]) -> str:
    return "".join(f"{_path(ring)}Z" for ring in rings)


def _path(points: Ring) -> str:
    pixels = [project(*point) for point in points]
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in pixels)


def _decode(arc: list[list[int]], transform: dict[str, list[float]]) -> list[tuple[float, float]]:
    """Return the points of an arc, whose numbers are differences on a grid."""
    (scale_x, scale_y), (left, bottom) = transform["scale"], transform["translate"]
    x = y = 0
    points = []
    for step_x, step_y in arc:
        x, y = x + step_x, y + step_y
        points.append((x * scale_x + left, y * scale_y + bottom))
    return points


def _rings(geometry: dict, arcs: list) -> list[Ring]:
    """Return the outer rings of a country inside the window."""
    if geometry["type"] is None or "arcs" not in geometry:
        return []
    many = geometry["arcs"] if geometry["type"] == "MultiPolygon" else [geometry["arcs"]]
    shapes = []
    for polygon in many:
        points = _joined(polygon[0], arcs)
        if len(points) >= 4:
            inside = make_valid(Polygon(points)).intersection(WINDOW)
            parts = inside.geoms if isinstance(inside, MultiPolygon) else [inside]
            shapes += [part for part in parts if isinstance(part, Polygon) and not part.is_empty]
    shapes.sort(key=lambda shape: -shape.area)
    kept = shapes[:1] + [shape for shape in shapes[1:] if shape.area >= SMALLEST]
    return [[(round(x, 2), round(y, 2)) for x, y in shape.exterior.coords[:-1]] for shape in kept]


def _joined(numbers: list[int], arcs: list) -> list[tuple[float, float]]:
    points: list[tuple[float, float]] = []
    for number in numbers:
        arc = arcs[number] if number >= 0 else arcs[~number][::-1]
        points += arc[1:] if points else arc
    return _unwrapped(points)


def _unwrapped(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return a ring without jumps of 360 degrees where it crosses the antimeridian."""
    turn, last = 0.0, points[0][0] if points else 0.0
    unwrapped = []
    for x, y in points:
        turn += 360 if x - last < -180 else -360 if x - last > 180 else 0
        unwrapped.append((x + turn, y))
        last = x
    return unwrapped


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
