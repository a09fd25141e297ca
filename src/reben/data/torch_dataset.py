"""A dataset for torch's own loaders, for training loops other than reben's.

Axes: C channels, H rows, W columns, K labels.
"""

from collections.abc import Sequence
from functools import cached_property

import numpy as np
import torch
import torch.utils.data
from torch import Tensor

from reben.data.dataset import Dataset
from reben.data.loading.fill import Buffers, Start, fill_images
from reben.data.preprocess import Preprocess
from reben.spec.labels import LABELS

Item = tuple[Tensor, Tensor]
"""An image, float32 [C, H, W], and its labels as zeros and ones, float32 [K]."""


class TorchDataset(torch.utils.data.Dataset[Item]):
    """Patches by position, for ``torch.utils.data.DataLoader`` and the like.

    Worker processes, forked or spawned, each open the store themselves. A
    `reben.data.loader.Loader` is faster, since it needs neither processes nor copies.

    Args:
        dataset: The patches; they are read with the bands of ``preprocess``.
        preprocess: Turns raw values into images; a model has its own. It must be on the CPU.
        labels: The labels, in the order of the vectors.

    Example:
        >>> patches = TorchDataset(data["train"], model.preprocess)  # doctest: +SKIP
        >>> loader = torch.utils.data.DataLoader(patches, 64, num_workers=2)  # doctest: +SKIP
    """

    def __init__(
        self, dataset: Dataset, preprocess: Preprocess, *, labels: Sequence[str] = LABELS
    ) -> None:
        self.dataset = dataset.with_bands(preprocess.bands)
        self.preprocess = preprocess
        self._label_bits = dataset.table.label_bits(labels)
        self._num_labels = len(labels)

    def __getstate__(self) -> dict[str, object]:
        """Return what is pickled: all but the open store, which belongs to its process."""
        return {name: value for name, value in vars(self).items() if name != "_start"}

    @cached_property
    def _start(self) -> Start[Tensor]:
        return fill_images(self.dataset, self.preprocess, torch.float32)

    def __len__(self) -> int:
        """Count the patches."""
        return len(self.dataset)

    def __getitem__(self, position: int) -> Item:
        """Return the image and the labels of one patch.

        Raises:
            IndexError: If the position is out of range.
            MissingPatchError: If the store lacks the patch.
            PixelsError: If its values cannot be right.
        """
        return self.__getitems__([range(len(self))[position]])[0]

    def __getitems__(self, positions: Sequence[int]) -> list[Item]:
        """Return several patches at once, as torch's loaders ask for them."""
        rows = np.array(positions, np.int64)
        fill = self._start(rows, np.zeros((len(rows), 2), np.bool_), Buffers())
        fill.part(slice(None))
        bits = np.unpackbits(self._label_bits[rows], axis=1, count=self._num_labels)
        labels = torch.from_numpy(bits).float()
        return list(zip(fill.result(), labels, strict=True))
