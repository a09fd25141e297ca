"""The run folder before the first step: made or found, held by one training, described."""

import json
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from reben.data.statistics import write_statistics
from reben.errors import RunError
from reben.learn.config import PUBLISHED, TrainConfig
from reben.learn.run_files import (
    CHECKPOINT_FOLDER,
    CONFIG_FILE,
    ENVIRONMENT_FILE,
    LOG_FILE,
    METRICS_FILE,
    STATISTICS_FILE,
    require_new,
)
from reben.learn.training.checkpoints import CHECKPOINTS, Checkpoint
from reben.learn.training.environment import describe_environment
from reben.model.folder import BEST_FOLDER, SUMMARY_FILE
from reben.model.folder import CONFIG_FILE as MODEL_CONFIG_FILE
from reben.model.weights import WEIGHTS_FILE
from reben.spec.statistics import Statistics
from reben.support.atomic import make_folder, remove_leftovers, write_text
from reben.support.locks import locked

if TYPE_CHECKING:
    import torch

    from reben.learn.training.record import RunRecorder

_WRITTEN = (
    *(
        CONFIG_FILE,
        ENVIRONMENT_FILE,
        METRICS_FILE,
        STATISTICS_FILE,
        SUMMARY_FILE,
        MODEL_CONFIG_FILE,
        WEIGHTS_FILE,
    ),
    *CHECKPOINTS,
)
"""Files of a run that are replaced as a whole."""


@contextmanager
def new_folder(out: Path) -> Iterator[None]:
    """Make the run folder, and hold it while the block runs."""
    make_folder(out)
    with held_alone(out):
        require_new(out)  # another training may have begun meanwhile
        yield


def held_alone(out: Path) -> AbstractContextManager[object]:
    """Hold a run folder while the block runs: two trainings would overwrite each other."""
    return locked(
        out / LOG_FILE,
        lambda: RunError(
            f"Another process is training the run {out} right now. Wait until it ends, or end it; "
            "then resume the run."
        ),
    )


def begin(
    config: TrainConfig,
    statistics: Statistics,
    device: "torch.device",
    recorder: "RunRecorder",
    checkpoint: Checkpoint | None,
) -> None:
    """Write what is known before the first step."""
    out, facts = recorder.folder, recorder.summary
    for folder in (out, out / BEST_FOLDER, out / CHECKPOINT_FOLDER):
        remove_leftovers(folder, _WRITTEN)
    if checkpoint is not None:
        write_text(out / CONFIG_FILE, config.to_toml())
        recorder.say(f"Resuming from {checkpoint.path}, after {checkpoint.state['step']} steps.")
        return
    environment = describe_environment(device)
    write_text(out / ENVIRONMENT_FILE, json.dumps(environment, indent=2, ensure_ascii=False) + "\n")
    if config.statistics != PUBLISHED:
        write_statistics(statistics, out / STATISTICS_FILE)
        recorder.say(f"Band statistics: {statistics.source}.")
    recorder.write()
    own = f" Its {len(config.labels)} labels: {'; '.join(config.labels)}." if config.labels else ""
    recorder.say(
        f"Training {config.backbone} on {facts['num_train']} patches with bands {config.bands}, "
        f"validating on {facts['num_validation']}: up to {config.epochs} epochs, "
        f"{facts['total_steps']} steps, {facts['warmup_steps']} of them warm-up, on "
        f"{device.type}.{own}"
    )
    for split, labels in facts["absent_labels"].items():
        if labels:
            recorder.say(
                f"No patch of the {split} split has {len(labels)} of the {len(config.label_names)} "
                f"labels: {'; '.join(labels)}."
            )
    if facts["new_head"]:
        recorder.say(
            f"Starting from the weights of {config.init}, with a new classification head, since "
            f"its labels are not the {len(config.label_names)} of this run."
        )
    if facts["not_applied"]:  # building the model already logged it, when there was no file yet
        recorder.say(
            f"{config.backbone} supports no {', no '.join(facts['not_applied'])}; ignored.",
            in_file_only=True,
        )
    write_text(out / CONFIG_FILE, config.to_toml())  # last: it makes it a run to resume
