"""What happens to training images beyond flips: turns, and bands left out.

Axes: B patches, C channels, H rows, W columns.
"""

import torch
from torch import Tensor

from reben.learn.training.hardware import to_device


def turn(x_BCHW: Tensor, quarters_B: Tensor) -> Tensor:
    """Return images turned counterclockwise by as many quarters as ``quarters_B`` says, 0 to 3.

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
    """Return images each turned by 0, 90, 180 or 270 degrees, drawn from torch's generator."""
    return turn(x_BCHW, torch.randint(4, (len(x_BCHW),)))


def drop_bands(x_BCHW: Tensor, probability: float) -> Tensor:
    """Return images in which channels are 0, the mean of normalised bands, at random.

    An image keeps one channel at least. Nothing is scaled, unlike in dropout: a band that is left
    out shall not change what the others look like.
    """
    kept_BC = torch.rand(x_BCHW.shape[:2]) >= probability
    spared_B = torch.randint(x_BCHW.shape[1], (len(x_BCHW),))
    kept_BC[torch.arange(len(x_BCHW)), spared_B] |= ~kept_BC.any(1)
    return x_BCHW * to_device(kept_BC[:, :, None, None].to(x_BCHW.dtype), x_BCHW.device)
