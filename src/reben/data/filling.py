"""Batches filled patch by patch: images through the compiled loop, or bands as they are.

The compiled loop knows the usual case: bands of their usual dtype and size, images of 120 pixels,
upsampling by repeating pixels. All else goes through `check_bands` and `Preprocess`, which say what
is wrong, or take longer and give the same.

Axes: B patches, C channels, h rows and w columns of a band.
"""

from collections.abc import Sequence
from contextlib import suppress

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from reben.data.batches import flip
from reben.data.buffers import Buffers
from reben.data.dataset import Dataset
from reben.data.gather import BandGather, is_float
from reben.data.preprocess import Preprocess, check_bands
from reben.errors import ConfigError, PixelsError
from reben.spec.bands import BandSet, native_size
from reben.spec.patches import PATCH_PIXELS

IMAGE_DTYPES = (torch.float32, torch.bfloat16, torch.float16)
"""What images can be of, in the order of the compiled loop's numbers."""


class ImageFiller:
    """Fills batches of normalised, flipped images.

    Args:
        dataset: The patches.
        preprocess: What turns raw values into images.
        dtype: Of the images: float32, bfloat16 or float16.

    Raises:
        ConfigError: If images cannot be of ``dtype``.
    """

    def __init__(self, dataset: Dataset, preprocess: Preprocess, dtype: torch.dtype) -> None:
        if dtype not in IMAGE_DTYPES:
            raise ConfigError(
                f"Images cannot be {dtype}. They can be {', '.join(map(str, IMAGE_DTYPES))}."
            )
        self._dataset = dataset
        self._preprocess = preprocess
        self._dtype = dtype
        self._gather = BandGather(dataset.store, dataset.table, dataset.bands)
        self._formats = band_formats(dataset.bands)
        figures = [getattr(preprocess, name).detach().flatten() for name in ("mean", "std")]
        self._figures = torch.stack(figures, 1).float().cpu().numpy()
        self._is_fast = (
            type(preprocess) is Preprocess
            and preprocess.size == PATCH_PIXELS
            and preprocess.statistics.upsampling == "nearest"
        )

    def start(self, num_patches: int, buffers: Buffers) -> Tensor:
        """Return memory for a batch, [B, C, H, W]."""
        size = self._preprocess.size
        return buffers.take((num_patches, len(self._dataset.bands), size, size), self._dtype)

    def fill(self, images: Tensor, rows: Sequence[int], flips: NDArray[np.bool_]) -> None:
        """Write the images of ``rows``.

        Raises:
            MissingPatchError: If the store lacks a patch.
            PixelsError: If the values of a patch cannot be right; the message names it.
        """
        if self._is_fast and self._fill_fast(images, rows, flips):
            return
        bands = read_checked(self._dataset, rows)
        with torch.no_grad():
            images.copy_(flip(self._preprocess(bands), torch.from_numpy(flips)))

    def _fill_fast(self, images: Tensor, rows: Sequence[int], flips: NDArray[np.bool_]) -> bool:
        from reben.data.fused import ALIGNMENT, fill_images

        # A wide store to another address would end the process.
        if images.data_ptr() % ALIGNMENT:
            return False
        with self._gather.addresses(rows) as addresses:
            if addresses is None:
                return False
            storage = IMAGE_DTYPES.index(self._dtype)
            doubtful = fill_images(
                addresses, self._formats, self._figures, flips, images.data_ptr(), storage
            )
        return doubtful < 0


class BandFiller:
    """Fills batches of raw bands.

    Args:
        dataset: The patches.
    """

    def __init__(self, dataset: Dataset) -> None:
        self._dataset = dataset
        self._gather = BandGather(dataset.store, dataset.table, dataset.bands)
        self._formats = band_formats(dataset.bands)

    def start(self, num_patches: int, buffers: Buffers) -> dict[str, Tensor]:
        """Return memory for a batch: band -> [B, h, w], all in one block."""
        num_bytes = [num_patches * side * side * size for side, size in self._formats.tolist()]
        block = buffers.take((sum(num_bytes),), torch.uint8)
        bands, end = {}, 0
        for name, size in zip(self._dataset.bands, num_bytes, strict=True):
            start, end = end, end + size
            values = block[start:end].view(torch.float32 if is_float(name) else torch.uint16)
            bands[name] = values.view(num_patches, native_size(name), native_size(name))
        return bands

    def fill(self, bands: dict[str, Tensor], first: int, rows: Sequence[int]) -> bool:
        """Write the bands of ``rows``, the first of them as patch ``first`` of the batch.

        Returns:
            Whether it was done. If not, the values are unusual, and `read_checked` is to read the
            whole batch.
        """
        from reben.data.fused import ALIGNMENT, copy_bands

        targets = np.array([band[first:].data_ptr() for band in bands.values()], np.uint64)
        if (targets % ALIGNMENT).any():
            return False
        with self._gather.addresses(rows) as addresses:
            return addresses is not None and copy_bands(addresses, self._formats, targets) < 0


def band_formats(bands: BandSet) -> NDArray[np.int64]:
    """Return native side length and bytes of a value of each band, [C, 2]."""
    return np.array([(native_size(name), 4 if is_float(name) else 2) for name in bands], np.int64)


def read_checked(dataset: Dataset, rows: Sequence[int]) -> dict[str, Tensor]:
    """Return the raw bands of patches, [B, h, w], after all checks.

    Raises:
        MissingPatchError: If the store lacks a patch.
        BandsMismatchError: If a patch lacks a band.
        PixelsError: If the values of a patch cannot be right; the message names it.
    """
    patches = [dataset.patch(row) for row in rows]
    kinds = {tuple((band.dtype, band.shape) for band in patch.values()) for patch in patches}
    if len(kinds) == 1:
        stacked = {name: np.stack([patch[name] for patch in patches]) for name in dataset.bands}
        with suppress(PixelsError):
            return check_bands(stacked, dataset.bands)
    # Where dtypes differ, or to find the patch that is wrong, each is looked at by itself.
    checked = []
    for row, patch in zip(rows, patches, strict=True):
        try:
            checked.append(check_bands(patch, dataset.bands))
        except PixelsError as error:
            name = dataset.table.patch_ids[row]
            raise type(error)(f"Patch {name} in the store {dataset.store.path}: {error}") from None
    return {name: torch.cat([one[name].float() for one in checked]) for name in dataset.bands}
