import contextlib
import struct
import sys

import numpy as np
import pytest
import rasterio
from hypothesis import given
from hypothesis import strategies as st
from rasterio.transform import Affine

import made_up
from reben.data.tiff.places import TiffHeader, read_bounds, read_header
from reben.data.tiff.write import GeoTransform, encode_geotiff
from reben.errors import MissingExtraError, PatchShapeError, TiffError
from reben.spec.patches import Bounds


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
    path.write_bytes(encode_geotiff(pixels, place))
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


@pytest.mark.parametrize(
    ("crs", "transform", "said"),
    [
        ("EPSG:32633", Affine(9, 2, 5e5, 2, -9, 5e6), "is rotated"),
        ("EPSG:32633", Affine(10, 0, 5e5, 0, 10, 5e6), "is mirrored.*gdalwarp"),
        ("EPSG:32633", Affine(-10, 0, 5e5, 0, -10, 5e6), "is mirrored.*gdalwarp"),
        ("EPSG:32633", Affine(0, 10, 5e5, -10, 0, 5e6), "is rotated"),
        (
            "+proj=laea +lat_0=60 +lon_0=20 +units=us-ft",
            Affine(10, 0, 0, 0, -10, 0),
            "91.44 x 60.96",
        ),
    ],
)
def test_what_lies_otherwise_than_a_patch_is_refused(tmp_path, crs, transform, said):
    path = write(tmp_path / "x.tif", crs=crs, transform=transform)
    with pytest.raises(PatchShapeError, match=said):
        read_bounds(path)


def test_damaged_and_missing_files_are_named(tmp_path):
    with pytest.raises(TiffError, match="nowhere"):
        read_bounds(tmp_path / "nowhere.tif")
    (tmp_path / "x.tif").write_bytes(b"II*\0\xff\xff\xff\x7f")
    with pytest.raises(TiffError, match=r"x\.tif"):
        read_bounds(tmp_path / "x.tif")


ON_UTM = {"crs": "EPSG:32633", "transform": Affine(10, 0, 500, 0, -10, 900)}
KINDS = [{}, {"ENDIANNESS": "BIG"}, {"BIGTIFF": "YES"}, {"BIGTIFF": "YES", "ENDIANNESS": "BIG"}]


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_either_byte_order_and_bigtiff_need_no_rasterio(tmp_path, monkeypatch, kind):
    path = write(tmp_path / "x.tif", **ON_UTM, **kind)
    expected = by_rasterio(path)
    monkeypatch.setitem(sys.modules, "rasterio", None)
    assert read_bounds(path) == expected


def test_without_rasterio_other_tiffs_name_the_extra(tmp_path, monkeypatch):
    turned = Affine(9, 2, 5, 2, -9, 7)
    path = write(tmp_path / "x.tif", crs="EPSG:32633", transform=turned)
    monkeypatch.setitem(sys.modules, "rasterio", None)
    with pytest.raises(MissingExtraError, match="--no-geometry"):
        read_bounds(path)


@pytest.mark.parametrize("kind", KINDS, ids=str)
@pytest.mark.parametrize("count", [1, 3])
def test_a_header_tells_what_rasterio_tells(tmp_path, kind, count):
    path = write(tmp_path / "x.tif", **ON_UTM, **kind, count=count)
    place = Bounds(*by_rasterio(path))
    assert read_header(path.read_bytes(), "x") == TiffHeader(30, 20, count, place)


def test_a_header_and_the_bounds_of_a_file_agree_where_pixels_are_points(tmp_path):
    path = write(tmp_path / "x.tif", **ON_UTM)
    with rasterio.open(path, "r+") as image:
        image.update_tags(AREA_OR_POINT="Point")
    assert read_header(path.read_bytes(), "x").place == read_bounds(path)
    assert read_bounds(path) == by_rasterio(path)


@pytest.mark.parametrize(
    "profile",
    [
        {"crs": "EPSG:4326", "transform": Affine(0.001, 0, 13.5, 0, -0.0005, 48.5)},
        {"crs": "EPSG:32633", "transform": Affine(9, 2, 5, 2, -9, 7)},
        {"crs": "EPSG:32633", "transform": Affine(10, 0, -5e8, 0, -10, 900)},
    ],
)
def test_a_header_places_images_in_utm_zones_only(tmp_path, profile):
    header = read_header(write(tmp_path / "x.tif", **profile).read_bytes(), "x")
    assert header == TiffHeader(30, 20, 1, None)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"PNG and so on", "not a TIFF"),
        (b"II*\0", "header should end at byte 8"),
        (b"II+\0" + bytes(4) + struct.pack("<QQ", 16, 1 << 60), "directory should end at byte"),
        (b"II*\0" + struct.pack("<IH", 8, 5000) + bytes(60_000), "it claims 5000 tags"),
        (b"II*\0" + struct.pack("<IH", 8, 0), "claims 0 x 0 pixels"),
    ],
)
def test_a_damaged_header_is_named_with_the_file(content, reason):
    with pytest.raises(TiffError, match=rf"mine\.tif.*{reason}"):
        read_header(content, "mine.tif")


def test_a_tag_of_too_many_values_is_refused_before_they_are_read(tmp_path):
    content = bytearray(write(tmp_path / "x.tif", **ON_UTM).read_bytes())
    place = content.index(struct.pack("<HH", 33550, 12))
    struct.pack_into("<I", content, place + 4, 1 << 28)
    with pytest.raises(TiffError, match="tag 33550 claims 268435456 values"):
        read_header(bytes(content), "x.tif")


def test_damage_to_any_byte_of_a_header_is_an_error_or_a_header(tmp_path):
    content = write(tmp_path / "x.tif", **ON_UTM).read_bytes()
    for place in range(4, 300):
        for value in (0, 1, 0x7F, 0x80, 0xFF):
            with contextlib.suppress(TiffError):
                read_header(content[:place] + bytes([value]) + content[place + 1 :], "x")
