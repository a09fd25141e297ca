"""Train a classifier: settings and data in, a run folder out."""

import errno
import json
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reben.data.loader import Dataset, Loader
from reben.data.preprocess import check_bands
from reben.errors import OutputError
from reben.learn.config import TrainConfig
from reben.learn.distributed import is_first_rank
from reben.learn.run import CONFIG_FILE, ENVIRONMENT_FILE, Run, open_unfinished
from reben.learn.training.checkpoints import (
    is_finished,
    last_checkpoint,
    require_same,
    run_facts,
)
from reben.learn.training.environment import describe_environment
from reben.learn.training.optimiser import default_warmup, require_schedule
from reben.support.atomic import output_error, require_free, write_text
from reben.support.plain_json import to_plain

if TYPE_CHECKING:
    import torch
    from lightning.fabric import Fabric

    from reben.learn.training.record import ProgressObserver, RunRecorder
    from reben.learn.training.start import Start
    from reben.learn.training.state import Training
    from reben.model.classifier import Classifier

__all__ = ["Run", "train"]

logger = logging.getLogger(__name__)

_CANNOT_WRITE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES)


def train(
    config: TrainConfig,
    dataset: Dataset,
    out: str | Path,
    *,
    resume: bool = False,
    loggers: Sequence[str] = (),
    progress: "ProgressObserver | None" = None,
) -> Run:
    """Train a classifier; return the run, whose folder holds the model of the best epoch.

    Settings and data are checked before the folder is made. Ctrl-C ends the training cleanly: the
    best model so far is kept, and so is a checkpoint to resume from.

    Args:
        config: The settings.
        dataset: Patches of the train and validation splits; read with the bands of ``config``.
        out: The run folder, new or empty unless ``resume`` is set.
        resume: Resume the run in ``out`` from its last checkpoint, with the same settings and data.
            On a CPU the weights will be, bit for bit, those of an uninterrupted training. A
            finished run is returned as it is.
        loggers: wandb, mlflow or trackio, in addition to CSV and TensorBoard.
        progress: Called after each batch.

    Raises:
        OutputError: If the folder is not empty or cannot be written.
        ConfigError: If a setting cannot be used on this machine, the warm-up does not fit, or a
            setting differs from the run to resume.
        RunError: If there is no run to resume, or it had other data.
        MissingExtraError: If a logger is not installed.
        BackboneError: If timm does not know the backbone or cannot build it.
        EmptySplitError: If there is no patch to train or to validate on.
        StoreError: If the store lacks a patch, or holds a damaged one.
        PixelsError: If the values of a patch are invalid.
        UnknownLabelError: If a patch has a label that the model does not know.
        TrainingError: If the loss is NaN or infinite, or the memory of the device is full.

    Example:
        >>> data = open_dataset("store/")  # doctest: +SKIP
        >>> run = train(TrainConfig(bands="s2"), data, "runs/r50-s2")  # doctest: +SKIP
        >>> run.summary["best_epoch"]  # doctest: +SKIP
        23
    """
    from lightning.fabric import seed_everything

    from reben.learn.training.data_module import training_loaders
    from reben.learn.training.effect import what_is_in_effect
    from reben.learn.training.hardware import build_fabric
    from reben.learn.training.loggers import require_loggers
    from reben.learn.training.record import RunRecorder
    from reben.learn.training.start import first_classifier

    out = Path(out)
    if resume:
        run = open_unfinished(out)
        require_same(run, config, dataset)
        if is_finished(run):
            logger.info("The run %s is finished; there is nothing to do.", out)
            return Run.open(out)
    elif is_first_rank():
        _require_new(out)
    require_loggers(loggers)
    seed_everything(config.seed, verbose=False)
    start = first_classifier(config)
    loaders = training_loaders(dataset, start.classifier, config)
    for loader in loaders:
        check_bands(loader.dataset.read([0]), start.classifier.bands)
    facts = _facts(config, dataset, start, loaders)
    training = _training(config, start.classifier, loaders[0].dataset, facts)
    recorder = RunRecorder(out, config, facts, progress)
    checkpoint = last_checkpoint(out) if resume else None
    with _quiet_lightning():
        fabric = build_fabric(config)
        if recorder.writes:
            recorder.note_effect(what_is_in_effect(config, start, fabric, facts["num_train"]))
        if checkpoint is not None:
            recorder.say(f"Resuming from {checkpoint}.")
        elif recorder.writes:
            _begin(config, fabric.device, recorder)
        work = partial(
            _run, training=training, dataset=dataset, recorder=recorder, checkpoint=checkpoint
        )
        fabric.launch(partial(work, loggers=loggers))
    return Run.open(out)


def _training(
    config: TrainConfig, classifier: "Classifier", patches: Dataset, facts: dict[str, Any]
) -> "Training":
    """Return the classifier with all that it needs to learn from the train split."""
    from reben.learn.training.losses import presence_weights
    from reben.learn.training.state import Training

    weights = None
    if config.class_weights:
        weights = presence_weights(patches.table.multi_hot(classifier.labels))
    return Training(
        classifier,
        config,
        total_steps=facts["total_steps"],
        warmup_steps=facts["warmup_steps"],
        class_weights=weights,
        channels_last=facts["channels_last"],
    )


