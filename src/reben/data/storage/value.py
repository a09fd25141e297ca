"""The values of a store, each made of the files of one patch folder.

A Sentinel-2 patch is twelve files, a Sentinel-1 patch two, a reference map one. The tensors of a
value follow each other in the order of their names and without gaps, which gives the very bytes
that the safetensors package writes.

Safetensors blobs in memory: where each tensor lies, without copying anything.

A store has half a million blobs with a few kinds of headers, so a header is parsed once, and
written once.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from reben.data.patch_folders.folder import (
    REFERENCE_MAP_TENSOR,
    band_file_ending,
    is_tiff,
    match_band_file,
)
from reben.data.tiff.read import read_pixels
from reben.errors import StoreError, TiffError
from reben.spec.bands import S1, S2_FULL, native_size
from reben.spec.patches import (
    PATCH_PIXELS,
    REFERENCE_MAP_SUFFIX,
    is_sentinel1_name,
    is_sentinel2_name,
)

_DTYPES: dict[str, np.dtype[Any]] = {
    name: np.dtype(code)
    for name, code in {
        "BOOL": "?",
        "U8": "u1",
        "I8": "i1",
        "U16": "<u2",
        "I16": "<i2",
        "U32": "<u4",
        "I32": "<i4",
        "U64": "<u8",
        "I64": "<i8",
        "F16": "<f2",
        "F32": "<f4",
        "F64": "<f8",
    }.items()
}
_MAX_HEADER = 1 << 20


class TensorPlace(NamedTuple):
    """Where one tensor lies in a blob: dtype, shape, first byte, number of values."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    offset: int
    num_values: int


def blob_layout(blob: Any, name: str) -> Mapping[str, TensorPlace]:  # noqa: ANN401 - a buffer
    """Return where the tensors of a safetensors blob lie.

    Args:
        blob: The bytes of the value, or a buffer over them.
        name: What the blob is called in error messages.

    Raises:
        StoreError: If the blob is damaged: no header, or tensors that lie outside of it.
    """
    length = int.from_bytes(bytes(blob[:8]), "little") if len(blob) >= 8 else -1
    if not 2 <= length <= min(_MAX_HEADER, len(blob) - 8):
        raise StoreError(f"The value of {name} is damaged: it is no safetensors blob.")
    try:
        places, end = _parse_header(bytes(blob[8 : 8 + length]))
    except (ValueError, KeyError, TypeError, AttributeError):
        raise StoreError(f"The value of {name} is damaged: its header cannot be read.") from None
    if end > len(blob):
        raise StoreError(
            f"The value of {name} is damaged: it has {len(blob)} bytes and should have {end}."
        )
    return places


@lru_cache(maxsize=4096)
def _parse_header(header: bytes) -> tuple[Mapping[str, TensorPlace], int]:
    places: dict[str, TensorPlace] = {}
    end = 8 + len(header)
    for name, entry in json.loads(header).items():
        if name == "__metadata__":
            continue
        dtype = _DTYPES[entry["dtype"]]
        shape = tuple(int(side) for side in entry["shape"])
        first, last = (int(offset) for offset in entry["data_offsets"])
        num_values = int(np.prod(shape, dtype=np.int64))
        if min(shape, default=1) < 0 or first < 0 or last - first != num_values * dtype.itemsize:
            raise ValueError(name)
        places[name] = TensorPlace(dtype, shape, 8 + len(header) + first, num_values)
        end = max(end, 8 + len(header) + last)
    return places, end


def view_tensor(blob: Any, place: TensorPlace) -> NDArray[Any]:  # noqa: ANN401 - a buffer
    """Return the tensor at ``place`` as a view into the blob, valid as long as the blob is."""
    flat = np.frombuffer(blob, place.dtype, place.num_values, place.offset)
    return flat.reshape(place.shape)


@lru_cache(maxsize=64)
def blob_header(dtype: np.dtype[Any], shapes: tuple[tuple[str, tuple[int, ...]], ...]) -> bytes:
    """Return the bytes with which a blob of these tensors starts; the values follow, no gaps.

    Args:
        dtype: Dtype of every tensor.
        shapes: Names and shapes. In the order of their names they give the very bytes that the
            safetensors package writes.

    Example:
        >>> blob_header(np.dtype("<u2"), (("Data", (1, 2)),))[8:]
        b'{"Data":{"dtype":"U16","shape":[1,2],"data_offsets":[0,4]}}     '

    Source: https://github.com/huggingface/safetensors, section "Format".
    """
    code = next(code for code, known in _DTYPES.items() if known == dtype)
    entries: dict[str, dict[str, object]] = {}
    end = 0
    for name, shape in shapes:
        start, end = end, end + int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
        entries[name] = {"dtype": code, "shape": shape, "data_offsets": [start, end]}
    text = json.dumps(entries, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


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
    """

    name: KindName
    is_folder: Callable[[str], bool]
    suffix: str
    sizes: Mapping[str, int]
    dtype: np.dtype[Any]

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
        found = match_band_file(file)
        if found is not None and found.patch == patch and found.tensor in self.sizes:
            return found.tensor
        if is_tiff(file):
            known = ", ".join(map(band_file_ending, self.sizes))
            raise PatchFilesError(
                f"the file {file} is unknown; a {self.name} folder holds {patch} and then {known}"
            )
        return None

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


class PatchFilesError(Exception):
    """Why the files of a patch make no value; a reason for the report, not for users to catch."""


SENTINEL2 = Kind(
    name="Sentinel-2",
    is_folder=is_sentinel2_name,
    suffix="",
    sizes={name: native_size(name) for name in sorted(S2_FULL)},
    dtype=np.dtype("<u2"),
)
SENTINEL1 = Kind(
    name="Sentinel-1",
    is_folder=is_sentinel1_name,
    suffix="",
    sizes={name: native_size(name) for name in sorted(S1)},
    dtype=np.dtype("<f4"),
)
REFERENCE_MAP = Kind(
    name="reference map",
    is_folder=is_sentinel2_name,
    suffix=REFERENCE_MAP_SUFFIX,
    sizes={REFERENCE_MAP_TENSOR: PATCH_PIXELS},
    dtype=np.dtype("<u2"),
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
