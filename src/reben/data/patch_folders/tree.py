"""Patches as files: found below folders, paired with their Sentinel-1 partners.

`FolderWalk` is the only code that searches folders. Nothing keeps all that it finds: a folder may
hold half a million patches.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from reben.data.patch_folders.folder import band_sensor, is_tiff
from reben.errors import BandsMismatchError, ConfigError, MetadataError, RebenError
from reben.spec.bands import BandSet, Sensor
from reben.spec.patches import (
    REFERENCE_MAP_SUFFIX,
    Sentinel1Patch,
    is_sentinel1_name,
    is_sentinel2_name,
)

if TYPE_CHECKING:
    from reben.data.metadata import PatchTable

_Id = tuple[int, int]
"""Device and inode: what a folder is, by whatever path it is reached."""


class Folder(NamedTuple):
    """A folder that was found: path, name, and the names of the files in it, sorted.

    ``files`` is None for a patch folder, which is not listed.
    """

    path: str
    name: str
    files: list[str] | None


class _Waiting(NamedTuple):
    """A folder that was seen in the one above it and not visited yet."""

    name: str
    path: str
    is_link: bool
    own: _Id | None
    above: frozenset[_Id]


class FolderWalk:
    """Finds folders at any depth, each of them once, however many paths and links lead to it.

    Folders whose name ``is_patch`` are neither listed nor entered. Links to folders are followed,
    unless they lead to a folder above them. Hidden folders are skipped. If a folder cannot be
    listed, ``error`` is raised.
    """

    def __init__(self, is_patch: Callable[[str], bool], error: type[RebenError]) -> None:
        self._is_patch = is_patch
        self._error = error
        self._listed: set[_Id] = set()
        # Patches that were reached by a link. All others are reached by the folder they lie in,
        # which is listed once, so they need not be remembered.
        self._linked: set[_Id] = set()

    def below(self, root: Path) -> Iterator[Folder]:
        """Yield ``root`` and the folders below it, sorted by name in each folder."""
        try:
            yield from self._below(root)
        except OSError as error:
            raise self._error(
                f"Cannot list {error.filename}: {error.strerror}. Make it readable, and run the "
                "same command again."
            ) from error

    def _below(self, root: Path) -> Iterator[Folder]:
        named = root if self._is_patch(root.name) else root.resolve()
        path = str(named if self._is_patch(named.name) else root)
        waiting = [_Waiting(named.name, path, True, None, frozenset())]
        while waiting:
            here = waiting.pop()
            if self._is_patch(here.name):
                if self._is_new_patch(here):
                    yield Folder(here.path, here.name, None)
                continue
            own = _id(here.path)
            if own in self._listed or own in here.above:
                continue
            self._listed.add(own)
            above = here.above | {own} | (_ids_above(here.path) if here.is_link else set())
            inside, files = _list(here.path, own[0], above)
            yield Folder(here.path, here.name, files)
            waiting += inside

    def _is_new_patch(self, here: _Waiting) -> bool:
        if not here.is_link:
            return not self._linked or here.own not in self._linked
        real = os.path.realpath(here.path)
        own, parent = _id(real), _id(os.path.dirname(real))  # noqa: PTH120 - many times
        is_listed = parent in self._listed and self._is_patch(os.path.basename(real))  # noqa: PTH119
        if is_listed or own in self._linked:
            return False
        self._linked.add(own)
        return True


def _id(path: str | Path) -> _Id:
    found = os.stat(path)  # noqa: PTH116 - many times
    return found.st_dev, found.st_ino


def _ids_above(path: str) -> set[_Id]:
    found = set()
    for folder in Path(path).resolve().parents:
        with suppress(OSError):
            found.add(_id(folder))
    return found


def _list(path: str, device: int, above: frozenset[_Id]) -> tuple[list[_Waiting], list[str]]:
    """Return the folders in a folder, last ones first, and the names of the files, sorted."""
    inside, files = [], []
    with os.scandir(path) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if _is_folder(entry):
                own = (device, entry.inode())
                inside.append(_Waiting(entry.name, entry.path, entry.is_symlink(), own, above))
            else:
                files.append(entry.name)
    return sorted(inside, reverse=True), sorted(files)


def _is_folder(entry: "os.DirEntry[str]") -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


@dataclass(frozen=True)
class PatchPlace:
    """Where the files of one patch are, or why it cannot be read."""

    name: str
    """Name of its folder or file."""
    paths: tuple[str, ...]
    """Its folder, or the folders of both sensors, or the one file with all its bands."""
    problem: RebenError | None = None

    @property
    def is_file(self) -> bool:
        """Whether it is one TIFF of several bands."""
        return is_tiff(Path(self.paths[0]).name)


@dataclass(frozen=True)
class PatchTree:
    """The patches at and below some paths, for a model.

    Args:
        inputs: Patch folders, folders of patch folders, TIFFs of several bands, folders of those.
        bands: The bands of the model, which decide whose sensor's folders are patches.
        s1: Folder of the Sentinel-1 patches, for models of both sensors.
        metadata: Tables that tell which of them belongs to which Sentinel-2 patch; without them,
            the one of the same name does.
    """

    inputs: tuple[Path, ...]
    bands: BandSet
    s1: Path | None = None
    metadata: tuple[Path, ...] = ()

    def __post_init__(self) -> None:
        """Check what can be checked before hours of prediction."""
        for path in (*self.inputs, *([] if self.s1 is None else [self.s1])):
            if not path.exists():
                raise BandsMismatchError(f"There is no {path}. Name patch folders or TIFFs.")
            if path.is_file() and not is_tiff(path.name):
                raise BandsMismatchError(f"{path} is not a TIFF. Name patch folders or TIFFs.")
        if self.s1 is None and self.metadata:
            raise ConfigError(
                "The metadata tell which Sentinel-1 patches belong to others: name their folder, "
                "too: --s1 DIR --metadata FILE"
            )
        both = self.bands.of_sensor("Sentinel-1") and self.bands.of_sensor("Sentinel-2")
        if self.s1 is not None and not both:
            raise ConfigError(
                f"The model takes {self.bands}, of one sensor. Leave out --s1 and --metadata."
            )

    def __iter__(self) -> Iterator[PatchPlace]:
        """Yield the patches input by input, sorted by name in each folder."""
        if self.is_pair:
            first, second = sorted(self.inputs, key=lambda path: "Sentinel-1" in _sensors(path))
            yield PatchPlace(first.resolve().name, (str(first), str(second)))
            return
        walk = FolderWalk(
            lambda name: is_sentinel1_name(name) or is_sentinel2_name(name), BandsMismatchError
        )
        for path in self.inputs:
            if path.is_file():
                yield PatchPlace(path.stem, (str(path),))
            else:
                for found in self._below(path, walk):
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

    def _below(self, folder: Path, walk: "FolderWalk") -> Iterator[PatchPlace]:
        is_patch = is_sentinel2_name if self.sensor == "Sentinel-2" else is_sentinel1_name
        for found in walk.below(folder):
            if found.files is None:
                if is_patch(found.name) and not holds_maps_alone(found.path):
                    yield PatchPlace(found.name, (found.path,))
                continue
            tiffs = [file for file in found.files if is_tiff(file)]
            sensors = {band_sensor(file) for file in tiffs} - {None}
            if self.sensor in sensors:
                yield PatchPlace(found.name, (found.path,))
            elif not sensors:
                for file in tiffs:
                    stem = file.rpartition(".")[0]
                    if not stem.endswith(REFERENCE_MAP_SUFFIX):
                        yield PatchPlace(stem, (f"{found.path}/{file}",))

    @cached_property
    def _table(self) -> "PatchTable":
        from reben.data.metadata import PatchTable

        return PatchTable.read(*self.metadata)

    def _paired(self, found: PatchPlace) -> PatchPlace:
        needs_partner = self.sensor == "Sentinel-2" and self.bands.of_sensor("Sentinel-1")
        if found.is_file or not needs_partner or _has_both(found):
            return found
        if self.s1 is None:
            raise ConfigError(
                f"The model takes {self.bands}, but {found.paths[0]} is a Sentinel-2 folder. Name "
                "the Sentinel-1 patches and the table of pairs: --s1 DIR --metadata FILE"
            )
        if (self.s1 / found.name).is_dir():
            return PatchPlace(found.name, (*found.paths, str(self.s1 / found.name)))
        if not self.metadata and is_sentinel2_name(found.name):
            raise ConfigError(
                "Sentinel-1 patches of the data set have names of their own, and the metadata tell "
                "what belongs together. Name both: --s1 DIR --metadata FILE"
            )
        if not self.metadata:
            problem = MetadataError(
                f"{self.s1} holds no {found.name}. Where partners have other names, name the table "
                "of pairs: --metadata FILE"
            )
            return PatchPlace(found.name, found.paths, problem)
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


def holds_maps_alone(folder: str) -> bool:
    """Tell whether a folder is that of a reference map, which has the same name as its patch."""
    inside = os.listdir(folder)  # noqa: PTH208 - half a million times
    return bool(inside) and all(Path(file).stem.endswith(REFERENCE_MAP_SUFFIX) for file in inside)


def _sensors(folder: Path) -> set[Sensor]:
    found = {band_sensor(path.name) for path in folder.iterdir()} if folder.is_dir() else set()
    return {one for one in found if one is not None}


def _has_both(found: PatchPlace) -> bool:
    return "Sentinel-1" in _sensors(Path(found.paths[0]))


def parse_paths(paths: Sequence[str | Path] | str | Path) -> tuple[Path, ...]:
    """Return one path or several as a tuple."""
    return (Path(paths),) if isinstance(paths, str | Path) else tuple(map(Path, paths))
