from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reben.errors import PatchNameError
from reben.spec.patches import (
    PATCH_METRES,
    PATCH_PIXELS,
    SPLITS,
    Bounds,
    Sentinel1Patch,
    Sentinel2Patch,
    place_of_name,
    reference_map_name,
)

# Real names; those of Sentinel-2 pad column and row to two digits, those of Sentinel-1 do not.
SENTINEL2 = "S2A_MSIL2A_20170613T101031_N9999_R022_T33UUP_26_57"
SENTINEL2_PADDED = "S2B_MSIL2A_20180221T093029_N9999_R136_T35VNJ_00_00"
SENTINEL1 = "S1B_IW_GRDH_1SDV_20170612T165809_33UUP_26_57"
SENTINEL1_UNPADDED = "S1A_IW_GRDH_1SDV_20180221T043113_35VNJ_0_0"

TIMES = st.datetimes(datetime(2014, 4, 3), datetime(2099, 12, 31)).map(
    lambda time: time.replace(microsecond=0)
)
TILES = st.from_regex(r"[0-9]{2}[A-Z]{3}", fullmatch=True)
POSITIONS = st.integers(0, 999)
SENTINEL2_PATCHES = st.builds(
    Sentinel2Patch,
    satellite=st.sampled_from(["S2A", "S2B", "S2C"]),
    acquired=TIMES,
    tile=TILES,
    column=POSITIONS,
    row=POSITIONS,
    orbit=st.from_regex(r"R[0-9]{3}", fullmatch=True),
    baseline=st.from_regex(r"N[0-9]{4}", fullmatch=True),
)
SENTINEL1_PATCHES = st.builds(
    Sentinel1Patch,
    satellite=st.sampled_from(["S1A", "S1B", "S1C"]),
    acquired=TIMES,
    tile=TILES,
    column=POSITIONS,
    row=POSITIONS,
)


@given(SENTINEL2_PATCHES)
def test_parse_undoes_the_name_of_a_sentinel2_patch(patch):
    assert Sentinel2Patch.parse(patch.name) == patch


@given(SENTINEL1_PATCHES)
def test_parse_undoes_the_name_of_a_sentinel1_patch(patch):
    assert Sentinel1Patch.parse(patch.name) == patch


@pytest.mark.parametrize("name", [SENTINEL2, SENTINEL2_PADDED])
def test_a_real_sentinel2_name_is_formatted_as_it_was(name):
    assert Sentinel2Patch.parse(name).name == name


@pytest.mark.parametrize("name", [SENTINEL1, SENTINEL1_UNPADDED])
def test_a_real_sentinel1_name_is_formatted_as_it_was(name):
    assert Sentinel1Patch.parse(name).name == name


def test_every_real_name_in_the_golden_files_is_formatted_as_it_was(golden):
    np = pytest.importorskip("numpy")
    names = np.load(golden / "test_resnet-all" / "expected.npz")["patch_ids"].tolist()

    assert len(names) == 24
    assert [Sentinel2Patch.parse(name).name for name in names] == names


def test_a_sentinel2_name_holds_satellite_time_tile_column_and_row():
    assert Sentinel2Patch.parse("S2B_MSIL2A_20180221T093029_N9999_R136_T35VNJ_07_66") == (
        Sentinel2Patch(
            satellite="S2B",
            acquired=datetime(2018, 2, 21, 9, 30, 29),
            tile="35VNJ",
            column=7,
            row=66,
            orbit="R136",
            baseline="N9999",
        )
    )


def test_a_sentinel1_name_holds_satellite_time_tile_column_and_row():
    assert Sentinel1Patch.parse("S1A_IW_GRDH_1SDV_20180221T043113_35VNJ_7_66") == Sentinel1Patch(
        satellite="S1A",
        acquired=datetime(2018, 2, 21, 4, 31, 13),
        tile="35VNJ",
        column=7,
        row=66,
    )


