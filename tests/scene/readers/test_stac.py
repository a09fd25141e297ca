import logging
import shutil
from dataclasses import replace

import numpy as np
import pytest

from reben.errors import (
    DownloadError,
    MissingBandError,
    OffsetConflictError,
    ProductError,
    ProductLevelError,
    UnknownOffsetError,
)
from reben.scene.product import open_scene
from scene.made_up_product import (
    BANDS,
    PIXEL_METRES,
    make_band_folder,
    make_item,
    numbers,
    write_item,
    write_tiff,
)
from scene.range_server import serve_folder

APPLIED = {"earthsearch:boa_offset_applied": True, "s2:processing_baseline": "05.09"}


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    return make_band_folder(tmp_path_factory.mktemp("bands"))


@pytest.fixture
def made(template, tmp_path):
    return replace(template, path=shutil.copytree(template.path, tmp_path / "item"))


def item_file(made, **more):
    return write_item(made.path / "item.json", make_item(made, **more))


def raster_bands(**stated):
    return {band: {"raster:bands": [stated]} for band in BANDS}


def offset_of(product, **more):
    with open_scene(product, **more) as scene:
        b04 = scene.read(["B04"], 0, 6)["B04"]
    return int(b04[0, 0]) - int(numbers("B04", 240, 180)[0, 0])


# Which offset -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("properties", "offset"),
    [
        ({"earthsearch:boa_offset_applied": True}, 0),
        ({"earthsearch:boa_offset_applied": True, "s2:processing_baseline": "05.09"}, 0),
        ({"earthsearch:boa_offset_applied": False, "s2:processing_baseline": "05.09"}, -1000),
        ({"earthsearch:boa_offset_applied": False, "s2:processing_baseline": "02.12"}, 0),
        ({"sentinel:boa_offset_applied": True}, 0),
        ({"s2:processing_baseline": "02.12"}, 0),
        ({"s2:processing_baseline": "03.01"}, 0),
        ({"s2:processing_baseline": "04.00"}, -1000),
        ({"sentinel:processing_baseline": "05.10"}, -1000),
        ({"processing:version": "05.11"}, -1000),
    ],
)
def test_the_offset_is_what_the_properties_say(made, properties, offset):
    assert offset_of(item_file(made, properties=properties)) == offset


@pytest.mark.parametrize(
    "properties",
    [
        {},
        {"earthsearch:boa_offset_applied": False},
        {"s2:processing_baseline": "99.99"},
        {"processing:version": "1.4.2"},
    ],
)
def test_an_item_that_does_not_say_its_offset_is_not_guessed(made, properties):
    path = item_file(made, properties=properties)

    with pytest.raises(UnknownOffsetError) as caught:
        open_scene(path)

    assert "--boa-offset -1000" in str(caught.value)
    assert "the values cannot tell" in str(caught.value)
    assert offset_of(path, boa_offset=-1000) == -1000
    assert offset_of(path, boa_offset=0) == 0


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_scale_and_offset_of_an_asset_count(made, version):
    by_asset = {band: {"raster:scale": 0.0001, "raster:offset": -0.1} for band in BANDS}
    assets = raster_bands(scale=0.0001, offset=-0.1) if version == "1.0" else by_asset

    path = item_file(made, assets=assets)

    assert offset_of(path) == -1000


def test_a_scale_alone_says_nothing_about_the_offset(made):
    path = item_file(made, assets=raster_bands(scale=0.0001))

    with pytest.raises(UnknownOffsetError):
        open_scene(path)


def test_an_item_that_contradicts_itself_is_refused_until_the_user_decides(made, caplog):
    assets = raster_bands(scale=0.0001, offset=-0.1)
    path = item_file(made, properties=APPLIED, assets=assets)

    with pytest.raises(OffsetConflictError) as caught:
        open_scene(path)
    with caplog.at_level(logging.WARNING, logger="reben"):
        assert offset_of(path, boa_offset=0) == 0

    assert "boa_offset_applied is true" in str(caught.value)
    assert "scale 0.0001 and offset -0.1" in str(caught.value)
    assert "boa_offset=-1000 or boa_offset=0" in str(caught.value)
    assert "using the given offset 0" in caplog.text


