"""What a device changes: the same code trains and measures on a CPU here, and on CUDA elsewhere."""

import csv
import os
import subprocess
import sys

import pytest
import torch

from reben.errors import TrainingError
from reben.learn.config import TrainConfig
from reben.learn.predict import predict_dataset
from reben.learn.run import Run
from reben.learn.train import train
from reben.learn.training.pauses import Pauses
from reben.model.classifier import Classifier
from reben.model.inference import optimise_for_inference
from reben.model.open import open_model

EPOCHS = 2


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def device(request):
    """Where to compute; a GPU in full float32, so that it can be held against a CPU."""
    tf32 = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    yield request.param
    torch.backends.cudnn.allow_tf32 = tf32


@pytest.fixture(scope="module")
def settings():
    # Devices draw dropout from generators of their own.
    none = {"drop_rate": 0.0, "drop_path_rate": 0.0}
    return {"batch_size": 4, "epochs": EPOCHS, "bands": "s2", "learning_rate": 1e-3, **none}


def losses(run):
    with (run.path / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == EPOCHS
    return [float(row[name]) for row in rows for name in ("train_loss", "validation_loss")]


@pytest.fixture(scope="module")
def reference(dataset, settings, tmp_path_factory):
    """The losses of a training on a CPU in float32."""
    config = TrainConfig(
        backbone="test_resnet",
        accelerator="cpu",
        precision="32-true",
        channels_last="no",
        **settings,
    )
    return losses(train(config, dataset, tmp_path_factory.mktemp("devices") / "cpu"))


@pytest.mark.parametrize(
    ("changes", "apart"),
    [
        ({"precision": "32-true", "channels_last": "no"}, 1e-4),
        ({"precision": "32-true", "channels_last": "yes"}, 1e-4),
        ({"precision": "32-true", "accumulate": 2}, 5e-2),
        ({"precision": "bf16-mixed"}, 5e-2),
    ],
    ids=["float32", "channels last", "in parts", "bf16"],
)
def test_the_losses_are_those_of_a_cpu(
    dataset, tiny, tmp_path, device, settings, reference, changes, apart
):
    config = tiny(**{**settings, **changes, "accelerator": device})
    run = train(config, dataset, tmp_path / "run")
    assert losses(run) == pytest.approx(reference, abs=apart)
    assert run.summary["in_effect"]["device"] == device


def test_a_training_that_was_stopped_goes_on(
    dataset, tiny, tmp_path, device, settings, reference, monkeypatch
):
    config = tiny(**settings, accelerator=device, precision="32-true", channels_last="no")
    real, steps = Pauses.after_step, []

    def stop(self, **words):
        steps.append(1)
        if len(steps) == 2:
            raise KeyboardInterrupt
        return real(self, **words)

    with monkeypatch.context() as patched:
        patched.setattr(Pauses, "after_step", stop)
        with pytest.raises(KeyboardInterrupt):
            train(config, dataset, tmp_path / "run")
    run = train(config, dataset, tmp_path / "run", resume=True)
    assert losses(run) == pytest.approx(reference, abs=1e-4)


@pytest.mark.parametrize("bands", ["s2", "all"])
def test_scores_are_those_of_a_cpu(dataset, device, bands):
    torch.manual_seed(0)
    model = Classifier("test_resnet", bands).eval()
    expected = predict_dataset(model, dataset["test"], optimise=False).scores
    found = predict_dataset(open_model(model, device), dataset["test"]).scores
    assert found == pytest.approx(expected, abs=1e-5)


def test_a_compiled_model_gives_the_same_logits(device):
    torch.manual_seed(0)
    model = Classifier("test_resnet", "rgb").eval()
    images = torch.randn(3, 3, 120, 120)
    with torch.inference_mode():
        expected = model(images)
        fast = optimise_for_inference(model.to(device), compile=device == "cuda")
        assert fast(images.to(device)).cpu().numpy() == pytest.approx(expected.numpy(), abs=1e-4)


@pytest.mark.gpu
@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two GPUs")
def test_two_gpus_over_nccl_give_the_losses_of_one(dataset, settings, reference, tmp_path):
    flags = [f"{name}={value}" for name, value in settings.items()]
    command = [
        sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone",
        "-m", "reben", "train", "--data", dataset.store.path, "--out", tmp_path / "run", "--set",
        "backbone=test_resnet", "accelerator=cuda", "devices=2", "precision=32-true",
        "channels_last=no", *flags,
    ]  # fmt: skip
    subprocess.run(command, check=True, env=os.environ | {"NVIDIA_TF32_OVERRIDE": "0"})
    assert losses(Run.open(tmp_path / "run")) == pytest.approx(reference, abs=1e-4)


@pytest.mark.gpu
def test_a_full_gpu_says_what_to_do(dataset, tiny, tmp_path, settings):
    torch.cuda.set_per_process_memory_fraction(1e-4)
    try:
        with pytest.raises(TrainingError, match="Set accumulate to 2"):
            train(tiny(**settings, accelerator="cuda"), dataset, tmp_path / "run")
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
