"""Batches filled part by part: normalised images, or bands as they are stored.

Compiled loops do the usual case, straight from the mapped file of the store: bands of their usual
dtype and size, images of 120 pixels, upsampling by repeating pixels. Everything else goes through
`check_bands` and `Preprocess`, which say what is wrong, or take longer and give the same.

Axes: B patches, C channels, h rows and w columns of a band.
"""

import weakref
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Generic, NamedTuple, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from reben.data.dataset import Dataset
from reben.data.loading.addresses import BandAddresses
from reben.data.loading.batch import flip
from reben.data.preprocess import Preprocess, check_bands
from reben.data.storage.value import KINDS
from reben.errors import ConfigError, PixelsError
from reben.spec.bands import BandSet, native_size, sensor
from reben.spec.patches import PATCH_PIXELS

_Pixels = TypeVar("_Pixels")
_IMAGE_DTYPES = (torch.float32, torch.bfloat16, torch.float16)
"""The dtypes of images, in the order of the compiled loop's numbers."""
_CACHE_LINE = 64


class Fill(NamedTuple, Generic[_Pixels]):
    """The pixels of one batch, while they are read."""

    part: Callable[[slice], None]
    """Reads some patches of the batch; threads call it for parts that do not overlap."""
    result: Callable[[], _Pixels]
    """Returns the pixels once all parts are read."""


Start = Callable[[NDArray[np.int64], NDArray[np.bool_], "Buffers"], Fill[_Pixels]]
"""Starts a batch of rows of the table [B] with flips [B, 2] (left to right, top to bottom)."""


def fill_images(dataset: Dataset, preprocess: Preprocess, dtype: torch.dtype) -> Start[Tensor]:
    """Return a function that starts batches of normalised, flipped images, [B, C, H, W].

    Args:
        dataset: The patches, with the bands of ``preprocess``.
        preprocess: Makes images of raw values.
        dtype: Dtype of the images: float32, bfloat16 or float16.
    """
    if dtype not in _IMAGE_DTYPES:
        raise ConfigError(
            f"dtype must be one of {', '.join(map(str, _IMAGE_DTYPES))}, not {dtype}."
        )
    dataset.require_size(preprocess.size)
    addresses = BandAddresses(dataset)
    figures = torch.stack(
        [preprocess.mean.detach().flatten(), preprocess.std.detach().flatten()], 1
    )
    figures_C2 = figures.float().cpu().numpy()
    is_usual = (
        type(preprocess) is Preprocess
        and preprocess.size == dataset.size == PATCH_PIXELS
        and preprocess.statistics.upsampling == "nearest"
    )

    def fill(images: Tensor, rows: NDArray[np.int64], flips: NDArray[np.bool_]) -> None:
        if is_usual and fill_fast(images, rows, flips):
            return
        bands = read_checked(dataset, rows.tolist())
        with torch.no_grad():
            images.copy_(flip(preprocess(bands), torch.from_numpy(flips)))

    def fill_fast(images: Tensor, rows: NDArray[np.int64], flips: NDArray[np.bool_]) -> bool:
        from reben.data.loading import kernels

        # A wide store to an unaligned address would end the process.
        if images.data_ptr() % kernels.ALIGNMENT:
            return False
        with addresses.find(rows.tolist()) as found:
            if found is None:
                return False
            target, storage = images.data_ptr(), _IMAGE_DTYPES.index(dtype)
            doubtful = kernels.fill_images(
                found, addresses.formats, figures_C2, flips, target, storage
            )
        return doubtful < 0

    def start(rows: NDArray[np.int64], flips: NDArray[np.bool_], buffers: Buffers) -> Fill[Tensor]:
        shape = (len(rows), len(dataset.bands), preprocess.size, preprocess.size)
        images = buffers.take(shape, dtype)
        return Fill(lambda part: fill(images[part], rows[part], flips[part]), lambda: images)

    return start


