"""Patch folders whose files are laid out like those of a patch before: read without parsing.

The band files of the data set differ in their pixels and in where they lie; all else that stands
before the pixels is the same in thousands of them. So the bytes before the pixels of a patch that
was read and checked in full are kept, and of the next one they are only compared, while its pixels
are read straight to their places in a value. Whatever is unlike that in any way is not read here.
"""

import os
from functools import lru_cache
from itertools import accumulate
from struct import Struct
from typing import NamedTuple
from weakref import WeakKeyDictionary

import numpy as np

from reben.data.encoding.patch_files import PatchFiles, is_usual
from reben.data.patch_folders.folder import band_file_ending
from reben.data.storage.value import Kind
from reben.data.tiff.places import corner_place
from reben.data.tiff.read import pixels_start
from reben.data.values import RANGES, may_be_odd
from reben.spec.bands import sensor
from reben.spec.patches import PATCH_METRES, Bounds, place_of_name
from reben.support.bounds import OPEN_FLAGS

_CAN_SCATTER = hasattr(os, "readv")
_MOST_KNOWN = 128
_CORNER = Struct("<2d")
"""Easting and northing."""


class _Room:
    """Room for one value: its bytes, and the pieces that files are read into."""

    def __init__(self, kind: Kind, heads: list[memoryview]) -> None:
        self.value = bytearray(kind.num_bytes)
        self.value[: len(kind.header)] = kind.header
        self.pieces: list[tuple[memoryview, memoryview, memoryview]] = []
        end, behind = len(kind.header), memoryview(bytearray(1))
        for head, side in zip(heads, kind.sizes.values(), strict=True):
            start, end = end, end + side * side * kind.dtype.itemsize
            self.pieces.append((head, memoryview(self.value)[start:end], behind))
        flat = {
            tensor: np.frombuffer(pixels, kind.dtype)
            for tensor, (_, pixels, _) in zip(kind.sizes, self.pieces, strict=True)
        }
        # What is asked of Sentinel-2 bands is asked of all their pixels at once.
        together = np.frombuffer(self.value, kind.dtype, offset=len(kind.header))
        first = next(iter(flat))
        self.bands = {first: together} if sensor(first) == "Sentinel-2" else flat


class QuickReader:
    """Makes values of patch folders of one kind; `free` takes the room of all of them back."""

    def __init__(self, kind: Kind) -> None:
        self._kind = kind
        self._endings = [band_file_ending(tensor) for tensor in kind.sizes]
        self._num_bytes = [side * side * kind.dtype.itemsize for side in kind.sizes.values()]
        self._rooms: list[_Room] = []
        self._num_used = 0
        self._starts = bytearray()
        """What was read before the pixels, file after file."""
        self._heads: list[memoryview] = []
        self._sizes: list[int] = []
        self._corners: list[slice] = []
        self._rest: list[slice] = []
        self._known: dict[bytes, _Geometry] = {}
        """What stands before the pixels, without the corners."""

    def free(self) -> None:
        """Take back the room of all values, once they are committed."""
        self._num_used = 0

    def read(self, folder: str) -> bytearray | None:
        """Return the value of the patch folder at a path, until `free`; None if it is unusual."""
        name = folder[folder.rfind("/") + 1 :]
        if not self._known or not self._kind.is_folder(name):
            return None
        if self._num_used == len(self._rooms):
            self._rooms.append(_Room(self._kind, self._heads))
        room = self._rooms[self._num_used]
        try:
            if not self._fill(room, folder, name):
                return None
        except OSError:
            return None
        starts = bytes(self._starts)
        corners = {starts[corner] for corner in self._corners}
        known = self._known.get(b"".join([starts[rest] for rest in self._rest]))
        if known is None or corners != {known.corner(name)} or may_be_odd(room.bands):
            return None
        self._num_used += 1
        return room.value

    def _fill(self, room: _Room, folder: str, name: str) -> bool:
        """Read the files of a patch; tell whether they are the usual ones, of the usual sizes."""
        files = [name + ending for ending in self._endings]
        if set(os.listdir(folder)) != set(files):  # noqa: PTH208 - a million times
            return False
        for file, pieces, size in zip(files, room.pieces, self._sizes, strict=True):
            descriptor = os.open(f"{folder}/{file}", OPEN_FLAGS)
            try:
                if os.readv(descriptor, pieces) != size:
                    return False
            finally:
                os.close(descriptor)
        return True

    def learn(self, patch: PatchFiles) -> None:
        """Keep how the files of a patch are laid out whose value was made."""
        is_plain = not (patch.sides or patch.num_filled or patch.moved_to)
        if self._kind.name not in RANGES or not is_plain or not _CAN_SCATTER:
            return
        named = place_of_name(patch.name)
        if named is None:
            return
        heads, corners, num_bytes = [], [], 0
        for tensor, size in zip(self._kind.sizes, self._num_bytes, strict=True):
            content = patch.files[tensor]
            start = len(content) - size
            corner = corner_place(content[:start])
            usual = is_usual(self._kind, tensor, content)
            if pixels_start(content) != start or corner is None or not usual:
                return
            heads.append(content[:start])
            corners.append(slice(num_bytes + corner.start, num_bytes + corner.stop))
            num_bytes += start
        self._lay_out(heads, corners)
        everything = b"".join(heads)
        x, y = _CORNER.unpack(everything[corners[0]])
        rest = b"".join([everything[one] for one in self._rest])
        self._known[rest] = _Geometry(named.epsg, x - named.left, y - named.top)

    def _lay_out(self, heads: list[bytes], corners: list[slice]) -> None:
        """Make room for files that start with so many bytes and have their corners there."""
        sizes = [*map(len, heads)]
        if len(self._known) == _MOST_KNOWN:
            self._known = {}
        if corners == self._corners and sizes == [*map(len, self._heads)]:
            return
        ends = [*accumulate(sizes)]
        edges = [0, *(edge for one in corners for edge in (one.start, one.stop)), ends[-1]]
        self._corners = corners
        self._rest = [slice(*pair) for pair in zip(edges[::2], edges[1::2], strict=True)]
        self._known = {}
        self._starts = bytearray(ends[-1])
        whole = memoryview(self._starts)
        self._heads = [whole[end - size : end] for end, size in zip(ends, sizes, strict=True)]
        self._sizes = [size + more for size, more in zip(sizes, self._num_bytes, strict=True)]
        self._rooms = []
        self._num_used = 0


class _Geometry(NamedTuple):
    """How far from the corner of a patch its files say that it is, in metres of a system."""

    epsg: int
    right: float
    up: float

    def corner(self, name: str) -> bytes | None:
        """Return the bytes that say where a patch lies that lies where its name says."""
        base, column, row = name.rsplit("_", 2)
        first = _first_of_tile(base)
        if first is None or first.epsg != self.epsg:
            return None
        x = first.left + int(column) * PATCH_METRES + self.right
        return _CORNER.pack(x, first.top - int(row) * PATCH_METRES + self.up)


_readers: WeakKeyDictionary[object, dict[str, QuickReader]] = WeakKeyDictionary()


def quick_reader(writer: object, kind: Kind) -> QuickReader:
    """Return the reader of a kind that goes with a writer: it stays from job to job."""
    return _readers.setdefault(writer, {}).setdefault(kind.name, QuickReader(kind))


@lru_cache(maxsize=1024)
def _first_of_tile(base: str) -> Bounds | None:
    """Return where column 0, row 0 of a tile lies; ``base`` is a name without them."""
    return place_of_name(f"{base}_0_0")
