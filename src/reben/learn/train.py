"""Training, top to bottom: settings and data in, a run folder out."""

import errno
import json
import logging
import signal
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from reben.data.files import output_error, write_text
from reben.data.loader import Dataset
from reben.data.preprocess import check_bands
from reben.errors import ConfigError, OutputError
from reben.learn.config import TrainConfig
from reben.learn.environment import describe_environment
from reben.learn.run import CHECKPOINT_FOLDER, CONFIG_FILE, ENVIRONMENT_FILE, Run
from reben.learn.schedule import count_steps, default_warmup, require_schedule

if TYPE_CHECKING:
    from lightning.pytorch import Callback, Trainer

    from reben.learn.recorder import RunRecorder
    from reben.learn.task import BigEarthNetData, ClassificationTask

__all__ = ["Run", "train"]

_KNOWN_WARNINGS = (
    "GPU available but not used",  # the user chose it
    r"`isinstance\(treespec, LeafSpec\)` is deprecated",  # Lightning 2.6's own business with torch
)
"""Starts of warnings that no user can do anything about."""
_CANNOT_WRITE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES)
_LIGHTNING_LOGS = ("lightning.pytorch", "lightning.fabric")


def train(
    config: TrainConfig, dataset: Dataset, out: str | Path, *, progress: bool | None = None
) -> Run:
    """Train a classifier; return the run, whose folder holds the model of the best epoch.

    Whatever can be found wrong with settings or data is found before the folder is made. Ctrl-C
    ends the training in good order: the best model so far is kept.

    Args:
        config: The settings.
        dataset: Patches of the train and the validation split; read with the bands of ``config``.
        out: The run folder, which must be new or empty.
        progress: Whether to show a progress bar.

    Raises:
        OutputError: If the folder is not empty or cannot be written.
        ConfigError: If a setting cannot be used on this machine, or the warm-up does not fit.
        BackboneError: If timm does not know the backbone or cannot build it.
        EmptySplitError: If there is no patch to train or to validate on.
        StoreError: If the store lacks a patch, or holds a damaged one.
        PixelsError: If the values of a patch cannot be right.
        UnknownLabelError: If a patch has a label that the model does not know.
        TrainingError: If the loss is NaN or infinite.

    Example:
        >>> data = open_dataset("store/")  # doctest: +SKIP
        >>> run = train(TrainConfig(bands="s2"), data, "runs/r50-s2")  # doctest: +SKIP
        >>> run.summary["best_epoch"]  # doctest: +SKIP
        23
    """
    from lightning.pytorch import seed_everything

    from reben.learn.recorder import RunRecorder
    from reben.learn.task import BigEarthNetData, ClassificationTask
    from reben.model.classifier import Classifier

    out = Path(out)
    _require_new(out)
    seed_everything(config.seed, verbose=False)
    classifier = Classifier(
        config.backbone,
        config.band_set,
        pretrained=config.pretrained,
        image_size=config.image_size,
        upsampling=config.upsampling,
        drop_rate=config.drop_rate,
        drop_path_rate=config.drop_path_rate,
    )
    data = BigEarthNetData(dataset, classifier, config)
    for loader in (data.train_loader, data.validation_loader):
        check_bands(loader.dataset.read([0]), classifier.bands)
    num_train = len(data.train_loader.dataset)
    total_steps = count_steps(num_train, config.batch_size, config.epochs)
    warmup_steps = config.warmup_steps
    if warmup_steps is None:
        warmup_steps = default_warmup(total_steps)
    require_schedule(total_steps=total_steps, warmup_steps=warmup_steps)
    recorder = RunRecorder(
        out,
        classifier,
        {
            "total_steps": total_steps,
            "warmup_steps": warmup_steps,
            "num_train": num_train,
            "num_validation": len(data.validation_loader.dataset),
            "filters": dict(dataset.filters),
            "data": {
                "store": str(dataset.store.path.resolve()),
                "fingerprint": dataset.table.fingerprint(),
                "made_up_by": dataset.table.made_up_by,
            },
            "not_applied": list(classifier.not_applied),
        },
    )
    with quiet_lightning():
        trainer = _build_trainer(config, out, recorder, progress=bool(progress))
        _begin(out, config, trainer, recorder)
        task = ClassificationTask(
            classifier, config, total_steps=total_steps, warmup_steps=warmup_steps
        )
        _fit(trainer, task, data, recorder)
    return Run.open(out)


def _require_new(out: Path) -> None:
    """Check that ``out`` is not there yet, or an empty folder.

    Raises:
        OutputError: If it is anything else.
    """
    if out.is_dir() and not any(out.iterdir()):
        return
    if out.exists():
        raise OutputError(
            f"{out} is there already{' and is not empty' if out.is_dir() else ''}; a run is never "
            "written over another. Choose another folder, or delete this one."
        )


