"""The files of patches, from an unpacked folder or from an archive, and the values they make."""

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np

from reben.data.archives.tar import read_members
from reben.data.patch_folders.folder import (
    band_file_ending,
    is_tiff,
    parse_band,
    require_patch_place,
)
from reben.data.places import require_patch_size
from reben.data.storage.value import OTHER, SENTINEL2, Kind, kind_of_value
from reben.data.tiff.places import bounds_of, georeference
from reben.data.tiff.read import read_pixels
from reben.data.tiff.side_files import SideFiles, side_files_in
from reben.data.tiff.tags import read_claims
from reben.data.values import RANGES, check_values, may_be_odd, require_plain
from reben.errors import ArchiveError
from reben.spec.band_names import match_band_file
from reben.spec.bands import native_size
from reben.spec.patches import Bounds, place_of_name
from reben.support.bounds import MAX_BAND_BYTES, read_file

_MAX_WAITING_BYTES = 1 << 27


class PatchFilesError(Exception):
    """Why the files of a patch make no value; a reason for the report, not for users to catch."""


@dataclass
class PatchFiles:
    """The files of one patch, or why it cannot be used."""

    name: str
    files: dict[str, bytes] = field(default_factory=dict)
    """Tensor -> content of its file."""
    sides: dict[str, SideFiles] = field(default_factory=dict)
    """Tensor -> what lies beside its file, if anything does."""
    problem: str | None = None
    num_bytes: int = 0
    notes: tuple[str, ...] = ()
    num_filled: int = 0
    """Bands of which pixels without data were filled, once the value is made."""
    moved_to: Bounds | None = None
    """Where the files lie, once the value is made, if that is not where the name says."""

    def add(self, kind: Kind, file: str, content: bytes) -> None:
        """Take one more file of the patch; ignore files that are not TIFFs."""
        try:
            tensor = tensor_of(kind, self.name, file)
        except PatchFilesError as error:
            self.problem = self.problem or str(error)
            return
        if tensor is None:
            return
        known = self.files.setdefault(tensor, content)
        if known is content:
            self.num_bytes += len(content)
        elif known != content:
            self.problem = self.problem or f"there are two different files {file}"

    def value(self, kind: Kind) -> bytes:
        """Return the value that the files make; raise `PatchFilesError` if they make none."""
        if self.problem is not None:
            raise PatchFilesError(self.problem)
        missing = [tensor for tensor in kind.sizes if tensor not in self.files]
        if missing:
            raise PatchFilesError(
                f"{', '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing"
            )
        pixels, self.num_filled = _read_tensors(kind, self.files, self.sides)
        if kind.name in RANGES:
            place, named = _require_place(self.files), place_of_name(self.name)
            if place is not None and named is not None and place != named:
                self.moved_to = place
        return b"".join([kind.header, *pixels.values()])

    def agrees(self, kind: Kind, value: bytes) -> bool:
        """Tell whether a value holds the pixels of these files, which need not be all."""
        position = len(kind.header)
        pixels, _ = _read_tensors(kind, self.files, self.sides)
        for tensor, side in kind.sizes.items():
            end = position + side * side * kind.dtype.itemsize
            if tensor in pixels and pixels[tensor] != value[position:end]:
                return False
            position = end
        return value.startswith(kind.header)


def _read_tensors(
    kind: Kind, files: Mapping[str, bytes], sides: Mapping[str, SideFiles]
) -> tuple[dict[str, bytes | memoryview], int]:
    """Return the pixels of files, and of how many a few bad ones were filled."""
    pixels: dict[str, bytes | memoryview] = {
        tensor: _read_tensor(kind, tensor, files[tensor])
        for tensor in kind.sizes
        if tensor in files
    }
    if kind.name not in RANGES or not pixels:  # a reference map
        return pixels, 0
    are_usual = not sides and all(is_usual(kind, tensor, files[tensor]) for tensor in pixels)
    flat = {tensor: np.frombuffer(values, kind.dtype) for tensor, values in pixels.items()}
    if are_usual and not may_be_odd(flat):
        return pixels, 0
    bands = {tensor: parse_band(files[tensor], tensor, tensor).pixels for tensor in pixels}
    bands |= {name: found.apply(name, bands[name], name) for name, found in sides.items()}
    bands = {name: band[None] for name, band in bands.items()}
    filled, num_filled = check_values(bands)
    pixels |= {name: band.astype(kind.dtype).tobytes() for name, band in filled.items()}
    return pixels, len(num_filled)


def is_usual(kind: Kind, tensor: str, content: bytes) -> bool:
    """Tell whether a file says nothing of its values that would change them."""
    claims = read_claims(content, tensor)
    require_plain(tensor, claims.scale, claims.offset)
    means_nothing = claims.nodata is None or (claims.nodata == 0 and kind is SENTINEL2)
    return means_nothing and not claims.has_more


def _require_place(files: Mapping[str, bytes]) -> Bounds | None:
    """Return where files lie; refuse those of several places, or of another size than a patch."""
    different = {(native_size(tensor), georeference(files[tensor])): tensor for tensor in files}
    places = {}
    for (side, _), tensor in different.items():
        places[tensor] = place = bounds_of(files[tensor], tensor)
        if place is not None:
            require_patch_size(tensor, place, place.epsg, side)
    return require_patch_place(places, ())


def _read_tensor(kind: Kind, tensor: str, content: bytes) -> bytes | memoryview:
    dtype, shape, pixels = read_pixels(content, tensor)
    side = kind.sizes[tensor]
    if shape != (side, side) or dtype != kind.dtype:
        raise PatchFilesError(
            f"{tensor} is {shape[0]} x {shape[1]} {dtype} and should be "
            f"{side} x {side} {kind.dtype}"
        )
    return pixels


