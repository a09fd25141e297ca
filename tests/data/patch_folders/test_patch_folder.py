import numpy as np
import pytest

from reben.data.patch_folders.folder import match_band_file, read_patch_folder
from reben.data.tiff.write import GeoTransform, encode_geotiff
from reben.errors import BandsError, BandsMismatchError, PatchNameError, TiffError
from reben.spec.bands import S1, S2_FULL, native_size
from reben.spec.patches import reference_map_name

PATCH = "S2A_MSIL2A_20170613T101031_N9999_R022_T33UUP_26_57"
OTHER_PATCH = "S2A_MSIL2A_20170613T101031_N9999_R022_T33UUP_26_58"
SENTINEL1_PATCH = "S1B_IW_GRDH_1SDV_20170612T165809_33UUP_26_57"


def pixels_of(band):
    side = native_size(band)
    ramp = np.arange(side * side).reshape(side, side)
    if band in S1:
        return (-10 - S1.index(band) - ramp / 1e4).astype(np.float32)
    return (1000 * S2_FULL.index(band) + ramp).astype(np.uint16)


def write_bands(folder, bands, patch):
    folder.mkdir(parents=True, exist_ok=True)
    for band in bands:
        place = GeoTransform(300_000, 5_400_000, 1200 // native_size(band), 32633)
        (folder / f"{patch}_{band}.tif").write_bytes(encode_geotiff(pixels_of(band), place))
    return folder


@pytest.fixture
def sentinel2(tmp_path):
    return write_bands(tmp_path / PATCH, S2_FULL, PATCH)


@pytest.fixture
def sentinel1(tmp_path):
    return write_bands(tmp_path / SENTINEL1_PATCH, S1, SENTINEL1_PATCH)


def test_every_band_comes_back_at_its_own_size_and_dtype(sentinel2):
    bands = read_patch_folder(sentinel2)
    assert list(bands) == list(S2_FULL)
    for name, pixels in bands.items():
        assert pixels.dtype == np.uint16
        np.testing.assert_array_equal(pixels, pixels_of(name))


@pytest.mark.parametrize("swapped", [False, True])
def test_both_sensors_are_merged_in_any_order(sentinel2, sentinel1, swapped):
    folders = (sentinel1, sentinel2) if swapped else (sentinel2, sentinel1)
    bands = read_patch_folder(*folders)
    assert set(bands) == {*S1, *S2_FULL}
    np.testing.assert_array_equal(bands["VH"], pixels_of("VH"))


def test_both_sensors_may_lie_in_one_folder(tmp_path):
    write_bands(tmp_path, ("B02",), PATCH)
    write_bands(tmp_path, ("VV",), SENTINEL1_PATCH)
    assert set(read_patch_folder(tmp_path)) == {"B02", "VV"}


def test_some_bands_are_enough(tmp_path):
    assert list(read_patch_folder(write_bands(tmp_path, ("B8A",), PATCH))) == ["B8A"]


def test_other_files_are_ignored(sentinel2):
    (sentinel2 / f"{reference_map_name(PATCH)}.tif").write_bytes(b"no TIFF")
    (sentinel2 / f"{PATCH}_B10.tif").write_bytes(b"no TIFF")
    (sentinel2 / f"._{PATCH}_B02.tif").write_bytes(b"attributes of macOS")
    (sentinel2 / f"{OTHER_PATCH}_B02.tif.aux.xml").write_text("<x/>")
    (sentinel2 / "notes.txt").write_text("seen")
    assert set(read_patch_folder(sentinel2)) == set(S2_FULL)


@pytest.mark.parametrize(
    ("file", "strictly", "loosely"),
    [
        ("a_7_B8A.tif", ("a_7", "B8A"), ("a_7", "B8A")),
        ("a_reference_map.tif", ("a", "Data"), ("a", "Data")),
        ("a_VV.tif", ("a", "VV"), ("a", "VV")),
        ("a_vh_10m.TIFF", None, ("a", "VH")),
        ("B02.tif", None, ("", "B02")),
        ("a_B10.tif", None, ("a", "B10")),
        ("a_B02.tif.aux.xml", None, None),
        ("a_B22.tif", None, None),
        ("._a_B02.tif", None, ("._a", "B02")),
        ("", None, None),
    ],
)
def test_a_file_name_says_patch_and_band(file, strictly, loosely):
    assert match_band_file(file) == strictly
    assert match_band_file(file, loosely=True) == loosely


def test_no_folder_is_an_error():
    with pytest.raises(BandsMismatchError, match="No patch folder was given"):
        read_patch_folder()


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(BandsMismatchError, match=r"nowhere is no patch folder: it is not there"):
        read_patch_folder(tmp_path / "nowhere")


def test_a_file_is_no_folder(sentinel2):
    with pytest.raises(BandsMismatchError, match="it is a file"):
        read_patch_folder(sentinel2 / f"{PATCH}_B02.tif")


def test_a_folder_without_bands_says_what_it_should_hold(tmp_path):
    (tmp_path / "B02.tif").write_bytes(b"")
    with pytest.raises(BandsMismatchError, match=r"has no band file.*<patch>_<BAND>\.tif.*B8A"):
        read_patch_folder(tmp_path)


def test_two_folders_with_the_same_band_are_refused(sentinel2, tmp_path):
    other = write_bands(tmp_path / OTHER_PATCH, ("B03",), OTHER_PATCH)
    with pytest.raises(BandsError, match="Band B03 is in both"):
        read_patch_folder(sentinel2, other)


def test_files_of_two_patches_in_one_folder_are_refused(sentinel2):
    write_bands(sentinel2, ("B03",), OTHER_PATCH)
    with pytest.raises(PatchNameError, match=f"{PATCH}_B01.tif and {OTHER_PATCH}_B03.tif"):
        read_patch_folder(sentinel2)


def test_a_damaged_file_is_named(sentinel2):
    (sentinel2 / f"{PATCH}_B05.tif").write_bytes(b"")
    with pytest.raises(TiffError, match=f"{PATCH}_B05.tif"):
        read_patch_folder(sentinel2)
