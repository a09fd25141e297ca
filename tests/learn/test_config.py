import dataclasses
import inspect
import subprocess
import sys
import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reben.errors import BandsError, ConfigError, UnknownBandError
from reben.learn.config import SETTINGS, TrainConfig

NAMES = [field.name for field in dataclasses.fields(TrainConfig)]
configs = st.builds(
    TrainConfig,
    backbone=st.text(st.characters(exclude_categories=["Cs"]), min_size=1).map(lambda x: f"a{x}b"),
    bands=st.sampled_from(["s1", "s2", "all", "B08,B04"]),
    epochs=st.integers(1, 10_000),
    learning_rate=st.floats(1e-300, 1e3),
    weight_decay=st.floats(0, 1e3),
    warmup_steps=st.none() | st.integers(0, 10**12),
    drop_rate=st.floats(0, 0.999),
    seed=st.integers(0, 2**32 - 1),
    flips=st.booleans(),
    upsampling=st.sampled_from(["nearest", "bilinear", "bicubic"]),
    image_size=st.sampled_from([60, 120, 128]),
    precision=st.sampled_from(["auto", "32-true", "16-mixed", "bf16-mixed"]),
    accumulate=st.integers(1, 8),
    gradient_clip=st.none() | st.floats(1e-9, 1e9),
    loss=st.sampled_from(["bce", "focal", "asymmetric"]),
    ema_decay=st.none() | st.floats(0, 0.9999),
    init=st.none() | st.just("some/model"),
    labels=st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), unique=True).map(
        tuple
    ),
)


def test_the_defaults_are_the_recipe_of_the_paper():
    config = TrainConfig()

    recipe = (config.batch_size, config.epochs, config.patience, config.learning_rate)
    assert recipe == (512, 100, 5, 0.001)
    assert (config.weight_decay, config.drop_rate, config.drop_path_rate) == (0.01, 0.15, 0.15)
    assert (config.seed, config.flips, config.upsampling, config.pretrained) == (
        42,
        True,
        "nearest",
        False,
    )
    assert (config.image_size, config.warmup_steps) == (120, None)


@given(configs)
def test_settings_survive_toml(config):
    assert TrainConfig.from_toml(config.to_toml()) == config


def test_toml_is_flat_and_leaves_out_what_is_unset():
    values = tomllib.loads(TrainConfig(learning_rate=2.5e-5, bands="all").to_toml())

    unset = {"warmup_steps", "num_workers", "gradient_clip", "ema_decay", "init", "labels"}
    assert list(values) == [name for name in NAMES if name not in unset]
    assert (values["learning_rate"], values["bands"], values["flips"]) == (2.5e-5, "all", True)


def test_what_toml_does_not_name_keeps_its_default():
    assert TrainConfig.from_toml("epochs = 7\n") == TrainConfig(epochs=7)


def test_an_unknown_setting_is_an_error_that_lists_the_known_ones():
    with pytest.raises(ConfigError, match=r"learning_rte.*Did you mean learning_rate\?.*backbone"):
        TrainConfig.from_toml("learning_rte = 0.1")


def test_a_text_that_is_no_toml_is_an_error():
    with pytest.raises(ConfigError, match="TOML"):
        TrainConfig.from_toml("epochs: 7")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("backbone", ""),
        ("backbone", None),
        ("epochs", 0),
        ("epochs", 2.0),
        ("epochs", True),
        ("epochs", "10"),
        ("batch_size", 0),
        ("patience", 0),
        ("batch_size", 10**22),
        ("devices", 0),
        ("devices", 10**6),
        ("num_workers", 10**6),
        ("learning_rate", 1e300),
        ("weight_decay", 1e308),
        ("epochs", 10**22),
        ("learning_rate", 0.0),
        ("learning_rate", -0.1),
        ("learning_rate", float("nan")),
        ("learning_rate", float("inf")),
        ("weight_decay", -1e-9),
        ("warmup_steps", -1),
        ("epochs", -(10**400)),
        ("drop_rate", 1.0),
        ("drop_path_rate", -0.1),
        ("seed", -1),
        ("seed", 2**32),
        ("flips", 1),
        ("upsampling", "cubic"),
        ("image_size", 100),
        ("pretrained", "yes"),
        ("accelerator", "abacus"),
        ("precision", "bf16-true"),
        ("num_nodes", 0),
        ("accumulate", 0),
        ("compile", "yes"),
        ("channels_last", True),
        ("num_workers", -1),
        ("checkpoint_minutes", 0.0),
        ("gradient_clip", -1.0),
        ("loss", "hinge"),
        ("label_smoothing", 1.0),
        ("ema_decay", 1.0),
        ("band_dropout", 1.5),
        ("init", " "),
        ("layer_decay", 0.0),
        ("labels", "Pastures"),
        ("labels", ("Pastures", "Pastures")),
    ],
)
def test_a_value_that_cannot_be_is_an_error_that_names_the_setting_and_the_value(name, value):
    with pytest.raises(ConfigError) as caught:
        TrainConfig(**{name: value})

    assert name in str(caught.value)
    assert str(value) in str(caught.value)


