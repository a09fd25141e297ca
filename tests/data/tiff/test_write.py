import numpy as np
import pytest
import rasterio
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from reben.data.tiff.read import parse_tiff
from reben.data.tiff.write import GeoTransform, encode_geotiff
from reben.errors import TiffError

PLACE = GeoTransform(west=331_200, north=5_331_600, pixel_metres=10, epsg=32633)


def ramp(height, width, dtype="uint16"):
    rows, columns = np.meshgrid(np.arange(height), np.arange(width), indexing="ij")
    pixels = 300 + 3 * columns + (rows if dtype == "uint16" else -0.25 * rows)
    return pixels.astype(dtype)


@pytest.mark.parametrize("dtype", ["uint16", "float32"])
@pytest.mark.parametrize("deflate", [False, True])
@pytest.mark.parametrize("nodata", [None, 0])
def test_rasterio_reads_what_was_written(tmp_path, dtype, deflate, nodata):
    pixels = ramp(120, 97, dtype)
    (tmp_path / "a.tif").write_bytes(encode_geotiff(pixels, PLACE, nodata, deflate=deflate))
    with rasterio.open(tmp_path / "a.tif") as image:
        np.testing.assert_array_equal(image.read(1), pixels)
        assert image.dtypes == (dtype,)
        assert image.nodata == nodata
        assert image.transform == Affine(10, 0, 331_200, 0, -10, 5_331_600)
        assert image.compression == (rasterio.enums.Compression.deflate if deflate else None)


@pytest.mark.parametrize("epsg", [32601, 32633, 32660, 32729])
def test_rasterio_sees_the_utm_zone(tmp_path, epsg):
    (tmp_path / "a.tif").write_bytes(encode_geotiff(ramp(3, 4), PLACE._replace(epsg=epsg)))
    with rasterio.open(tmp_path / "a.tif") as image:
        assert image.crs.to_epsg() == epsg


@pytest.mark.parametrize(
    ("side", "dtype", "num_bytes", "rows"),
    [
        (120, "uint16", 29_196, 34),
        (60, "uint16", 7_572, 60),
        (20, "uint16", 1_172, 20),
        (120, "float32", 58_024, 17),
    ],
)
def test_files_have_the_sizes_and_strips_of_the_real_ones(tmp_path, side, dtype, num_bytes, rows):
    nodata = 0 if dtype == "uint16" else None
    (tmp_path / "a.tif").write_bytes(encode_geotiff(ramp(side, side, dtype), PLACE, nodata))
    assert (tmp_path / "a.tif").stat().st_size == num_bytes
    with rasterio.open(tmp_path / "a.tif") as image:
        assert image.block_shapes == [(rows, side)]


@pytest.mark.parametrize("side", [120, 60, 20])
def test_sentinel2_files_have_the_very_bytes_that_gdal_writes(tmp_path, side):
    pixels, metres = ramp(side, side), 1200 // side
    profile = {"width": side, "height": side, "count": 1, "dtype": "uint16", "nodata": 0}
    grid = {"crs": "EPSG:32633", "transform": Affine(metres, 0, 331_200, 0, -metres, 5_331_600)}
    with rasterio.open(tmp_path / "a.tif", "w", driver="GTiff", **profile, **grid) as image:
        image.write(pixels, 1)
    ours = encode_geotiff(pixels, PLACE._replace(pixel_metres=metres), 0)
    assert ours == (tmp_path / "a.tif").read_bytes()


@given(
    hnp.arrays(
        st.sampled_from([np.uint16, np.float32]),
        hnp.array_shapes(min_dims=2, max_dims=2, max_side=200),
        fill=st.just(7),
    ),
    st.booleans(),
)
def test_what_is_written_is_read_again(pixels, deflate):
    again = parse_tiff(encode_geotiff(pixels, PLACE, deflate=deflate), "a.tif")
    assert again.dtype == pixels.dtype
    np.testing.assert_array_equal(again, pixels)


def test_a_cut_or_turned_array_is_written_as_it_is_seen():
    pixels = ramp(90, 80)[5:65:2, ::-1].T
    np.testing.assert_array_equal(parse_tiff(encode_geotiff(pixels, PLACE), "a"), pixels)


@pytest.mark.parametrize(
    "pixels", [np.zeros((2, 3)), np.zeros((1, 2, 3), np.uint16), np.zeros((0, 3), np.uint16)]
)
def test_other_arrays_are_refused(pixels):
    with pytest.raises(TiffError, match="Cannot write an array of shape"):
        encode_geotiff(pixels, PLACE)


@pytest.mark.parametrize("epsg", [4326, 32600, 32661, 32700, 32761])
def test_other_coordinate_systems_are_refused(epsg):
    with pytest.raises(TiffError, match=f"EPSG:{epsg} is not a UTM zone"):
        encode_geotiff(ramp(2, 3), PLACE._replace(epsg=epsg))
