import os
import shutil
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.errors import NotGeoreferencedWarning

from reben.errors import (
    GridError,
    MissingBandError,
    OffsetConflictError,
    ProductError,
    ProductLevelError,
    UnknownOffsetError,
)
from reben.scene.product import open_scene
from reben.scene.readers.safe_files import checked_path
from scene.made_up_product import (
    BANDS,
    PIXEL_METRES,
    TIME,
    from_origin,
    make_safe,
    write_jp2,
    zip_safe,
)

REAL = Path(os.environ.get("REBEN_TEST_DATA", "no such folder")) / "scene-metadata"
REAL_PRODUCTS = sorted(path.name for path in REAL.glob("*.SAFE"))
REAL_OFFSETS = {"N0212": 0, "N0400": -1000, "N0509": -1000}


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    return make_safe(tmp_path_factory.mktemp("made"), nodata_columns=12, cloudy_columns=60)


@pytest.fixture
def made(template, tmp_path):
    copy = shutil.copytree(template.path, tmp_path / template.path.name)
    return replace(template, path=copy)


def change_metadata(made, old, new, file="MTD_MSIL2A.xml"):
    (path,) = made.path.rglob(file)
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


def read_by_rasterio(path, offset, top=0, height=None):
    """Reflectance x 10000 of a file's rows, by rasterio and plain arithmetic."""
    with rasterio.open(path) as file:
        pixels = file.read(1).astype(int)
    shifted = np.where(pixels == 0, 0, np.maximum(pixels + offset, 0))
    return shifted[top : None if height is None else top + height]


