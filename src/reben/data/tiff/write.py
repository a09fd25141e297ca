"""GeoTIFFs of one band, written byte by byte as the data set's own files are.

The same pixels always give the same bytes, and a file has the very size of its real counterpart:
uncompressed 120 x 120 uint16 has 29,196 bytes, 60 x 60 has 7,572, 20 x 20 has 1,172, and 120 x 120
float32 has 58,024.

Source: TIFF revision 6.0 (Adobe, 1992); GeoTIFF standard 1.1 (OGC 19-008r4); GDAL's GTiff driver
for the order of values and for the tag that holds the nodata value.
"""

import struct
import zlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from reben.data.tiff.tags import Tag
from reben.errors import TiffError
from reben.spec.patches import is_utm, utm_zone

_ASCII, _SHORT, _LONG, _DOUBLE = 2, 3, 4, 12
_CODES = {_SHORT: "H", _LONG: "I", _DOUBLE: "d"}
_STRIP_TARGET = 8192
"""As many rows make a strip as fit into this many bytes: GDAL's rule."""

_Values = tuple[int, Sequence[float] | bytes]
"""Kind of a tag's values, and the values."""


class GeoTransform(NamedTuple):
    """Where the pixels of a band lie on the ground, in metres of a UTM zone."""

    west: float
    """Easting of the left edge."""
    north: float
    """Northing of the upper edge."""
    pixel_metres: float
    """Side length of a pixel."""
    epsg: int
    """Code of the UTM zone on WGS 84: 32601 to 32660 north, 32701 to 32760 south."""

    @property
    def zone(self) -> str:
        """The zone's number and hemisphere, for example ``33N``."""
        if not is_utm(self.epsg):
            raise TiffError(
                f"EPSG:{self.epsg} is not a UTM zone on WGS 84. "
                "Use 32601 to 32660 (north) or 32701 to 32760 (south)."
            )
        return utm_zone(self.epsg)


def encode_geotiff(
    pixels: NDArray[Any],
    transform: GeoTransform,
    nodata: int | None = None,
    *,
    deflate: bool = False,
) -> bytes:
    """Return the bytes of a GeoTIFF of one band: the same pixels always give the same bytes.

    Args:
        pixels: [H, W], uint16 or float32.
        transform: Where they lie.
        nodata: The value that stands for no measurement, if any does.
        deflate: Compress, as the reference maps of the data set are. The bytes then also depend
            on the version of zlib.
    """
    if pixels.ndim != 2 or 0 in pixels.shape or pixels.dtype not in (np.uint16, np.float32):
        raise TiffError(
            f"Cannot write an array of shape {pixels.shape} and dtype {pixels.dtype} as a band; "
            "it should be [H, W] with at least one pixel, uint16 or float32."
        )
    rows = min(len(pixels), max(1, _STRIP_TARGET // (pixels.shape[1] * pixels.itemsize)))
    data = np.ascontiguousarray(pixels, pixels.dtype.newbyteorder("<"))
    strips = [data[first : first + rows].tobytes() for first in range(0, len(data), rows)]
    if deflate:
        strips = [zlib.compress(strip) for strip in strips]
    tags = {
        **_image_tags(pixels, rows, [len(strip) for strip in strips], deflate=deflate),
        **_geo_tags(transform),
    }
    if nodata is not None:
        tags[Tag.NODATA] = (_ASCII, f"{nodata}\0".encode())
    return _encode(tags, strips)


def _image_tags(
    pixels: NDArray[Any], rows: int, sizes: list[int], *, deflate: bool
) -> dict[int, _Values]:
    height, width = pixels.shape
    is_float = pixels.dtype == np.float32
    # GDAL holds the sizes of several strips as short numbers; going by the sizes of the files,
    # the Sentinel-1 files of the data set hold them as long ones.
    is_short = len(sizes) > 1 and max(sizes) <= 0xFFFF and not is_float
    size_kind = _SHORT if is_short else _LONG
    return {
        Tag.WIDTH: (_SHORT if width <= 0xFFFF else _LONG, (width,)),
        Tag.HEIGHT: (_SHORT if height <= 0xFFFF else _LONG, (height,)),
        Tag.BITS: (_SHORT, (8 * pixels.itemsize,)),
        Tag.COMPRESSION: (_SHORT, (8 if deflate else 1,)),
        Tag.PHOTOMETRIC: (_SHORT, (1,)),
        Tag.STRIP_OFFSETS: (_LONG, [0] * len(sizes)),
        Tag.SAMPLES: (_SHORT, (1,)),
        Tag.ROWS_PER_STRIP: (_SHORT, (rows,)),
        Tag.STRIP_BYTES: (size_kind, sizes),
        Tag.PLANAR: (_SHORT, (1,)),
        Tag.SAMPLE_FORMAT: (_SHORT, (3 if is_float else 1,)),
    }


def _geo_tags(transform: GeoTransform) -> dict[int, _Values]:
    zone, datum = f"WGS 84 / UTM zone {transform.zone}|", "WGS 84|"
    keys = (
        (1024, 0, 1, 1),  # projected coordinates
        (1025, 0, 1, 1),  # a pixel is an area
        (1026, Tag.GEO_TEXT, len(zone), 0),
        (2049, Tag.GEO_TEXT, len(datum), len(zone)),
        (2054, 0, 1, 9102),  # degrees
        (3072, 0, 1, transform.epsg),
        (3076, 0, 1, 9001),  # metres
    )
    pixel = transform.pixel_metres
    return {
        Tag.PIXEL_SCALE: (_DOUBLE, (pixel, pixel, 0)),
        Tag.TIEPOINT: (_DOUBLE, (0, 0, 0, transform.west, transform.north, 0)),
        Tag.GEO_KEYS: (_SHORT, [number for key in ((1, 1, 0, len(keys)), *keys) for number in key]),
        Tag.GEO_TEXT: (_ASCII, f"{zone}{datum}\0".encode()),
    }


def _encode(tags: dict[int, _Values], strips: list[bytes]) -> bytes:
    """Return header, directory, values that do not fit into it, and strips."""
    packed = {tag: _pack(*values) for tag, values in tags.items()}
    place = 8 + 2 + 12 * len(tags) + 4
    # GDAL writes the sizes of the strips first of all values.
    far = sorted(
        (tag for tag in tags if len(packed[tag]) > 4), key=lambda t: (t != Tag.STRIP_BYTES, t)
    )
    places = {}
    for tag in far:
        places[tag] = place
        place += len(packed[tag])
    offsets = []
    for strip in strips:
        offsets.append(place)
        place += len(strip)
    packed[Tag.STRIP_OFFSETS] = _pack(_LONG, offsets)
    directory = [struct.pack("<2sHIH", b"II", 42, 8, len(tags))]
    for tag, (kind, values) in sorted(tags.items()):
        directory.append(struct.pack("<HHI", tag, kind, len(values)))
        near = packed[tag].ljust(4, b"\0")
        directory.append(struct.pack("<I", places[tag]) if tag in places else near)
    return b"".join([*directory, bytes(4), *(packed[tag] for tag in far), *strips])


def _pack(kind: int, values: Sequence[float] | bytes) -> bytes:
    if isinstance(values, bytes):
        return values
    return struct.pack(f"<{len(values)}{_CODES[kind]}", *values)
