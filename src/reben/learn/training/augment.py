"""Augmentation of training images besides flips: quarter turns and band dropout.

Axes: B patches, C channels, H rows, W columns.
"""

import torch
from torch import Tensor

from reben.learn.training.hardware import to_device


def turn(x_BCHW: Tensor, quarters_B: Tensor) -> Tensor:
    """Return images rotated counterclockwise by ``quarters_B`` quarter turns, 0 to 3 each.

    Example:
        >>> image = torch.tensor([[[[1, 2], [3, 4]]]])
        >>> turn(image, torch.tensor([1])).tolist()
        [[[[2, 4], [1, 3]]]]
    """
    quarters_B = to_device(quarters_B, x_BCHW.device)
    turned_BCHW = x_BCHW
    for quarters in (1, 2, 3):
        chosen = (quarters_B == quarters)[:, None, None, None]
        turned_BCHW = torch.where(chosen, x_BCHW.rot90(quarters, (2, 3)), turned_BCHW)
    return turned_BCHW


def turn_at_random(x_BCHW: Tensor) -> Tensor:
    """Return images rotated by 0, 90, 180 or 270 degrees each, from torch's generator."""
    return turn(x_BCHW, torch.randint(4, (len(x_BCHW),)))


def drop_bands(x_BCHW: Tensor, probability: float) -> Tensor:
    """Return images with random channels set to 0, the mean of normalised bands.

    Each image keeps at least one channel. Unlike in dropout, the other channels are not scaled.
    """
    kept_BC = torch.rand(x_BCHW.shape[:2]) >= probability
    spared_B = torch.randint(x_BCHW.shape[1], (len(x_BCHW),))
    kept_BC[torch.arange(len(x_BCHW)), spared_B] |= ~kept_BC.any(1)
    return x_BCHW * to_device(kept_BC[:, :, None, None].to(x_BCHW.dtype), x_BCHW.device)
