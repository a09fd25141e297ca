"""Areas of interest: a file of features, WKT, or a box in degrees; all need the optional shapely.

Source: RFC 7946, for boxes across the 180th meridian.
"""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from reben.data.places import reference_system
from reben.data.vector.features import (
    DEGREES,
    check_degrees,
    moved,
    parsed_wkt,
    read_features,
    shapely,
)
from reben.errors import AreaError, cut

_AROUND_ZONE = np.array([-10, -10, 10, 10])


@dataclass(frozen=True, eq=False)
class Area:
    """An area of interest.

    Args:
        name: What it is called in messages and in what outputs say of themselves.
        geometry: One shapely geometry of longitudes and latitudes in degrees on WGS 84, which may
            have several parts, points and lines too.
    """

    name: str
    geometry: Any

    @property
    def bounds_degrees(self) -> tuple[float, float, float, float]:
        """West, south, east, north in degrees; across the 180th meridian west is above east."""
        west, south, east, north = self.geometry.bounds
        parts = [part.bounds for part in shapely().get_parts(self.geometry)]
        eastern = [part[0] for part in parts if part[0] >= 0]
        western = [part[2] for part in parts if part[2] <= 0]
        if west == -180 and east == 180 and len(eastern) + len(western) == len(parts):
            west, east = min(eastern), max(western)
        return west, south, east, north

    @property
    def digest(self) -> str:
        """SHA-256 of its outline: tells areas of one name apart."""
        return hashlib.sha256(shapely().to_wkb(self.geometry.normalize())).hexdigest()

    def in_crs(self, crs: str) -> Any:  # noqa: ANN401 - a geometry of shapely
        """Return its geometry in another reference system, perhaps empty.

        Parts more than 10 degrees beyond where the reference system is used are left out: no
        projection of a zone is made for the other side of the earth.
        """
        module, geometry = shapely(), self.geometry
        system = reference_system(crs)
        if system.is_projected and system.area_of_use is not None:
            west, south, east, north = system.area_of_use.bounds
            east += 360 * (east < west)
            box = module.box(*np.add((west, south, east, north), _AROUND_ZONE))
            turns = [
                module.transform(geometry, partial(np.add, (turn, 0))) for turn in (-360, 0, 360)
            ]
            geometry = module.union_all([turn.intersection(box) for turn in turns])
        return module.make_valid(moved(np.array([geometry], object), DEGREES, crs)[0])


AreaLike = str | Path | Sequence[float] | Area
"""What `read_area` takes."""


def read_area(source: AreaLike) -> Area:
    """Return an area of interest; `AreaError` if it is none, or lies nowhere on the ground.

    Args:
        source: An area; a file as for `read_features`, all of whose features are the area; WKT in
            degrees; or a box in degrees: ``west, south, east, north``, as numbers or as text.
    """
    if isinstance(source, Area):
        return source
    if not isinstance(source, str | Path):
        return _box(read_box(source), str(list(source)))
    text = str(source).strip()
    numbers = text.split(",")
    if len(numbers) > 1 and None not in map(_number, numbers):
        return _box(read_box(text), text)
    is_wkt = isinstance(source, str) and text.endswith(")") and "(" in text
    found = parsed_wkt(text, cut(text)) if is_wkt else read_features(source)
    union = shapely().union_all(list(found.in_crs(DEGREES).geometries))
    return Area(found.name, shapely().make_valid(union))


def read_box(source: str | Path | Sequence[float]) -> tuple[float, float, float, float]:
    """Return west, south, east, north in degrees; west is above east across the 180th meridian.

    The four are numbers, or a text with commas; what is no box or lies nowhere is an AreaError.
    """
    parts: list[Any] = str(source).split(",") if isinstance(source, str | Path) else list(source)
    name = cut(str(source if isinstance(source, str | Path) else parts))
    wanted = "a box is west, south, east, north in degrees, for example 13.1,47.8,13.4,48.0"
    numbers = [n for n in map(_number, parts) if n is not None and math.isfinite(n)]
    if len(parts) != 4 or len(numbers) != 4:
        raise AreaError(f"The box {name} has not four numbers: {wanted}.")
    west, south, east, north = numbers
    check_degrees(f"The box {name}", (min(west, east), min(south, north),
                                       max(west, east), max(south, north)))  # fmt: skip
    if south >= north or west == east:
        raise AreaError(f"The box {name} is empty: {wanted}.")
    return west, south, east, north


def _box(box: tuple[float, float, float, float], name: str) -> Area:
    west, south, east, north = box
    module = shapely()
    if west < east:
        return Area(name, module.box(west, south, east, north))
    parts = [module.box(west, south, 180, north), module.box(-180, south, east, north)]
    return Area(name, module.union_all(parts))


def _number(text: Any) -> float | None:  # noqa: ANN401 - whatever stands in a list
    try:
        return float(text)
    except (TypeError, ValueError):
        return None
