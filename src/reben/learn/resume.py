"""Going on with a run: it has to be the same run, to the last setting and patch."""

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reben.data.loader import Dataset
from reben.errors import ConfigError, RunError
from reben.learn.config import Difference, TrainConfig
from reben.learn.run import CHECKPOINT_FOLDER, CONFIG_FILE, SUMMARY_FILE

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
    from reben.learn.checkpoints import read_checkpoint

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
