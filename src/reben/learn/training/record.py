"""The recorder: keeps the run folder true while a model is trained, and counts patience."""

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

from reben.learn.distributed import is_first_rank
from reben.learn.run import LOG_FILE, METRICS_FILE
from reben.model.classifier import Classifier
from reben.model.folder import BEST_FOLDER, SUMMARY_FILE
from reben.support.atomic import output_error, write_text

logger = logging.getLogger(__name__)

MONITORED = "validation_macro_average_precision"
"""The figure that tells which epoch is the best."""
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
"""Columns of ``metrics.csv``; epochs count from 1, the rate is that of the epoch's last step."""


class TrainProgress(NamedTuple):
    """How far a training is."""

    epoch: int
    """From 1."""
    epochs: int
    batch: int
    """Batches of the epoch that are done."""
    batches: int
    loss: float
    """Of the batch."""
    learning_rate: float
    images_per_second: float
    """Over all devices, of the epoch so far."""
    best: float | None
    """Highest validation macro average precision so far."""


ProgressObserver = Callable[[TrainProgress], None]


class Logger(Protocol):
    """Keeps figures; the loggers of Lightning do."""

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Keep the figures of a step, by name."""

    def finalize(self, status: str) -> None:
        """End with ``success`` or ``failed``."""


class RunRecorder:
    """Writes ``metrics.csv``, ``summary.json``, ``train.log`` and ``best/``, epoch by epoch.

    So the folder is a run that can be opened after every epoch, whatever happens then. Only the
    first of several ranks writes.

    Args:
        folder: The run folder.
        facts: What is known beforehand, for the summary: counts, data, filters.
        epochs: How many epochs there are at most.
        patience: Epochs without a better figure before training stops.
        progress: What to call after each batch.
    """

    def __init__(
        self,
        folder: Path,
        facts: Mapping[str, Any],
        *,
        epochs: int,
        patience: int,
        progress: ProgressObserver | None = None,
    ) -> None:
        self.folder = folder
        self.epochs = epochs
        self.patience = patience
        self.progress = progress
        self.loggers: Sequence[Logger] = ()
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
        self.has_better_model = False
        """Whether the weights are better than those in ``best/``, which are still to be written."""
        self._rows: list[dict[str, float]] = []
        self._rate = math.nan
        self._seconds_before = 0.0
        self._num_images = 0
        self._run_started = self._epoch_started = time.perf_counter()

    @property
    def writes(self) -> bool:
        """Whether this is the process that writes the run folder."""
        return is_first_rank()

    @property
    def is_patient(self) -> bool:
        """Whether there is hope for something better."""
        waited = self.summary["epochs_run"] - (self.summary["best_epoch"] or 0)
        return bool(waited < self.patience)

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint keeps of the record."""
        return {"summary": self.summary, "rows": self._rows}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on with the record of a checkpoint; what came after it is forgotten."""
        self.summary |= {**state["summary"], "status": "running"}
        self._rows = list(state["rows"])
        self._seconds_before = float(self.summary["seconds"])

    def say(self, text: str) -> None:
        """Add a line to the log of the program and to ``train.log``.

        Raises:
            OutputError: If the file cannot be written.
        """
        if self.writes:
            logger.info(text)
            self.note(text)

    def note(self, text: str) -> None:
        """Add a line to ``train.log`` alone.

        Raises:
            OutputError: If the file cannot be written.
        """
        if not self.writes:
            return
        path = self.folder / LOG_FILE
        try:
            with path.open("a", encoding="utf-8") as file:
                file.write(f"{datetime.now().astimezone().isoformat(timespec='seconds')} {text}\n")
        except OSError as error:
            raise output_error(path, error) from error

    def start(self) -> None:
        """Start the clock and write the first summary."""
        self._run_started = time.perf_counter()
        self._write()

    def start_epoch(self) -> None:
        """Start the clock of the epoch."""
        self._epoch_started = time.perf_counter()
        self._num_images = 0

    def show_batch(self, batch: int, batches: int, num_images: int, loss: float) -> None:
        """Say how far the training is, after a batch."""
        self._num_images += num_images
        if self.progress is None or not self.writes:
            return
        self.progress(
            TrainProgress(
                epoch=self.summary["epochs_run"] + 1,
                epochs=self.epochs,
                batch=batch,
                batches=batches,
                loss=loss,
                learning_rate=self._rate,
                images_per_second=self._num_images / (time.perf_counter() - self._epoch_started),
                best=self.summary[f"best_{MONITORED}"],
            )
        )

    def log_step(self, step: int, loss: float, learning_rate: float) -> None:
        """Tell the loggers of a step, from 1."""
        self._rate = learning_rate
        for each in self.loggers:
            each.log_metrics({"train_loss_step": loss, "learning_rate": learning_rate}, step)

    def end_epoch(self, step: int, figures: Mapping[str, float]) -> None:
        """Take in the figures of an epoch, and tell whether its model is the best so far."""
        row = {
            "epoch": self.summary["epochs_run"] + 1,
            "step": step,
            "learning_rate": self._rate,
            **figures,
            "seconds": time.perf_counter() - self._epoch_started,
        }
        self._rows.append(row)
        for each in self.loggers:
            each.log_metrics({**figures, "epoch": row["epoch"]}, step)
        score, best_score = row[MONITORED], self.summary[f"best_{MONITORED}"]
        self.has_better_model = best_score is None or score > best_score
        if self.has_better_model:
            self.summary |= {"best_epoch": row["epoch"], f"best_{MONITORED}": score}
        self.summary |= {"epochs_run": row["epoch"], "steps": step}
        self.keep_time()

    def write_epoch(self, published: Classifier) -> None:
        """Write what the epoch brought: the rows, the summary, and the model if it is better."""
        if self.has_better_model and self.writes:
            published.save_pretrained(self.folder / BEST_FOLDER)
        self._write()
        row = self._rows[-1]
        self.say(
            f"Epoch {row['epoch']}/{self.epochs}: train loss {row['train_loss']:.4f}, "
            f"validation loss {row['validation_loss']:.4f}, macro average precision "
            f"{row[MONITORED]:.4f} (best: {self.summary[f'best_{MONITORED}']:.4f} in epoch "
            f"{self.summary['best_epoch']}), {row['seconds']:.1f} s"
        )

    def finish(self, status: str, *, stopped_early: bool = False) -> None:
        """Write how the run ended: finished, interrupted or failed.

        Raises:
            OutputError: If the folder cannot be written.
        """
        self.summary |= {"status": status, "stopped_early": stopped_early}
        for each in self.loggers:
            each.finalize("success" if status == "finished" else "failed")
        self._write()
        best = self.summary["best_epoch"]
        self.say(
            f"{status.capitalize()} after {self.summary['epochs_run']} epochs and "
            f"{self.summary['steps']} steps{', early' if stopped_early else ''}. "
            + (f"Best epoch: {best}." if best else "No epoch was finished.")
        )

    def keep_time(self) -> None:
        """Bring the seconds of the summary up to date, those before a resumption included."""
        now = time.perf_counter()
        self.summary["seconds"] = round(self._seconds_before + now - self._run_started, 3)

    def _write(self) -> None:
        """Write the rows and the summary."""
        if not self.writes:
            return
        text = io.StringIO()
        writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
        writer.writeheader()
        for row in self._rows:
            writer.writerow({name: f"{value:.8g}" for name, value in row.items()})
        write_text(self.folder / METRICS_FILE, text.getvalue())
        summary = json.dumps(self.summary, indent=2, ensure_ascii=False, allow_nan=False)
        write_text(self.folder / SUMMARY_FILE, summary + "\n")
