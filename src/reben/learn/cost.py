"""What a model costs, whatever the machine: parameters and operations."""

from typing import NamedTuple

import torch

from reben.model.classifier import Classifier
from reben.model.config import ModelConfig


class Cost(NamedTuple):
    """What a model takes, whatever the machine."""

    parameters: int
    gflops: float


def count_cost(config: ModelConfig) -> Cost:
    """Return the parameters and the operations of one patch; computed from shapes alone.

    Example:
        >>> from reben.spec.bands import RGB
        >>> count_cost(ModelConfig("test_resnet", RGB)).parameters > 100_000
        True
    """
    from torch.utils.flop_counter import FlopCounterMode

    with torch.device("meta"), torch.no_grad():
        model = Classifier.from_config(config).eval().requires_grad_(requires_grad=False)
        image_BCHW = torch.empty(1, config.channels, config.image_size, config.image_size)
        with FlopCounterMode(display=False) as counter:  # not building, which tries it out, too
            model(image_BCHW)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    return Cost(parameters, counter.get_total_flops() / 1e9)
