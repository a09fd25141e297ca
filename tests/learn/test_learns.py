"""A small backbone learns what there is to learn, from either sensor and from both."""

import numpy as np
import pytest

from made_up import patch_id, row, s1_name, write_metadata
from reben.data.loader import open_dataset
from reben.data.metadata import METADATA_FILE
from reben.data.store import StoreWriter
from reben.learn.config import TrainConfig
from reben.learn.metrics import compute_metrics
from reben.learn.train import train
from reben.spec.bands import ALL, native_size, sensor

LABELS = ("Arable land", "Inland waters", "Mixed forest", "Pastures", "Urban fabric")
SHOWN_BY = {
    "Arable land": ("B08", "B11"),
    "Inland waters": ("VV", "VH"),
    "Mixed forest": ("B03", "B05"),
    "Pastures": ("VH", "B04"),
    "Urban fabric": ("VV", "B12"),
}
NUM_TRAIN, NUM_VALIDATION = 600, 200


@pytest.fixture(scope="module")
def learnable(tmp_path_factory):
    """Noisy patches; each label adds a faint patch of signal to two bands."""
    folder = tmp_path_factory.mktemp("learns") / "store"
    chance = np.random.default_rng(11)
    table = []
    with StoreWriter(folder) as writer:
        for number in range(NUM_TRAIN + NUM_VALIDATION):
            present = [label for label in LABELS if chance.random() < 0.3] or [LABELS[number % 5]]
            bands = {name: noisy(chance, name, present) for name in ALL}
            sentinel1 = {name: bands.pop(name) for name in ("VV", "VH")}
            writer.put(patch_id(number), bands)
            writer.put(s1_name(number), sentinel1)
            split = "train" if number < NUM_TRAIN else "validation"
            table.append(row(number, split, labels=present))
    write_metadata(folder / METADATA_FILE, table)
    return open_dataset(folder, labels=LABELS)


def noisy(chance, name, present):
    side = native_size(name)
    strength = sum(name in SHOWN_BY[label] for label in present)
    signal = np.zeros((side, side), np.float32)
    half, (y, x) = side // 2, chance.integers(0, side // 2, 2)
    signal[y : y + half, x : x + half] = strength
    noise = chance.normal(size=(side, side)).astype(np.float32)
    if sensor(name) == "Sentinel-1":
        return np.float32(-15) + noise + 3 * signal
    return (1500 + 200 * noise + 900 * signal).clip(0, 9999).astype(np.uint16)


def figure(dataset, folder, bands, seed):
    config = TrainConfig(
        backbone="test_resnet",
        bands=bands,
        accelerator="cpu",
        labels=LABELS,
        epochs=8,
        patience=8,
        batch_size=32,
        learning_rate=3e-3,
        drop_rate=0.0,
        seed=seed,
    )
    return train(config, dataset, folder).summary["best_validation_macro_average_precision"]


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_it_learns_and_both_sensors_are_at_least_as_good_as_either(learnable, tmp_path, seed):
    labels = learnable["validation"].table.multi_hot()
    prior = learnable["train"].table.multi_hot().mean(0, dtype=np.float32)
    always = np.broadcast_to(prior, labels.shape)
    random = np.random.default_rng(seed).random(labels.shape, np.float32)
    baselines = [
        compute_metrics(scores, labels, LABELS).macro.average_precision
        for scores in (always, random)
    ]

    found = {
        bands: figure(learnable, tmp_path / bands, bands, seed) for bands in ("s1", "s2", "all")
    }

    assert found["all"] > max(baselines) + 0.3
    assert found["all"] >= max(found["s1"], found["s2"]) - 0.01