def tensor_of(kind: Kind, patch: str, file: str) -> str | None:
    """Return which tensor a file in the folder of a patch holds; None if it is not a TIFF.

    A TIFF that does not belong there is a `PatchFilesError`.
    """
    if file.startswith(patch) and (usual := _endings(kind).get(file[len(patch) :])) is not None:
        return usual
    found = match_band_file(file)
    if found is not None and found.patch in (patch, "") and found.tensor in kind.sizes:
        return found.tensor
    if is_tiff(file):
        known = ", ".join(map(band_file_ending, kind.sizes))
        raise PatchFilesError(
            f"the file {file} is unknown; a {kind.name} folder holds {patch} and then {known}"
        )
    return None


@lru_cache(maxsize=16)
def _endings(kind: Kind) -> dict[str, str]:
    """Return the usual endings of the files of a patch -> tensor."""
    return {band_file_ending(tensor): tensor for tensor in kind.sizes}


def may_be_patch(kind: Kind, folder: str) -> bool:
    """Tell by its name whether a folder with TIFFs is to be reported: not if of another kind."""
    return kind.is_folder(folder) or kind_of_value(folder) == OTHER


def _folder_problem(kind: Kind, folder: str) -> str | None:
    if kind.is_folder(folder):
        return None
    return f"there are TIFFs in a folder {folder!r}, which is not the name of a {kind.name} patch"


def read_patch_files(folder: str, kind: Kind) -> PatchFiles:
    """Return the files in the patch folder at path ``folder``."""
    name = folder[folder.rfind("/") + 1 :]
    patch = PatchFiles(name, problem=_folder_problem(kind, name))
    if patch.problem is not None:
        return patch
    try:
        files = os.listdir(folder)  # noqa: PTH208 - a million times
        beside = side_files_in(folder, files)
        for file in files:
            tensor = tensor_of(kind, name, file)
            if tensor is None:
                continue
            patch.add(kind, file, read_file(f"{folder}/{file}", MAX_BAND_BYTES))
            sides = SideFiles.read(f"{folder}/{file}", beside) if beside else None
            if sides and any(sides):
                patch.sides[tensor] = sides
    except PatchFilesError as error:
        patch.problem = str(error)
    except OSError as error:
        where = os.path.basename(error.filename or folder)  # noqa: PTH119 - a text
        patch.problem = f"{where} cannot be read: {error.strerror or error}"
    return patch


def patches_of_archive(
    chunks: Iterator[bytes], archive: str, kind: Kind, wants: Callable[[str], bool]
) -> Iterator[PatchFiles]:
    """Yield the patches of a tar archive, each as soon as its folder is complete and left.

    Patches that stay incomplete come last. A patch whose folder comes again later is yielded
    again. ``wants`` is asked once for each folder. If the archive is damaged or cannot be trusted,
    the patches that were complete come before the `ArchiveError`.
    """
    grouping = _Grouping(kind, wants)
    try:
        for member in read_members(chunks, archive, grouping.wants):
            yield from grouping.take_finished()
            grouping.add(member.content)
    except ArchiveError:
        grouping.leave()
        yield from grouping.take_finished()
        raise
    grouping.leave()
    yield from grouping.take_finished()
    yield from grouping.waiting.values()


class _Grouping:
    """Members of an archive, by patch folder."""

    def __init__(self, kind: Kind, wants: Callable[[str], bool]) -> None:
        self.waiting: dict[str, PatchFiles] = {}
        self._kind = kind
        self._wants_patch = wants
        self._folder: str | None = None
        self._patch: PatchFiles | None = None
        self._file = ""
        self._waiting_bytes = 0
        self._finished: list[PatchFiles] = []

    def wants(self, path: str, size: int) -> bool:
        """Tell whether to read a member; if so, it is added next."""
        folder, _, self._file = path.rpartition("/")
        if folder != self._folder:
            self.leave()
            self._enter(folder)
        patch = self._patch
        if patch is None or not is_tiff(self._file):
            return False
        if folder not in self.waiting:
            self.waiting[folder] = patch
            patch.problem = _folder_problem(self._kind, patch.name)
        if size > MAX_BAND_BYTES:
            patch.problem = patch.problem or f"the file {self._file} has {size} bytes"
        return patch.problem is None

    def add(self, content: bytes) -> None:
        """Take the member that was wanted last."""
        if self._patch is not None:
            before = self._patch.num_bytes
            self._patch.add(self._kind, self._file, content)
            self._waiting_bytes += self._patch.num_bytes - before

    def leave(self) -> None:
        """Finish the patch of the current folder, if nothing of it is missing."""
        patch = self.waiting.get(self._folder or "")
        if patch is not None and (patch.problem or len(patch.files) == len(self._kind.sizes)):
            self._finish(self._folder or "")
        while self._waiting_bytes > _MAX_WAITING_BYTES:
            self._finish(next(iter(self.waiting)))

    def take_finished(self) -> Iterator[PatchFiles]:
        """Yield the patches that were finished since the last call."""
        while self._finished:
            yield self._finished.pop(0)

    def _enter(self, folder: str) -> None:
        self._folder = folder
        name = folder.rpartition("/")[2]
        is_folder = self._kind.is_folder(name)
        is_wanted = self._wants_patch(name) if is_folder else may_be_patch(self._kind, name)
        self._patch = self.waiting.get(folder, PatchFiles(name)) if is_wanted else None

    def _finish(self, folder: str) -> None:
        patch = self.waiting.pop(folder)
        self._waiting_bytes -= patch.num_bytes
        self._finished.append(patch)
