"""What Sentinel-1 products hold, by their names and metadata."""

import logging

import numpy as np
import pytest

from reben.errors import ConfigError, UnknownUnitError
from reben.scene.grid import Grid
from reben.scene.product import open_scene
from reben.scene.radar.backscatter import Backscatter, unit_of
from reben.scene.radar.sentinel1 import open_sentinel1
from scene.made_up_product import make_band_folder, make_safe, write_item, write_tiff

GRID = Grid("EPSG:32633", 300_000, 5_900_040, 240, 180)
HYP3 = "S1A_IW_20230820T051234_DVP_RTC{metres}_G_{letters}_FD6A"
SNAP = "Subset_S1A_IW_GRDH_1SDV_20230820T051234_Orb_NR_Cal_TC"


def write_pair(folder, name, *, db=False, metres=10, lift=1.0, **more):
    rng = np.random.default_rng(1)
    side = 3000 // metres
    for band, level in (("VV", 0.055), ("VH", 0.0115)):
        power = (lift * level * rng.gamma(4, 0.25, (side, side))).astype(np.float32)
        pixels = 10 * np.log10(power) if db else power
        write_tiff(folder / f"{name}_{band}.tif", pixels, metres=metres, **more)
    return folder


def known(folder, **more):
    """The quantity, unit and pixel size that are recorded."""
    sentinel1, about = open_sentinel1(folder, GRID, **more)
    sentinel1.close()
    facts = sentinel1.known.about
    size = facts["sentinel1_pixel_metres"]
    return facts["sentinel1_quantity"], about["sentinel1_unit"], size


@pytest.mark.parametrize(
    ("name", "quantity", "unit"),
    [
        (HYP3.format(metres=10, letters="gpuned"), "gamma0", "linear"),
        (HYP3.format(metres=10, letters="spuned"), "sigma0", "linear"),
        (HYP3.format(metres=10, letters="gduned"), "gamma0", "db"),
        ("OPERA_L2_RTC-S1_T064-135519-IW1_20230820T051234Z_S1A_30_v1.0", "gamma0", "linear"),
        ("sentinel-1-rtc", "gamma0", "linear"),
        ("S1A_IW_GRDH_1SDV_20230820T051234_20230820T051259_049_rtc", "gamma0", "linear"),
        ("Sigma0_VV_db", "sigma0", "db"),
        (f"Gamma0_{SNAP}_dB", "gamma0", "db"),
    ],
)
def test_names_tell_quantity_and_unit(tmp_path, name, quantity, unit):
    folder = write_pair(tmp_path / name, "S1A", db=unit == "db")
    assert known(folder) == (quantity, unit, "10.00 x 10.00")


@pytest.mark.parametrize(
    ("tags", "quantity"),
    [
        ({"description": "Terrain-corrected gamma naught"}, "gamma0"),
        ({"description": "Sigma0_VV"}, "sigma0"),
        ({"measurement": "beta nought"}, "beta0"),
        ({"measurement": "\N{GREEK SMALL LETTER SIGMA}0"}, "sigma0"),
        ({"description": "backscatter"}, "not stated"),
    ],
)
def test_tags_tell_the_quantity(tmp_path, tags, quantity):
    assert Backscatter.of("S1", tags, None, (10, 10)).about["sentinel1_quantity"] == quantity


def test_amplitude_is_not_taken_for_power(tmp_path):
    folder = write_pair(tmp_path / HYP3.format(metres=10, letters="gauned"), "S1A")

    for unit in (None, "linear"):
        with pytest.raises(UnknownUnitError, match=r"holds amplitude.*HyP3.*Square it"):
            open_sentinel1(folder, GRID, unit)
    with pytest.raises(UnknownUnitError, match="holds amplitude"):
        unit_of("VV", {"card4l:measurement_convention": "amplitude"}, None)


def test_amplitude_without_a_name_is_suspected(tmp_path, caplog):
    rng = np.random.default_rng(1)
    for band, level in (("VV", 0.055), ("VH", 0.0115)):
        amplitude = np.sqrt(level * rng.gamma(4, 0.25, (300, 300))).astype(np.float32)
        write_tiff(tmp_path / f"{band}.tif", amplitude)

    with caplog.at_level(logging.WARNING, logger="reben"):
        open_sentinel1(tmp_path, GRID, "linear", "sigma0")

    assert "Amplitude that is taken for power" in caplog.text


def test_a_user_who_converted_the_values_knows_better_than_the_name(tmp_path):
    folder = write_pair(tmp_path / HYP3.format(metres=10, letters="gauned"), "S1A", db=True)
    assert known(folder, unit="db")[:2] == ("gamma0", "db")


@pytest.mark.parametrize(
    ("name", "metres", "wanted"),
    [
        (HYP3.format(metres=10, letters="spuned"), 10, []),
        (HYP3.format(metres=10, letters="gpuned"), 10, ["0.6 to 1.6 dB above sigma0"]),
        (
            HYP3.format(metres=30, letters="spuned"),
            30,
            ["30 m on the ground", "1.2 instead of 2.3"],
        ),
        (HYP3.format(metres=10, letters="spufed"), 10, ["speckle was filtered"]),
        (f"Sigma0_db_{SNAP}_Spk", 10, ["speckle was filtered"]),
        ("S1A", 10, ["Nothing says whether S1A is sigma0"]),
    ],
)
def test_what_differs_from_the_training_data_is_said_with_its_effect(
    tmp_path, caplog, name, metres, wanted
):
    folder = write_pair(tmp_path / name, "x", metres=metres, db="db" in name)

    with caplog.at_level(logging.WARNING, logger="reben"):
        open_sentinel1(folder, GRID, "db" if "db" in name else "linear")

    assert len(caplog.records) == bool(wanted)
    for words in wanted:
        assert words in caplog.text


