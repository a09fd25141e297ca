"""The patches of a data set in batches, which all ranks share.

`training_loaders` makes them for `reben.train`, `BigEarthNetDataModule` for a trainer of Lightning.
"""

import copy
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import torch
from lightning.pytorch import LightningDataModule

from reben.data.loader import Batch, Dataset, Loader, RawLoader
from reben.data.preprocess import Preprocess
from reben.learn.config import TrainConfig
from reben.learn.training.feed import AnyLoader
from reben.learn.training.hardware import CPU, loader_threads
from reben.model.classifier import Classifier
from reben.spec.labels import LABELS


def training_loaders(
    dataset: Dataset,
    classifier: Classifier,
    config: TrainConfig,
    *,
    rank: int = 0,
    device: torch.device = CPU,
    raw: bool = False,
) -> tuple[AnyLoader, AnyLoader]:
    """Return one rank's batches to train on and to validate on, in host memory.

    Args:
        dataset: The patches, of all splits.
        classifier: The model, whose bands are read.
        config: The settings.
        rank: Whose piece of each batch.
        device: Where the batches will go.
        raw: Whether they are raw bands, of which the device makes the images itself.
    """
    settings: dict[str, Any] = {
        "batch_size": config.batch_size,
        "labels": classifier.labels,
        "num_workers": loader_threads(config.num_workers, device),
        "rank": rank,
        "world_size": config.world_size,
    }
    make: Callable[..., AnyLoader] = RawLoader
    if not raw:
        make = partial(Loader, preprocess=copy.deepcopy(classifier.preprocess).cpu())
    dataset = dataset.with_bands(classifier.bands)
    return (
        make(dataset["train"], shuffle=True, flips=config.flips, seed=config.seed, **settings),
        make(dataset["validation"], **settings),
    )


class BigEarthNetDataModule(LightningDataModule):
    """The patches of a data set for your own `LightningModule` and `Trainer`.

    Batches are `reben.Batch`: ``images`` float32 [B, C, H, W], ``multi_hot`` float32 [B, K],
    ``names``. Each epoch has its own order and flips, which follow from the seed. With several
    devices, each gets its piece of every batch.

    Args:
        dataset: The patches, with their splits.
        preprocess: Turns raw values into images; ``model.preprocess`` of a `reben.Classifier`, or
            a `reben.Preprocess` of the bands that your network takes.
        batch_size: Patches in a batch, over all devices together.
        labels: The labels, in the order of the columns of ``multi_hot``.
        flips: Whether training images are flipped left to right and top to bottom, each with
            probability one half.
        seed: Determines order and flips.
        num_workers: Threads that load batches ahead. Default: 0 on a CPU, else up to 8.

    Raises:
        EmptySplitError: If a split that the trainer asks for has no patch.
        UnknownLabelError: If a patch has a label that is not in ``labels``.
        ConfigError: If a setting is out of range.

    Example:
        >>> data = BigEarthNetDataModule(open_dataset("store/"), preprocess)  # doctest: +SKIP
        >>> lightning.Trainer(max_epochs=10).fit(module, datamodule=data)  # doctest: +SKIP
    """

    def __init__(  # noqa: PLR0913 - all after the third are named
        self,
        dataset: Dataset,
        preprocess: Preprocess,
        batch_size: int = 512,
        *,
        labels: Sequence[str] = LABELS,
        flips: bool = True,
        seed: int = 42,
        num_workers: int | None = None,
    ) -> None:
        super().__init__()
        self._dataset = dataset
        self._num_workers = num_workers
        self._train: dict[str, Any] = {"shuffle": True, "flips": flips, "seed": seed}
        self._all: dict[str, Any] = {"preprocess": preprocess, "labels": labels}
        self._all["batch_size"] = batch_size

    def train_dataloader(self) -> Loader:
        """Return the train patches, in an order that changes with the epoch."""
        loader = _EpochLoader(self._dataset["train"], **self._train, **self._of_rank())
        loader.trainer = self.trainer
        return loader

    def val_dataloader(self) -> Loader:
        """Return the validation patches, in the order of the table."""
        return Loader(self._dataset["validation"], **self._of_rank())

    def test_dataloader(self) -> Loader:
        """Return the test patches, in the order of the table."""
        return Loader(self._dataset["test"], **self._of_rank())

    def _of_rank(self) -> dict[str, Any]:
        """Return the settings that all loaders share, with the piece of this process."""
        trainer = self.trainer
        device = CPU if trainer is None else trainer.strategy.root_device
        return {
            **self._all,
            "num_workers": loader_threads(self._num_workers, device),
            "rank": 0 if trainer is None else trainer.global_rank,
            "world_size": 1 if trainer is None else trainer.world_size,
        }


class _EpochLoader(Loader):
    """A loader that asks a trainer which epoch it is."""

    trainer: Any = None

    def __iter__(self) -> Iterator[Batch]:
        if self.trainer is not None:
            self.set_epoch(self.trainer.current_epoch)
        return super().__iter__()
