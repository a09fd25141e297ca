"""Sentinel-1 on a grid: calibrated, geocoded backscatter beside Sentinel-2, or alone."""

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reben.data.places import to_degrees
from reben.errors import ConfigError, GridError, ProductLevelError
from reben.scene.alignment import Alignment, align, measure_ground
from reben.scene.band_source import BandFile
from reben.scene.grid import GRID_METRES, GRID_MULTIPLE, Grid
from reben.scene.radar.backscatter import (
    QUANTITIES,
    UNITS,
    Backscatter,
    Quantity,
    Unit,
    unit_of,
    words_of_names,
)
from reben.scene.radar.found import Found, find_sentinel1
from reben.scene.radar.warped import Sentinel1, WarpedBand
from reben.scene.sources import BandSource, Placement
from reben.spec.bands import S1
from reben.support.bounds import MAX_SCENE_SIDE
from reben.support.times import time_in

if TYPE_CHECKING:
    from xarray import Dataset

_MOST_LATITUDE = 84.5


def open_sentinel1(
    product: "str | Path | Mapping[str, Any] | Dataset",
    grid: Grid,
    unit: Unit | None = None,
    quantity: Quantity | None = None,
) -> tuple[Sentinel1, dict[str, str]]:
    """Return VV and VH on the grid of a scene, and facts about them for provenance.

    What differs from the training data is logged once.

    Args:
        product: As for `reben.scene.radar.found.find_sentinel1`.
        grid: The grid of the scene.
        unit: "db" or "linear", if the product does not state it.
        quantity: "sigma0", "gamma0" or "beta0", if the product does not state it.
    """
    check_given(unit, quantity)
    found = find_sentinel1(product, (quantity, unit))
    backscatter, about = put_on_grid(found, grid, unit, quantity)
    return backscatter, {"sentinel1": found.name, **about}


def check_given(unit: str | None, quantity: str | None) -> None:
    """Raise a ConfigError for a unit or a quantity that does not exist."""
    if unit is not None and unit not in UNITS:
        raise ConfigError(f"sentinel1_unit must be one of {', '.join(UNITS)}, not {unit!r}.")
    if quantity is not None and quantity not in QUANTITIES:
        raise ConfigError(
            f"sentinel1_quantity must be one of {', '.join(QUANTITIES)}, not {quantity!r}."
        )


def put_on_grid(
    found: Found, grid: Grid, unit: Unit | None, quantity: Quantity | None
) -> tuple[Sentinel1, dict[str, str]]:
    """Return a product on a grid, as `open_sentinel1` does; its files are closed on an error."""
    name, sources = found.name, found.sources
    try:
        named = words_of_names(found.names)
        warped, words = {}, dict(named)
        for band in S1:
            refuse_radar_geometry(sources[band])
            told = {**found.words.get(band, {}), **sources[band].words}
            words |= told
            band_unit = unit_of(sources[band].name, told, unit, named)
            warped[band] = WarpedBand(sources[band], grid, band_unit, band)
        known = Backscatter.of(name, words, quantity, warped["VV"].pixel_metres)
        known = replace(known, sensed=time_in((*found.times, *found.names)))
    except BaseException:
        for source in sources.values():
            source.close()
        raise
    known.log(name, warped["VH"].typical_db)
    units = sorted({band.unit for band in warped.values()})
    return Sentinel1(warped, known), {"sentinel1_unit": " and ".join(units)}


def own_grid(found: Found) -> tuple[Alignment, str]:
    """Return the grid of a product without Sentinel-2, and what it is, for provenance.

    Where both bands lie on one north-up grid of 10 m that is true to scale, it is that grid;
    else one of the UTM zone of its middle, around it, on multiples of 60 m.
    """
    for source in found.sources.values():
        refuse_radar_geometry(source)
    placements = {band: (source.name, source.placement) for band, source in found.sources.items()}
    try:
        return align(placements), "its own: nothing resampled"
    except GridError:
        name, placement = placements["VV"]
        grid = _utm_grid(name, placement)
    ground = measure_ground(grid, name)
    metres = dict.fromkeys(placements, GRID_METRES)
    said = f"{grid.crs}, multiples of 60 m: warped bilinearly in linear power"
    return Alignment(grid, metres, (0, 0), ground), said


def _utm_grid(name: str, placement: Placement) -> Grid:
    from rasterio.errors import CRSError
    from rasterio.warp import transform_bounds

    a, b, left, d, e, top = placement.transform
    corners = [
        (left + a * column + b * row, top + d * column + e * row)
        for column in (0, placement.width)
        for row in (0, placement.height)
    ]
    xs, ys = zip(*corners, strict=True)
    longitude, latitude = to_degrees(placement.crs, sum(xs) / 4, sum(ys) / 4)
    is_somewhere = math.isfinite(longitude) and abs(latitude) <= _MOST_LATITUDE
    if not is_somewhere:
        raise GridError(
            f"{name} lies at {left:g}, {top:g} in {placement.crs[:40]}, where no UTM zone is. Warp "
            "it to a reference system of metres first."
        )
    zone = int((float(longitude) + 180) % 360 // 6) + 1
    crs = f"EPSG:{(32600 if latitude >= 0 else 32700) + zone}"
    step = GRID_METRES * GRID_MULTIPLE
    try:
        bounds = transform_bounds(placement.crs, crs, min(xs), min(ys), max(xs), max(ys))
    except CRSError as error:
        raise GridError(f"{name} cannot be warped to {crs}: {error}.") from None
    if not all(map(math.isfinite, bounds)):
        raise GridError(f"{name} is larger than {crs} reaches. Cut the place of interest out.")
    west, south = (math.floor(edge / step) * step for edge in bounds[:2])
    east, north = (math.ceil(edge / step) * step for edge in bounds[2:])
    width, height = (east - west) // GRID_METRES, (north - south) // GRID_METRES
    if max(width, height) > MAX_SCENE_SIDE:
        raise GridError(
            f"{name} covers {width} x {height} pixels of {GRID_METRES} m; a scene has at most "
            f"{MAX_SCENE_SIDE:,} along a side. Cut the place of interest out."
        )
    return Grid(crs, west, north, width, height)


def refuse_radar_geometry(source: BandSource) -> None:
    """Raise a ProductLevelError for a band without a place on a map."""
    if not source.placement.crs:
        reason = "no reference system"
        if isinstance(source, BandFile) and source.is_tied_by_points:
            reason = "control points instead of a map grid: it is in radar geometry"
        raise ProductLevelError(
            f"{source.name} has {reason}. Calibrate and terrain-correct it first, or use an RTC "
            "product of the same pass."
        )
