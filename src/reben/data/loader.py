"""Loaders: the patches of a dataset as batches for models.

Axes: B patches, C channels, H rows, W columns, K labels.
"""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from reben.data.dataset import Dataset, Masks
from reben.data.loading.batch import Batch, RawBatch, flip
from reben.data.loading.epochs import Epochs
from reben.data.loading.fill import fill_bands, fill_images
from reben.data.opening import open_dataset
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


class Loader(Epochs[Tensor]):
    """Batches of normalised images, the same for the same seed and epoch.

    The content of a batch does not depend on the number of workers. Images of 120 pixels with
    ``nearest`` upsampling, which the published models expect, are made by a compiled loop straight
    from the store; others by ``preprocess`` itself, which takes longer.

    Args:
        dataset: The patches; only the bands of ``preprocess`` are read.
        preprocess: Turns raw values into images; a model has its own. Images are moved to its
            device.
        batch_size: Patches in a batch, over all ranks; the last batch may hold fewer.
        shuffle: Whether to draw a new order for each epoch.
        flips: Whether to flip each image left to right and top to bottom, each with probability
            one half.
        seed: Seed of order and flips, together with the epoch.
        labels: The labels, in the order of the columns of `Batch.multi_hot`.
        num_workers: Threads that load ahead; with zero, each batch is loaded when it is asked for.
        prefetch: Number of batches to load ahead.
        dtype: Dtype of the images: float32, bfloat16 or float16.
        masks: Adds reference maps to batches, as CORINE ``codes`` or as ``classes``: positions in
            ``labels``, and `reben.data.dataset.UNLABELLED` where a code has no label.
        rank: Which piece of each batch to yield, if several processes train one model.
        world_size: Number of processes. Their pieces differ by at most one patch, and a last batch
            with fewer patches than processes is merged into the one before.

    Raises:
        ConfigError: If a setting is out of range.
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
        dataset = dataset.with_bands(preprocess.bands)
        super().__init__(
            dataset,
            batch_size,
            fill_images(dataset, preprocess, dtype),
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

    def __iter__(self) -> Iterator[Batch]:
        """Yield the batches of the epoch.

        Raises:
            MissingPatchError: If the store lacks a patch, or a reference map that was asked for.
            PixelsError: If the values of a patch cannot be right.
        """
        for batch in self._load(flip_masks=True):
            images = batch.fill.result().to(self.preprocess.mean.device)
            yield Batch(images, *self._known(batch))


class RawLoader(Epochs[dict[str, Tensor]]):
    """Batches of raw bands at native size, from which images are made on the accelerator.

    `RawBatch.finish` makes them, with the flips that a `Loader` with the same settings applies, so
    both give the same images. A raw batch takes a third of the bytes.

    Args:
        dataset: The patches, with the bands to read.
        batch_size: As for `Loader`, like all that follow.
        shuffle: Whether to draw a new order for each epoch.
        flips: Whether images will be flipped.
        seed: Seed of order and flips, together with the epoch.
        labels: The labels, in the order of the columns of `RawBatch.multi_hot`.
        num_workers: Threads that load ahead.
        prefetch: Number of batches to load ahead.
        masks: Adds reference maps to batches: ``codes`` or ``classes``.
        rank: Which piece of each batch to yield.
        world_size: Number of processes.

    Raises:
        ConfigError: If a setting is out of range.
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
            fill_bands(dataset),
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

    def __iter__(self) -> Iterator[RawBatch]:
        """Yield the batches of the epoch.

        Raises:
            MissingPatchError: If the store lacks a patch, or a reference map that was asked for.
            PixelsError: If the values of a patch cannot be right.
        """
        for batch in self._load(flip_masks=False):
            flips = torch.from_numpy(batch.flips)
            yield RawBatch(batch.fill.result(), flips, *self._known(batch))
