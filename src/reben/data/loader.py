"""Dataset and preprocessing put together: batches for models.

Axes: B patches, C channels, H rows, W columns, K labels.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from reben.data.dataset import Dataset, Masks, open_dataset
from reben.data.loading.batch import Batch, RawBatch, flip
from reben.data.loading.epochs import Epochs, Filling
from reben.data.loading.fill import BandFiller, Buffers, ImageFiller, read_checked
from reben.data.preprocess import Preprocess
from reben.spec.labels import LABELS

__all__ = [
    "Batch",
    "Dataset",
    "Loader",
    "RawBatch",
    "RawLoader",
    "flip",
    "open_dataset",
]


class Loader(Epochs[Tensor, Batch]):
    """Batches of normalised images, the same for the same seed and epoch.

    What a batch holds does not depend on the number of workers. Images of 120 pixels with
    ``nearest`` upsampling, the published ones, are made by a compiled loop straight from the
    store; others by ``preprocess`` itself, which takes longer.

    Args:
        dataset: The patches; they are read with the bands of ``preprocess``, and no others.
        preprocess: What turns raw values into images; a model has its own. Images are put where
            it is.
        batch_size: Patches in a batch, all ranks together; the last batch may hold fewer.
        shuffle: Whether each epoch has an order of its own.
        flips: Whether each image is flipped left to right, and top to bottom, each with
            probability one half.
        seed: What order and flips follow from, together with the epoch.
        labels: The labels, in the order of the columns of `Batch.multi_hot`.
        num_workers: Threads that load ahead; with zero each batch is loaded when it is asked for.
        prefetch: How many batches they load ahead.
        dtype: Of the images: float32, bfloat16 or float16.
        masks: Whether batches have reference maps too, as CORINE ``codes``, or as ``classes``:
            positions in ``labels``, and `reben.data.dataset.UNLABELLED` where there is none.
        rank: Which piece of each batch to yield, where several processes train one model.
        world_size: How many processes there are. Their pieces differ by one patch at most, and a
            last batch of fewer patches than processes is joined to the one before.

    Raises:
        ConfigError: If a setting cannot be.
    """

    def __init__(  # noqa: PLR0913 - all after the third are named
        self,
        dataset: Dataset,
        preprocess: Preprocess,
        batch_size: int,
        *,
        shuffle: bool = False,
        flips: bool = False,
        seed: int = 0,
        labels: Sequence[str] = LABELS,
        num_workers: int = 0,
        prefetch: int = 2,
        dtype: torch.dtype = torch.float32,
        masks: Masks | None = None,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        super().__init__(
            dataset.with_bands(preprocess.bands),
            batch_size,
            shuffle=shuffle,
            flips=flips,
            seed=seed,
            labels=labels,
            num_workers=num_workers,
            prefetch=prefetch,
            masks=masks,
            rank=rank,
            world_size=world_size,
        )
        self.preprocess = preprocess
        self.dtype = dtype
        self._filler = ImageFiller(self.dataset, preprocess, dtype)

    def _start(self, num_patches: int, buffers: Buffers) -> Tensor:
        return self._filler.start(num_patches, buffers)

    def _fill(self, filling: Filling[Tensor], part: slice) -> None:
        rows = filling.rows[part].tolist()
        self._filler.fill(filling.pixels[part], rows, filling.flips[part])

    def _finish(self, filling: Filling[Tensor]) -> Batch:
        multi_hot, names, masks = self._known(filling)
        return Batch(filling.pixels.to(self.preprocess.mean.device), multi_hot, names, masks)


class RawLoader(Epochs[dict[str, Tensor], RawBatch]):
    """Batches of raw bands at native size, for an accelerator to make images of.

    `RawBatch.finish` makes them, with the very flips that a `Loader` of the same settings applies,
    so both give the same images. A raw batch takes a third of the bytes.

    Args:
        dataset: The patches, with the bands to read.
        batch_size: As for `Loader`, like all that follow.
        shuffle: Whether each epoch has an order of its own.
        flips: Whether images will be flipped.
        seed: What order and flips follow from, together with the epoch.
        labels: The labels, in the order of the columns of `RawBatch.multi_hot`.
        num_workers: Threads that load ahead.
        prefetch: How many batches they load ahead.
        masks: Whether batches have reference maps too: ``codes`` or ``classes``.
        rank: Which piece of each batch to yield.
        world_size: How many processes there are.

    Raises:
        ConfigError: If a setting cannot be.
    """

    def __init__(  # noqa: PLR0913 - all after the second are named
        self,
        dataset: Dataset,
        batch_size: int,
        *,
        shuffle: bool = False,
        flips: bool = False,
        seed: int = 0,
        labels: Sequence[str] = LABELS,
        num_workers: int = 0,
        prefetch: int = 2,
        masks: Masks | None = None,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        super().__init__(
            dataset,
            batch_size,
            shuffle=shuffle,
            flips=flips,
            seed=seed,
            labels=labels,
            num_workers=num_workers,
            prefetch=prefetch,
            masks=masks,
            rank=rank,
            world_size=world_size,
        )
        self._filler = BandFiller(dataset)

    def _start(self, num_patches: int, buffers: Buffers) -> dict[str, Tensor]:
        return self._filler.start(num_patches, buffers)

    def _fill(self, filling: Filling[dict[str, Tensor]], part: slice) -> None:
        rows = filling.rows[part].tolist()
        if not self._filler.fill(filling.pixels, part.start, rows):
            filling.is_unusual = True

    def _finish(self, filling: Filling[dict[str, Tensor]]) -> RawBatch:
        bands = filling.pixels
        if filling.is_unusual:
            bands = read_checked(self.dataset, filling.rows.tolist())
        multi_hot, names, masks = self._known(filling)
        return RawBatch(bands, torch.from_numpy(filling.flips), multi_hot, names, masks)

    def _mask_flips(self, filling: Filling[dict[str, Tensor]]) -> NDArray[np.bool_]:
        return np.zeros_like(filling.flips)
