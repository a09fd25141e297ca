"""The record of a run: keeps its folder up to date during training, and counts patience."""

import csv
import io
import json
import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from reben.learn.config import TrainConfig
from reben.learn.distributed import is_first_rank
from reben.learn.run_files import LOG_FILE, METRICS_FILE
from reben.learn.summary import InEffect
from reben.model.classifier import Classifier
from reben.model.folder import BEST_FOLDER, SUMMARY_FILE
from reben.model.weights import digest_weights
from reben.support.atomic import write_text, writing
from reben.support.plain_json import to_plain

logger = logging.getLogger(__name__)

MONITORED = "validation_macro_average_precision"
"""The figure that decides which epoch is the best."""
COLUMNS = (
    "epoch",
    "step",
    "learning_rate",
    "train_loss",
    "validation_loss",
    MONITORED,
    "validation_micro_average_precision",
    "validation_macro_f1",
    "validation_micro_f1",
    "seconds",
)
"""Columns of ``metrics.csv``. Epochs count from 1; the rate is that of the epoch's last step."""


class TrainProgress(NamedTuple):
    """How far a training is."""

    epoch: int
    """From 1."""
    epochs: int
    batch: int
    """Batches of the epoch that are done."""
    batches: int
    loss: float
    """Of the last batch whose loss is known."""
    learning_rate: float
    images_per_second: float
    """Over all devices, in this epoch so far."""
    best: float | None
    """Highest validation macro average precision so far."""


ProgressObserver = Callable[[TrainProgress], None]