def test_tags_of_the_files_are_statements_too(made):
    for band in BANDS:
        write_tiff(made.path / f"{band}.tif", made.stored[band], metres=PIXEL_METRES[band])
        with_tags(made.path / f"{band}.tif", 0.0001, -0.1)

    assert offset_of(item_file(made)) == -1000
    assert offset_of(made.path) == -1000
    with pytest.raises(OffsetConflictError, match=r"B0\d\.tif has scale 0\.0001 and offset -0\.1"):
        open_scene(item_file(made, properties=APPLIED))


def with_tags(path, scale, offset):
    import rasterio

    with rasterio.open(path, "r+") as file:
        file.scales, file.offsets = [scale], [offset]


@pytest.mark.parametrize("offset", [1000, -0.1, float("nan"), "x", [1], -(10**400)])
def test_an_offset_that_was_meant_otherwise_is_refused(made, offset):
    with pytest.raises(OffsetConflictError, match="It is added to digital numbers"):
        open_scene(item_file(made), boa_offset=offset)


# Which asset --------------------------------------------------------------------------------------


def test_bands_are_found_by_name_whatever_the_key(made):
    item = make_item(made, properties=APPLIED)
    item["assets"] = {
        f"a{number}": {"href": f"{band}.tif", "eo:bands": [{"name": band}]}
        for number, band in enumerate(reversed(BANDS))
    }

    with open_scene(write_item(made.path / "item.json", item)) as scene:
        strip = scene.read(BANDS, 60, 60)

    for band in BANDS:
        first = 600 // PIXEL_METRES[band]
        np.testing.assert_array_equal(strip[band], made.stored[band][first : 2 * first])


def test_of_several_assets_of_a_band_the_native_cog_is_taken(made):
    item = make_item(made, properties=APPLIED)
    blue = item["assets"].pop("blue")
    wrong = {**blue, "href": "nowhere.tif"}
    item["assets"] = {
        "blue-jp2": {**wrong, "type": "image/jp2"},
        "B02_20m": {**wrong, "bands": [{"name": "B02"}], "gsd": 20},
        "visual": {**wrong, "eo:bands": [{"name": "red"}, {"name": "green"}, {"name": "blue"}]},
        "blue": blue,
        **item["assets"],
    }

    with open_scene(write_item(made.path / "item.json", item)) as scene:
        np.testing.assert_array_equal(scene.read(["B02"], 0, 180)["B02"], made.stored["B02"])


def test_two_assets_that_are_equally_a_band_are_refused(made):
    item = make_item(made, properties=APPLIED)
    item["assets"]["B02"] = item["assets"]["blue"]

    with pytest.raises(ProductError, match=r"Several assets of S2A.* are B02 at 10 m: blue, B02"):
        open_scene(write_item(made.path / "item.json", item))


def test_the_classification_is_found(made):
    with open_scene(item_file(made, properties=APPLIED)) as scene:
        mask = scene.read_mask(0, 180)

    assert (mask[:, -60:] == 2).all()
    assert not mask[:, :-60].any()


def test_a_missing_asset_is_named(made):
    (made.path / "B11.tif").unlink()

    with (
        open_scene(item_file(made, properties=APPLIED)) as scene,
        pytest.raises(MissingBandError, match=r"lacks B11.*should be at an asset of S2A_33UUP"),
    ):
        scene.read(["B11"], 0, 60)


def test_an_item_of_another_sensor_is_refused(made):
    item = {**make_item(made), "assets": {"hv": {"href": "B02.tif"}, "hh": {"href": "B03.tif"}}}

    with pytest.raises(MissingBandError, match=r"no asset with a Sentinel-2 band.*hv, hh"):
        open_scene(write_item(made.path / "item.json", item))
    item["assets"]["vv"] = {"href": "B04.tif"}
    with pytest.raises(MissingBandError, match=r"lacks VH; models with Sentinel-1 use VV and VH"):
        open_scene(write_item(made.path / "item.json", item))


def test_a_level_1c_item_is_refused(made):
    with pytest.raises(ProductLevelError, match=r"level 1C.*top-of-atmosphere"):
        open_scene(item_file(made, properties={"s2:product_type": "S2MSI1C"}))


# Where from ---------------------------------------------------------------------------------------


