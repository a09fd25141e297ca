"""Sentinel-1 on a grid: calibrated, geocoded backscatter beside Sentinel-2, or alone."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reben.errors import ConfigError, GridError, ProductLevelError
from reben.scene.alignment import Alignment, align, is_aligned, measure_ground
from reben.scene.band_source import BandFile
from reben.scene.grid import GRID_METRES, Grid
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
from reben.scene.sources import BandSource
from reben.scene.warping.target import utm_edges
from reben.spec.bands import S1
from reben.support.bounds import MAX_SCENE_SIDE
from reben.support.times import time_in

if TYPE_CHECKING:
    from xarray import Dataset


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
    sources = found.sources
    for source in sources.values():
        refuse_radar_geometry(source)
    if is_aligned(sources):
        return align(sources), "its own: nothing resampled"
    crs, (left, bottom, right, top) = utm_edges(sources)
    width, height = (round(side / GRID_METRES) for side in (right - left, top - bottom))
    if max(width, height) > MAX_SCENE_SIDE:
        raise GridError(
            f"{found.name} covers {width} x {height} pixels of {GRID_METRES} m; a scene has at "
            f"most {MAX_SCENE_SIDE:,} along a side. Cut the place of interest out."
        )
    grid = Grid(crs, left, top, width, height)
    ground = measure_ground(grid, found.name)
    said = f"{crs}, corner a multiple of 60 m: warped bilinearly in linear power"
    return Alignment(grid, dict.fromkeys(sources, GRID_METRES), (0, 0), ground), said


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
