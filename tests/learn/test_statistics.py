"""Trainings with band statistics of their own, and images of other sizes than 120 pixels."""

import numpy as np
import pytest

import made_up
from reben.app.cli import run as command
from reben.data.loader import open_dataset
from reben.data.statistics import measure_statistics, read_statistics, write_statistics
from reben.errors import ConfigError
from reben.learn.config import TrainConfig
from reben.learn.run import Run
from reben.learn.train import train
from reben.model.open import open_model

TINY = {"backbone": "test_resnet", "bands": "B04,VV", "epochs": 1, "batch_size": 3}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return open_dataset(made_up.write_store(tmp_path_factory.mktemp("statistics") / "store"))


def fit(data, out, **settings):
    return train(TrainConfig(**TINY, accelerator="cpu", **settings), data, out)


@pytest.mark.parametrize("size", [64, 128, 224])
def test_auto_measures_the_train_patches_at_the_size_of_the_images(size, data, tmp_path):
    run = fit(data, tmp_path / "run", image_size=size, statistics="auto")
    model = open_model(run)
    expected = measure_statistics(data["train"].with_bands("B04,VV"), size=size).statistics
    assert model.config.statistics == expected
    assert "on 6 patches of the train split of Ramps" in model.config.statistics.source
    assert run.summary["statistics_source"] == model.config.statistics.source
    assert read_statistics(run.path / "statistics.json") == expected
    images = model.preprocess(as_tensors(data))
    assert images.shape[-1] == size
    assert float(images.mean()) == pytest.approx(0, abs=1e-3)
    assert model.score_images(images).values.shape == (6, 19)


def as_tensors(data):
    import torch

    pixels = data["train"].with_bands("B04,VV").read(range(6))
    return {name: torch.from_numpy(values.astype(np.float32)) for name, values in pixels.items()}


def test_a_file_of_statistics_is_taken_by_name_and_the_card_says_whose_it_is(data, tmp_path):
    measured = measure_statistics(data["test"])
    path = write_statistics(measured, tmp_path / "of-somebody.json")
    run = fit(data, tmp_path / "run", statistics=str(path))
    found = open_model(run).config.statistics
    assert found == measured.statistics.select(found_bands := run.config.band_set)
    assert found_bands.names == ("B04", "VV")
    told = {one.name: one.own for one in run.differences_from_paper() if one.name == "statistics"}
    assert told == {"statistics": str(path)}


def test_a_file_for_another_size_or_without_a_band_is_refused(data, tmp_path):
    path = write_statistics(measure_statistics(data["train"]), tmp_path / "a.json")
    with pytest.raises(ConfigError, match=r"reben statistics .* --image-size 64 --upsampling nea"):
        fit(data, tmp_path / "run", image_size=64, statistics=str(path))
    write_statistics(measure_statistics(data["train"].with_bands("s1")), path)
    with pytest.raises(ConfigError, match="No statistics for B04"):
        fit(data, tmp_path / "run", statistics=str(path))
    assert not (tmp_path / "run").exists()


def test_without_published_statistics_the_cure_is_named():
    with pytest.raises(ConfigError, match=r"224 .*--statistics auto"):
        TrainConfig(image_size=224)
    assert TrainConfig(image_size=224, statistics="auto").image_size == 224
    with pytest.raises(ConfigError, match="at most 2048"):
        TrainConfig(image_size=2049, statistics="auto")


def test_a_resumed_run_keeps_the_statistics_that_it_began_with(data, tmp_path, monkeypatch):
    path = write_statistics(measure_statistics(data["test"]), tmp_path / "a.json")

    def killed(*_args, **_settings):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("reben.learn.training.loop.Loop.run", killed)
        with pytest.raises(KeyboardInterrupt):
            fit(data, tmp_path / "run", statistics=str(path))
    path.unlink()
    before = read_statistics(tmp_path / "run" / "statistics.json")
    assert command(["train", "--resume", str(tmp_path / "run")]) == 0
    run = Run.open(tmp_path / "run")
    assert open_model(run).config.statistics == before
    assert run.summary["statistics_source"] == before.source


def test_a_model_with_other_statistics_is_no_start_unless_they_are_named(data, tmp_path):
    first = fit(data, tmp_path / "first", statistics="auto")
    with pytest.raises(ConfigError, match=r"other statistics.*config\.json"):
        fit(data, tmp_path / "run", init=str(first.path))
    own = str(first.best / "config.json")
    run = fit(data, tmp_path / "run", init=str(first.path), statistics=own)
    assert open_model(run).config.statistics == open_model(first).config.statistics


def test_the_verb_writes_what_training_takes(data, tmp_path, capsys):
    out = tmp_path / "a.json"
    words = ["statistics", str(data.store.path), "--bands", "B04,VV", "--image-size", "64"]
    assert command([*words, "--out", str(out)]) == 0
    table = capsys.readouterr()
    assert "6 patches of the train split of Ramps" in table.err
    expected = measure_statistics(data["train"].with_bands("B04,VV"), size=64)
    assert read_statistics(out) == expected.statistics
    assert f"{expected.native['B04'][0]:.4f}" in table.out
    fit(data, tmp_path / "run", image_size=64, statistics=str(out))
