import shutil

import numpy as np
import pytest
import rasterio
from rasterio import Affine
from rasterio.control import GroundControlPoint
from rasterio.enums import Resampling
from rasterio.vrt import WarpedVRT
from rasterio.warp import transform

from reben.errors import (
    ConfigError,
    GridError,
    MissingBandError,
    ProductError,
    ProductLevelError,
    UnknownUnitError,
)
from reben.scene.band_source import BandFile
from reben.scene.grid import Grid
from reben.scene.product import open_scene
from reben.scene.radar.sentinel1 import WarpedBand, open_sentinel1
from scene.made_up_product import make_band_folder, write_item, write_tiff

GRID = Grid("EPSG:32633", 300_000, 5_900_040, 240, 180)
MEAN = {"VV": -12.6, "VH": -19.4}


def power(band, shape=(240, 300)):
    """Linear power [h, w], VV about ten times VH, growing down and right."""
    rng = np.random.default_rng({"VV": 1, "VH": 2}[band])
    ramp = 1 + np.add.outer(np.arange(shape[0]) / 300, np.arange(shape[1]) / 90)
    scale = {"VV": 0.06, "VH": 0.006}[band]
    return (scale * ramp * rng.gamma(4, 0.25, shape)).astype(np.float32)


def write_pair(folder, unit="linear", *, left=299_770, top=5_900_270, epsg=32633, **more):
    """VV and VH as files, not on the grid of the scene: shifted by 3 m, and larger all around."""
    for band in ("VV", "VH"):
        pixels = power(band)
        pixels = 10 * np.log10(pixels) if unit == "db" else pixels
        path = folder / f"S1A_RTC_{band}.tif"
        write_tiff(path, pixels, left=left + 3, top=top - 3, epsg=epsg, **more)
    return folder


def tag(folder, **tags):
    for band in ("VV", "VH"):
        with rasterio.open(folder / f"S1A_RTC_{band}.tif", "r+") as file:
            file.update_tags(**tags)


def warped_by_rasterio(path, top, height, unit="linear"):
    """dB by rasterio's virtual warping of a file in linear power."""
    with (
        rasterio.open(path) as file,
        WarpedVRT(
            file,
            crs=GRID.crs,
            transform=Affine(*GRID.transform),
            width=GRID.width,
            height=GRID.height,
            resampling=Resampling.bilinear,
            tolerance=0.001,
        ) as warped,
    ):
        rows = warped.read(1)[top : top + height]
    return 10 * np.log10(rows)


# Values -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("band", ["VV", "VH"])
def test_linear_power_is_interpolated_as_rasterio_does_and_then_brought_to_db(tmp_path, band):
    write_pair(tmp_path)

    sentinel1, about = open_sentinel1(tmp_path, GRID, "linear")
    decibels, measured = sentinel1.read(band, 60, 60)

    expected = warped_by_rasterio(tmp_path / f"S1A_RTC_{band}.tif", 60, 60)
    np.testing.assert_allclose(decibels, expected, atol=1e-4)
    assert decibels.dtype == np.float32
    assert measured.all()
    assert about == {"sentinel1": tmp_path.name, "sentinel1_unit": "linear"}


def test_db_is_interpolated_in_linear_power_too(tmp_path):
    write_pair(tmp_path / "linear")
    write_pair(tmp_path / "db", "db")

    linear, _ = open_sentinel1(tmp_path / "linear", GRID, "linear")
    decibels, _ = open_sentinel1(tmp_path / "db", GRID, "db")

    np.testing.assert_allclose(
        decibels.read("VV", 0, 180)[0], linear.read("VV", 0, 180)[0], atol=1e-4
    )


def test_another_utm_zone_is_warped(tmp_path):
    # The corner of the scene in the zone to the west, whose north is turned against it.
    for band in ("VV", "VH"):
        write_tiff(
            tmp_path / f"S1A_RTC_{band}.tif", power(band, (900, 900)),
            left=699_503, top=5_901_497, epsg=32632,
        )  # fmt: skip

    sentinel1, _ = open_sentinel1(tmp_path, GRID, "linear")
    strips = {top: sentinel1.read("VH", top, 60)[0] for top in (120, 0, 60)}

    decibels = np.concatenate([strips[top] for top in sorted(strips)])
    expected = interpolated(power("VH", (900, 900)), left=699_503, top=5_901_497, epsg=32632)
    check_close(decibels, expected)