def _facts(
    config: TrainConfig, dataset: Dataset, start: "Start", loaders: tuple[Loader, Loader]
) -> dict[str, Any]:
    """Return what the summary holds before the first step."""
    from reben.learn.training.hardware import choose_channels_last, choose_precision

    total_steps = len(loaders[0]) * config.epochs
    warmup_steps = config.warmup_steps
    if warmup_steps is None:
        warmup_steps = default_warmup(total_steps)
    require_schedule(total_steps=total_steps, warmup_steps=warmup_steps)
    return {
        "total_steps": total_steps,
        "warmup_steps": warmup_steps,
        "num_train": len(loaders[0].dataset),
        "num_validation": len(loaders[1].dataset),
        "filters": dict(dataset.filters),
        "data": {
            "store": str(dataset.store.path.resolve()),
            "fingerprint": dataset.table.fingerprint(),
            "made_up_by": dataset.table.made_up_by,
            "label_table": str(table.resolve()) if (table := dataset.label_table) else None,
            "identity": to_plain(dataset.identity),
            "metadata": [str(path.resolve()) for path in dataset.metadata],
            "num_patches": {
                split: len(loader.dataset)
                for split, loader in zip(("train", "validation"), loaders, strict=True)
            },
        },
        "not_applied": list(start.classifier.not_applied),
        "new_head": config.init is not None and start.weights["new_head"],
        "precision": choose_precision(config),
        "channels_last": choose_channels_last(config, start.classifier),
    }


def _require_new(out: Path) -> None:
    if (out / CONFIG_FILE).is_file():
        raise OutputError(
            f"{out} holds a run already, which is never overwritten. Choose another folder, or "
            f"resume it: reben train --resume {out}"
        )
    require_free(out)


def _begin(config: TrainConfig, device: "torch.device", recorder: "RunRecorder") -> None:
    """Make the run folder and write what is known before the first step."""
    out, facts = recorder.folder, recorder.summary
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise output_error(out, error) from error
    environment = describe_environment(device)
    write_text(out / CONFIG_FILE, config.to_toml())
    write_text(out / ENVIRONMENT_FILE, json.dumps(environment, indent=2, ensure_ascii=False) + "\n")
    recorder.say(
        f"Training {config.backbone} on {facts['num_train']} patches with bands {config.bands}, "
        f"validating on {facts['num_validation']}: up to {config.epochs} epochs, "
        f"{facts['total_steps']} steps, {facts['warmup_steps']} of them warm-up, on {device.type}."
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


def _run(
    fabric: "Fabric",
    training: "Training",
    dataset: Dataset,
    recorder: "RunRecorder",
    checkpoint: Path | None,
    loggers: Sequence[str],
) -> None:
    """Train in one of the processes, and record how it ended."""
    from reben.learn.training.data_module import training_loaders
    from reben.learn.training.loggers import build_loggers
    from reben.learn.training.loop import Loop
    from reben.learn.training.pauses import Pauses

    config = training.config
    on_cpu = fabric.device.type == "cpu"
    loaders = training_loaders(
        dataset, training.classifier, config, rank=fabric.global_rank, on_cpu=on_cpu
    )
    pauses = Pauses(config.checkpoint_minutes, fabric.device, recorder.say)
    if recorder.writes:
        recorder.loggers = build_loggers(loggers, recorder.folder, config)
    training.place(fabric)
    loop = Loop(training, loaders, recorder, pauses, run_facts(config, dataset))
    if checkpoint is not None:
        loop.resume(checkpoint)
    try:
        with pauses.interruptible():
            loop.run()
    except KeyboardInterrupt:
        recorder.finish("interrupted")
        recorder.say(f"To resume: reben train --resume {recorder.folder}")
        raise
    except Exception as error:
        told = _told(error, training, recorder.folder)
        with suppress(OutputError):
            recorder.say(f"{type(told).__name__}: {told}")
            recorder.finish("failed")
        if told is not error:
            raise told from error
        raise
    recorder.finish("finished")
    fabric.barrier()  # the others wait until the first rank has written all


def _told(error: Exception, training: "Training", folder: Path) -> Exception:
    """Return the error that users see."""
    import torch

    if isinstance(error, torch.OutOfMemoryError):
        from reben.learn.training.hardware import out_of_memory

        return out_of_memory(error, training.config, training.most_patches)
    if isinstance(error, OSError) and error.errno in _CANNOT_WRITE:
        return output_error(folder, error)
    return error


@contextmanager
def _quiet_lightning() -> Iterator[None]:
    """Keep Lightning's messages about processes and hardware out of the log."""
    fabric = logging.getLogger("lightning.fabric")
    level = fabric.level
    fabric.setLevel(logging.WARNING)
    try:
        yield
    finally:
        fabric.setLevel(level)
