"""Run folders: what one training left behind.

::

    config.toml         the settings
    summary.json        what came of them: best epoch, counts, data, status
    environment.json    versions, git, device
    metrics.csv         one line an epoch
    train.log           what happened when
    checkpoints/        best.ckpt and last.ckpt, weights with the state of the training
    best/               the model of the best epoch, as Classifier.from_pretrained reads it
    report-test/        what it reached on a split, in report.json; other splits lie beside it
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from typing_extensions import TypedDict

from reben.errors import BandsError, ConfigError, RunError, first_line
from reben.learn.config import TrainConfig
from reben.learn.report import REPORT_FILE, Report
from reben.model.folder import BEST_FOLDER, SUMMARY_FILE, require_best, run_folder
from reben.support.json_files import Count, Finite, check_values, read_json

if TYPE_CHECKING:
    from reben.data.loader import Dataset

CONFIG_FILE = "config.toml"
ENVIRONMENT_FILE = "environment.json"
METRICS_FILE = "metrics.csv"
LOG_FILE = "train.log"
CHECKPOINT_FOLDER = "checkpoints"
LAST_CHECKPOINT = "last.ckpt"

_CONTENT = (
    f"A run is a folder that reben train wrote: {CONFIG_FILE}, {SUMMARY_FILE}, {METRICS_FILE} and "
    f"the model of its best epoch in {BEST_FOLDER}/"
)


class SummaryData(TypedDict, total=False):
    """Which patches a run was trained on."""

    store: str
    fingerprint: str
    made_up_by: str | None
    label_table: str | None


class Summary(TypedDict, total=False):
    """What ``summary.json`` says of a run; epochs count from 1."""

    status: str
    """running, finished, interrupted or failed."""
    best_epoch: Count | None
    best_validation_macro_average_precision: Finite | None
    epochs_run: Count
    stopped_early: bool
    steps: Count
    total_steps: Count
    warmup_steps: Count
    seconds: Finite
    num_train: Count
    num_validation: Count
    filters: dict[str, str]
    data: SummaryData
    not_applied: list[str]
    new_head: bool
    precision: str
    channels_last: bool


@dataclass(frozen=True, eq=False)
class Run:
    """One training and what came of it. Get it from `open` or from `reben.train`.

    Args:
        path: The run folder.
        config: The settings.
        summary: What came of them, as ``summary.json`` has it: ``best_epoch`` and ``epochs_run``
            (from 1), ``best_validation_macro_average_precision``, ``steps``, ``total_steps``,
            ``warmup_steps``, ``num_train``, ``num_validation``, ``seconds``, ``filters``,
            ``data`` (``store``, ``fingerprint``, ``label_table``), ``not_applied``, ``new_head``,
            ``stopped_early`` and ``status`` (running, finished, interrupted or failed).
    """

    path: Path
    config: TrainConfig
    summary: Mapping[str, Any]

    @classmethod
    def open(cls, path: str | Path) -> Self:
        """Return the run in a folder.

        Args:
            path: The run folder, or the folder ``best`` in it.

        Raises:
            RunError: If it is not a run, or one in which no epoch was finished.
        """
        folder = run_folder(path)
        if folder is None:
            raise RunError(f"{path} is not a run. {_CONTENT}.")
        config, summary = _read_config(folder), _read_summary(folder)
        require_best(folder, summary.get("status", "unknown"))
        return cls(folder, config, summary)

    @property
    def name(self) -> str:
        """Name of the run folder."""
        return self.path.resolve().name

    @property
    def best(self) -> Path:
        """The folder with the model of the best epoch."""
        return self.path / BEST_FOLDER

    def dataset(
        self, store: str | Path | None = None, *, label_table: str | Path | None = None
    ) -> "Dataset":
        """Return the patches of the run's store, or of another one, with the labels of the run.

        Args:
            store: The store; by default the one that the run was trained on.
            label_table: The table of own labels; by default the one of the run, if it had one.

        Raises:
            UnknownLabelError: If patches have labels that the run was not trained for.
            StoreError: If there is no such store.
            MetadataError: If the table of labels cannot be read.
        """
        from reben.data.loader import open_dataset

        data = self.summary["data"] if store is None else self.summary.get("data", {})
        return open_dataset(
            data["store"] if store is None else store,
            labels=self.config.label_names,
            label_table=label_table or data.get("label_table"),
        )

    def report_folder(self, split: str = "test") -> Path:
        """Return the folder of the report on ``split``, with pictures and predictions."""
        return self.path / f"report-{split}"

    def report_path(self, split: str = "test") -> Path:
        """Return where the report on ``split`` lies, once there is one."""
        path = self.report_folder(split) / REPORT_FILE
        bare = path.parent.with_suffix(".json")  # as reben 0.1 wrote it, without a folder
        return bare if bare.is_file() and not path.is_file() else path

    def report(self, split: str = "test") -> Report:
        """Return what the best model reached on ``split``.

        Raises:
            RunError: If it was not evaluated on that split.
        """
        path = self.report_path(split)
        if not path.is_file():
            found = sorted(
                file.relative_to(self.path).as_posix()
                for pattern in (f"report-*/{REPORT_FILE}", "report-*.json")
                for file in self.path.glob(pattern)
            )
            raise RunError(
                f"The run {self.path} holds no report-{split}/{REPORT_FILE}; its reports are: "
                f"{', '.join(found) or 'none'}. Write one with: reben evaluate {self.path} "
                f"--data STORE --split {split}"
            )
        return Report.load(path)


@dataclass(frozen=True)
class Interrupted:
    """A run that may not have come to its end. Get it from `open`.

    Args:
        path: The run folder.
        config: Its settings.
        summary: Its summary, empty if it had none yet.
    """

    path: Path
    config: TrainConfig
    summary: Mapping[str, Any]

    @classmethod
    def open(cls, path: str | Path) -> Self:
        """Return the run in a folder.

        Raises:
            RunError: If there is none, or it cannot be read.
        """
        folder = Path(path)
        if not (folder / CONFIG_FILE).is_file():
            raise RunError(
                f"{folder} is no run to go on with, since it holds no {CONFIG_FILE}. Name the "
                "folder that reben train wrote, or train without resuming."
            )
        has_summary = (folder / SUMMARY_FILE).is_file()
        return cls(folder, _read_config(folder), _read_summary(folder) if has_summary else {})

    @property
    def is_finished(self) -> bool:
        """Whether there is nothing to go on with."""
        return bool(self.summary.get("status") == "finished")

    @property
    def checkpoint(self) -> Path | None:
        """The last checkpoint, or None if the run ended before there was one."""
        path = self.path / CHECKPOINT_FOLDER / LAST_CHECKPOINT
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


def _read_config(folder: Path) -> TrainConfig:
    path = folder / CONFIG_FILE
    try:
        return TrainConfig.from_toml(path.read_text(encoding="utf-8"))
    except (OSError, ConfigError, BandsError, UnicodeDecodeError) as error:
        raise RunError(f"{path} cannot be read: {first_line(error)}. {_CONTENT}.") from None


def _read_summary(folder: Path) -> Mapping[str, Any]:
    path = folder / SUMMARY_FILE
    summary = read_json(path, dict[str, Any], RunError, f"{_CONTENT}.")
    check_values(summary, Summary, str(path), RunError, f"{_CONTENT}.")
    return summary
