"""One grid for all bands of a scene, or an error that says why there is none."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Self

from reben.data.places import MOST_OFF, ground_size
from reben.errors import GridError, cut
from reben.scene.band_names import native_metres
from reben.scene.band_source import import_rasterio
from reben.scene.grid import GRID_METRES, GRID_MULTIPLE, Grid
from reben.scene.sources import BandSource, Placement
from reben.scene.warping.target import warp_advice
from reben.spec.patches import PATCH_METRES

_TOLERANCE_METRES = 0.01
_DIVISORS = (60, 30, 20, 10)
_MOST_DRIFT_METRES = 1.0
"""How far pixels of two bands may be apart at the far edge of a scene: a tenth of a pixel."""


@dataclass(frozen=True)
class Alignment:
    """The grid of a scene and how each band lies on it.

    Args:
        grid: The grid of 10 m that all bands cover.
        pixel_metres: Band -> side length of a stored pixel, in metres.
        cut: Columns and rows of 10 m that the grid leaves out at the right and lower edge.
        ground_metres: Width and height of a pixel of the grid on the ground, in its middle.
    """

    grid: Grid
    pixel_metres: Mapping[str, int]
    cut: tuple[int, int]
    ground_metres: tuple[float, float]

    def beginning_at(self, row: int, column: int) -> Self:
        """Return the grid without the rows above a row, and the columns before a column."""
        width, height = self.grid.width + self.cut[0] - column, self.grid.height + self.cut[1] - row
        cut = width % GRID_MULTIPLE, height % GRID_MULTIPLE
        left, top = self.grid.point(column, row)
        grid = replace(self.grid, left=left, top=top, width=width - cut[0], height=height - cut[1])
        return replace(self, grid=grid, cut=cut)


class _UnfitGridError(GridError):
    """A grid that cannot be used, but can be warped to one that can."""


def align(sources: Mapping[str, BandSource]) -> Alignment:
    """Return the grid that all bands share; it begins at their corner, wherever that is.

    Raises:
        GridError: If they do not lie on one north-up grid of 10 m that measures the ground.
    """
    try:
        return _align({band: (one.name, one.placement) for band, one in sources.items()})
    except _UnfitGridError as error:
        raise GridError(f"{error} {warp_advice(sources)}") from None


def is_aligned(sources: Mapping[str, BandSource]) -> bool:
    """Tell whether bands share a grid that can be used as it is."""
    try:
        align(sources)
    except GridError:
        return False
    return True


def _align(placements: Mapping[str, tuple[str, Placement]]) -> Alignment:
    crs, corner, first = "", (0.0, 0.0), ""
    pixel_metres: dict[str, int] = {}
    for band, (name, placement) in placements.items():
        band_crs = checked_crs(name, placement.crs)
        pixel_metres[band] = _pixel_metres(band, name, placement)
        here = (placement.transform[2], placement.transform[5])
        if not first:
            crs, corner, first = band_crs, here, name
        _check_same(name, band_crs, here, (first, crs, corner))
    width = _common("width", placements, pixel_metres)
    height = _common("height", placements, pixel_metres)
    pixel = _pixel(placements, pixel_metres)
    left_out = (width % GRID_MULTIPLE, height % GRID_MULTIPLE)
    left, top = (round(value, 2) for value in corner)
    if width < GRID_MULTIPLE or height < GRID_MULTIPLE:
        raise GridError(f"{first} and its other bands share {width} x {height} pixels of 10 m.")
    grid = Grid(crs, left, top, width - left_out[0], height - left_out[1], pixel)
    return Alignment(grid, pixel_metres, left_out, measure_ground(grid, first))


def measure_ground(grid: Grid, name: str) -> tuple[float, float]:
    """Return width and height of a pixel on the ground, in the middle of a grid, in metres.

    Args:
        grid: The grid, in a reference system of metres.
        name: What lies on it, in error messages.

    Raises:
        GridError: If they are more than 1 % from 10 m there, or at a corner.
    """
    left, bottom, right, top = grid.bounds
    half = min(PATCH_METRES, right - left, top - bottom) / 2
    measured = []
    for x in ((left + right) / 2, left + half, right - half):
        for y in ((top + bottom) / 2, bottom + half, top - half):
            sides = ground_size(grid.crs, x - half, y - half, x + half, y + half)
            across, down = (
                metres * pixel / (2 * half) for metres, pixel in zip(sides, grid.pixel, strict=True)
            )
            measured.append((across, down))
            if not all(abs(metres / GRID_METRES - 1) <= MOST_OFF for metres in (across, down)):
                raise _UnfitGridError(
                    f"A pixel of {name} that is called {GRID_METRES} m is {across:.2f} x "
                    f"{down:.2f} m on the ground at {x:.0f}, {y:.0f}: {cut(grid.crs)} does not "
                    "measure the ground there."
                )
    return measured[0]


def checked_crs(name: str, crs: str) -> str:
    """Return a reference system as text, if its unit is the metre."""
    if not crs:
        raise GridError(
            f"{name} has no coordinate reference system, so its location is unknown. Set it, for "
            "example with: rio edit-info --crs EPSG:32633 FILE (of an array: "
            "array.rio.write_crs('EPSG:32633'))"
        )
    rasterio = import_rasterio()
    try:
        with rasterio.Env():
            parsed = rasterio.crs.CRS.from_user_input(crs)
            code = parsed.to_epsg()
    except (rasterio.errors.CRSError, ValueError) as error:
        raise GridError(f"{name} has a reference system that cannot be read: {error}.") from None
    if not parsed.is_projected or abs(parsed.linear_units_factor[1] - 1) > 1e-9:
        unit = parsed.linear_units if parsed.is_projected else "degrees"
        raise _UnfitGridError(
            f"{name} is in {crs}, whose unit is {unit}, not metre: it cannot be cut into windows "
            "of 1200 m."
        )
    return f"EPSG:{code}" if code else str(parsed.to_wkt())


def _pixel_metres(band: str, name: str, placement: Placement) -> int:
    a, b, _, d, e, _ = placement.transform
    if abs(b) > 1e-9 or abs(d) > 1e-9:
        raise _UnfitGridError(f"{name} is rotated: its transform is {placement.transform}.")
    if a <= 0 or e >= 0:
        raise _UnfitGridError(
            f"{name} is not north-up: its pixels are {a:g} x {e:g} m; the second number should be "
            "negative."
        )
    native = native_metres(band)
    for metres in _DIVISORS:
        if not native % metres and all(abs(side / metres - 1) <= MOST_OFF for side in (a, -e)):
            return metres
    raise _UnfitGridError(
        f"{name} has pixels of {a:g} x {-e:g} m; {band} is used at {native} m and can be given "
        f"at {_divisors(native)} m."
    )


def _pixel(
    placements: Mapping[str, tuple[str, Placement]], pixel_metres: Mapping[str, int]
) -> tuple[float, float]:
    """Return width and height of a pixel of 10 m as the first band has it; all must have it."""
    found: dict[str, tuple[float, float]] = {}
    for band, (name, placement) in placements.items():
        parts = pixel_metres[band] // GRID_METRES
        a, _, _, _, e, _ = placement.transform
        size, counts = (a / parts, -e / parts), (placement.width * parts, placement.height * parts)
        if _drift(size, (GRID_METRES, GRID_METRES), counts) < _TOLERANCE_METRES:
            size = (GRID_METRES, GRID_METRES)
        first, pixel = next(iter(found.items()), (name, size))
        drift = _drift(size, pixel, counts)
        if drift > _MOST_DRIFT_METRES:
            raise _UnfitGridError(
                f"{name} has pixels of {a:.10g} x {-e:.10g} m, {parts} of those of {first} would "
                f"be {parts * pixel[0]:.10g} x {parts * pixel[1]:.10g} m: at the far edge they lie "
                f"{drift:.0f} m apart."
            )
        found[name] = size
    return next(iter(found.values()))


def _drift(one: tuple[float, float], other: tuple[float, float], counts: tuple[int, int]) -> float:
    """Return how far so many pixels of two sizes end apart, in metres."""
    return max(abs(a - b) * n for a, b, n in zip(one, other, counts, strict=True))


def _common(
    side: str, placements: Mapping[str, tuple[str, Placement]], pixel_metres: Mapping[str, int]
) -> int:
    sizes = {
        band: int(getattr(placement, side)) * pixel_metres[band] // GRID_METRES
        for band, (_, placement) in placements.items()
    }
    smallest, largest = min(sizes, key=sizes.__getitem__), max(sizes, key=sizes.__getitem__)
    if sizes[largest] - sizes[smallest] >= GRID_MULTIPLE:
        raise GridError(
            f"{placements[smallest][0]} has a {side} of {sizes[smallest] * GRID_METRES} m, "
            f"{placements[largest][0]} one of {sizes[largest] * GRID_METRES} m. All bands of a "
            "scene must cover the same area; one of them is cut off or belongs to another scene."
        )
    return sizes[smallest]


def _divisors(native: int) -> str:
    values = [metres for metres in _DIVISORS if native % metres == 0]
    return " or ".join(map(str, values))


def _check_same(
    name: str, crs: str, corner: tuple[float, float], other: tuple[str, str, tuple[float, float]]
) -> None:
    first, first_crs, first_corner = other
    if crs != first_crs:
        raise _UnfitGridError(
            f"{name} is in {crs}, {first} in {first_crs}. All bands of a scene must have one "
            "reference system."
        )
    apart = max(abs(a - b) for a, b in zip(corner, first_corner, strict=True))
    if apart > _TOLERANCE_METRES:
        raise _UnfitGridError(
            f"The upper-left corner of {name} is at {corner[0]:g}, {corner[1]:g}, that of {first} "
            f"at {first_corner[0]:g}, {first_corner[1]:g}. The bands of a scene must not be "
            "shifted against each other."
        )