def fill_bands(dataset: Dataset) -> Start[dict[str, Tensor]]:
    """Return a function that starts batches of raw bands, band -> [B, h, w], not flipped."""
    if dataset.size != PATCH_PIXELS:
        return partial(_start_other, dataset)
    addresses = BandAddresses(dataset)

    def fill(bands: dict[str, Tensor], first: int, rows: NDArray[np.int64]) -> bool:
        """Write rows from patch ``first`` of the batch on; False if a patch is unusual."""
        from reben.data.loading import kernels

        targets = np.array([band[first:].data_ptr() for band in bands.values()], np.uint64)
        if (targets % kernels.ALIGNMENT).any():
            return False
        with addresses.find(rows.tolist()) as found:
            if found is None:
                return False
            return kernels.copy_bands(found, addresses.formats, targets) < 0

    def start(
        rows: NDArray[np.int64], _flips: NDArray[np.bool_], buffers: Buffers
    ) -> Fill[dict[str, Tensor]]:
        bands = _take_bands(dataset.bands, len(rows), buffers)
        unusual: list[slice] = []

        def fill_part(part: slice) -> None:
            if not fill(bands, part.start, rows[part]):
                unusual.append(part)

        # Unusual values may need another dtype, which then holds for the whole batch.
        return Fill(fill_part, lambda: read_checked(dataset, rows.tolist()) if unusual else bands)

    return start


def _start_other(
    dataset: Dataset, rows: NDArray[np.int64], _flips: NDArray[np.bool_], _buffers: "Buffers"
) -> Fill[dict[str, Tensor]]:
    """Start a batch of raw bands of patches of another size than usual."""
    parts: dict[int, dict[str, Tensor]] = {}

    def fill_part(part: slice) -> None:
        parts[part.start or 0] = read_checked(dataset, rows[part].tolist())

    def result() -> dict[str, Tensor]:
        return {
            name: torch.cat([parts[start][name].float() for start in sorted(parts)])
            for name in dataset.bands
        }

    return Fill(fill_part, result)


def _take_bands(names: BandSet, num_patches: int, buffers: "Buffers") -> dict[str, Tensor]:
    """Return memory for bands, all in one block."""
    sizes = [
        num_patches * native_size(name) ** 2 * KINDS[sensor(name)].dtype.itemsize for name in names
    ]
    block = buffers.take((sum(sizes),), torch.uint8)
    bands, end = {}, 0
    for name, size in zip(names, sizes, strict=True):
        values, end = block[end : end + size], end + size
        dtype = torch.float32 if KINDS[sensor(name)].dtype == np.float32 else torch.uint16
        bands[name] = values.view(dtype).view(num_patches, native_size(name), native_size(name))
    return bands


def read_checked(dataset: Dataset, rows: Sequence[int]) -> dict[str, Tensor]:
    """Return the raw bands of patches, [B, h, w], after all checks."""
    patches = [dataset.patch(row) for row in rows]
    kinds = {tuple((band.dtype, band.shape) for band in patch.values()) for patch in patches}
    if len(kinds) == 1:
        stacked = {name: np.stack([patch[name] for patch in patches]) for name in dataset.bands}
        with suppress(PixelsError):
            return check_bands(stacked, dataset.bands, dataset.size)
    # If dtypes differ, or to find the patch that is wrong, check one by one.
    checked = []
    for row, patch in zip(rows, patches, strict=True):
        try:
            checked.append(check_bands(patch, dataset.bands, dataset.size))
        except PixelsError as error:
            name = dataset.table.names[row]
            raise type(error)(f"Patch {name} in the store {dataset.store.path}: {error}") from None
    return {name: torch.cat([one[name].float() for one in checked]) for name in dataset.bands}


class Buffers:
    """Memory for batches, reused once nobody holds the tensors made of it.

    The system hands over fresh memory page by page, which takes as long as filling it. Tensors and
    views of them may be kept for any time: the next batch then gets other memory.
    """

    def __init__(self) -> None:
        self._free: defaultdict[int, list[NDArray[np.uint8]]] = defaultdict(list)

    def take(self, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        """Return a tensor of arbitrary values, on memory of its own."""
        num_bytes = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
        free = self._free[num_bytes]
        block = free.pop() if free else _aligned(num_bytes)
        # Only the tensor holds this view, so the view dies when the memory is free.
        view = block[:]
        weakref.finalize(view, free.append, block).atexit = False
        return torch.from_numpy(view).view(dtype).view(shape)


def _aligned(num_bytes: int) -> NDArray[np.uint8]:
    # Wide stores across the borders of cache lines are slower.
    memory = np.empty(num_bytes + _CACHE_LINE, np.uint8)
    start = -memory.ctypes.data % _CACHE_LINE
    return memory[start : start + num_bytes]
