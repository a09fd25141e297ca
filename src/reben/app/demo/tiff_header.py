"""What a TIFF says of itself before a pixel is read: its size, and where it lies."""

import struct
from collections.abc import Sequence
from dataclasses import dataclass

from reben.app.demo.places import Place, is_utm
from reben.errors import TiffError

_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 12: 8, 16: 8}
_LETTERS = {1: "B", 2: "s", 3: "H", 4: "I", 12: "d", 16: "Q"}
_WIDTH, _HEIGHT, _SAMPLES, _SCALE, _TIEPOINT, _GEO_KEYS = 256, 257, 277, 33550, 33922, 34735
_WANTED = {_WIDTH, _HEIGHT, _SAMPLES, _SCALE, _TIEPOINT, _GEO_KEYS}
_PROJECTED_CRS = 3072
_MOST_VALUES = 4096
STARTS = (b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+")
"""What a TIFF starts with: little-endian and big-endian, classic and BigTIFF."""


@dataclass(frozen=True)
class TiffHeader:
    """The first image of a TIFF.

    Args:
        width: Its width in pixels.
        height: Its height in pixels.
        samples: How many bands it has.
        place: Where it lies, if it is north up in a UTM zone on WGS 84.
    """

    width: int
    height: int
    samples: int
    place: Place | None


def read_header(content: bytes, name: str) -> TiffHeader:
    """Return what the file says of itself, without reading a pixel.

    Args:
        content: All bytes of the file.
        name: What the file is called in error messages.

    Raises:
        TiffError: If it is no TIFF, or its first directory is damaged.

    Source: TIFF revision 6.0 (Adobe, 1992); GeoTIFF standard 1.1 (OGC 19-008r4).
    """
    if not content.startswith(STARTS):
        raise TiffError(f"{name} is not a TIFF: it starts with other bytes.")
    try:
        tags = _read_directory(content)
        (width,), (height,) = tags[_WIDTH], tags[_HEIGHT]
        samples = tags.get(_SAMPLES, (1,))[0]
    except (struct.error, KeyError, ValueError, IndexError):
        raise TiffError(f"{name} is a damaged TIFF: its directory cannot be read.") from None
    return TiffHeader(int(width), int(height), int(samples), _place(tags, int(width), int(height)))


def _read_directory(content: bytes) -> dict[int, Sequence[float]]:
    order = "<" if content[:2] == b"II" else ">"
    big = b"+" in content[2:4]
    start = struct.unpack_from(f"{order}{'Q' if big else 'I'}", content, 8 if big else 4)[0]
    count = struct.unpack_from(f"{order}{'Q' if big else 'H'}", content, start)[0]
    if count > _MOST_VALUES:
        raise ValueError(count)
    entry = struct.Struct(f"{order}HH{'Q' if big else 'I'}")
    space = 8 if big else 4
    first = start + (8 if big else 2)
    tags: dict[int, Sequence[float]] = {}
    for number in range(count):
        at = first + number * (entry.size + space)
        tag, kind, length = entry.unpack_from(content, at)
        if tag not in _WANTED or kind not in _SIZES or not 0 < length <= _MOST_VALUES:
            continue
        near = at + entry.size
        if _SIZES[kind] * length > space:
            near = struct.unpack_from(f"{order}{'Q' if big else 'I'}", content, near)[0]
        tags[tag] = struct.unpack_from(f"{order}{length}{_LETTERS[kind]}", content, near)
    return tags


def _place(tags: dict[int, Sequence[float]], width: int, height: int) -> Place | None:
    scale, tie, keys = (tags.get(tag, ()) for tag in (_SCALE, _TIEPOINT, _GEO_KEYS))
    entries = [keys[at : at + 4] for at in range(4, len(keys) - 3, 4)]
    epsg = next((int(entry[3]) for entry in entries if entry[0] == _PROJECTED_CRS), 0)
    if len(scale) < 2 or len(tie) < 5 or not is_utm(epsg) or min(scale[:2]) <= 0:
        return None
    left, top = tie[3] - tie[0] * scale[0], tie[4] + tie[1] * scale[1]
    # Numbers that no UTM zone has are damage or a joke; then nothing is known.
    if not (0 <= left <= 1e6 and 0 <= top <= 1e7):
        return None
    return Place(epsg, left, top - height * scale[1], left + width * scale[0], top)
