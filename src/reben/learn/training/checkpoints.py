"""Checkpoints: what a training needs to resume as if it had never stopped.

``last.ckpt`` is written after each epoch and every few minutes within one; ``previous.ckpt`` is
the one before, and ``best.ckpt`` that of the best epoch. A checkpoint is a safetensors file:
weights and the optimiser's state are tensors, the rest is JSON in its header. So nothing is
unpickled.

A run comes further only when ``last.ckpt`` gets its name. All else in the folder (the best model,
figures, summary) follows from the checkpoint and is written after it. So a training that ended in
between is put right when it is resumed: see `newest_checkpoint` and `restore_best`.
"""

import json
import logging
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple, NotRequired

from torch import Tensor
from typing_extensions import TypedDict

from reben.data.loader import Dataset
from reben.errors import BandsError, ConfigError, RunError, first_line
from reben.learn.config import MAY_CHANGE, ChangedSetting, TrainConfig
from reben.learn.run import Run, config_of_best, digest_of_best
from reben.learn.run_files import CHECKPOINT_FOLDER
from reben.learn.summary import Summary
from reben.learn.training.record import MONITORED
from reben.model.classifier import Classifier
from reben.model.folder import (
    BEST_FOLDER,
    SUMMARY_FILE,
    write_model,
)
from reben.model.weights import digest_weights
from reben.support.atomic import atomic_file
from reben.support.json_files import Count, Finite, parse_json

logger = logging.getLogger(__name__)

LAST_CHECKPOINT, PREVIOUS_CHECKPOINT, BEST_CHECKPOINT = "last.ckpt", "previous.ckpt", "best.ckpt"
CHECKPOINTS = (LAST_CHECKPOINT, PREVIOUS_CHECKPOINT, BEST_CHECKPOINT)
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
    digest: NotRequired[str]
    """SHA-256 of the tensors; checkpoints of reben 0.1 and before have none."""


class Checkpoint(NamedTuple):
    """A checkpoint that was read and is sound."""

    path: Path
    state: State


def save_checkpoint(run: Path, state: State, tensors: Mapping[str, Tensor]) -> None:
    """Write the last checkpoint of a run, and keep the one before."""
    from safetensors.torch import save

    folder = run / CHECKPOINT_FOLDER
    packed = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    state = {**state, "digest": digest_weights(packed)}
    header = {_HEADER: json.dumps(state, ensure_ascii=False, allow_nan=False)}
    with atomic_file(folder / LAST_CHECKPOINT) as temporary:
        temporary.write_bytes(save(packed, header))
        if (folder / LAST_CHECKPOINT).is_file():
            _copy(folder / LAST_CHECKPOINT, folder / PREVIOUS_CHECKPOINT)


def keep_best(checkpoint: Path) -> None:
    """Keep a checkpoint as that of the best epoch."""
    _copy(checkpoint, checkpoint.parent / BEST_CHECKPOINT)


def _copy(source: Path, target: Path) -> None:
    """Let ``target`` be the same file as ``source``, which is never written into, or a copy."""
    with atomic_file(target) as temporary:
        temporary.unlink()
        try:
            os.link(source, temporary)
        except OSError:  # a file system without links
            shutil.copyfile(source, temporary)


def has_checkpoint(run: Path) -> bool:
    """Return whether a run came as far as its first checkpoint."""
    folder = run / CHECKPOINT_FOLDER
    return any((folder / name).is_file() for name in (LAST_CHECKPOINT, PREVIOUS_CHECKPOINT))


def newest_checkpoint(run: Path) -> Checkpoint | None:
    """Return the checkpoint to resume a run from, or None if it stopped before there was one.

    It is the last one. If that is damaged, it is the newest that is sound, and the log says so.

    Raises:
        RunError: If none is sound.
    """
    folder = run / CHECKPOINT_FOLDER
    found: list[Checkpoint] = []
    refused: list[RunError] = []
    for name in CHECKPOINTS:
        path = folder / name
        if not path.is_file():
            continue
        try:
            found.append(Checkpoint(path, _read_sound(path)))
        except RunError as error:
            refused.append(error)
        if name == LAST_CHECKPOINT and found:
            return found[0]
    if not found:
        if refused:
            raise refused[0]
        return None
    newest = max(found, key=lambda one: one.state["step"])
    damage = str(refused[0]) if refused else f"{folder / LAST_CHECKPOINT} is missing."
    logger.warning(
        "%s Resuming from %s instead, which was written after %d steps.",
        damage.removesuffix(_CURE).strip(),
        newest.path,
        newest.state["step"],
    )
    return newest


def _read_sound(path: Path) -> State:
    """Return the state of a checkpoint whose parts belong together."""
    state = read_state(path)
    config = _config_of(path, state)
    per_epoch = state["summary"].get("total_steps", 0) // config.epochs
    figures = [row.get(MONITORED) for row in state["rows"]]
    best = state["summary"].get("best_epoch")
    faults = {
        f"it has epoch {state['epoch']} of {config.epochs}": state["epoch"] > config.epochs,
        f"batch {state['batch']} of {per_epoch} in an epoch": state["batch"] > per_epoch,
        f"step {state['step']} is not that of its epoch and batch": (
            state["step"] != state["epoch"] * per_epoch + state["batch"]
        ),
        f"it has figures of {len(figures)} epochs after {state['epoch']}": (
            not len(figures) == state["epoch"] == state["summary"].get("epochs_run")
        ),
        f"its best epoch is {best} of {len(figures)}": (
            (best is None) != (not figures) or (best is not None and not 1 <= best <= len(figures))
        ),
    }
    fault = next((fault for fault, is_so in faults.items() if is_so), None)
    if (
        fault is None
        and "digest" in state
        and digest_weights(read_tensors(path)) != state["digest"]
    ):
        fault = "its tensors are not those that were written"
    if fault is not None:
        raise RunError(f"The checkpoint {path} is damaged: {fault}. {_CURE}")
    return state


