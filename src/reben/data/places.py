"""Where places lie in degrees, and how large they are on the ground, by the optional pyproj.

The length of a metre of a map is not a metre everywhere: in Web Mercator at 60 degrees north it is
half of one.
"""

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from reben.errors import ConfigError
from reben.support.extras import optional


def to_degrees(
    crs: int | str, x: ArrayLike, y: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return longitudes and latitudes of points, in degrees on WGS 84, of the shape of ``x``.

    Args:
        crs: Reference system of the points: an EPSG code, or a text that pyproj knows.
        x: Eastings, in the unit of ``crs``; a number or an array of any shape.
        y: Northings, as many.

    Example:
        >>> longitude, latitude = to_degrees(32633, 500_000, 5_000_000)
        >>> round(float(longitude), 3), round(float(latitude), 3)
        (15.0, 45.153)
    """
    longitudes, latitudes = _transformer(crs).transform(
        np.asarray(x, np.float64), np.asarray(y, np.float64)
    )
    return np.asarray(longitudes), np.asarray(latitudes)


def ground_size(
    crs: int | str, left: float, bottom: float, right: float, top: float
) -> tuple[float, float]:
    """Return width and height of a rectangle on the ground, in metres.

    Args:
        crs: Reference system of the rectangle, as for `to_degrees`.
        left: Its edges, in the unit of ``crs``.
        bottom: See ``left``.
        right: See ``left``.
        top: See ``left``.

    Returns:
        Lengths of the shortest lines through its middle on the WGS 84 ellipsoid; NaN where the
        reference system has no numbers.

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


_GIVING_PLACES = (
    "Giving places in longitude and latitude (--no-geometry, geometry=False leave them out)"
)


def require_pyproj(use: str = _GIVING_PLACES) -> Any:  # noqa: ANN401 - the module
    """Return pyproj; ``use`` begins the error that names the extra."""
    optional("pyproj.exceptions", "geo", use)
    return optional("pyproj", "geo", use)


@lru_cache(maxsize=128)
def _transformer(crs: int | str) -> Any:  # noqa: ANN401 - pyproj is optional
    pyproj = require_pyproj()
    try:
        return pyproj.Transformer.from_crs(crs, 4326, always_xy=True)
    except pyproj.exceptions.ProjError as error:
        name = f"EPSG:{crs}" if isinstance(crs, int) else crs
        raise ConfigError(f"{name} is not a known reference system: {error}") from error