def test_degrees_are_warped(tmp_path):
    # 10.7 m from west to east, 17.8 m from north to south: finer pixels would be averaged, too.
    place = {"left": 12.0, "top": 53.22, "epsg": 4326}
    for band in ("VV", "VH"):
        write_tiff(tmp_path / f"{band}.tif", power(band, (400, 600)), metres=0.00016, **place)

    sentinel1, _ = open_sentinel1(tmp_path, GRID, "linear")

    expected = interpolated(power("VV", (400, 600)), **place, size=0.00016)
    check_close(sentinel1.read("VV", 0, 180)[0], expected)


def check_close(decibels, expected):
    # Half a pixel off would be 0.8 dB on average in this speckle; GDAL is within an eighth of one.
    difference = np.abs(decibels - expected)
    assert difference.mean() < 0.02
    assert difference.max() < 0.5


def interpolated(pixels, left, top, epsg, size=10):
    """dB of linear power at the centres of the grid's pixels, by formula."""
    x, y = np.meshgrid(
        GRID.left + 10 * (np.arange(GRID.width) + 0.5),
        GRID.top - 10 * (np.arange(GRID.height) + 0.5),
    )
    eastings, northings = transform(GRID.crs, f"EPSG:{epsg}", x.ravel(), y.ravel())
    columns = (np.array(eastings) - left) / size - 0.5
    rows = (top - np.array(northings)) / size - 0.5
    i, j = np.floor(rows).astype(int), np.floor(columns).astype(int)
    down, right = rows - i, columns - j
    upper = pixels[i, j] * (1 - right) + pixels[i, j + 1] * right
    lower = pixels[i + 1, j] * (1 - right) + pixels[i + 1, j + 1] * right
    return 10 * np.log10(upper * (1 - down) + lower * down).reshape(GRID.height, GRID.width)


def test_the_same_grid_is_left_as_it_is(tmp_path):
    for band in ("VV", "VH"):
        write_tiff(tmp_path / f"{band}.tif", power(band, (180, 240)))

    sentinel1, _ = open_sentinel1(tmp_path, GRID, "linear")

    np.testing.assert_allclose(
        sentinel1.read("VV", 60, 60)[0], 10 * np.log10(power("VV", (180, 240))[60:120]), atol=1e-4
    )


@pytest.mark.parametrize("nodata", [None, -9999, float("nan"), 0])
def test_pixels_without_data_are_masked_and_get_the_mean_of_the_training_data(tmp_path, nodata):
    empty = 0 if nodata is None else nodata
    for band in ("VV", "VH"):
        pixels = power(band, (180, 240))
        pixels[:, :30] = empty
        write_tiff(tmp_path / f"{band}.tif", pixels, nodata=nodata)

    sentinel1, _ = open_sentinel1(tmp_path, GRID, "linear")

    for band in ("VV", "VH"):
        decibels, measured = sentinel1.read(band, 0, 180)
        assert not measured[:, :30].any()
        assert measured[:, 30:].all()
        assert decibels[:, :30] == pytest.approx(MEAN[band], abs=0.05)
        expected = 10 * np.log10(power(band, (180, 240))[:, 30:])
        np.testing.assert_allclose(decibels[:, 30:], expected, atol=1e-4)


def test_a_scene_reads_both_sensors_and_masks_what_either_lacks(tmp_path):
    optical = make_band_folder(tmp_path / "s2", bands=("B02", "B05"))
    for band in ("VV", "VH"):
        pixels = power(band, (180, 240))
        pixels[:24] = np.nan if band == "VH" else 0.1
        write_tiff(tmp_path / "s1" / f"{band}.tif", pixels)

    with open_scene(
        optical.path, boa_offset=0, sentinel1=tmp_path / "s1", sentinel1_unit="linear"
    ) as scene:
        strip = scene.read(["VH", "B05", "VV"], 0, 60)
        mask = scene.read_mask(0, 60)

    assert scene.bands == ("VV", "VH", "B02", "B05")
    assert list(strip) == ["VH", "B05", "VV"]
    assert strip["VV"].shape == strip["VH"].shape == (60, 240)
    assert (mask[:24] == 1).all()
    assert (mask[24:, :-60] == 0).all()
    assert (mask[24:, -60:] == 2).all()
    assert np.isfinite(strip["VH"]).all()


def test_a_strip_is_the_callers_own(tmp_path):
    optical = make_band_folder(tmp_path / "s2", bands=("B02",))
    for band in ("VV", "VH"):
        write_tiff(tmp_path / "s1" / f"{band}.tif", power(band, (180, 240)))

    with open_scene(
        optical.path, boa_offset=0, sentinel1=tmp_path / "s1", sentinel1_unit="linear"
    ) as scene:
        first = scene.read(["B02", "VV"], 0, 60)
        kept = {band: pixels.copy() for band, pixels in first.items()}
        for pixels in first.values():
            pixels[:] = 0
        again = scene.read(["B02", "VV"], 0, 60)

    for band, pixels in kept.items():
        np.testing.assert_array_equal(again[band], pixels)