def test_what_nothing_states_is_said_by_the_user(tmp_path, caplog):
    folder = write_pair(tmp_path / "S1A", "x")

    with caplog.at_level(logging.WARNING, logger="reben"):
        assert known(folder, unit="linear", quantity="sigma0")[0] == "sigma0"

    assert not caplog.records
    with pytest.raises(
        ConfigError, match="sentinel1_quantity must be one of sigma0, gamma0, beta0"
    ):
        open_sentinel1(folder, GRID, "linear", "sigma")


def test_a_quantity_that_names_contradict_is_refused(tmp_path):
    folder = write_pair(tmp_path / "Gamma0", "x")
    with pytest.raises(UnknownUnitError, match="sentinel1_quantity is 'sigma0', but Gamma0 says"):
        open_sentinel1(folder, GRID, "linear", "sigma0")
    with pytest.raises(UnknownUnitError, match=r"not clear.*--sentinel1-quantity"):
        Backscatter.of("S1", {"a": "sigma0", "b": "gamma0"}, None, (10, 10))


def test_pixels_in_degrees_are_measured_on_the_ground(tmp_path):
    from rasterio import Affine

    for band, level in (("VV", 0.055), ("VH", 0.0115)):
        pixels = np.full((800, 800), level, np.float32)
        write_tiff(
            tmp_path / f"{band}.tif", pixels, epsg=4326,
            transform=Affine(0.0001, 0, 11.98, 0, -0.0001, 53.23),
        )  # fmt: skip

    size = known(tmp_path, unit="linear", quantity="sigma0")[2]

    across, along = map(float, size.split(" x "))
    assert across == pytest.approx(6.68, abs=0.02)
    assert along == pytest.approx(11.13, abs=0.02)


@pytest.mark.parametrize("asset", [{"raster:bands": 5}, {"raster:bands": {"a": 1}}, {"bands": "x"}])
def test_assets_with_fields_of_other_types_are_read(tmp_path, asset):
    write_pair(tmp_path, "S1A")
    assets = {band: {"href": f"S1A_{band.upper()}.tif", **asset} for band in ("vv", "vh")}
    item = {"type": "Feature", "id": "x", "properties": {}, "assets": assets}
    assert known(write_item(tmp_path / "item.json", item), unit="linear")[1] == "linear"


def test_a_scene_records_what_its_radar_is(tmp_path):
    made = make_band_folder(tmp_path / "s2")
    radar = write_pair(tmp_path / HYP3.format(metres=10, letters="gpuned"), "S1A")

    with open_scene(made.path, sentinel1=radar, boa_offset=-1000) as scene:
        about = scene.about

    assert about["sentinel1_quantity"] == "gamma0"
    assert about["sentinel1_quantity_source"] == "the name (HyP3) is 'gamma0, linear power'"
    assert about["sentinel1_pixel_metres"] == "10.00 x 10.00"


def test_dates_that_are_months_apart_are_said(tmp_path, caplog):
    made = make_safe(tmp_path, width=240, height=180)  # of 21 August 2023
    facts = {}
    for day in ("20230820", "20170613"):
        name = f"S1A_IW_GRDH_1SDV_{day}T165043_33UUP_Sigma0"
        radar = write_pair(tmp_path / name, "x")
        with (
            caplog.at_level(logging.WARNING, logger="reben"),
            open_scene(made.path, sentinel1=radar, sentinel1_unit="linear") as scene,
        ):
            facts[day] = scene.about["sentinel1_days_apart"]

    assert facts == {"20230820": "0", "20170613": "2259"}
    assert len(caplog.records) == 1
    assert "of 2017-06-13" in caplog.text
    assert "2259 days apart" in caplog.text


# Values -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fill", [-9999.0, -32768.0, -1e30, 500.0, np.nan, np.inf])
def test_decibels_that_cannot_be_are_no_data(tmp_path, fill):
    write_pair(tmp_path, "x", db=True)
    pixels = np.full((300, 300), -12.0, np.float32)
    pixels[:, :40] = fill
    write_tiff(tmp_path / "x_VV.tif", pixels)

    sentinel1, _ = open_sentinel1(tmp_path, GRID, "db")
    decibels, measured = sentinel1.read("VV", 0, 60)

    assert not measured[:, :39].any()
    assert measured[:, 41:].all()
    assert decibels[measured] == pytest.approx(-12, abs=1e-3)
    assert decibels[~measured] == pytest.approx(-12.6, abs=0.1)


@pytest.mark.parametrize("fill", [-9999.0, -32768.0, 1e30, 0.0])
def test_power_that_cannot_be_is_no_data(tmp_path, fill):
    write_pair(tmp_path, "x")
    pixels = np.full((300, 300), 0.05, np.float32)
    pixels[:, :40] = fill
    write_tiff(tmp_path / "x_VV.tif", pixels)

    sentinel1, _ = open_sentinel1(tmp_path, GRID, "linear")
    _, measured = sentinel1.read("VV", 0, 60)

    assert not measured[:, :39].any()
    assert measured[:, 41:].all()
