"""Where a patch lies on the ground: metres of a UTM zone, longitude and latitude."""

import math
from dataclasses import dataclass

from reben.errors import PatchNameError
from reben.spec.patches import PATCH_METRES, Sentinel1Patch, Sentinel2Patch
from reben.spec.tiles import tile_corner

_FLATTENING = 1 / 298.257223563
_SEMI_MAJOR = 6_378_137.0
_SCALE = 0.9996
_FALSE_EASTING, _FALSE_NORTHING = 500_000.0, 10_000_000.0


@dataclass(frozen=True)
class Place:
    """A rectangle in metres of a UTM zone on WGS 84.

    Args:
        epsg: 32601 to 32660 in the north, 32701 to 32760 in the south.
        left: Easting of its left edge.
        bottom: Northing of its lower edge.
        right: Easting of its right edge.
        top: Northing of its upper edge.
    """

    epsg: int
    left: float
    bottom: float
    right: float
    top: float

    @property
    def zone(self) -> str:
        """The zone, for example ``33N``."""
        return f"{self.epsg % 100}{'N' if self.epsg // 100 == 326 else 'S'}"

    @property
    def centre(self) -> tuple[float, float]:
        """Longitude and latitude of the middle, in degrees."""
        middle = (self.left + self.right) / 2, (self.bottom + self.top) / 2
        return degrees_of_utm(self.epsg, *middle)

    def distance(self, other: "Place") -> float:
        """Return metres between the two middles, on a sphere; exact enough to tell places apart."""
        (x1, y1), (x2, y2) = self.centre, other.centre
        height, width = math.radians(y2 - y1), math.radians(x2 - x1)
        width *= math.cos(math.radians((y1 + y2) / 2))
        return 6_371_000 * math.hypot(height, width)


def is_utm(epsg: int) -> bool:
    """Tell whether ``epsg`` is the code of a UTM zone on WGS 84."""
    return 32601 <= epsg <= 32660 or 32701 <= epsg <= 32760


def place_of_name(name: str) -> Place | None:
    """Return where the patch called ``name`` lies, or None where the name does not say.

    A patch name holds the tile of the Sentinel-2 grid and its place in that tile.
    """
    for kind in (Sentinel2Patch, Sentinel1Patch):
        try:
            patch = kind.parse(name)
            epsg, west, north = tile_corner(patch.tile)
        except PatchNameError:
            continue
        left, top = west + patch.column * PATCH_METRES, north - patch.row * PATCH_METRES
        return Place(epsg, left, top - PATCH_METRES, left + PATCH_METRES, top)
    return None


def degrees_of_utm(epsg: int, easting: float, northing: float) -> tuple[float, float]:
    """Return longitude and latitude in degrees of a point in a UTM zone on WGS 84.

    Right to a millimetre inside the zone.

    Source: Krüger's series to the fourth order, as in Karney, "Transverse Mercator with an
    accuracy of a few nanometers", J. Geodesy 85 (2011), equation 36.

    Example:
        >>> degrees_of_utm(32633, 500_000, 0)
        (15.0, 0.0)
    """
    n = _FLATTENING / (2 - _FLATTENING)
    rectifying = _SEMI_MAJOR / (1 + n) * (1 + n**2 / 4 + n**4 / 64)
    beta = (
        n / 2 - 2 * n**2 / 3 + 37 * n**3 / 96 - n**4 / 360,
        n**2 / 48 + n**3 / 15 - 437 * n**4 / 1440,
        17 * n**3 / 480 - 37 * n**4 / 840,
        4397 * n**4 / 161_280,
    )
    north = northing - (_FALSE_NORTHING if epsg // 100 == 327 else 0)
    xi = north / (_SCALE * rectifying)
    eta = (easting - _FALSE_EASTING) / (_SCALE * rectifying)
    xi_0 = xi - sum(
        b * math.sin(2 * k * xi) * math.cosh(2 * k * eta) for k, b in enumerate(beta, 1)
    )
    eta_0 = eta - sum(
        b * math.cos(2 * k * xi) * math.sinh(2 * k * eta) for k, b in enumerate(beta, 1)
    )
    conformal = math.sin(xi_0) / math.hypot(math.sinh(eta_0), math.cos(xi_0))
    latitude = _geographic(conformal)
    longitude = math.atan2(math.sinh(eta_0), math.cos(xi_0))
    central = 6 * (epsg % 100) - 183
    east = (central + math.degrees(longitude) + 180) % 360 - 180
    return east, math.degrees(latitude)


def text_of_degrees(longitude: float, latitude: float) -> str:
    """Return a point as people write it.

    Example:
        >>> text_of_degrees(13.52, -48.1)
        '48.1000° S, 13.5200° E'
    """
    north, east = "NS"[latitude < 0], "EW"[longitude < 0]
    return f"{abs(latitude):.4f}° {north}, {abs(longitude):.4f}° {east}"


def _geographic(conformal: float) -> float:
    """Return the latitude whose conformal latitude has the tangent ``conformal``, by Newton."""
    eccentricity = math.sqrt(_FLATTENING * (2 - _FLATTENING))
    tangent = conformal
    for _ in range(5):
        sine = tangent / math.hypot(1, tangent)
        sigma = math.sinh(eccentricity * math.atanh(eccentricity * sine))
        there = tangent * math.hypot(1, sigma) - sigma * math.hypot(1, tangent)
        slope = (1 - eccentricity**2) * math.hypot(1, tangent) * math.hypot(1, there)
        slope /= 1 + (1 - eccentricity**2) * tangent**2
        tangent += (conformal - there) / slope
    return math.atan(tangent)
