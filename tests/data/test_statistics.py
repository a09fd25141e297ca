"""Measured statistics against numpy and torch over all pixels at once."""

import json

import numpy as np
import pytest
import torch
from torch.nn import functional

import made_up
from reben.data import statistics as module
from reben.data.loader import open_dataset
from reben.data.statistics import measure_statistics, read_statistics, write_statistics
from reben.data.store import StoreWriter
from reben.errors import ConfigError, PixelValueError
from reben.model.classifier import Classifier


@pytest.fixture(scope="module")
def dataset(real_store):
    return open_dataset(real_store, "all_full")["train"]


@pytest.fixture(scope="module")
def pixels(dataset):
    return dataset.read(range(len(dataset)))


@pytest.mark.parametrize(
    ("size", "upsampling"),
    [(120, "nearest"), (128, "nearest"), (50, "nearest"), (128, "bilinear"), (120, "bicubic")],
)
def test_mean_and_deviation_are_those_of_numpy(size, upsampling, dataset, pixels, monkeypatch):
    monkeypatch.setattr(module, "_AT_ONCE", 4)  # the last part is smaller
    found = measure_statistics(dataset, size=size, upsampling=upsampling)
    align = None if upsampling == "nearest" else True
    for name, values in pixels.items():
        native = values.astype(np.float64)
        assert found.native[name] == pytest.approx((native.mean(), native.std()), rel=1e-9)
        image = torch.from_numpy(values.astype(np.float32))[:, None]
        if size != image.shape[-1]:
            image = functional.interpolate(
                image, (size, size), mode=upsampling, align_corners=align
            )
        image = image.numpy().astype(np.float64)
        statistics = found.statistics
        assert statistics.mean[name] == pytest.approx(image.mean(), rel=1e-9)
        assert statistics.std[name] == pytest.approx(image.std(), rel=1e-9)
    assert (statistics.size, statistics.upsampling) == (size, upsampling)
    assert f"on {len(dataset)} patches of the train split of BigEarthNet v2.0" in statistics.source
    assert sum(found.num_excluded.values()) == 0


@pytest.mark.parametrize("size", [120, 50])
def test_pixels_without_data_do_not_count(size, tmp_path):
    vv = made_up.band("VV")
    vv[3, 5:60] = np.nan
    found = measure_statistics(one_patch(tmp_path / "a", vv), size=size)
    assert found.num_excluded == {"VV": 55, "VH": 0}
    image = torch.from_numpy(vv)[None, None]
    image = functional.interpolate(image, (size, size)).numpy().astype(np.float64)
    assert found.statistics.mean["VV"] == pytest.approx(np.nanmean(image), rel=1e-9)
    assert found.statistics.std["VV"] == pytest.approx(np.nanstd(image), rel=1e-9)
    vv[:20] = np.nan
    with pytest.raises(PixelValueError, match=f"17% .* band VV of {made_up.patch_id(0)}"):
        measure_statistics(one_patch(tmp_path / "b", vv), size=size)


def one_patch(folder, vv):
    with StoreWriter(folder) as writer:
        writer.put(made_up.s1_name(0), {"VV": vv, "VH": made_up.band("VH")})
    made_up.write_metadata(folder / "metadata.parquet", [made_up.row(0)])
    return open_dataset(folder, "s1")["train"]


@pytest.mark.parametrize(
    ("bands", "message"),
    [
        ("s1", "VV is -12 in every pixel of these patches.* Leave it out: --bands VH$"),
        ("VV", "No other band is left"),
    ],
)
def test_a_band_that_is_the_same_everywhere_is_named(bands, message, tmp_path):
    data = one_patch(tmp_path, np.full((120, 120), -12, np.float32)).with_bands(bands)
    with pytest.raises(ConfigError, match=message):
        measure_statistics(data)


def test_values_far_from_zero_keep_their_digits():
    """The naive sum of squares would lose all of them."""
    moments = module._Moments()
    values = 1e9 + np.arange(1000.0)
    for part in np.array_split(values, 7):
        moments.add(part)
    assert (moments.mean, moments.std) == pytest.approx((values.mean(), values.std()), rel=1e-12)


def test_what_was_written_is_read_again(dataset, tmp_path):
    found = measure_statistics(dataset.with_bands("s1"), size=64)
    read = read_statistics(write_statistics(found, tmp_path / "a.json"))
    assert read == found.statistics
    assert read.source == found.statistics.source
    assert json.loads((tmp_path / "a.json").read_text())["num_patches"] == len(dataset)


def test_the_config_of_a_model_is_a_file_of_statistics(tmp_path):
    model = Classifier("test_resnet", "B11,VV", image_size=128)
    model.save_pretrained(tmp_path)
    assert read_statistics(tmp_path / "config.json") == model.config.statistics


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"band_std": [1.0]}, "not one mean and deviation for each"),
        ({"band_mean": ["a", 2]}, "band_mean.0"),
        ({"band_std": [0.0, 1.0]}, "deviation"),
        ({"upsampling": "area"}, "upsampling"),
        ({"bands": ["B10", "VV"]}, "B10"),
    ],
)
def test_a_file_that_holds_no_statistics_is_an_error(change, message, tmp_path):
    model = Classifier("test_resnet", "B11,VV")
    values = json.loads(model.config.to_json())
    path = tmp_path / "a.json"
    path.write_text(json.dumps(values | change))
    with pytest.raises((ConfigError, ValueError), match=f"{path.name}.*{message}"):
        read_statistics(path)
    with pytest.raises(ConfigError, match="reben statistics wrote"):
        read_statistics(tmp_path / "none.json")
