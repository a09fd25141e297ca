"""Options of a training that are off by default."""

import copy
import json

import pytest
import torch
from safetensors.torch import load_file

from made_up import patch, patch_id, row, s1_name, write_metadata
from reben.app.cli import run as command
from reben.data.loader import open_dataset
from reben.data.metadata import METADATA_FILE
from reben.data.store import StoreWriter
from reben.errors import ConfigError, UnknownLabelError
from reben.learn.train import Run, train
from reben.learn.training.optimiser import make_optimiser
from reben.learn.training.state import Training, update_average
from reben.model.classifier import Classifier

OWN = ("barley", "maize", "wheat")


def weights(run):
    return load_file(run.best / "model.safetensors")


@pytest.fixture(scope="module")
def start(dataset, tmp_path_factory):
    """A published model to start from; not to be written to."""
    torch.manual_seed(5)
    return Classifier("test_resnet", "rgb").save_pretrained(tmp_path_factory.mktemp("init") / "m")


@pytest.fixture(scope="module")
def own_store(tmp_path_factory):
    folder = tmp_path_factory.mktemp("own") / "store"
    table = [
        row(number, split, labels=[OWN[number % 3]])
        for number, split in enumerate(["train"] * 4 + ["validation"] * 3)
    ]
    with StoreWriter(folder) as writer:
        for number in range(len(table)):
            writer.put(patch_id(number), patch(number, ["B02", "B03", "B04"]))
            writer.put(s1_name(number), patch(number, ["VV", "VH"]))
    write_metadata(folder / METADATA_FILE, table)
    return folder


def test_a_frozen_backbone_stays_as_it_was(dataset, tiny, tmp_path, start):
    config = tiny(init=str(start), freeze_backbone=True, epochs=1, learning_rate=0.1)

    run = train(config, dataset, tmp_path / "run")

    before, after = load_file(start / "model.safetensors"), weights(run)
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {"model.vision_encoder.fc.weight", "model.vision_encoder.fc.bias"}


