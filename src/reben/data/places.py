"""Where places lie in degrees, how large they are on the ground, and how far apart.

All but UTM zones needs the optional pyproj. A metre of a map is not a metre everywhere: in Web
Mercator at 60 degrees north it is half of one.
"""

import math
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from reben.errors import ConfigError, PatchShapeError, PlaceError
from reben.spec.patches import PATCH_METRES, PATCH_PIXELS, Bounds, are_partners, is_utm
from reben.support.extras import optional

if TYPE_CHECKING:
    from affine import Affine

MOST_OFF = 0.01
"""Largest error of a length on the ground, as a share of it."""
NEAR_METRES = 120.0
"""How far apart the files of one patch may lie, from middle to middle."""


def to_degrees(
    crs: int | str, x: ArrayLike, y: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return longitudes and latitudes of points, in degrees on WGS 84, of the shape of ``x``.

    ``crs`` is an EPSG code or a text that pyproj knows; eastings and northings are in its unit.

    Example:
        >>> longitude, latitude = to_degrees(32633, 500_000, 5_000_000)
        >>> round(float(longitude), 3), round(float(latitude), 3)
        (15.0, 45.153)
    """
    longitudes, latitudes = transformer(crs, 4326).transform(
        np.asarray(x, np.float64), np.asarray(y, np.float64)
    )
    return np.asarray(longitudes), np.asarray(latitudes)


def utm_at(crs: int | str, x: float, y: float) -> int:
    """Return the EPSG code of the UTM zone on WGS 84 in which a point lies; see `to_degrees`.

    A point that is nowhere on the ground is a PlaceError.

    Example:
        >>> utm_at(3857, 2_777_000, 8_400_000), utm_at(4326, -70.5, -33.4)
        (32635, 32719)
    """
    longitude, latitude = (float(degrees) for degrees in to_degrees(crs, x, y))
    if not (abs(longitude) <= 180 and abs(latitude) <= 84):
        raise PlaceError(
            f"The point {x:g}, {y:g} in {_named(crs)} lies at longitude {longitude:g}, latitude "
            f"{latitude:g}, where there is no UTM zone. Correct the georeference."
        )
    return (32600 if latitude >= 0 else 32700) + min(int((longitude + 180) // 6) + 1, 60)


def ground_size(
    crs: int | str, left: float, bottom: float, right: float, top: float
) -> tuple[float, float]:
    """Return width and height of a rectangle on the ground, in metres, from its edges in ``crs``.

    They are the lengths of the shortest lines through its middle on the WGS 84 ellipsoid; NaN where
    the reference system has no numbers.

    Example:
        >>> [round(metres) for metres in ground_size(3857, 0, 8_400_000, 1200, 8_401_200)]
        [601, 600]
    """
    earth = require_pyproj("Measuring pixels on the ground").Geod(ellps="WGS84")
    middle = (left + right) / 2, (bottom + top) / 2
    longitudes, latitudes = to_degrees(
        crs, [left, right, middle[0], middle[0]], [middle[1], middle[1], bottom, top]
    )
    if not (np.isfinite(longitudes).all() and np.isfinite(latitudes).all()):
        return float("nan"), float("nan")
    _, _, lengths = earth.inv(longitudes[::2], latitudes[::2], longitudes[1::2], latitudes[1::2])
    return float(lengths[0]), float(lengths[1])


def require_patch_size(
    file: str, place: Bounds, crs: int | str, num_pixels: int, size: int = PATCH_PIXELS
) -> None:
    """Raise a PatchShapeError unless an image covers the ground of a patch.

    Its edges are in the unit of ``crs``; ``num_pixels`` is its width, ``size`` the side length of
    the patch in pixels of 10 m.
    """
    metres = size * PATCH_METRES // PATCH_PIXELS
    # The scale of a zone is 0.9996 in its middle, and 1.0004 and more at its edges.
    is_measured = isinstance(crs, int) and is_utm(crs) and 1e5 <= place.left <= 9e5
    sides = place.right - place.left, place.top - place.bottom
    if not is_measured:
        sides = ground_size(crs, *place[1:])
    if all(abs(side / metres - 1) <= MOST_OFF for side in sides):
        return
    if not all(map(math.isfinite, sides)):
        raise PatchShapeError(
            f"{file} says that it lies at {place.left:g}, {place.top:g} in {_named(crs)}, which is "
            "nowhere on the ground. Correct its georeference, or write it without one."
        )
    width, height = sides
    raise PatchShapeError(
        f"{file} covers {width:.5g} x {height:.5g} m on the ground ({_named(crs)}), with pixels "
        f"of {width / num_pixels:.4g} m; a patch is {metres} x {metres} m. The model "
        "knows no other scale: resample it to 10 m in the UTM zone of the place, and cut it to "
        f"{size} x {size} pixels."
    )


def require_north_up(file: str | Path, transform: "Affine") -> None:
    """Raise a PatchShapeError unless the rows of an image run from north to south, west first."""
    if abs(transform.b) > 0 or abs(transform.d) > 0:  # False for NaN
        raise PatchShapeError(
            f"{file} is rotated: its transform is {tuple(transform)[:6]}. Warp it first: "
            "gdalwarp -tr 10 10 -r bilinear IN.tif OUT.tif"
        )
    if transform.a < 0 or transform.e > 0:
        raise PatchShapeError(
            f"{file} is mirrored: its transform is {tuple(transform)[:6]}, and rows run from north "
            "to south, columns from west to east. Turn it: gdalwarp IN.tif OUT.tif"
        )


def require_partners(patch_id: str, s1_name: str) -> None:
    """Raise a PlaceError if the names of a pair are of different places; see `are_partners`."""
    if not are_partners(patch_id, s1_name):
        raise PlaceError(
            f"The metadata pair {patch_id} with {s1_name}, which is another place by its name: "
            "tile, column and row agree in all pairs of the data set. Correct the column s1_name, "
            "or leave the patch out."
        )


def _named(crs: int | str) -> str:
    return f"EPSG:{crs}" if isinstance(crs, int) else "its reference system"


def distance_between(one: Bounds, other: Bounds) -> float:
    """Return metres between the middles of two places."""
    (x, y), (other_x, other_y) = (
        ((place.left + place.right) / 2, (place.bottom + place.top) / 2) for place in (one, other)
    )
    if one.epsg == other.epsg and is_utm(one.epsg):
        return math.hypot(x - other_x, y - other_y)
    earth = require_pyproj("Comparing places of different reference systems").Geod(ellps="WGS84")
    degrees, others = to_degrees(one.epsg, x, y), to_degrees(other.epsg, other_x, other_y)
    return float(earth.inv(*map(float, degrees), *map(float, others))[2])


def require_one_place(places: Mapping[str, Bounds | None]) -> None:
    """Raise a PlaceError unless all known places of one patch are the same.

    ``places`` are what says where the patch lies, in words -> the place that it says.
    """
    known = [(what, place) for what, place in places.items() if place is not None]
    for what, place in known[1:]:
        first, of_first = known[0]
        apart = 0.0 if place == of_first else distance_between(of_first, place)
        if not apart <= NEAR_METRES:
            distance = f"{apart / 1000:,.0f} km" if apart >= 10_000 else f"{apart:,.0f} m"
            raise PlaceError(
                f"{first} and {what} lie {distance} apart, and all bands of a "
                "patch are of one place. Choose files of the same place; which Sentinel-1 patch "
                "belongs to a Sentinel-2 patch is in the column s1_name of the metadata."
            )


_GIVING_PLACES = (
    "Giving places in longitude and latitude (--no-geometry, geometry=False leave them out)"
)


def require_pyproj(use: str = _GIVING_PLACES) -> Any:  # noqa: ANN401 - the module
    """Return pyproj; ``use`` begins the error that names the extra."""
    optional("pyproj.exceptions", "geo", use)
    return optional("pyproj", "geo", use)


@lru_cache(maxsize=128)
def transformer(source: int | str, target: int | str) -> Any:  # noqa: ANN401 - pyproj is optional
    """Return pyproj's transformer between two reference systems, eastings and longitudes first."""
    pyproj = require_pyproj()
    systems = reference_system(source), reference_system(target)
    try:
        return pyproj.Transformer.from_crs(*systems, always_xy=True)
    except pyproj.exceptions.ProjError as error:
        raise ConfigError(f"There is no way from {source} to {target}: {error}") from error


@lru_cache(maxsize=128)
def reference_system(crs: int | str) -> Any:  # noqa: ANN401 - pyproj is optional
    """Return pyproj's CRS of an EPSG code or a text, or raise a ConfigError."""
    pyproj = require_pyproj()
    try:
        return pyproj.CRS.from_user_input(crs)
    except pyproj.exceptions.ProjError as error:
        name = f"EPSG:{crs}" if isinstance(crs, int) else crs
        raise ConfigError(f"{name} is not a known reference system: {error}") from error
