import math
import os
import signal
import sys
from itertools import pairwise
from types import SimpleNamespace

import pytest
import torch
from torch.nn import functional

from reben.data.loader import Loader
from reben.errors import EmptySplitError, TrainingError, UnknownLabelError
from reben.learn.metrics.classification import compute_metrics
from reben.learn.train import train
from reben.learn.training.data_module import training_loaders
from reben.learn.training.hardware import build_fabric
from reben.learn.training.loop import Loop
from reben.learn.training.optimiser import learning_rate_at, make_optimiser
from reben.learn.training.pauses import Pauses
from reben.learn.training.record import MONITORED, RunRecorder
from reben.learn.training.state import Training
from reben.model.classifier import Classifier
from reben.spec.labels import LABELS


class Logger:
    """Keeps what loggers are told, by step."""

    def __init__(self):
        self.told = []

    def log_metrics(self, metrics, step):
        self.told.append((step, metrics))

    def finalize(self, status):
        self.told.append((None, status))

    def values(self, name):
        return [told[name] for step, told in self.told if step is not None and name in told]


def make(dataset, config, folder, total_steps=6, warmup_steps=2):
    """A loop whose model lies on the CPU, and the logger that it talks to."""
    torch.manual_seed(0)
    classifier = Classifier(config.backbone, config.bands, drop_rate=config.drop_rate)
    training = Training(classifier, config, total_steps=total_steps, warmup_steps=warmup_steps)
    fabric = build_fabric(config)
    training.place(fabric)
    recorder = RunRecorder(folder, config, {})
    recorder.loggers = [Logger()]
    pauses = Pauses(60.0, fabric.device, recorder.say)
    loop = Loop(training, training_loaders(dataset, classifier, config), recorder, pauses, {})
    return loop, recorder.loggers[0]


def watch_batches(monkeypatch):
    """Names of the batches to learn from, epoch by epoch."""
    names = {}
    real = Loop._take_step

    def watch(self, batch):
        names.setdefault(self.training.epoch, []).append(batch.names)
        return real(self, batch)

    monkeypatch.setattr(Loop, "_take_step", watch)
    return names


def spoil(monkeypatch, value, shuffled):
    """Make the first image of each batch of a split this value, everywhere."""
    real = Loader.__iter__

    def iterate(self):
        for batch in real(self):
            if self.shuffle == shuffled:
                batch.images[0] = value
            yield batch

    monkeypatch.setattr(Loader, "__iter__", iterate)


def test_every_step_has_the_rate_of_the_schedule_and_loggers_are_told(dataset, tiny, tmp_path):
    loop, logger = make(dataset, tiny(learning_rate=0.02), tmp_path)
    rates = []
    real = loop.training.stepper.step
    loop.training.stepper.step = lambda: (
        rates.append(loop.training.optimiser.param_groups[0]["lr"]),
        real(),
    )

    loop.run()

    expected = [
        learning_rate_at(step, total_steps=6, warmup_steps=2, peak=0.02) for step in range(6)
    ]
    assert rates == pytest.approx(expected, rel=1e-12)
    assert logger.values("learning_rate") == rates
    steps = [step for step, told in logger.told if "train_loss_step" in told]
    assert steps == [1, 2, 3, 4, 5, 6]


def test_each_epoch_has_the_order_that_the_loader_gives_it(dataset, tiny, tmp_path, monkeypatch):
    names = watch_batches(monkeypatch)
    loop, _ = make(dataset, tiny(seed=7, epochs=3), tmp_path, total_steps=9)

    loop.run()

    preprocess = loop.training.classifier.preprocess
    loader = Loader(dataset["train"], preprocess, 3, shuffle=True, seed=7)
    for epoch in range(3):
        loader.set_epoch(epoch)
        assert names[epoch] == [batch.names for batch in loader]
    assert names[0] != names[1]


def test_the_losses_are_means_over_patches_of_what_the_loader_gives(dataset, tiny, tmp_path):
    # With a rate of next to nothing the weights stay, so that each epoch can be done again.
    config = tiny(learning_rate=1e-30, weight_decay=0.0, drop_rate=0.0)
    loop, logger = make(dataset, config, tmp_path)

    loop.run()

    model = loop.training.classifier.train()
    loader = Loader(
        dataset["train"], model.preprocess, 3, shuffle=True, flips=True, seed=config.seed
    )
    for epoch, found in enumerate(logger.values("train_loss")):
        loader.set_epoch(epoch)
        losses = [
            functional.binary_cross_entropy(model(b.images).sigmoid(), b.multi_hot, reduction="sum")
            for b in loader
        ]
        assert found == pytest.approx(sum(losses).item() / (7 * 19), rel=1e-5)


