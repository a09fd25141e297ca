"""The training loop, from top to bottom: epochs, steps, validation, checkpoints, interruption.

A batch is one step, whatever the number of devices and parts: each rank takes its piece of the
batch and processes it in ``accumulate`` parts, and the gradients add up to that of the batch.

Axes: B patches, C channels, H rows, W columns, K labels.
"""

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import TYPE_CHECKING, cast

import numpy as np
import torch
from torch import Tensor

from reben.data.loader import Batch
from reben.errors import RunError, TrainingError, first_line
from reben.learn.distributed import (
    gather_objects,
    gather_rows,
    num_ranks,
    rank_and_size,
    sum_over_ranks,
)
from reben.learn.metrics.classification import compute_metrics
from reben.learn.run_files import CHECKPOINT_FOLDER, ENVIRONMENT_FILE
from reben.learn.training.augment import drop_bands, turn_at_random
from reben.learn.training.checkpoints import (
    LAST_CHECKPOINT,
    Checkpoint,
    State,
    keep_best,
    read_tensors,
    restore_best,
    save_checkpoint,
)
from reben.learn.training.feed import AnyLoader, batches_on
from reben.learn.training.pauses import READ_EVERY, LossSum, Pauses, StepLoss
from reben.learn.training.record import MONITORED, RunRecorder
from reben.learn.training.state import Training

if TYPE_CHECKING:
    from reben.learn.summary import Summary


