"""The recorder: keeps the run folder true while Lightning trains."""

import csv
import io
import json
import logging
import math
import time
from datetime import datetime
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from reben.data.files import output_error, write_text
from reben.learn.run import BEST_FOLDER, LOG_FILE, METRICS_FILE, SUMMARY_FILE
from reben.learn.task import MONITORED
from reben.model.classifier import Classifier

logger = logging.getLogger(__name__)

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


class RunRecorder(Callback):
    """Writes ``metrics.csv``, ``summary.json``, ``train.log`` and ``best/``, epoch by epoch.

    So the folder is a run that can be opened after every epoch, whatever happens then.

    Args:
        folder: The run folder.
        classifier: The model that is trained.
        facts: What is known beforehand, for the summary: counts, data, filters.
    """

    def __init__(self, folder: Path, classifier: Classifier, facts: dict[str, Any]) -> None:
        self.folder = folder
        self.classifier = classifier
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
        self._rows: list[dict[str, float]] = []
        self._rate = math.nan
        self._run_started = self._epoch_started = time.perf_counter()

    def say(self, text: str) -> None:
        """Add a line to the log of the program and to ``train.log``.

        Raises:
            OutputError: If the file cannot be written.
        """
        logger.info(text)
        self.note(text)

    def note(self, text: str) -> None:
        """Add a line to ``train.log`` alone.

        Raises:
            OutputError: If the file cannot be written.
        """
        path = self.folder / LOG_FILE
        try:
            with path.open("a", encoding="utf-8") as file:
                file.write(f"{datetime.now().astimezone().isoformat(timespec='seconds')} {text}\n")
        except OSError as error:
            raise output_error(path, error) from error

    def finish(self, status: str, *, stopped_early: bool = False) -> None:
        """Write how the run ended.

        Raises:
            OutputError: If the folder cannot be written.
        """
        self.summary |= {"status": status, "stopped_early": stopped_early}
        self._write_summary()
        best = self.summary["best_epoch"]
        self.say(
            f"{status.capitalize()} after {self.summary['epochs_run']} epochs and "
            f"{self.summary['steps']} steps{', early' if stopped_early else ''}. "
            + (f"Best epoch: {best}." if best else "No epoch was finished.")
        )

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock and write the first summary."""
        self._run_started = time.perf_counter()
        self._write_summary()

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock of the epoch."""
        self._epoch_started = time.perf_counter()

    def on_train_batch_start(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        batch: object,
        batch_idx: int,
    ) -> None:
        """Note the rate of the step: after it, the optimiser holds that of the next one."""
        self._rate = float(trainer.optimizers[0].param_groups[0]["lr"])

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the figures of the epoch, and its model if it is the best so far."""
        now = time.perf_counter()
        figures = {
            name: float(trainer.callback_metrics[name])
            for name in COLUMNS
            if name in trainer.callback_metrics
        }
        row = {
            "epoch": trainer.current_epoch + 1,
            "step": trainer.global_step,
            "learning_rate": self._rate,
            **figures,
            "seconds": now - self._epoch_started,
        }
        self._rows.append(row)
        self._write_rows()
        score, best_score = row[MONITORED], self.summary[f"best_{MONITORED}"]
        if best_score is None or score > best_score:
            self.classifier.save_pretrained(self.folder / BEST_FOLDER)
            self.summary |= {"best_epoch": int(row["epoch"]), f"best_{MONITORED}": score}
        self.summary |= {
            "epochs_run": int(row["epoch"]),
            "steps": int(row["step"]),
            "seconds": round(now - self._run_started, 3),
        }
        self._write_summary()
        self.say(
            f"Epoch {row['epoch']}/{trainer.max_epochs}: train loss {row['train_loss']:.4f}, "
            f"validation loss {row['validation_loss']:.4f}, macro average precision {score:.4f} "
            f"(best: {self.summary[f'best_{MONITORED}']:.4f} in epoch "
            f"{self.summary['best_epoch']}), {row['seconds']:.1f} s"
        )

    def _write_rows(self) -> None:
        text = io.StringIO()
        writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
        writer.writeheader()
        for row in self._rows:
            writer.writerow({name: f"{value:.8g}" for name, value in row.items()})
        write_text(self.folder / METRICS_FILE, text.getvalue())

    def _write_summary(self) -> None:
        text = json.dumps(self.summary, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
        write_text(self.folder / SUMMARY_FILE, text)