def test_validation_figures_are_over_the_whole_split_at_once(dataset, tiny, tmp_path):
    loop, logger = make(dataset, tiny(epochs=1), tmp_path)

    loop.run()

    classifier = loop.training.classifier
    split = dataset["validation"].with_bands(classifier.bands)
    scores = classifier.predict(split.read(range(len(split))))
    labels = torch.tensor(split.table.multi_hot()).float()
    metrics = compute_metrics(scores.values, labels, LABELS)
    loss = functional.binary_cross_entropy(torch.tensor(scores.values), labels)
    (found,) = [told for _, told in logger.told if "validation_loss" in told]
    assert found[MONITORED] == pytest.approx(metrics.macro.average_precision, rel=1e-5)
    assert found["validation_micro_average_precision"] == pytest.approx(
        metrics.micro.average_precision, rel=1e-5
    )
    assert found["validation_micro_f1"] == pytest.approx(metrics.micro.f1, rel=1e-5)
    assert found["validation_loss"] == pytest.approx(float(loss), rel=1e-5)


def test_all_weights_are_in_one_group_with_the_decay_of_the_settings(tiny):
    classifier = Classifier("test_resnet", "rgb")

    optimiser = make_optimiser(classifier, tiny(weight_decay=0.25))

    assert isinstance(optimiser, torch.optim.AdamW)
    (group,) = optimiser.param_groups
    assert group["weight_decay"] == 0.25
    assert len(group["params"]) == len(list(classifier.parameters()))


def test_only_training_patches_are_shuffled_and_flipped(dataset, tiny):
    learn, validate = training_loaders(dataset, Classifier("test_resnet", "rgb"), tiny())

    assert (learn.shuffle, learn.flips, len(learn.dataset)) == (True, True, 7)
    assert (validate.shuffle, validate.flips, len(validate.dataset)) == (False, False, 5)


def test_flips_can_be_switched_off(dataset, tiny):
    classifier = Classifier("test_resnet", "rgb")

    assert not training_loaders(dataset, classifier, tiny(flips=False))[0].flips


@pytest.mark.parametrize("split", ["train", "validation"])
def test_a_missing_split_is_an_error(dataset, tiny, split):
    with pytest.raises(EmptySplitError, match="split"):
        training_loaders(dataset[split], Classifier("test_resnet", "rgb"), tiny())


def test_a_label_that_the_model_does_not_know_is_an_error(dataset, tiny):
    classifier = Classifier("test_resnet", "rgb", labels=LABELS[:-1])

    with pytest.raises(UnknownLabelError, match="Urban fabric"):
        training_loaders(dataset, classifier, tiny())


# Losses that are no number -----------------------------------------------------------------------


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_that_is_no_number_stops_and_names_the_patches(
    dataset, tiny, tmp_path, monkeypatch, value
):
    spoil(monkeypatch, value, shuffled=True)
    names = watch_batches(monkeypatch)
    loop, _ = make(dataset, tiny(learning_rate=0.5, batch_size=4), tmp_path)

    with pytest.raises(TrainingError) as caught:
        loop.run()

    message = str(caught.value)
    assert "in training after 0 steps, in epoch 1" in message
    assert f"{', '.join(names[0][0][:3])} and 1 more" in message
    assert "learning_rate (0.5)" in message


def test_a_loss_that_is_no_number_in_validation_says_so(dataset, tiny, tmp_path, monkeypatch):
    spoil(monkeypatch, math.nan, shuffled=False)
    loop, _ = make(dataset, tiny(), tmp_path)

    with pytest.raises(TrainingError, match="in validation after 3 steps"):
        loop.run()


# Steps that wait for nothing ---------------------------------------------------------------------


def as_on_an_accelerator(loop, every):
    """Let a loop read its losses as seldom as it would from a device."""
    real = loop._no_losses

    def no_losses(where="in training"):
        losses = real(where)
        losses._every = every
        return losses

    loop._no_losses = no_losses
    loop.losses = no_losses()


