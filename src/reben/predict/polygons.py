"""Outlines of patches and windows in degrees: rings, cut at the 180th meridian, as binary.

Source: WKB, OGC 06-103r4; RFC 7946, sections 3.1.9 (the antimeridian) and 5 (bounding boxes).
"""

import struct
from collections.abc import Iterable, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike

from reben.data.places import to_degrees
from reben.spec.patches import Bounds

Ring = tuple[tuple[float, float], ...]
"""A closed polygon of (longitude, latitude) in degrees on WGS 84, counterclockwise; the last point
is the first. One across the 180th meridian goes on beyond 180 degrees, or below -180."""
Box = tuple[float, float, float, float]
"""West, south, east, north in degrees; west is greater than east across the 180th meridian."""
_POLYGON, _SEVERAL = 3, 6
_HEAD = struct.Struct("<BII")
_LENGTH = struct.Struct("<I")


def to_rings(crs: int | str, x: ArrayLike, y: ArrayLike) -> list[Ring]:
    """Return polygons in degrees, from eastings and northings as `to_degrees` takes them.

    Both are [polygons, corners], counterclockwise, none repeated.
    """
    lon, lat = to_degrees(crs, x, y)
    whole = lon[:, :1] + (lon - lon[:, :1] + 180) % 360 - 180
    lon = np.where(np.ptp(lon, axis=1, keepdims=True) > 180, whole, lon)
    points = (zip(*one, strict=True) for one in zip(lon.tolist(), lat.tolist(), strict=True))
    return [(*ring, ring[0]) for ring in map(tuple, points)]


def rings_of(bounds: Sequence[Bounds | None]) -> list[Ring | None]:
    """Return rectangles as polygons in degrees, as `to_rings` does; None stays None.

    Example:
        >>> ring = rings_of([Bounds(32633, 500_000, 5_000_000, 501_200, 5_001_200)])[0]
        >>> [(round(longitude, 3), round(latitude, 3)) for longitude, latitude in ring[:2]]
        [(15.0, 45.164), (15.0, 45.153)]
    """
    rings: list[Ring | None] = [None] * len(bounds)
    by_code: dict[int, list[tuple[int, Bounds]]] = {}
    for place, one in enumerate(bounds):
        if one is not None:
            by_code.setdefault(one.epsg, []).append((place, one))
    for epsg, members in by_code.items():
        x = [(one.left, one.left, one.right, one.right) for _, one in members]
        y = [(one.top, one.bottom, one.bottom, one.top) for _, one in members]
        for (place, _), ring in zip(members, to_rings(epsg, x, y), strict=True):
            rings[place] = ring
    return rings


def cut(ring: Ring) -> tuple[Ring, ...]:
    """Return a convex ring as rings within -180 to 180 degrees: one, or two across 180.

    Example:
        >>> cut(((179, 0), (182, 0), (182, 3), (179, 3), (179, 0)))[1]
        ((-180.0, 0.0), (-178.0, 0.0), (-178.0, 3.0), (-180.0, 3.0), (-180.0, 0.0))
    """
    longitudes = [longitude for longitude, _ in ring]
    if min(longitudes) >= -180 and max(longitudes) <= 180:
        return (ring,)
    turn = 360.0 if max(longitudes) > 180 else -360.0
    edge = turn / 2
    inside, beyond = _half(ring, edge, -turn), _half(ring, edge, turn)
    moved = tuple((longitude - turn, latitude) for longitude, latitude in beyond)
    return tuple(piece for piece in (inside, moved) if piece)


def _half(ring: Ring, edge: float, side: float) -> Ring:
    """Return the part of a convex ring at one side of a meridian: ``side`` is + for the east."""
    kept: list[tuple[float, float]] = []
    for (x0, y0), (x1, y1) in pairwise(ring):
        before, after = (x0 - edge) * side, (x1 - edge) * side
        if before >= 0:
            kept.append((float(x0), float(y0)))
        if before * after < 0:
            kept.append((edge, y0 + (y1 - y0) * (edge - x0) / (x1 - x0)))
    if len({longitude for longitude, _ in kept}) < 2:  # it only touches the meridian
        return ()
    return (*kept, kept[0])


def to_wkb(ring: Ring) -> bytes:
    """Return a ring as well-known binary: a polygon, or several where it was cut."""
    pieces = [
        _HEAD.pack(1, _POLYGON, 1) + _LENGTH.pack(len(piece)) + np.array(piece, "<f8").tobytes()
        for piece in cut(ring)
    ]
    if len(pieces) == 1:
        return pieces[0]
    return _HEAD.pack(1, _SEVERAL, len(pieces)) + b"".join(pieces)


def from_wkb(content: bytes) -> tuple[Ring, ...]:
    """Return the polygons that `to_wkb` wrote."""
    _, kind, count = _HEAD.unpack_from(content)
    place = _HEAD.size if kind == _SEVERAL else 0
    rings = []
    for _ in range(count if kind == _SEVERAL else 1):
        place += _HEAD.size
        (length,) = _LENGTH.unpack_from(content, place)
        place += _LENGTH.size
        points = np.frombuffer(content, "<f8", 2 * length, place).reshape(-1, 2)
        rings.append(tuple((x, y) for x, y in points.tolist()))
        place += 16 * length
    return tuple(rings)


def as_several(content: bytes) -> bytes:
    """Return the binary of a polygon as that of a collection of polygons."""
    is_one = _HEAD.unpack_from(content)[1] == _POLYGON
    return _HEAD.pack(1, _SEVERAL, 1) + content if is_one else content


def box_of(pieces: Sequence[Ring]) -> Box:
    """Return the box of a place that was cut.

    Example:
        >>> box_of(cut(((179, 0), (182, 0), (182, 3), (179, 3), (179, 0))))
        (179.0, 0.0, -178.0, 3.0)
    """
    points = [np.array(piece) for piece in pieces]
    south = min(float(one[:, 1].min()) for one in points)
    north = max(float(one[:, 1].max()) for one in points)
    eastern = max(points, key=lambda one: one[:, 0].max())
    western = min(points, key=lambda one: one[:, 0].min())
    return float(eastern[:, 0].min()), south, float(western[:, 0].max()), north


class Extent:
    """The box of many places, one after the other."""

    def __init__(self) -> None:
        self._plain = np.array([np.inf, np.inf, -np.inf, -np.inf])
        self._east, self._west = np.inf, -np.inf  # ends of a box across the 180th meridian
        self._is_across = self._is_around = False

    def add(self, boxes: Iterable[Box]) -> None:
        """Take more places into account."""
        for west, south, east, north in boxes:
            is_across = west > east
            self._is_across |= is_across
            self._is_around |= west < 0 < east
            low, high = (-180, 180) if is_across else (west, east)
            self._plain[:2] = np.minimum(self._plain[:2], (low, south))
            self._plain[2:] = np.maximum(self._plain[2:], (high, north))
            if west >= 0:
                self._east = min(self._east, west)
            if east <= 0:
                self._west = max(self._west, east)

    @property
    def box(self) -> Box | None:
        """The box of all, or None if there is no place."""
        west, south, east, north = self._plain.tolist()
        if west > east:
            return None
        # Places at both sides of Greenwich and of 180 degrees leave nothing out.
        if self._is_across and not self._is_around and self._west < self._east:
            west, east = float(self._east), float(self._west)
        return west, south, east, north