# Offsets ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("baseline", "offset"), [("02.12", 0), ("04.00", -1000), ("05.09", -1000)])
def test_every_band_is_what_rasterio_reads_with_the_offset_of_its_baseline(
    tmp_path, baseline, offset
):
    made = make_safe(tmp_path, baseline=baseline, nodata_columns=12)

    with open_scene(made.path) as scene:
        strip = scene.read(BANDS, 60, 60)

    assert scene.about["processing_baseline"] == baseline
    assert scene.about["boa_offset"] == f"{offset}"
    for band in BANDS:
        metres = PIXEL_METRES[band]
        expected = read_by_rasterio(made.image(band), offset, 600 // metres, 600 // metres)
        assert strip[band].dtype == np.uint16
        np.testing.assert_array_equal(strip[band], expected, err_msg=band)


def test_each_band_gets_its_own_offset(tmp_path):
    offsets = {band: -100 * (1 + position) for position, band in enumerate(BANDS)}
    made = make_safe(tmp_path, offset=offsets)

    with open_scene(made.path) as scene:
        strip = scene.read(BANDS, 0, 60)

    for band in BANDS:
        rows = 600 // PIXEL_METRES[band]
        expected = read_by_rasterio(made.image(band), offsets[band], 0, rows)
        np.testing.assert_array_equal(strip[band], expected, err_msg=band)


def test_another_quantification_is_brought_to_ten_thousand(tmp_path):
    made = make_safe(tmp_path, quantification=4000, offset=-400)

    with open_scene(made.path) as scene:
        b03 = scene.read(["B03"], 0, 180)["B03"]

    np.testing.assert_allclose(b03, (made.stored["B03"].astype(float) - 400) / 4000 * 10_000)


def test_a_number_below_the_offset_becomes_zero_and_does_not_wrap_around(made):
    path = made.image("B02")
    pixels = made.stored["B02"].copy()
    pixels[30, 40:43] = [1, 999, 1001]
    write_jp2(path, pixels, metres=10)

    with open_scene(made.path) as scene:
        strip = scene.read(["B02"], 30, 6)

    assert strip["B02"][0, 40:43].tolist() == [0, 0, 1]


def test_a_product_processed_by_its_owner_needs_the_offset_said(tmp_path):
    made = make_safe(tmp_path, baseline="99.99", offset=False)

    with pytest.raises(UnknownOffsetError, match=r"99\.99.*no BOA_ADD_OFFSET.*boa_offset=-1000"):
        open_scene(made.path)
    with open_scene(made.path, boa_offset=-1000) as scene:
        assert scene.read(["B02"], 0, 6)["B02"][0, 0] == made.stored["B02"][0, 0] - 1000


def test_an_offset_that_the_product_contradicts_is_refused(made):
    with pytest.raises(OffsetConflictError, match=r"boa_offset is 0, but S2A.*says -1000 for B0"):
        open_scene(made.path, boa_offset=0)


def test_an_offset_that_the_product_confirms_is_taken(made):
    with open_scene(made.path, boa_offset=-1000) as scene:
        assert scene.about["boa_offset"] == "-1000"


def test_an_offset_that_only_some_bands_have_is_refused(tmp_path):
    made = make_safe(tmp_path, offset={"B02": -1000})

    with pytest.raises(UnknownOffsetError, match="some bands, but not for B0"):
        open_scene(made.path)


# Mask ---------------------------------------------------------------------------------------------


def test_a_mask_tells_no_data_from_cloud_and_from_ground(made):
    with open_scene(made.path) as scene:
        mask = scene.read_mask(60, 120)

    expected = np.zeros((120, 240), np.uint8)
    expected[:, -60:] = 2
    expected[:, :12] = 1
    np.testing.assert_array_equal(mask, expected)


def test_pixels_that_no_band_measured_are_no_data_without_a_classification(tmp_path):
    made = make_safe(tmp_path, nodata_columns=18, cloudy_columns=60, scl=False)

    with open_scene(made.path) as scene:
        mask = scene.read_mask(0, 180)

    assert "no scene classification" in scene.about["mask"]
    assert mask[:, :18].tolist() == np.ones((180, 18), int).tolist()
    assert not mask[:, 18:].any()


def test_a_pixel_that_one_band_measured_is_not_without_data(tmp_path):
    made = make_safe(tmp_path, nodata_columns=18, scl=False)
    pixels = made.stored["B11"].copy()
    pixels[4, 2] = 1500
    write_jp2(made.image("B11"), pixels, metres=20)

    with open_scene(made.path) as scene:
        mask = scene.read_mask(0, 60)

    assert mask[8:10, 4:6].tolist() == [[0, 0], [0, 0]]
    assert mask[7, 4] == mask[10, 4] == mask[8, 3] == mask[8, 6] == 1


# Where --------------------------------------------------------------------------------------------


def test_a_scene_of_the_southern_hemisphere_lies_where_its_metadata_say(tmp_path):
    made = make_safe(tmp_path, epsg=32701, left=99_960, top=8_200_000, tile="01KAB")

    with open_scene(made.path) as scene:
        strip = scene.read(["B8A"], 120, 60)

    assert (scene.grid.crs, scene.grid.left, scene.grid.top) == ("EPSG:32701", 99_960, 8_200_000)
    np.testing.assert_array_equal(strip["B8A"], read_by_rasterio(made.image("B8A"), -1000, 60, 30))


def test_an_image_that_lies_elsewhere_than_the_metadata_say_is_refused(made):
    write_jp2(made.image("B05"), made.stored["B05"], metres=20, top=5_900_140)

    with pytest.raises(GridError, match=r"B05_20m\.jp2 does not lie where the product's metadata"):
        open_scene(made.path)


def test_an_image_without_a_place_gets_that_of_the_metadata(made):
    with (
        pytest.warns(NotGeoreferencedWarning),
        rasterio.open(
            made.image("B03"), "w", driver="JP2OpenJPEG", width=240, height=180, count=1,
            dtype="uint16", QUALITY="100", REVERSIBLE="YES",
        ) as file,
    ):  # fmt: skip
        file.write(made.stored["B03"], 1)

    with open_scene(made.path) as scene:
        assert scene.grid.bounds == (300_000, 5_898_240, 302_400, 5_900_040)


# What is refused ----------------------------------------------------------------------------------


def test_a_level_1c_product_is_refused_with_the_reason(tmp_path):
    made = make_safe(tmp_path, level="1C")

    with pytest.raises(ProductLevelError, match=r"level-1C.*top-of-atmosphere.*Sen2Cor"):
        open_scene(made.path)


def test_a_level_1c_product_is_refused_in_a_zip_and_by_its_metadata_too(tmp_path):
    made = make_safe(tmp_path / "1c", level="1C")
    disguised = make_safe(tmp_path / "2a", bands=("B02",))
    shutil.copy(made.path / "MTD_MSIL1C.xml", disguised.path / "MTD_MSIL2A.xml")

    with pytest.raises(ProductLevelError, match="level-1C"):
        open_scene(zip_safe(made, tmp_path / "product.zip"))
    with pytest.raises(ProductLevelError, match="says the product is S2MSI1C"):
        open_scene(disguised.path)


def test_a_missing_band_is_named_with_the_place_where_it_should_be(made):
    image = made.image("B8A")
    image.unlink()

    with open_scene(made.path) as scene:
        assert "B8A" not in scene.bands
        with pytest.raises(MissingBandError) as caught:
            scene.read(["B02", "B8A"], 0, 60)

    assert "lacks B8A" in str(caught.value)
    assert str(image) in str(caught.value)


def test_a_model_with_radar_bands_is_told_to_name_a_radar_product(made):
    with open_scene(made.path) as scene, pytest.raises(MissingBandError, match="sentinel1="):
        scene.read(["VV", "VH"], 0, 60)


def test_a_truncated_image_is_an_error_that_names_the_file_and_rows(made):
    image = made.image("B04")
    image.write_bytes(image.read_bytes()[: image.stat().st_size // 2])

    with open_scene(made.path) as scene:
        assert scene.read(["B03"], 0, 60)
        with pytest.raises(ProductError, match=r"B04_10m\.jp2 cannot be read in rows 0 to 180"):
            scene.read(["B04"], 0, 60)


@pytest.mark.parametrize(
    "path", ["../../secret", "/etc/passwd", "GRANULE/../../x", "a\\b", "C:x", ""]
)
def test_an_image_path_that_leaves_the_product_is_refused(path):
    with pytest.raises(ProductError, match="not a path inside the product"):
        checked_path(path, "MTD_MSIL2A.xml")


def test_metadata_that_name_an_image_outside_are_refused(made):
    change_metadata(made, f"R10m/T33UUP_{TIME}_B02_10m", "../../../../../B02_10m")

    with pytest.raises(ProductError, match="not a path inside the product"):
        open_scene(made.path)


def test_metadata_with_entities_are_refused_before_they_are_expanded(made, tmp_path):
    (tmp_path / "secret").write_text("05.09")
    doctype = f'<!DOCTYPE x [<!ENTITY e SYSTEM "file://{tmp_path}/secret">]>'
    change_metadata(made, "?>", f"?>{doctype}")
    change_metadata(made, "<PROCESSING_BASELINE>05.09", "<PROCESSING_BASELINE>&e;")

    with pytest.raises(ProductError, match="document type declaration"):
        open_scene(made.path)


@pytest.mark.parametrize("lacking", ["PROCESSING_BASELINE", "BOA_QUANTIFICATION_VALUE"])
def test_metadata_that_lack_what_is_needed_are_refused(made, lacking):
    change_metadata(made, lacking, "SOMETHING_ELSE")

    with pytest.raises(ProductError, match=f"no {lacking}"):
        open_scene(made.path)


def test_a_product_without_metadata_and_bands_is_refused(made):
    (made.path / "MTD_MSIL2A.xml").unlink()
    shutil.rmtree(made.path / "GRANULE")

    with pytest.raises(ProductError, match=r"has no MTD_MSIL2A\.xml"):
        open_scene(made.path)


def test_a_path_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(ProductError, match="No product at"):
        open_scene(tmp_path / "S2A.SAFE")


def test_rows_that_are_no_whole_pixels_or_outside_are_refused(made):
    with open_scene(made.path) as scene:
        for top, height in [(3, 60), (0, 10), (150, 60), (-6, 6), (0, 0)]:
            with pytest.raises(GridError, match=r"multiples of 6|has rows 0 to"):
                scene.read(["B02"], top, height)
            with pytest.raises(GridError, match=r"multiples of 6|has rows 0 to"):
                scene.read_mask(top, height)


# Zip ----------------------------------------------------------------------------------------------


def test_a_zip_is_read_in_place_and_like_its_folder(made, tmp_path):
    packed = zip_safe(made, tmp_path / "some product.zip")
    with open_scene(made.path) as scene:
        expected, mask = scene.read(BANDS, 30, 90), scene.read_mask(30, 90)
    name = made.path.stem
    shutil.rmtree(made.path)

    with open_scene(packed) as scene:
        strip = scene.read(BANDS, 30, 90)
        np.testing.assert_array_equal(scene.read_mask(30, 90), mask)

    assert scene.name == name
    for band in BANDS:
        np.testing.assert_array_equal(strip[band], expected[band], err_msg=band)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["some product.zip"]


def test_a_zip_with_members_that_would_climb_out_is_read_and_writes_nothing(made, tmp_path):
    packed = zip_safe(made, tmp_path / "in" / "product.zip")
    with zipfile.ZipFile(packed, "a") as archive:
        archive.writestr("../../climbed/MTD_MSIL2A.xml", "<x/>")
        archive.writestr("/climbed.txt", "x")

    with open_scene(packed) as scene:
        assert scene.read(["B02"], 0, 6)["B02"].shape == (6, 240)
    assert not list(tmp_path.rglob("climbed*"))


def test_a_zip_that_is_cut_off_or_holds_two_products_is_refused(made, tmp_path):
    packed = zip_safe(made, tmp_path / "in" / "product.zip")
    cut = tmp_path / "cut.zip"
    cut.write_bytes(packed.read_bytes()[:-200])
    with zipfile.ZipFile(packed, "a") as archive:
        archive.writestr("other.SAFE/MTD_MSIL2A.xml", "<x/>")

    with pytest.raises(ProductError, match="cannot be read as a zip file"):
        open_scene(cut)
    with pytest.raises(ProductError, match="holds 2 products"):
        open_scene(packed)


# Strips -------------------------------------------------------------------------------------------


def test_strips_in_any_order_and_across_tiles_are_the_whole(tmp_path):
    made = make_safe(tmp_path, width=300, height=360, block=128, bands=("B04", "B05"))

    with open_scene(made.path) as scene:
        heights = {0: 42, 42: 120, 162: 198}
        order = [162, 0, 42, 162]
        strips = {top: scene.read(["B04", "B05"], top, heights[top]) for top in order}

    for band in ("B04", "B05"):
        whole = np.concatenate([strips[top][band] for top in sorted(strips)])
        np.testing.assert_array_equal(whole, made.stored[band].astype(int) - 1000)


def test_each_tile_is_decoded_once_when_strips_go_down(tmp_path, monkeypatch):
    made = make_safe(tmp_path, width=600, height=1200, block=512, bands=("B02",), scl=False)
    asked = []
    with open_scene(made.path) as scene:
        source = scene._found.sources["B02"]
        read = source._blocks._read
        monkeypatch.setattr(
            source._blocks, "_read", lambda *block: asked.append(block[0]) or read(*block)
        )
        for top in range(0, 1200, 60):
            scene.read(["B02"], top, 60)
            scene.read_mask(top, 60)

    assert asked == [0, 1, 2]


# Real metadata ------------------------------------------------------------------------------------


@pytest.mark.skipif(not REAL_PRODUCTS, reason="REBEN_TEST_DATA names no folder with scene-metadata")
@pytest.mark.parametrize("product", REAL_PRODUCTS)
def test_real_metadata_are_read(tmp_path, product):
    shutil.copytree(REAL / product, tmp_path / product)
    (granule,) = (tmp_path / product / "GRANULE").iterdir()
    tile_file = (granule / "MTD_TL.xml").read_text()
    epsg = int(tile_file.partition("EPSG:")[2][:5])
    left, top = (
        int(tile_file.partition(f"<{tag}>")[2].partition("<")[0]) for tag in ("ULX", "ULY")
    )
    tile, time = product.split("_")[5], product.split("_")[2]
    for band, metres in (("B01", 60), ("B02", 10), ("B8A", 20), ("SCL", 20)):
        stem = granule / "IMG_DATA" / f"R{metres}m" / f"{tile}_{time}_{band}_{metres}m"
        write_sparse(stem, metres, epsg, left, top, 6 if band == "SCL" else 1700 + metres)

    with open_scene(tmp_path / product) as scene:
        strip = scene.read(["B01", "B02", "B8A"], 10_920, 60)
        mask = scene.read_mask(10_920, 60)

    offset = REAL_OFFSETS[product.split("_")[3]]
    assert f"{scene.name}.SAFE" == product
    assert (scene.grid.crs, scene.grid.left, scene.grid.top) == (f"EPSG:{epsg}", left, top)
    assert (scene.grid.width, scene.grid.height) == (10_980, 10_980)
    assert scene.bands == ("B01", "B02", "B8A")
    assert scene.about["processing_baseline"].replace(".", "") in product
    assert int(scene.about["boa_offset"]) == offset
    assert {band: set(np.unique(strip[band])) for band in strip} == {
        "B01": {0, 1760 + offset}, "B02": {0, 1710 + offset}, "B8A": {0, 1720 + offset},
    }  # fmt: skip
    assert (mask == 1).sum() == 60 * (10_980 - 600)
    assert (mask == 0).sum() == 60 * 600


def write_sparse(stem, metres, epsg, left, top, value):
    """A full-size band with ``value`` in the lower left 6 km and nothing elsewhere."""
    stem.parent.mkdir(parents=True, exist_ok=True)
    side, block = 109_800 // metres, 6000 // metres
    # Some of the real metadata are of products with GeoTIFF images; a sparse one is quick.
    with rasterio.open(
        f"{stem}.tif", "w", driver="GTiff", width=side, height=side, count=1, crs=f"EPSG:{epsg}",
        dtype="uint8" if "SCL" in stem.name else "uint16", SPARSE_OK="TRUE", tiled=True,
        transform=from_origin(left, top, metres),
    ) as file:  # fmt: skip
        window = rasterio.windows.Window(0, side - block, block, block)
        file.write(np.full((block, block), value, file.dtypes[0]), 1, window=window)
