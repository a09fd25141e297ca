import csv
import errno
import json
import logging
import os
import signal
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from made_up import patch, patch_id, row, s1_name, write_metadata
from reben.data.loader import Loader, open_dataset
from reben.data.metadata import METADATA_FILE
from reben.data.store import StoreWriter
from reben.errors import (
    BackboneError,
    BandsMismatchError,
    ConfigError,
    EmptySplitError,
    ModelFolderError,
    OutputError,
    RunError,
    TrainingError,
)
from reben.learn.config import TrainConfig
from reben.learn.evaluate import evaluate
from reben.learn.train import Run, train
from reben.learn.training.loop import Loop
from reben.learn.training.record import MONITORED
from reben.model.classifier import Classifier
from reben.support.plain_json import to_plain

EPOCHS = 4


@pytest.fixture(scope="module")
def run(dataset, tmp_path_factory):
    """A finished run; its folder is not to be written to."""
    config = TrainConfig(
        backbone="test_resnet",
        bands="rgb",
        accelerator="cpu",
        epochs=EPOCHS,
        patience=EPOCHS,
        batch_size=3,
        learning_rate=0.01,
    )
    return train(config, dataset, tmp_path_factory.mktemp("runs") / "a-run")


def rows(folder):
    with (Path(folder) / "metrics.csv").open(newline="") as file:
        return [{name: float(x) for name, x in row.items()} for row in csv.DictReader(file)]


def scripted(monkeypatch, scores):
    """Make validation give these macro average precisions, epoch by epoch."""
    real = Loop._figures

    def give(self):
        return {**real(self), MONITORED: scores[self.training.epoch]}

    monkeypatch.setattr(Loop, "_figures", give)


def raise_in_epoch(monkeypatch, epoch, action):
    """Let ``action`` happen before the second batch of epoch number ``epoch``, from 0."""
    real = Loader.__iter__

    def iterate(self):
        for number, batch in enumerate(real(self)):
            if self.shuffle and self.epoch == epoch and number == 1:
                action()
            yield batch

    monkeypatch.setattr(Loader, "__iter__", iterate)


# The run folder ----------------------------------------------------------------------------------


def test_the_run_folder_holds_what_it_should(run):
    found = {str(file.relative_to(run.path)) for file in run.path.rglob("*") if file.is_file()}

    assert found >= {
        "config.toml",
        "summary.json",
        "environment.json",
        "metrics.csv",
        "train.log",
        "checkpoints/best.ckpt",
        "checkpoints/last.ckpt",
        "best/config.json",
        "best/model.safetensors",
    }


def test_the_summary_counts_what_was_done(run, dataset):
    summary = run.summary

    assert (summary["status"], summary["stopped_early"]) == ("finished", False)
    assert (summary["num_train"], summary["num_validation"]) == (7, 5)
    assert (summary["epochs_run"], summary["steps"], summary["total_steps"]) == (4, 12, 12)
    assert summary["warmup_steps"] == 1
    assert summary["filters"] == {"snow": "false", "cloud": "false"}
    assert summary["data"] == {
        "store": str(dataset.store.path),
        "fingerprint": dataset.table.fingerprint(),
        "made_up_by": None,
        "label_table": None,
        "identity": to_plain(dataset.identity),
        "metadata": [str(dataset.store.path / METADATA_FILE)],
        "num_patches": {"train": 7, "validation": 5},
        "parts": {},
        "drawn": None,
    }
    assert summary["not_applied"] == list(Classifier("test_resnet", "rgb").not_applied)


def test_the_settings_in_the_folder_are_those_of_the_run(run):
    text = (run.path / "config.toml").read_text()

    assert TrainConfig.from_toml(text) == run.config
    assert run.config.learning_rate == 0.01


def test_there_is_one_line_of_figures_for_each_epoch(run):
    found = rows(run.path)

    assert [row["epoch"] for row in found] == [1, 2, 3, 4]
    assert [row["step"] for row in found] == [3, 6, 9, 12]
    assert found[-1]["learning_rate"] < found[0]["learning_rate"]
    assert all(np.isfinite(value) for row in found for value in row.values())


def test_the_log_tells_of_every_epoch(run):
    text = (run.path / "train.log").read_text()

    assert "on 7 patches with bands rgb, validating on 5" in text
    assert all(f"Epoch {epoch}/4:" in text for epoch in (1, 2, 3, 4))
    assert f"Best epoch: {run.summary['best_epoch']}." in text


