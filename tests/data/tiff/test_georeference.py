import sys

import numpy as np
import pytest
import rasterio
from hypothesis import given
from hypothesis import strategies as st
from rasterio.transform import Affine

import made_up
from reben.data.tiff.tags import read_bounds
from reben.data.tiff.write import GeoTransform, write_geotiff
from reben.errors import MissingExtraError, TiffError


def write(path, **profile):
    shape = {"width": 30, "height": 20, "count": 1, "dtype": "uint16"}
    with rasterio.open(path, "w", driver="GTiff", **{**shape, **profile}) as image:
        image.write(np.zeros((image.height, image.width), image.dtypes[0]), 1)
    return path


def by_rasterio(path):
    with rasterio.open(path) as image:
        return (image.crs.to_epsg(), *image.bounds)


@given(
    west=st.integers(0, 9000), north=st.integers(0, 99_000), zone=st.integers(1, 60),
    south=st.booleans(), name=st.sampled_from(["B01", "B02", "B8A", "VV"]),
)  # fmt: skip
def test_band_files_lie_where_rasterio_says(tmp_path_factory, west, north, zone, south, name):
    path = tmp_path_factory.mktemp("band") / "x.tif"
    pixels = made_up.band(name)
    place = GeoTransform(60 * west, 60 * north, 1200 // len(pixels), 32600 + 100 * south + zone)
    write_geotiff(path, pixels, place)
    assert read_bounds(path) == by_rasterio(path)


@pytest.mark.parametrize(
    "profile",
    [
        {"crs": "EPSG:3035", "transform": Affine(10, 0, 4_000_000, 0, -20, 3_000_000)},
        {"crs": "EPSG:4326", "transform": Affine(0.001, 0, 13.5, 0, -0.0005, 48.5)},
        {"crs": "EPSG:32633", "transform": Affine(10, 0, 5, 0, -10, 7), "tiled": True,
         "blockxsize": 16, "blockysize": 16, "compress": "zstd"},
        {"crs": "EPSG:32633", "transform": Affine(10, 0, 5, 0, -10, 7), "BIGTIFF": "YES"},
        {"crs": "EPSG:32633", "transform": Affine(10, 0, 5, 0, -10, 7), "ENDIANNESS": "BIG"},
    ],
)  # fmt: skip
def test_other_tiffs_lie_where_rasterio_says(tmp_path, profile):
    path = write(tmp_path / "x.tif", **profile)
    assert read_bounds(path) == pytest.approx(by_rasterio(path), abs=1e-9)


def test_coordinates_of_the_middle_of_a_pixel_are_moved_to_its_edge(tmp_path):
    path = tmp_path / "x.tif"
    write(path, crs="EPSG:32633", transform=Affine(10, 0, 500, 0, -10, 900))
    with rasterio.open(path, "r+") as image:
        image.update_tags(AREA_OR_POINT="Point")
    assert read_bounds(path) == by_rasterio(path)


def test_files_that_do_not_say_where_they_lie_have_no_place(tmp_path):
    with pytest.warns(rasterio.errors.NotGeoreferencedWarning):
        path = write(tmp_path / "x.tif")
    assert read_bounds(path) is None
    turned = Affine(9, 2, 5, 2, -9, 7)
    assert read_bounds(write(tmp_path / "y.tif", crs="EPSG:32633", transform=turned)) is None


def test_damaged_and_missing_files_are_named(tmp_path):
    with pytest.raises(TiffError, match="nowhere"):
        read_bounds(tmp_path / "nowhere.tif")
    (tmp_path / "x.tif").write_bytes(b"II*\0\xff\xff\xff\x7f")
    with pytest.raises(TiffError, match=r"x\.tif"):
        read_bounds(tmp_path / "x.tif")


def test_without_rasterio_other_tiffs_name_the_extra(tmp_path, monkeypatch):
    path = write(
        tmp_path / "x.tif", crs="EPSG:32633", transform=Affine(10, 0, 5, 0, -10, 7), BIGTIFF="YES"
    )
    monkeypatch.setitem(sys.modules, "rasterio", None)
    with pytest.raises(MissingExtraError, match="--no-geometry"):
        read_bounds(path)
