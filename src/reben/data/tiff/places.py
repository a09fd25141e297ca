"""How large the image of a TIFF is, and where it lies.

Georeferencing that GeoTIFF's simple tags do not tell is left to rasterio, an optional dependency.

Source: GeoTIFF standard 1.1 (OGC 19-008r4).
"""

import math
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from reben.data.places import require_north_up, require_patch_size
from reben.data.tiff.tags import STARTS, Directory, FaultError, Tag, damaged, read_directory
from reben.data.tiff.with_rasterio import open_with_rasterio
from reben.errors import TiffError
from reben.spec.patches import Bounds, is_utm
from reben.support.bounds import read_start

_START_BYTES = 1 << 14
_RASTER_TYPE, _GEOGRAPHIC, _PROJECTED = 1025, 2048, 3072
_PIXEL_IS_POINT = 2
_USER_DEFINED = 32767


@dataclass(frozen=True)
class TiffHeader:
    """What a TIFF says about its first image.

    Args:
        width: Its width in pixels.
        height: Its height in pixels.
        samples: Its number of bands.
        place: Where it lies, if it is north up in a UTM zone on WGS 84.
    """

    width: int
    height: int
    samples: int
    place: Bounds | None


def read_header(content: bytes, name: str) -> TiffHeader:
    """Return what a TIFF in memory says about itself, without reading a pixel.

    Args:
        content: All bytes of the file.
        name: What the file is called in error messages.
    """
    if not content.startswith(STARTS):
        raise TiffError(f"{name} is not a TIFF: it starts with other bytes.")
    try:
        directory = read_directory(content)
        width, height = directory.number(Tag.WIDTH, 0), directory.number(Tag.HEIGHT, 0)
        samples = directory.number(Tag.SAMPLES, 1)
        if min(width, height, samples) < 0:
            raise damaged("its width, height or number of bands is no whole number")
        if 0 in (width, height, samples):
            raise damaged(f"it claims {width} x {height} pixels in {samples} bands")
        place = _bounds(directory, content)
    except _AskRasterioError:
        place = None
    except FaultError as fault:
        raise TiffError(f"{name} {fault}") from None
    # Coordinates that no UTM zone has come from damage; then the place is unknown.
    is_possible = (
        place is not None
        and is_utm(place.epsg)
        and 0 <= place.left <= 1e6
        and 0 <= place.top <= 1e7
    )
    return TiffHeader(width, height, samples, place if is_possible else None)


def read_bounds(path: str | Path) -> Bounds | None:
    """Return the rectangle that a TIFF covers, or None if the file does not tell."""
    try:
        start = read_start(path, _START_BYTES)
    except OSError as error:
        raise TiffError(f"Cannot read {path}: {error.strerror or error}.") from error
    return _bounds_in(start, path, path)


def georeference(content: bytes) -> bytes:
    """Return what tells files of one place and size apart, as bytes; quicker than `bounds_of`.

    Args:
        content: All bytes of a TIFF whose directory was read before.
    """
    return b"".join([content[one] for one in _place_slices(read_directory(content))])


def corner_place(content: bytes) -> slice | None:
    """Return where easting and northing of the one tiepoint stand in a TIFF, two float64."""
    directory = read_directory(content)
    field = directory.fields.get(Tag.TIEPOINT)
    if field is None or (field.code, field.num_values) != ("d", 6) or field.end > len(content):
        return None
    return slice(field.start + 24, field.start + 40)  # behind the pixel that is tied to them


@lru_cache(maxsize=128)
def _place_slices(directory: Directory) -> list[slice]:
    tags = (Tag.WIDTH, Tag.PIXEL_SCALE, Tag.TIEPOINT, Tag.TRANSFORM, Tag.GEO_KEYS)
    fields = (directory.fields.get(tag) for tag in tags)
    return [slice(one.start, one.end) for one in fields if one is not None]


def bounds_of(content: bytes, name: str) -> Bounds | None:
    """Return what `read_bounds` does, of a file in memory that is called ``name`` in messages."""
    return _bounds_in(content, content, name)


def _bounds_in(start: bytes, file: str | Path | bytes, name: str | Path) -> Bounds | None:
    try:
        simple = start[:4] in STARTS
        found = _bounds(read_directory(start), start) if simple else _ask(file, name)
    except (FaultError, _AskRasterioError):
        found = _ask(file, name)
    if found is None or not all(map(math.isfinite, found)):
        return None
    return found if found.left < found.right and found.bottom < found.top else None


class _AskRasterioError(Exception):
    """The simple tags do not tell where an image lies."""


def _bounds(directory: Directory, content: bytes) -> Bounds | None:
    if Tag.TRANSFORM in directory.fields:
        raise _AskRasterioError
    scale, tiepoint, keys = (
        directory.values(tag, content) for tag in (Tag.PIXEL_SCALE, Tag.TIEPOINT, Tag.GEO_KEYS)
    )
    width, height = directory.number(Tag.WIDTH, 0), directory.number(Tag.HEIGHT, 0)
    if min(width, height) < 0:
        raise _AskRasterioError
    if not (scale and tiepoint and keys and width and height):
        return None
    known = {keys[at]: keys[at + 3] for at in range(4, len(keys) - 3, 4) if keys[at + 1] == 0}
    epsg = int(known.get(_PROJECTED, known.get(_GEOGRAPHIC, _USER_DEFINED)))
    numbers = (*scale[:2], *tiepoint[:6])
    is_simple = len(numbers) == 8 and all(map(math.isfinite, numbers)) and min(scale[:2]) > 0
    if epsg == _USER_DEFINED or not is_simple:
        raise _AskRasterioError
    across, down, column, row, _, x, y, _ = numbers
    # Where a pixel is a point, its coordinates are those of its middle.
    shift = 0.5 if known.get(_RASTER_TYPE) == _PIXEL_IS_POINT else 0.0
    left, top = x - (column + shift) * across, y + (row + shift) * down
    return Bounds(epsg, left, top - height * down, left + width * across, top)


def _ask(file: str | Path | bytes, name: str | Path) -> Bounds | None:
    use = f"Finding out where {name} lies (leave it out with --no-geometry)"
    with open_with_rasterio(file, name, use) as image:
        if image.crs is None or image.transform.is_identity:
            return None
        require_north_up(name, image.transform)
        epsg = image.crs.to_epsg()
        if epsg is not None:
            return Bounds(epsg, *image.bounds)
        if image.crs.is_projected or image.crs.is_geographic:
            require_patch_size(str(name), Bounds(0, *image.bounds), image.crs.to_wkt(), image.width)
        return None
