"""A model that learns, and everything that changes with it: weights, optimiser, counters."""

import copy
from collections import defaultdict
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from reben.learn.config import TrainConfig
from reben.learn.training.losses import make_loss
from reben.learn.training.optimiser import (
    freeze_backbone,
    learning_rate_at,
    make_optimiser,
    set_frozen_mode,
)
from reben.model.classifier import Classifier

if TYPE_CHECKING:
    from lightning.fabric import Fabric


class Training:
    """A classifier and how it learns: its loss, AdamW, a learning rate for each step.

    Args:
        classifier: The model, a plain module that knows nothing of this.
        config: The settings.
        total_steps: Steps of the run.
        warmup_steps: How many of them are the warm-up.
        class_weights: Factors on the loss of labels that are present, [K].
        channels_last: Whether images are channels-last in memory.
    """

    def __init__(
        self,
        classifier: Classifier,
        config: TrainConfig,
        *,
        total_steps: int,
        warmup_steps: int,
        class_weights: Tensor | None = None,
        channels_last: bool = False,
    ) -> None:
        self.classifier = classifier
        self.config = config
        self.total_steps = total_steps
        self.warmup_steps = warmup_steps
        self.epoch = 0
        """The current epoch, from 0."""
        self.batch = 0
        """Batches of the epoch that are done."""
        self.step = 0
        """Steps that are done, over all epochs."""
        self.most_patches = 0
        """The most patches that went through the network at once so far."""
        self.layout = torch.channels_last if channels_last else torch.contiguous_format
        """How images lie in memory."""
        if channels_last:
            classifier.model.to(memory_format=torch.channels_last)
        if config.freeze_backbone:
            freeze_backbone(classifier)
        self.average = None if config.ema_decay is None else copy.deepcopy(classifier)
        self.optimiser = make_optimiser(classifier, config)
        self._class_weights = class_weights

    @property
    def published(self) -> Classifier:
        """The classifier to validate and publish: with averaged weights, if they are kept."""
        return self.classifier if self.average is None else self.average

    def place(self, fabric: "Fabric") -> None:
        """Move everything to the device of this process, and connect the ranks."""
        self.fabric = fabric
        weights = self._class_weights
        self.criterion = make_loss(
            self.config.loss,
            label_smoothing=self.config.label_smoothing,
            weights=None if weights is None else weights.to(fabric.device),
        )
        if fabric.world_size > 1 and fabric.device.type == "cuda":
            from timm import layers

            # Else batch norms see only the rank's piece, as they do on a CPU.
            self.classifier.model = layers.convert_sync_batchnorm(  # type: ignore[attr-defined,no-untyped-call]
                self.classifier.model
            )
        if self.average is not None:
            self.average.to(fabric.device)
        if self.config.compile:
            self.classifier.model.compile()  # in place, so that weights keep their names
        self.network = fabric.setup_module(self.classifier)
        self.stepper: Any = fabric.setup_optimizers(self.optimiser)

    def train_mode(self) -> None:
        """Switch on dropout and the like, in all that learns."""
        self.network.train()
        if self.config.freeze_backbone:
            set_frozen_mode(self.classifier)

    def learning_rate(self, step: int) -> float:
        """Return the highest learning rate of a step, from 0."""
        return self.config.learning_rate * self._relative_rate(step)

    def _relative_rate(self, step: int) -> float:
        return learning_rate_at(
            step, total_steps=self.total_steps, warmup_steps=self.warmup_steps, peak=1.0
        )

    def finish_step(self) -> None:
        """Update the weights from their gradients."""
        if self.config.gradient_clip is not None:
            self.fabric.clip_gradients(
                self.network,
                self.stepper,
                max_norm=self.config.gradient_clip,
                error_if_nonfinite=False,
            )
        for group in self.optimiser.param_groups:
            group["lr"] = group["initial_lr"] * self._relative_rate(self.step)
        self.stepper.step()
        self.stepper.zero_grad()
        self.batch += 1
        self.step += 1
        if self.average is not None and self.config.ema_decay is not None:
            update_average(self.average, self.classifier, self.config.ema_decay, self.step)

    def tensors(self) -> dict[str, Tensor]:
        """Return weights, averaged weights and the state of the optimiser, by name."""
        parts: dict[str, Mapping[str, Tensor]] = {"model": self.classifier.state_dict()}
        if self.average is not None:
            parts["average"] = self.average.state_dict()
        for number, state in self.optimiser.state_dict()["state"].items():
            parts[f"optimiser.{number}"] = state
        return {
            f"{part}.{name}": tensor
            for part, state in parts.items()
            for name, tensor in state.items()
        }

    def load_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        """Continue with what `tensors` returned."""
        parts: defaultdict[str, dict[str, Tensor]] = defaultdict(dict)
        for name, tensor in tensors.items():
            part, _, rest = name.partition(".")
            parts[part][rest] = tensor
        self.classifier.load_state_dict(parts["model"])
        if self.average is not None:
            self.average.load_state_dict(parts["average"])
        weights = [weight for group in self.optimiser.param_groups for weight in group["params"]]
        states: defaultdict[int, dict[str, Tensor]] = defaultdict(dict)
        for name, saved in parts["optimiser"].items():
            number, _, kind = name.partition(".")
            # All but the count of steps has the memory layout of its weight.
            like = saved if kind == "step" else weights[int(number)]
            if saved.shape != like.shape:
                raise ValueError(f"{kind} of weight {number} has the shape {tuple(saved.shape)}")
            states[int(number)][kind] = torch.empty_like(like).copy_(saved)
        if not states:
            raise ValueError("it holds no state of the optimiser")
        self.optimiser.load_state_dict({**self.optimiser.state_dict(), "state": dict(states)})


@torch.no_grad()
def update_average(average: nn.Module, model: nn.Module, decay: float, num_steps: int) -> None:
    """Update the exponential moving average of a model's weights after a step.

    In the first steps the decay is only (1 + step) / (10 + step), so that the first weights are
    soon forgotten. Integers are copied. torch's `AveragedModel` is not used: it begins with the
    weights after the first step, and its count of steps would have to be read from the device.

    Args:
        average: A model whose state is the average.
        model: The model that learns.
        decay: How much of the average a step keeps, from 0 to 1.
        num_steps: Steps that are done, including this one.
    """
    decay = min(decay, (1 + num_steps) / (10 + num_steps))
    for own, new in zip(average.state_dict().values(), model.state_dict().values(), strict=True):
        if own.is_floating_point():
            own.lerp_(new, 1 - decay)
        else:
            own.copy_(new)
