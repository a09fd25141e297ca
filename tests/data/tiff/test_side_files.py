import numpy as np
import pytest
import rasterio

from reben.data.encode import encode
from reben.data.patch_folders.folder import read_patch_folder
from reben.data.store import Store
from reben.data.tiff.side_files import SideFiles
from reben.data.tiff.write import GeoTransform, encode_geotiff
from reben.errors import EncodeError, PixelValueError, TiffError
from reben.spec.bands import S2_FULL, native_size

PATCH = "S2A_MSIL2A_20170613T101031_N9999_R022_T33UUP_26_57"
DECLARED = '<PAMDataset><PAMRasterBand band="1">{}</PAMRasterBand></PAMDataset>'


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "S2" / PATCH
    made.mkdir(parents=True)
    for band in S2_FULL:
        side = native_size(band)
        pixels = np.arange(side * side, dtype=np.uint16).reshape(side, side) % 3000 + 500
        place = GeoTransform(331_200, 5_331_600, 1200 // side, 32633)
        (made / f"{PATCH}_{band}.tif").write_bytes(encode_geotiff(pixels, place))
    return made


def declare(folder, text, band="B05"):
    (folder / f"{PATCH}_{band}.tif.aux.xml").write_text(DECLARED.format(text))


def write_mask(folder, hidden, band="B05"):
    with (
        rasterio.Env(GDAL_TIFF_INTERNAL_MASK=False),
        rasterio.open(folder / f"{PATCH}_{band}.tif", "r+") as file,
    ):
        file.write_mask(np.where(hidden, 0, 255).astype(np.uint8))
    assert (folder / f"{PATCH}_{band}.tif.msk").exists()


def by_rasterio(folder, band="B05"):
    with rasterio.open(folder / f"{PATCH}_{band}.tif") as file:
        return file.read(1, masked=True)


def test_a_value_that_is_declared_beside_the_file_is_masked_as_rasterio_does(folder):
    declare(folder, '<NoDataValue le_hex_equiv="0000000000988340">627</NoDataValue>')
    expected = by_rasterio(folder)
    found = read_patch_folder(folder)
    assert expected.mask.sum() > 0
    np.testing.assert_array_equal(np.ma.getmaskarray(found["B05"]), expected.mask)
    np.testing.assert_array_equal(found["B05"].data, expected.data)
    assert not np.ma.isMaskedArray(found["B04"])


def test_a_mask_beside_the_file_masks_as_rasterio_does(folder):
    hidden = np.zeros((60, 60), bool)
    hidden[2:9, 50:] = True
    write_mask(folder, hidden)
    found = read_patch_folder(folder)["B05"]
    np.testing.assert_array_equal(found.mask, by_rasterio(folder).mask)
    np.testing.assert_array_equal(found.mask, hidden)


def test_statistics_beside_the_file_change_nothing(folder):
    declare(folder, "<Metadata><MDI key='STATISTICS_MAXIMUM'>3499</MDI></Metadata>")
    assert not np.ma.isMaskedArray(read_patch_folder(folder)["B05"])


def test_a_scale_beside_the_file_is_refused_as_one_in_it(folder):
    declare(folder, "<Offset>-0.1</Offset><Scale>0.0001</Scale>")
    with pytest.raises(PixelValueError, match=r"B05\.tif\.aux\.xml, has scale 0\.0001 and offset"):
        read_patch_folder(folder)


def test_encode_fills_what_lies_under_a_mask_if_it_is_little(folder, tmp_path):
    hidden = np.zeros((60, 60), bool)
    hidden[0, :5] = True
    write_mask(folder, hidden)
    plain = by_rasterio(folder).data
    encode(tmp_path / "store", s2=folder.parent, workers=1)
    stored = Store.open(tmp_path / "store").get(PATCH, ("B05",))["B05"]
    np.testing.assert_array_equal(stored[~hidden], plain[~hidden])
    assert set(stored[hidden]) == {int(np.median(plain[~hidden]))}


def test_encode_refuses_a_patch_of_which_much_lies_under_a_mask(folder, tmp_path):
    hidden = np.zeros((60, 60), bool)
    hidden[:30] = True
    write_mask(folder, hidden)
    with pytest.raises(EncodeError, match="Band B05 has 1,800 pixels without data"):
        encode(tmp_path / "store", s2=folder.parent, workers=1)


def test_a_mask_of_another_size_and_one_that_is_none_are_named():
    pixels = np.ones((3, 4), np.uint16)
    place = GeoTransform(0, 0, 10, 32633)
    other = encode_geotiff(np.ones((4, 4), np.uint16), place)
    with pytest.raises(TiffError, match=r"b\.tif\.msk has 4 x 4 pixels, b\.tif 3 x 4"):
        SideFiles(mask=other).apply("B02", pixels, "b.tif")
    with pytest.raises(TiffError, match=r"b\.tif\.msk"):
        SideFiles(mask=b"no mask").apply("B02", pixels, "b.tif")


def test_a_side_file_that_is_too_large_is_named(folder):
    with (folder / f"{PATCH}_B05.tif.aux.xml").open("wb") as file:
        file.truncate(1 << 30)
    with pytest.raises(TiffError, match=r"Cannot read .*aux\.xml"):
        read_patch_folder(folder)
