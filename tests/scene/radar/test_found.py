import numpy as np
import pytest
import rasterio
import xarray as xr

from reben.errors import (
    ConfigError,
    MissingBandError,
    ProductError,
    ProductLevelError,
    UnknownUnitError,
)
from reben.scene.grid import Grid
from reben.scene.radar.found import find_sentinel1, is_sentinel1
from reben.scene.radar.sentinel1 import open_sentinel1
from reben.scene.readers.stac import open_item
from reben.spec.radar_names import polarisation_named
from scene.made_up_product import write_tiff

GRID = Grid("EPSG:32633", 300_000, 5_900_040, 120, 120)
DB = {"VV": -10.5, "VH": -17.25}
NUMBERS = {"VV": 0.09, "VH": 0.0188}


def decibels(band, shape=(120, 120)):
    """dB [h, w], growing down, each band its own."""
    return (DB[band] + np.arange(shape[0])[:, None] / 100 + np.zeros(shape)).astype(np.float32)


def write_named(folder, pattern, *, unit="db"):
    for band in ("VV", "VH"):
        name = pattern.format(band, low=band.lower())
        pixels = decibels(band) if unit == "db" else 10 ** (decibels(band) / 10)
        write_tiff(folder / name, pixels)
    return folder


def write_both(path, descriptions=("VV", "VH"), *, shape=(120, 120), **more):
    """One GeoTIFF of both bands, in the order of the descriptions."""
    profile = {"driver": "GTiff", "dtype": "float32", "crs": "EPSG:32633", "count": 2}
    transform = rasterio.Affine(10, 0, 300_000, 0, -10, 5_900_040)
    profile |= {"height": shape[0], "width": shape[1], "transform": transform} | more
    with rasterio.open(path, "w", **profile) as file:
        for index, band in enumerate(("VV", "VH"), start=1):
            file.write(decibels(band, shape), index)
        file.descriptions = descriptions
    return path


def first(product, band, **more):
    sentinel1, _ = open_sentinel1(product, GRID, **more)
    return sentinel1.read(band, 0, 6)[0][0, 0]


@pytest.mark.parametrize(
    ("text", "band"),
    [
        ("vv", "VV"), ("VH", "VH"), ("gamma0_vv", "VV"), ("sigma0_vh", "VH"), ("sigma0VV", "VV"),
        ("Sigma0_VV_db", "VV"), ("Gamma0_VH", "VH"), ("VV_db", "VV"), ("vv_gamma0", "VV"),
        ("Sigma0 VH (dB)", "VH"), ("Beta0_VV", "VV"),
        ("s1c-iw-grd-vv-20250101t053012-20250101t053037-001234-002345-001", "VV"),
        ("OPERA_L2_RTC-S1_T064-135518-IW1_20230821T135110Z_20230821T201013Z_S1A_30_v1.0_VV", "VV"),
        ("S1A_IW_20180128T161201_DVP_RTC30_G_gpuned_FD6A_VH", "VH"),
        ("S1A_IW_GRDH_1SDV_20170613T165043_33UUP_65_63_VH", "VH"), ("iw-vv.rtc", "VV"),
        ("VV_10m", "VV"),
        ("VV_VH", None), ("VV_mask", None), ("noise-s1a-iw-grd-vv-20250101t1-2", None),
        ("schema-calibration-vh", None), ("hh", None), ("angle", None), ("B02", None),
        ("SVV", None),         ("VV_VH_ratio", None), ("NRPB_VV_VH", None), ("", None),
    ],
)  # fmt: skip
def test_a_polarisation_is_told_by_name(text, band):
    assert polarisation_named(text) == band


@pytest.mark.parametrize(
    ("pattern", "quantity", "unit"),
    [
        ("Sigma0_{}_db.tif", "sigma0", "db"),
        ("Gamma0_{}_db.TIF", "gamma0", "db"),
        ("S1A_RTC_gamma0_{low}_dB.tiff", "gamma0", "db"),
        ("OPERA_L2_RTC-S1_T064-1-IW1_20230821T135110Z_20230821T201013Z_S1A_30_v1.0_{}.tif",
         "gamma0", "linear"),
        ("S1A_IW_20180128T161201_DVP_RTC10_G_sduned_FD6A_{}.tif", "sigma0", "db"),
        ("{}_db.tif", None, "db"),
    ],
)  # fmt: skip
def test_files_say_by_their_names_what_they_are(tmp_path, pattern, quantity, unit):
    write_named(tmp_path / "s1", pattern, unit=unit)

    sentinel1, about = open_sentinel1(tmp_path / "s1", GRID)

    assert about["sentinel1_unit"] == unit
    assert sentinel1.known.quantity == quantity
    for band in ("VV", "VH"):
        np.testing.assert_allclose(sentinel1.read(band, 0, 120)[0], decibels(band), atol=1e-4)


@pytest.mark.parametrize("keys", [("vv", "vh"), ("gamma0_vv", "gamma0_vh"), ("x", "y")])
def test_assets_are_told_by_key_band_or_file(tmp_path, keys):
    write_named(tmp_path, "Gamma0_{}_db.tif")
    assets = {
        key: {"href": f"{tmp_path}/Gamma0_{band}_db.tif", "type": "image/tiff"}
        for key, band in zip(keys, ("VV", "VH"), strict=True)
    }
    assets["schema-noise-vv"] = {"href": f"{tmp_path}/noise-vv.xml", "type": "application/xml"}
    item = {"type": "Feature", "id": "S1A", "properties": {}, "assets": assets}

    assert is_sentinel1(open_item(item))
    for band in ("VV", "VH"):
        assert first(item, band) == pytest.approx(DB[band], abs=1e-4)