def test_steps_read_nothing_from_the_device_but_every_few(dataset, tiny, tmp_path, monkeypatch):
    options = {"turns": True, "band_dropout": 0.3, "ema_decay": 0.9, "gradient_clip": 1.0}
    options |= {"class_weights": True, "loss": "focal", "accumulate": 2}
    loop, _ = make(dataset, tiny(batch_size=2, epochs=1, **options), tmp_path, total_steps=9)
    as_on_an_accelerator(loop, every=3)
    read = []
    for name in ("item", "tolist", "cpu", "numpy", "__bool__", "__float__", "__int__", "__index__"):
        real = getattr(torch.Tensor, name)

        def watch(self, *args, real=real, name=name):
            if sys._getframe(1).f_globals["__name__"].startswith("reben.learn"):
                read.append((name, loop.training.step))
            return real(self, *args)

        monkeypatch.setattr(torch.Tensor, name, watch)
    loop.recorder.start()

    loop.train_epoch()

    assert loop.training.step == 4
    # Sent after three steps, and read where the epoch ends, before three more are done.
    assert read == [("cpu", 3), ("tolist", 4), ("cpu", 4), ("tolist", 4)]


def test_a_loss_that_is_no_number_is_found_within_a_few_steps(dataset, tiny, tmp_path, monkeypatch):
    names = watch_batches(monkeypatch)
    loop, logger = make(dataset, tiny(batch_size=1, epochs=1), tmp_path, total_steps=9)
    as_on_an_accelerator(loop, every=3)
    real = Classifier.forward

    def forward(self, images):
        return real(self, images) * (math.nan if loop.training.step == 4 else 1)

    monkeypatch.setattr(Classifier, "forward", forward)

    with pytest.raises(TrainingError) as caught:
        loop.run()

    assert loop.training.step == 7
    assert f"after 4 steps, in epoch 1, for the patches {names[0][4][0]}." in str(caught.value)
    assert len(logger.values("train_loss_step")) == 3
    assert not (tmp_path / "checkpoints").exists()


def test_no_checkpoint_is_written_of_weights_that_are_no_numbers(
    dataset, tiny, tmp_path, monkeypatch
):
    spoil(monkeypatch, math.nan, shuffled=True)
    loop, _ = make(dataset, tiny(), tmp_path)
    as_on_an_accelerator(loop, every=99)
    loop.pauses = Pauses(1e-9, loop.device, loop.recorder.say)

    with pytest.raises(TrainingError, match="after 0 steps"):
        loop.run()

    assert not (tmp_path / "checkpoints").exists()


def test_seldom_read_losses_make_the_same_curve(dataset, tiny, tmp_path):
    curves = []
    for every in (1, 5):
        folder = tmp_path / str(every)
        folder.mkdir()
        loop, logger = make(dataset, tiny(), folder)
        as_on_an_accelerator(loop, every)
        loop.run()
        curves.append([logger.values(name) for name in ("train_loss_step", "train_loss")])

    assert curves[0] == curves[1]


# Several ranks -----------------------------------------------------------------------------------


class Clock:
    """A clock that only moves when it is told to."""

    def __init__(self):
        self.now = 0.0

    def monotonic(self):
        return self.now


@pytest.fixture
def two_ranks(monkeypatch):
    """Pauses of one of two ranks that have the same to say; its clock, and when they were asked."""
    clock, asked = Clock(), []

    def sum_over_ranks(values, device):
        asked.append(clock.now)
        return [2.0 * float(value) for value in values]

    monkeypatch.setattr("reben.learn.training.pauses.time", clock)
    monkeypatch.setattr("reben.learn.training.pauses.num_ranks", lambda: 2)
    monkeypatch.setattr("reben.learn.training.pauses.sum_over_ranks", sum_over_ranks)
    return Pauses(0.5, torch.device("cpu"), print), clock, asked


def test_ranks_ask_each_other_every_two_seconds_and_not_at_each_step(two_ranks):
    pauses, clock, asked = two_ranks

    for _ in range(4000):
        clock.now += 0.01
        pauses.after_step()

    gaps = [later - earlier for earlier, later in pairwise(asked[8:])]
    assert len(asked) < 40
    assert gaps == pytest.approx([2.0] * len(gaps), abs=0.02)


