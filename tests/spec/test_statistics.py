import json
import pickle
import re
from dataclasses import FrozenInstanceError

import pytest

from reben.errors import ConfigError, UnknownBandError
from reben.spec.bands import ALL_FULL, PIXEL_METRES, BandSet
from reben.spec.statistics import UPSAMPLING, Statistics, published_sizes, published_statistics

SIZES = (60, 120, 128)


def made_up(**changes):
    parts = {
        "mean": {"VV": -12.5, "B02": 438.0, "B11": 1568.0},
        "std": {"VV": 5.0, "B02": 607.0, "B11": 1070.0},
        "size": 120,
        "upsampling": "nearest",
        "source": "made up for a test",
    }
    return Statistics(**parts | changes)


@pytest.fixture(scope="module")
def facts(golden):
    return json.loads((golden / "facts" / "band_statistics.json").read_text(encoding="utf-8"))


# Facts -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("upsampling", UPSAMPLING)
@pytest.mark.parametrize("size", SIZES)
def test_statistics_are_the_published_ones_for_their_size_and_upsampling(size, upsampling, facts):
    statistics = published_statistics(size, upsampling)

    assert dict(statistics.mean) == facts["mean"][f"{size}_{upsampling}"]
    assert dict(statistics.std) == facts["std"][f"{size}_{upsampling}"]
    assert (statistics.size, statistics.upsampling) == (size, upsampling)


def test_the_default_is_what_the_published_weights_were_trained_with(facts):
    statistics = published_statistics()

    assert dict(statistics.mean) == facts["mean"]["120_nearest"]
    assert (statistics.size, statistics.upsampling) == (120, "nearest")


def test_every_band_has_published_statistics():
    assert set(published_statistics().mean) == set(PIXEL_METRES)


def test_vv_is_brighter_than_vh():
    # Two benchmark packages hold these two swapped.
    mean = published_statistics().mean

    assert mean["VV"] == pytest.approx(-12.6, abs=0.1)
    assert mean["VH"] == pytest.approx(-19.4, abs=0.1)


def test_published_sizes_are_those_in_the_file():
    assert published_sizes() == SIZES


def test_published_statistics_say_where_they_come_from():
    assert "ConfigILM 0.7.1" in published_statistics().source


# Statistics --------------------------------------------------------------------------------------


def test_select_keeps_the_figures_of_the_asked_bands_in_their_order():
    chosen = made_up().select(BandSet(("B11", "VV")))

    assert list(chosen.mean.items()) == [("B11", 1568.0), ("VV", -12.5)]
    assert list(chosen.std.items()) == [("B11", 1070.0), ("VV", 5.0)]
    assert chosen.source == "made up for a test"


def test_selecting_all_bands_changes_nothing():
    assert published_statistics().select(ALL_FULL) == published_statistics()


def test_statistics_survive_pickling():
    again = pickle.loads(pickle.dumps(made_up()))

    assert again == made_up()
    assert again.source == "made up for a test"


def test_provenance_does_not_make_equal_figures_unequal():
    assert made_up(source="elsewhere") == made_up()


def test_statistics_cannot_be_changed():
    statistics = made_up()

    with pytest.raises(FrozenInstanceError):
        statistics.size = 60
    with pytest.raises(TypeError):
        statistics.mean["VV"] = 0.0


def test_statistics_do_not_follow_the_mapping_they_were_made_from():
    mean = {"VV": -12.5}
    statistics = made_up(mean=mean, std={"VV": 5.0})
    mean["VV"] = 0.0

    assert statistics.mean["VV"] == -12.5


# Errors ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "upsampling"), [(96, "nearest"), (120, "lanczos"), (0, "nearest")]
)
def test_asking_for_what_was_not_published_says_what_was(size, upsampling):
    with pytest.raises(ConfigError, match=rf"{size} pixels with {upsampling}.*60, 120, 128"):
        published_statistics(size, upsampling)


def test_means_and_deviations_must_speak_of_the_same_bands():
    with pytest.raises(ConfigError, match="same bands"):
        made_up(std={"VV": 5.0, "B02": 607.0})


@pytest.mark.parametrize("std", [0.0, -1.0, float("nan"), float("inf"), 1e-320, 1e30, True, "3"])
def test_a_deviation_that_cannot_be_is_refused(std):
    with pytest.raises(
        ConfigError, match=f"B02 has mean .* and deviation {re.escape(repr(std))}: the"
    ):
        made_up(std={"VV": 5.0, "B02": std, "B11": 1070.0})


def test_a_mean_that_is_not_finite_is_refused():
    with pytest.raises(ConfigError, match="VV has mean nan"):
        made_up(mean={"VV": float("nan"), "B02": 438.0, "B11": 1568.0})


def test_an_unknown_band_is_refused():
    with pytest.raises(UnknownBandError, match="B10"):
        made_up(mean={"B10": 1.0}, std={"B10": 1.0})


def test_an_unknown_upsampling_is_refused():
    with pytest.raises(ConfigError, match=r"'lanczos'.*nearest, bilinear, bicubic"):
        made_up(upsampling="lanczos")


def test_selecting_a_band_without_figures_names_it():
    with pytest.raises(ConfigError, match=r"for B05; they cover VV, B02, B11"):
        made_up().select(BandSet(("B02", "B05")))
