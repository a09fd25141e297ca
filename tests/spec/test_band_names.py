import pytest

from reben.spec.band_names import (
    COMMON_NAMES,
    RASTER_ENDINGS,
    band_named,
    match_band_file,
    nativeness,
)
from reben.spec.bands import PIXEL_METRES


@pytest.mark.parametrize(
    ("file", "patch", "tensor", "metres"),
    [
        # BigEarthNet
        ("a_7_B8A.tif", "a_7", "B8A", 0),
        ("a_7_B8A.tiff", "a_7", "B8A", 0),
        ("a_reference_map.tif", "a", "Data", 0),
        ("a_VV.tif", "a", "VV", 0),
        # ESA's products, and those of baselines before 02.07
        ("T33UUP_20230821T101601_B02_10m.jp2", "T33UUP_20230821T101601", "B02", 10),
        ("L2A_T33UUP_20170613T101031_SCL_20m.jp2", "L2A_T33UUP_20170613T101031", "SCL", 20),
        # sentinel-s2-l2a, and own files
        ("B02.jp2", "", "B02", 0),
        ("SCL.jp2", "", "SCL", 0),
        ("b02.tif", "", "B02", 0),
        ("B8a.TIF", "", "B8A", 0),
        ("B2.tif", "", "B02", 0),
        ("B02_10m.tif", "", "B02", 10),
        ("b8a_20M.TIFF", "", "B8A", 20),
        ("a_vh_10m.TIFF", "a", "VH", 10),
        ("farm-3.B09.JP2", "farm-3", "B09", 0),
        ("my farm B11.tif", "my farm", "B11", 0),
        ("a_B10.tif", "a", "B10", 0),
        ("COPERNICUS_S2_SR_B2.tif", "COPERNICUS_S2_SR", "B02", 0),
    ],
)
def test_a_file_name_says_band_and_pixel_size(file, patch, tensor, metres):
    assert match_band_file(file, RASTER_ENDINGS) == (patch, tensor, metres)
    is_tiff = not file.lower().endswith("jp2")
    assert (match_band_file(file) is not None) == is_tiff


@pytest.mark.parametrize(
    "file",
    [
        "",
        "a_B02.tif.aux.xml",
        "a_B22.tif",
        "a_B13.tif",
        "a_B0.tif",
        "a_B008.tif",
        "xB04.tif",
        "x_B05_20m_cog.tif",
        "x_B05_15m.tif",
        "x_TCI_10m.jp2",
        "x_AOT_10m.jp2",
        "._a_B02.tif",
        "LC08_L2SP_193023_20230821_20230826_02_T1_SR_B2.TIF",
        "LE07_L2SP_193023_20020821_20200916_02_T1_SR_B4.TIF",
        "HLS.L30.T33UUP.2023233T100031.v2.0.B05.tif",
        "MOD09GA.A2023233.B02.tif",
        "x_SR_B2.tif",
        "sur_refl_b02.tif",
        "B02.png",
        "B\u06602.tif",
    ],
)
def test_other_files_are_no_bands(file):
    assert match_band_file(file, RASTER_ENDINGS) is None


def test_the_native_size_comes_first_then_an_unsaid_one():
    assert sorted([60, 0, 10, 20], key=lambda metres: nativeness("B11", metres)) == [20, 0, 10, 60]


@pytest.mark.parametrize(
    ("text", "band"),
    [
        ("B02", "B02"), ("b2", "B02"), (" B8a ", "B8A"), ("B02_10m", "B02"), ("scl_20m", "SCL"),
        ("Blue", "B02"), ("rededge071", "B05"), ("rededge3", "B07"), ("vv", "VV"),
        ("rededge", None), ("B10", None), ("B02 of farm", None), ("", None), ("2", None),
    ],
)  # fmt: skip
def test_a_name_means_a_band_or_none(text, band):
    assert band_named(text) == band


def test_every_optical_band_has_a_common_name():
    assert set(COMMON_NAMES.values()) == set(PIXEL_METRES) - {"VV", "VH"}