# Unit ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tags", "unit"),
    [
        ({"units": "dB"}, "db"),
        ({"DESCRIPTION": "Sigma0 in decibels"}, "db"),
        ({"scale": "power"}, "linear"),
        ({"description": "gamma0, linear"}, "linear"),
    ],
)
def test_the_unit_is_read_in_the_tags(tmp_path, tags, unit):
    write_pair(tmp_path, unit)
    tag(tmp_path, **tags)

    _, about = open_sentinel1(tmp_path, GRID)

    assert about["sentinel1_unit"] == unit


def test_the_unit_is_read_in_the_assets_of_an_item(tmp_path):
    write_pair(tmp_path, "db")
    assets = {
        band.lower(): {"href": f"S1A_RTC_{band}.tif", "raster:bands": [{"unit": "dB"}]}
        for band in ("VV", "VH")
    }
    item = {"type": "Feature", "id": "S1A_RTC", "properties": {}, "assets": assets}

    sentinel1, about = open_sentinel1(write_item(tmp_path / "item.json", item), GRID)

    assert about == {"sentinel1": "S1A_RTC", "sentinel1_unit": "db"}
    expected = open_sentinel1(tmp_path, GRID, "db")[0].read("VH", 0, 60)[0]
    np.testing.assert_array_equal(sentinel1.read("VH", 0, 60)[0], expected)


def test_a_unit_that_nothing_says_is_not_guessed(tmp_path):
    write_pair(tmp_path)

    with pytest.raises(UnknownUnitError, match=r"VV\.tif is in dB or linear.*--sentinel1-unit"):
        open_sentinel1(tmp_path, GRID)


def test_metadata_that_say_two_units_are_not_believed(tmp_path):
    write_pair(tmp_path)
    tag(tmp_path, units="dB", description="linear power")

    with pytest.raises(UnknownUnitError, match="not clear"):
        open_sentinel1(tmp_path, GRID)
    assert open_sentinel1(tmp_path, GRID, "linear")[1]["sentinel1_unit"] == "linear"


def test_a_unit_that_the_metadata_contradict_is_refused(tmp_path):
    write_pair(tmp_path, "db")
    tag(tmp_path, units="dB")

    with pytest.raises(UnknownUnitError, match=r"is 'linear', but .*units is 'dB'"):
        open_sentinel1(tmp_path, GRID, "linear")


def test_values_that_cannot_be_of_the_unit_are_refused(tmp_path):
    write_pair(tmp_path / "linear")
    write_pair(tmp_path / "db", "db")

    with pytest.raises(UnknownUnitError, match="declared as dB but has no value below 0"):
        open_sentinel1(tmp_path / "linear", GRID, "db")
    with pytest.raises(UnknownUnitError, match="linear power but has the value -"):
        open_sentinel1(tmp_path / "db", GRID, "linear")


def test_amplitude_is_refused(tmp_path):
    write_pair(tmp_path)
    tag(tmp_path, scale="amplitude")

    with pytest.raises(UnknownUnitError, match="Square it"):
        open_sentinel1(tmp_path, GRID, "linear")


def test_an_unknown_unit_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="one of db, linear, not 'dBm'"):
        open_sentinel1(write_pair(tmp_path), GRID, "dBm")


# What is refused ----------------------------------------------------------------------------------


def test_a_level_1_product_in_radar_geometry_is_refused_with_the_reason(tmp_path):
    folder = tmp_path / "S1A_IW_GRDH_1SDV_20230821T165809.SAFE"
    (folder / "measurement").mkdir(parents=True)

    with pytest.raises(ProductLevelError, match=r"neither calibrated nor geocoded.*SNAP"):
        open_sentinel1(folder, GRID)


def test_a_zip_is_refused_for_what_it_is(tmp_path):
    for name in ("S1A_IW_GRDH_1SDV_20230821T165809.zip", "my_rtc.zip"):
        (tmp_path / name).touch()

    with pytest.raises(ProductLevelError, match="neither calibrated"):
        open_sentinel1(tmp_path / "S1A_IW_GRDH_1SDV_20230821T165809.zip", GRID)
    with pytest.raises(ProductError, match="Unpack it"):
        open_sentinel1(tmp_path / "my_rtc.zip", GRID)


