"""Rectangles in a projection -> polygons in longitude and latitude."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from reben.errors import ConfigError, MissingExtraError
from reben.spec.patches import Bounds

Ring = tuple[tuple[float, float], ...]
"""A closed polygon of (longitude, latitude) in degrees on WGS 84, counterclockwise; the last point
is the first."""


def rings_of(bounds: Sequence[Bounds | None]) -> list[Ring | None]:
    """Return the corners of rectangles as polygons in degrees; None stays None.

    A polygon across the 180th meridian has longitudes beyond 180, so that it is in one piece.

    Raises:
        MissingExtraError: If pyproj is not installed.
        ConfigError: If a code names no reference system.

    Example:
        >>> ring = rings_of([Bounds(32633, 500_000, 5_000_000, 501_200, 5_001_200)])[0]
        >>> [(round(longitude, 3), round(latitude, 3)) for longitude, latitude in ring[:2]]
        [(15.0, 45.164), (15.0, 45.153)]
    """
    rings: list[Ring | None] = [None] * len(bounds)
    by_code: dict[int, list[int]] = {}
    for place, one in enumerate(bounds):
        if one is not None:
            by_code.setdefault(one.epsg, []).append(place)
    for epsg, places in by_code.items():
        boxes = np.array([bounds[place][1:] for place in places], np.float64)  # type: ignore[index]
        left, bottom, right, top = boxes.T
        corners = np.stack([left, left, right, right]), np.stack([top, bottom, bottom, top])
        x, y = to_degrees(epsg).transform(*(values.T.ravel() for values in corners))
        for place, lon, lat in zip(places, x.reshape(-1, 4), y.reshape(-1, 4), strict=True):
            whole = lon[0] + (lon - lon[0] + 180) % 360 - 180 if np.ptp(lon) > 180 else lon
            points = list(zip(whole.tolist(), lat.tolist(), strict=True))
            rings[place] = (*points, points[0])
    return rings


@lru_cache(maxsize=128)
def to_degrees(epsg: int) -> Any:  # noqa: ANN401 - pyproj is optional
    """Return what transforms coordinates of a reference system to longitude and latitude.

    Raises:
        MissingExtraError: If pyproj is not installed.
        ConfigError: If the code names no reference system.
    """
    pyproj = require_pyproj()
    try:
        return pyproj.Transformer.from_crs(epsg, 4326, always_xy=True)
    except pyproj.exceptions.ProjError as error:
        raise ConfigError(f"EPSG:{epsg} names no reference system: {error}") from error


def require_pyproj() -> Any:  # noqa: ANN401 - the module
    """Return pyproj.

    Raises:
        MissingExtraError: If it is not installed.
    """
    try:
        import pyproj
        import pyproj.exceptions
    except ImportError as error:
        raise MissingExtraError(
            "To give places in longitude and latitude needs pyproj, which is missing. Install it: "
            'pip install "reben[geo]", or leave them out: --no-geometry (geometry=False)'
        ) from error
    return pyproj