def _config_of(path: Path, state: State) -> TrainConfig:
    try:
        return TrainConfig.from_toml(state["run"].get("config", ""))
    except (ConfigError, BandsError) as error:
        raise RunError(f"The settings in the checkpoint {path} are damaged: {error}") from None


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a checkpoint."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise RunError(f"Cannot read the checkpoint {path}: {first_line(error)}. {_CURE}") from None


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


def restore_best(run: Path, state: State, published: Classifier, checkpoint: Path) -> None:
    """Make sure that ``best/`` holds the model of the best epoch that a checkpoint speaks of.

    Args:
        run: The run folder.
        state: That of the checkpoint.
        published: The classifier to publish, as it was when the checkpoint was written.
        checkpoint: The checkpoint.
    """
    best, wanted = state["summary"].get("best_epoch"), state["summary"].get("best_weights_sha256")
    if best is None or wanted is None:  # no epoch is over, or an older version began the run
        return
    kept = checkpoint.parent / BEST_CHECKPOINT
    is_of_best = digest_weights(published.state_dict()) == wanted
    if is_of_best and not (kept.is_file() and kept.samefile(checkpoint)):
        keep_best(checkpoint)
    config = published.config
    if digest_of_best(run, config.bands) == wanted:
        return
    weights = published.state_dict() if is_of_best else _published_weights(kept)
    if digest_weights(weights) != wanted:
        raise RunError(
            f"The model of the best epoch, {best}, is lost: neither {run / BEST_FOLDER} nor {kept} "
            "holds it. Train again, or put back the file that was there."
        )
    # A config that is sound may hold a calibration.
    write_model(run / BEST_FOLDER, config_of_best(run, config.bands) or config, weights)
    logger.warning("The model of the best epoch, %d, was written into %s again.", best, BEST_FOLDER)


def _published_weights(checkpoint: Path) -> dict[str, Tensor]:
    """Return the weights that a checkpoint would publish: the average, if it has one."""
    try:
        tensors = read_tensors(checkpoint)
    except RunError:
        return {}
    for part in ("average.", "model."):
        if found := {n.removeprefix(part): t for n, t in tensors.items() if n.startswith(part)}:
            return found
    return {}


def run_facts(config: TrainConfig, dataset: Dataset) -> dict[str, str]:
    """Return what identifies a run: the settings, and the patches of both splits."""
    return {
        "config": config.to_toml(),
        "train": dataset["train"].table.fingerprint(),
        "validation": dataset["validation"].table.fingerprint(),
    }


def require_same(
    run: Run, config: TrainConfig, dataset: Dataset, checkpoint: Checkpoint | None
) -> None:
    """Check that a run can be resumed with these settings and data."""
    _refuse(f"The run {run.path}", config.differences_from(run.config))
    data = run.summary.get("data", {})
    if data.get("fingerprint") not in (None, dataset.table.fingerprint()):
        filters = run.summary.get("filters", {})
        told = ", ".join(f"{name} {value}" for name, value in filters.items()) or "none"
        raise RunError(
            f"The run {run.path} was trained on other patches or labels than these "
            f"{len(dataset)} from {dataset.store.path}. Resume it with the data of its "
            f"{SUMMARY_FILE} ({data.get('store')}, filters: {told}), or start a new run."
        )
    if checkpoint is None:
        return
    path, facts = checkpoint.path, checkpoint.state["run"]
    theirs = _config_of(path, checkpoint.state)
    _refuse(f"The checkpoint {path}", config.differences_from(theirs))
    ours = run_facts(config, dataset)
    for split in ("train", "validation"):
        if facts.get(split) != ours[split]:
            raise RunError(
                f"{path} was trained on another {split} split than {dataset.store.path} has "
                f"(fingerprint {facts.get(split)}, now {ours[split]}). Resume it with the same "
                "data."
            )


def require_same_steps(checkpoint: Checkpoint, total_steps: int, config: TrainConfig) -> None:
    """Check that the schedule of a run is still that of its checkpoint."""
    former = checkpoint.state["summary"].get("total_steps")
    if former != total_steps:
        raise ConfigError(
            f"The run has {former} steps, and {total_steps} with {config.world_size} devices, "
            "since the last batch of an epoch holds too few patches for all of them. Resume it "
            "with as many devices as before."
        )


def is_finished(run: Run) -> bool:
    """Return whether there is nothing to resume."""
    return bool(run.summary.get("status") == "finished")


def _refuse(what: str, differences: list[ChangedSetting]) -> None:
    fixed = [one for one in differences if one.name not in MAY_CHANGE]
    if fixed:
        listed = "; ".join(f"{name} {theirs!r}, now {own!r}" for name, theirs, own in fixed)
        raise ConfigError(
            f"{what} has other settings: {listed}. A run keeps its settings when it is resumed: "
            f"leave these out, or start a new run. Only {', '.join(sorted(MAY_CHANGE))} may "
            "change."
        )
