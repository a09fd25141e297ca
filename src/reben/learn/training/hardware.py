"""What a training runs on: devices, number formats, memory."""

from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor, nn

from reben.errors import ConfigError, TrainingError, first_line
from reben.learn.config import TrainConfig

if TYPE_CHECKING:
    from lightning.fabric import Fabric

    from reben.model.classifier import Classifier


def choose_precision(config: TrainConfig) -> Literal["32-true", "16-mixed", "bf16-mixed"]:
    """Return the number format: that of the settings, or the one that auto stands for."""
    if config.precision != "auto":
        return config.precision
    on_gpu = config.accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available()
    return "bf16-mixed" if on_gpu and torch.cuda.is_bf16_supported() else "32-true"


def choose_channels_last(config: TrainConfig, classifier: "Classifier") -> bool:
    """Return whether images lie pixel by pixel: as set, or for networks made of convolutions."""
    if config.channels_last != "auto":
        return config.channels_last == "yes"
    # One convolution is what a transformer cuts its image with.
    return sum(isinstance(module, nn.Conv2d) for module in classifier.model.modules()) > 1


def build_fabric(config: TrainConfig) -> "Fabric":
    """Return what starts the processes of a training and places things on its devices.

    Raises:
        ConfigError: If this machine has no such accelerator, or it cannot compute like that.
    """
    from lightning.fabric import Fabric
    from lightning.fabric.utilities.exceptions import MisconfigurationException

    precision = choose_precision(config)
    try:
        return Fabric(
            accelerator=config.accelerator,
            devices=config.devices,
            num_nodes=config.num_nodes,
            precision=precision,
        )
    except (MisconfigurationException, ValueError, RuntimeError) as error:
        raise ConfigError(
            f"accelerator {config.accelerator} with {config.devices} devices and precision "
            f"{precision} cannot be used here: {error}"
        ) from error


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """Return a tensor on ``device``, without waiting for what the device still has to do."""
    if device.type == "cuda" and tensor.device.type == "cpu":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


def out_of_memory(error: Exception, config: TrainConfig, most_patches: int) -> TrainingError:
    """Return the error that says what fits into the memory of the device.

    Args:
        error: What torch said.
        config: The settings.
        most_patches: The most patches that did fit at once.
    """
    per_part = -(-config.batch_size // (config.world_size * config.accumulate))
    known = f"{most_patches} patches at once did fit before that. " if most_patches else ""
    return TrainingError(
        f"The memory of the device is full with {per_part} patches at once (batch size "
        f"{config.batch_size}, {config.world_size} devices, accumulate {config.accumulate}): "
        f"{first_line(error)}. {known}Set accumulate to {2 * config.accumulate}, which halves what "
        "is in memory and leaves batch size and result of the training as they are, or lower "
        "batch_size."
    )
