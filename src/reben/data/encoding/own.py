"""Patches of one's own: folders of band files, or TIFFs of several bands, of any size and name.

All patches of a store are of one size. A band is kept at its native size, see
`reben.spec.bands.native_size`. The Sentinel-1 value of a patch of one's own is called like the
patch with ``_S1`` behind it.
"""

from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice, product
from math import lcm
from pathlib import Path
from typing import Any, NamedTuple, Self
from warnings import catch_warnings, simplefilter

import numpy as np
from numpy.typing import NDArray

from reben.data.encoding.jobs import NUM_COMPARED, READER_ERRORS, Batch, FolderJob, NameSet
from reben.data.encoding.patch_files import PatchFilesError
from reben.data.encoding.report import Step
from reben.data.patch_folders.folder import is_tiff, parse_band, require_patch_place
from reben.data.patch_folders.multiband import Resample, read_layers, to_native
from reben.data.patch_folders.tree import FolderWalk
from reben.data.places import require_patch_size
from reben.data.storage.value import (
    OWN_SENTINEL1_SUFFIX,
    SENTINEL1,
    Kind,
    blob_header,
)
from reben.data.storage.writer import ValueWriter
from reben.data.tiff.read import read_content
from reben.data.values import SuspiciousInputWarning, check_values
from reben.errors import BandsMismatchError, ConfigError, EncodeError, PatchShapeError
from reben.spec.band_names import match_band_file, nativeness
from reben.spec.bands import ALL_FULL, PIXEL_METRES, BandSet, Sensor, native_size
from reben.spec.patches import Bounds, is_sentinel1_name

_AT_ONCE = 64


def sentinel1_key(name: str) -> str:
    """Return what the Sentinel-1 value of a patch is called in a store."""
    return name if is_sentinel1_name(name) or not name else name + OWN_SENTINEL1_SUFFIX


@dataclass(frozen=True)
class OwnOptions:
    """How values are made of the files of patches.

    Args:
        band_names: Names of the bands of TIFFs of several, if not the descriptions in them.
        resample: How bands of 20 m and 60 m on a grid of 10 m are brought to their own pixels.
        crop: Side length in pixels of 10 m of the middle that is kept of a patch.
        tile: Side length of the tiles that a patch is cut into; what is left over at the right and
            at the bottom is dropped.
    """

    band_names: tuple[str, ...] | None = None
    resample: Resample = "exact"
    crop: int | None = None
    tile: int | None = None

    def __post_init__(self) -> None:
        """Refuse sizes that cannot be."""
        if self.crop is not None and self.tile is not None:
            raise ConfigError("Patches are cropped or cut into tiles, not both. Choose one.")
        for name, side in (("crop", self.crop), ("tile", self.tile)):
            if side is not None and (type(side) is not int or side < 1):
                raise ConfigError(f"{name} is {side!r}; it must be a number of pixels of 10 m.")

    def to_dict(self) -> dict[str, str | int]:
        """Return the options that were given, as the record of a store keeps them."""
        names = None if self.band_names is None else ",".join(self.band_names)
        given = {**vars(self), "band_names": names}
        return {name: value for name, value in given.items() if value is not None}


@dataclass(frozen=True)
class OwnFiles:
    """The files of one patch: one for each band, or one TIFF of several."""

    name: str
    bands: Mapping[str, str]
    """Band -> path; empty if it is one file."""
    file: str = ""

    @property
    def first(self) -> str:
        """Path of the first file."""
        return self.file or next(iter(self.bands.values()))

    def read(self, sensor: Sensor, how: OwnOptions) -> "_Layers":
        """Return the bands of a sensor, with pixels as they are in the files."""
        if self.file:
            pixels, there = read_layers(self.file, how.band_names)
            wanted = {name: pixels[name] for name in BandSet(tuple(pixels)).of_sensor(sensor)}
            place = None if there is None else there.bounds
            crs = None if there is None else there.crs
            return _Layers(self.file, wanted, {self.file: place}, crs)
        paths = {name: path for name, path in self.bands.items() if name in _BANDS[sensor]}
        found = {n: parse_band(read_content(path), n, path, None) for n, path in paths.items()}
        places = {paths[name]: band.place for name, band in found.items()}
        return _Layers(self.first, {name: band.pixels for name, band in found.items()}, places)


_BANDS: Mapping[Sensor, tuple[str, ...]] = {
    "Sentinel-1": ALL_FULL.of_sensor("Sentinel-1"),
    "Sentinel-2": ALL_FULL.of_sensor("Sentinel-2"),
}


