import json
from dataclasses import replace

import numpy as np
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
        ({"thresholds": (1.5,) * 19}, r"thresholds\.0: .*less than or equal to 1; it is 1\.5"),
        ({"thresholds": (float("nan"),) * 19}, r"thresholds\.0: .*it is nan"),
        ({"thresholds": (True,) * 19}, r"thresholds\.0: .*it is True"),
        ({"drop_rate": -0.1}, "drop_rate: .*greater than or equal to 0"),
        ({"drop_rate": "0.1"}, "drop_rate: .*valid number"),
        ({"drop_path_rate": float("nan")}, "drop_path_rate: .*it is nan"),
        ({"temperature": float("nan")}, "temperature: .*it is nan"),
        ({"temperature": True}, "temperature: .*it is True"),
        ({"temperature": 1e-300}, r"temperature: .*greater than or equal to 0\.001"),
        ({"backbone": None}, "timm_model_name: .*valid string"),
        ({"labels": ("A", "A")}, "'A' is there twice"),
        ({"labels": ("A", "")}, "'' is empty"),
        ({"labels": ("A", "  ")}, "'  ' is empty"),
        ({"labels": ("A", "B\nC")}, r"'B\\nC' holds a line break"),
        ({"labels": ("A", "B\u202eC")}, r"'B\\u202eC' holds"),
        ({"labels": (1, 2)}, "1 is no text"),
        ({"labels": "Forest"}, "not the text 'Forest'"),
        ({"labels": ()}, "1 to 10,000 of them, not 0"),
        ({"image_size": 64}, "120 pixels do not fit images of 64"),
    ],
)
def test_values_that_cannot_be_are_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        ModelConfig(**{"backbone": "resnet18", "bands": S2, **changes})


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
        ("label_names", [""] * 19, "'' is there twice"),
        ("label_names", ["x" * 201, *LABELS[1:]], "longer than 200 characters"),
        ("image_size", 20_000, "image_size: .*less than or equal to 2048"),
        ("band_std", [1e-320] * 10, r"band_std\.0: .*greater than or equal to"),
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


def test_numbers_of_numpy_are_taken_and_written_as_those_of_python():
    half = np.full(19, 0.5, np.float32)
    config = ModelConfig("resnet18", S2, drop_rate=np.float32(0.25), thresholds=tuple(half))
    assert ModelConfig.from_dict(json.loads(config.to_json())) == config
