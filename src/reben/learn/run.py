"""Run folders: what a training leaves behind.

::

    config.toml         the settings
    summary.json        the outcome: best epoch, counts, data, status
    environment.json    versions, git, device
    metrics.csv         one line per epoch
    train.log           what happened when
    checkpoints/        best.ckpt and last.ckpt: weights and the state of the training
    best/               the model of the best epoch, for Classifier.from_pretrained
    report-test/        the results on a split in report.json; other splits lie beside it
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from reben.errors import (
    BandsError,
    ConfigError,
    EmptySplitError,
    LabelsError,
    MetadataError,
    ModelError,
    RunError,
    StoreError,
    first_line,
)
from reben.learn.config import (
    PAPER_MATMUL_PRECISION,
    PAPER_PRECISION,
    PAPER_WARMUP_STEPS,
    ChangedSetting,
    TrainConfig,
)
from reben.learn.report import REPORT_FILE, Report
from reben.learn.run_files import CONFIG_FILE, METRICS_FILE
from reben.learn.summary import Summary
from reben.model.config import ModelConfig
from reben.model.folder import BEST_FOLDER, SUMMARY_FILE, another_best, require_best, run_folder
from reben.model.folder import CONFIG_FILE as MODEL_CONFIG_FILE
from reben.model.published import read_config
from reben.model.weights import digest_of_folder
from reben.spec.bands import BandSet
from reben.support.bounds import MAX_TOML_BYTES, read_text
from reben.support.json_files import check_values, read_json

if TYPE_CHECKING:
    from reben.data.dataset import Dataset

_CONTENT = (
    f"A run is a folder that reben train wrote: {CONFIG_FILE}, {SUMMARY_FILE}, {METRICS_FILE} and "
    f"the model of its best epoch in {BEST_FOLDER}/"
)

_ELSEWHERE = (
    "If the data lie elsewhere, name their store, and the table of your own labels if there is "
    "one: --data STORE --labels TABLE, in Python store= and label_table=."
)


@dataclass(frozen=True, eq=False)
class Run:
    """A training and its outcome, from `open` or from `reben.train`.

    Args:
        path: The run folder.
        config: The settings.
        summary: The outcome, as in ``summary.json``: ``best_epoch`` and ``epochs_run``
            (from 1), ``best_validation_macro_average_precision``, ``steps``, ``total_steps``,
            ``warmup_steps``, ``num_train``, ``num_validation``, ``seconds``, ``filters``,
            ``data`` (``store``, ``metadata``, ``label_table``, ``fingerprint``, ``num_patches``),
            ``in_effect`` (what was really used, see `InEffect`), ``not_applied``, ``new_head``,
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
            RunError: If it is not a run, cannot be read, or has not finished an epoch.
        """
        folder = run_folder(path)
        if folder is None:
            raise RunError(f"{path} is not a run. {_CONTENT}.")
        run = cls(folder, read_run_config(folder), read_run_summary(folder))
        if run.summary.get("best_epoch") is None or "best_weights_sha256" not in run.summary:
            require_best(folder, run.summary.get("status", "unknown"))
        if not run.holds_best():
            raise another_best(folder)
        return run

    def holds_best(self) -> bool:
        """Return whether ``best/`` holds the model that the summary speaks of."""
        told = self.summary.get("best_weights_sha256")
        is_over = self.summary.get("status") == "finished"
        if told is None and (is_over or self.summary.get("best_epoch") is not None):
            return True  # an older version trained it
        return told is not None and digest_of_best(self.path, self.config.band_set) == told

    @property
    def name(self) -> str:
        """The name of the run folder."""
        return self.path.resolve().name

    @property
    def best(self) -> Path:
        """The folder with the model of the best epoch."""
        return self.path / BEST_FOLDER

    def differences_from_paper(self) -> list[ChangedSetting]:
        """Return what can change the result and differs from the paper, as it was in effect.

        As `TrainConfig.differences_from_paper`, but for what a setting may leave open: the steps of
        the warm-up, and the precision, together with that of matrix products.
        """
        used = self.summary.get("in_effect", {})
        precision = used.get("precision", self.summary.get("precision", self.config.precision))
        asked, steps = self.config.differences_from_paper(), self.summary["warmup_steps"]
        found = [one for one in asked if one.name not in ("warmup_steps", "precision")]
        if steps != PAPER_WARMUP_STEPS:
            found.append(ChangedSetting("warmup_steps", PAPER_WARMUP_STEPS, steps))
        ours = (precision, used.get("matmul_precision", "unknown"))
        if ours != (PAPER_PRECISION, PAPER_MATMUL_PRECISION):
            theirs = f"{PAPER_PRECISION}, matrix products {PAPER_MATMUL_PRECISION}"
            products = "" if precision != PAPER_PRECISION else f", matrix products {ours[1]}"
            found.append(ChangedSetting("precision", theirs, f"{precision}{products}"))
        return found

    def dataset(
        self,
        store: str | Path | None = None,
        *,
        label_table: str | Path | None = None,
        metadata: str | Path | Iterable[str | Path] | None = None,
        **filters: Any,  # noqa: ANN401 - those of open_dataset
    ) -> "Dataset":
        """Return the patches of a store with the labels of the run.

        They pass the filters of the run by country, month, snow and cloud. The fraction and the
        limit that it was trained with do not count: they are of the training.

        Args:
            store: The store; by default the one that the run was trained on.
            label_table: A table of your own labels; by default that of the run, if it had one.
            metadata: The tables that list the patches; by default those of the run, or in a store
                that is named.
            filters: Other filters than those of the run, as `open_dataset` takes them.

        Raises:
            UnknownLabelError: If patches have labels that the run was not trained for.
            RunError: If the run does not say where its data are.
            StoreError: If there is no such store.
            MetadataError: If the table of labels cannot be read.
        """
        from reben.data.opening import filters_of, open_dataset

        data = self.summary.get("data", {})
        place = data.get("store") if store is None else store
        if place is None:
            raise RunError(f"The run {self.path} does not say where its data are. {_ELSEWHERE}")
        with self.knowing_its_data(is_named=store is not None):
            return open_dataset(
                place,
                self.config.bands,
                metadata=metadata or (self.metadata if store is None else None),
                labels=self.config.label_names,
                label_table=label_table or data.get("label_table"),
                **filters_of(self.summary.get("filters"), drawing=False) | filters,
            )

    @contextmanager
    def knowing_its_data(self, *, is_named: bool) -> Iterator[None]:
        """Say in errors of a store that the run chose, and not the user, how to name another."""
        try:
            yield
        except (StoreError, MetadataError) as error:
            if is_named or isinstance(error, EmptySplitError):
                raise
            told = (
                f"{error} The {SUMMARY_FILE} of {self.path} tells where its data were. {_ELSEWHERE}"
            )
            raise type(error)(told) from error

    @property
    def metadata(self) -> list[str] | None:
        """The tables that listed the patches, if they are not those in the store."""
        data = self.summary.get("data", {})
        files = data.get("metadata") or []
        is_inside = all(Path(file).parent == Path(data.get("store", "")) for file in files)
        return None if is_inside else list(files)

    def report_folder(self, split: str = "test") -> Path:
        """Return the folder of the report on ``split``, with figures and predictions."""
        return self.path / f"report-{split}"

    def report_path(self, split: str = "test") -> Path:
        """Return the path of the report on ``split``, which may not exist yet."""
        path = self.report_folder(split) / REPORT_FILE
        bare = path.parent.with_suffix(".json")  # as reben 0.1 wrote it, without a folder
        return bare if bare.is_file() and not path.is_file() else path

    def report(self, split: str = "test") -> Report:
        """Return the report of the best model on ``split``.

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


