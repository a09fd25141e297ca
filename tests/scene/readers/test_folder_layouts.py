"""Parts of products, and products in the layouts of those who pass them on."""

import json
import shutil

import numpy as np
import pytest

from reben.errors import (
    OffsetConflictError,
    ProductError,
    ProductLevelError,
    UnknownOffsetError,
)
from reben.scene.product import open_scene
from scene.made_up_product import BANDS, PIXEL_METRES, TIME, make_safe, zip_safe

SIZES = {band: [metres] for band, metres in PIXEL_METRES.items()} | {"SCL": [20]}
NAME = f"S2A_MSIL2A_{TIME}_N0509_R022_T33UUP_20230822T021825"


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return make_safe(tmp_path_factory.mktemp("whole"), cloudy_columns=60)


def images(made, name="{band}.jp2"):
    """Band -> (file, its name elsewhere)."""
    return {
        band: (made.image(band), name.format(band=band, metres=metres, time=TIME))
        for band, (metres,) in SIZES.items()
    }


def put(made, folder, name, bands=(*BANDS, "SCL")):
    for band in bands:
        source, relative = images(made, name)[band]
        target = folder / relative
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, target)
    return folder


def check(scene, made, offset=-1000, bands=BANDS):
    strip = scene.read(bands, 60, 60)
    for band in bands:
        first = 600 // PIXEL_METRES[band]
        expected = made.stored[band][first : 2 * first].astype(int) + offset
        np.testing.assert_array_equal(strip[band], expected, err_msg=band)


def granule_of(made):
    (granule,) = (made.path / "GRANULE").iterdir()
    return granule