class _Layers(NamedTuple):
    """The bands of a patch as files hold them."""

    what: str
    pixels: dict[str, NDArray[Any]]
    places: dict[str, Bounds | None]
    crs: int | str | None = None

    def size(self) -> int:
        """Return the side length of the patch in pixels of 10 m, after checking all bands."""
        shapes = {name: band.shape for name, band in self.pixels.items()}
        if not shapes:
            raise BandsMismatchError(f"{self.what} has no band of this sensor.")
        listed = ", ".join(f"{name} {h} x {w}" for name, (h, w) in shapes.items())
        if any(height != width for height, width in shapes.values()):
            raise PatchShapeError(f"{self.what} is no square: {listed}. Cut it to one")
        fine = [side for name, (side, _) in shapes.items() if PIXEL_METRES[name] == 10]
        native = [side * PIXEL_METRES[name] // 10 for name, (side, _) in shapes.items()]
        size = max(fine or native)
        for name, (side, _) in shapes.items():
            if side not in (size, native_size(name, size)):
                raise PatchShapeError(
                    f"{self.what} has bands that do not fit each other: {listed}. A patch of "
                    f"{size} pixels of 10 m has {native_size(name, size)} of {name}, or {size}"
                )
        for file, place in self.places.items():
            if place is not None:
                require_patch_size(file, place, self.crs or place.epsg, size, size)
        require_patch_place(self.places, [])
        return int(size)

    def cut(self, left: int, top: int, side: int, size: int) -> dict[str, NDArray[Any]]:
        """Return a square of a patch of ``size``, all in pixels of 10 m."""
        cut = {}
        for name, band in self.pixels.items():
            step = size // len(band)
            rows, columns = (slice(at // step, (at + side) // step) for at in (top, left))
            cut[name] = band[rows, columns]
        return cut

    def step(self, size: int) -> int:
        """Return the pixels of 10 m of which corners must be multiples, so that none is cut."""
        native = (PIXEL_METRES[name] // 10 for name in self.pixels)
        return lcm(*(metres for metres in native if size % metres == 0))


def squares(size: int, how: OwnOptions, step: int) -> list[tuple[str, int, int]]:
    """Return name ending, left and top of each square that is cut out of a patch.

    Example:
        >>> squares(264, OwnOptions(tile=120), 6)[1:3]
        [('_r0_c1', 120, 0), ('_r1_c0', 0, 120)]
        >>> squares(264, OwnOptions(crop=120), 6)
        [('', 72, 72)]
    """
    side = how.tile or how.crop
    if side is None:
        return [("", 0, 0)]
    option = f"--{'crop' if how.tile is None else 'tile'} {side}"
    if side > size or side % step:
        raise PatchShapeError(
            f"{option} does not fit: the patch has {size} x {size} pixels of 10 m, and with bands "
            f"of 20 m or 60 m it must be a multiple of {step}. Choose a side that fits"
        )
    if how.tile is None:
        corner = (size - side) // 2 // step * step
        return [("", corner, corner)]
    places = product(range(size // side), range(size // side))
    return [(f"_r{row}_c{column}", column * side, row * side) for row, column in places]


@dataclass
class OwnPatch:
    """One value to be; to a batch it is what `reben.data.encoding.patch_files.PatchFiles` is."""

    name: str
    layers: _Layers
    size: int
    square: tuple[int, int]
    how: OwnOptions
    problem: None = None
    num_filled: int = 0
    moved_to: None = None
    notes: tuple[str, ...] = ()

    def value(self, kind: Kind) -> bytes:
        """Return the value; raise the errors of readers if there is none."""
        side = self.how.tile or self.how.crop or self.size
        cut = self.layers.cut(*self.square, side, self.size)
        with catch_warnings(record=True) as warned:  # counted, and said once for all patches
            simplefilter("always", SuspiciousInputWarning)
            found = to_native(self.layers.what, cut, self.how.resample, side)
        self.notes = tuple(str(one.message) for one in warned)
        if {name: len(band) for name, band in found.items()} != dict(kind.sizes):
            listed = ", ".join(f"{name} {n}" for name, n in sorted(kind.sizes.items()))
            has = ", ".join(f"{name} {len(band)}" for name, band in sorted(found.items()))
            raise PatchFilesError(
                f"it has other bands or sizes ({has} pixels a side) than the first patch of the "
                f"store ({listed}); all of a store are alike, for which there are --crop and --tile"
            )
        filled, num_filled = check_values({name: found[name][None] for name in kind.sizes})
        self.num_filled = len(num_filled)
        return _to_value(filled, kind)


def _to_value(bands: Mapping[str, NDArray[Any]], kind: Kind) -> bytes:
    """Return a value of uint16 where all numbers are whole, else of float32."""
    is_whole = all(
        band.dtype.kind in "ui" and band.min() >= 0 and band.max() <= np.iinfo(np.uint16).max
        for band in bands.values()
    )
    dtype = np.dtype("<u2" if is_whole and kind.name != SENTINEL1.name else "<f4")
    shapes = tuple((name, (side, side)) for name, side in kind.sizes.items())
    pixels = (bands[name].astype(dtype).tobytes() for name in kind.sizes)
    return b"".join([blob_header(dtype, shapes), *pixels])


def read_own(files: OwnFiles, kind: Kind, how: OwnOptions) -> Iterator[OwnPatch]:
    """Yield the values to be of the files of a patch: one, or one for each tile."""
    layers = files.read(sensor_of(kind), how)
    size = layers.size()
    for ending, left, top in squares(size, how, layers.step(size)):
        yield OwnPatch(key(kind.name, files.name + ending), layers, size, (left, top), how)


def sensor_of(kind: Kind) -> Sensor:
    """Return the sensor of a kind of values of patches."""
    return "Sentinel-1" if kind.name == SENTINEL1.name else "Sentinel-2"


def key(kind: str, name: str) -> str:
    """Return the name of the value of a patch of one's own."""
    return sentinel1_key(name) if kind == SENTINEL1.name else name


def find_own(root: Path) -> Iterator[OwnFiles]:
    """Yield the patches at and below a folder, sorted by path and name.

    Files that are called alike but for the band are one patch; where they are called like a band
    alone, the patch is called like the folder. Any other TIFF is a patch with all its bands.
    """
    for found in FolderWalk(lambda _name: False, EncodeError).below(root):
        ranked: dict[str, dict[str, tuple[tuple[bool, int], str]]] = {}
        whole = []
        for file in filter(is_tiff, found.files or ()):
            path, band = f"{found.path}/{file}", match_band_file(file)
            if band is None:
                whole.append(OwnFiles(file.rpartition(".")[0], {}, path))
            elif band.tensor in PIXEL_METRES:
                bands = ranked.setdefault(band.patch or found.name, {})
                rank = nativeness(band.tensor, band.metres), path
                bands[band.tensor] = min(rank, bands.get(band.tensor, rank))
        yield from whole
        for name, bands in ranked.items():
            yield OwnFiles(name, {band: bands[band][1] for band in ALL_FULL if band in bands})


@dataclass(frozen=True)
class OwnJob(FolderJob):
    """Encode patches of one's own, by their names."""

    patches: Mapping[str, OwnFiles] = field(default_factory=dict)
    how: OwnOptions = field(default_factory=OwnOptions)
    own: Kind = SENTINEL1

    def parts(self, num_done: int) -> list[Self]:
        """Return what is left to do after its process died; a patch may be several values."""
        return super().parts(0 if self.how.tile else num_done)

    def run(self, writer: ValueWriter, *, strict: bool, pipe: int | None) -> Iterator[Step]:
        """Do it, and yield what was done after every commit."""
        batch = Batch(self.own, writer)
        for name in self.folders:
            try:
                values = list(read_own(self.patches[name], self.own, self.how))
            except READER_ERRORS as error:
                batch.fail(key(self.kind, name), error)
                continue
            for value in values:
                if self.is_there:
                    batch.compare(value)
                else:
                    batch.add(value)
            if batch.is_full or (strict and batch.failures):
                yield batch.commit()
        yield batch.commit()


class OwnScan:
    """The patches of one kind that are to be encoded; see `FolderScan`, which it stands in for."""

    def __init__(
        self,
        job: OwnJob,
        found: Sequence[OwnFiles],
        last: str,
        there: NameSet,
        wanted: Container[str] | None,
    ) -> None:
        """Choose among ``found``; ``last`` is what the last value of a patch ends with."""
        self._job = job
        self._new: dict[str, OwnFiles] = {}
        self._twice: list[OwnFiles] = []
        self._there: dict[str, OwnFiles] = {}
        for files in found:
            name = key(job.kind, files.name + last)
            if wanted is not None and name not in wanted:
                continue
            if files.name in self._new or files.name in self._there:
                self._twice.append(files)
            else:
                (self._there if name in there else self._new)[files.name] = files
        self.num_there = len(self._there)
        self.num_folders = len(self._new) + len(self._twice)

    def jobs(self) -> Iterator[OwnJob]:
        """Yield the jobs, without patches whose name came before."""
        names = iter(self._new)
        while some := list(islice(names, _AT_ONCE)):
            yield replace(self._job, folders=some, patches={n: self._new[n] for n in some})

    def late_jobs(self) -> Iterator[OwnJob]:
        """Yield the jobs that compare patches with what the store has."""
        for files in self._twice:
            yield replace(self._job, folders=[files.name], patches={files.name: files})
        some = {name: self._there[name] for name in list(self._there)[:NUM_COMPARED]}
        if some:
            yield replace(self._job, folders=list(some), patches=some, is_there=True)