class Logger(Protocol):
    """What the loggers of Lightning can do, as far as it is needed."""

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Log the figures of a step, by name."""

    def finalize(self, status: str) -> None:
        """End with ``success`` or ``failed``."""


class RunRecorder:
    """Writes ``metrics.csv``, ``summary.json``, ``train.log`` and ``best/``, epoch by epoch.

    So the folder is a run that can be opened after every epoch, whatever happens then. Only the
    first of several ranks writes.

    Args:
        folder: The run folder.
        config: The settings: epochs and patience.
        facts: What the summary holds from the start: counts, data, filters.
        progress: Called after each batch.
    """

    def __init__(
        self,
        folder: Path,
        config: TrainConfig,
        facts: Mapping[str, Any],
        progress: ProgressObserver | None = None,
    ) -> None:
        self.folder = folder
        self.summary: dict[str, Any] = {
            "status": "running",
            "best_epoch": None,
            f"best_{MONITORED}": None,
            "epochs_run": 0,
            "stopped_early": False,
            "steps": 0,
            "seconds": 0.0,
            **facts,
        }
        self.rows: list[dict[str, float]] = []
        """The figures of each epoch."""
        self.has_better_model = False
        """Whether the weights are better than those in ``best/``, and not written yet."""
        self.loggers: Sequence[Logger] = ()
        self._config = config
        self._progress = progress
        self._rate = math.nan
        self._seconds_before = 0.0
        self._num_images = 0
        self._run_started = self._epoch_started = time.perf_counter()

    @property
    def writes(self) -> bool:
        """Whether this process writes the run folder."""
        return is_first_rank()

    @property
    def is_patient(self) -> bool:
        """Whether the patience is not used up."""
        waited = self.summary["epochs_run"] - (self.summary["best_epoch"] or 0)
        return bool(waited < self._config.patience)

    def resume(
        self, summary: Mapping[str, Any], rows: Sequence[dict[str, float]], rate: float
    ) -> None:
        """Continue the record of a checkpoint; whatever followed it is forgotten.

        Args:
            summary: The summary then.
            rows: The figures of each epoch.
            rate: The learning rate of the last step.
        """
        summary = to_plain(summary)
        effect, former = self.summary.get("in_effect"), summary.get("in_effect")
        self.summary |= {**summary, "status": "running"}
        before = [*summary.get("in_effect_before", [])]
        if effect is not None and former is not None:
            # Weights are not loaded again when a checkpoint has them.
            effect = {**effect, "initial_weights": former.get("initial_weights", {})}
            if effect != former:
                self._tell_changes(former, effect)
                before += [former]
        if before:
            self.summary["in_effect_before"] = before
        if effect is not None:
            self.note_effect(effect)
        self.rows, self._rate = list(rows), rate
        self._seconds_before = float(self.summary["seconds"])

    def note_effect(self, effect: InEffect) -> None:
        """Keep what this process uses."""
        self.summary |= {"in_effect": effect, "precision": effect["precision"]}

    def _tell_changes(self, former: Mapping[str, Any], effect: Mapping[str, Any]) -> None:
        names = [name for name in effect if former.get(name) != effect[name]]
        told = (f"{name} was {former.get(name)}, now {effect[name]}" for name in names)
        self.say(f"This machine trains otherwise than before: {'; '.join(told)}.")

    def say(self, text: str, *, in_file_only: bool = False) -> None:
        """Add a line to ``train.log`` and to the log of the program."""
        if not self.writes:
            return
        if not in_file_only:
            logger.info(text)
        path, now = self.folder / LOG_FILE, datetime.now().astimezone()
        with writing(path), path.open("a", encoding="utf-8") as file:
            file.write(f"{now.isoformat(timespec='seconds')} {text}\n")

    def start(self) -> None:
        """Start the clock, and write figures and summary as they are."""
        self._run_started = time.perf_counter()
        self.write()

    def start_epoch(self) -> None:
        """Start the clock of the epoch."""
        self._epoch_started = time.perf_counter()
        self._num_images = 0

    def show_batch(self, batch: int, batches: int, num_images: int, loss: float) -> None:
        """Report the progress after a batch."""
        self._num_images += num_images
        if self._progress is not None and self.writes:
            progress = TrainProgress(
                epoch=self.summary["epochs_run"] + 1,
                epochs=self._config.epochs,
                batch=batch,
                batches=batches,
                loss=loss,
                learning_rate=self._rate,
                images_per_second=self._num_images / (time.perf_counter() - self._epoch_started),
                best=self.summary[f"best_{MONITORED}"],
            )
            self._progress(progress)

    def log_step(self, step: int, loss: float, learning_rate: float) -> None:
        """Log a step, counted from 1."""
        self._rate = learning_rate
        for each in self.loggers:
            each.log_metrics({"train_loss_step": loss, "learning_rate": learning_rate}, step)

    def end_epoch(self, step: int, figures: Mapping[str, float], published: Classifier) -> None:
        """Record the figures of an epoch, and find out whether its model is the best so far."""
        epoch = self.summary["epochs_run"] + 1
        seconds = time.perf_counter() - self._epoch_started
        row = {"epoch": epoch, "step": step, "learning_rate": self._rate, **figures}
        self.rows.append({**row, "seconds": seconds})
        for each in self.loggers:
            each.log_metrics({**figures, "epoch": epoch}, step)
        score, best_score = figures[MONITORED], self.summary[f"best_{MONITORED}"]
        self.has_better_model = best_score is None or score > best_score
        if self.has_better_model:
            self.summary |= {"best_epoch": epoch, f"best_{MONITORED}": score}
            if self.writes:
                self.summary["best_weights_sha256"] = digest_weights(published.state_dict())
        self.summary |= {"epochs_run": epoch, "steps": step}
        self.keep_time()

    def write_epoch(self, published: Classifier) -> None:
        """Write the rows, the summary, and the model if it is better."""
        if self.has_better_model and self.writes:
            published.save_pretrained(self.folder / BEST_FOLDER)
        self.write()
        row = self.rows[-1]
        self.say(
            f"Epoch {row['epoch']}/{self._config.epochs}: train loss {row['train_loss']:.4f}, "
            f"validation loss {row['validation_loss']:.4f}, macro average precision "
            f"{row[MONITORED]:.4f} (best: {self.summary[f'best_{MONITORED}']:.4f} in epoch "
            f"{self.summary['best_epoch']}), {row['seconds']:.1f} s"
        )

    def finish(self, status: str) -> None:
        """Write how the run ended: finished, interrupted or failed."""
        is_finished = status == "finished"
        is_early = is_finished and self.summary["epochs_run"] < self._config.epochs
        self.summary |= {"status": status, "stopped_early": is_early}
        for each in self.loggers:
            each.finalize("success" if is_finished else "failed")
        self.write()
        best = self.summary["best_epoch"]
        self.say(
            f"{status.capitalize()} after {self.summary['epochs_run']} epochs and "
            f"{self.summary['steps']} steps{', early' if is_early else ''}. "
            + (f"Best epoch: {best}." if best else "No epoch was finished.")
        )

    def keep_time(self) -> None:
        """Update the seconds of the summary, including those before the run was resumed."""
        now = time.perf_counter()
        self.summary["seconds"] = round(self._seconds_before + now - self._run_started, 3)

    def write(self) -> None:
        """Write the rows and the summary."""
        if not self.writes:
            return
        text = io.StringIO()
        writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
        writer.writeheader()
        for row in self.rows:
            writer.writerow({name: f"{value:.8g}" for name, value in row.items()})
        write_text(self.folder / METRICS_FILE, text.getvalue())
        summary = json.dumps(self.summary, indent=2, ensure_ascii=False, allow_nan=False)
        write_text(self.folder / SUMMARY_FILE, summary + "\n")