def test_a_training_starts_from_the_weights_of_another_model(dataset, tiny, tmp_path, start):
    config = tiny(init=str(start), epochs=1, learning_rate=1e-30, weight_decay=0.0)

    run = train(config, dataset, tmp_path / "run")

    before, after = load_file(start / "model.safetensors"), weights(run)
    name = "model.vision_encoder.conv1.0.weight"
    name = name if name in before else next(iter(before))
    assert torch.equal(before[name], after[name])


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"bands": "B02,B03,B04"}, "takes the bands B04, B03, B02"),
        ({"backbone": "test_vit3"}, "has the backbone test_resnet"),
        ({"image_size": 60}, "has the image size 120"),
    ],
)
def test_a_model_to_start_from_that_does_not_fit_is_refused(
    dataset, tiny, tmp_path, start, changes, said
):
    with pytest.raises(ConfigError, match=said):
        train(tiny(init=str(start), **changes), dataset, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_own_labels_get_a_head_of_their_own(own_store, tiny, tmp_path, start):
    data = open_dataset(own_store, labels=OWN)

    run = train(tiny(labels=OWN, init=str(start), epochs=1), data, tmp_path / "run")

    assert Classifier.from_pretrained(run.best).labels == OWN
    assert json.loads((run.best / "config.json").read_text())["classes"] == 3
    assert run.config.labels == OWN


def test_a_new_head_is_told_in_the_log_and_the_summary(own_store, tiny, tmp_path, start):
    data = open_dataset(own_store, labels=OWN)

    run = train(tiny(labels=OWN, init=str(start), epochs=1), data, tmp_path / "run")

    log = (run.path / "train.log").read_text()
    assert f"weights of {start}, with a new classification head" in log
    assert run.summary["new_head"] is True


def test_a_head_for_the_same_labels_is_kept(dataset, tiny, tmp_path, start):
    run = train(tiny(init=str(start), epochs=1), dataset, tmp_path / "run")

    assert run.summary["new_head"] is False
    assert "head" not in (run.path / "train.log").read_text()


def test_a_run_opens_its_patches_with_its_own_labels(own_store, tiny, tmp_path):
    data = open_dataset(own_store, labels=OWN)

    run = train(tiny(labels=OWN, epochs=1), data, tmp_path / "run")

    assert run.dataset().table.labels == OWN
    assert run.dataset(own_store)["train"].table.fingerprint() == data["train"].table.fingerprint()


def test_patches_with_other_labels_than_the_run_are_an_error(dataset, own_store, tiny, tmp_path):
    own = train(tiny(labels=OWN, epochs=1), open_dataset(own_store, labels=OWN), tmp_path / "own")

    with pytest.raises(
        UnknownLabelError, match=r"Pastures.*asked for: barley; maize; wheat.*--labels"
    ):
        own.dataset(dataset.store.path)
    with pytest.raises(UnknownLabelError, match="barley"):
        train(tiny(), open_dataset(own_store, labels=None), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_labels_that_are_not_the_19_are_an_error_unless_they_are_named(own_store):
    with pytest.raises(UnknownLabelError, match="barley"):
        open_dataset(own_store)


def test_averaged_weights_follow_the_formula():
    model = torch.nn.BatchNorm1d(2)
    average = copy.deepcopy(model)
    with torch.no_grad():
        model.weight += 1
        model.running_mean += 2
        model.num_batches_tracked += 7

    update_average(average, model, 0.1, 1)

    assert torch.allclose(average.weight, torch.full((2,), 1.9))
    assert torch.allclose(average.running_mean, torch.full((2,), 1.8))
    assert average.num_batches_tracked == 7
    assert torch.allclose(model.weight, torch.full((2,), 2.0))


def test_the_first_averages_keep_little_of_the_start():
    average, model = torch.nn.Linear(1, 1), torch.nn.Linear(1, 1)
    torch.nn.init.zeros_(average.weight)
    torch.nn.init.ones_(model.weight)

    update_average(average, model, 0.999, 1)

    assert average.weight.item() == pytest.approx(1 - 2 / 11)


def test_averaged_weights_are_validated_and_published(dataset, tiny, tmp_path):
    run = train(tiny(ema_decay=0.5, epochs=1, learning_rate=0.01), dataset, tmp_path / "run")

    saved, published = load_file(run.path / "checkpoints/last.ckpt"), weights(run)
    assert all(torch.equal(published[name], saved[f"average.{name}"]) for name in published)
    assert any(not torch.equal(published[name], saved[f"model.{name}"]) for name in published)


def test_rates_fall_from_the_head_to_the_first_layer(tiny):
    config = tiny(backbone="test_vit3", layer_decay=0.5, learning_rate=0.1)
    classifier = Classifier("test_vit3", "rgb")

    groups = make_optimiser(classifier, config).param_groups

    rates = [group["lr"] for group in groups]
    assert rates == sorted(rates, reverse=True)
    assert rates[:3] == pytest.approx([0.1, 0.05, 0.025])
    assert sum(len(group["params"]) for group in groups) == len(list(classifier.parameters()))


def test_a_long_gradient_is_shortened(dataset, tiny, tmp_path, monkeypatch):
    norms = []
    real = Training.place

    def place(self, fabric):
        real(self, fabric)
        step = self.stepper.step

        def watch():
            gradients = [weight.grad.flatten() for weight in self.classifier.parameters()]
            norms.append(float(torch.cat(gradients).norm()))
            step()

        self.stepper.step = watch

    monkeypatch.setattr(Training, "place", place)

    train(tiny(gradient_clip=1e-3, epochs=1), dataset, tmp_path / "run")

    assert norms == pytest.approx([1e-3] * 3, rel=1e-2)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes."),
        MemoryError(),
    ],
)
def test_full_memory_says_what_fits(dataset, tiny, tmp_path, monkeypatch, error):
    def fail(self, images):
        raise error

    run = tmp_path / "run"
    said = (
        r"full with 2 patches at once \(batch size 4, 1 devices, accumulate 2, precision 32-true\)"
        rf".*Set accumulate to 4, .*: reben train --resume {run} --accumulate 4$"
    )
    with monkeypatch.context() as full:
        full.setattr(Classifier, "forward", fail)
        with pytest.raises(RuntimeError, match=said):
            train(tiny(batch_size=4, accumulate=2), dataset, run)
    assert "TrainingError" in (run / "train.log").read_text()
    # The command is one that works.
    assert command(["train", "--resume", str(run), "--accumulate", "4"]) == 0
    assert Run.open(run).summary["status"] == "finished"


def test_full_memory_says_how_many_patches_did_fit(dataset, tiny, tmp_path, monkeypatch):
    real = Classifier.forward

    def fail(self, images):
        if len(images) > 1 and not self.training:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
        return real(self, images)

    monkeypatch.setattr(Classifier, "forward", fail)

    with pytest.raises(RuntimeError, match=r"3 patches at once did fit before"):
        train(tiny(batch_size=3), dataset, tmp_path / "run")


def test_validation_goes_in_as_many_parts_as_training(dataset, tiny, tmp_path, monkeypatch):
    sizes = {True: [], False: []}
    real = Classifier.forward

    def watch(self, images):
        sizes[self.training].append(len(images))
        return real(self, images)

    monkeypatch.setattr(Classifier, "forward", watch)

    train(tiny(batch_size=4, accumulate=2, epochs=1), dataset, tmp_path / "run")

    assert sizes == {True: [2, 2, 2, 1], False: [2, 2, 1]}
