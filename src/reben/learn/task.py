"""What Lightning runs: the classifier with loss, optimiser and schedule, and its data.

Axes: B patches, C channels, H rows, W columns, K labels.
"""

from functools import partial

import torch
from lightning.pytorch import LightningDataModule, LightningModule
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor
from torch.nn import functional

from reben.data.loader import Batch, Dataset, Loader
from reben.errors import TrainingError
from reben.learn.config import TrainConfig
from reben.learn.metrics import compute_metrics
from reben.learn.schedule import learning_rate_at
from reben.model.classifier import Classifier

MONITORED = "validation_macro_average_precision"
"""The figure that tells which epoch is the best."""


class ClassificationTask(LightningModule):
    """A classifier and how it learns: binary cross-entropy, AdamW, a rate for each step.

    Args:
        classifier: The model; it stays a plain module that knows nothing of this.
        config: The settings.
        total_steps: Optimiser steps of the run.
        warmup_steps: How many of them are the warm-up.
    """

    def __init__(
        self, classifier: Classifier, config: TrainConfig, *, total_steps: int, warmup_steps: int
    ) -> None:
        super().__init__()
        self.classifier = classifier
        self.config = config
        self.total_steps = total_steps
        self.warmup_steps = warmup_steps
        self._scores: list[Tensor] = []
        self._labels: list[Tensor] = []

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Return AdamW over all weights in one group, and the rate of each optimiser step."""
        optimiser = torch.optim.AdamW(
            self.classifier.parameters(),
            lr=self.config.learning_rate,
            weight_decay=self.config.weight_decay,
        )
        part = partial(
            learning_rate_at,
            total_steps=self.total_steps,
            warmup_steps=self.warmup_steps,
            peak=1.0,
        )
        schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, part)
        return {
            "optimizer": optimiser,
            "lr_scheduler": {"scheduler": schedule, "interval": "step"},
        }

    def on_train_epoch_start(self) -> None:
        """Tell the loader which epoch it is, so that each has an order and flips of its own."""
        loader = self.trainer.train_dataloader
        if isinstance(loader, Loader):
            loader.set_epoch(self.current_epoch)

    def training_step(self, batch: Batch) -> Tensor:
        """Return the loss of one batch.

        Raises:
            TrainingError: If it is NaN or infinite; the message names step and patches.
        """
        _, loss = self._loss(batch)
        self.log("train_loss", loss, on_step=False, on_epoch=True, batch_size=len(batch.names))
        return loss

    def on_validation_epoch_start(self) -> None:
        """Forget the scores of the epoch before."""
        self._scores.clear()
        self._labels.clear()

    def validation_step(self, batch: Batch) -> None:
        """Keep the scores of one batch.

        Raises:
            TrainingError: If the loss is NaN or infinite.
        """
        logits_BK, loss = self._loss(batch)
        self._scores.append(logits_BK.sigmoid().cpu())
        self._labels.append(batch.multi_hot.cpu())
        self.log("validation_loss", loss, on_step=False, on_epoch=True, batch_size=len(batch.names))

    def on_validation_epoch_end(self) -> None:
        """Log the figures over all patches of the validation split at once."""
        metrics = compute_metrics(
            torch.cat(self._scores), torch.cat(self._labels), self.classifier.labels
        )
        self.log_dict(
            {
                MONITORED: metrics.macro.average_precision,
                "validation_micro_average_precision": metrics.micro.average_precision,
                "validation_macro_f1": metrics.macro.f1,
                "validation_micro_f1": metrics.micro.f1,
            }
        )

    def _loss(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return logits float32 [B, K] and their mean binary cross-entropy."""
        logits_BK = self.classifier(batch.images).float()
        loss = functional.binary_cross_entropy_with_logits(logits_BK, batch.multi_hot)
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


class BigEarthNetData(LightningDataModule):
    """The train and validation patches of a data set, in batches that the classifier takes.

    Args:
        dataset: Patches of both splits.
        classifier: The model; its preprocessing and the order of its labels are used.
        config: The settings: batch size, flips, seed.

    Raises:
        EmptySplitError: If one of the splits has no patch.
        UnknownLabelError: If a patch has a label that the model does not know.
    """

    def __init__(self, dataset: Dataset, classifier: Classifier, config: TrainConfig) -> None:
        super().__init__()
        self.train_loader = Loader(
            dataset["train"],
            classifier.preprocess,
            config.batch_size,
            shuffle=True,
            flips=config.flips,
            seed=config.seed,
            labels=classifier.labels,
        )
        self.validation_loader = Loader(
            dataset["validation"],
            classifier.preprocess,
            config.batch_size,
            labels=classifier.labels,
        )

    def train_dataloader(self) -> Loader:
        """Return the train patches, in an order that changes with the epoch."""
        return self.train_loader

    def val_dataloader(self) -> Loader:
        """Return the validation patches, in the order of the table."""
        return self.validation_loader
