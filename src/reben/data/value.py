"""The values of a store, each made of the files of one patch folder.

A Sentinel-2 patch is twelve files, a Sentinel-1 patch two, a reference map one. The tensors of a
value follow each other in the order of their names and without gaps, which gives the very bytes
that the safetensors package writes.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np

from reben.data.blob import blob_header
from reben.data.tiff import read_pixels
from reben.errors import TiffError
from reben.spec.bands import S1, S2_FULL, native_size
from reben.spec.patches import (
    PATCH_PIXELS,
    REFERENCE_MAP_SUFFIX,
    is_sentinel1_name,
    is_sentinel2_name,
)

KindName = Literal["Sentinel-2", "Sentinel-1", "reference map"]
OTHER = "other"
"""The kind of a value whose name is none that the data set has."""


@dataclass(frozen=True, eq=False)
class Kind:
    """What the patch folders of one input hold.

    Args:
        name: What it is called.
        is_folder: Tells whether a patch folder may have a name.
        suffix: What the name of a value has behind that of its folder.
        sizes: Tensor -> side length in pixels, in the order in which a value holds them.
        dtype: Of every tensor.
        files: What stands behind the name of the folder in the name of a file -> tensor.
    """

    name: KindName
    is_folder: Callable[[str], bool]
    suffix: str
    sizes: Mapping[str, int]
    dtype: np.dtype[Any]
    files: Mapping[str, str]

    @cached_property
    def header(self) -> bytes:
        """The bytes that every value of this kind starts with."""
        shapes = tuple((name, (side, side)) for name, side in self.sizes.items())
        return blob_header(self.dtype, shapes)

    @property
    def num_bytes(self) -> int:
        """Size of a value."""
        pixels = sum(side * side for side in self.sizes.values())
        return len(self.header) + pixels * self.dtype.itemsize

    def tensor_of(self, patch: str, file: str) -> str | None:
        """Return which tensor a file of a patch folder holds; None if it is no TIFF.

        Raises:
            PatchFilesError: If it is a TIFF that has no place there.
        """
        tensor = self.files.get(file[len(patch) :]) if file.startswith(patch) else None
        if tensor is None and is_tiff(file):
            known = ", ".join(self.files)
            raise PatchFilesError(
                f"the file {file} is unknown; a {self.name} folder holds {patch} and then {known}"
            )
        return tensor

    def may_hold(self, name: str) -> bool:
        """Tell whether a folder with TIFFs is one to look at: not one of another kind."""
        return self.is_folder(name) or kind_of_value(name) == OTHER

    def require_folder(self, name: str) -> None:
        """Return if a patch folder may have this name.

        Raises:
            PatchFilesError: If not.
        """
        if not self.is_folder(name):
            raise PatchFilesError(self.folder_problem(name))

    def folder_problem(self, name: str) -> str:
        """Return why a folder of this name holds no patch."""
        return f"there are TIFFs in a folder {name!r}, which is not the name of a {self.name} patch"

    def agrees(self, files: Mapping[str, bytes], value: bytes) -> bool:
        """Tell whether a value holds the pixels of these files, which need not be all.

        Raises:
            PatchFilesError: If a file is damaged.
        """
        position = len(self.header)
        for tensor, side in self.sizes.items():
            end = position + side * side * self.dtype.itemsize
            if tensor in files and self._pixels(tensor, files[tensor]) != value[position:end]:
                return False
            position = end
        return value.startswith(self.header)

    def value(self, files: Mapping[str, bytes]) -> bytes:
        """Return the value made of the files of a patch.

        Args:
            files: Tensor -> content of its file.

        Raises:
            PatchFilesError: If a file is missing or damaged, or of another size or dtype.
        """
        missing = [tensor for tensor in self.sizes if tensor not in files]
        if missing:
            raise PatchFilesError(
                f"{', '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing"
            )
        pixels = [self._pixels(tensor, files[tensor]) for tensor in self.sizes]
        return b"".join([self.header, *pixels])

    def _pixels(self, tensor: str, content: bytes) -> bytes | memoryview:
        try:
            dtype, shape, pixels = read_pixels(content, tensor)
        except TiffError as error:
            raise PatchFilesError(str(error).rstrip(".")) from None
        side = self.sizes[tensor]
        if shape != (side, side) or dtype != self.dtype:
            raise PatchFilesError(
                f"{tensor} is {shape[0]} x {shape[1]} {dtype} and should be "
                f"{side} x {side} {self.dtype}"
            )
        return pixels


def is_tiff(file: str) -> bool:
    """Tell by its name whether a file is a TIFF; macOS keeps attributes in files with a dot."""
    return file.lower().endswith((".tif", ".tiff")) and not file.startswith(".")


class PatchFilesError(Exception):
    """Why the files of a patch make no value; a reason for the report, not for users to catch."""


SENTINEL2 = Kind(
    name="Sentinel-2",
    is_folder=is_sentinel2_name,
    suffix="",
    sizes={name: native_size(name) for name in sorted(S2_FULL)},
    dtype=np.dtype("<u2"),
    files={f"_{name}.tif": name for name in S2_FULL},
)
SENTINEL1 = Kind(
    name="Sentinel-1",
    is_folder=is_sentinel1_name,
    suffix="",
    sizes={name: native_size(name) for name in sorted(S1)},
    dtype=np.dtype("<f4"),
    files={f"_{name}.tif": name for name in S1},
)
REFERENCE_MAP = Kind(
    name="reference map",
    is_folder=is_sentinel2_name,
    suffix=REFERENCE_MAP_SUFFIX,
    sizes={"Data": PATCH_PIXELS},
    dtype=np.dtype("<u2"),
    files={f"{REFERENCE_MAP_SUFFIX}.tif": "Data"},
)
KINDS: Mapping[KindName, Kind] = {kind.name: kind for kind in (SENTINEL2, SENTINEL1, REFERENCE_MAP)}
"""Every kind of value there is."""


def kind_of_value(name: str) -> str:
    """Return the kind of the value called ``name``, or `OTHER`."""
    for kind in (REFERENCE_MAP, SENTINEL2, SENTINEL1):
        folder = name.removesuffix(kind.suffix)
        if folder + kind.suffix == name and kind.is_folder(folder):
            return kind.name
    return OTHER