def test_an_item_in_memory_needs_whole_addresses(made):
    properties = {"s2:processing_baseline": "05.09"}

    with pytest.raises(ProductError, match="an item in memory needs absolute addresses"):
        open_scene(make_item(made, properties=properties))
    assert offset_of(make_item(made, base=f"{made.path}/", properties=properties)) == -1000
    assert offset_of(make_item(made, base=f"file://{made.path}/", properties=properties)) == -1000


def test_bands_are_read_over_http_in_ranges(tmp_path):
    rng = np.random.default_rng(3)
    pixels = rng.integers(1, 9000, (1536, 1536), dtype=np.uint16)
    tiled = {"tiled": True, "blockxsize": 256, "blockysize": 256, "compress": "deflate"}
    write_tiff(tmp_path / "B04.tif", pixels, **tiled)
    item = {
        "type": "Feature",
        "id": "web",
        "properties": APPLIED,
        "assets": {"red": {"href": "./B04.tif?signature=secret"}},
    }
    write_item(tmp_path / "item.json", item)

    with serve_folder(tmp_path) as (url, asked), open_scene(f"{url}/item.json") as scene:
        strip = scene.read(["B04"], 1260, 60)
        read = sum(last - first + 1 for path, first, last in asked if path.startswith("/B04"))
        mask = scene.read_mask(1260, 60)

    np.testing.assert_array_equal(strip["B04"], pixels[1260:1320])
    assert read < (tmp_path / "B04.tif").stat().st_size / 2
    assert not mask.any()
    assert any("signature=secret" in path for path, _, _ in asked)


def test_a_signature_is_in_no_message(tmp_path):
    item = {
        "type": "Feature",
        "id": "web",
        "properties": APPLIED,
        "assets": {"red": {"href": "B04.tif?signature=secret"}},
    }
    write_item(tmp_path / "item.json", item)

    with serve_folder(tmp_path) as (url, _), pytest.raises(ProductError) as caught:
        open_scene(f"{url}/item.json?token=secret")

    assert f"{url}/B04.tif" in str(caught.value)
    assert "secret" not in str(caught.value)


def test_an_item_of_the_web_reads_no_local_file(made, tmp_path):
    item = make_item(made, base=f"file://{made.path}/", properties=APPLIED)
    write_item(tmp_path / "item.json", item)

    with (
        serve_folder(tmp_path) as (url, _),
        pytest.raises(ProductError, match="comes from the web and names the local file"),
    ):
        open_scene(f"{url}/item.json")


@pytest.mark.parametrize(
    "href", ["/vsicurl/http://127.0.0.1/B02.tif", "ftp://host/B02.tif", "B0.tif"]
)
def test_other_kinds_of_addresses_and_absent_files_are_refused(made, href):
    item = make_item(made, properties=APPLIED)
    item["assets"]["blue"]["href"] = href

    with pytest.raises(ProductError, match=r"only http|there is no file"):
        open_scene(write_item(made.path / "item.json", item))


def test_a_format_that_opens_other_files_is_not_read(made):
    vrt = made.path / "B02.tif"
    vrt.write_text(
        '<VRTDataset rasterXSize="240" rasterYSize="180"><VRTRasterBand dataType="UInt16" band="1">'
        f"<SimpleSource><SourceFilename>{made.path}/B03.tif</SourceFilename></SimpleSource>"
        "</VRTRasterBand></VRTDataset>"
    )

    with pytest.raises(ProductError, match=r"Cannot open .*B02\.tif"):
        open_scene(item_file(made, properties=APPLIED))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "Invalid JSON"),
        ("[]", "should be an object"),
        ('{"type": "FeatureCollection"}', "holds no item"),
        ('{"type": "Topology"}', "its type is 'Topology'"),
        ('{"type": "Feature", "properties": {}}', "lacks properties or assets"),
    ],
)
def test_what_is_no_item_is_refused(tmp_path, text, message):
    path = tmp_path / "item.json"
    path.write_text(text)

    with pytest.raises(ProductError, match=message):
        open_scene(path)


def test_an_item_that_cannot_be_fetched_is_a_download_error(tmp_path):
    with serve_folder(tmp_path) as (url, _), pytest.raises(DownloadError, match="Could not fetch"):
        open_scene(f"{url}/nowhere.json")
