"""A model and the patches of a split to predictions, in one process or several.

Axes: B patches of a batch, N patches, K labels.
"""

import os
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, distributed

from reben.data.loader import Dataset, Loader, RawLoader
from reben.errors import ConfigError, EmptySplitError, first_line
from reben.learn.distributed import num_ranks, rank_and_size
from reben.learn.predictions import Predictions, Subject
from reben.learn.training.feed import AnyLoader, batches_on
from reben.learn.training.hardware import loader_threads, takes_raw_bands, to_host
from reben.model.classifier import Classifier
from reben.model.engines.names import Engine
from reben.model.inference import engine_of, optimise_for_inference
from reben.model.network import evaluation_mode
from reben.model.open import ModelLike, name_of, open_model
from reben.model.scores import require_finite

_MOST_WAITED = timedelta(minutes=10)  # for tasks of SLURM that have not started yet


def predict_dataset(  # noqa: PLR0913 - all after the second are named
    model: ModelLike,
    dataset: Dataset,
    *,
    batch_size: int = 64,
    optimise: bool = True,
    engine: Engine = "auto",
    name: str | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Predictions:
    """Return the scores of a model for the patches of a data set, in the order of its table.

    Under torch.distributed each process predicts its own share, each patch exactly once, and all
    of them return the scores of all patches.

    Args:
        model: As for `evaluate`.
        dataset: The patches; read with the bands of the model.
        batch_size: Patches to predict at a time, in each process.
        optimise: Whether to predict with a copy from `reben.optimise_for_inference`, whose logits
            are within 1e-4 of the model's. A subclass of `Classifier` is always used as it is.
        engine: What computes that copy, see `reben.optimise_for_inference`; by several processes
            ``auto`` is ``optimised``.
        name: What to call the model; by default its run, folder, id, or what it is made of.
        progress: Called as ``progress(done, total)`` after each batch, in patches of this process.

    Raises:
        RebenError: As `evaluate` does.
    """
    classifier = open_model(model)
    if not len(dataset):
        raise EmptySplitError("There is no patch to evaluate. Choose another split or filter.")
    dataset.table.multi_hot(classifier.labels)  # before hours of prediction, not after
    dataset.with_bands(classifier.bands).require_stored()
    subject = _describe(name or name_of(model), classifier, dataset)
    rank, size = rank_and_size()
    own = np.arange(rank, len(dataset), size)
    part = replace(dataset, table=dataset.table.take(own))
    if optimise and type(classifier) is Classifier:
        if engine == "auto" and size > 1:
            engine = "optimised"  # a choice for each process would not be one
        how: dict[str, Any] = {"num_patches": len(own), "batch_size": batch_size}
        classifier = optimise_for_inference(classifier, engine=engine, **how)
    scores = _gathered(_predict(classifier, part, batch_size, progress), len(dataset))
    found = Predictions.of_table(dataset.table, subject, scores, classifier.labels)
    return replace(found, engine=engine_of(classifier))


@contextmanager
def joined_processes() -> Iterator[bool]:
    """Join the processes that torchrun or srun started, if any; yield if this is the first one.

    Only the first one computes figures and writes them.

    Raises:
        ConfigError: If this is one of several tasks of SLURM that cannot be joined.
    """
    joined = not distributed.is_initialized() and (_join_torchrun() or join_slurm(os.environ))
    try:
        yield rank_and_size()[0] == 0
    finally:
        if joined:
            distributed.destroy_process_group()


def _join_torchrun() -> bool:
    names = ("WORLD_SIZE", "RANK", "MASTER_ADDR", "MASTER_PORT")
    try:
        size, rank = (
            int(os.environ.get(name) or default)
            for name, default in zip(names, (1, 0), strict=False)
        )
        if size == 1:
            return False
        if not 0 <= rank < size:
            raise ValueError(f"there is no process {rank} of {size}")
        distributed.init_process_group("gloo")
    except (RuntimeError, ValueError) as error:
        told = ", ".join(f"{name}={os.environ[name]}" for name in names if name in os.environ)
        raise ConfigError(
            f"By its environment ({told}) this is one of several processes, and it cannot join "
            f"them: {first_line(error)}. Start them with torchrun, which sets all of these "
            "variables, or unset WORLD_SIZE to work alone."
        ) from error
    return True


def join_slurm(variables: Mapping[str, str]) -> bool:
    """Join the tasks that srun started; return whether there are several.

    A batch script that srun did not start works alone, whatever number of tasks its job has.

    Args:
        variables: The environment.
    """
    from lightning.fabric.plugins.environments.slurm import SLURMEnvironment

    if variables.get("WORLD_SIZE") is not None:
        return False  # torchrun, of one process
    names = ("SLURM_STEP_NUM_TASKS", "SLURM_NTASKS", "SLURM_PROCID", "SLURM_JOB_ID")
    try:
        in_step, in_job, rank, job = (int(variables.get(name) or 0) for name in names)
    except ValueError:
        told = ", ".join(f"{name}={variables[name]}" for name in names if name in variables)
        raise ConfigError(f"{told} are not numbers, so this is no task of SLURM.") from None
    if (in_step or in_job) < 2 or (not in_step and not rank):
        return False
    cure = (
        "Start the tasks with srun, so that they share the work, or run one task: srun --ntasks=1."
    )
    if not in_step:
        raise ConfigError(
            f"This is task {rank} of {in_job} of SLURM, and nothing tells how to reach the others; "
            f"each would do all the work and write the same files. {cure}"
        )
    nodes = variables.get("SLURM_STEP_NODELIST") or variables.get("SLURM_NODELIST") or "127.0.0.1"
    host = variables.get("MASTER_ADDR") or SLURMEnvironment.resolve_root_node_address(nodes)
    port = variables.get("MASTER_PORT") or str(15_000 + job % 10_000)
    try:
        distributed.init_process_group(
            "gloo",
            init_method=f"tcp://{host}:{port}",
            rank=rank,
            world_size=in_step,
            timeout=_MOST_WAITED,
        )
    except (RuntimeError, ValueError) as error:
        raise ConfigError(
            f"Task {rank} of {in_step} of SLURM cannot join the others at {host}:{port}: "
            f"{first_line(error)}. Another port may be free: MASTER_PORT. {cure}"
        ) from error
    return True


def _describe(name: str, classifier: Classifier, dataset: Dataset) -> Subject:
    return Subject(
        name=name,
        backbone=classifier.config.backbone,
        bands=classifier.bands.names,
        split=", ".join(dataset.splits),
        fingerprint=dataset.table.fingerprint(),
        filters={key: value for key, value in dataset.filters if key != "split"},
        calibration=classifier.config.tuned_on,
        data=dataset.identity,
        part=dataset.part,
    )


def _predict(
    classifier: Classifier,
    dataset: Dataset,
    batch_size: int,
    progress: Callable[[int, int], None] | None,
) -> NDArray[np.float32]:
    """Return the scores of this process, float32 [N, K]; N is 0 if others have all patches."""
    scores, done = [torch.empty(0, len(classifier.labels))], 0
    try:
        with evaluation_mode(classifier), torch.inference_mode():
            for logits_BK, scores_BK in _scored(classifier, dataset, batch_size):
                require_finite(logits_BK.numpy())
                scores.append(scores_BK)
                done += len(scores_BK)
                if progress is not None:
                    progress(done, len(dataset))
    except torch.OutOfMemoryError as error:
        raise ConfigError(
            f"The memory of the device is full with batch_size {batch_size}, after {done} of "
            f"{len(dataset)} patches: {first_line(error)}. Set batch_size to "
            f"{max(1, batch_size // 2)}; it does not change the scores."
        ) from error
    return np.asarray(torch.cat(scores).numpy(), np.float32)


def _scored(classifier: Classifier, dataset: Dataset, batch_size: int) -> Iterator[Tensor]:
    """Yield logits and scores of each batch, [2, B, K]; a GPU begins the next one before."""
    device = classifier.device
    threads = loader_threads(None, device)
    loader: AnyLoader
    if takes_raw_bands(device):
        dataset = dataset.with_bands(classifier.bands)
        loader = RawLoader(dataset, batch_size, labels=classifier.labels, num_workers=threads)
    else:
        loader = Loader(
            dataset,
            classifier.preprocess,
            batch_size,
            labels=classifier.labels,
            num_workers=threads,
        )
    coming: deque[Callable[[], Tensor]] = deque()
    for batch in batches_on(device, loader, classifier.preprocess):
        logits_BK = classifier(batch.images).float()
        coming.append(to_host(torch.stack((logits_BK, logits_BK.sigmoid()))))
        if len(coming) > takes_raw_bands(device):
            yield coming.popleft()()
    yield from (arrived() for arrived in coming)


def _gathered(own: NDArray[np.float32], num_patches: int) -> NDArray[np.float32]:
    """Return the scores of all processes, of which ``r`` of ``size`` has the rows ``r::size``."""
    size = num_ranks()
    if size == 1:
        return own
    parts: list[NDArray[np.float32]] = [own] * size
    distributed.all_gather_object(parts, own)
    scores = np.empty((num_patches, own.shape[1]), np.float32)
    for rank, part in enumerate(parts):
        scores[rank::size] = part
    return scores
