"""Checkpoints: what a training needs to go on as if nothing had happened.

``last.ckpt`` follows each epoch, and every so many minutes within one; ``best.ckpt`` is that of
the best epoch. Both hold tensors and plain values only, and are opened with ``weights_only``, so
that opening one cannot run code.

Going on with a run: it has to be the same run, to the last setting and patch.
"""

import json
import logging
import pickle
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, cast

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.plugins.io import TorchCheckpointIO

from reben.data.loader import Batch, Dataset
from reben.errors import ConfigError, RunError
from reben.learn.config import Difference, TrainConfig
from reben.learn.distributed import any_rank
from reben.learn.run import CHECKPOINT_FOLDER, CONFIG_FILE
from reben.learn.training.record import RunRecorder
from reben.learn.training.task import ClassificationTask
from reben.model.folder import SUMMARY_FILE
from reben.support.atomic import atomic_file

LAST, BEST = "last.ckpt", "best.ckpt"


class SafeCheckpointIO(TorchCheckpointIO):
    """Writes a checkpoint whole or not at all, and reads it without unpickling."""

    def save_checkpoint(
        self,
        checkpoint: dict[str, Any],
        path: str | Path,
        storage_options: Any = None,  # noqa: ANN401 - Lightning's
    ) -> None:
        """Write a checkpoint.

        Raises:
            OutputError: If it cannot be written; the one before is unchanged.
        """
        with atomic_file(Path(path)) as temporary:
            torch.save(checkpoint, temporary)

    def load_checkpoint(
        self,
        path: str | Path,
        map_location: Any = None,  # noqa: ANN401 - Lightning's
        weights_only: bool | None = None,
    ) -> dict[str, Any]:
        """Return a checkpoint."""
        return read_checkpoint(Path(path))


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Return a checkpoint, without running any code that it may hold.

    Raises:
        RunError: If it is damaged, or holds more than tensors and plain values.
    """
    try:
        return cast(
            "dict[str, Any]", torch.load(path, map_location="cpu", weights_only=True, mmap=False)
        )
    except (RuntimeError, EOFError, OSError, pickle.UnpicklingError) as error:
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise RunError(
            f"The checkpoint {path} cannot be opened: {first} Train again, or take another one."
        ) from None


class CheckpointKeeper(Checkpoint):
    """Writes the checkpoints of a run, and ends the training in good order after Ctrl-C.

    Args:
        recorder: The recorder of the run; its files follow the checkpoint.
        minutes: Minutes between checkpoints within an epoch.
        facts: What tells the run: settings, data. Plain values, kept in the checkpoint.
    """

    def __init__(self, recorder: RunRecorder, *, minutes: float, facts: Mapping[str, str]) -> None:
        self.recorder = recorder
        self.facts = dict(facts)
        self._folder = recorder.folder / CHECKPOINT_FOLDER
        self._seconds = minutes * 60
        self._saved_at = time.monotonic()
        self._is_interrupted = False
        self._is_between_epochs = False

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock."""
        self._saved_at = time.monotonic()

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,  # noqa: ANN401 - Lightning's
        batch: Batch,
        batch_idx: int,
    ) -> None:
        """Write a checkpoint if it is time, or if the user wants to stop.

        Raises:
            KeyboardInterrupt: After Ctrl-C, once the checkpoint is written.
        """
        if batch_idx + 1 >= trainer.num_training_batches:
            return  # validation follows, and then the checkpoint of the epoch
        is_due = time.monotonic() - self._saved_at >= self._seconds
        is_interrupted, is_due = any_rank(
            [self._is_interrupted, is_due], trainer.strategy.root_device
        )
        if is_interrupted or is_due:
            self.recorder.keep_time()
            self._save(trainer)
        if is_interrupted:
            raise KeyboardInterrupt

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the checkpoint of the epoch, and then what the recorder knows.

        Raises:
            KeyboardInterrupt: After Ctrl-C, once all is written.
        """
        self._is_between_epochs = True
        self._save(trainer)
        if self.recorder.has_better_model:
            trainer.save_checkpoint(self._folder / BEST)
        self._is_between_epochs = False
        self.recorder.write_epoch(cast("ClassificationTask", pl_module))
        if any_rank([self._is_interrupted], trainer.strategy.root_device)[0]:
            raise KeyboardInterrupt

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Add which run it is, and set Lightning's counters to the start of the next epoch."""
        checkpoint["run"] = self.facts
        if self._is_between_epochs and "loops" in checkpoint:
            checkpoint["loops"] = _between_epochs(checkpoint["loops"])

    @contextmanager
    def interruptible(self) -> Iterator[None]:
        """Let Ctrl-C end the training after the batch; a second one ends it at once."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def interrupt(_number: int, _frame: FrameType | None) -> None:
            if self._is_interrupted:
                raise KeyboardInterrupt
            self._is_interrupted = True
            self.recorder.say(
                "Interrupted: the batch, or validation, is brought to its end and a checkpoint is "
                "written. Press Ctrl-C again to stop at once."
            )

        before = signal.signal(signal.SIGINT, interrupt)
        try:
            yield
        finally:
            # Lightning leaves the program deaf to the next Ctrl-C.
            signal.signal(signal.SIGINT, before or signal.SIG_DFL)

    def _save(self, trainer: Trainer) -> None:
        trainer.save_checkpoint(self._folder / LAST)
        self._saved_at = time.monotonic()


def _between_epochs(loops: dict[str, Any]) -> dict[str, Any]:
    """Return the counters of Lightning's loops as they are before the first batch of an epoch.

    At the end of an epoch they are somewhere in the middle of counting, and going on from there
    would mean to do the end of the epoch again.
    """
    fit = dict(loops["fit_loop"])
    fit["epoch_progress"] = {
        part: {**counts, "completed": counts["processed"]}
        for part, counts in fit["epoch_progress"].items()
    }
    batches = fit["epoch_loop.batch_progress"]
    none = dict.fromkeys(batches["current"], 0)
    fit["epoch_loop.batch_progress"] = {**batches, "current": none, "is_last_batch": False}
    return {**loops, "fit_loop": fit}


logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Interrupted:
    """A run that was not brought to its end.

    Args:
        path: The run folder.
        config: Its settings.
        summary: Its summary, empty if it had none yet.
    """

    path: Path
    config: TrainConfig
    summary: Mapping[str, Any]

    @classmethod
    def open(cls, path: str | Path) -> "Interrupted":
        """Return the run in a folder.

        Raises:
            RunError: If there is none.
        """
        folder = Path(path)
        try:
            config = TrainConfig.from_toml((folder / CONFIG_FILE).read_text(encoding="utf-8"))
            file = folder / SUMMARY_FILE
            summary = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
        except FileNotFoundError:
            raise RunError(
                f"{folder} is no run to go on with, since it holds no {CONFIG_FILE}. Name the "
                "folder that reben train wrote, or train without resuming."
            ) from None
        except (OSError, ValueError) as error:
            raise RunError(f"The run {folder} cannot be read: {error}") from None
        return cls(folder, config, summary)

    @property
    def is_finished(self) -> bool:
        """Whether there is nothing to go on with."""
        return bool(self.summary.get("status") == "finished")

    @property
    def checkpoint(self) -> Path | None:
        """The last checkpoint, or None if the run ended before there was one."""
        path = self.path / CHECKPOINT_FOLDER / "last.ckpt"
        return path if path.is_file() else None

    @property
    def store(self) -> Path | None:
        """Where the run found its data, if it knows."""
        return self._place("store")

    @property
    def label_table(self) -> Path | None:
        """The table of own labels that it had, if any."""
        return self._place("label_table")

    def _place(self, name: str) -> Path | None:
        place = self.summary.get("data", {}).get(name)
        return None if place is None else Path(place)


def run_facts(config: TrainConfig, dataset: Dataset) -> dict[str, str]:
    """Return what tells a run from others: settings, and the patches of both splits."""
    return {
        "config": config.to_toml(),
        "train": dataset["train"].table.fingerprint(),
        "validation": dataset["validation"].table.fingerprint(),
    }


def require_same(run: Interrupted, config: TrainConfig, dataset: Dataset) -> None:
    """Check that a run can go on with these settings and data.

    Raises:
        ConfigError: If a setting differs.
        RunError: If data differ, or the checkpoint is another run's.
    """
    _refuse(f"The run {run.path}", config.differences_from(run.config))
    fingerprint = run.summary.get("data", {}).get("fingerprint")
    if fingerprint not in (None, dataset.table.fingerprint()):
        raise RunError(
            f"The run {run.path} was trained on other patches or labels than these "
            f"{len(dataset)} from {dataset.store.path}. Go on with the very same data and filters, "
            f"which its {SUMMARY_FILE} tells, or begin another run."
        )
    if run.checkpoint is None:
        return

    facts = read_checkpoint(run.checkpoint).get("run")
    if not isinstance(facts, dict) or "config" not in facts:
        raise RunError(
            f"{run.checkpoint} is not a checkpoint that this version of reben can go on from. "
            "Train again."
        )
    theirs = TrainConfig.from_toml(facts["config"])
    _refuse(f"The checkpoint {run.checkpoint}", config.differences_from(theirs))
    if facts != run_facts(config, dataset):
        raise RunError(
            f"{run.checkpoint} is of a training with other patches in its splits than "
            f"{dataset.store.path} has. Go on with the very same data."
        )


def _refuse(what: str, differences: list[Difference]) -> None:
    if differences:
        listed = "; ".join(f"{name} {theirs!r}, now {own!r}" for name, theirs, own in differences)
        raise ConfigError(
            f"{what} was made with other settings: {listed}. A run goes on with its own settings "
            "alone; leave these out, or begin another run."
        )
