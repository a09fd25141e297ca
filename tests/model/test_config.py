import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reben.errors import ConfigError, UnknownBandError
from reben.model.config import Calibration, ModelConfig
from reben.spec.bands import ALL, ALL_FULL, S2, BandSet
from reben.spec.labels import LABELS
from reben.spec.statistics import published_statistics


@given(
    st.permutations(ALL_FULL.names),
    st.integers(1, 14),
    st.lists(st.floats(0, 1), min_size=19, max_size=19),
    st.sampled_from(["nearest", "bilinear", "bicubic"]),
    st.sampled_from([60, 120, 128]),
)
def test_a_config_comes_back_from_json_as_it_was(order, number, thresholds, upsampling, size):
    config = ModelConfig(
        "resnet18",
        BandSet(tuple(order[:number])),
        statistics=published_statistics(size, upsampling),
        image_size=size,
        thresholds=tuple(thresholds),
    )
    again = ModelConfig.from_dict(json.loads(config.to_json()))
    assert again == config
    assert again.statistics.source == config.statistics.source


def test_the_keys_of_the_published_format_are_there_with_its_types(golden):
    published = json.loads((golden / "test_resnet-all" / "config.json").read_text())
    ours = ModelConfig("test_resnet", ALL).to_dict()
    assert published.keys() <= ours.keys()
    same = published.keys() - {"class_names"}
    assert {key: ours[key] for key in same} == {key: published[key] for key in same}
    assert ours["class_names"] == list(LABELS)


def test_statistics_are_those_of_the_bands_alone():
    config = ModelConfig("resnet18", BandSet(("B04", "VV")))
    assert set(config.statistics.mean) == {"B04", "VV"}
    assert config.to_dict()["band_mean"] == pytest.approx([588.4096, -12.6439], abs=1e-3)


def test_thresholds_are_one_half_unless_given():
    assert ModelConfig("resnet18", S2).thresholds == (0.5,) * 19


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"thresholds": (0.5,)}, "1 thresholds for 19 labels"),
        ({"thresholds": (1.5,) * 19}, r"thresholds must lie in 0\.\.1"),
        ({"drop_rate": -0.1}, r"drop_rate must lie in 0\.\.1"),
        ({"labels": ("A", "A")}, "each label only once"),
        ({"image_size": 64}, "120 pixels do not fit images of 64"),
    ],
)
def test_values_that_cannot_be_are_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        ModelConfig("resnet18", S2, **changes)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("band_mean", [1.0], "says band_mean 1 but names 10"),
        ("band_mean", [1e300] * 10, r"band_mean\.0: .*less than or equal to 1000000"),
        ("band_std", ["x"] * 10, r"band_std\.0: .*valid number; it is 'x'"),
        ("band_std", [0.0] * 10, r"band_std\.0: .*greater than or equal to"),
        ("band_std", [float("inf")] * 10, r"band_std\.0: .*it is inf"),
        ("band_std", [10**400] * 10, r"band_std\.0: .*1000000"),
        ("label_names", "all", "label_names: .*valid (array|tuple)"),
        ("label_names", [1] * 19, r"label_names\.0: .*valid string"),
        ("image_size", 120.5, "image_size: .*valid integer"),
        ("image_size", 1 << 40, "image_size: .*less than"),
        ("drop_rate", True, "drop_rate: .*valid number"),
        ("thresholds", [float("nan")] * 19, r"thresholds\.0: .*it is nan"),
        ("temperature", -1e308, "temperature"),
        ("upsampling", "lanczos", "upsampling: .*'nearest'"),
        ("tuned_on", {"split": 3}, r"tuned_on\.split: .*valid string"),
        ("channels", 12, "says channels 12 but names 10"),
        ("classes", 43, "says classes 43 but names 19"),
    ],
)
def test_a_damaged_config_names_the_key(key, value, message):
    values = {**ModelConfig("resnet18", S2).to_dict(), key: value}
    with pytest.raises(ConfigError, match=message):
        ModelConfig.from_dict(values)


def test_a_missing_key_is_named():
    values = ModelConfig("resnet18", S2).to_dict()
    del values["upsampling"]
    with pytest.raises(ConfigError, match="upsampling: Field required"):
        ModelConfig.from_dict(values)


def test_an_unknown_band_is_named():
    values = {**ModelConfig("resnet18", S2).to_dict(), "bands": ["B10"]}
    with pytest.raises(UnknownBandError, match="B10"):
        ModelConfig.from_dict(values)


def test_keys_of_a_later_version_are_left_alone():
    values = {**ModelConfig("resnet18", S2).to_dict(), "something_new": 1}
    assert ModelConfig.from_dict(values).bands == S2


def test_a_calibration_is_written_once_and_comes_back_whole():
    tuned = Calibration(1.5, (0.25,) * 19, "validation", "ab12", 7, ("Pastures",))
    config = ModelConfig(
        "resnet18", S2, temperature=1.5, thresholds=tuned.thresholds, tuned_on=tuned
    )
    written = json.loads(config.to_json())

    assert written["tuned_on"] == {
        "split": "validation",
        "fingerprint": "ab12",
        "num_patches": 7,
        "kept": ["Pastures"],
    }
    assert ModelConfig.from_dict(written).tuned_on == tuned


def test_a_calibration_has_the_temperature_and_thresholds_of_its_config():
    tuned = Calibration(1.5, (0.25,) * 19, "validation", "ab12", 7)
    config = ModelConfig("resnet18", S2, temperature=2.0, tuned_on=tuned)

    assert config.tuned_on == replace(tuned, temperature=2.0, thresholds=(0.5,) * 19)
