"""Which grid fits the place of a product, and what a user types to bring it there."""

import math
import shlex
from collections.abc import Mapping
from pathlib import Path

from reben.data.places import ground_size, utm_at
from reben.errors import ConfigError, GridError
from reben.scene.band_names import CLASSIFICATION, native_metres
from reben.scene.band_source import import_rasterio
from reben.scene.grid import GRID_MULTIPLE
from reben.scene.sources import BandSource, Placement

_CORNER_METRES = 10 * GRID_MULTIPLE
COARSE, _COARSEST = 1.25, 2.5
"""How many times as wide as a band's own pixels those of a source may be on the ground: from the
first on it is said, behind the second nothing is made of them."""
Edges = tuple[float, float, float, float]


def utm_edges(sources: Mapping[str, BandSource]) -> tuple[str, Edges]:
    """Return the UTM zone of the place of bands, and edges around them there.

    Returns:
        The reference system, such as ``EPSG:32635``; left, bottom, right and top, in multiples of
        60 m.

    Raises:
        GridError: If their place is not known, or nowhere on the ground, or bands do not cover the
            same area.
    """
    zone, found = "", dict[str, Edges]()
    for source in sources.values():
        rows = source.placement.height, source.placement.width
        zone = zone or f"EPSG:{_zone_of(source)}"
        edges = _edges(source, zone)
        first, others = next(iter(found.items()), (source.name, edges))
        coarsest = max((edges[2] - edges[0]) / rows[1], (edges[3] - edges[1]) / rows[0])
        if max(abs(a - b) for a, b in zip(edges, others, strict=True)) > 2 * coarsest + 60:
            raise GridError(
                f"{source.name} and {first} do not cover the same area. All bands of a scene must; "
                "one of them is cut off or belongs to another scene."
            )
        found[source.name] = edges
    left, bottom, right, top = (list(values) for values in zip(*found.values(), strict=True))
    return zone, (
        math.floor(max(left) / _CORNER_METRES) * _CORNER_METRES,
        math.floor(max(bottom) / _CORNER_METRES) * _CORNER_METRES,
        math.ceil(min(right) / _CORNER_METRES) * _CORNER_METRES,
        math.ceil(min(top) / _CORNER_METRES) * _CORNER_METRES,
    )


def warp_advice(sources: Mapping[str, BandSource]) -> str:
    """Return sentences on how bands come to a grid that can be used, with commands that do it."""
    try:
        zone, edges = utm_edges(sources)
        for band, source in sources.items():
            if max(require_fine(band, source)) > 1.5 * native_metres(band):
                return _load_advice(band)
    except GridError as error:
        return str(error)
    except ConfigError:
        return "Warp every band to one grid of the UTM zone of its place first, with gdalwarp."
    said = f"Pass --reproject (reproject=True), and it is warped to {zone} while it is read"
    files = {band: source.path for band, source in sources.items()}
    if not all(files.values()):
        return f"{said}; or warp it first: array.rio.reproject({zone!r}, resolution=10)."
    return f"{said}; or warp it first: {' '.join(_commands(files, zone, edges))}"


def require_fine(band: str, source: BandSource) -> tuple[float, float]:
    """Return width and height of a pixel on the ground, in metres, in the middle of a source.

    Raises:
        GridError: If that is much more than the band has.
    """
    left, bottom, right, top = _bounds(source.placement)
    middle, metres = ((left + right) / 2, (bottom + top) / 2), native_metres(band)
    a, b, _, d, e, _ = source.placement.transform
    half = 50 * math.hypot(a, d), 50 * math.hypot(b, e)  # enough pixels to be measured
    sides = ground_size(
        source.placement.crs,
        middle[0] - half[0],
        middle[1] - half[1],
        middle[0] + half[0],
        middle[1] + half[1],
    )
    across, down = (side / 100 for side in sides)
    if not max(across, down) <= _COARSEST * metres:
        raise GridError(
            f"{source.name} has pixels of {across:.4g} x {down:.4g} m on the ground; {band} is "
            f"used at {metres} m, and what is not in the image cannot be made. {_load_advice(band)}"
        )
    return across, down


def _load_advice(band: str) -> str:
    metres = native_metres(band)
    return (
        f"Load {band} at {metres} m, as level-2A products have it (R{metres}m of ESA, "
        f"resolution={metres} in stackstac and odc-stac), or leave it out and use a model that "
        "does without."
    )


def _commands(files: Mapping[str, str], zone: str, edges: Edges) -> list[str]:
    if len(set(files.values())) == 1 and len(files) > 1:
        path = Path(next(iter(files.values())))
        names = shlex.join([str(path), f"{path.with_suffix('')}_utm.tif"])
        kind = "near" if CLASSIFICATION in files else "bilinear"
        return [f"gdalwarp -t_srs {zone} -tr 10 10 -tap -r {kind} {names}"]
    folder = Path(next(iter(files.values()))).parent
    out = shlex.quote(f"{folder}_utm")
    corners = " ".join(f"{value:.0f}" for value in edges)
    commands = [f"mkdir -p {out};"]
    by_kind: dict[tuple[int, str], list[str]] = {}
    for band, file in files.items():
        kind = "near" if band == CLASSIFICATION else "bilinear"
        by_kind.setdefault((native_metres(band), kind), []).append(file)
    for (metres, kind), paths in by_kind.items():
        commands.append(
            f"for F in {shlex.join(paths)}; do gdalwarp -t_srs {zone} -te {corners} -tr {metres} "
            f'{metres} -r {kind} "$F" {out}/"$(basename "${{F%.*}}")".tif; done;'
        )
    return commands


def _zone_of(source: BandSource) -> int:
    left, bottom, right, top = _bounds(source.placement)
    try:
        return utm_at(source.placement.crs, (left + right) / 2, (bottom + top) / 2)
    except ValueError as error:
        raise GridError(
            f"{source.name} lies at {left:g}, {top:g}, which is nowhere on the ground: {error}"
        ) from None


def _edges(source: BandSource, zone: str) -> Edges:
    from rasterio.warp import transform_bounds

    edges: Edges = transform_bounds(source.placement.crs, zone, *_bounds(source.placement))
    if not all(map(math.isfinite, edges)):
        raise GridError(f"{source.name} reaches beyond where {zone} has coordinates.")
    return edges


def _bounds(placement: Placement) -> Edges:
    transform = import_rasterio().Affine(*placement.transform)
    columns, rows = (0, placement.width), (0, placement.height)
    x, y = zip(*(transform @ (column, row) for column in columns for row in rows), strict=True)
    return min(x), min(y), max(x), max(y)
