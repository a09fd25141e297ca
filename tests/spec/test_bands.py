import json
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reben.errors import BandsError, UnknownBandError
from reben.spec.bands import (
    ALL,
    ALL_FULL,
    BAND_SETS,
    BANDS,
    PIXEL_METRES,
    RGB,
    S1,
    S2,
    S2_FULL,
    TEN_METRES,
    BandSet,
    native_size,
    sensor,
)

ORDERED_NAMES = st.lists(st.sampled_from(sorted(PIXEL_METRES)), min_size=1, unique=True)


@pytest.fixture(scope="module")
def orders(golden):
    return json.loads((golden / "facts" / "band_orders.json").read_text(encoding="utf-8"))


# Facts -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bands", "published"),
    [
        (S1, "S1"),
        (S2, "10m_20m"),
        (ALL, "S1_10m_20m"),
        (S2_FULL, "S2"),
        (ALL_FULL, "ALL"),
        (RGB, "RGB"),
        (TEN_METRES, "10m"),
    ],
)
def test_a_named_set_has_the_order_of_the_current_reference(bands, published, orders):
    assert list(bands) == orders["0.7.1"]["STANDARD_BANDS"][published]


@pytest.mark.parametrize(("bands", "channels"), [(S1, 2), (S2, 10), (ALL, 12), (ALL_FULL, 14)])
def test_a_named_set_has_the_order_that_the_reference_gives_a_channel_count(
    bands, channels, orders
):
    assert list(bands) == orders["0.7.1"]["channel_configurations"][str(channels)]


@pytest.mark.parametrize(("metres", "published"), [(10, "10m"), (20, "20m"), (60, "60m")])
def test_sentinel2_bands_have_their_published_pixel_size(metres, published, orders):
    names = {name for name in S2_FULL if PIXEL_METRES[name] == metres}

    assert names == set(orders["0.7.1"]["STANDARD_BANDS"][published])


def test_there_are_fourteen_bands_and_no_b10():
    assert len(PIXEL_METRES) == 14
    assert "B10" not in PIXEL_METRES


@pytest.mark.parametrize(("name", "pixels"), [("VH", 120), ("B08", 120), ("B8A", 60), ("B01", 20)])
def test_native_size_is_the_side_of_a_patch_in_pixels_of_the_band(name, pixels):
    assert native_size(name) == pixels


def test_sentinel2_bands_and_only_these_have_a_spectrum_in_the_order_of_their_names():
    spectra = {name: band.spectrum for name, band in BANDS.items() if band.spectrum}
    assert set(spectra) == {name for name in ALL_FULL if sensor(name) == "Sentinel-2"}
    assert sorted(spectra, key=lambda name: spectra[name].centre_micrometres) == [
        *("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B11", "B12")
    ]


def test_the_sensors_split_the_bands():
    assert [name for name in ALL_FULL if sensor(name) == "Sentinel-1"] == ["VV", "VH"]
    assert ALL_FULL.of_sensor("Sentinel-1") == S1.names
    assert ALL_FULL.of_sensor("Sentinel-2") == S2_FULL.names


# Band sets ---------------------------------------------------------------------------------------


@given(ORDERED_NAMES)
def test_parse_undoes_str(names):
    bands = BandSet(tuple(names))

    assert BandSet.parse(str(bands)) == bands


@given(ORDERED_NAMES)
def test_parse_takes_a_band_set_and_names_in_their_order(names):
    bands = BandSet(tuple(names))

    assert BandSet.parse(bands) == BandSet.parse(names) == BandSet.parse(iter(names)) == bands


def test_parse_reads_names_of_a_sequence_as_they_are():
    with pytest.raises(UnknownBandError, match="'b02'"):
        BandSet.parse(["b02"])


@given(ORDERED_NAMES)
def test_word_is_a_text_that_parse_reads_as_the_same_set(names):
    bands = BandSet(tuple(names))

    assert BandSet.parse(bands.word) == bands


@given(ORDERED_NAMES)
def test_index_is_the_channel_of_a_band(names):
    bands = BandSet(tuple(names))

    assert [bands.index(name) for name in names] == list(range(len(names)))


@given(ORDERED_NAMES, st.sets(st.sampled_from(sorted(PIXEL_METRES))))
def test_missing_from_keeps_the_order_of_the_set(names, available):
    missing = BandSet(tuple(names)).missing_from(available)

    assert [name for name in names if name in missing] == list(missing)
    assert set(missing) == set(names) - available


@pytest.mark.parametrize("word", BAND_SETS)
def test_a_word_parses_to_its_set_in_any_case(word):
    assert BandSet.parse(word) == BAND_SETS[word]
    assert BandSet.parse(f" {word.upper()} ") == BAND_SETS[word]


@pytest.mark.parametrize("word", BAND_SETS)
def test_word_of_a_named_set_is_its_name(word):
    assert BAND_SETS[word].word == word


def test_order_is_part_of_what_a_set_is():
    assert BandSet(("VV", "VH")) != BandSet(("VH", "VV"))
    assert BandSet(("VH", "VV")).word == "VH,VV"


def test_a_list_of_names_becomes_a_tuple():
    assert BandSet(["B8A", "B02"]).names == ("B8A", "B02")


def test_a_set_can_be_a_key_and_be_pickled():
    assert {S2: "s2"}[BandSet(S2.names)] == "s2"
    assert pickle.loads(pickle.dumps(ALL)) == ALL


def test_iteration_length_and_membership_follow_the_names():
    bands = BandSet(("B11", "VH", "B02"))

    assert (list(bands), len(bands)) == (["B11", "VH", "B02"], 3)
    assert "VH" in bands
    assert "VV" not in bands


# Errors ------------------------------------------------------------------------------------------


def test_an_unknown_band_is_named_beside_the_bands_there_are():
    with pytest.raises(UnknownBandError, match=r"'B10'.*VV, VH, B01"):
        BandSet(("B02", "B10"))


def test_a_repeated_band_is_named():
    with pytest.raises(BandsError, match="B04"):
        BandSet(("B04", "B03", "B04"))


def test_an_empty_set_is_refused():
    with pytest.raises(BandsError, match="at least one"):
        BandSet(())


def test_a_text_for_names_is_sent_to_parse():
    with pytest.raises(BandsError, match=r"BandSet\.parse"):
        BandSet("B02")


@pytest.mark.parametrize("text", ["", "  ", ",", "B2", "s3", "B02;B03", "B02,s1"])
def test_parse_refuses_what_is_neither_a_word_nor_bands(text):
    with pytest.raises(UnknownBandError, match=r"Sets: s1, s2, all"):
        BandSet.parse(text)


def test_parse_refuses_a_repeated_band():
    with pytest.raises(BandsError, match="B03"):
        BandSet.parse("b03, B03")


def test_index_of_an_absent_band_says_what_the_set_holds():
    with pytest.raises(UnknownBandError, match=r"'B01'.*B04, B03, B02"):
        RGB.index("B01")


@pytest.mark.parametrize("question", [native_size, sensor])
def test_asking_about_an_unknown_band_is_refused(question):
    with pytest.raises(UnknownBandError, match="b02"):
        question("b02")
