"""Train a classifier: settings and data in, a run folder out."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from reben.data.loader import Dataset
from reben.data.preprocess import check_bands
from reben.errors import OutputError, RunError, TrainingError
from reben.learn.config import TrainConfig
from reben.learn.distributed import is_first_rank, num_ranks, require_same_everywhere
from reben.learn.resume import open_unfinished
from reben.learn.run import Run
from reben.learn.run_files import require_new
from reben.learn.training.checkpoints import (
    Checkpoint,
    has_checkpoint,
    is_finished,
    newest_checkpoint,
    require_same,
    require_same_steps,
    run_facts,
)
from reben.learn.training.folder import begin, held_alone, new_folder
from reben.learn.training.launch import end_together, launch, told_as
from reben.learn.training.optimiser import default_warmup, require_schedule
from reben.spec.labels import LABELS
from reben.support.plain_json import to_plain
from reben.support.quiet import quieter

if TYPE_CHECKING:
    from lightning.fabric import Fabric

    from reben.learn.training.feed import AnyLoader
    from reben.learn.training.pauses import Pauses
    from reben.learn.training.record import ProgressObserver, RunRecorder
    from reben.learn.training.start import Start
    from reben.learn.training.state import Training
    from reben.model.classifier import Classifier

__all__ = ["Run", "train"]

logger = logging.getLogger(__name__)


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
    from reben.learn.training.loggers import require_loggers

    out = Path(out)
    require_loggers(loggers)
    if dataset.own is not None and not config.labels and dataset.table.labels != LABELS:
        config = replace(config, labels=dataset.table.labels)
    with ExitStack() as held:
        checkpoint = None
        if resume:
            run = open_unfinished(out)
            if is_finished(run) and not run.holds_best() and newest_checkpoint(out) is None:
                raise RunError(
                    f"The best model of {out} is lost: {run.best} does not hold it, and there is "
                    "no checkpoint. Put back the files that were there, or train in a new folder."
                )
            if is_finished(run) and run.holds_best():
                require_same(run, config, dataset, None)
                logger.info("The run %s is finished; there is nothing to do.", out)
                return Run.open(out)
            if is_first_rank():  # what it finds, it tells the others
                held.enter_context(held_alone(out))
                checkpoint = newest_checkpoint(out)
                require_same(open_unfinished(out), config, dataset, checkpoint)
        elif is_first_rank():
            require_new(out)
        resuming = _Resuming(resume, checkpoint, has_all=resume and has_checkpoint(out))
        _train(config, dataset, out, resuming, held=held, loggers=loggers, progress=progress)
    return Run.open(out)


class _Resuming(NamedTuple):
    """What is known of a run to resume."""

    wanted: bool
    checkpoint: Checkpoint | None
    """The one to go on from; only the first rank looks for it."""
    has_all: bool
    """Whether there is a checkpoint, so that no other weights are needed."""


def _train(  # noqa: PLR0913 - those of `train`, checked
    config: TrainConfig,
    dataset: Dataset,
    out: Path,
    resuming: _Resuming,
    *,
    held: ExitStack,
    loggers: Sequence[str],
    progress: "ProgressObserver | None",
) -> None:
    from lightning.fabric import seed_everything

    from reben.learn.training.data_module import training_loaders
    from reben.learn.training.effect import what_is_in_effect
    from reben.learn.training.hardware import build_fabric
    from reben.learn.training.record import RunRecorder
    from reben.learn.training.start import first_classifier, statistics_for

    seed_everything(config.seed, verbose=False)
    dataset.require_size(config.image_size)
    statistics = statistics_for(config, dataset, out if resuming.wanted else None)
    start = first_classifier(config, load=not resuming.has_all, statistics=statistics)
    loaders = training_loaders(dataset, start.classifier, config)
    for loader in loaders:
        loader.dataset.require_stored()
        check_bands(loader.dataset.read([0]), start.classifier.bands, dataset.size)
    facts = _facts(config, dataset, start, loaders)
    if resuming.checkpoint is not None:
        require_same_steps(resuming.checkpoint, facts["total_steps"], config)
    training = _training(config, start.classifier, loaders[0].dataset, facts)
    recorder = RunRecorder(out, config, facts, progress)
    # Lightning's messages are about processes and hardware.
    with quieter("lightning.fabric", logging.WARNING):
        fabric = build_fabric(config)
        if recorder.writes:
            recorder.note_effect(what_is_in_effect(config, start, fabric, facts["num_train"]))
            if not resuming.wanted:
                held.enter_context(new_folder(out))
            begin(config, statistics, fabric.device, recorder, resuming.checkpoint)
        work = partial(
            _run,
            training=training,
            dataset=dataset,
            recorder=recorder,
            checkpoint=resuming.checkpoint,
            loggers=loggers,
        )
        launch(fabric, work)


def _absent(patches: Dataset, labels: Sequence[str]) -> list[str]:
    """Return the labels that no patch has."""
    counts = patches.table.multi_hot(labels).sum(0, dtype=int)
    return [label for label, count in zip(labels, counts, strict=True) if count == 0]


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
    config: TrainConfig, dataset: Dataset, start: "Start", loaders: tuple["AnyLoader", "AnyLoader"]
) -> dict[str, Any]:
    """Return what the summary holds before the first step."""
    from reben.learn.training.hardware import choose_channels_last, choose_precision

    splits = {"train": loaders[0].dataset, "validation": loaders[1].dataset}
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
            "num_patches": {split: len(patches) for split, patches in splits.items()},
            "parts": {s: to_plain(p.part) for s, p in splits.items() if p.part is not None},
            "drawn": to_plain(dataset.drawn),
        },
        "absent_labels": {
            split: _absent(patches, start.classifier.labels) for split, patches in splits.items()
        },
        "not_applied": list(start.classifier.not_applied),
        "new_head": config.init is not None and start.weights.get("new_head", False),
        "statistics_source": start.classifier.config.statistics.source,
        "precision": choose_precision(config),
        "channels_last": choose_channels_last(config, start.classifier),
    }


def _run(
    fabric: "Fabric",
    training: "Training",
    dataset: Dataset,
    recorder: "RunRecorder",
    checkpoint: Checkpoint | None,
    loggers: Sequence[str],
) -> None:
    """Train in one of the processes, and record how it ended."""
    from reben.learn.training.data_module import training_loaders
    from reben.learn.training.hardware import takes_raw_bands
    from reben.learn.training.loggers import build_loggers
    from reben.learn.training.loop import Loop
    from reben.learn.training.pauses import Pauses

    config = training.config
    device = fabric.device
    loaders = training_loaders(
        dataset,
        training.classifier,
        config,
        rank=fabric.global_rank,
        device=device,
        raw=takes_raw_bands(device),
    )
    pauses = Pauses(config.checkpoint_minutes, device, recorder.say)
    if recorder.writes:
        recorder.loggers = build_loggers(loggers, recorder.folder, config)
    training.place(fabric)
    facts = run_facts(config, dataset)
    require_same_everywhere(facts)
    loop = Loop(training, loaders, recorder, pauses, facts)
    checkpoint = fabric.broadcast(checkpoint)  # so that only the first rank looks for it
    if checkpoint is not None:
        loop.resume(checkpoint)
    with _recorded(fabric, training, recorder, pauses):
        loop.run()
    recorder.finish("finished")
    fabric.barrier()  # the others wait until the first rank has written all


@contextmanager
def _recorded(
    fabric: "Fabric", training: "Training", recorder: "RunRecorder", pauses: "Pauses"
) -> Iterator[None]:
    """Let signals interrupt the block, and record why it ended before its time."""
    try:
        with pauses.interruptible():
            yield
    except KeyboardInterrupt:
        recorder.finish("interrupted")
        recorder.say(f"To resume: reben train --resume {recorder.folder}")
        if pauses.is_agreed:
            end_together(fabric)
        pauses.deliver()
        raise
    except Exception as error:
        told = told_as(error, training, recorder.folder)
        with suppress(OutputError):
            recorder.say(f"{type(told).__name__}: {told}")
            recorder.finish("failed")
        if isinstance(error, TrainingError) and num_ranks() > 1:  # all of them know
            end_together(fabric)
        if told is not error:
            raise told from error
        raise
