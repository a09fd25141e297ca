import os
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.transform import Affine

from reben.data.patch_folders.folder import read_patch, read_patch_folder
from reben.data.tiff.write import GeoTransform, encode_geotiff
from reben.errors import (
    BandsError,
    BandsMismatchError,
    PatchNameError,
    PatchShapeError,
    PixelValueError,
    PlaceError,
    TiffError,
)
from reben.spec.bands import S1, S2_FULL, native_size
from reben.spec.patches import reference_map_name

CASES = Path(os.environ.get("REBEN_TEST_DATA", "no such folder")) / "cases"
PATCH = "S2A_MSIL2A_20170613T101031_N9999_R022_T33UUP_26_57"
OTHER_PATCH = "S2A_MSIL2A_20170613T101031_N9999_R022_T33UUP_26_58"
SENTINEL1_PATCH = "S1B_IW_GRDH_1SDV_20170612T165809_33UUP_26_57"

OF_NO_CODE = "+proj=laea +lat_0=60 +lon_0=20"


def pixels_of(band):
    side = native_size(band)
    ramp = np.arange(side * side).reshape(side, side)
    if band in S1:
        return (-10 - S1.index(band) - ramp / 1e4).astype(np.float32)
    return (1000 * S2_FULL.index(band) + ramp).astype(np.uint16)