def test_unknown_bands_are_an_error():
    with pytest.raises(UnknownBandError, match="B10"):
        TrainConfig(bands="B02,B10")


def test_repeated_bands_are_an_error():
    with pytest.raises(BandsError, match="B02"):
        TrainConfig(bands="B02,B02")


def test_a_whole_number_may_stand_for_a_float():
    assert repr(TrainConfig(learning_rate=1).learning_rate) == "1.0"


def test_the_band_set_keeps_the_order_of_the_text():
    assert TrainConfig(bands="B08,B04").band_set.names == ("B08", "B04")


def test_the_defaults_do_not_differ_from_the_paper():
    assert TrainConfig().differences_from_paper() == []


def test_differences_from_the_paper_give_both_values():
    config = TrainConfig(epochs=40, batch_size=6, warmup_steps=4)

    assert config.differences_from_paper() == [
        ("epochs", 100, 40),
        ("batch_size", 512, 6),
        ("warmup_steps", 1000, 4),
    ]


def test_backbone_bands_and_hardware_are_no_difference_from_the_paper():
    config = TrainConfig(backbone="resnet18", bands="all", accelerator="cpu", devices=4)

    assert config.differences_from_paper() == []


def test_the_papers_own_warm_up_is_no_difference():
    assert TrainConfig(warmup_steps=1000).differences_from_paper() == []


def test_differences_from_another_config_give_both_values():
    changed = TrainConfig(seed=7).differences_from(TrainConfig(epochs=3))

    assert changed == [("epochs", 3, 100), ("seed", 42, 7)]


def test_a_batch_that_cannot_be_shared_is_an_error():
    with pytest.raises(ConfigError, match=r"batch_size 7.*4 devices in 2 parts"):
        TrainConfig(batch_size=7, devices=2, num_nodes=2, accumulate=2)


def test_two_kinds_of_first_weights_are_an_error():
    with pytest.raises(ConfigError, match="init some/model and pretrained"):
        TrainConfig(init="some/model", pretrained=True)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("learning_rate", float("inf"), "must be above 0 and at most 1000 and finite; got inf"),
        ("layer_decay", 2.0, "must be above 0 and at most 1; got 2.0"),
        ("epochs", 0, "must be at least 1 and at most 1000000; got 0"),
        ("backbone", " a", "must be the name of an architecture; got ' a'"),
    ],
)
def test_an_error_says_which_values_are_allowed(name, value, said):
    with pytest.raises(ConfigError, match=f"^{name} {said}"):
        TrainConfig(**{name: value})


def test_huge_counts_are_numbers_like_others():
    assert TrainConfig(warmup_steps=10**400).warmup_steps == 10**400


def test_a_setting_is_called_by_its_name_in_words_unless_the_card_has_another():
    assert SETTINGS["batch_size"].card == "Batch size"
    assert SETTINGS["drop_rate"].card == "Dropout"


def test_settings_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        TrainConfig().epochs = 3


@pytest.mark.parametrize("name", NAMES)
def test_every_setting_is_described(name):
    assert f"\n    {name}: " in inspect.getdoc(TrainConfig)


def test_settings_need_no_heavy_package():
    code = "import sys, reben.learn.config; print({'torch', 'numpy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "set()"
