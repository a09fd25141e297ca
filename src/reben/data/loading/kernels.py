"""Compiled loops from the mapped file of a store to a batch, without copies and without the GIL.

One pass over each band: read it in the mapped file, normalise, repeat pixels up to 10 m, flip, and
write into the batch. The first call on a machine compiles the loops, which takes some seconds;
later processes find them compiled.

The numbers equal those of `reben.data.preprocess.Preprocess` to the last bit: the same operations
in the same order in float32, division included.

Memory bandwidth is the limit. A batch does not fit into the caches, so it is written past them;
otherwise each cache line would be fetched first, only to be overwritten.

An address is the place of a value in memory, as an integer. The caller keeps the memory behind it
alive: a wrong address ends the process. Only this file imports numba.
"""

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba
import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic
from numpy.typing import NDArray

from reben.data.values import RANGES

_Function = TypeVar("_Function", bound=Callable[..., Any])
_Typed = tuple[object, Callable[[Any, Any, Any, Any], object]]


def compiled(function: _Function) -> _Function:
    """Return a function that is compiled when it is called, and runs without Python's lock.

    Compiled code is kept for the next process: beside the source, else in the user's cache folder.
    Where neither can be written, as in containers, each process compiles anew.
    """
    # Division by numpy's rules: Python's check for zero at each pixel would rule out wide
    # registers, and deviations are above zero anyway. No fastmath: it would change the numbers.
    options = {"nogil": True, "error_model": "numpy"}
    try:
        return cast("_Function", numba.njit(cache=True, **options)(function))
    except RuntimeError:  # no folder can be written
        return cast("_Function", numba.njit(**options)(function))


def _pointer(_typing: object, address: object) -> _Typed:
    def generate(_context: object, builder: Any, _signature: object, values: Any) -> object:  # noqa: ANN401
        return builder.inttoptr(values[0], cgutils.voidptr_t)

    return types.voidptr(address), generate


def _stream(num_bytes: int) -> Callable[..., _Typed]:
    def stream(_typing: object, target: object, source: object) -> _Typed:
        def generate(context: Any, builder: Any, _signature: object, values: Any) -> object:  # noqa: ANN401
            vector = ir.VectorType(ir.IntType(8), num_bytes)
            places = [builder.inttoptr(value, ir.PointerType(vector)) for value in values]
            store = builder.store(builder.load(places[1], align=1), places[0], align=num_bytes)
            store.set_metadata("nontemporal", builder.module.add_metadata([ir.IntType(32)(1)]))
            return context.get_dummy_value()

        return types.void(target, source), generate

    return stream


def _fence(_typing: object) -> _Typed:
    def generate(context: Any, builder: Any, _signature: object, _values: object) -> object:  # noqa: ANN401
        builder.fence("seq_cst")
        return context.get_dummy_value()

    return types.void(), generate


pointer = intrinsic(_pointer)
"""Return an address as a pointer, for ``numba.carray``."""
stream_16 = intrinsic(_stream(16))
"""Copy 16 bytes to an address (first) that is a multiple of 16, from another, past the caches."""
stream_32 = intrinsic(_stream(32))
"""Copy 32 bytes to an address (first) that is a multiple of 32, from another, past the caches."""
fence = intrinsic(_fence)
"""Make what was streamed before visible to other threads."""


FLOAT32, BFLOAT16, FLOAT16 = 0, 1, 2
"""The dtypes of images."""
ALIGNMENT = 32
"""Addresses that are written to must be multiples of so many bytes."""

_SIDE, _MIDDLE, _COARSE = 120, 60, 20
_PLANE = _SIDE * _SIDE
_MINUS_ZERO = 0x80000000
_LOWEST, _HIGHEST = np.array(RANGES["Sentinel-1"], np.float32).view(np.uint32).tolist()
"""The bits of the largest and least backscatter."""

_Values = NDArray[Any]


@compiled
def _is_doubtful(address: np.uint64) -> bool:
    # As integers, floats of one sign are in order, so two maxima are enough: the largest with a
    # sign bit, and the largest without.
    largest, largest_unsigned = np.int32(0), np.uint32(0)
    bits = numba.carray(pointer(address), _PLANE, np.uint32)
    for i in range(_PLANE):
        largest = max(largest, np.int32(bits[i]))
        largest_unsigned = max(largest_unsigned, bits[i])
    is_outside = largest > _HIGHEST or largest_unsigned > _LOWEST  # so are NaN and infinity
    return bool(is_outside or largest_unsigned <= _MINUS_ZERO)


