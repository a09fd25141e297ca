"""Products as people attack them, or as disks and networks leave them: errors with a cure."""

import os
import re
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
import rasterio

from reben.errors import ProductError, RebenError
from reben.scene.product import open_scene
from reben.scene.readers.safe import Safe
from scene.made_up_product import (
    from_origin,
    make_band_folder,
    make_safe,
    write_tiff,
)

CASES = Path(os.environ.get("REBEN_TEST_DATA", "no such folder")) / "cases" / "hostile"
BANDS = ("B02", "B03", "B04")
DIGITS = "9" * 6000


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    return make_safe(tmp_path_factory.mktemp("safe"), bands=BANDS, width=120, height=120)


@pytest.fixture
def safe(template, tmp_path):
    return shutil.copytree(template.path, tmp_path / template.path.name)


@pytest.fixture
def folder(tmp_path):
    return make_band_folder(tmp_path / "bands", bands=BANDS, width=120, height=120).path


def image(safe, ending):
    (path,) = safe.rglob(f"*{ending}")
    return path


def change(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def read(product, **more):
    with open_scene(product, **more) as scene:
        scene.read(["B02", "B03"], 0, 60)
        scene.read_mask(0, 60)


# Metadata -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (">10000<", f">{DIGITS}<", "BOA_QUANTIFICATION_VALUE is '999.*Download the product again"),
        (">10000<", ">1e-320<", "quantification value of 10000"),
        (">10000<", ">1e308<", "BOA_QUANTIFICATION_VALUE is '1e308'"),
        (">10000<", ">nan<", "BOA_QUANTIFICATION_VALUE is 'nan'"),
        (">-1000<", ">-1e308<", "BOA_ADD_OFFSET is '-1e308'"),
        (">-1000<", ">-70000<", "Sentinel-2 has offsets of 0 or -1000"),
        ('band_id="1"', f'band_id="{DIGITS}"', "band_id '999.*unknown or there twice"),
        ('band_id="1"', 'band_id="2"', "band_id '2', which is unknown or there twice"),
        (">05.09<", f">{DIGITS}<", "'999.* is not a processing baseline"),
    ],
)
def test_numbers_of_metadata_that_cannot_be(safe, old, new, words):
    change(safe / "MTD_MSIL2A.xml", old, new)
    with pytest.raises(ProductError, match=words) as caught:
        open_scene(safe)
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize("value", [DIGITS, "nan", "inf", "", "1e999"])
@pytest.mark.parametrize("tag", ["NCOLS", "ULX"])
def test_numbers_of_a_tile_that_cannot_be(safe, tag, value):
    path = next(safe.rglob("MTD_TL.xml"))
    path.write_text(re.sub(f"<{tag}>[^<]*<", f"<{tag}>{value}<", path.read_text()))
    with pytest.raises(ProductError, match=rf"MTD_TL\.xml: {tag} is"):
        open_scene(safe)


def test_bounds_of_metadata_hold_before_they_are_parsed(safe):
    metadata = safe / "MTD_MSIL2A.xml"
    for content in (
        "<a>" + "<b/>" * 500_000 + "</a>",
        "<a " + 'b="" ' * 500_000 + "/>",
        " " * 2**25,
    ):
        metadata.write_text(content)
        with pytest.raises(ProductError, match="The metadata of a product have less than"):
            open_scene(safe)


@pytest.mark.skipif(not CASES.is_dir(), reason="REBEN_TEST_DATA names no cases")
def test_the_cases_of_product_metadata_and_items(safe):
    content = (CASES / "product-metadata-encoding.xml").read_bytes()
    with pytest.raises(ProductError, match=r"MTD\.xml is not XML: unknown encoding: ETF-8"):
        Safe.parse(content, "MTD.xml")
    shutil.copy(CASES / "product-metadata-overflow.xml", safe / "MTD_MSIL2A.xml")
    with pytest.raises(ProductError, match="holds 2 tiles"):
        open_scene(safe)
    with pytest.raises(RebenError):
        open_scene(CASES / "stac-item-overflow.json")


# Files of a product -------------------------------------------------------------------------------


def test_an_image_that_is_listed_twice_is_refused(safe):
    metadata = safe / "MTD_MSIL2A.xml"
    listed = re.search(r"<IMAGE_FILE>[^<]*B02_10m</IMAGE_FILE>", metadata.read_text())[0]
    change(metadata, listed, listed + listed.replace("_B02", "X_B02"))
    with pytest.raises(ProductError, match="list B02 at 10 m more than once"):
        open_scene(safe)


def test_an_image_that_is_there_twice_is_refused(safe):
    write_tiff(image(safe, "B02_10m.jp2").with_suffix(".tif"), np.ones((120, 120), np.uint16))
    with pytest.raises(ProductError, match=r"more than once: .*jp2, .*tif"):
        open_scene(safe)


def test_a_missing_image_is_named_when_it_is_needed(safe):
    image(safe, "B02_10m.jp2").unlink()
    with (
        open_scene(safe) as scene,
        pytest.raises(ProductError, match=r"B02 should be at .*B02_10m"),
    ):
        scene.read(["B02"], 0, 60)


