import os
import warnings
from pathlib import Path

import numpy as np
import pytest
import rasterio

from reben.errors import (
    BandsMismatchError,
    ConfigError,
    MissingBandError,
    ProductError,
    UnknownBandError,
    UnknownOffsetError,
)
from reben.scene.product import open_scene
from scene.made_up_product import PIXEL_METRES, from_origin, make_band_folder, numbers

CASE = Path(os.environ.get("REBEN_TEST_DATA", "no such folder")) / "cases" / "multiband-256.tif"
NAMES = ("B02", "B05", "B12", "SCL")


def write(path, *, names=NAMES, left=300_005, top=5_900_045):
    """Bands in one file of 10 m, coarser ones repeated; the corner lies between pixels of 10 m."""
    pixels = []
    for band in NAMES[:3]:
        step = PIXEL_METRES[band] // 10
        pixels.append(numbers(band, 240, 180).repeat(step, 0).repeat(step, 1))
    classes = np.full((180, 240), 4, np.uint16)
    classes[:, :30] = 9
    with rasterio.open(
        path, "w", driver="GTiff", width=240, height=180, count=4, dtype="uint16",
        crs="EPSG:32633", transform=from_origin(left, top, 10),
    ) as file:  # fmt: skip
        file.write(np.stack([*pixels, classes]))
        file.descriptions = names
    return path


@pytest.mark.parametrize("given", [False, True])
def test_bands_are_found_by_name_and_brought_to_their_size(tmp_path, given):
    path = write(tmp_path / "s.tif", names=NAMES if not given else [f"x{n}" for n in range(4)])

    with open_scene(path, boa_offset=-1000, band_names=NAMES if given else None) as scene:
        strip, mask = scene.read(NAMES[:3], 60, 60), scene.read_mask(60, 60)
        assert (scene.grid.left, scene.grid.top) == (300_005, 5_900_045)

    for band in NAMES[:3]:
        step = PIXEL_METRES[band] // 10
        rows = slice(60 // step, 120 // step)
        expected = numbers(band, 240, 180)[rows].astype(int) - 1000
        np.testing.assert_array_equal(strip[band], expected)
    assert (mask[:, :30] == 2).all()
    assert not mask[:, 30:].any()


def test_bands_are_never_told_by_position(tmp_path):
    path = write(tmp_path / "s.tif", names=["a", "b", "c", "d"])

    with pytest.raises(MissingBandError, match=r"called a, b, c, d.*--band-names"):
        open_scene(path, boa_offset=0)
    with pytest.raises(BandsMismatchError, match="has 4 bands, but 2 names"):
        open_scene(path, boa_offset=0, band_names=["B02", "B03"])
    with pytest.raises(UnknownBandError, match="No band 'B99'"):
        open_scene(path, boa_offset=0, band_names=["B02", "B99", "-", "-"])
    with pytest.raises(UnknownOffsetError):
        open_scene(path, band_names=NAMES)


def test_names_have_no_effect_on_other_products(tmp_path):
    made = make_band_folder(tmp_path, bands=("B02",))
    with pytest.raises(ConfigError, match="Leave it out"):
        open_scene(made.path, boa_offset=-1000, band_names=["B02"])


@pytest.mark.skipif(not CASE.is_file(), reason="REBEN_TEST_DATA names no cases")
def test_a_real_file_of_twelve_bands_is_a_scene(tmp_path):
    names = ["B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B11", "B12"]
    with open_scene(CASE, boa_offset=-1000, band_names=names) as scene:
        assert (scene.grid.width, scene.grid.height) == (252, 252)
        strip, about = scene.read(["B02", "B05", "B01"], 0, 252), scene.about
    with rasterio.open(CASE) as file, warnings.catch_warnings():
        # It is cut so that its pixels of 20 m and 60 m begin with its second column.
        for number, band, step in ((2, "B02", 1), (5, "B05", 2), (1, "B01", 6)):
            stored = file.read(number)[:252, 1:253].astype(int) - 1000
            np.testing.assert_array_equal(strip[band], stored[::step, ::step])
        assert scene.grid.left == file.bounds.left + 10
    assert "1 columns at the left, 0 rows at the upper edge, 3 columns at the right" in about["cut"]
    assert about["resampled"].endswith("B12: repeated pixels taken back")
    assert "mean" not in about["resampled"]


@pytest.mark.parametrize(
    ("dtype", "nodata", "filled"),
    [
        ("float64", None, np.nan),
        ("float64", np.nan, np.nan),
        ("float64", -np.inf, -np.inf),
        ("float32", 0, 0),
        ("float32", -9999, -9999),
        ("uint16", 0, 0),
        ("uint16", None, 0),
        ("int32", None, 0),
    ],
)
def test_exports_of_earth_engine_are_read_in_every_type_and_with_any_fill(
    tmp_path, dtype, nodata, filled
):
    names = ("B2", "B8A", "QA60", "SCL")
    layers = np.random.default_rng(1).integers(200, 3000, (4, 130, 150)).astype(dtype)
    layers[3], layers[3, :20] = 4, 9
    layers[:, :, :12] = filled
    with rasterio.open(
        tmp_path / "e.tif", "w", driver="GTiff", width=150, height=130, count=4, dtype=dtype,
        crs="EPSG:32633", transform=from_origin(300_007, 5_000_003, 10), nodata=nodata,
    ) as file:  # fmt: skip
        file.write(layers)
        file.descriptions = names

    with open_scene(tmp_path / "e.tif", boa_offset=0) as scene:
        b02 = scene.read(["B02"], 0, 126)["B02"]
        mask = scene.read_mask(0, 126)

    np.testing.assert_array_equal(b02[:, 12:], layers[0, :126, 12:])
    assert (mask[:, :12] == 1).all()
    assert (mask[:20, 12:] == 2).all()
    assert not mask[20:, 12:].any()


def test_the_cure_for_an_undeclared_number_in_the_classification_helps(tmp_path):
    path = write(tmp_path / "s.tif")
    with rasterio.open(path, "r+") as file:
        pixels = file.read()
        pixels[:, :60, 60:120] = 65_535
        file.write(pixels)
    with (
        open_scene(path, boa_offset=0) as scene,
        pytest.raises(ProductError, match=r"gdal_edit\.py -a_nodata 65535 FILE"),
    ):
        scene.read_mask(0, 60)

    with rasterio.open(path, "r+") as file:
        file.nodata = 65_535  # what gdal_edit.py does
    with open_scene(path, boa_offset=0) as scene:
        mask = scene.read_mask(0, 60)
    assert (mask == 1).sum() == (mask[:, 60:120] == 1).sum() == 60 * 60


def test_other_polarisations_are_not_renamed(tmp_path):
    path = write(tmp_path / "s.tif", names=("HH", "HV", "angle", ""))
    with pytest.raises(MissingBandError, match="use VV and VH, and HH and HV are") as caught:
        open_scene(path)
    assert "--band-names" not in str(caught.value)
