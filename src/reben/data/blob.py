"""Safetensors blobs in memory: where each tensor lies, without copying anything.

A store has half a million blobs with a few kinds of headers, so a header is parsed once, and
written once.
"""

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from reben.errors import StoreError

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