def config_of_best(run: Path, bands: BandSet) -> ModelConfig | None:
    """Return the config in ``best/``, or None if it is missing, damaged, or of other bands."""
    folder = run / BEST_FOLDER
    try:
        return read_config(folder / MODEL_CONFIG_FILE, name=str(folder), bands=bands)
    except (ConfigError, ModelError, BandsError, LabelsError, OSError):
        return None


def digest_of_best(run: Path, bands: BandSet) -> str | None:
    """Return the digest of the weights in ``best/``, or None if they or the config will not do."""
    if config_of_best(run, bands) is None:
        return None
    try:
        return digest_of_folder(run / BEST_FOLDER)
    except (ModelError, OSError):
        return None


def read_run_config(folder: Path) -> TrainConfig:
    """Return the settings in a run folder."""
    path = folder / CONFIG_FILE
    try:
        return TrainConfig.from_toml(read_text(path, MAX_TOML_BYTES))
    except (OSError, ValueError) as error:
        raise RunError(f"{path} cannot be read: {first_line(error)}. {_CONTENT}.") from None


def read_run_summary(folder: Path) -> Mapping[str, Any]:
    """Return the summary in a run folder."""
    path = folder / SUMMARY_FILE
    summary = read_json(path, dict[str, Any], RunError, f"{_CONTENT}.")
    check_values(summary, Summary, str(path), RunError, f"{_CONTENT}.")
    return summary