def test_the_environment_is_told(run):
    environment = json.loads((run.path / "environment.json").read_text())

    assert environment["packages"]["timm"] == timm.__version__
    assert environment["device"]["type"] == "cpu"


def test_checkpoints_need_no_unpickling(run):
    for name in ("best", "last"):
        with safe_open(run.path / "checkpoints" / f"{name}.ckpt", "pt") as checkpoint:
            assert any(key.startswith("optimiser.0.") for key in checkpoint.keys())  # noqa: SIM118
            state = json.loads(checkpoint.metadata()["reben"])
    assert (state["epoch"], state["step"]) == (EPOCHS, 12)


def test_the_run_can_be_opened_again(run):
    assert Run.open(run.best).summary == run.summary


def test_a_setting_that_the_backbone_does_not_take_is_recorded(dataset, tiny, tmp_path):
    run = train(tiny(backbone="ghostnet_050", epochs=1), dataset, tmp_path / "run")

    assert "drop_path_rate" in run.summary["not_applied"]
    assert "no drop_path_rate" in (run.path / "train.log").read_text()


def test_tensorboard_gets_the_figures_where_it_is_installed(run):
    pytest.importorskip("tensorboard")

    assert list((run.path / "tensorboard").glob("events.out.*"))


def test_tensorboard_is_not_needed(dataset, tiny, tmp_path, monkeypatch):
    monkeypatch.setattr("reben.learn.training.loggers.find_spec", lambda name: None)

    run = train(tiny(epochs=1), dataset, tmp_path / "run")

    assert not (run.path / "tensorboard").exists()


# The epoch that is published ---------------------------------------------------------------------


def test_the_published_model_reaches_what_the_summary_says(run, dataset):
    report = evaluate(run, dataset["validation"])

    expected = run.summary[f"best_{MONITORED}"]
    assert report.macro.average_precision == pytest.approx(expected, rel=1e-5)
    assert max(row[MONITORED] for row in rows(run.path)) == pytest.approx(expected, rel=1e-6)


def test_the_model_knows_its_bands_and_is_ready_to_predict(run):
    model = Classifier.from_pretrained(run.best)

    assert model.bands.names == ("B04", "B03", "B02")
    assert len(model.predict(patch(3)).top(3)) == 3


def test_the_weights_of_the_best_epoch_are_published_not_the_last_ones(
    dataset, tiny, tmp_path, monkeypatch
):
    scripted(monkeypatch, [0.2, 0.5, 0.4, 0.5])

    run = train(tiny(epochs=4, learning_rate=0.01), dataset, tmp_path / "run")

    assert (run.summary["best_epoch"], run.summary["epochs_run"]) == (2, 4)
    best, last = (load_file(run.path / "checkpoints" / f"{name}.ckpt") for name in ("best", "last"))
    published = load_file(run.best / "model.safetensors")
    assert all(torch.equal(best[f"model.{name}"], x) for name, x in published.items())
    assert any(not torch.equal(last[f"model.{name}"], x) for name, x in published.items())


def test_training_stops_when_patience_is_over(dataset, tiny, tmp_path, monkeypatch):
    scripted(monkeypatch, [0.1, 0.3, 0.2, 0.3, 0.9, 0.9])

    run = train(tiny(epochs=6, patience=2), dataset, tmp_path / "run")

    assert (run.summary["best_epoch"], run.summary["epochs_run"]) == (2, 4)
    assert run.summary["stopped_early"] is True
    assert run.summary["steps"] == 12
    assert run.summary["total_steps"] == 18


# Training itself ---------------------------------------------------------------------------------


def test_the_same_settings_and_data_give_the_same_weights(dataset, tiny, tmp_path):
    config = tiny(bands="B8A,VH", drop_rate=0.3)
    first = train(config, dataset, tmp_path / "first")
    torch.rand(17)  # whatever happened before must not matter
    second = train(config, dataset, tmp_path / "second")

    one, two = (load_file(run.best / "model.safetensors") for run in (first, second))
    assert one.keys() == two.keys()
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_another_seed_gives_other_weights(dataset, tiny, tmp_path):
    first = train(tiny(epochs=1, seed=1), dataset, tmp_path / "first")
    second = train(tiny(epochs=1, seed=2), dataset, tmp_path / "second")

    name = "model.vision_encoder.fc.weight"
    one, two = (load_file(run.best / "model.safetensors")[name] for run in (first, second))
    assert not torch.equal(one, two)


