"""Checkpoints: what a training needs to resume as if it had never stopped.

``last.ckpt`` is written after each epoch and every few minutes within one; ``best.ckpt`` is that of
the best epoch. A checkpoint is a safetensors file: weights and the optimiser's state are tensors,
the rest is JSON in its header. So nothing is ever unpickled.
"""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor
from typing_extensions import TypedDict

from reben.data.loader import Dataset
from reben.errors import ConfigError, RunError, first_line
from reben.learn.config import ChangedSetting, TrainConfig
from reben.learn.run import CHECKPOINT_FOLDER, Run, Summary
from reben.model.folder import SUMMARY_FILE
from reben.support.atomic import atomic_file, write_bytes
from reben.support.json_files import Count, Finite, parse_json

LAST_CHECKPOINT, BEST_CHECKPOINT = "last.ckpt", "best.ckpt"
_HEADER = "reben"
_CURE = "Train again, or use another checkpoint."


class State(TypedDict):
    """What a checkpoint holds besides tensors."""

    run: dict[str, str]
    epoch: Count
    batch: Count
    step: Count
    train_loss: tuple[Finite, Count]
    """Sum over the patches of the epoch so far, and their number."""
    precision: dict[str, Count | Finite]
    summary: Summary
    rows: list[dict[str, Finite]]


def save_checkpoint(run: Path, state: State, tensors: Mapping[str, Tensor]) -> None:
    """Write the last checkpoint of a run."""
    from safetensors.torch import save

    header = {_HEADER: json.dumps(state, ensure_ascii=False, allow_nan=False)}
    packed = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    write_bytes(run / CHECKPOINT_FOLDER / LAST_CHECKPOINT, save(packed, header))


def keep_best(run: Path) -> None:
    """Keep the last checkpoint as that of the best epoch."""
    folder = run / CHECKPOINT_FOLDER
    with atomic_file(folder / BEST_CHECKPOINT) as temporary:
        shutil.copyfile(folder / LAST_CHECKPOINT, temporary)


def last_checkpoint(run: Path) -> Path | None:
    """Return the last checkpoint of a run, or None if it stopped before there was one."""
    path = run / CHECKPOINT_FOLDER / LAST_CHECKPOINT
    return path if path.is_file() else None


def read_state(path: Path) -> State:
    """Return what a checkpoint holds besides tensors."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            header = (file.metadata() or {}).get(_HEADER)
    except (SafetensorError, OSError) as error:
        with path.open("rb") as stream:
            is_pickled = stream.read(2) == b"PK"
        if is_pickled:
            raise RunError(
                f"The checkpoint {path} was pickled by an older version of reben; this one cannot "
                "resume from it. Train again; the model in best/ can still be used."
            ) from None
        raise RunError(f"Cannot open the checkpoint {path}: {first_line(error)}. {_CURE}") from None
    if header is None:
        raise RunError(f"{path} is not a checkpoint of reben. {_CURE}")
    return parse_json(header, State, f"The checkpoint {path}", RunError, _CURE)


def run_facts(config: TrainConfig, dataset: Dataset) -> dict[str, str]:
    """Return what identifies a run: the settings, and the patches of both splits."""
    return {
        "config": config.to_toml(),
        "train": dataset["train"].table.fingerprint(),
        "validation": dataset["validation"].table.fingerprint(),
    }


def require_same(run: Run, config: TrainConfig, dataset: Dataset) -> None:
    """Check that a run can be resumed with these settings and data."""
    _refuse(f"The run {run.path}", config.differences_from(run.config))
    fingerprint = run.summary.get("data", {}).get("fingerprint")
    if fingerprint not in (None, dataset.table.fingerprint()):
        raise RunError(
            f"The run {run.path} was trained on other patches or labels than these "
            f"{len(dataset)} from {dataset.store.path}. Resume it with the same data and filters, "
            f"which are in its {SUMMARY_FILE}, or start a new run."
        )
    checkpoint = last_checkpoint(run.path)
    if checkpoint is None or is_finished(run):
        return
    facts = read_state(checkpoint)["run"]
    theirs = TrainConfig.from_toml(facts.get("config", ""))
    _refuse(f"The checkpoint {checkpoint}", config.differences_from(theirs))
    if facts != run_facts(config, dataset):
        raise RunError(
            f"{checkpoint} was trained on other patches than {dataset.store.path} has in its "
            "splits. Resume it with the same data."
        )


def is_finished(run: Run) -> bool:
    """Return whether there is nothing to resume."""
    return bool(run.summary.get("status") == "finished")


def _refuse(what: str, differences: list[ChangedSetting]) -> None:
    if differences:
        listed = "; ".join(f"{name} {theirs!r}, now {own!r}" for name, theirs, own in differences)
        raise ConfigError(
            f"{what} has other settings: {listed}. A run keeps its settings when it is resumed: "
            "leave these out, or start a new run."
        )