def test_the_folder_of_a_sentinel2_patch_is_its_name_without_two_fields():
    patch = Sentinel2Patch.parse(SENTINEL2)

    assert patch.tile_name == SENTINEL2.rsplit("_", 2)[0]


def test_the_folder_of_a_sentinel1_patch_is_its_name_without_three_fields():
    patch = Sentinel1Patch.parse(SENTINEL1)

    assert patch.scene_name == SENTINEL1.rsplit("_", 3)[0]


def test_a_reference_map_is_named_after_its_sentinel2_patch():
    assert reference_map_name(SENTINEL2) == f"{SENTINEL2}_reference_map"


def test_sizes_and_splits_are_those_of_the_data_set():
    assert (PATCH_METRES, PATCH_PIXELS) == (1200, 120)
    assert SPLITS == ("train", "validation", "test")


# Errors ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "",
        "S2A_MSIL2A_20170613T101031_N9999_R022_T33UUP",
        SENTINEL2 + "_B02",
        SENTINEL2 + "\n",
        " " + SENTINEL2,
        SENTINEL2.lower(),
        SENTINEL2.replace("MSIL2A", "MSIL1C"),
        SENTINEL2.replace("_T33UUP", "_33UUP"),
        SENTINEL2.replace("26", "٢٦"),
        SENTINEL1,
    ],
)
def test_what_is_no_sentinel2_name_is_refused_with_an_example(text):
    with pytest.raises(PatchNameError, match=f"should look like {SENTINEL2}"):
        Sentinel2Patch.parse(text)


@pytest.mark.parametrize(
    "text", ["", SENTINEL1 + "_VV", SENTINEL1.replace("33UUP", "T33UUP"), SENTINEL2]
)
def test_what_is_no_sentinel1_name_is_refused_with_an_example(text):
    with pytest.raises(PatchNameError, match=f"should look like {SENTINEL1}"):
        Sentinel1Patch.parse(text)


@pytest.mark.parametrize("time", ["20171313T101031", "20170613T256031", "00000000T000000"])
def test_a_time_that_cannot_be_is_refused(time):
    with pytest.raises(PatchNameError, match=time):
        Sentinel2Patch.parse(SENTINEL2.replace("20170613T101031", time))


@pytest.mark.parametrize(
    "parts", [{"tile": "T33UUP"}, {"column": -1}, {"row": 1000}, {"orbit": "22"}]
)
def test_parts_that_make_no_name_are_refused(parts):
    good = {"satellite": "S2A", "acquired": datetime(2017, 6, 13), "tile": "33UUP"}
    good |= {"column": 1, "row": 2, "orbit": "R022"}

    assert Sentinel2Patch(**good).name.endswith("_T33UUP_01_02")
    with pytest.raises(PatchNameError):
        Sentinel2Patch(**good | parts)


@pytest.mark.parametrize("name", [SENTINEL1, SENTINEL2 + "_B02"])
def test_only_a_sentinel2_patch_has_a_reference_map(name):
    with pytest.raises(PatchNameError, match="Sentinel-2"):
        reference_map_name(name)


NAMES = {
    "S2A_MSIL2A_20170613T101031_N9999_R022_T33UUP_26_57": (331_200, 5_331_600),
    "S1B_IW_GRDH_1SDV_20170612T165809_33UUP_26_57": (331_200, 5_331_600),
}


@pytest.mark.parametrize("name", NAMES)
def test_a_patch_name_says_where_the_patch_lies(name):
    left, top = NAMES[name]
    assert place_of_name(name) == Bounds(32633, left, top - 1200, left + 1200, top)


@pytest.mark.parametrize(
    "name", ["", "my field", "S2A_MSIL2A_20170613T101031_N9999_R022_T33UIP_26_57"]
)
def test_a_name_that_says_nothing_gives_no_place(name):
    assert place_of_name(name) is None