def test_one_asset_of_two_bands_is_read_by_their_names(tmp_path):
    path = write_both(tmp_path / "s1.tif")
    bands = [{"name": "VV"}, {"name": "VH"}]
    assets = {"data": {"href": str(path), "eo:bands": bands}}
    item = {"type": "Feature", "id": "S1A", "properties": {}, "assets": assets}

    for band in ("VV", "VH"):
        assert first(item, band, unit="db") == pytest.approx(DB[band], abs=1e-4)


def test_variables_and_bands_of_arrays_are_told_by_name():
    x, y = 300_005 + 10 * np.arange(120), 5_900_035 - 10 * np.arange(120)
    arrays = {f"Sigma0_{band}_db": (("y", "x"), decibels(band)) for band in ("VH", "VV")}
    dataset = xr.Dataset(arrays, coords={"x": x, "y": y}, attrs={"crs": "EPSG:32633"})
    stacked = dataset.to_array("band", name="s1").assign_attrs(crs="EPSG:32633")

    for product in (dataset, stacked):
        assert is_sentinel1(product)
        for band in ("VV", "VH"):
            assert first(product, band) == pytest.approx(DB[band], abs=1e-4)


def test_a_geotiff_of_both_is_told_by_its_descriptions_never_by_order(tmp_path):
    path = write_both(tmp_path / "s1.tif")
    swapped = write_both(tmp_path / "swapped.tif", ("VH", "VV"))
    plain = write_both(tmp_path / "plain.tif", (None, None))

    assert is_sentinel1(path)
    assert first(path, "VV", unit="db") == pytest.approx(DB["VV"], abs=1e-4)
    assert first(swapped, "VV", unit="db") == pytest.approx(DB["VH"], abs=1e-4)
    with pytest.raises(UnknownUnitError, match="--sentinel1-unit"):
        open_sentinel1(path, GRID)
    with pytest.raises(MissingBandError, match=r"lacks VV and VH.*\(no name\), \(no name\)"):
        open_sentinel1(plain, GRID)
    assert not is_sentinel1(plain)
    assert is_sentinel1(plain, ["VV", "VH"])
    found = find_sentinel1(plain, band_names=["VH", "VV"])
    assert found.sources["VV"].read_rows(0, 1)[0, 0] == np.float32(DB["VH"])
    with pytest.raises(ConfigError, match="has 2 bands, and 3 names"):
        find_sentinel1(plain, band_names=["VH", "VV", "-"])


def test_the_cure_for_bands_without_a_name_works(tmp_path):
    import subprocess
    import sys

    path = write_both(tmp_path / "plain.tif", (None, None))
    with pytest.raises(MissingBandError) as caught:
        open_sentinel1(path, GRID)
    code = str(caught.value).rpartition('python -c "')[2].rpartition('"')[0]
    subprocess.run([sys.executable, "-c", code.replace("FILE.tif", str(path))], check=True)
    assert first(path, "VH", unit="db") == pytest.approx(DB["VH"], abs=1e-4)


def test_images_of_level_1_are_known_and_refused_with_the_cure(tmp_path):
    pattern = "s1c-iw-grd-{low}-20250101t053012-20250101t053037-001234-002345-001.tiff"
    write_named(tmp_path / "images", pattern)
    assets = {
        band.lower(): {"href": f"{tmp_path}/images/{pattern.format(band, low=band.lower())}"}
        for band in ("VV", "VH")
    }
    item = {"type": "Feature", "id": "S1C", "properties": {}, "assets": assets}

    for product in (tmp_path / "images", item):
        with pytest.raises(ProductLevelError, match=r"neither calibrated nor geocoded.*SNAP"):
            open_sentinel1(product, GRID)


def test_of_several_the_one_that_the_user_says_is_taken(tmp_path):
    write_named(tmp_path / "s1", "Gamma0_{}_db.tif")
    for band in ("VV", "VH"):
        write_tiff(tmp_path / "s1" / f"Sigma0_{band}_db.tif", decibels(band) - 1)
        write_tiff(tmp_path / "s1" / f"Sigma0_{band}.tif", 10 ** (decibels(band) / 10))

    with pytest.raises(ProductError, match=r"several that are VV: Gamma0_VV_db, Sigma0_VV, Sigma0"):
        open_sentinel1(tmp_path / "s1", GRID)
    found = first(tmp_path / "s1", "VV", quantity="sigma0", unit="db")
    assert found == pytest.approx(DB["VV"] - 1, abs=1e-4)


def test_what_earth_engine_says_of_its_collection_is_used():
    x, y = 300_005 + 10 * np.arange(120), 5_900_035 - 10 * np.arange(120)
    arrays = {band: (("y", "x"), decibels(band)) for band in ("VV", "VH")}
    attributes = {"crs": "EPSG:32633", "id": "COPERNICUS/S1_GRD"}
    dataset = xr.Dataset(arrays, coords={"x": x, "y": y}, attrs=attributes)

    sentinel1, about = open_sentinel1(dataset, GRID)

    assert about["sentinel1_unit"] == "db"
    assert sentinel1.known.quantity == "sigma0"


def test_two_names_that_contradict_each_other_are_not_believed(tmp_path):
    write_tiff(tmp_path / "s1" / "Sigma0_VV_db.tif", decibels("VV"))
    write_tiff(tmp_path / "s1" / "Gamma0_VH_db.tif", decibels("VH"))

    with pytest.raises(UnknownUnitError, match="not clear what"):
        open_sentinel1(tmp_path / "s1", GRID)