@compiled
def _row(address: np.uint64, number: int, length: int, like: _Values) -> _Values:
    # With an address for each row, the compiler sees that no index is negative. Otherwise it would
    # allow for Python's negative indices at each pixel: six times as slow.
    start = address + np.uint64(number * length * like.itemsize)
    return numba.carray(pointer(start), length, like.dtype)  # type: ignore[no-any-return]


@compiled
def _fine(row: _Values, flip: bool, mean: np.float32, std: np.float32, line: _Values) -> None:
    """Write a line of an image from a row of 120 pixels."""
    if flip:
        for x in range(_SIDE):
            line[x] = (np.float32(row[_SIDE - 1 - x]) - mean) / std
    else:
        for x in range(_SIDE):
            line[x] = (np.float32(row[x]) - mean) / std


@compiled
def _middle(row: _Values, flip: bool, mean: np.float32, std: np.float32, line: _Values) -> None:
    """Write a line of an image from a row of 60 pixels, each twice."""
    if flip:
        for x in range(_MIDDLE):
            value = (np.float32(row[_MIDDLE - 1 - x]) - mean) / std
            line[2 * x] = value
            line[2 * x + 1] = value
    else:
        for x in range(_MIDDLE):
            value = (np.float32(row[x]) - mean) / std
            line[2 * x] = value
            line[2 * x + 1] = value


@compiled
def _coarse(row: _Values, flip: bool, mean: np.float32, std: np.float32, line: _Values) -> None:
    """Write a line of an image from a row of 20 pixels, each six times."""
    for x in range(_COARSE):
        value = (np.float32(row[_COARSE - 1 - x if flip else x]) - mean) / std
        for i in range(6):
            line[6 * x + i] = value


@compiled
def _to_bfloat16(line: np.uint64, words: np.uint64) -> None:
    """Round to nearest, ties to even, as torch does; the values are finite."""
    bits = numba.carray(pointer(line), _SIDE, np.uint32)
    rounded = numba.carray(pointer(words), _SIDE, np.uint16)
    for i in range(_SIDE):
        half = np.uint32(0x7FFF) + ((bits[i] >> np.uint32(16)) & np.uint32(1))
        rounded[i] = np.uint16((bits[i] + half) >> np.uint32(16))


@compiled
def _to_float16(line: np.uint64, shifted: np.uint64, words: np.uint64) -> None:
    """Round to nearest, ties to even, as torch does; the values are finite."""
    values = numba.carray(pointer(line), _SIDE, np.float32)
    sums = numba.carray(pointer(shifted), _SIDE, np.float32)
    for i in range(_SIDE):
        # Adding one half leaves as many bits of a tiny value as a subnormal of 16 bits has.
        sums[i] = abs(values[i]) + np.float32(0.5)
    bits = numba.carray(pointer(line), _SIDE, np.uint32)
    tiny = numba.carray(pointer(shifted), _SIDE, np.uint32)
    rounded = numba.carray(pointer(words), _SIDE, np.uint16)
    for i in range(_SIDE):
        sign = (bits[i] >> np.uint32(16)) & np.uint32(0x8000)
        size = bits[i] & np.uint32(0x7FFFFFFF)
        odd = (size >> np.uint32(13)) & np.uint32(1)
        word = (size - np.uint32(0x38000000) + np.uint32(0xFFF) + odd) >> np.uint32(13)
        if size < np.uint32(0x38800000):
            word = tiny[i] - np.uint32(0x3F000000)
        if size >= np.uint32(0x47800000):
            word = np.uint32(0x7C00)
        rounded[i] = np.uint16(sign | word)


@compiled
def _put(line: np.uint64, target: np.uint64, times: int, storage: int) -> None:
    """Write a line as so many lines of an image, in the dtype of the image."""
    if storage == FLOAT32:
        for i in range(times):
            for step in range(0, 4 * _SIDE, 32):
                place = np.uint64(i * 4 * _SIDE + step)
                stream_32(target + place, line + np.uint64(step))
        return
    shifted, words = line + np.uint64(4 * _SIDE), line + np.uint64(8 * _SIDE)
    if storage == BFLOAT16:
        _to_bfloat16(line, words)
    else:
        _to_float16(line, shifted, words)
    for i in range(times):
        for step in range(0, 2 * _SIDE, 16):
            place = np.uint64(i * 2 * _SIDE + step)
            stream_16(target + place, words + np.uint64(step))


