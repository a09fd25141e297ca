"""Where the pixels of an xarray lie: its reference system, and what its coordinates are.

Coordinates are pixel centres (rioxarray, odc-stac, openEO, EOPF) or upper left corners (stackstac,
by default), and nothing about the coordinates alone tells which. A transform among the attributes
does: it gives the lines between pixels, so a coordinate on a line is a corner. It may be that of a
larger image of which the array is a part: what counts is where its lines run, not where it begins.

Source: attributes ``transform`` and ``spec`` of stackstac, ``GeoTransform`` of the coordinate
``spatial_ref`` that GDAL, rioxarray and odc-stac write, ``proj:transform`` of EOPF's arrays.
"""

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from reben.data.values import AXES
from reben.errors import GridError, cut
from reben.scene.sources import Transform

if TYPE_CHECKING:
    from xarray import DataArray, Dataset

_WKT_KEYS = ("crs_wkt", "spatial_ref")
_CODE_KEYS = ("epsg", "proj:epsg", "proj:code", "proj:wkt2")
_INIT = re.compile(r"(?:\+?init=)?epsg:(\d+)", re.IGNORECASE)
_NUMBER = re.compile(r"[-+]?\d+\.?\d*(?:e[-+]?\d+)?", re.IGNORECASE)
_TOLERANCE = 0.01  # of a pixel


def axes_of(array: "DataArray", name: str) -> tuple[str, str]:
    """Return what the rows and columns of an array are called."""
    for rows, columns in AXES:
        if rows in array.dims and columns in array.dims:
            return rows, columns
    raise GridError(
        f"{name} has dimensions {', '.join(map(str, array.dims))}; rows and columns should be "
        "called y and x."
    )


def crs_of(item: "Dataset | DataArray") -> str:
    """Return the reference system that an array or dataset names, as text; "" if it names none.

    What its grid mapping says comes first: other coordinates are left as they were when an array
    is reprojected.
    """
    variables: Any = getattr(item, "data_vars", {})
    every = [*item.coords.values(), *variables.values()]
    scalars = [variable for variable in every if variable.size == 1]
    # A mask of the whole Dataset (dataset.where) gives a grid mapping the size of the others.
    for variable in (*scalars, *every):
        for key in _WKT_KEYS:
            if isinstance(variable.attrs.get(key), str):
                return str(variable.attrs[key])
    named = {str(variable.name): variable for variable in scalars}
    for key in ("spatial_ref", *_CODE_KEYS):
        text = _text(named[key].item()) if key in named else ""
        if text:
            return text
    return next((text for key in ("crs", *_CODE_KEYS) if (text := _text(item.attrs.get(key)))), "")


def north_up(array: "DataArray") -> "DataArray":
    """Return an array [rows, columns] whose rows go from north to south, not copied."""
    rows, columns = map(str, array.dims)
    for axis, sign in ((columns, 1), (rows, -1)):
        if axis in array.coords and array.sizes[axis] > 1:
            ends = np.asarray(array.coords[axis][[0, -1]])
            if ends.dtype.kind in "fiu" and (float(ends[1]) - float(ends[0])) * sign < 0:
                array = array.isel({axis: slice(None, None, -1)})
    return array


def transform_of(array: "DataArray", name: str) -> Transform:
    """Return the transform of an array [rows, columns] that is north up."""
    rows, columns = map(str, array.dims)
    (x, width), (y, height) = (_first_and_step(array, name, axis) for axis in (columns, rows))
    height = -height
    corners = _are_corners(array, name, (x, y), (width, height))
    left, top = (x, y) if corners else (x - width / 2, y + height / 2)
    return (round(width, 6), 0.0, round(left, 4), 0.0, round(-height, 6), round(top, 4))


def _text(value: object) -> str:
    """Return a reference system as rasterio reads it; "" for no value, or 0, as of spatial_ref."""
    text = str(value).strip() if value is not None and not isinstance(value, bool) else ""
    match = _INIT.fullmatch(text)
    if match:
        return f"EPSG:{match[1]}"
    if text.isdecimal():
        return f"EPSG:{text}" if int(text) else ""
    return "" if text in ("nan", "None") else text


