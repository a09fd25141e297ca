import json
import os
from pathlib import Path

import pytest

from reben.errors import ProductError, ProductLevelError
from reben.scene.mission import require_mission
from reben.scene.product import open_scene
from reben.scene.readers.stac import open_item
from reben.scene.search import only_item
from scene.made_up_product import make_band_folder, make_item, write_item

CASES = Path(os.environ.get("REBEN_TEST_DATA", "no such folder")) / "cases"


@pytest.mark.parametrize(
    "properties",
    [
        {},
        {"platform": "sentinel-2b", "constellation": "sentinel-2", "collection": "sentinel-2-l2a"},
        {"platform": "Sentinel-2A", "collection": "sentinel-s2-l2a-cogs"},
        {"platform": "S2C", "constellation": ["Sentinel 2"]},
        {"collection": "my-hotspot-and-disaster-study"},
    ],
)
def test_items_of_sentinel_2_and_of_nobody_pass(properties):
    require_mission("item", properties, "Sentinel-2")


@pytest.mark.parametrize(
    "properties",
    [
        {"platform": "landsat-9", "collection": "landsat-c2-l2"},
        {"collection": "landsat-c2-l2"},
        {"platform": "terra", "collection": "modis-09A1-061"},
        {"platform": "Sentinel-3A", "collection": "sentinel-3-olci-lfr-l2-netcdf"},
        {"platform": "sentinel-2a", "collection": "HLSS30.v2.0"},
        {"platform": "sentinel-2a", "collection": "hls2-s30"},
        {"constellation": "planetscope"},
        {"instruments": ["oli", "tirs"]},
        {"collection": "MOD09GA.061"},
        {"collection": "LC08_L2SP"},
    ],
)
def test_items_of_other_satellites_are_refused(properties):
    with pytest.raises(ProductError, match="another satellite than Sentinel-2") as caught:
        require_mission("item", properties, "Sentinel-2")
    said = next(iter(properties.values()))
    said = " ".join(said) if isinstance(said, list) else said
    assert said in str(caught.value) or "hls" in str(caught.value).lower()


def test_a_sentinel_1_item_leads_to_its_option():
    with pytest.raises(ProductError, match="--sentinel1"):
        require_mission("item", {"platform": "SENTINEL-1A"}, "Sentinel-2")


@pytest.mark.parametrize(
    "properties",
    [
        {"platform": "SENTINEL-1A", "constellation": "Sentinel-1", "collection": "sentinel-1-rtc"},
        {"platform": "Sentinel-1A", "collection": "OPERA_L2_RTC-S1_V1"},
    ],
)
def test_calibrated_items_of_sentinel_1_pass(properties):
    require_mission("item", properties, "Sentinel-1")


def test_collections_of_level_1_are_refused_for_both():
    with pytest.raises(ProductLevelError, match="level 1C"):
        require_mission("item", {"collection": "sentinel-2-l1c"}, "Sentinel-2")
    with pytest.raises(ProductLevelError, match="sentinel-1-grd"):
        require_mission("item", {"collection": "sentinel-1-grd"}, "Sentinel-1")
    with pytest.raises(ProductError, match="another satellite than Sentinel-1"):
        require_mission("item", {"platform": "sentinel-2a"}, "Sentinel-1")


def test_the_satellite_is_named_before_offset_and_pixel_size(tmp_path):
    made = make_band_folder(tmp_path, bands=("B02",), scl=False)
    item = make_item(made, properties={"platform": "landsat-8"}) | {"collection": "landsat-c2-l2"}

    with pytest.raises(ProductError, match="platform is landsat-8 and its collection is landsat"):
        open_scene(write_item(tmp_path / "item.json", item))
    with pytest.raises(ProductError, match="platform is landsat-8"):
        open_scene(item, boa_offset=99)


def test_datasets_say_it_too():
    import numpy as np
    import xarray as xr

    plain = xr.Dataset({"B02": (("y", "x"), np.ones((2, 2)))})
    said = {"platform": "landsat-8"}
    in_time = plain.expand_dims(time=1).assign_coords(platform=("time", ["landsat-8"]))
    for dataset in (plain.assign_attrs(said), in_time, {"B02": plain.B02.assign_attrs(said)}):
        with pytest.raises(ProductError, match="platform is landsat-8"):
            open_scene(dataset, boa_offset=0)
    with pytest.raises(ProductLevelError, match="level 1C"):
        open_scene(plain.assign_attrs({"processing:level": "L1C"}), boa_offset=0)


def test_what_earth_engine_calls_grd_is_calibrated():
    require_mission("item", {"collection": "COPERNICUS/S1_GRD"}, "Sentinel-1")


@pytest.mark.skipif(not CASES.is_dir(), reason="REBEN_TEST_DATA names no cases")
def test_the_real_landsat_item_is_refused_by_platform_and_collection():
    (path,) = (CASES / "stac-items").glob("*landsat*.json")
    assert json.loads(path.read_text())["collection"] == "landsat-c2-l2"

    with pytest.raises(ProductError) as caught:
        open_scene(path)

    said = str(caught.value)
    assert "platform is landsat-9 and its collection is landsat-c2-l2" in said
    assert "offset" not in said
    assert "10 m" not in said


@pytest.mark.skipif(not CASES.is_dir(), reason="REBEN_TEST_DATA names no cases")
def test_the_real_sentinel_2_item_is_of_sentinel_2():
    (path,) = (CASES / "stac-items").glob("earth-search*.json")
    require_mission("item", open_item(only_item(path)).properties, "Sentinel-2")
