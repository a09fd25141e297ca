"""What a loader yields: images ready for a model, or raw bands that become images elsewhere.

Axes: B patches, C channels, H rows, W columns, K labels.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from reben.data.preprocess import Preprocess


class Batch(NamedTuple):
    """Images with labels and names."""

    images: Tensor
    """Normalised images [B, C, H, W], float32 unless another dtype was asked for."""
    multi_hot: Tensor
    """Labels as zeros and ones in alphabetical order, float32 [B, K]."""
    names: list[str]
    """Sentinel-2 patch names."""
    masks: Tensor | None = None
    """Reference maps [B, 120, 120] on request: CORINE codes uint16, or classes int64."""


class RawBatch(NamedTuple):
    """Bands as the store holds them, which take a third of the bytes of the images.

    Move it to an accelerator field by field (Lightning does), and let `finish` make the images
    there.
    """

    bands: dict[str, Tensor]
    """Band -> raw values [B, h, w] at native size: digital numbers uint16, dB float32."""
    flips: Tensor
    """Whether to flip each image left to right and top to bottom; booleans [B, 2]."""
    multi_hot: Tensor
    """Labels as zeros and ones in alphabetical order, float32 [B, K]."""
    names: list[str]
    """Sentinel-2 patch names."""
    masks: Tensor | None = None
    """Reference maps on request, not yet flipped."""

    def finish(self, preprocess: Preprocess, dtype: torch.dtype = torch.float32) -> Batch:
        """Return the images, made on the device of ``preprocess``; those that a `Loader` makes.

        Args:
            preprocess: Turns raw values into images.
            dtype: Dtype of the images.
        """
        with torch.no_grad():
            images = flip(preprocess(self.bands), self.flips).to(dtype)
        masks = self.masks
        if masks is not None:
            masks = flip(masks[:, None], self.flips)[:, 0]
        return Batch(images, self.multi_hot, self.names, masks)


def flip(images: Tensor, which: Tensor) -> Tensor:
    """Return images flipped left to right and top to bottom.

    Args:
        images: [B, C, H, W].
        which: Whether to flip left to right and top to bottom, booleans [B, 2].
    """
    which = which.to(images.device)
    images = torch.where(which[:, 0, None, None, None], images.flip(3), images)
    return torch.where(which[:, 1, None, None, None], images.flip(2), images)
