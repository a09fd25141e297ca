import contextlib
import struct
import sys

import numpy as np
import pytest
import rasterio
from rasterio.errors import NotGeoreferencedWarning

from reben.data.tiff.read import parse_tiff, read_tiff
from reben.data.tiff.write import GeoTransform, encode_geotiff
from reben.errors import MissingExtraError, TiffError

DTYPES = (
    "uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64", "float32", "float64",
)  # fmt: skip
PLACE = GeoTransform(300_000, 5_400_000, 10, 32633)


def pixels_of(dtype, height=75, width=50):
    """A ramp in rows and another in columns; the corners have the extremes of the dtype."""
    rows, columns = np.meshgrid(np.arange(height), np.arange(width), indexing="ij")
    pixels = (rows + 2 * columns).astype(dtype)
    limits = np.iinfo(dtype) if np.dtype(dtype).kind in "iu" else np.finfo(dtype)
    pixels[0, -1], pixels[-1, 0] = limits.min, limits.max
    return pixels


@pytest.fixture
def write(tmp_path):
    """Write with rasterio, an independent library; return the path."""

    def write(pixels, **options):
        path = tmp_path / "oracle.tif"
        pixels = pixels if pixels.ndim == 3 else pixels[None]
        count, height, width = pixels.shape
        shape = {"count": count, "height": height, "width": width, "dtype": pixels.dtype}
        with (
            pytest.warns(NotGeoreferencedWarning),
            rasterio.open(path, "w", driver="GTiff", **shape, **options) as image,
        ):
            image.write(pixels)
        return path

    return write


def without_rasterio(monkeypatch):
    monkeypatch.setitem(sys.modules, "rasterio", None)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("strip_rows", [1, 17, 75, 200])
def test_uncompressed_strips_are_read_without_rasterio(write, monkeypatch, dtype, strip_rows):
    pixels = pixels_of(dtype)
    path = write(pixels, blockysize=strip_rows)
    without_rasterio(monkeypatch)
    found = read_tiff(path)
    assert found.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(found, pixels)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "options",
    [
        {"tiled": True, "blockxsize": 16, "blockysize": 32},
        {"compress": "deflate"},
        {"compress": "deflate", "tiled": True, "blockxsize": 16, "blockysize": 16},
        {"compress": "lzw"},
        {"compress": "zstd"},
        {"ENDIANNESS": "BIG"},
        {"BIGTIFF": "YES"},
        {"BIGTIFF": "YES", "ENDIANNESS": "BIG", "compress": "lzw"},
        {"photometric": "miniswhite"},
    ],
    ids=str,
)
def test_every_other_kind_gives_the_same_pixels(write, dtype, options):
    pixels = pixels_of(dtype)
    found = read_tiff(write(pixels, **options))
    assert found.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(found, pixels)


@pytest.mark.parametrize(
    ("dtype", "predictor"), [("uint8", 2), ("uint16", 2), ("int32", 2), ("float32", 3)]
)
@pytest.mark.parametrize("compress", ["deflate", "lzw"])
def test_a_predictor_is_undone(write, dtype, predictor, compress):
    pixels = pixels_of(dtype)
    found = read_tiff(write(pixels, predictor=predictor, compress=compress))
    np.testing.assert_array_equal(found, pixels)


def test_sparse_strips_are_read_as_rasterio_reads_them(write):
    pixels = pixels_of("uint16")
    pixels[17:34] = 0
    np.testing.assert_array_equal(read_tiff(write(pixels, SPARSE_OK=True, blockysize=17)), pixels)


def test_nodata_and_scale_change_no_pixel(write):
    pixels = pixels_of("uint16")
    np.testing.assert_array_equal(read_tiff(write(pixels, nodata=3)), pixels)


def test_strips_may_lie_in_any_order():
    pixels = pixels_of("uint16", height=120, width=120)
    content = bytearray(encode_geotiff(pixels, PLACE))
    first, second = tag_value(content, 273), tag_value(content, 273) + 4
    one, two = (struct.unpack_from("<I", content, place)[0] for place in (first, second))
    struct.pack_into("<I", content, first, two)
    struct.pack_into("<I", content, second, one)
    expected = np.concatenate([pixels[34:68], pixels[:34], pixels[68:]])
    np.testing.assert_array_equal(parse_tiff(bytes(content), "a"), expected)


def test_pixels_at_an_odd_byte_are_aligned_in_memory():
    content = bytearray(encode_geotiff(pixels_of("float32", 5, 7), PLACE))
    offset = tag_value(content, 273)
    data = offset - content.find(pixels_of("float32", 5, 7).tobytes())
    content.insert(offset - data, 0)
    struct.pack_into("<I", content, tag_place(content, 273) + 8, offset + 1)
    found = parse_tiff(bytes(content), "a")
    assert found.flags.aligned
    np.testing.assert_array_equal(found, pixels_of("float32", 5, 7))


