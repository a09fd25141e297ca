"""What a training runs on: the trainer, number formats, memory."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from reben.errors import ConfigError, MissingExtraError, TrainingError
from reben.learn.config import TrainConfig

if TYPE_CHECKING:
    from lightning.pytorch import Callback, Trainer
    from lightning.pytorch.loggers import Logger

    from reben.learn.training.task import ClassificationTask
    from reben.model.classifier import Classifier

LOGGERS = {
    "wandb": "wandb",
    "mlflow": "mlflow",
    "trackio": "trackio",
}
"""Loggers on request, and the package that each needs."""


def choose_precision(config: TrainConfig) -> str:
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


def build_trainer(
    config: TrainConfig,
    out: Path,
    callbacks: "Sequence[Callback]",
    loggers: "Sequence[Logger]",
) -> "Trainer":
    """Return Lightning's trainer, set up by ``config``.

    Raises:
        ConfigError: If this machine has no such accelerator, or it cannot compute like that.
    """
    from lightning.fabric.utilities.exceptions import MisconfigurationException
    from lightning.pytorch import Trainer

    from reben.learn.training.checkpoints import SafeCheckpointIO

    precision: Any = choose_precision(config)
    try:
        return Trainer(
            accelerator=config.accelerator,
            devices=config.devices,
            num_nodes=config.num_nodes,
            precision=precision,
            max_epochs=config.epochs,
            logger=list(loggers),
            callbacks=list(callbacks),
            plugins=[SafeCheckpointIO()],
            # Batch norms of ranks see a piece of the batch each; on a CPU torch cannot join them.
            sync_batchnorm=config.world_size > 1 and torch.cuda.is_available(),
            use_distributed_sampler=False,
            default_root_dir=out,
            num_sanity_val_steps=0,
            log_every_n_steps=1,
            enable_model_summary=False,
            enable_progress_bar=False,
        )
    except (MisconfigurationException, ValueError, RuntimeError) as error:
        raise ConfigError(
            f"accelerator {config.accelerator} with {config.devices} devices and precision "
            f"{precision} cannot be used here: {error}"
        ) from error


def build_loggers(names: Sequence[str], out: Path, config: TrainConfig) -> "list[Logger]":
    """Return the loggers beside ``metrics.csv``: TensorBoard where it is installed, and others.

    None of them needs an account: wandb is offline, and mlflow and trackio keep files in the run,
    unless their own environment variables say otherwise.

    Args:
        names: wandb, mlflow, trackio.
        out: The run folder.
        config: The settings, which loggers are told.

    Raises:
        ConfigError: If there is no such logger.
        MissingExtraError: If its package is not installed.
    """
    from reben.learn.training.loggers import make_logger, tensorboard_logger

    unknown = [name for name in names if name not in LOGGERS]
    if unknown:
        raise ConfigError(f"No logger {', '.join(unknown)}. Loggers: {', '.join(LOGGERS)}.")
    _require_installed(names)
    boards = tensorboard_logger(out)
    return [*boards, *(make_logger(name, out, config) for name in names)]


def _require_installed(names: Sequence[str]) -> None:
    from importlib.util import find_spec

    for name in names:
        if find_spec(LOGGERS[name]) is None:
            raise MissingExtraError(
                f"The logger {name} needs the package {LOGGERS[name]}, which is not installed. "
                f'Install it with: pip install "reben[{name}]"'
            )


def out_of_memory(error: Exception, task: "ClassificationTask") -> TrainingError:
    """Return the error that says what fits into the memory of the device."""
    config = task.config
    per_part = -(-config.batch_size // (config.world_size * config.accumulate))
    known = (
        f"{task.most_patches} patches at once did fit before that. " if task.most_patches else ""
    )
    first = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return TrainingError(
        f"The memory of the device is full with {per_part} patches at once (batch size "
        f"{config.batch_size}, {config.world_size} devices, accumulate {config.accumulate}): "
        f"{first} {known}Set accumulate to {2 * config.accumulate}, which halves what is in memory "
        "and leaves batch size and result of the training as they are, or lower batch_size."
    )
