"""The offset of a product held against its pixels."""

import json
import logging
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import rasterio
import xarray as xr

from reben.errors import OffsetConflictError
from reben.scene.product import open_scene
from scene.made_up_product import (
    PIXEL_METRES,
    make_item,
    make_safe,
    numbers,
    write_item,
    write_jp2,
    write_tiff,
)

CASES = Path(os.environ.get("REBEN_TEST_DATA", "no such folder")) / "cases"
needs_cases = pytest.mark.skipif(not CASES.is_dir(), reason="REBEN_TEST_DATA names no cases")
FLAG = "earthsearch:boa_offset_applied"
LEVELS = {"B02": 300, "B03": 520, "B04": 410, "B08": 2900}
"""Reflectance x 10000 of a meadow."""


def meadow(folder, lift=0, *, side=240, scl=4, changes=None, bands=LEVELS, **profile):
    """A folder of bands without an offset, or with ``lift`` added, and its classification."""
    for band in bands:
        side_of_band = side * 10 // PIXEL_METRES[band]
        ramp = np.add.outer(np.arange(side_of_band), np.arange(side_of_band)) % 90
        pixels = (ramp + LEVELS[band] + lift).astype(np.uint16)
        for rows, value in (changes or {}).items():
            pixels[: rows * side_of_band // 100] = value
        write_tiff(folder / f"{band}.tif", pixels, metres=PIXEL_METRES[band], **profile)
    if scl is not None:
        classes = np.full((side // 2, side // 2), scl, np.uint8)
        write_tiff(folder / "SCL.tif", classes, metres=20)
    return folder


def item_of(folder, *, flag=None, offset=-0.1, baseline="05.11"):
    class Made:
        path = folder

    properties = {"s2:processing_baseline": baseline, **({} if flag is None else {FLAG: flag})}
    assets = {
        band: {"raster:bands": [{"scale": 0.0001, "offset": offset, "nodata": 0}]}
        for band in LEVELS
    }
    return write_item(folder / "item.json", make_item(Made, properties=properties, assets=assets))


def read(product, **more):
    with open_scene(product, **more) as scene:
        return scene.read(["B02"], 0, 6)["B02"], dict(scene.about)


# An offset that was removed already ---------------------------------------------------------------


def test_metadata_with_an_offset_that_was_removed_are_refused_with_both_readings(tmp_path):
    item = item_of(meadow(tmp_path), flag=False)

    with pytest.raises(OffsetConflictError) as caught:
        open_scene(item)

    said = str(caught.value)
    assert f"{FLAG} is false" in said
    assert "offset -1000" in said
    assert "100% of the lit land" in said
    assert "B02 100%" in said
    assert "boa_offset=0 (--boa-offset 0)" in said
    stored, about = read(item, boa_offset=0)
    assert stored[0, 0] == LEVELS["B02"]
    assert about["boa_offset"] == "0"
    assert f"{FLAG} is false" in about["boa_offset_unused"]


def test_a_wrong_offset_of_the_user_is_refused_too(tmp_path):
    folder = meadow(tmp_path)

    with pytest.raises(OffsetConflictError, match=r"given as boa_offset.*--boa-offset 0"):
        open_scene(folder, boa_offset=-1000)
    assert read(folder, boa_offset=-1000, trust_offset=True)[0].max() == 0
    assert read(folder, boa_offset=0)[0][0, 0] == LEVELS["B02"]


def test_numbers_with_their_offset_pass(tmp_path):
    stored, _ = read(item_of(meadow(tmp_path, lift=1000), flag=False))
    assert stored[0, 0] == LEVELS["B02"]


@pytest.mark.parametrize("scl", [4, None])
def test_some_shadow_is_no_reason(tmp_path, scl):
    folder = meadow(tmp_path, lift=1000, changes={8: 960}, scl=scl)
    assert read(folder, boa_offset=-1000)[0].max() == 0


def test_water_is_no_reason_where_a_classification_tells(tmp_path):
    folder = meadow(tmp_path, lift=1000, changes={60: 960})
    classes = np.full((120, 120), 4, np.uint8)
    classes[:72] = 6
    write_tiff(folder / "SCL.tif", classes, metres=20)

    read(folder, boa_offset=-1000)

    write_tiff(folder / "SCL.tif", np.full_like(classes, 4), metres=20)
    with pytest.raises(OffsetConflictError, match="60% of the lit land"):
        open_scene(folder, boa_offset=-1000)


def test_land_under_clouds_is_enough(tmp_path):
    folder = meadow(tmp_path, changes={80: 6000})
    classes = np.full((120, 120), 9, np.uint8)
    classes[96:] = 4
    write_tiff(folder / "SCL.tif", classes, metres=20)

    with pytest.raises(OffsetConflictError, match="100% of the lit land"):
        open_scene(folder, boa_offset=-1000)


def test_numbers_without_data_do_not_count(tmp_path):
    folder = meadow(tmp_path, lift=1000, changes={95: 0})
    read(folder, boa_offset=-1000)


def test_one_band_alone_is_looked_at_as_well(tmp_path):
    folder = meadow(tmp_path, bands=("B03",), scl=None)
    with pytest.raises(
        OffsetConflictError, match="100% of the pixels would be negative in all of B03"
    ):
        open_scene(folder, boa_offset=-1000)


def test_a_safe_whose_images_were_changed_is_refused_with_another_cure(tmp_path):
    made = make_safe(tmp_path, bands=("B02", "B03", "B04"))
    for band in ("B02", "B03", "B04"):
        write_jp2(made.image(band), numbers(band, 240, 180) // 4, metres=10)

    with pytest.raises(OffsetConflictError, match=r"Download the product again.*--trust-offset"):
        open_scene(made.path)
    assert read(made.path, trust_offset=True)[1]["boa_offset"] == "-1000"


def test_arrays_are_looked_at_as_well(tmp_path):
    for lift, is_refused in ((0, True), (1000, False)):
        folder = meadow(tmp_path / str(lift), lift=lift, side=1500)
        opened = {}
        for band in ("B02", "B03", "B04"):
            with rasterio.open(folder / f"{band}.tif") as file:
                centres = np.arange(1500) * 10 + 5.0
                opened[band] = xr.DataArray(
                    file.read(1),
                    dims=("y", "x"),
                    coords={"y": 5_900_040 - centres, "x": 300_000 + centres},
                    attrs={"crs": "EPSG:32633"},
                )
        if is_refused:
            with pytest.raises(OffsetConflictError, match="B02 100%"):
                open_scene(opened, boa_offset=-1000)
        else:
            open_scene(opened, boa_offset=-1000).close()


def test_large_scenes_are_looked_at_in_their_overviews(tmp_path, monkeypatch):
    folder = meadow(tmp_path, side=1500, scl=None, tiled=True, blockxsize=256, blockysize=256)
    for band in LEVELS:
        with rasterio.open(folder / f"{band}.tif", "r+") as file:
            file.build_overviews([2, 4])
    monkeypatch.setattr(
        "reben.scene.band_source.BandFile.read_rows", lambda *_: pytest.fail("rows are read")
    )
    with pytest.raises(OffsetConflictError, match="B02 100%"):
        open_scene(folder, boa_offset=-1000)


@needs_cases
def test_the_item_with_a_wrong_flag_is_refused_and_read_with_offset_0(tmp_path):
    item = CASES / "earth-search-flag-false" / "item.json"

    with pytest.raises(OffsetConflictError, match=r"B02 97%.*--boa-offset 0"):
        open_scene(item)

    stored, about = read(item, boa_offset=0)
    with rasterio.open(item.with_name("blue.tif")) as file:
        np.testing.assert_array_equal(stored, file.read(1)[:6])
    assert about["boa_offset"] == "0"


# A flag that says it was removed ------------------------------------------------------------------


def test_a_flag_wins_over_the_offset_that_assets_kept_and_is_said_once(tmp_path, caplog):
    item = item_of(meadow(tmp_path), flag=True)

    with caplog.at_level(logging.WARNING, logger="reben"):
        stored, about = read(item)

    assert stored[0, 0] == LEVELS["B02"]
    assert about["boa_offset"] == "0"
    assert about["boa_offset_source"] == f"{FLAG} is true"
    assert "scale 0.0001 and offset -0.1" in about["boa_offset_unused"]
    assert len(caplog.records) == 1
    assert "using the offset 0" in caplog.text


def test_a_flag_that_no_pixel_confirms_is_refused(tmp_path):
    item = item_of(meadow(tmp_path, lift=1000), flag=True)

    with pytest.raises(OffsetConflictError, match=r"boa_offset=-1000 or boa_offset=0"):
        open_scene(item)
    assert read(item, boa_offset=-1000)[0][0, 0] == LEVELS["B02"]
    assert read(item, boa_offset=0)[0][0, 0] == LEVELS["B02"] + 1000


@needs_cases
def test_real_metadata_with_a_true_flag_are_read_with_offset_0(tmp_path):
    folder = shutil.copytree(CASES / "earth-search-flag-false", tmp_path / "item")
    folder.chmod(0o755)
    (path,) = (CASES / "stac-items").glob("earth-search*.json")
    item = json.loads(path.read_text())
    for asset in item["assets"].values():
        asset["href"] = Path(asset["href"]).name
    names = {path.stem: path.name for path in folder.glob("*.tif")}
    item["assets"] = {
        key: {**asset, "href": names[key]} for key, asset in item["assets"].items() if key in names
    }
    (folder / "true.json").write_text(json.dumps(item))

    stored, about = read(folder / "true.json")

    with rasterio.open(folder / "blue.tif") as file:
        np.testing.assert_array_equal(stored, file.read(1)[:6])
    assert about["boa_offset_source"] == f"{FLAG} is true"