def tag_place(content, wanted):
    (count,) = struct.unpack_from("<H", content, 8)
    places = range(10, 10 + 12 * count, 12)
    return next(place for place in places if struct.unpack_from("<H", content, place)[0] == wanted)


def tag_value(content, wanted):
    return struct.unpack_from("<I", content, tag_place(content, wanted) + 8)[0]


def changed(tag, value):
    content = bytearray(encode_geotiff(pixels_of("uint16", 120, 120), PLACE))
    struct.pack_into("<I", content, tag_place(content, tag) + 8, value)
    return bytes(content)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "it is empty"),
        (b"PNG and so on", "not a TIFF"),
        (b"II*\0", "header should end at byte 8, and it has 4"),
        (b"II*\0" + struct.pack("<I", 4_000_000_000), "directory should end at byte 4000000002"),
        (b"II*\0" + struct.pack("<IH", 8, 40_000), "directory should end at byte 480010"),
        (changed(256, 0), "claims 0 x 120 pixels"),
        (changed(257, 500), "4 strips of 34 rows do not make 500 rows"),
        (changed(278, 0), "strips of 0 rows"),
        (changed(273, 0xFFFF_FFF0), "list of strips should end at byte"),
        (changed(256, 4_000), "a strip has 8160 bytes and needs 272000"),
        (changed(259, 8), "a strip cannot be decompressed"),
        (changed(259, 5), "cannot be read"),
    ],
)
def test_damage_is_named_with_the_file(content, reason):
    with pytest.raises(TiffError, match=rf"B02\.tif.*{reason}"):
        parse_tiff(content, "B02.tif")


@pytest.mark.parametrize("num_bytes", [5, 100, 250, 400, 20_000, 29_172])
def test_a_truncated_file_is_refused(tmp_path, num_bytes):
    content = encode_geotiff(pixels_of("uint16", 120, 120), PLACE)
    assert len(content) > num_bytes
    path = tmp_path / "B02.tif"
    path.write_bytes(content[:num_bytes])
    with pytest.raises(TiffError, match=r"B02\.tif is a damaged TIFF"):
        read_tiff(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(TiffError, match=r"Cannot read .*B02\.tif: No such file"):
        read_tiff(tmp_path / "B02.tif")


@pytest.mark.parametrize("options", [{}, {"interleave": "pixel"}, {"compress": "deflate"}])
@pytest.mark.parametrize("endianness", ["LITTLE", "BIG"])
def test_several_bands_are_refused(write, options, endianness):
    pixels = np.stack([pixels_of("uint16")] * 3)
    with pytest.raises(TiffError, match="has 3 bands"):
        read_tiff(write(pixels, ENDIANNESS=endianness, **options))


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
def test_complex_numbers_are_refused(write):
    with pytest.raises(TiffError, match="complex64"):
        read_tiff(write(np.ones((4, 5), np.complex64)))


def test_without_rasterio_a_compressed_file_names_the_cure(write, monkeypatch):
    path = write(pixels_of("uint16"), compress="lzw")
    without_rasterio(monkeypatch)
    with pytest.raises(MissingExtraError, match=r'oracle\.tif.*pip install "reben\[geo\]"'):
        read_tiff(path)


KINDS = {
    "plain": {},
    "strips": {"blockysize": 16},
    "deflate": {"compress": "deflate"},
    "tiled": {"tiled": True, "blockxsize": 16, "blockysize": 16, "compress": "lzw"},
    "big": {"BIGTIFF": "YES", "ENDIANNESS": "BIG"},
}


@pytest.mark.parametrize("kind", KINDS)
def test_damaged_bytes_give_pixels_or_a_tiff_error(write, kind):
    content = write(pixels_of("uint16"), **KINDS[kind]).read_bytes()
    random = np.random.default_rng(len(kind))
    for _ in range(100):
        damaged = bytearray(content)
        for place in random.integers(0, min(len(content), 400), random.integers(1, 6)):
            damaged[place] = random.integers(0, 256)
        if random.random() < 0.4:
            del damaged[random.integers(0, len(damaged)) :]
        assert_pixels_or_error(bytes(damaged))


def assert_pixels_or_error(content):
    with contextlib.suppress(TiffError):
        pixels = parse_tiff(content, "damaged.tif")
        assert pixels.ndim == 2
        assert pixels.size


def test_damage_in_the_directory_never_reads_beyond_the_file():
    content = encode_geotiff(pixels_of("float32", 40, 30), PLACE)
    for place in range(4, 200):
        for value in (0, 1, 0x7F, 0x80, 0xFF):
            assert_pixels_or_error(content[:place] + bytes([value]) + content[place + 1 :])
