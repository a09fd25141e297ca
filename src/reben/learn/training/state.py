"""A model that learns, and everything that changes meanwhile: weights, optimiser, counters.

Axes: B patches, C channels, H rows, W columns, K labels.
"""

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
        classifier: The model, which stays a plain module that knows nothing of this.
        config: The settings.
        total_steps: Steps of the run.
        warmup_steps: How many of them are the warm-up.
        class_weights: What the loss of a label that is present is multiplied by, [K].
        channels_last: Whether images are laid out pixel by pixel.

    Raises:
        ConfigError: If the backbone has no head to train alone, or its layers are unknown.
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
        """The epoch under way, from 0."""
        self.batch = 0
        """How many of its batches are done."""
        self.step = 0
        """How many steps are done, over all epochs."""
        self.most_patches = 0
        """The most patches that went through the network at once so far."""
        self._layout = torch.channels_last if channels_last else torch.contiguous_format
        if channels_last:
            classifier.model.to(memory_format=torch.channels_last)
        if config.freeze_backbone:
            freeze_backbone(classifier)
        self.average = None if config.ema_decay is None else copy.deepcopy(classifier)
        self.optimiser = make_optimiser(classifier, config)
        self._class_weights = class_weights

    @property
    def published(self) -> Classifier:
        """The classifier as it is validated and published: with averaged weights, if any."""
        return self.classifier if self.average is None else self.average

    def place(self, fabric: "Fabric") -> None:
        """Bring everything to the device of this process, and join the ranks."""
        self.fabric = fabric
        weights = self._class_weights
        self.criterion = make_loss(
            self.config.loss,
            label_smoothing=self.config.label_smoothing,
            weights=None if weights is None else weights.to(fabric.device),
        )
        if fabric.world_size > 1 and fabric.device.type == "cuda":
            from timm import layers

            # Batch norms of ranks see a piece of the batch each; on a CPU torch cannot join them.
            self.classifier.model = layers.convert_sync_batchnorm(  # type: ignore[attr-defined,no-untyped-call]
                self.classifier.model
            )
        if self.average is not None:
            self.average.to(fabric.device)
        self.network = fabric.setup_module(self.classifier)
        self.stepper: Any = fabric.setup_optimizers(self.optimiser)

    def train_mode(self) -> None:
        """Switch dropout and the like on, in everything that learns."""
        self.network.train()
        if self.config.freeze_backbone:
            set_frozen_mode(self.classifier)

    def laid_out(self, images_BCHW: Tensor) -> Tensor:
        """Return images in the memory layout of the network."""
        return images_BCHW.contiguous(memory_format=self._layout)

    def learning_rate(self, step: int) -> float:
        """Return the highest learning rate of a step, from 0."""
        return self.config.learning_rate * self._part_of_rate(step)

    def finish_step(self) -> None:
        """Let the optimiser take a step with the gradients that are there."""
        for group in self.optimiser.param_groups:
            group["lr"] = group["initial_lr"] * self._part_of_rate(self.step)
        self.stepper.step()
        self.stepper.zero_grad()
        self.step += 1
        if self.average is not None and self.config.ema_decay is not None:
            update_average(self.average, self.classifier, self.config.ema_decay, self.step)

    def _part_of_rate(self, step: int) -> float:
        return learning_rate_at(
            step, total_steps=self.total_steps, warmup_steps=self.warmup_steps, peak=1.0
        )

    def tensors(self) -> dict[str, Tensor]:
        """Return weights, averaged weights and the state of the optimiser, by name."""
        models = {"model": self.classifier, "average": self.average}
        found = {
            f"{part}.{name}": tensor
            for part, model in models.items()
            if model is not None
            for name, tensor in model.state_dict().items()
        }
        for number, state in self.optimiser.state_dict()["state"].items():
            found |= {f"optimiser.{number}.{name}": tensor for name, tensor in state.items()}
        return found

    def load_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        """Go on with what `tensors` returned."""
        parts: defaultdict[str, dict[str, Tensor]] = defaultdict(dict)
        for name, tensor in tensors.items():
            part, _, rest = name.partition(".")
            parts[part][rest] = tensor
        self.classifier.load_state_dict(parts["model"])
        if self.average is not None:
            self.average.load_state_dict(parts["average"])
        weights = [weight for group in self.optimiser.param_groups for weight in group["params"]]
        states: defaultdict[int, dict[str, Tensor]] = defaultdict(dict)
        for name, tensor in parts["optimiser"].items():
            number, _, kind = name.partition(".")
            if kind != "step":  # it has the memory layout of its weight
                tensor = torch.empty_like(weights[int(number)]).copy_(tensor)  # noqa: PLW2901
            states[int(number)][kind] = tensor
        self.optimiser.load_state_dict({**self.optimiser.state_dict(), "state": dict(states)})


@torch.no_grad()
def update_average(average: nn.Module, model: nn.Module, decay: float, num_steps: int) -> None:
    """Take the weights after a step into their exponential moving average.

    In the first steps the decay is lower, (1 + step) / (10 + step), so that the weights of the
    start are soon forgotten. Whole numbers are copied.

    Args:
        average: A model whose state is the average.
        model: The model that learns.
        decay: How much of the average each step keeps, 0 to 1.
        num_steps: How many steps are done, this one included.
    """
    decay = min(decay, (1 + num_steps) / (10 + num_steps))
    for own, new in zip(average.state_dict().values(), model.state_dict().values(), strict=True):
        if own.is_floating_point():
            own.lerp_(new, 1 - decay)
        else:
            own.copy_(new)