def test_ranks_write_a_checkpoint_after_the_same_step_once_it_is_due(two_ranks):
    pauses, clock, _ = two_ranks
    saved = []

    for _ in range(8000):
        clock.now += 0.01
        if pauses.after_step().save:
            saved.append(clock.now)
            pauses.saved()

    assert len(saved) == 2
    assert saved == pytest.approx([30, 60], abs=5)


def test_ranks_stop_within_two_seconds_after_ctrl_c(two_ranks):
    pauses, clock, _ = two_ranks
    for _ in range(1000):
        clock.now += 0.01
        pauses.after_step()
    with pauses.interruptible():
        os.kill(os.getpid(), signal.SIGINT)
    interrupted_at = clock.now

    while not pauses.after_step().stop:
        clock.now += 0.01

    assert clock.now - interrupted_at < 2.1


def test_joined_batch_norms_keep_the_activation_that_timm_puts_into_them(tiny):
    classifier = Classifier("test_efficientnet", "rgb")
    config = tiny(backbone="test_efficientnet")
    training = Training(classifier, config, total_steps=2, warmup_steps=0)
    before = [str(m.act) for m in classifier.modules() if hasattr(m, "running_mean")]
    fabric = SimpleNamespace(
        world_size=2,
        device=torch.device("cuda"),
        setup_module=lambda module: module,
        setup_optimizers=lambda optimiser: optimiser,
    )

    training.place(fabric)

    norms = [m for m in classifier.modules() if isinstance(m, torch.nn.SyncBatchNorm)]
    assert [str(norm.act) for norm in norms] == before
    assert before


# Loggers -----------------------------------------------------------------------------------------


def test_tensorboard_gets_loss_and_rate_of_each_step_and_the_settings(dataset, tiny, tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run = train(tiny(learning_rate=0.02), dataset, tmp_path / "run")

    events = EventAccumulator(str(run.path / "tensorboard"))
    events.Reload()
    losses, rates = (events.Scalars(name) for name in ("train_loss_step", "learning_rate"))
    assert [event.step for event in losses] == [1, 2, 3, 4, 5, 6]
    assert all(event.value > 0 for event in losses)
    expected = [
        learning_rate_at(step, total_steps=6, warmup_steps=0, peak=0.02) for step in range(6)
    ]
    assert [event.value for event in rates] == pytest.approx(expected, rel=1e-6)
    assert [event.step for event in events.Scalars("validation_loss")] == [3, 6]
    content = events.summary_metadata["_hparams_/session_start_info"].plugin_data.content
    assert b"learning_rate" in content
    assert b"test_resnet" in content


def test_trackio_gets_settings_steps_and_epochs(dataset, tiny, tmp_path, monkeypatch):
    told = []
    fake = SimpleNamespace(
        __spec__=SimpleNamespace(name="trackio"),
        init=lambda **words: told.append(("init", words)),
        log=lambda metrics, step: told.append((step, metrics)),
        finish=lambda: told.append(("finish", None)),
    )
    monkeypatch.setitem(sys.modules, "trackio", fake)

    train(tiny(seed=11), dataset, tmp_path / "run", loggers=["trackio"])

    name, words = told[0]
    assert (name, words["name"], words["config"]["seed"]) == ("init", "run", 11)
    assert [step for step, _ in told[1:-1]] == [1, 2, 3, 3, 4, 5, 6, 6]
    assert told[1][1].keys() == {"train_loss_step", "learning_rate"}
    assert MONITORED in told[4][1]
    assert told[-1] == ("finish", None)


@pytest.mark.parametrize(("name", "kind"), [("wandb", "WandbLogger"), ("mlflow", "MLFlowLogger")])
def test_loggers_of_lightning_get_settings_steps_and_how_it_ended(
    dataset, tiny, tmp_path, monkeypatch, name, kind
):
    class Board(Logger):
        def log_hyperparams(self, settings):
            self.settings = settings

    board = Board()
    monkeypatch.setattr(f"lightning.pytorch.loggers.{kind}", lambda *_, **__: board)
    monkeypatch.setitem(sys.modules, name, SimpleNamespace(__spec__=SimpleNamespace(name=name)))

    train(tiny(seed=11), dataset, tmp_path / "run", loggers=[name])

    assert board.settings["seed"] == 11
    assert len(board.values("train_loss_step")) == len(board.values("learning_rate")) == 6
    assert len(board.values(MONITORED)) == 2
    assert board.told[-1] == (None, "success")