def test_images_of_another_place_or_size_are_refused(safe):
    shutil.copy(image(safe, "SCL_20m.jp2"), image(safe, "B02_10m.jp2"))
    with pytest.raises(ProductError, match="does not lie where the product's metadata say"):
        open_scene(safe)


@pytest.mark.parametrize("kind", ["pipe", "device", "folder", "broken link", "text"])
def test_bands_that_are_no_files_are_refused_at_once(folder, kind):
    band = folder / "B03.tif"
    band.unlink()
    match kind:
        case "pipe":
            os.mkfifo(band)
        case "device":
            band.symlink_to("/dev/zero")
        case "folder":
            band.mkdir()
        case "broken link":
            band.symlink_to("nowhere")
        case _:
            band.symlink_to("/etc/passwd")
    with pytest.raises(ProductError, match=r"Cannot open .*B03\.tif: "):
        read(folder, boa_offset=-1000)


def test_a_pipe_instead_of_a_zip_or_metadata_is_refused_at_once(tmp_path, safe):
    os.mkfifo(tmp_path / "p.zip")
    with pytest.raises(ProductError, match="it is a pipe"):
        open_scene(tmp_path / "p.zip")
    (safe / "MTD_MSIL2A.xml").unlink()
    os.mkfifo(safe / "MTD_MSIL2A.xml")
    with pytest.raises(ProductError, match=r"has no MTD_MSIL2A\.xml"):
        open_scene(safe)


def test_names_that_no_file_can_have_are_no_product():
    for name in ("a" * 5000, "a\0b"):
        with pytest.raises(ProductError, match="No product at"):
            open_scene(name)
    with pytest.raises(ProductError, match="not an address"):
        open_scene("http://[::1")


def test_bands_that_claim_giant_sizes_are_refused_before_they_take_memory(folder):
    giant = {
        "driver": "GTiff", "count": 1, "dtype": "uint16", "crs": "EPSG:32633", "BIGTIFF": "YES",
        "transform": from_origin(300_000, 5_900_040, 10), "SPARSE_OK": "TRUE", "tiled": True,
    }  # fmt: skip
    for size, block, words in (
        (1_000_000, 65_520, "claims 1000000 x 1000000 pixels"),
        (60_000, 60_000, "have to be read at once"),
    ):
        options = giant | {"blockxsize": block, "blockysize": block}
        with rasterio.open(folder / "B03.tif", "w", width=size, height=size, **options):
            pass
        with pytest.raises(ProductError, match=words):
            read(folder, boa_offset=-1000)


@pytest.mark.skipif(not CASES.is_dir(), reason="REBEN_TEST_DATA names no cases")
def test_the_cases_of_tiffs_as_bands(folder):
    for case in sorted(CASES.glob("*.tif")):
        shutil.copy(case, folder / "B03.tif")
        with pytest.raises(RebenError, match=r"B03\.tif"):
            read(folder, boa_offset=-1000)


# Zips ---------------------------------------------------------------------------------------------


def packed(safe, path, method=zipfile.ZIP_STORED, prefix=""):
    path.parent.mkdir(exist_ok=True, parents=True)
    with zipfile.ZipFile(path, "w", method) as file:
        for member in sorted(safe.rglob("*")):
            if member.is_file():
                file.write(member, prefix + str(member.relative_to(safe.parent)))
    return path


@pytest.mark.parametrize("name", ["a{b}c.zip", "x.zip/p.zip", "{p}.ZIP"])
def test_zips_with_braces_and_endings_in_their_path_are_read(safe, tmp_path, name):
    read(packed(safe, tmp_path / "zips" / name))


@pytest.mark.parametrize("name", ["a}c.zip", "x{y/p.zip", "a}b{c.zip"])
def test_a_brace_alone_in_the_path_of_a_zip_leads_to_renaming(safe, tmp_path, name):
    with pytest.raises(ProductError, match=r"brace in its path.*Rename it, or unpack it"):
        open_scene(packed(safe, tmp_path / "zips" / name))


def test_members_outside_of_a_zip_are_not_taken(safe, tmp_path):
    with pytest.raises(ProductError, match="has no MTD_MSIL2A"):
        open_scene(packed(safe, tmp_path / "p.zip", prefix="../"))


@pytest.mark.parametrize("method", [zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2])
def test_other_methods_of_compression_lead_to_unpacking(safe, tmp_path, method):
    with pytest.raises(ProductError, match=r"method other than deflate. Unpack the zip"):
        open_scene(packed(safe, tmp_path / "p.zip", method))


def test_unknown_methods_and_encrypted_members_are_named(safe, tmp_path):
    whole = packed(safe, tmp_path / "p.zip").read_bytes()
    for at, value in ((8, 97), (6, 1)):
        content = bytearray(whole)
        for start, more in ((b"PK\x01\x02", 2), (b"PK\x03\x04", 0)):
            place = content.find(start)
            while place >= 0:
                content[place + at + more] = value
                place = content.find(start, place + 4)
        (tmp_path / "p.zip").write_bytes(content)
        with pytest.raises(ProductError, match=r"Cannot read .*MTD_MSIL2A\.xml"):
            open_scene(tmp_path / "p.zip")
