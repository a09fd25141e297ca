import lightning.pytorch as pl
import pytest
import torch
from torch.nn import functional

from reben.data.loader import Batch, Loader
from reben.errors import EmptySplitError, TrainingError, UnknownLabelError
from reben.learn.metrics.classification import compute_metrics
from reben.learn.train import quiet_lightning
from reben.learn.training.optimiser import learning_rate_at
from reben.learn.training.task import MONITORED, BigEarthNetData, ClassificationTask
from reben.model.classifier import Classifier
from reben.spec.labels import LABELS


class Watch(pl.Callback):
    """Keeps what Lightning did: names, rates and figures."""

    def __init__(self):
        self.names, self.rates, self.figures = {}, [], []

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        self.names.setdefault(trainer.current_epoch, []).append(batch.names)
        self.rates += [group["lr"] for group in trainer.optimizers[0].param_groups]

    def on_train_epoch_end(self, trainer, pl_module):
        self.figures.append({name: float(x) for name, x in trainer.callback_metrics.items()})


def make(dataset, config, total_steps=6, warmup_steps=2):
    torch.manual_seed(0)
    classifier = Classifier(config.backbone, config.bands, drop_rate=config.drop_rate)
    task = ClassificationTask(
        classifier, config, total_steps=total_steps, warmup_steps=warmup_steps
    )
    return task, BigEarthNetData(dataset, classifier, config)


def fit(task, data, epochs, watch):
    with quiet_lightning():
        trainer = pl.Trainer(
            accelerator="cpu",
            max_epochs=epochs,
            callbacks=[watch],
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
        )
        trainer.fit(task, datamodule=data)


def batch_of(dataset, task, rows=3):
    loader = Loader(dataset["train"], task.classifier.preprocess, rows)
    return next(iter(loader))


def test_every_step_has_the_rate_of_the_schedule(dataset, tiny):
    config, watch = tiny(learning_rate=0.02), Watch()
    task, data = make(dataset, config, total_steps=6, warmup_steps=2)

    fit(task, data, 2, watch)

    expected = [
        learning_rate_at(step, total_steps=6, warmup_steps=2, peak=0.02) for step in range(6)
    ]
    assert watch.rates == pytest.approx(expected, rel=1e-12)


def test_each_epoch_has_the_order_that_the_loader_gives_it(dataset, tiny):
    config, watch = tiny(seed=7), Watch()
    task, data = make(dataset, config, total_steps=9)

    fit(task, data, 3, watch)

    loader = Loader(dataset["train"], task.classifier.preprocess, 3, shuffle=True, seed=7)
    for epoch in range(3):
        loader.set_epoch(epoch)
        assert watch.names[epoch] == [batch.names for batch in loader]
    assert watch.names[0] != watch.names[1]


def test_the_losses_are_means_over_patches_of_what_the_loader_gives(dataset, tiny):
    # With a rate of next to nothing the weights stay, so that each epoch can be done again.
    config = tiny(learning_rate=1e-30, weight_decay=0.0, drop_rate=0.0)
    watch = Watch()
    task, data = make(dataset, config)

    fit(task, data, 2, watch)

    model = task.classifier.train()
    loader = Loader(
        dataset["train"], model.preprocess, 3, shuffle=True, flips=True, seed=config.seed
    )
    for epoch in range(2):
        loader.set_epoch(epoch)
        losses = [
            functional.binary_cross_entropy(model(b.images).sigmoid(), b.multi_hot, reduction="sum")
            for b in loader
        ]
        expected = sum(losses).item() / (7 * 19)
        assert watch.figures[epoch]["train_loss"] == pytest.approx(expected, rel=1e-5)


def test_validation_figures_are_over_the_whole_split_at_once(dataset, tiny):
    watch = Watch()
    task, data = make(dataset, tiny())

    fit(task, data, 1, watch)

    split = dataset["validation"].with_bands(task.classifier.bands)
    scores = task.classifier.predict(split.read(range(len(split))))
    labels = torch.tensor(split.table.multi_hot()).float()
    metrics = compute_metrics(scores.values, labels, LABELS)
    loss = functional.binary_cross_entropy(torch.tensor(scores.values), labels)
    found = watch.figures[0]
    assert found[MONITORED] == pytest.approx(metrics.macro.average_precision, rel=1e-5)
    assert found["validation_micro_average_precision"] == pytest.approx(
        metrics.micro.average_precision, rel=1e-5
    )
    assert found["validation_micro_f1"] == pytest.approx(metrics.micro.f1, rel=1e-5)
    assert found["validation_loss"] == pytest.approx(float(loss), rel=1e-5)


def test_all_weights_are_in_one_group_with_the_decay_of_the_settings(dataset, tiny):
    task, _ = make(dataset, tiny(weight_decay=0.25))

    optimiser = task.configure_optimizers()["optimizer"]

    assert isinstance(optimiser, torch.optim.AdamW)
    (group,) = optimiser.param_groups
    assert group["weight_decay"] == 0.25
    assert len(group["params"]) == len(list(task.classifier.parameters()))


def test_only_training_patches_are_shuffled_and_flipped(dataset, tiny):
    _, data = make(dataset, tiny())

    train, validation = data.train_dataloader(), data.val_dataloader()

    assert (train.shuffle, train.flips, len(train.dataset)) == (True, True, 7)
    assert (validation.shuffle, validation.flips, len(validation.dataset)) == (False, False, 5)


def test_flips_can_be_switched_off(dataset, tiny):
    _, data = make(dataset, tiny(flips=False))

    assert not data.train_dataloader().flips


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_no_number_stops_and_names_the_patches(dataset, tiny, value):
    config = tiny(learning_rate=0.5)
    task, _ = make(dataset, config)
    batch = batch_of(dataset, task, rows=4)
    broken = Batch(torch.full_like(batch.images, value), batch.multi_hot, batch.names)

    with pytest.raises(TrainingError) as caught:
        task.training_step(broken)

    message = str(caught.value)
    assert "in training after 0 steps, in epoch 1" in message
    assert f"{', '.join(batch.names[:3])} and 1 more" in message
    assert "learning_rate (0.5)" in message


def test_a_loss_that_is_no_number_in_validation_says_so(dataset, tiny):
    task, _ = make(dataset, tiny())
    batch = batch_of(dataset, task)
    task.eval()

    with pytest.raises(TrainingError, match="in validation"):
        task.validation_step(Batch(batch.images * torch.nan, batch.multi_hot, batch.names))


@pytest.mark.parametrize("split", ["train", "validation"])
def test_a_missing_split_is_an_error(dataset, tiny, split):
    with pytest.raises(EmptySplitError, match="split"):
        make(dataset[split], tiny())


def test_a_label_that_the_model_does_not_know_is_an_error(dataset, tiny):
    classifier = Classifier("test_resnet", "rgb", labels=LABELS[:-1])

    with pytest.raises(UnknownLabelError, match="Urban fabric"):
        BigEarthNetData(dataset, classifier, tiny())