def test_a_file_tied_to_the_ground_by_points_is_refused(tmp_path):
    points = [
        GroundControlPoint(row, column, 12 + column / 1e4, 53 - row / 1e4, 0)
        for row in (0, 200)
        for column in (0, 250)
    ]
    for band in ("VV", "VH"):
        with rasterio.open(
            tmp_path / f"{band}.tif", "w", driver="GTiff", width=300, height=240, count=1,
            dtype="float32", gcps=points, crs="EPSG:4326",
        ) as file:  # fmt: skip
            file.write(power(band), 1)

    with pytest.raises(ProductLevelError, match=r"control points.*radar geometry"):
        open_sentinel1(tmp_path, GRID, "linear")


def test_whole_numbers_are_refused_as_not_calibrated(tmp_path):
    for band in ("VV", "VH"):
        write_tiff(tmp_path / f"{band}.tif", np.full((180, 240), 87, np.uint16))

    with pytest.raises(ProductError, match=r"uint16.*not\s+calibrated"):
        open_sentinel1(tmp_path, GRID, "linear")


@pytest.mark.parametrize("place", [{"left": 600_000}, {"top": 5_000_000}, {"epsg": 32760}])
def test_a_product_of_another_place_is_refused(tmp_path, place):
    write_pair(tmp_path, **place)

    with pytest.raises(GridError, match=r"VV\.tif lies elsewhere"):
        open_sentinel1(tmp_path, GRID, "linear")


def test_a_rotated_product_is_refused(tmp_path):
    turned = Affine(10, 1, 299_770, 1, -10, 5_900_270)
    write_pair(tmp_path, transform=turned)

    with pytest.raises(GridError, match=r"rotated or not north-up.*gdalwarp"):
        open_sentinel1(tmp_path, GRID, "linear")


def test_a_missing_polarisation_is_named(tmp_path):
    write_pair(tmp_path)
    (tmp_path / "S1A_RTC_VH.tif").unlink()

    with pytest.raises(MissingBandError, match="lacks VH"):
        open_sentinel1(tmp_path, GRID, "linear")


def test_a_path_that_is_not_there_or_no_product_is_refused(tmp_path):
    write_pair(tmp_path)

    with pytest.raises(ProductError, match="No Sentinel-1 product at"):
        open_sentinel1(tmp_path / "nowhere", GRID)
    (tmp_path / "notes.txt").write_text("VV")
    with pytest.raises(ProductError, match="not a known kind of Sentinel-1 product"):
        open_sentinel1(tmp_path / "notes.txt", GRID)
    with pytest.raises(MissingBandError, match=r"lacks VV and VH.*describe bands of a GeoTIFF"):
        open_sentinel1(tmp_path / "S1A_RTC_VV.tif", GRID)


def test_files_can_be_named_one_by_one(tmp_path):
    write_pair(tmp_path)
    shutil.move(tmp_path / "S1A_RTC_VV.tif", tmp_path / "first.tif")
    shutil.move(tmp_path / "S1A_RTC_VH.tif", tmp_path / "second.tif")

    sentinel1, _ = open_sentinel1(
        {"vh": tmp_path / "second.tif", "VV": tmp_path / "first.tif"}, GRID, "linear"
    )

    expected = warped_by_rasterio(tmp_path / "second.tif", 0, 60)
    np.testing.assert_allclose(sentinel1.read("VH", 0, 60)[0], expected, atol=1e-4)


def test_opening_and_reading_take_no_more_rows_than_a_strip_needs(tmp_path, monkeypatch):
    write_tiff(tmp_path / "VV.tif", power("VV", (2000, 300)), left=299_700, top=5_901_000)
    source = BandFile(str(tmp_path / "VV.tif"))
    asked = []
    read_rows = source.read_rows
    monkeypatch.setattr(
        source, "read_rows", lambda top, height: asked.append(height) or read_rows(top, height)
    )

    WarpedBand(source, Grid("EPSG:32633", 300_000, 5_900_040, 240, 1800), "linear", "VV").read(
        0, 60
    )

    assert len(asked) == 4
    assert max(asked) <= 60 + 8


def test_a_strip_beside_the_product_has_no_data(tmp_path):
    write_tiff(tmp_path / "VV.tif", power("VV", (60, 240)))
    band = WarpedBand(BandFile(str(tmp_path / "VV.tif")), GRID, "linear", "VV")

    decibels, measured = band.read(120, 60)

    assert not measured.any()
    assert decibels == pytest.approx(MEAN["VV"], abs=0.05)


@pytest.mark.parametrize("product", [5, [1], b"x"])
def test_what_is_no_product_is_refused(product):
    with pytest.raises(ProductError, match="sentinel1 must be a folder"):
        open_sentinel1(product, GRID, "db")