@compiled
def _plane(  # noqa: PLR0913, PLR0917 - arrays of scratch would be counted at each row
    address: np.uint64,
    side: int,
    like: _Values,
    flip_x: bool,
    flip_y: bool,
    mean: np.float32,
    std: np.float32,
    scratch: np.uint64,
    target: np.uint64,
    storage: int,
) -> None:
    times = _SIDE // side
    num_bytes = times * _SIDE * (4 if storage == FLOAT32 else 2)
    line = numba.carray(pointer(scratch), _SIDE, np.float32)
    for y in range(side):
        row = _row(address, y, side, like)
        if side == _SIDE:
            _fine(row, flip_x, mean, std, line)
        elif side == _MIDDLE:
            _middle(row, flip_x, mean, std, line)
        else:
            _coarse(row, flip_x, mean, std, line)
        place = side - 1 - y if flip_y else y
        _put(scratch, target + np.uint64(place * num_bytes), times, storage)


@compiled
def fill_images(
    addresses: NDArray[np.uint64],
    formats: NDArray[np.int64],
    figures: NDArray[np.float32],
    flips: NDArray[np.bool_],
    images: int,
    storage: int,
) -> int:
    """Write normalised, flipped images, and return the first patch with doubtful values, or -1.

    Args:
        addresses: Where each band of each patch lies, [B, C].
        formats: Native side length in pixels (120, 60 or 20) and bytes of a value (2: uint16; 4:
            float32, with 120 pixels only), [C, 2].
        figures: Mean and standard deviation, [C, 2].
        flips: Whether to flip left to right and top to bottom, [B, 2].
        images: Address of the images, [B, C, 120, 120].
        storage: Their dtype: `FLOAT32`, `BFLOAT16` or `FLOAT16`.

    Returns:
        The first patch with a float band that is out of range, or that has no negative value, as
        dB never do; -1 if no patch has.
    """
    doubtful = -1
    like_s1, like_s2 = np.empty(0, np.float32), np.empty(0, np.uint16)
    memory = np.empty(10 * _SIDE, np.uint8)
    scratch = np.uint64(memory.ctypes.data)
    target = np.uint64(images)
    for patch in range(addresses.shape[0]):
        for band in range(addresses.shape[1]):
            address, side = addresses[patch, band], formats[band, 0]
            flip_x, flip_y = flips[patch, 0], flips[patch, 1]
            mean, std = figures[band, 0], figures[band, 1]
            if formats[band, 1] > 2:
                if doubtful < 0 and _is_doubtful(address):
                    doubtful = patch
                _plane(address, _SIDE, like_s1, flip_x, flip_y, mean, std, scratch, target, storage)
            else:
                _plane(address, side, like_s2, flip_x, flip_y, mean, std, scratch, target, storage)
            target += np.uint64(_PLANE * (4 if storage == FLOAT32 else 2))
    # An array is freed after its last use, and the use of its address does not count.
    memory[0] = 0
    fence()
    return doubtful


@compiled
def copy_bands(
    addresses: NDArray[np.uint64], formats: NDArray[np.int64], targets: NDArray[np.uint64]
) -> int:
    """Copy bands as they are, and return the first patch with doubtful values, as `fill_images`.

    Args:
        addresses: Where each band of each patch lies, [B, C].
        formats: As for `fill_images`, [C, 2].
        targets: Address of the copy of each band, [B, side, side], [C].
    """
    doubtful = -1
    for patch in range(addresses.shape[0]):
        for band in range(addresses.shape[1]):
            source, side, num_bytes = addresses[patch, band], formats[band, 0], formats[band, 1]
            if num_bytes > 2 and doubtful < 0 and _is_doubtful(source):
                doubtful = patch
            size = side * side * num_bytes
            target = targets[band] + np.uint64(patch * size)
            for step in range(0, size, 32):
                stream_32(target + np.uint64(step), source + np.uint64(step))
    fence()
    return doubtful
