"""The values of a store: safetensors blobs, and the tensors that the value of each sensor has.

The tensors of a value follow each other in the order of their names and without gaps, which gives
the same bytes as the safetensors package. Half a million blobs have few different headers, so each
header is parsed and written only once.
"""

import json
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from reben.errors import StoreError
from reben.spec.band_names import REFERENCE_MAP_TENSOR
from reben.spec.bands import S1, S2_FULL, native_size
from reben.spec.patches import (
    PATCH_PIXELS,
    REFERENCE_MAP_SUFFIX,
    is_sentinel1_name,
    is_sentinel2_name,
)

_DTYPES: dict[str, np.dtype[Any]] = {"BOOL": np.dtype("?")} | {
    f"{name}{8 * size}": np.dtype(f"<{name.lower()}{size}")
    for name, sizes in (("U", (1, 2, 4, 8)), ("I", (1, 2, 4, 8)), ("F", (2, 4, 8)))
    for size in sizes
}
"""Name in safetensors -> dtype."""
_MAX_HEADER = 1 << 20
_MAX_KEPT_HEADER = 1 << 14
_MAX_AXES = 8
_MAX_NUM_VALUES = 1 << 40
OTHER = "other"
"""The kind of a value whose name is not one of the data set."""


class TensorPlace(NamedTuple):
    """Where one tensor lies in a blob: dtype, shape, first byte, number of values."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    offset: int
    num_values: int


def blob_layout(blob: Any, name: str) -> Mapping[str, TensorPlace]:  # noqa: ANN401 - a buffer
    """Return where the tensors of a safetensors blob lie; raise `StoreError` if it is damaged."""
    length = int.from_bytes(bytes(blob[:8]), "little") if len(blob) >= 8 else -1
    if not 2 <= length <= min(_MAX_HEADER, len(blob) - 8):
        raise StoreError(f"The value of {name} is damaged: it is not a safetensors blob.")
    parse = _parse_and_keep if length <= _MAX_KEPT_HEADER else _parse_header
    try:
        places, end = parse(bytes(blob[8 : 8 + length]))
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        raise StoreError(f"The value of {name} is damaged: its header cannot be read.") from None
    if end > len(blob):
        raise StoreError(
            f"The value of {name} is damaged: it has {len(blob)} bytes and should have {end}."
        )
    return places


def _parse_header(header: bytes) -> tuple[Mapping[str, TensorPlace], int]:
    """Return where tensors lie, and where the last one ends; some error if that is impossible."""
    places: dict[str, TensorPlace] = {}
    end = 8 + len(header)
    for name, entry in json.loads(header).items():
        if name == "__metadata__":
            continue
        dtype, shape = _DTYPES[entry["dtype"]], tuple(entry["shape"])
        first, last = entry["data_offsets"]
        if not all(type(number) is int and number >= 0 for number in (*shape, first, last)):
            raise ValueError(name)
        num_values = math.prod(shape)
        # Even if one side is 0, numpy refuses others that are too large.
        is_large = math.prod(side or 1 for side in shape) > _MAX_NUM_VALUES
        if is_large or len(shape) > _MAX_AXES or last - first != num_values * dtype.itemsize:
            raise ValueError(name)
        places[name] = TensorPlace(dtype, shape, 8 + len(header) + first, num_values)
        end = max(end, 8 + len(header) + last)
    return places, end


_parse_and_keep = lru_cache(maxsize=4096)(_parse_header)


def view_tensor(blob: Any, place: TensorPlace) -> NDArray[Any]:  # noqa: ANN401 - a buffer
    """Return the tensor at ``place`` as a view into the blob."""
    flat = np.frombuffer(blob, place.dtype, place.num_values, place.offset)
    return flat.reshape(place.shape)


@lru_cache(maxsize=64)
def blob_header(dtype: np.dtype[Any], shapes: tuple[tuple[str, tuple[int, ...]], ...]) -> bytes:
    """Return the start of a blob of tensors with these names and shapes; the values follow.

    Example:
        >>> blob_header(np.dtype("<u2"), (("Data", (1, 2)),))[8:]
        b'{"Data":{"dtype":"U16","shape":[1,2],"data_offsets":[0,4]}}     '

    Source: https://github.com/huggingface/safetensors, section "Format".
    """
    code = next(code for code, known in _DTYPES.items() if known == dtype)
    entries: dict[str, dict[str, object]] = {}
    end = 0
    for name, shape in shapes:
        start, end = end, end + math.prod(shape) * dtype.itemsize
        entries[name] = {"dtype": code, "shape": shape, "data_offsets": [start, end]}
    text = json.dumps(entries, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


@dataclass(frozen=True, eq=False)
class Kind:
    """One kind of value: its name and its tensors.

    Args:
        name: ``Sentinel-2``, ``Sentinel-1`` or ``reference map``.
        is_folder: Tells by its name whether a folder is a patch of this kind.
        suffix: What follows the name of the folder in the name of the value.
        sizes: Tensor -> side length in pixels, in the order in which a value holds them.
        dtype: Of every tensor.
    """

    name: str
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
KINDS: Mapping[str, Kind] = {kind.name: kind for kind in (SENTINEL2, SENTINEL1, REFERENCE_MAP)}
"""Every kind of value, by name; those of patches are called like their sensor."""


def kind_of_value(name: str) -> str:
    """Return the name of the kind of the value called ``name``, or `OTHER`."""
    for kind in (REFERENCE_MAP, SENTINEL2, SENTINEL1):
        folder = name.removesuffix(kind.suffix)
        if folder + kind.suffix == name and kind.is_folder(folder):
            return kind.name
    return OTHER


OWN_SENTINEL1_SUFFIX = "_S1"
"""What follows the name of a patch of one's own in the name of its Sentinel-1 value."""


def own_kind_of_value(name: str) -> str:
    """Return the name of the kind of a value in a store of patches of one's own."""
    if name.endswith(OWN_SENTINEL1_SUFFIX) or is_sentinel1_name(name):
        return SENTINEL1.name
    return REFERENCE_MAP.name if name.endswith(REFERENCE_MAP_SUFFIX) else SENTINEL2.name


def own_kind(name: str, bands: Iterable[str], size: int) -> Kind:
    """Return the kind of values of patches of one's own.

    Args:
        name: ``Sentinel-2`` or ``Sentinel-1``.
        bands: Those that each value has.
        size: Side length in pixels of 10 m.
    """
    sizes = {band: native_size(band, size) for band in sorted(bands)}
    return replace(KINDS[name], is_folder=_is_any, sizes=sizes)


def _is_any(_folder: str) -> bool:
    return True
