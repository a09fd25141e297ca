"""Patches as files: found below folders one after the other, paired with their Sentinel-1 partner.

What is found is never held as a whole: a folder may have half a million patches.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from reben.data.metadata import PatchTable
from reben.errors import BandsMismatchError, ConfigError, MetadataError, RebenError
from reben.spec.bands import PIXEL_METRES, BandSet, Sensor, sensor
from reben.spec.patches import (
    REFERENCE_MAP_SUFFIX,
    Sentinel1Patch,
    is_sentinel1_name,
    is_sentinel2_name,
)

_MAX_DEPTH = 6
_TIFF = (".tif", ".tiff")


@dataclass(frozen=True)
class PatchPlace:
    """Where the files of one patch are.

    Args:
        name: What the patch is called: the name of its folder or file.
        paths: Its folder, or those of both sensors, or the one file of all its bands.
        problem: Why it cannot be read, where that is known already.
    """

    name: str
    paths: tuple[str, ...]
    problem: RebenError | None = None

    @property
    def is_file(self) -> bool:
        """Whether it is one TIFF of several bands."""
        return self.paths[0].lower().endswith(_TIFF)


@dataclass(frozen=True)
class PatchTree:
    """The patches at and below some paths, for a model of some bands.

    Args:
        inputs: Patch folders, folders of such folders, TIFFs of several bands, folders of those.
        bands: The bands of the model: they decide which sensor's folders are looked for.
        s1: Folder of the Sentinel-1 patches, for models of both sensors.
        metadata: Tables that say which of them belongs to which Sentinel-2 patch.

    Raises:
        ConfigError: If s1 or metadata are given and cannot be used, or one of them is missing.
        BandsMismatchError: If an input is not there.
    """

    inputs: tuple[Path, ...]
    bands: BandSet
    s1: Path | None = None
    metadata: tuple[Path, ...] = field(default=())

    def __post_init__(self) -> None:
        """Refuse what cannot be before hours of prediction, not after."""
        for path in (*self.inputs, *([] if self.s1 is None else [self.s1])):
            if not path.exists():
                raise BandsMismatchError(f"There is no {path}. Name patch folders or TIFFs.")
            if path.is_file() and path.suffix.lower() not in _TIFF:
                raise BandsMismatchError(f"{path} is no TIFF. Name patch folders or TIFFs.")
        if (self.s1 is None) != (not self.metadata):
            raise ConfigError(
                "The Sentinel-1 folder and the metadata, which alone say what belongs together, "
                "go with each other. Name both: --s1 DIR --metadata FILE"
            )
        both = self.bands.of_sensor("Sentinel-1") and self.bands.of_sensor("Sentinel-2")
        if self.s1 is not None and not both:
            raise ConfigError(
                f"The model takes {self.bands}, of one sensor. Leave --s1 and --metadata out."
            )

    def __iter__(self) -> Iterator[PatchPlace]:
        """Yield the patches, each input by itself, sorted by name in each folder.

        Raises:
            ConfigError: If a Sentinel-2 patch needs a partner and nothing says where it is.
        """
        if self.is_pair:
            first, second = sorted(self.inputs, key=lambda path: "Sentinel-1" in _sensors(path))
            yield PatchPlace(first.resolve().name, (str(first), str(second)))
            return
        for path in self.inputs:
            if path.is_file():
                yield PatchPlace(path.stem, (str(path),))
            else:
                for found in _find(str(path), self.sensor, 0):
                    yield self._paired(found)

    @property
    def sensor(self) -> Sensor:
        """The sensor whose folders are patches here; the other's are partners."""
        return "Sentinel-2" if self.bands.of_sensor("Sentinel-2") else "Sentinel-1"

    @cached_property
    def is_pair(self) -> bool:
        """Whether the inputs are the two folders of one patch, one of each sensor."""
        if len(self.inputs) != 2 or not all(path.is_dir() for path in self.inputs):
            return False
        return sorted(map(_sensors, self.inputs), key=sorted) == [{"Sentinel-1"}, {"Sentinel-2"}]

    @cached_property
    def _table(self) -> PatchTable:
        return PatchTable.read(*self.metadata)

    def _paired(self, found: PatchPlace) -> PatchPlace:
        needs_partner = self.sensor == "Sentinel-2" and self.bands.of_sensor("Sentinel-1")
        if found.is_file or not needs_partner or _has_both(found):
            return found
        if self.s1 is None:
            raise ConfigError(
                f"The model takes {self.bands}, and {found.paths[0]} is a Sentinel-2 folder. Say "
                "where the Sentinel-1 patches are and which belongs to which: --s1 DIR "
                "--metadata FILE"
            )
        try:
            partner = self._table.s1_names[self._table.position(found.name)]
        except LookupError:
            files = ", ".join(map(str, self.metadata))
            problem = MetadataError(f"Its Sentinel-1 partner is not in the metadata: {files}.")
            return PatchPlace(found.name, found.paths, problem)
        scene = Sentinel1Patch.parse(partner).scene_name
        folders = (self.s1 / scene / partner, self.s1 / partner)
        there = next((folder for folder in folders if folder.is_dir()), None)
        if there is None:
            problem = MetadataError(f"Its Sentinel-1 partner is missing: {folders[0]}.")
            return PatchPlace(found.name, found.paths, problem)
        return PatchPlace(found.name, (*found.paths, str(there)))


