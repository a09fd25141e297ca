"""The hardware of a training: devices, number formats, memory."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor, nn

from reben.errors import ConfigError, TrainingError, first_line
from reben.learn.config import TrainConfig
from reben.support.processes import usable_cores

if TYPE_CHECKING:
    from lightning.fabric import Fabric

    from reben.model.classifier import Classifier


ASYNCHRONOUS = ("cuda",)
"""Devices that work on while the host does something else, and copy from pinned memory meanwhile.

A loop keeps them busy only if it never waits: no value of a tensor of theirs is looked at, and all
copies go through `to_device` and `to_host`."""
CPU = torch.device("cpu")
_FEW_PROCESSES = 8
"""Processes that may share the cores of a machine, however few these are."""
_MOST_WORKERS = 8


def choose_precision(config: TrainConfig) -> Literal["32-true", "16-mixed", "bf16-mixed"]:
    """Return the number format of the settings, with ``auto`` resolved."""
    if config.precision != "auto":
        return config.precision
    on_gpu = config.accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available()
    return "bf16-mixed" if on_gpu and _has_bf16() else "32-true"


def _has_bf16() -> bool:
    """Return whether the GPU computes with bf16; older ones only emulate it, which is slow."""
    return bool(torch.cuda.is_bf16_supported(including_emulation=False))


def choose_channels_last(config: TrainConfig, classifier: "Classifier") -> bool:
    """Return whether images are channels-last, with ``auto`` resolved."""
    if config.channels_last != "auto":
        return config.channels_last == "yes"
    # A transformer has one convolution, which cuts the image into patches.
    return sum(isinstance(module, nn.Conv2d) for module in classifier.model.modules()) > 1


def build_fabric(config: TrainConfig) -> "Fabric":
    """Return the Fabric of a training: its processes, devices and number format."""
    from lightning.fabric import Fabric
    from lightning.fabric.utilities.exceptions import MisconfigurationException

    precision = choose_precision(config)
    require_launched(config)
    try:
        fabric = Fabric(
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
    most = max(_FEW_PROCESSES, usable_cores())
    if fabric.device.type == "cpu" and config.devices > most:
        raise ConfigError(
            f"devices {config.devices} would start as many processes on this machine, which has "
            f"{usable_cores()} cores. Set devices to at most {most}; the batch size stays."
        )
    return fabric


def require_launched(config: TrainConfig) -> None:
    """Check that as many processes were started as the settings say, if a launcher did.

    Else each of them would train alone, and all but one in vain.
    """
    # srun sets the second one for its tasks, and neither is set in the script of a job itself.
    names = ("WORLD_SIZE", "SLURM_STEP_NUM_TASKS")
    told = {name: int(os.environ[name]) for name in names if os.environ.get(name, "").isdecimal()}
    for name, num_processes in told.items():
        if num_processes not in (1, config.world_size):
            raise ConfigError(
                f"{num_processes} processes were started ({name}), and devices {config.devices} x "
                f"num_nodes {config.num_nodes} are {config.world_size}. Start one process for "
                "each device: set devices to the processes of one machine, num_nodes to the "
                "machines."
            )
    if config.num_nodes > 1 and not told and "MASTER_ADDR" not in os.environ:
        raise ConfigError(
            f"num_nodes {config.num_nodes} needs a launcher that starts reben on each machine: "
            "srun or torchrun, as in examples/train-slurm.sh."
        )


def takes_raw_bands(device: torch.device) -> bool:
    """Return whether raw bands go to a device, to become images there; MPS has no uint16."""
    return device.type in ASYNCHRONOUS


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """Return a tensor on ``device``, without waiting until the device has done its work."""
    if device.type in ASYNCHRONOUS and tensor.device.type == "cpu":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


def to_host(tensor: Tensor) -> Callable[[], Tensor]:
    """Begin to copy a tensor to the host; return what waits for that, and for no later work."""
    if tensor.device.type not in ASYNCHRONOUS:
        copy = tensor.cpu()
        return lambda: copy
    coming = tensor.to("cpu", non_blocking=True)  # into pinned memory
    done = torch.cuda.Event()  # type: ignore[no-untyped-call]
    done.record(torch.cuda.current_stream(tensor.device))

    def arrived() -> Tensor:
        done.synchronize()
        return coming

    return arrived


def loader_threads(wanted: int | None, device: torch.device) -> int:
    """Return how many threads load ahead; by default none on a CPU, which the work needs itself."""
    if wanted is not None:
        return wanted
    return 0 if device.type == "cpu" else min(_MOST_WORKERS, usable_cores())


def out_of_memory(
    error: Exception, config: TrainConfig, most_patches: int, folder: Path | str = "RUN"
) -> TrainingError:
    """Return the error for a full device, which says how many patches did fit at once.

    Args:
        error: What was raised.
        config: The settings.
        most_patches: The most patches that went through the network at once; 0 if none did.
        folder: That of the run.
    """
    per_part = -(-config.batch_size // (config.world_size * config.accumulate))
    known = f"{most_patches} patches at once did fit before. " if most_patches else ""
    most = config.batch_size // config.world_size
    precision, parts = choose_precision(config), min(2 * config.accumulate, most)
    cure = (
        f"Set accumulate to {parts}, which takes less memory and keeps the batch size (batch norms "
        "then see fewer patches at once), or lower batch_size in a new run. The run can be resumed "
        f"with it: reben train --resume {folder} --accumulate {parts}"
        if config.accumulate < most
        else "Choose a smaller backbone or image size, or a device with more memory."
    )
    return TrainingError(
        f"The memory of the device is full with {per_part} patches at once (batch size "
        f"{config.batch_size}, {config.world_size} devices, accumulate {config.accumulate}, "
        f"precision {precision}): {first_line(error)}. {known}{cure}"
    )
