"""Pixels of scenes that are no measurement."""

import numpy as np
import pytest
import rasterio
import xarray as xr

from reben.errors import PixelValueError, ProductError
from reben.scene.masks import mask_of
from reben.scene.product import open_scene
from scene.made_up_product import (
    PIXEL_METRES,
    make_band_folder,
    make_safe,
    numbers,
    write_jp2,
    write_tiff,
)

BANDS = ("B02", "B03", "B04")


def masks(product, bands=BANDS, **more):
    """What pixels are before and after bands were read, and the bands."""
    with open_scene(product, **more) as scene:
        before = scene.read_mask(0, 60)
        strip = scene.read(bands, 0, 60)
        return before, scene.read_mask(0, 60), strip


def changed(folder, band, change, **more):
    """Change the pixels of a band in place, and return its folder."""
    pixels = numbers(band, 240, 180)
    pixels = change(pixels)
    write_tiff(folder / f"{band}.tif", pixels, metres=PIXEL_METRES[band], **more)
    return folder


def filled(value, dtype=None):
    def change(pixels):
        pixels = pixels if dtype is None else pixels.astype(dtype)
        pixels[:, :10] = value
        return pixels

    return change


@pytest.fixture
def folder(tmp_path):
    return make_band_folder(tmp_path, bands=BANDS, scl=False).path


@pytest.mark.parametrize(
    ("value", "dtype", "nodata"),
    [
        (9, None, 9),
        (-9999, np.int16, -9999),
        (-9999, np.int16, None),
        (-9999.0, np.float32, -9999),
        (-32768.0, np.float32, None),
        (-1e38, np.float32, None),
        (1e15, np.float32, None),
        (np.nan, np.float32, np.nan),
        (np.nan, np.float32, None),
        (np.inf, np.float32, None),
        (55_537, None, None),
        (32_768, None, None),
        (0, None, None),
    ],
)
def test_numbers_of_one_band_that_are_no_measurement_are_no_data(folder, value, dtype, nodata):
    changed(folder, "B03", filled(value, dtype), nodata=nodata)

    before, after, strip = masks(folder, boa_offset=-1000)

    assert not before.any()
    assert (after[:, :10] == 1).all()
    assert not after[:, 10:].any()
    np.testing.assert_array_equal(
        strip["B03"][:, 10:], numbers("B03", 240, 180)[:60, 10:].astype(int) - 1000
    )


def test_a_zero_without_an_offset_may_be_dark_ground_but_not_all_over_a_strip(folder):
    changed(folder, "B03", filled(0))
    assert not masks(folder, boa_offset=0)[1].any()

    changed(folder, "B03", np.zeros_like)
    assert (masks(folder, boa_offset=0)[1] == 1).all()


def test_small_negative_numbers_are_dark_ground(folder):
    changed(folder, "B03", filled(-120, np.int16))
    _, after, strip = masks(folder, boa_offset=0)
    assert not after.any()
    assert not strip["B03"][:, :10].any()


def test_a_mask_inside_a_file_is_honoured(folder):
    changed(folder, "B03", lambda pixels: pixels)
    with (
        rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True),
        rasterio.open(folder / "B03.tif", "r+") as file,
    ):
        there = np.full((180, 240), 255, np.uint8)
        there[:, :10] = 0
        file.write_mask(there)

    _, after, _ = masks(folder, boa_offset=-1000)

    assert (after[:, :10] == 1).all()
    assert not after[:, 10:].any()


def test_saturated_pixels_are_bad(folder):
    changed(folder, "B03", filled(65_535))
    assert (masks(folder, boa_offset=-1000)[1][:, :10] == 2).all()
    assert not masks(folder, ("B02",), boa_offset=-1000)[1].any()


def test_special_values_of_a_product_count(tmp_path):
    made = make_safe(tmp_path, bands=BANDS, scl=False)
    special = "".join(
        f"<Special_Values><SPECIAL_VALUE_TEXT>{text}</SPECIAL_VALUE_TEXT>"
        f"<SPECIAL_VALUE_INDEX>{value}</SPECIAL_VALUE_INDEX></Special_Values>"
        for text, value in (("NODATA", 7), ("SATURATED", 20_000))
    )
    metadata = made.path / "MTD_MSIL2A.xml"
    text = metadata.read_text()
    metadata.write_text(
        text.replace("<QUANTIFICATION_VALUES_LIST>", f"{special}<QUANTIFICATION_VALUES_LIST>")
    )
    pixels = made.stored["B03"].copy()
    pixels[:, :10], pixels[:, 10:20] = 7, 20_000
    write_jp2(made.image("B03"), pixels, metres=10)

    _, after, _ = masks(made.path)

    assert (after[:, :10] == 1).all()
    assert (after[:, 10:20] == 2).all()
    assert not after[:, 20:].any()
    metadata.write_text(metadata.read_text().replace(">20000<", ">1e300<"))
    with pytest.raises(ProductError, match="SPECIAL_VALUE_INDEX is '1e300'"):
        open_scene(made.path)


def test_arrays_with_a_fill_value_are_honoured(tmp_path):
    pixels = numbers("B02", 240, 180).astype(np.int32)
    pixels[:, :10] = -9999
    centres = {"y": 5_900_035 - 10.0 * np.arange(180), "x": 300_005 + 10.0 * np.arange(240)}
    array = xr.DataArray(
        pixels, dims=("y", "x"), coords=centres, attrs={"crs": "EPSG:32633", "_FillValue": -9999}
    )
    _, after, _ = masks({"B02": array}, ("B02",), boa_offset=-1000)
    assert (after[:, :10] == 1).all()
    assert not after[:, 10:].any()


@pytest.mark.parametrize("dtype", [np.uint8, np.complex64])
def test_pictures_and_complex_numbers_are_refused(folder, dtype):
    changed(folder, "B03", lambda pixels: (pixels // 50).astype(dtype))
    with pytest.raises(PixelValueError, match=r"B03\.tif has dtype"):
        masks(folder, boa_offset=0)


def test_a_safe_whose_listed_classification_is_missing_is_damaged(tmp_path):
    made = make_safe(tmp_path, bands=BANDS)
    image = made.image("SCL")
    image.unlink()
    with pytest.raises(ProductError, match=r"is damaged.*no .*SCL_20m.*Download the product again"):
        open_scene(made.path)


def test_classes_as_floats_are_read_and_others_refused():
    assert mask_of(np.array([[4.0, np.nan, 9.0]]), "x").tolist() == [[0, 1, 2]]
    for wrong in (4.5, 12.0, -1.0, np.inf):
        with pytest.raises(ProductError, match="has classes 0 to 11"):
            mask_of(np.array([[4.0, wrong]]), "x")
