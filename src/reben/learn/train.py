"""Training, top to bottom: settings and data in, a run folder out."""

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
from reben.learn.run import CONFIG_FILE, ENVIRONMENT_FILE, Interrupted, Run
from reben.learn.training.checkpoints import require_same, run_facts
from reben.learn.training.environment import describe_environment
from reben.learn.training.optimiser import default_warmup, require_schedule
from reben.support.atomic import output_error, write_text

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

    Whatever can be found wrong with settings or data is found before the folder is made. Ctrl-C
    ends the training in good order: the best model so far is kept, and so is a checkpoint to go
    on from.

    Args:
        config: The settings.
        dataset: Patches of the train and the validation split; read with the bands of ``config``.
        out: The run folder, which must be new or empty, unless ``resume`` is set.
        resume: Go on with the run in ``out`` from its last checkpoint. Settings and data must be
            the same; on a CPU the weights will be, bit for bit, those of a training that nothing
            came between. A finished run is returned as it is.
        loggers: wandb, mlflow or trackio, beside CSV and TensorBoard.
        progress: What to call after each batch.

    Raises:
        OutputError: If the folder is not empty or cannot be written.
        ConfigError: If a setting cannot be used on this machine, the warm-up does not fit, or a
            setting is not that of the run to go on with.
        RunError: If there is no run to go on with, or it had other data.
        MissingExtraError: If a logger is not installed.
        BackboneError: If timm does not know the backbone or cannot build it.
        EmptySplitError: If there is no patch to train or to validate on.
        StoreError: If the store lacks a patch, or holds a damaged one.
        PixelsError: If the values of a patch cannot be right.
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
    from reben.learn.training.hardware import build_fabric
    from reben.learn.training.loggers import require_loggers
    from reben.learn.training.record import RunRecorder
    from reben.learn.training.start import first_classifier

    out = Path(out)
    checkpoint = None
    if resume:
        interrupted = Interrupted.open(out)
        require_same(interrupted, config, dataset)
        if interrupted.is_finished:
            logger.info("The run %s is finished; there is nothing to do.", out)
            return Run.open(out)
        checkpoint = interrupted.checkpoint
    elif is_first_rank():
        _require_new(out)
    require_loggers(loggers)
    seed_everything(config.seed, verbose=False)
    start = first_classifier(config)
    loaders = training_loaders(dataset, start.classifier, config)
    for loader in loaders:
        check_bands(loader.dataset.read([0]), start.classifier.bands)
    facts = _facts(config, dataset, start, loaders)
    training = _make_training(start.classifier, config, loaders[0], facts)
    recorder = RunRecorder(
        out, facts, epochs=config.epochs, patience=config.patience, progress=progress
    )
    with _quiet_lightning():
        fabric = build_fabric(config)
        _begin(config, fabric.device, recorder, checkpoint)
        fabric.launch(
            partial(
                _run,
                training=training,
                dataset=dataset,
                recorder=recorder,
                loggers=loggers,
                checkpoint=checkpoint,
            )
        )
    return Run.open(out)


def _facts(
    config: TrainConfig, dataset: Dataset, start: "Start", loaders: tuple[Loader, Loader]
) -> dict[str, Any]:
    """Return what the summary says of a run before its first step.

    Raises:
        ConfigError: If the warm-up does not fit.
    """
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
        },
        "not_applied": list(start.classifier.not_applied),
        "new_head": start.has_new_head,
        "precision": choose_precision(config),
        "channels_last": choose_channels_last(config, start.classifier),
    }


def _make_training(
    classifier: "Classifier", config: TrainConfig, loader: Loader, facts: dict[str, Any]
) -> "Training":
    from reben.learn.training.losses import presence_weights
    from reben.learn.training.state import Training

    weights = None
    if config.class_weights:
        weights = presence_weights(loader.dataset.table.multi_hot(classifier.labels))
    training = Training(
        classifier,
        config,
        total_steps=facts["total_steps"],
        warmup_steps=facts["warmup_steps"],
        class_weights=weights,
        channels_last=facts["channels_last"],
    )
    if config.compile:
        classifier.model.compile()  # in place, so that weights keep their names
    return training


