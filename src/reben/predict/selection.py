"""Which windows of a scene are predicted: all, or those that an area of interest touches."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from reben.data.places import to_degrees
from reben.data.vector.areas import Area
from reben.data.vector.features import shapely
from reben.errors import AreaError
from reben.predict.windows import Axis, Plan
from reben.scene.grid import Grid
from reben.spec.patches import PATCH_PIXELS

_TOUCH_METRES = 0.01
"""What only shares an edge does not count, nor what rounding moves across one."""


@dataclass(frozen=True, eq=False)
class Selection:
    """The part of a scene that is predicted.

    Args:
        plan: Windows and cells of the rectangle of the scene that holds them.
        place: Top, left, height and width of the rectangle, in pixels of the scene.
        is_wanted: Which windows of ``plan`` are predicted, bool [rows, columns].
        num_outside: How many windows of the scene are not, as they lie outside the area.
        about: What outputs say of it.
    """

    plan: Plan
    place: tuple[int, int, int, int]
    is_wanted: NDArray[np.bool_]
    num_outside: int = 0
    about: Mapping[str, str] = field(default_factory=dict)


def select(
    name: str, grid: Grid, stride: int, area: Area | None, cut: tuple[int, int] = (0, 0)
) -> Selection:
    """Return what is predicted of a scene.

    Args:
        name: What the scene is called in messages.
        grid: Its grid.
        stride: Metres from one window to the next.
        area: The area of interest; None for the whole scene.
        cut: Columns and rows of the product beyond the right and lower edge of the grid.

    Raises:
        AreaError: If the area touches no window.
    """
    whole = Plan.of(grid, stride)
    columns = grid.width - whole.columns.length
    rows = grid.height - whole.rows.length
    about = {}
    if columns or rows:
        about["left_out"] = (
            f"{columns + cut[0]} columns at the right, {rows + cut[1]} rows at the lower edge: "
            "less than half a cell"
        )
    size = whole.rows.length, whole.columns.length
    wanted = np.ones((whole.rows.num_windows, whole.columns.num_windows), np.bool_)
    if area is None:
        return Selection(whole, (0, 0, *size), wanted, about=about)
    tops, lefts = (
        np.array([axis.start(window) for window in range(axis.num_windows)])
        for axis in (whole.rows, whole.columns)
    )
    wanted = touches(area, grid, tops[:, None], lefts[None, :])
    if not wanted.any():
        raise AreaError(_elsewhere(area, name, grid))
    top, first_row, height, wanted_rows = _hull(whole.rows, np.any(wanted, axis=1))
    left, first_column, width, wanted_columns = _hull(whole.columns, np.any(wanted, axis=0))
    axes = replace(whole.rows, length=height), replace(whole.columns, length=width)
    return Selection(
        Plan(*axes, (first_row, first_column)),
        (top, left, height, width),
        wanted[wanted_rows, wanted_columns],
        int((~wanted).sum()),
        {**about, **describe_area(area)},
    )


def touches(
    area: Area, grid: Grid, tops: NDArray[np.int64], lefts: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Return which windows an area touches.

    Args:
        area: The area.
        grid: The grid that the windows lie on.
        tops: Their first rows of pixels.
        lefts: Their first columns, of a shape that fits; that of both together is returned.
    """
    module = shapely()
    shape = area.in_crs(grid.crs)
    across, down = grid.pixel
    left, top = grid.left + across * lefts, grid.top - down * tops
    right, bottom = left + across * PATCH_PIXELS, top - down * PATCH_PIXELS
    inner = _TOUCH_METRES
    module.prepare(shape)
    boxes = module.box(left + inner, bottom + inner, right - inner, top - inner)
    found: NDArray[np.bool_] = module.intersects(shape, boxes)
    return found


def describe_area(area: Area) -> dict[str, str]:
    """Return what outputs say of an area."""
    return {
        "area": area.name,
        "area_bounds": ",".join(f"{number:.6g}" for number in area.bounds_degrees),
        "area_sha256": area.digest,
    }


def _hull(axis: Axis, is_wanted: NDArray[np.bool_]) -> tuple[int, int, int, slice]:
    """Return first pixel, first window, number of pixels, and windows that hold the wanted ones.

    It begins with a cell of the whole axis, so that cells and windows stay where they are.
    """
    numbers = np.flatnonzero(is_wanted)
    first = min(int(numbers[0]), axis.num_regular - 1)
    last = int(numbers[-1])
    start = first * axis.stride
    return start, first, axis.start(last) + PATCH_PIXELS - start, slice(first, last + 1)


def _elsewhere(area: Area, name: str, grid: Grid) -> str:
    module = shapely()
    left, bottom, right, top = grid.bounds
    x, y = to_degrees(grid.crs, [left, left, right, right], [bottom, top, bottom, top])
    place = module.box(x.min(), y.min(), x.max(), y.max())
    swapped = module.transform(area.geometry, lambda points: points[:, ::-1])
    west, south, east, north = area.bounds_degrees
    hint = ""
    if swapped.intersects(place):
        hint = " Longitude and latitude seem to be swapped: longitude comes first."
    return (
        f"The area {area.name} touches no window of {name}: it reaches from {west:.4f} to "
        f"{east:.4f} in longitude and from {south:.4f} to {north:.4f} in latitude; the scene from "
        f"{x.min():.4f} to {x.max():.4f} and from {y.min():.4f} to {y.max():.4f}. Choose another "
        f"area, or a scene of that place.{hint}"
    )