def _find(folder: str, wanted: Sensor, depth: int) -> Iterator[PatchPlace]:
    """Yield the patches of a sensor at or below a folder."""
    name = Path(folder).resolve().name if depth == 0 else folder[folder.rfind("/") + 1 :]
    named = is_sentinel2_name if wanted == "Sentinel-2" else is_sentinel1_name
    other = is_sentinel1_name if wanted == "Sentinel-2" else is_sentinel2_name
    if named(name):
        # The folder of a reference map has the very name of its patch.
        inside = os.listdir(folder)  # noqa: PTH208 - half a million times
        maps = (Path(file).stem.endswith(REFERENCE_MAP_SUFFIX) for file in inside)
        if not inside or not all(maps):
            yield PatchPlace(name, (folder,))
        return
    if other(name):
        return
    inside, files = _list(folder)
    sensors = {_sensor_of(file) for file in files} - {None}
    if wanted in sensors:
        yield PatchPlace(name, (folder,))
    elif not sensors:
        yield from (PatchPlace(Path(file).stem, (f"{folder}/{file}",)) for file in files)
    if depth < _MAX_DEPTH:
        for below in inside:
            yield from _find(f"{folder}/{below}", wanted, depth + 1)


def _list(folder: str) -> tuple[list[str], list[str]]:
    """Return the folders in a folder and the TIFFs that can be a patch or a band of one, sorted."""
    inside, files = [], []
    with os.scandir(folder) as entries:
        for entry in entries:
            stem, ending = os.path.splitext(entry.name)  # noqa: PTH122 - half a million times
            if entry.name.startswith("."):
                continue
            if entry.is_dir():
                inside.append(entry.name)
            elif ending.lower() in _TIFF and not stem.endswith(REFERENCE_MAP_SUFFIX):
                files.append(entry.name)
    return sorted(inside), sorted(files)


def _sensors(folder: Path) -> set[Sensor]:
    """Return the sensors that a folder holds band files of."""
    found = {_sensor_of(path.name) for path in folder.iterdir()} if folder.is_dir() else set()
    return {one for one in found if one is not None}


def _sensor_of(file: str) -> Sensor | None:
    """Return the sensor of a band file by its name, or None if it is another file."""
    stem, _, ending = file.rpartition(".")
    band = stem.rpartition("_")[2]
    return sensor(band) if ending == "tif" and "_" in stem and band in PIXEL_METRES else None


def _has_both(found: PatchPlace) -> bool:
    return "Sentinel-1" in _sensors(Path(found.paths[0]))


def parse_paths(paths: Sequence[str | Path] | str | Path) -> tuple[Path, ...]:
    """Return paths from one or several."""
    return (Path(paths),) if isinstance(paths, str | Path) else tuple(map(Path, paths))