def test_a_network_learns_patches_whose_labels_show(tmp_path):
    labels = ["Pastures", "Urban fabric", "Marine waters"]
    bright = dict(zip(labels, ("B02", "B03", "B04"), strict=True))
    with StoreWriter(tmp_path / "store") as writer:
        for number in range(15):
            bands = patch(number, ["B02", "B03", "B04"])
            bands[bright[labels[number % 3]]] += np.uint16(3000)
            writer.put(patch_id(number), bands)
    table = [
        row(number, "train" if number < 12 else "validation", labels=[labels[number % 3]])
        for number in range(15)
    ]
    write_metadata(tmp_path / "store" / METADATA_FILE, table)
    config = TrainConfig(
        backbone="test_resnet",
        bands="rgb",
        accelerator="cpu",
        epochs=16,
        patience=16,
        batch_size=4,
        learning_rate=0.01,
        drop_rate=0.0,
    )

    run = train(config, open_dataset(tmp_path / "store"), tmp_path / "run")

    found = rows(run.path)
    assert found[-1]["train_loss"] < found[0]["train_loss"] / 10
    per_class = evaluate(run, open_dataset(tmp_path / "store")["validation"]).per_class
    assert [per_class[label].average_precision for label in labels] == [1.0, 1.0, 1.0]


# Quiet -------------------------------------------------------------------------------------------


def test_nothing_is_printed_and_lightning_logs_nothing(dataset, tiny, tmp_path, capfd, caplog):
    with caplog.at_level(logging.INFO):
        train(tiny(), dataset, tmp_path / "run")

    assert capfd.readouterr().out == ""
    assert {record.name.split(".")[0] for record in caplog.records} == {"reben"}


def test_whoever_asks_is_told_how_far_the_training_is(dataset, tiny, tmp_path):
    seen = []

    run = train(tiny(), dataset, tmp_path / "run", progress=seen.append)

    assert [(p.epoch, p.batch) for p in seen] == [(1, 1), (1, 2), (1, 3), (2, 1), (2, 2), (2, 3)]
    assert {(p.epochs, p.batches) for p in seen} == {(2, 3)}
    assert all(p.loss > 0 and p.images_per_second > 0 for p in seen)
    assert seen[2].best is None
    assert seen[3].best == pytest.approx(rows(run.path)[0][MONITORED], rel=1e-6)


# Errors before there is a folder -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "error", "text"),
    [
        ({"backbone": "resnet_of_mine"}, BackboneError, "resnet_of_mine"),
        ({"warmup_steps": 6}, ConfigError, r"warm-up of 6 steps.*run of 6"),
        ({"init": "no/such folder"}, ModelFolderError, "no/such folder"),
    ],
)
def test_settings_that_cannot_be_used_are_an_error_before_there_is_a_folder(
    dataset, tiny, tmp_path, changes, error, text
):
    with pytest.raises(error, match=text):
        train(tiny(**changes), dataset, tmp_path / "run")

    assert not (tmp_path / "run").exists()


@pytest.mark.skipif(torch.backends.mps.is_available(), reason="this machine has the accelerator")
def test_an_accelerator_that_is_not_there_is_an_error(dataset, tiny, tmp_path):
    with pytest.raises(ConfigError, match="accelerator mps"):
        train(tiny(accelerator="mps"), dataset, tmp_path / "run")

    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("split", ["train", "validation"])
def test_an_empty_split_is_an_error(dataset, tiny, tmp_path, split):
    with pytest.raises(EmptySplitError):
        train(tiny(), dataset[split], tmp_path / "run")

    assert not (tmp_path / "run").exists()