def write_bands(folder, bands, patch):
    folder.mkdir(parents=True, exist_ok=True)
    for band in bands:
        place = GeoTransform(331_200, 5_331_600, 1200 // native_size(band), 32633)
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


@pytest.mark.parametrize("name", ["b{}.tif", "farm 7-B{}.TIFF", "T33UUP_B{}_{}m.TIF"])
def test_files_may_be_called_as_people_call_them(tmp_path, name):
    for band in S2_FULL:
        place = GeoTransform(331_200, 5_331_600, 1200 // native_size(band), 32633)
        file = tmp_path / name.format(band[1:].lower(), 1200 // native_size(band))
        file.write_bytes(encode_geotiff(pixels_of(band), place))
    bands = read_patch_folder(tmp_path)
    assert list(bands) == list(S2_FULL)
    for band, pixels in bands.items():
        np.testing.assert_array_equal(pixels, pixels_of(band))


def test_of_several_sizes_of_a_band_its_own_is_taken_and_two_of_one_size_are_refused(tmp_path):
    place = GeoTransform(331_200, 5_331_600, 10, 32633)
    (tmp_path / "a_B02_10m.tif").write_bytes(encode_geotiff(pixels_of("B02"), place))
    (tmp_path / "a_B02_20m.tif").write_bytes(b"not read")
    np.testing.assert_array_equal(read_patch_folder(tmp_path)["B02"], pixels_of("B02"))
    (tmp_path / "a_b02_10m.tiff").write_bytes(b"not read")
    with pytest.raises(BandsError, match=r"B02 is in both a_B02_10m\.tif and a_b02_10m\.tiff"):
        read_patch_folder(tmp_path)


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
    (tmp_path / "TCI.tif").write_bytes(b"")
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


def write_one(path, pixels, **profile):
    """Write a TIFF as other programs do."""
    place = {
        "crs": "EPSG:32633",
        "transform": Affine(1200 / len(pixels), 0, 331_200, 0, -1200 / len(pixels), 5_331_600),
    }
    shape = dict(zip(("height", "width"), pixels.shape, strict=True))
    with rasterio.open(
        path, "w", driver="GTiff", count=1, dtype=pixels.dtype, **shape, **(place | profile)
    ) as image:
        image.write(pixels, 1)
    return path


@pytest.mark.parametrize("nodata", [-9999.0, -32768.0, 0.0, -3.4028234663852886e38])
def test_what_a_file_declares_to_be_no_data_is_masked(sentinel1, nodata):
    pixels = pixels_of("VV")
    pixels[:40] = nodata
    write_one(sentinel1 / f"{SENTINEL1_PATCH}_VV.tif", pixels, nodata=nodata)
    bands = read_patch_folder(sentinel1)
    np.testing.assert_array_equal(bands["VV"].mask, np.arange(120)[:, None].repeat(120, 1) < 40)
    assert not np.ma.isMaskedArray(bands["VH"])


def test_zeros_of_the_data_set_are_not_masked(sentinel2):
    pixels = pixels_of("B12") * 0
    write_one(sentinel2 / f"{PATCH}_B12.tif", pixels, nodata=0)
    assert not np.ma.isMaskedArray(read_patch_folder(sentinel2)["B12"])


def test_a_mask_in_a_file_is_honoured(sentinel2):
    path = write_one(sentinel2 / f"{PATCH}_B02.tif", pixels_of("B02"))
    hidden = np.zeros((120, 120), bool)
    hidden[3, 5:9] = True
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(path, "r+") as image:
        image.write_mask(~hidden)
    np.testing.assert_array_equal(read_patch_folder(sentinel2)["B02"].mask, hidden)


def test_a_scale_that_is_not_applied_is_refused(sentinel2):
    path = write_one(sentinel2 / f"{PATCH}_B02.tif", pixels_of("B02"))
    with rasterio.open(path, "r+") as image:
        image.scales, image.offsets = [0.0001], [-0.1]
    with pytest.raises(PixelValueError, match=r"Band B02, .* has scale 0\.0001 and offset -0\.1"):
        read_patch_folder(sentinel2)


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ({"crs": "EPSG:4326", "transform": Affine(0.01, 0, 15, 0, -0.01, 60)}, r"e\+05 m"),
        ({"crs": "EPSG:3857", "transform": Affine(10, 0, 1e6, 0, -10, 8.4e6)}, "covers 60[01]"),
        ({"transform": Affine(9.4, 0, 331_200, 0, -9.4, 5_331_600)}, r"pixels of 9\.4 m"),
        ({"transform": Affine(10, 0, 331_200, 0, 10, 5_330_400)}, "is mirrored"),
        ({"transform": Affine(0, 10, 331_200, -10, 0, 5_331_600)}, "is rotated"),
        ({"crs": f"{OF_NO_CODE} +units=us-ft", "transform": Affine(10, 0, 0, 0, -10, 0)}, "365.76"),
    ],
)
def test_a_file_of_another_size_on_the_ground_is_refused(sentinel2, place, said):
    write_one(sentinel2 / f"{PATCH}_B02.tif", pixels_of("B02"), **place)
    with pytest.raises(PatchShapeError, match=said):
        read_patch_folder(sentinel2)


def test_files_and_names_of_different_places_are_refused(tmp_path, sentinel2, sentinel1):
    other = write_bands(tmp_path / "other", S1, SENTINEL1_PATCH.removesuffix("7") + "8")
    with pytest.raises(PlaceError, match="1,200 m apart"):
        read_patch_folder(sentinel2, other)
    east = {"transform": Affine(10, 0, 341_200, 0, -10, 5_331_600)}
    write_one(sentinel1 / f"{SENTINEL1_PATCH}_VV.tif", pixels_of("VV"), **east)
    with pytest.raises(PlaceError, match=r"_B\d.\.tif and .*_VV\.tif lie 10 km apart|_VV.* 10 km"):
        read_patch_folder(sentinel2, sentinel1)
    write_one(sentinel2 / f"{PATCH}_B03.tif", pixels_of("B03"), **east)
    with pytest.raises(PlaceError, match="10 km apart"):
        read_patch_folder(sentinel2)


def test_a_reference_system_without_a_code_serves_where_the_ground_is_that_of_a_patch(sentinel2):
    place = {"crs": f"{OF_NO_CODE} +units=m", "transform": Affine(10, 0, 0, 0, -10, 0)}
    write_one(sentinel2 / f"{PATCH}_B02.tif", pixels_of("B02"), **place)
    assert len(read_patch_folder(sentinel2)) == len(S2_FULL)


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_the_names_of_a_pair_name_one_place(tmp_path):
    south = SENTINEL1_PATCH.removesuffix("7") + "8"
    for file, name in ((f"{PATCH}_B02.tif", "B02"), (f"{south}_VV.tif", "VV")):
        write_one(tmp_path / file, pixels_of(name), crs=None, transform=None)
    with pytest.raises(PlaceError, match=rf"the name {south} and the name {PATCH} lie 1,200 m"):
        read_patch_folder(tmp_path)


def test_a_file_counts_more_than_its_name(sentinel2, sentinel1):
    moved = {"transform": Affine(10, 0, 500_000, 0, -10, 5_331_600)}
    for name in ("B02", "VV"):
        folder, patch = (sentinel1, SENTINEL1_PATCH) if name == "VV" else (sentinel2, PATCH)
        for path in folder.iterdir():
            path.unlink()
        write_one(folder / f"{patch}_{name}.tif", pixels_of(name), **moved)
    bands, place = read_patch(sentinel2, sentinel1)
    assert list(bands) == ["VV", "B02"]
    assert place == (32633, 500_000, 5_330_400, 501_200, 5_331_600)


def test_the_other_ending_of_tiffs_is_read_and_one_band_in_both_is_refused(sentinel2):
    for path in list(sentinel2.iterdir()):
        path.rename(path.with_suffix(".tiff"))
    assert list(read_patch_folder(sentinel2)) == list(S2_FULL)
    write_bands(sentinel2, ("B02",), PATCH)
    with pytest.raises(BandsError, match="Band B02 is in both"):
        read_patch_folder(sentinel2)


@pytest.mark.skipif(not CASES.is_dir(), reason="REBEN_TEST_DATA names no cases")
def test_the_real_patch_is_read_and_not_mixed_with_one_of_another_country():
    sentinel1, sentinel2 = (next(CASES.glob(f"tiff-patch/{one}/*")) for one in ("S1", "S2"))
    bands = read_patch_folder(sentinel2)
    assert list(bands) == list(S2_FULL)
    with rasterio.open(next(sentinel2.glob("*_B8A.tiff"))) as image:
        np.testing.assert_array_equal(bands["B8A"], image.read(1))
    with pytest.raises(PlaceError, match="lie 2,133 km apart"):
        read_patch_folder(sentinel2, sentinel1)
