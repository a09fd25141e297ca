"""What a loader yields: images ready for a model, or raw bands to be made into images elsewhere.

Axes: B patches, C channels, H rows, W columns, K labels.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from reben.data.preprocess import Preprocess


class Batch(NamedTuple):
    """Images, their labels and their names."""

    images: Tensor
    """Normalised images, float32 [B, C, H, W] if nothing else was asked for."""
    multi_hot: Tensor
    """Labels as zeros and ones in alphabetical order, float32 [B, K]."""
    names: list[str]
    """Sentinel-2 patch names."""
    masks: Tensor | None = None
    """Reference maps [B, 120, 120] on request: CORINE codes uint16, or classes int64."""


class RawBatch(NamedTuple):
    """Bands as the store holds them, to be made into images where there is time for it.

    Move it to an accelerator field by field (Lightning does), and let `finish` do the rest there.
    It takes a third of the bytes of the images.
    """

    bands: dict[str, Tensor]
    """Band -> raw values [B, h, w] at native size: digital numbers uint16, dB float32."""
    flips: Tensor
    """Whether each image is to be flipped left to right, and top to bottom; booleans [B, 2]."""
    multi_hot: Tensor
    """Labels as zeros and ones in alphabetical order, float32 [B, K]."""
    names: list[str]
    """Sentinel-2 patch names."""
    masks: Tensor | None = None
    """Reference maps on request, not flipped yet."""

    def finish(self, preprocess: Preprocess, dtype: torch.dtype = torch.float32) -> Batch:
        """Return the images, made on the device of ``preprocess``; the same as a loader makes.

        Args:
            preprocess: What turns raw values into images.
            dtype: Of the images.
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
        which: Booleans [B, 2]: whether to flip left to right, and whether top to bottom.
    """
    which = which.to(images.device)
    images = torch.where(which[:, 0, None, None, None], images.flip(3), images)
    return torch.where(which[:, 1, None, None, None], images.flip(2), images)
