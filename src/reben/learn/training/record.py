"""Where and with what a run was made: versions, git, device.

The recorder: keeps the run folder true while Lightning trains, and stops it when it is time.
"""

import csv
import io
import json
import logging
import math
import platform
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint

from reben.data.loader import Batch
from reben.learn.distributed import is_first_rank
from reben.learn.run import LOG_FILE, METRICS_FILE
from reben.learn.training.task import MONITORED, ClassificationTask
from reben.model.folder import BEST_FOLDER, SUMMARY_FILE
from reben.support.atomic import output_error, write_text

if TYPE_CHECKING:
    import torch

PACKAGES = (
    "reben",
    "torch",
    "torchvision",
    "timm",
    "lightning",
    "torchmetrics",
    "safetensors",
    "lmdb",
    "pyarrow",
    "numpy",
)
"""The packages that a result can depend on."""


def describe_environment(device: "torch.device") -> dict[str, Any]:
    """Return versions, git state and device, as plain values.

    Neither names of machines and users nor paths are among them.
    """
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "packages": {name: _version(name) for name in PACKAGES},
        "git": git_state(Path(__file__).parent),
        "device": _describe_device(device),
    }


def git_state(folder: Path) -> dict[str, Any] | None:
    """Return the commit that the files in ``folder`` are of, and whether they were changed since.

    Returns:
        ``{"commit": ..., "changed": ...}``, or None if git does not track the folder, as for an
        installed package.
    """
    git = shutil.which("git")
    if git is None or not _ask(git, folder, "ls-files"):
        return None
    commit = _ask(git, folder, "rev-parse", "HEAD")
    if not commit:
        return None
    return {"commit": commit, "changed": bool(_ask(git, folder, "status", "--porcelain", "."))}


def _ask(git: str, folder: Path, *words: str) -> str:
    """Return what a git command says, and nothing if it fails."""
    try:
        done = subprocess.run(  # noqa: S603 - fixed words, no shell
            [git, "-C", str(folder), *words],
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _describe_device(device: "torch.device") -> dict[str, Any]:
    import torch

    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor()
    return {"type": device.type, "name": name or None, "threads": torch.get_num_threads()}


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


class RunRecorder(Checkpoint):
    """Writes ``metrics.csv``, ``summary.json``, ``train.log`` and ``best/``, epoch by epoch.

    So the folder is a run that can be opened after every epoch, whatever happens then. It also
    ends the training once ``patience`` epochs brought nothing better. Only the first of several
    ranks writes.

    Args:
        folder: The run folder.
        facts: What is known beforehand, for the summary: counts, data, filters.
        patience: Epochs without a better figure before training stops.
        progress: What to call after each batch.
    """

    def __init__(
        self,
        folder: Path,
        facts: Mapping[str, Any],
        *,
        patience: int,
        progress: ProgressObserver | None = None,
    ) -> None:
        self.folder = folder
        self.patience = patience
        self.progress = progress
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
        self._run_started = self._epoch_started = self._images_since = time.perf_counter()

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
        return {"summary": dict(self.summary), "rows": [dict(row) for row in self._rows]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on with the record of a checkpoint; what came after it is forgotten."""
        self.summary |= {**state_dict["summary"], "status": "running"}
        self._rows = [dict(row) for row in state_dict["rows"]]
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
        self._run_started = self._epoch_started = self._images_since = time.perf_counter()
        self._write_rows()
        self._write_summary()
        if not self.is_patient:
            trainer.should_stop = True

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock of the epoch."""
        self._epoch_started = self._images_since = time.perf_counter()
        self._num_images = 0

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: object, batch_idx: int
    ) -> None:
        """Note the rate of the step: after it, the optimiser holds that of the next one."""
        self._rate = float(trainer.optimizers[0].param_groups[0]["lr"])

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,  # noqa: ANN401 - Lightning's
        batch: Batch,
        batch_idx: int,
    ) -> None:
        """Say how far the training is."""
        self._num_images += len(batch.names) * trainer.world_size
        if self.progress is None or not self.writes:
            return
        loss = outputs["loss"] if isinstance(outputs, Mapping) else outputs
        self.progress(
            TrainProgress(
                epoch=trainer.current_epoch + 1,
                epochs=int(trainer.max_epochs or 0),
                batch=batch_idx + 1,
                batches=int(trainer.num_training_batches),
                loss=float(loss),
                learning_rate=self._rate,
                images_per_second=self._num_images / (time.perf_counter() - self._images_since),
                best=self.summary[f"best_{MONITORED}"],
            )
        )

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the figures of the epoch, and tell whether its model is the best so far."""
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
        score, best_score = row[MONITORED], self.summary[f"best_{MONITORED}"]
        self.has_better_model = best_score is None or score > best_score
        if self.has_better_model:
            self.summary |= {"best_epoch": int(row["epoch"]), f"best_{MONITORED}": score}
        self.summary |= {"epochs_run": int(row["epoch"]), "steps": int(row["step"])}
        self.keep_time()
        if not self.is_patient:
            trainer.should_stop = True

    def write_epoch(self, task: ClassificationTask) -> None:
        """Write what the epoch brought: the rows, the summary, and the model if it is better.

        It follows the checkpoint of the epoch, so that nothing is written of what a training that
        goes on from there would not do again in the same way.
        """
        if not self.writes:
            return
        if self.has_better_model:
            with task.published_weights() as classifier:
                classifier.save_pretrained(self.folder / BEST_FOLDER)
        self._write_rows()
        self._write_summary()
        row = self._rows[-1]
        self.say(
            f"Epoch {row['epoch']}/{task.trainer.max_epochs}: train loss {row['train_loss']:.4f}, "
            f"validation loss {row['validation_loss']:.4f}, macro average precision "
            f"{row[MONITORED]:.4f} (best: {self.summary[f'best_{MONITORED}']:.4f} in epoch "
            f"{self.summary['best_epoch']}), {row['seconds']:.1f} s"
        )

    def keep_time(self) -> None:
        """Bring the seconds of the summary up to date, those before a resumption included."""
        now = time.perf_counter()
        self.summary["seconds"] = round(self._seconds_before + now - self._run_started, 3)

    def _write_rows(self) -> None:
        if not self.writes:
            return
        text = io.StringIO()
        writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
        writer.writeheader()
        for row in self._rows:
            writer.writerow({name: f"{value:.8g}" for name, value in row.items()})
        write_text(self.folder / METRICS_FILE, text.getvalue())

    def _write_summary(self) -> None:
        if not self.writes:
            return
        text = json.dumps(self.summary, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
        write_text(self.folder / SUMMARY_FILE, text)