def _first_and_step(array: "DataArray", name: str, axis: str) -> tuple[float, float]:
    if axis not in array.coords or array.sizes[axis] < 2:
        raise GridError(
            f"{name} has fewer than two coordinates along {axis}, so its location is unknown. "
            "Add the pixel centres in metres."
        )
    found = np.asarray(array.coords[axis])
    values = found.astype(np.float64) if found.dtype.kind in "fiu" else np.full(2, np.nan)
    step = (values[-1] - values[0]) / (len(values) - 1)
    even = values[0] + step * np.arange(len(values))
    if not (step and np.abs(values - even).max() <= abs(step) / 100):
        raise GridError(
            f"The coordinates of {name} along {axis} are not evenly spaced, so its pixels do "
            "not form a regular grid. Resample them to one first, such as with dataset.interp."
        )
    return float(values[0]), float(step)


def _are_corners(
    array: "DataArray", name: str, first: tuple[float, float], size: tuple[float, float]
) -> bool:
    """Tell whether coordinates are upper left corners; a GridError if that is not clear.

    Args:
        array: The array.
        name: Its name in error messages.
        first: Its first coordinates, x and y.
        size: Width and height of its pixels.
    """
    (x, y), (width, height) = first, size
    answers = set()
    for stated in _stated_transforms(array):
        a, b, c, d, e, f = stated
        same = abs(abs(a) / width - 1) < 1e-3 and abs(abs(e) / height - 1) < 1e-3
        phases = ((x - c) / width % 1, (f - y) / height % 1)
        if same and not b and not d and all(abs(phase - 0.5) < _TOLERANCE for phase in phases):
            answers.add(False)
        elif same and not b and not d and all(_is_whole(phase) for phase in phases):
            answers.add(True)
        else:
            answers |= {True, False}
            break
    if len(answers) > 1:
        raise GridError(
            f"The transform that the attributes of {name} name, {tuple(stated)}, does not fit its "
            f"coordinates, which begin at {x:g}, {y:g} and are {width:g} and {height:g} apart. If "
            "the coordinates are pixel centres, write the transform anew: "
            "array.rio.write_transform(); and remove the attribute 'transform'."
        )
    if answers:
        return answers.pop()
    if width >= 1 and _is_whole(x / width) and _is_whole(y / height):
        raise GridError(
            f"The coordinates of {name} are multiples of its pixels of {width:g} m, as upper left "
            "corners of pixels are (stackstac's default), and nothing says so: taken for centres "
            f"they would shift it by {width / 2:g} m. If they are corners, make them centres: "
            f"array.assign_coords(x=array.x + {width / 2:g}, y=array.y - {height / 2:g}), or "
            "stackstac.stack(..., xy_coords='center'). If they are centres, say so: "
            "array.rio.write_transform()."
        )
    return False


def _is_whole(value: float) -> bool:
    return abs(value - round(value)) < _TOLERANCE


def _stated_transforms(array: "DataArray") -> Iterator[Transform]:
    """Yield the transforms that attributes name, in the order of rasterio."""
    attributes = array.attrs
    spec = getattr(attributes.get("spec"), "transform", None)
    for stated in (attributes.get("transform"), spec, attributes.get("proj:transform")):
        numbers = _numbers(stated)
        if numbers:
            a, b, c, d, e, f = numbers
            yield (a, b, c, d, e, f)
    for coordinate in array.coords.values():
        numbers = _numbers(coordinate.attrs.get("GeoTransform")) if coordinate.size == 1 else []
        if numbers:
            c, a, b, f, d, e = numbers
            yield (a, b, c, d, e, f)


def _numbers(stated: object) -> list[float]:
    """Return the six numbers of a transform; none if there is no transform."""
    if isinstance(stated, str):
        stated = _NUMBER.findall(cut(stated, 1000))
    try:
        numbers = [float(number) for number in stated]  # type: ignore[attr-defined]
    except (TypeError, ValueError, OverflowError):
        return []
    has_last_row = len(numbers) == 9 and numbers[6:] == [0, 0, 1]
    return numbers[:6] if has_last_row or len(numbers) == 6 else []
