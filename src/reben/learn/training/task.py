"""What Lightning runs: the classifier with loss, optimiser and schedule.

One batch is one step, whatever the number of devices and parts: each rank takes its piece of the
batch, works through it in ``accumulate`` parts, and the gradients add up to that of the batch.

Axes: B patches, C channels, H rows, W columns, K labels.

A moving average of the weights, which is smoother than the weights themselves.
"""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any, cast

import numpy as np
import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.optim.lr_scheduler import LRScheduler

from reben.data.loader import Batch, Loader
from reben.errors import TrainingError
from reben.learn.config import TrainConfig
from reben.learn.distributed import gather_rows, num_ranks, sum_over_ranks
from reben.learn.metrics.classification import compute_metrics
from reben.learn.training.augment import drop_bands, turn_at_random
from reben.learn.training.data_module import BigEarthNetData
from reben.learn.training.losses import make_loss
from reben.learn.training.optimiser import (
    freeze_backbone,
    learning_rate_at,
    make_optimiser,
    set_frozen_mode,
)
from reben.model.classifier import Classifier


class AveragedWeights:
    """Exponential moving average of all that a model's state holds; whole numbers are copied.

    It starts from the weights as they are when training starts. In the first steps the decay is
    lower, (1 + step) / (10 + step), so that the start is soon forgotten.

    Args:
        model: The model that learns.
        decay: How much of the average each step keeps, 0 to 1.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.num_steps = 0
        self.tensors = {name: value.detach().clone() for name, value in model.state_dict().items()}

    def update(self, model: nn.Module) -> None:
        """Take in the weights after a step."""
        self.num_steps += 1
        decay = min(self.decay, (1 + self.num_steps) / (10 + self.num_steps))
        with torch.no_grad():
            for name, value in model.state_dict().items():
                average = self.tensors[name] = self.tensors[name].to(value.device)
                if average.is_floating_point():
                    average.lerp_(value, 1 - decay)
                else:
                    average.copy_(value)

    @contextmanager
    def swapped_in(self, model: nn.Module) -> Iterator[None]:
        """Let the model have the averaged weights while the block runs."""
        self.swap(model)
        try:
            yield
        finally:
            self.swap(model)

    def swap(self, model: nn.Module) -> None:
        """Exchange the weights of the model and the average."""
        with torch.no_grad():
            for name, value in model.state_dict().items():
                own = value.clone()
                value.copy_(self.tensors[name])
                self.tensors[name] = own

    def state_dict(self) -> dict[str, object]:
        """Return the average, to go on with `load_state_dict`."""
        return {"num_steps": self.num_steps, "tensors": dict(self.tensors)}

    def load_state_dict(self, state: Mapping[str, object]) -> None:
        """Go on with an average."""
        self.num_steps = int(state["num_steps"])  # type: ignore[call-overload]
        self.tensors = {
            name: value.clone()
            for name, value in state["tensors"].items()  # type: ignore[attr-defined]
        }


__all__ = ["MONITORED", "BigEarthNetData", "ClassificationTask"]

MONITORED = "validation_macro_average_precision"
"""The figure that tells which epoch is the best."""


class ClassificationTask(LightningModule):
    """A classifier and how it learns: its loss, AdamW, a rate for each step.

    Dropout, turns and band dropout are drawn anew for each batch from seed, epoch, number of the
    batch and rank, so that a training that goes on later draws the same.

    Args:
        classifier: The model; it stays a plain module that knows nothing of this.
        config: The settings.
        total_steps: Optimiser steps of the run.
        warmup_steps: How many of them are the warm-up.
        class_weights: What the loss of a label that is present is multiplied by, [K].
        channels_last: Whether images are laid out pixel by pixel.
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
        super().__init__()
        self.automatic_optimization = False
        self.classifier = classifier
        self.config = config
        self.total_steps = total_steps
        self.warmup_steps = warmup_steps
        self.average: AveragedWeights | None = None
        if config.freeze_backbone:
            freeze_backbone(classifier)
        if config.ema_decay is not None:
            self.average = AveragedWeights(classifier, config.ema_decay)
        self.most_patches = 0
        """The most patches that went through the network at once so far."""
        self._layout = torch.channels_last if channels_last else torch.contiguous_format
        if channels_last:
            classifier.model.to(memory_format=torch.channels_last)
        self._criterion = make_loss(
            config.loss, label_smoothing=config.label_smoothing, weights=class_weights
        )
        self._train_sums = _no_sums()
        self._validation_sums = _no_sums()
        self._scores: list[Tensor] = []
        self._labels: list[Tensor] = []

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Return AdamW over the weights that learn, and the rate of each step."""
        optimiser = make_optimiser(self.classifier, self.config)
        part = partial(
            learning_rate_at,
            total_steps=self.total_steps,
            warmup_steps=self.warmup_steps,
            peak=1.0,
        )
        schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, part)
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule}}

    def on_train_epoch_start(self) -> None:
        """Tell the loader which epoch it is, so that each has an order and flips of its own."""
        self._train_sums = _no_sums()
        loader = self.trainer.train_dataloader
        if isinstance(loader, Loader):
            loader.set_epoch(self.current_epoch)

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Draw the random numbers of a batch from its place in the training."""
        place = [self.config.seed, self.current_epoch, batch_idx, self.global_rank]
        torch.manual_seed(int(np.random.SeedSequence(place).generate_state(1)[0]))
        if self.config.freeze_backbone:
            set_frozen_mode(self.classifier)

    def training_step(self, batch: Batch, batch_idx: int = 0) -> Tensor:
        """Take one step, and return the loss of the rank's piece of the batch.

        Raises:
            TrainingError: If it is NaN or infinite; the message names step and patches.
        """
        images_BCHW = self._augmented(batch.images)
        num_patches = _share(len(images_BCHW), images_BCHW.device)
        # As many on all ranks, whose pieces may differ by a patch: batch norms wait for each other.
        num_parts = min(self.config.accumulate, num_patches // num_ranks())
        parts = list(
            zip(
                images_BCHW.tensor_split(num_parts),
                batch.multi_hot.tensor_split(num_parts),
                strict=True,
            )
        )
        total = torch.zeros((), device=images_BCHW.device)
        for number, (images, labels) in enumerate(parts):
            _, loss = self._loss(images, labels, batch)
            with self._synchronised(last=number == len(parts) - 1):
                # The mean over ranks that follows makes it the mean over the whole batch.
                self.manual_backward(loss * (len(images) * num_ranks() / num_patches))
            total += loss.detach() * len(images)
            self.most_patches = max(self.most_patches, len(images))
        self._step()
        self._train_sums += _sums(total, len(images_BCHW))
        return total / len(images_BCHW)

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Shorten the gradient, after the precision has scaled it back."""
        if self.config.gradient_clip is not None:
            torch.nn.utils.clip_grad_norm_(
                [weight for group in optimizer.param_groups for weight in group["params"]],
                self.config.gradient_clip,
            )

    def on_validation_epoch_start(self) -> None:
        """Forget the scores of the epoch before; take the averaged weights, if there are some."""
        self._scores.clear()
        self._labels.clear()
        self._validation_sums = _no_sums()
        if self.average is not None:
            self.average.swap(self.classifier)

    def validation_step(self, batch: Batch) -> None:
        """Keep the scores of one batch.

        Raises:
            TrainingError: If the loss is NaN or infinite.
        """
        # In as many parts as in training, so that what fits there fits here.
        size = -(-len(batch.images) // self.config.accumulate)
        parts = zip(
            torch.split(batch.images, size), torch.split(batch.multi_hot, size), strict=True
        )
        for images, labels in parts:
            logits_BK, loss = self._loss(images, labels, batch)
            self._scores.append(logits_BK.sigmoid())
            self._labels.append(labels)
            self._validation_sums += _sums(loss * len(images), len(images))

    def on_validation_epoch_end(self) -> None:
        """Log the figures over all patches of the validation split at once, of all ranks."""
        if self.average is not None:
            self.average.swap(self.classifier)
        scores, labels = gather_rows(torch.cat(self._scores)), gather_rows(torch.cat(self._labels))
        metrics = compute_metrics(scores.cpu(), labels.cpu(), self.classifier.labels)
        train, validation = map(self._over_ranks, (self._train_sums, self._validation_sums))
        self.log_dict(
            {
                "train_loss": float(train[0] / train[1]) if train[1] else float("nan"),
                "validation_loss": float(validation[0] / validation[1]),
                MONITORED: metrics.macro.average_precision,
                "validation_micro_average_precision": metrics.micro.average_precision,
                "validation_macro_f1": metrics.macro.f1,
                "validation_micro_f1": metrics.micro.f1,
            },
            # All ranks have the same figures already; this says so.
            sync_dist=num_ranks() > 1,
        )

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add what Lightning does not know of: the sums of the epoch and the averaged weights."""
        checkpoint["task"] = {
            "train_sums": self._over_ranks(self._train_sums),
            "average": None if self.average is None else self.average.state_dict(),
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Go on with what `on_save_checkpoint` added."""
        state = checkpoint["task"]
        # The sum over ranks is one rank's to keep, so that it is not counted twice.
        first = self._trainer is None or self.global_rank == 0
        self._train_sums = state["train_sums"].clone() if first else _no_sums()
        if self.average is not None:
            self.average.load_state_dict(state["average"])

    @contextmanager
    def published_weights(self) -> Iterator[Classifier]:
        """Yield the classifier as it is validated and published: with averaged weights, if any."""
        with nullcontext() if self.average is None else self.average.swapped_in(self.classifier):
            yield self.classifier

    def _over_ranks(self, sums: Tensor) -> Tensor:
        return sum_over_ranks(sums.to(self.device)).cpu() if num_ranks() > 1 else sums

    def _step(self) -> None:
        optimiser = self.optimizers()
        optimiser.step()  # type: ignore[union-attr]
        optimiser.zero_grad()  # type: ignore[union-attr]
        cast("LRScheduler", self.lr_schedulers()).step()
        if self.average is not None:
            self.average.update(self.classifier)

    def _augmented(self, images_BCHW: Tensor) -> Tensor:
        if self.config.turns:
            images_BCHW = turn_at_random(images_BCHW)
        if self.config.band_dropout:
            images_BCHW = drop_bands(images_BCHW, self.config.band_dropout)
        return images_BCHW

    def _synchronised(self, *, last: bool) -> AbstractContextManager[object]:
        """Return a block in which gradients go to the other ranks only if it is the last part."""
        if last or num_ranks() == 1:
            return nullcontext()
        return cast("Any", self.trainer.strategy).block_backward_sync()  # type: ignore[no-any-return]

    def _loss(self, images_BCHW: Tensor, labels_BK: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return logits float32 [B, K] and their mean loss."""
        logits_BK = self.classifier(images_BCHW.contiguous(memory_format=self._layout)).float()
        loss = self._criterion(logits_BK, labels_BK)
        if not bool(loss.isfinite()):
            raise TrainingError(self._why_not_finite(loss.item(), batch))
        return logits_BK, loss

    def _why_not_finite(self, loss: float, batch: Batch) -> str:
        first = ", ".join(batch.names[:3])
        rest = f" and {len(batch.names) - 3} more" if len(batch.names) > 3 else ""
        where = "in training" if self.training else "in validation"
        return (
            f"The loss is {loss} {where} after {self.global_step} steps, in epoch "
            f"{self.current_epoch + 1}, for the patches {first}{rest}. Lower learning_rate "
            f"({self.config.learning_rate:g}), lengthen the warm-up ({self.warmup_steps} steps), "
            f"or use another precision than {self.config.precision}; if it happens at once, look "
            "at these patches."
        )


def _no_sums() -> Tensor:
    """Return the sum of losses, and of how many patches they are: none yet."""
    return torch.zeros(2, dtype=torch.float64)


def _sums(loss: Tensor, num_patches: int) -> Tensor:
    return torch.tensor([loss.item(), num_patches], dtype=torch.float64)


def _share(num_patches: int, device: torch.device) -> int:
    """Return how many patches the batch has over all ranks."""
    if num_ranks() == 1:
        return num_patches
    return int(sum_over_ranks(torch.tensor(num_patches, device=device)))
