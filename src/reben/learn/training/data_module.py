"""The data of a training: the patches of two splits, in batches that all ranks share."""

import os

from lightning.pytorch import LightningDataModule

from reben.data.loader import Dataset, Loader
from reben.learn.config import TrainConfig
from reben.model.classifier import Classifier

_MOST_WORKERS = 8


class BigEarthNetData(LightningDataModule):
    """The train and validation patches of a data set, in batches that the classifier takes.

    Args:
        dataset: Patches of both splits.
        classifier: The model; its preprocessing and the order of its labels are used.
        config: The settings: batch size, flips, seed.

    Raises:
        EmptySplitError: If one of the splits has no patch.
        UnknownLabelError: If a patch has a label that the model does not know.
        ConfigError: If there are more ranks than patches.
    """

    def __init__(self, dataset: Dataset, classifier: Classifier, config: TrainConfig) -> None:
        super().__init__()
        self._classifier = classifier
        self._config = config
        self._train, self._validation = dataset["train"], dataset["validation"]
        self._make_loaders(rank=0, world_size=config.world_size)

    def setup(self, stage: str) -> None:
        """Take the rank's own piece of each batch, once the trainer knows which rank it is."""
        if self.trainer is not None:
            on_cpu = self.trainer.strategy.root_device.type == "cpu"
            self._make_loaders(
                rank=self.trainer.global_rank,
                world_size=self.trainer.world_size,
                num_workers=0 if on_cpu else min(_MOST_WORKERS, os.cpu_count() or 1),
            )

    def train_dataloader(self) -> Loader:
        """Return the train patches, in an order that changes with the epoch."""
        return self.train_loader

    def val_dataloader(self) -> Loader:
        """Return the validation patches, in the order of the table."""
        return self.validation_loader

    def _make_loaders(self, *, rank: int, world_size: int, num_workers: int = 0) -> None:
        config, classifier = self._config, self._classifier
        if config.num_workers is not None:
            num_workers = config.num_workers
        self.train_loader = Loader(
            self._train,
            classifier.preprocess,
            config.batch_size,
            shuffle=True,
            flips=config.flips,
            seed=config.seed,
            labels=classifier.labels,
            num_workers=num_workers,
            rank=rank,
            world_size=world_size,
        )
        self.validation_loader = Loader(
            self._validation,
            classifier.preprocess,
            config.batch_size,
            labels=classifier.labels,
            num_workers=num_workers,
            rank=rank,
            world_size=world_size,
        )