def test_a_band_that_the_store_lacks_is_an_error(tiny, tmp_path):
    with StoreWriter(tmp_path / "store") as writer:
        for number in range(2):
            writer.put(patch_id(number), patch(number, ["B02", "B03"]))
            writer.put(s1_name(number), patch(number, ["VV", "VH"]))
    write_metadata(tmp_path / "store" / METADATA_FILE, [row(0), row(1, "validation")])

    with pytest.raises(BandsMismatchError, match="B04"):
        train(tiny(), open_dataset(tmp_path / "store"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_folder_that_is_not_empty_is_refused(dataset, tiny, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")

    with pytest.raises(OutputError, match=r"not empty: it holds notes\.txt.*Choose a new folder"):
        train(tiny(), dataset, tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["notes.txt"]


def test_a_file_in_the_place_of_the_folder_is_refused(dataset, tiny, tmp_path):
    (tmp_path / "run").write_text("mine")

    with pytest.raises(OutputError, match="exists and is not a folder"):
        train(tiny(), dataset, tmp_path / "run")


def test_an_empty_folder_is_used(dataset, tiny, tmp_path):
    assert train(tiny(epochs=1), dataset, tmp_path).path == tmp_path


def test_a_place_that_cannot_be_written_is_an_error(dataset, tiny, tmp_path):
    (tmp_path / "file").write_text("")

    with pytest.raises(OutputError, match="Cannot write"):
        train(tiny(), dataset, tmp_path / "file" / "run")


# Training that does not come to its end ----------------------------------------------------------


def test_ctrl_c_keeps_the_best_model_so_far(dataset, tiny, tmp_path, monkeypatch):
    handler = signal.getsignal(signal.SIGINT)
    raise_in_epoch(monkeypatch, 2, lambda: os.kill(os.getpid(), signal.SIGINT))

    with pytest.raises(KeyboardInterrupt):
        train(tiny(epochs=5), dataset, tmp_path / "run")

    assert signal.getsignal(signal.SIGINT) is handler
    run = Run.open(tmp_path / "run")
    assert (run.summary["status"], run.summary["epochs_run"]) == ("interrupted", 2)
    assert run.summary["stopped_early"] is False
    assert run.summary["best_epoch"] in (1, 2)
    assert len(rows(run.path)) == 2
    assert "Interrupted after 2 epochs" in (run.path / "train.log").read_text()
    Classifier.from_pretrained(run.best)


def test_ctrl_c_in_the_first_epoch_leaves_a_run_without_a_model(
    dataset, tiny, tmp_path, monkeypatch
):
    raise_in_epoch(monkeypatch, 0, lambda: os.kill(os.getpid(), signal.SIGINT))

    with pytest.raises(KeyboardInterrupt):
        train(tiny(), dataset, tmp_path / "run")

    with pytest.raises(RunError, match=r"status interrupted.*no epoch was finished"):
        Run.open(tmp_path / "run")


def test_a_run_that_is_killed_between_epochs_can_be_opened(dataset, tiny, tmp_path, monkeypatch):
    seen = defaultdict(list)

    def look():
        run = Run.open(tmp_path / "run")
        seen[run.summary["status"]].append(run.summary["epochs_run"])
        Classifier.from_pretrained(run.best)

    raise_in_epoch(monkeypatch, 1, look)
    train(tiny(), dataset, tmp_path / "run")

    assert seen == {"running": [1]}


def test_a_loss_that_is_no_number_is_an_error_and_recorded(dataset, tiny, tmp_path, monkeypatch):
    real = Loop.train_epoch

    def spoil(self):
        if self.training.epoch == 1:
            bias = self.training.classifier.model.vision_encoder.fc.bias
            torch.nn.init.constant_(bias, float("nan"))
        real(self)

    monkeypatch.setattr(Loop, "train_epoch", spoil)

    with pytest.raises(TrainingError, match="nan in training after 3 steps, in epoch 2"):
        train(tiny(), dataset, tmp_path / "run")

    assert Run.open(tmp_path / "run").summary["status"] == "failed"
    assert "TrainingError: The loss is nan" in (tmp_path / "run" / "train.log").read_text()


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (errno.ENOSPC, r"No space left on device.*MB are free"),
        (errno.EACCES, "Permission denied"),
        (errno.EROFS, "Read-only file system"),
    ],
)
def test_a_checkpoint_that_cannot_be_written_is_an_error_that_names_it(
    dataset, tiny, tmp_path, monkeypatch, number, said
):
    real = Path.open

    def fail(self, *args, **kwargs):
        if self.name.startswith(".last.ckpt"):
            raise OSError(number, os.strerror(number))
        return real(self, *args, **kwargs)

    monkeypatch.setattr(Path, "open", fail)

    with pytest.raises(OutputError, match=f"last.ckpt: {said}"):
        train(tiny(), dataset, tmp_path / "run")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_the_right_to_write_is_an_error(dataset, tiny, tmp_path):
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(OutputError, match=r"Cannot write .*run: Permission denied"):
            train(tiny(), dataset, tmp_path / "run")
    finally:
        tmp_path.chmod(0o700)