class Loop:
    """Trains a model that was placed on its device.

    Args:
        training: The model, its optimiser and counters.
        loaders: The rank's piece of each batch to train on, and to validate on.
        recorder: Keeps the run folder up to date.
        pauses: Decides when to write a checkpoint, and when to stop.
        facts: What identifies the run, for its checkpoints.
    """

    def __init__(
        self,
        training: Training,
        loaders: tuple[AnyLoader, AnyLoader],
        recorder: RunRecorder,
        pauses: Pauses,
        facts: Mapping[str, str],
    ) -> None:
        self.training = training
        self.config = training.config
        self.device = training.fabric.device
        self.train_loader, self.validation_loader = loaders
        self.preprocess = copy.deepcopy(training.classifier.preprocess).to(self.device)
        self.recorder = recorder
        self.pauses = pauses
        self.facts = facts
        self.losses = self._no_losses()
        self.failure: TrainingError | None = None
        """Why the training failed on this rank, which the others do not know yet."""

    def run(self) -> None:
        """Train until the epochs or the patience are used up."""
        training = self.training
        self.recorder.start()
        while training.epoch < self.config.epochs and self.recorder.is_patient:
            self.train_epoch()
            self.recorder.end_epoch(training.step, self._figures(), training.published)
            training.epoch, training.batch, self.losses = training.epoch + 1, 0, self._no_losses()
            # The checkpoint comes first: a training resumed from it writes all the rest again.
            self._save()
            if self.recorder.has_better_model and self.recorder.writes:
                keep_best(self.recorder.folder / CHECKPOINT_FOLDER / LAST_CHECKPOINT)
            self.recorder.write_epoch(training.published)
            if self.pauses.is_interrupted():
                raise self.pauses.interruption()

    def train_epoch(self) -> None:
        """Train on what is left of the epoch."""
        training, loader = self.training, self.train_loader
        self.recorder.start_epoch()
        loader.set_epoch(training.epoch)
        loader.load_state_dict({**loader.state_dict(), "num_done": training.batch})
        training.train_mode()
        for batch in self._batches(loader):
            self._seed()
            total = self._take_step(batch)
            add = partial(self.losses.add, total, len(batch.names), training.step - 1, batch.names)
            self._log(add)
            self.recorder.show_batch(
                training.batch, len(loader), len(batch.names) * num_ranks(), self.losses.last
            )
            if training.batch < len(loader):  # validation begins, which pauses too
                self._pause()
        self._log(self.losses.read)

    def _seed(self) -> None:
        """Seed the random numbers of a batch by its place, so that there is no state to keep."""
        place = [self.config.seed, self.training.epoch, self.training.batch, rank_and_size()[0]]
        torch.manual_seed(int(np.random.SeedSequence(place).generate_state(1)[0]))

    def _take_step(self, batch: Batch) -> Tensor:
        """Take a step; return the summed loss of the rank's piece of the batch."""
        training, config, layout = self.training, self.config, self.training.layout
        images_BCHW, labels_BK = batch.images, batch.multi_hot
        if config.turns:
            images_BCHW = turn_at_random(images_BCHW)
        if config.band_dropout:
            images_BCHW = drop_bands(images_BCHW, config.band_dropout)
        num_patches = self._num_patches_of_all()
        # The same number on all ranks, whose pieces may differ by a patch: they work in step.
        num_parts = min(config.accumulate, num_patches // num_ranks())
        total = torch.zeros((), device=self.device)
        parts = zip(
            images_BCHW.tensor_split(num_parts), labels_BK.tensor_split(num_parts), strict=True
        )
        for number, (part_BCHW, targets_BK) in enumerate(parts, start=1):
            with self._gradients_apart() if number < num_parts else nullcontext():
                logits_BK = training.network(part_BCHW.contiguous(memory_format=layout)).float()
                loss = training.criterion(logits_BK, targets_BK)
                # The mean over ranks that follows makes it the mean over the whole batch.
                training.fabric.backward(loss * (len(part_BCHW) * num_ranks() / num_patches))
            total += loss.detach() * len(part_BCHW)
            training.most_patches = max(training.most_patches, len(part_BCHW))
        training.finish_step()
        return total

    def _pause(self) -> None:
        """Write a checkpoint if it is time, or if the user wants to stop."""
        due = self.pauses.after_step(has_failed=self.failure is not None)
        if due.fail:
            raise self._failure_of_all()
        if due.save or due.stop:
            self.recorder.keep_time()
            self._save()
        if due.stop:
            raise self.pauses.interruption()

    @torch.inference_mode()
    def _figures(self) -> dict[str, float]:
        """Validate; return the figures of the epoch, over all patches of all ranks."""
        training, model = self.training, self.training.published.eval()
        layout = training.layout
        scores, labels, losses = [], [], self._no_losses("in validation")
        for batch in self._batches(self.validation_loader):
            images_BCHW, labels_BK = batch.images, batch.multi_hot
            # Parts as in training, so that what fits into memory there fits here.
            size = -(-len(images_BCHW) // self.config.accumulate)
            for part_BCHW, targets_BK in zip(
                torch.split(images_BCHW, size), torch.split(labels_BK, size), strict=True
            ):
                with training.fabric.autocast():
                    logits_BK = model(part_BCHW.contiguous(memory_format=layout)).float()
                loss = training.criterion(logits_BK, targets_BK) * len(part_BCHW)
                add = partial(losses.add, loss, len(part_BCHW), training.step, batch.names)
                self._kept(add)
                scores.append(logits_BK.sigmoid())
                labels.append(targets_BK)
            self._pause()
        self._kept(losses.read)
        self._require_success()
        metrics = compute_metrics(
            gather_rows(torch.cat(scores)).cpu(),
            gather_rows(torch.cat(labels)).cpu(),
            training.classifier.labels,
        )
        figures = {
            "train_loss": self._mean(self.losses),
            "validation_loss": self._mean(losses),
            MONITORED: metrics.macro.average_precision,
            "validation_micro_average_precision": metrics.micro.average_precision,
            "validation_macro_f1": metrics.macro.f1,
            "validation_micro_f1": metrics.micro.f1,
        }
        # As exact as scores are: a smaller difference does not decide which epoch is the best.
        return {name: float(np.float32(figure)) for name, figure in figures.items()}

    def _save(self) -> None:
        """Write the checkpoint that a training can go on from."""
        self._log(self.losses.read)
        self._require_success()  # rather than to save weights that are NaN
        training = self.training
        total, num_patches = sum_over_ranks(
            [self.losses.total, self.losses.num_patches], self.device
        )
        if self.recorder.writes:
            state = State(
                run=dict(self.facts),
                epoch=training.epoch,
                batch=training.batch,
                step=training.step,
                train_loss=(total, round(num_patches)),
                precision=training.fabric.strategy.precision.state_dict(),
                summary=cast("Summary", self.recorder.summary),
                rows=self.recorder.rows,
            )
            save_checkpoint(self.recorder.folder, state, training.tensors())
        self.pauses.saved()

    def resume(self, checkpoint: Checkpoint) -> None:
        """Continue where a checkpoint was written."""
        path, state = checkpoint
        try:
            self.training.load_tensors(read_tensors(path))
        except (RuntimeError, LookupError, ValueError) as error:
            if isinstance(error, RunError):
                raise
            raise RunError(
                f"The checkpoint {path} does not fit the model: {first_line(error)}. Resume "
                f"with the packages in {ENVIRONMENT_FILE}, or train again."
            ) from None
        self.training.epoch, self.training.batch = state["epoch"], state["batch"]
        self.training.step = state["step"]
        if rank_and_size()[0] == 0:  # the sum of all ranks counts once
            self.losses.total, self.losses.num_patches = state["train_loss"]
        self.training.fabric.strategy.precision.load_state_dict(state["precision"])
        rate = self.training.learning_rate(max(state["step"] - 1, 0))
        self.recorder.resume(state["summary"], state["rows"], rate)
        if self.recorder.writes:
            restore_best(self.recorder.folder, state, self.training.published, path)

    def _log(self, read: Callable[[], Sequence[StepLoss]]) -> None:
        """Log the losses that are read."""
        for step, loss in self._kept(read):
            self.recorder.log_step(step + 1, loss, self.training.learning_rate(step))

    def _kept(self, read: Callable[[], Sequence[StepLoss]]) -> Sequence[StepLoss]:
        """Return the losses that are read. With several ranks, one that is not finite is kept.

        The others wait for this rank's gradients, so it goes on until all of them ask each other.
        """
        try:
            return read()
        except TrainingError as error:
            if num_ranks() == 1:
                raise
            self.failure = self.failure or error
            return []

    def _require_success(self) -> None:
        """Raise on all ranks if the training failed on one; all of them call this together."""
        if num_ranks() > 1 and sum_over_ranks([self.failure is not None], self.device)[0]:
            raise self._failure_of_all()

    def _failure_of_all(self) -> TrainingError:
        """Return the failure of the first rank that has one; all of them call this together."""
        told = gather_objects(None if self.failure is None else str(self.failure))
        return TrainingError(next(text for text in told if text is not None))

    def _no_losses(self, where: str = "in training") -> LossSum:
        every = 1 if self.device.type == "cpu" else READ_EVERY
        return LossSum(partial(self._not_finite, where), every)

    def _not_finite(self, where: str, loss: float, step: int, names: Sequence[str]) -> Exception:
        first = ", ".join(names[:3])
        rest = f" and {len(names) - 3} more" if len(names) > 3 else ""
        return TrainingError(
            f"The loss is {loss} {where} after {step} steps, in epoch {self.training.epoch + 1}, "
            f"for the patches {first}{rest}. Lower learning_rate ({self.config.learning_rate:g}), "
            f"lengthen the warm-up ({self.training.warmup_steps} steps), or use another precision "
            f"than {self.config.precision}. If it happens in the first steps, check these patches."
        )

    def _mean(self, losses: LossSum) -> float:
        total, num_patches = sum_over_ranks([losses.total, losses.num_patches], self.device)
        return total / num_patches

    def _num_patches_of_all(self) -> int:
        """Return the size of the current batch over all ranks; only the last one differs."""
        loader = self.train_loader
        if self.training.batch < len(loader) - 1:
            return loader.batch_size
        return len(loader.dataset) - loader.batch_size * (len(loader) - 1)

    def _gradients_apart(self) -> AbstractContextManager[object]:
        """Return a context in which gradients are not sent to the other ranks yet."""
        if num_ranks() == 1:
            return nullcontext()
        return self.training.fabric.no_backward_sync(self.training.network)

    def _batches(self, loader: AnyLoader) -> Iterator[Batch]:
        return batches_on(self.device, loader, self.preprocess)