LAYOUTS = {
    "by size": "R{metres}m/T33UUP_{time}_{band}_{metres}m.jp2",
    "IMG_DATA": "IMG_DATA/R{metres}m/T33UUP_{time}_{band}_{metres}m.jp2",
    "tree": "GRANULE/L2A_T33UUP_A042640_{time}/IMG_DATA/R{metres}m/T33_{band}_{metres}m.jp2",
    "sentinel-s2-l2a": "R{metres}m/{band}.jp2",
    "flat": "T33UUP_{time}_{band}_{metres}m.jp2",
    "small letters": "r{metres}m/b_{band}.JP2",
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_gives_the_same_numbers_and_mask(tmp_path, whole, layout):
    folder = put(whole, tmp_path / "scene", LAYOUTS[layout])
    with open_scene(folder, boa_offset=-1000) as scene:
        check(scene, whole)
        assert scene.name == "scene"
        mask = scene.read_mask(0, 180)
    assert (mask[:, -60:] == 2).all()
    assert not mask[:, :-60].any()


def test_where_no_metadata_are_the_offset_is_asked_for(tmp_path, whole):
    folder = put(whole, tmp_path / f"{NAME}.SAFE", LAYOUTS["tree"], bands=("B02", "B05"))
    with pytest.raises(UnknownOffsetError, match="--boa-offset"):
        open_scene(folder)
    with open_scene(folder, boa_offset=0) as scene:
        check(scene, whole, 0, ("B02", "B05"))
        assert scene.bands == ("B02", "B05")
        assert scene.name == NAME


@pytest.mark.parametrize("inside", [".", "GRANULE", "granule", "IMG_DATA", "R10m"])
def test_a_part_of_a_whole_product_is_read_as_the_product(tmp_path, inside):
    made = make_safe(tmp_path, offset=-500)
    images = granule_of(made) / "IMG_DATA"
    places = {
        ".": made.path, "GRANULE": made.path / "GRANULE", "granule": granule_of(made),
        "IMG_DATA": images, "R10m": images / "R10m",
    }  # fmt: skip
    with open_scene(places[inside]) as scene:
        check(scene, made, -500)
        assert scene.about["source"] == "Sentinel-2 SAFE"


def test_a_product_without_the_name_of_one_is_one(tmp_path):
    made = make_safe(tmp_path, offset=-500)
    with open_scene(made.path.rename(tmp_path / "monday")) as scene:
        check(scene, made, -500)


def test_bands_beside_the_metadata_of_their_product_have_its_offset(tmp_path):
    made = make_safe(tmp_path, offset=-500, quantification=5000)
    folder = put(made, tmp_path / "flat", LAYOUTS["flat"])
    shutil.copy(made.path / "MTD_MSIL2A.xml", folder)
    with open_scene(folder) as scene:
        assert scene.about["boa_offset"] == "-500"
        assert scene.about["boa_offset_source"] == "BOA_ADD_OFFSET in MTD_MSIL2A.xml"
        assert scene.about["processing_baseline"] == "05.09"
        assert scene.name == NAME
        strip = scene.read(["B03"], 0, 60)
    expected = (made.stored["B03"][:60].astype(int) - 500) * 2
    np.testing.assert_array_equal(strip["B03"], expected)


def with_tile_id(text, baseline):
    tile = f"S2A_OPER_MSI_L2A_TL_2APS_20230822T021825_A042640_T33UUP_N{baseline}"
    return text.replace("<n1:Geometric_Info>", f"<TILE_ID>{tile}</TILE_ID><n1:Geometric_Info>")


@pytest.mark.parametrize(("baseline", "offset"), [("05.09", -1000), ("02.12", 0)])
@pytest.mark.parametrize("inside", [".", "R10m"])
def test_the_metadata_of_the_tile_say_the_baseline(tmp_path, whole, baseline, offset, inside):
    folder = put(whole, tmp_path / "0", LAYOUTS["sentinel-s2-l2a"])
    text = (granule_of(whole) / "MTD_TL.xml").read_text()
    (folder / "metadata.xml").write_text(with_tile_id(text, baseline))
    with open_scene(folder / inside) as scene:
        check(scene, whole, offset, ("B02", "B08"))
        assert f"N{baseline}, processing baseline" in scene.about["boa_offset_source"]
        assert scene.name == "0"


@pytest.mark.parametrize(
    ("file", "key"), [("tileInfo.json", "productName"), ("productInfo.json", "name")]
)
def test_the_product_that_json_names_says_the_baseline(tmp_path, whole, file, key):
    folder = put(whole, tmp_path / "0", LAYOUTS["sentinel-s2-l2a"])
    (folder / file).write_text(json.dumps({"utmZone": 33, key: NAME}))
    with open_scene(folder) as scene:
        check(scene, whole)
        assert scene.name == NAME
        assert file in scene.about["boa_offset_source"]


def test_metadata_that_contradict_each_other_are_refused(tmp_path, whole):
    folder = put(whole, tmp_path / "0", LAYOUTS["sentinel-s2-l2a"])
    text = (granule_of(whole) / "MTD_TL.xml").read_text()
    (folder / "metadata.xml").write_text(with_tile_id(text, "02.12"))
    (folder / "tileInfo.json").write_text(json.dumps({"productName": NAME}))
    with pytest.raises(OffsetConflictError, match=r"metadata\.xml.*tileInfo\.json"):
        open_scene(folder)


def test_files_of_the_same_names_that_are_no_metadata_of_products_are_left_alone(tmp_path, whole):
    folder = put(whole, tmp_path / "0", LAYOUTS["sentinel-s2-l2a"], bands=("B02",))
    (folder / "metadata.xml").write_text("<!DOCTYPE x><x/>")
    (folder / "tileInfo.json").write_text('{"productName": 7}')
    with pytest.raises(UnknownOffsetError):
        open_scene(folder)


@pytest.mark.parametrize("how", ["MTD_MSIL1C.xml", "metadata.xml", "tileInfo.json"])
def test_level_1c_is_refused_by_the_metadata_beside_the_bands(tmp_path, whole, how):
    folder = put(whole, tmp_path / "0", LAYOUTS["sentinel-s2-l2a"], bands=("B02",))
    texts = {
        "MTD_MSIL1C.xml": "<x/>",
        "metadata.xml": '<n1:Level-1C_Tile_ID xmlns:n1="urn:x"/>',
        "tileInfo.json": json.dumps({"productName": NAME.replace("MSIL2A", "MSIL1C")}),
    }
    (folder / how).write_text(texts[how])
    with pytest.raises(ProductLevelError, match="level-1C"):
        open_scene(folder, boa_offset=0)


def test_the_native_size_is_taken_by_the_name_of_the_folder(tmp_path, whole):
    folder = put(whole, tmp_path / "0", LAYOUTS["sentinel-s2-l2a"])
    (folder / "R60m").mkdir(exist_ok=True)
    (folder / "R60m" / "B02.jp2").write_bytes(b"is not opened")
    (folder / "R20m" / "B02.jp2").write_bytes(b"is not opened")
    with open_scene(folder, boa_offset=-1000) as scene:
        check(scene, whole)


def test_two_files_of_one_band_and_size_are_refused_with_both_names(tmp_path, whole):
    folder = put(whole, tmp_path / "0", LAYOUTS["sentinel-s2-l2a"])
    shutil.copy(folder / "R10m" / "B02.jp2", folder / "x_b02_10m.jp2")
    with pytest.raises(ProductError, match=r"B02: R10m/B02\.jp2, x_b02_10m\.jp2"):
        open_scene(folder, boa_offset=0)


def test_links_that_lead_in_a_circle_end(tmp_path, whole):
    folder = put(whole, tmp_path / "0", LAYOUTS["sentinel-s2-l2a"], bands=("B05",))
    (folder / "R20m" / "R10m").symlink_to(folder / "R20m")
    with open_scene(folder, boa_offset=-1000) as scene:
        check(scene, whole, bands=("B05",))


# A folder around a product ------------------------------------------------------------------------


def test_the_only_product_in_a_folder_is_opened(tmp_path):
    made = make_safe(tmp_path / "outer")
    (tmp_path / "outer" / "readme.txt").touch()
    (tmp_path / "outer" / "S1A_IW_GRDH_X.SAFE").mkdir()
    with open_scene(tmp_path / "outer") as scene:
        check(scene, made)


def test_a_product_unpacked_into_a_folder_of_its_name_is_opened(tmp_path):
    made = make_safe(tmp_path / f"{NAME}.SAFE")
    with open_scene(tmp_path / f"{NAME}.SAFE") as scene:
        check(scene, made)


def test_the_only_zip_in_a_folder_is_opened(tmp_path):
    made = make_safe(tmp_path / "in")
    (tmp_path / "out").mkdir()
    zip_safe(made, tmp_path / "out" / f"{NAME}.zip")
    with open_scene(tmp_path / "out") as scene:
        check(scene, made)


def test_several_products_in_a_folder_are_listed(tmp_path):
    for tile in ("33UUP", "33UVP"):
        (tmp_path / NAME.replace("33UUP", tile)).with_suffix(".SAFE").mkdir()
    with pytest.raises(ProductError, match=r"2 products: .*33UUP.*33UVP.*--list"):
        open_scene(tmp_path)
