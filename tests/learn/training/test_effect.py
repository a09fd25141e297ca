"""What was in effect is found out from the run, not from the settings."""

import json

import pytest
import torch

from reben.learn.config import PAPER_MATMUL_PRECISION, TrainConfig
from reben.learn.run import Run
from reben.learn.train import train
from reben.learn.training import hardware, start
from reben.learn.training.effect import what_is_in_effect
from reben.learn.training.hardware import build_fabric, choose_precision
from reben.learn.training.start import first_classifier
from reben.model.classifier import Classifier


def in_effect(num_train=1000, **settings):
    config = TrainConfig(**{"bands": "rgb", "accelerator": "cpu", **settings})
    return what_is_in_effect(config, first_classifier(config), build_fabric(config), num_train)


@pytest.mark.parametrize(
    ("settings", "dropout", "drop_path"),
    [
        ({"backbone": "test_vit3"}, 0.15, 0.15),
        ({"backbone": "test_resnet", "drop_rate": 0.25, "drop_path_rate": 0.125}, 0.25, 0.125),
        # Neither in a module nor as a function is anything dropped in a frozen backbone.
        ({"backbone": "test_vit3", "freeze_backbone": True}, 0.0, 0.0),
        ({"backbone": "test_resnet", "freeze_backbone": True}, 0.0, 0.0),
        ({"backbone": "test_resnet", "drop_rate": 0.0, "drop_path_rate": 0.0}, 0.0, 0.0),
    ],
)
def test_dropout_is_told_as_the_network_applies_it(settings, dropout, drop_path):
    found = in_effect(**settings)

    assert (found["drop_rate"], found["drop_path_rate"]) == (dropout, drop_path)


@pytest.mark.filterwarnings("ignore:You passed")
def test_16_mixed_on_a_cpu_is_told_as_what_it_ran_in():
    assert in_effect(backbone="test_vit3", precision="16-mixed")["precision"] == "bf16-mixed"
    assert in_effect(backbone="test_vit3")["precision"] == "32-true"


def test_batch_norms_see_the_patches_of_one_part_and_none_if_they_are_frozen():
    parts = in_effect(backbone="test_resnet", batch_size=100, accumulate=3)
    assert (parts["batch_size"], parts["patches_at_once"], parts["batch_norm_patches"]) == (
        *(100, 34, 34),
    )
    assert in_effect(backbone="test_resnet", freeze_backbone=True)["batch_norm_patches"] is None
    assert in_effect(backbone="test_vit3")["batch_norm_patches"] is None


def test_a_batch_is_not_larger_than_the_split():
    assert in_effect(7, backbone="test_vit3", batch_size=512)["batch_size"] == 7


def test_weights_of_a_folder_are_told_by_name_and_fingerprint_without_its_path(tmp_path):
    torch.manual_seed(1)
    model = Classifier("test_resnet", "rgb")
    model.save_pretrained(tmp_path / "secret" / "mine")

    told = in_effect(backbone="test_resnet", init=str(tmp_path / "secret" / "mine"))

    weights = told["initial_weights"]
    assert weights == {
        "kind": "model",
        "name": "mine",
        "hub_id": None,
        "revision": None,
        "sha256": model.fingerprint(),
        "new_head": False,
    }
    assert "secret" not in json.dumps(told)


def test_weights_of_the_hub_are_told_with_the_commit_that_was_read(tmp_path, monkeypatch):
    model = Classifier("test_resnet", "rgb")
    asked = []
    monkeypatch.setattr(start, "fetch_model", lambda *_: tmp_path / ("c0ffee" * 6 + "1234"))
    monkeypatch.setattr(start, "open_model", lambda name, _: (asked.append(name), model)[1])

    weights = in_effect(backbone="test_resnet", init="org/name@v1")["initial_weights"]

    commit = "c0ffee" * 6 + "1234"
    assert (weights["name"], weights["hub_id"], weights["revision"]) == (
        *("org/name", "org/name", commit),
    )
    assert asked == [f"org/name@{commit}"]


def test_pretrained_weights_are_told_by_timms_name_and_the_commit_in_the_cache(
    tmp_path, monkeypatch
):
    real = Classifier.__init__

    def without_network(self, *given, pretrained, **more):
        real(self, *given, pretrained=False, **more)

    cached = tmp_path / "c0ffee" / "model.safetensors"
    monkeypatch.setattr(Classifier, "__init__", without_network)
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *_: str(cached))

    told = in_effect(backbone="test_resnet.r160_in1k", pretrained=True)["initial_weights"]

    assert told == {
        "kind": "pretrained",
        "name": "test_resnet.r160_in1k",
        "hub_id": "timm/test_resnet.r160_in1k",
        "revision": "c0ffee",
        "new_head": True,
    }


def test_the_run_tells_how_its_precision_differs_from_the_paper(dataset, tiny, tmp_path):
    run = train(tiny(epochs=1), dataset, tmp_path / "run")

    found = {one.name: (one.other, one.own) for one in run.differences_from_paper()}
    assert found["precision"] == (
        "32-true, matrix products medium",
        "32-true, matrix products highest",
    )
    used = {**run.summary["in_effect"], "matmul_precision": PAPER_MATMUL_PRECISION}
    as_published = Run(run.path, run.config, {**run.summary, "in_effect": used})
    assert "precision" not in {one.name for one in as_published.differences_from_paper()}
    mixed = {**used, "precision": "bf16-mixed"}
    half = Run(run.path, run.config, {**run.summary, "in_effect": mixed})
    assert half.differences_from_paper()[-1].own == "bf16-mixed"
    assert run.summary["precision"] == "32-true"


def test_a_precision_that_is_the_papers_is_no_difference():
    names = [one.name for one in TrainConfig(precision="32-true").differences_from_paper()]
    assert "precision" not in names
    names = [one.name for one in TrainConfig(precision="16-mixed").differences_from_paper()]
    assert "precision" in names


@pytest.mark.parametrize(("emulated", "chosen"), [(True, "32-true"), (False, "bf16-mixed")])
def test_a_gpu_that_only_emulates_bf16_trains_in_float32(monkeypatch, emulated, chosen):
    def is_supported(including_emulation=True):
        return including_emulation or not emulated

    monkeypatch.setattr(hardware.torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(hardware.torch.cuda, "is_bf16_supported", is_supported)
    assert choose_precision(TrainConfig(bands="rgb")) == chosen
    assert choose_precision(TrainConfig(bands="rgb", accelerator="cpu", devices=2)) == "32-true"