def _build_trainer(
    config: TrainConfig, out: Path, recorder: "RunRecorder", *, progress: bool
) -> "Trainer":
    """Return Lightning's trainer, set up by ``config``.

    Raises:
        ConfigError: If this machine has no such accelerator, or it cannot compute like that.
    """
    from lightning.fabric.utilities.exceptions import MisconfigurationException
    from lightning.pytorch import Trainer
    from lightning.pytorch.loggers import TensorBoardLogger

    if config.devices != 1:
        raise ConfigError(
            f"devices is {config.devices}; this version of reben trains on one device. Set it to 1."
        )
    boards = [TensorBoardLogger(out, name="tensorboard", version="")] if _has_tensorboard() else []
    try:
        return Trainer(
            accelerator=config.accelerator,
            devices=config.devices,
            precision=config.precision,
            max_epochs=config.epochs,
            logger=boards,
            callbacks=[recorder, *_checkpoints(config, out)],
            default_root_dir=out,
            num_sanity_val_steps=0,
            log_every_n_steps=1,
            enable_model_summary=False,
            enable_progress_bar=progress,
        )
    except (MisconfigurationException, ValueError, RuntimeError) as error:
        raise ConfigError(
            f"accelerator {config.accelerator} with precision {config.precision} cannot be used "
            f"here: {error}"
        ) from error


def _checkpoints(config: TrainConfig, out: Path) -> "list[Callback]":
    from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint

    from reben.learn.task import MONITORED

    folder = out / CHECKPOINT_FOLDER
    return [
        EarlyStopping(MONITORED, mode="max", patience=config.patience),
        ModelCheckpoint(folder, "best", MONITORED, mode="max", enable_version_counter=False),
        ModelCheckpoint(folder, "last", enable_version_counter=False),
    ]


def _begin(out: Path, config: TrainConfig, trainer: "Trainer", recorder: "RunRecorder") -> None:
    """Make the run folder and write what is known before the first step.

    Raises:
        OutputError: If the folder cannot be written.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise output_error(out, error) from error
    environment = describe_environment(trainer.strategy.root_device)
    write_text(out / CONFIG_FILE, config.to_toml())
    write_text(out / ENVIRONMENT_FILE, json.dumps(environment, indent=2, ensure_ascii=False) + "\n")
    facts = recorder.summary
    recorder.say(
        f"Training {config.backbone} on {facts['num_train']} patches with bands {config.bands}, "
        f"validating on {facts['num_validation']}: up to {config.epochs} epochs, "
        f"{facts['total_steps']} steps, {facts['warmup_steps']} of them warm-up, on "
        f"{environment['device']['type']}."
    )
    if facts["not_applied"]:
        # Building the model said so already, before there was a file to say it in.
        recorder.note(
            f"{config.backbone} takes no {', no '.join(facts['not_applied'])}; it has no effect."
        )


def _fit(
    trainer: "Trainer",
    task: "ClassificationTask",
    data: "BigEarthNetData",
    recorder: "RunRecorder",
) -> None:
    """Train, and record how it ended.

    Raises:
        KeyboardInterrupt: After Ctrl-C, once all is recorded.
        OutputError: If a checkpoint cannot be written.
    """
    on_interrupt = signal.getsignal(signal.SIGINT)
    try:
        trainer.fit(task, datamodule=data)
    except SystemExit as error:
        if not isinstance(error.__context__, KeyboardInterrupt):
            raise
        # Lightning makes Ctrl-C an exit with code 1 and leaves the program deaf to the next one.
        signal.signal(signal.SIGINT, on_interrupt or signal.SIG_DFL)
        recorder.finish("interrupted")
        raise KeyboardInterrupt from None
    except Exception as error:
        with suppress(OutputError):
            recorder.say(f"{type(error).__name__}: {error}")
            recorder.finish("failed")
        if isinstance(error, OSError) and error.errno in _CANNOT_WRITE:
            raise output_error(recorder.folder, error) from error
        raise
    recorder.finish("finished", stopped_early=recorder.summary["epochs_run"] < task.config.epochs)


def _has_tensorboard() -> bool:
    return find_spec("tensorboard") is not None


@contextmanager
def quiet_lightning() -> Iterator[None]:
    """Keep Lightning's tips and its talk about hardware out of the log."""
    loggers = [logging.getLogger(name) for name in _LIGHTNING_LOGS]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        for start in _KNOWN_WARNINGS:
            warnings.filterwarnings("ignore", message=start)
        for logger in loggers:
            logger.setLevel(logging.WARNING)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
