"""Checkpoints: what a training needs to go on as if nothing had happened.

``last.ckpt`` follows each epoch, and every so many minutes within one; ``best.ckpt`` is that of
the best epoch. A checkpoint is a safetensors file: weights and the state of the optimiser as
tensors, and all else as JSON in its header. So nothing in it is ever unpickled.
"""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor
from typing_extensions import TypedDict

from reben.data.loader import Dataset
from reben.errors import ConfigError, RunError, first_line
from reben.learn.config import ChangedSetting, TrainConfig
from reben.learn.run import CHECKPOINT_FOLDER, LAST_CHECKPOINT, Interrupted, Summary
from reben.model.folder import SUMMARY_FILE
from reben.support.atomic import atomic_file, write_bytes
from reben.support.json_files import Count, Finite, parse_json

BEST_CHECKPOINT = "best.ckpt"
_HEADER = "reben"
_CURE = "Train again, or take another one."


class LossState(TypedDict):
    """The sum of the losses of an epoch so far."""

    total: Finite
    num_patches: Count


class RecordState(TypedDict):
    """What the recorder keeps in a checkpoint."""

    summary: Summary
    rows: list[dict[str, Finite]]


class State(TypedDict):
    """All that a checkpoint holds beside tensors."""

    run: dict[str, str]
    epoch: Count
    batch: Count
    step: Count
    train_loss: LossState
    precision: dict[str, Count | Finite]
    record: RecordState


def save_checkpoint(run: Path, state: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
    """Write the last checkpoint of a run.

    Raises:
        OutputError: If it cannot be written; the one before is unchanged.
    """
    from safetensors.torch import save

    header = {_HEADER: json.dumps(state, ensure_ascii=False, allow_nan=False)}
    packed = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    write_bytes(run / CHECKPOINT_FOLDER / LAST_CHECKPOINT, save(packed, header))


def keep_best(run: Path) -> None:
    """Keep the last checkpoint as that of the best epoch.

    Raises:
        OutputError: If it cannot be written.
    """
    folder = run / CHECKPOINT_FOLDER
    with atomic_file(folder / BEST_CHECKPOINT) as temporary:
        shutil.copyfile(folder / LAST_CHECKPOINT, temporary)


def load_checkpoint(path: Path) -> tuple[State, dict[str, Tensor]]:
    """Return what `save_checkpoint` wrote.

    Raises:
        RunError: If it is damaged, or is none of this version.
    """
    from safetensors.torch import load_file

    return read_state(path), load_file(path)


def read_state(path: Path) -> State:
    """Return what a checkpoint holds beside tensors.

    Raises:
        RunError: If it is damaged, or is none of this version.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            header = (file.metadata() or {}).get(_HEADER)
    except (SafetensorError, OSError) as error:
        with path.open("rb") as stream:
            is_pickled = stream.read(2) == b"PK"
        if is_pickled:
            raise RunError(
                f"The checkpoint {path} is of an older version of reben, which pickled them; this "
                "one cannot go on from it. Train again; the model in best/ can still be used."
            ) from None
        raise RunError(
            f"The checkpoint {path} cannot be opened: {first_line(error)}. {_CURE}"
        ) from None
    if header is None:
        raise RunError(f"{path} is no checkpoint of reben. {_CURE}")
    return parse_json(header, State, f"The checkpoint {path}", RunError, _CURE)


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
    if run.is_finished or run.checkpoint is None:
        return
    facts = read_state(run.checkpoint)["run"]
    theirs = TrainConfig.from_toml(facts.get("config", ""))
    _refuse(f"The checkpoint {run.checkpoint}", config.differences_from(theirs))
    if facts != run_facts(config, dataset):
        raise RunError(
            f"{run.checkpoint} is of a training with other patches in its splits than "
            f"{dataset.store.path} has. Go on with the very same data."
        )


def _refuse(what: str, differences: list[ChangedSetting]) -> None:
    if differences:
        listed = "; ".join(f"{name} {theirs!r}, now {own!r}" for name, theirs, own in differences)
        raise ConfigError(
            f"{what} was made with other settings: {listed}. A run goes on with its own settings "
            "alone; leave these out, or begin another run."
        )
