"""The network of a classifier: its names in published weights, its modes, its scores.

Axes: B patches, C channels, H rows, W columns, K labels.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

from torch import Tensor, nn


class VisionModel(nn.Module):
    """The network, under the name that it has in published weights."""

    def __init__(self, vision_encoder: nn.Module) -> None:
        super().__init__()
        self.vision_encoder = vision_encoder

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Return logits, [B, K]."""
        return cast("Tensor", self.vision_encoder(x_BCHW))


def named_as_published(network: nn.Module) -> nn.Module:
    """Return a network whose weights have the names of those of a classifier."""
    return nn.ModuleDict({"model": VisionModel(network)})


@contextmanager
def evaluation_mode(model: nn.Module) -> Iterator[None]:
    """Switch off dropout and the like; afterwards each module is in the mode it was in.

    A frozen batch norm is in eval mode within a network that trains.
    """
    training = [module for module in model.modules() if module.training]
    if training:
        model.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True


def scores_of(logits_BK: Tensor, temperature: float) -> Tensor:
    """Return the scores of logits, 0 to 1, same shape."""
    # Dividing by one changes no bit, but that is not to be relied on.
    return (logits_BK / temperature if temperature != 1 else logits_BK).sigmoid()
