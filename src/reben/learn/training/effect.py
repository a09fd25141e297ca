"""What a training really uses, found out from the run itself: precision, dropout, devices, weights.

Settings say what was asked for. Fabric may choose another precision, a frozen backbone drops
nothing out, and a network may not take what it was given.
"""

from collections.abc import Callable, Iterable, Mapping
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from reben.learn.summary import InEffect
from reben.learn.training.environment import name_of_device
from reben.learn.training.optimiser import freeze_backbone, set_frozen_mode
from reben.model.classifier import Classifier

if TYPE_CHECKING:
    from lightning.fabric import Fabric

    from reben.learn.config import TrainConfig
    from reben.learn.training.start import Start

_DROPOUTS = ("dropout", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout")
_BatchNorm = nn.modules.batchnorm._BatchNorm


def what_is_in_effect(
    config: "TrainConfig", start: "Start", fabric: "Fabric", num_train: int
) -> InEffect:
    """Return what a training uses, before its first step.

    Args:
        config: The settings.
        start: The classifier before the first step.
        fabric: The devices.
        num_train: Patches of the train split.
    """
    batch_size = min(config.batch_size, num_train)
    per_device = -(-batch_size // config.world_size)
    at_once = -(-per_device // config.accumulate)
    drop_rate, drop_path_rate, has_batch_norm = _in_train_mode(
        start.classifier, is_frozen=config.freeze_backbone
    )
    joined = config.world_size if fabric.device.type == "cuda" else 1  # by SyncBatchNorm
    return InEffect(
        precision=str(fabric.strategy.precision.precision),
        matmul_precision=_matmul_precision(),
        device=fabric.device.type,
        device_name=name_of_device(fabric.device),
        num_devices=config.world_size,
        num_machines=config.num_nodes,
        batch_size=batch_size,
        accumulate=config.accumulate,
        patches_at_once=at_once,
        batch_norm_patches=min(at_once * joined, batch_size) if has_batch_norm else None,
        drop_rate=drop_rate,
        drop_path_rate=drop_path_rate,
        initial_weights=start.weights,
        torch=version("torch"),
        timm=version("timm"),
    )


def _matmul_precision() -> str:
    try:
        return torch.get_float32_matmul_precision()
    except RuntimeError:  # set by backend, with torch's newer names for it
        return str(torch.backends.cuda.matmul.fp32_precision)


class _DropWatch(TorchFunctionMode):
    """Notes the highest rates of dropout, and of whole paths that are dropped, in a forward."""

    def __init__(self) -> None:
        super().__init__()
        self.drop_rate = self.drop_path_rate = 0.0

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401 - whatever the function returns
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        if name in _DROPOUTS and kwargs.get("training", True):
            self.drop_rate = max(self.drop_rate, kwargs.get("p", args[1] if args[1:] else 0.5))
        elif name == "bernoulli_" and isinstance(args[1], float):  # timm keeps paths with it
            self.drop_path_rate = max(self.drop_path_rate, 1 - args[1])
        return func(*args, **kwargs)


def _in_train_mode(classifier: Classifier, *, is_frozen: bool) -> tuple[float, float, bool]:
    """Return the rates of dropout and drop path as a network trains, and if batch norms learn."""
    config = classifier.config
    with torch.device("meta"), torch.no_grad():  # shapes alone: nothing is computed
        twin = Classifier.from_config(config)
        twin.train()
        if is_frozen:
            freeze_backbone(twin)
            set_frozen_mode(twin)
        with _DropWatch() as watch:
            twin.model(torch.empty(2, config.channels, config.image_size, config.image_size))
    has_batch_norm = any(isinstance(one, _BatchNorm) and one.training for one in twin.modules())
    return round(watch.drop_rate, 6), round(watch.drop_path_rate, 6), has_batch_norm
