"""A trainer of Lightning, and a module of somebody's own, on the patches of a data set."""

import warnings

import lightning.pytorch as pl
import pytest
import torch
from torch.nn import functional

import reben
from reben.data.loader import Loader
from reben.errors import EmptySplitError
from reben.model.classifier import Classifier


class Tiny(pl.LightningModule):
    """One linear layer over the means of the bands."""

    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(3, 19)
        self.names, self.validated, self.tested, self.losses = {}, [], [], []

    def training_step(self, batch):
        self.names.setdefault(self.current_epoch, []).append(batch.names)
        scores = self.layer(batch.images.mean((2, 3)))
        loss = functional.binary_cross_entropy_with_logits(scores, batch.multi_hot)
        self.losses.append(float(loss.detach()))
        return loss

    def validation_step(self, batch):
        self.validated += batch.names

    def test_step(self, batch):
        self.tested += batch.names

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.5)


def trainer(folder, epochs=3, **words):
    return pl.Trainer(
        accelerator="cpu",
        max_epochs=epochs,
        default_root_dir=folder,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        **words,
    )


@pytest.fixture(autouse=True)
def quiet():
    with warnings.catch_warnings():  # of Lightning 2.6 and torch
        warnings.filterwarnings("ignore", message=".*treespec, LeafSpec", category=FutureWarning)
        yield


@pytest.fixture
def preprocess():
    return Classifier("test_resnet", "rgb").preprocess


def test_a_trainer_fits_a_module_of_ones_own(dataset, preprocess, tmp_path):
    module = Tiny()
    data = reben.BigEarthNetDataModule(dataset, preprocess, 3, seed=7)

    trainer(tmp_path, epochs=20, enable_checkpointing=False).fit(module, datamodule=data)

    assert sum(module.losses[-3:]) < sum(module.losses[:3])
    assert sorted(set(module.validated)) == sorted(dataset["validation"].table.patch_ids)


def test_each_epoch_has_the_order_of_a_loader_of_that_epoch(dataset, preprocess, tmp_path):
    module = Tiny()
    data = reben.BigEarthNetDataModule(dataset, preprocess, 3, seed=7)

    trainer(tmp_path, enable_checkpointing=False).fit(module, datamodule=data)

    loader = Loader(dataset["train"], preprocess, 3, shuffle=True, seed=7)
    for epoch in range(3):
        loader.set_epoch(epoch)
        assert module.names[epoch] == [batch.names for batch in loader]
    assert module.names[0] != module.names[1]


def test_a_trainer_that_goes_on_has_the_order_of_the_next_epoch(dataset, preprocess, tmp_path):
    whole, module = Tiny(), Tiny()
    data = reben.BigEarthNetDataModule(dataset, preprocess, 3)
    trainer(tmp_path, enable_checkpointing=False).fit(whole, datamodule=data)
    first = trainer(tmp_path, epochs=1, enable_checkpointing=False)
    first.fit(Tiny(), datamodule=data)
    first.save_checkpoint(tmp_path / "first.ckpt")

    again = trainer(tmp_path, enable_checkpointing=False)
    again.fit(module, datamodule=data, ckpt_path=tmp_path / "first.ckpt", weights_only=True)

    assert module.names == {epoch: whole.names[epoch] for epoch in (1, 2)}


def test_the_test_split_is_for_testing(dataset, preprocess, tmp_path):
    module = Tiny()

    trainer(tmp_path).test(
        module, datamodule=reben.BigEarthNetDataModule(dataset, preprocess, 2), verbose=False
    )

    assert module.tested == list(dataset["test"].table.patch_ids)


def test_without_a_trainer_it_gives_the_batches_of_one_process(dataset, preprocess):
    data = reben.BigEarthNetDataModule(dataset, preprocess, 4, flips=False, num_workers=1)

    loader = data.train_dataloader()

    assert [len(batch.names) for batch in loader] == [4, 3]
    assert (loader.flips, loader.num_workers, loader.world_size) == (False, 1, 1)


def test_a_split_without_patches_is_an_error(dataset, preprocess):
    data = reben.BigEarthNetDataModule(dataset["train"], preprocess)

    with pytest.raises(EmptySplitError):
        data.val_dataloader()
