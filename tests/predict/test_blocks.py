"""Tiles of a product are decoded once, and only where a window is predicted."""

from collections import Counter

import numpy as np
import pytest
import rasterio
import torch

from reben.model.classifier import Classifier
from reben.predict.scene import predict_scene
from reben.predict.scene_work import SceneWork
from reben.scene.band_source import BandFile
from scene.made_up_product import make_safe, write_jp2

SIDE, TILE = 480, 120
"""4 x 4 windows of 120 pixels, which a JPEG 2000 tile of 10 m holds one of."""


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(6)
    return Classifier("test_resnet", "B05,B08", labels=("A", "B"))


@pytest.fixture
def decoded(monkeypatch):
    """Counts the 10 m tiles that are decoded: (band, row, column) -> how often."""
    found = Counter()
    read = BandFile._read_block

    def counted(self, block, columns):
        if self.placement.width == SIDE:
            for column in range(columns[0] // TILE, -(-columns[1] // TILE)):
                found[self.name.split("_")[-2], block, column] += 1
        return read(self, block, columns)

    monkeypatch.setattr(BandFile, "_read_block", counted)
    return found


def product(folder, classes):
    """A product of tiles of 120 pixels, with one class for each window."""
    made = make_safe(folder, width=SIDE, height=SIDE, block=TILE)
    scl = np.kron(np.array(classes, np.uint8), np.ones((60, 60), np.uint8))
    scl[:, -1] = 4  # no window lies beyond; a single column changes no decision
    path = made.image("SCL")
    write_jp2(path, scl, metres=20, block=60)
    return made


CLASSES = [[4, 9, 9, 4], [9, 9, 9, 9], [0, 0, 4, 4], [8, 4, 3, 10]]


def test_only_tiles_of_predicted_windows_are_decoded_and_each_once(model, decoded, tmp_path):
    made = product(tmp_path, CLASSES)

    found = predict_scene(model, made.path, tmp_path / "map.tif")

    good = np.isin(CLASSES, [4, 5])
    # A tile row here is read in blocks of at least 256 pixels, so of two rows of windows.
    assert found.num_masked == int((~good).sum())
    wanted = {("B08", row // 2, column) for row, column in np.argwhere(good).tolist()}
    assert decoded == dict.fromkeys(wanted, 1)  # and no other band of 10 m


@pytest.mark.parametrize("stride", [1200, 600])
def test_the_map_is_the_same_when_all_tiles_are_decoded(model, tmp_path, monkeypatch, stride):
    made = product(tmp_path, CLASSES)
    predict_scene(model, made.path, tmp_path / "short.tif", stride=stride)
    monkeypatch.setattr(SceneWork, "needed", lambda work, rows: None)
    predict_scene(model, made.path, tmp_path / "whole.tif", stride=stride)
    with (
        rasterio.open(tmp_path / "short.tif") as one,
        rasterio.open(tmp_path / "whole.tif") as other,
    ):
        np.testing.assert_array_equal(one.read(), other.read())
        assert one.tags() == other.tags()