def _require_new(out: Path) -> None:
    """Check that ``out`` is not there yet, or an empty folder.

    Raises:
        OutputError: If it is anything else.
    """
    if out.is_dir() and not any(out.iterdir()):
        return
    if out.exists():
        resumable = (
            f" If it is a run that was interrupted, go on with: reben train --resume {out}"
            if (out / CONFIG_FILE).is_file()
            else ""
        )
        raise OutputError(
            f"{out} is there already{' and is not empty' if out.is_dir() else ''}; a run is never "
            f"written over another. Choose another folder, or delete this one.{resumable}"
        )


def _begin(
    config: TrainConfig,
    device: "torch.device",
    recorder: "RunRecorder",
    checkpoint: Path | None,
) -> None:
    """Make the run folder and write what is known before the first step.

    Raises:
        OutputError: If the folder cannot be written.
    """
    if not recorder.writes:
        return
    out = recorder.folder
    if checkpoint is not None:
        recorder.say(f"Going on from {checkpoint}.")
        return
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise output_error(out, error) from error
    environment = describe_environment(device)
    write_text(out / CONFIG_FILE, config.to_toml())
    write_text(out / ENVIRONMENT_FILE, json.dumps(environment, indent=2, ensure_ascii=False) + "\n")
    facts = recorder.summary
    recorder.say(
        f"Training {config.backbone} on {facts['num_train']} patches with bands {config.bands}, "
        f"validating on {facts['num_validation']}: up to {config.epochs} epochs, "
        f"{facts['total_steps']} steps, {facts['warmup_steps']} of them warm-up, on "
        f"{environment['device']['type']}."
    )
    if facts["new_head"]:
        recorder.say(
            f"Starting from the weights of {config.init}, but for the classification head: that is "
            f"new, since its labels are not those of this run ({len(config.label_names)})."
        )
    if facts["not_applied"]:
        # Building the model said so already, before there was a file to say it in.
        recorder.note(
            f"{config.backbone} takes no {', no '.join(facts['not_applied'])}; it has no effect."
        )


def _run(
    fabric: "Fabric",
    training: "Training",
    dataset: Dataset,
    recorder: "RunRecorder",
    loggers: Sequence[str],
    checkpoint: Path | None,
) -> None:
    """Train in one of the processes, and record how it ended.

    Raises:
        KeyboardInterrupt: After Ctrl-C, once all is recorded.
        OutputError: If the run folder cannot be written.
        TrainingError: If the loss is not finite, or the memory of the device is full.
    """
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
    try:
        training.place(fabric)
        loop = Loop(training, loaders, recorder, pauses, run_facts(config, dataset))
        if checkpoint is not None:
            loop.go_on_from(checkpoint)
        with pauses.interruptible():
            loop.run()
    except KeyboardInterrupt:
        recorder.finish("interrupted")
        recorder.say(f"Go on with: reben train --resume {recorder.folder}")
        raise
    except Exception as error:
        told = _told(error, training, recorder.folder)
        with suppress(OutputError):
            recorder.say(f"{type(told).__name__}: {told}")
            recorder.finish("failed")
        if told is not error:
            raise told from error
        raise
    recorder.finish("finished", stopped_early=recorder.summary["epochs_run"] < config.epochs)
    fabric.barrier()  # the others wait until the first rank has written all


def _told(error: Exception, training: "Training", folder: Path) -> Exception:
    """Return the error as users are told it."""
    import torch

    if isinstance(error, torch.OutOfMemoryError):
        from reben.learn.training.hardware import out_of_memory

        return out_of_memory(error, training.config, training.most_patches)
    if isinstance(error, OSError) and error.errno in _CANNOT_WRITE:
        return output_error(folder, error)
    return error


@contextmanager
def _quiet_lightning() -> Iterator[None]:
    """Keep Lightning's talk about processes and hardware out of the log."""
    fabric = logging.getLogger("lightning.fabric")
    level = fabric.level
    fabric.setLevel(logging.WARNING)
    try:
        yield
    finally:
        fabric.setLevel(level)
