"""Values against rasterio, for the layouts in which a band can be written."""

from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rasterio.io import MemoryFile
from safetensors.numpy import load, save

from made_up import patch_id, s1_name
from made_up_files import KINDS as KIND_NAMES
from made_up_files import files_of, name_of, tensors_of
from reben.data.encoding.patch_files import PatchFiles, PatchFilesError, tensor_of
from reben.data.patch_folders.folder import is_tiff
from reben.data.storage.value import (
    KINDS,
    REFERENCE_MAP,
    SENTINEL1,
    SENTINEL2,
    kind_of_value,
)
from reben.data.tiff.read import read_strips
from reben.data.tiff.tags import FaultError
from reben.errors import TiffError

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")

LAYOUTS = {
    "one strip": {"blockysize": 200},
    "strips of 7 rows": {"blockysize": 7},
    "deflate": {"compress": "deflate", "blockysize": 34},
    "deflate with predictor": {"compress": "deflate", "predictor": 2},
    "lzw": {"compress": "lzw"},
    "packbits": {"compress": "packbits"},
    "zstd": {"compress": "zstd"},
    "tiled": {"tiled": True, "blockxsize": 32, "blockysize": 48},
    "tiled deflate": {"tiled": True, "blockxsize": 64, "blockysize": 64, "compress": "deflate"},
    "big-endian": {"ENDIANNESS": "BIG"},
    "big-endian deflate": {"ENDIANNESS": "BIG", "compress": "deflate"},
    "BigTIFF": {"BIGTIFF": "YES"},
    "sparse": {"SPARSE_OK": True, "blockysize": 40},
}


def tiff(pixels, **options):
    height, width = pixels.shape
    profile = {"height": height, "width": width, "count": 1, "dtype": pixels.dtype, **options}
    with MemoryFile() as memory:
        with memory.open(driver="GTiff", **profile) as image:
            image.write(pixels, 1)
        return memory.read()


def by_rasterio(content):
    with MemoryFile(content) as memory, memory.open() as image:
        return image.read(1)


def contents(which, number, **changes):
    files = files_of(which, number).items()
    names = {
        file: tensor for tensor, file in zip(tensors_of(which, number), dict(files), strict=True)
    }
    return {names[file]: content for file, content in files} | changes


def value_of(kind, files):
    return PatchFiles("x", files).value(kind)


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
@pytest.mark.parametrize("which", ["s1", "s2", "reference_maps"])
def test_a_value_holds_what_rasterio_reads_whatever_the_layout(which, layout):
    kind = KINDS[KIND_NAMES[which]]
    files = {name: tiff(pixels, **layout) for name, pixels in tensors_of(which, 4).items()}
    read = load(value_of(kind, files))
    assert set(read) == set(files)
    for name, content in files.items():
        np.testing.assert_array_equal(read[name], by_rasterio(content), strict=True)
        np.testing.assert_array_equal(read[name], tensors_of(which, 4)[name], strict=True)


def test_an_all_zero_sparse_file_is_read_as_zeros():
    zeros = np.zeros((120, 120), np.uint16)
    read = load(value_of(REFERENCE_MAP, {"Data": tiff(zeros, SPARSE_OK=True)}))
    np.testing.assert_array_equal(read["Data"], zeros, strict=True)


def test_negative_zero_keeps_its_bits_and_what_is_no_number_is_filled():
    pixels = tensors_of("s1", 1)["VV"].copy()
    pixels[0, 0] = -0.0
    value = value_of(SENTINEL1, contents("s1", 1, VV=tiff(pixels)))
    assert load(value)["VV"].tobytes() == pixels.tobytes()
    odd = pixels.copy()
    odd[0, 1:3] = [np.nan, -np.inf]
    read = load(value_of(SENTINEL1, contents("s1", 1, VV=tiff(odd))))["VV"]
    assert np.isfinite(read).all()
    np.testing.assert_array_equal(read[1:], pixels[1:])


@pytest.mark.parametrize("which", ["s1", "s2", "reference_maps"])
def test_the_bytes_are_those_that_the_safetensors_package_writes(which):
    kind = KINDS[KIND_NAMES[which]]
    value = value_of(kind, contents(which, 2))
    assert value == save(tensors_of(which, 2))
    assert len(value) == kind.num_bytes


@given(
    st.sampled_from(["u1", "u2", "u4", "i2", "i4", "f4", "f8"]),
    st.integers(1, 70),
    st.integers(1, 70),
    st.integers(1, 80),
    st.sampled_from([None, "deflate"]),
)
def test_plain_tiffs_of_any_dtype_and_size_are_read_as_rasterio_does(
    dtype, height, width, rows, how
):
    pixels = (np.arange(height * width).reshape(height, width) * 7 % 251).astype(dtype)
    options = {} if how is None else {"compress": how}
    content = tiff(pixels, blockysize=min(rows, height), **options)
    strips = read_strips(content)
    assert strips is not None
    assert strips.dtype == pixels.dtype
    read = np.frombuffer(strips.content, strips.dtype).reshape(strips.shape)
    np.testing.assert_array_equal(read, by_rasterio(content))


@given(st.data())
def test_a_plain_tiff_with_changed_bytes_is_read_or_an_error_of_ours(data):
    content = bytearray(contents("reference_maps", 1)["Data"])
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(8, len(content) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.sampled_from([None, None, len(content) // 2, 100, 8]))
    strips = None
    with suppress(FaultError):
        strips = read_strips(bytes(content[:cut]))
    if strips is not None:
        height, width = strips.shape
        assert len(strips.content) == height * width * strips.dtype.itemsize


def test_a_missing_file_is_named():
    files = contents("s2", 1)
    del files["B8A"], files["B01"]
    with pytest.raises(PatchFilesError, match="B01, B8A are missing"):
        value_of(SENTINEL2, files)


@pytest.mark.parametrize("share", [0, 0.01, 0.5, 0.99])
@pytest.mark.parametrize(
    ("which", "tensor"), [("s2", "B05"), ("s1", "VH"), ("reference_maps", "Data")]
)
def test_a_truncated_file_is_named(which, tensor, share):
    whole = contents(which, 1)[tensor]
    files = contents(which, 1, **{tensor: whole[: int(share * len(whole))]})
    with pytest.raises(TiffError, match=tensor):
        value_of(KINDS[KIND_NAMES[which]], files)


def test_a_file_that_is_no_tiff_is_named():
    with pytest.raises(TiffError, match="VV is not a TIFF"):
        value_of(SENTINEL1, contents("s1", 1, VV=b"<html>Not found</html>"))


def test_a_wrong_size_and_a_wrong_dtype_are_told_with_the_right_ones():
    small = tensors_of("s2", 1)["B05"]
    with pytest.raises(PatchFilesError, match="B02 is 60 x 60 uint16 and should be 120 x 120"):
        value_of(SENTINEL2, contents("s2", 1, B02=tiff(small)))
    floats = small.astype(np.float32)
    with pytest.raises(PatchFilesError, match=r"B05 is 60 x 60 float32 .* 60 x 60 uint16"):
        value_of(SENTINEL2, contents("s2", 1, B05=tiff(floats)))


def test_several_bands_in_one_file_are_refused():
    with MemoryFile() as memory:
        profile = {"height": 120, "width": 120, "count": 3, "dtype": "float32"}
        with memory.open(driver="GTiff", **profile) as image:
            image.write(np.zeros((3, 120, 120), np.float32))
        content = memory.read()
    with pytest.raises(TiffError, match="VV has 3 bands"):
        value_of(SENTINEL1, contents("s1", 1, VV=content))


def test_the_tensor_of_a_file_is_known_by_its_name():
    name = patch_id(3)
    for ending in ("tif", "tiff", "TIFF"):
        assert tensor_of(SENTINEL2, name, f"{name}_B8A.{ending}") == "B8A"
    assert tensor_of(REFERENCE_MAP, name, f"{name}_reference_map.tif") == "Data"
    assert tensor_of(SENTINEL2, name, "labels.json") is None
    assert tensor_of(SENTINEL2, name, f"._{name}_B8A.tif") is None


@pytest.mark.parametrize("file", ["{}_B10.tif", "{}_VV.tif", "other_B02.tif"])
def test_a_tiff_with_another_name_is_refused(file):
    name = patch_id(3)
    with pytest.raises(PatchFilesError, match=r"is unknown; .* _B02\.tif"):
        tensor_of(SENTINEL2, name, file.format(name))


def test_part_of_the_files_agree_with_the_value_or_not():
    value = value_of(SENTINEL2, contents("s2", 1))
    some = {name: contents("s2", 1)[name] for name in ("B03", "B12")}
    assert PatchFiles("x", some).agrees(SENTINEL2, value)
    assert not PatchFiles("x", some | {"B09": contents("s2", 2)["B09"]}).agrees(SENTINEL2, value)


@pytest.mark.parametrize("which", KIND_NAMES)
def test_the_kind_of_a_value_is_known_by_its_name(which):
    assert kind_of_value(name_of(which, 7)) == KIND_NAMES[which]


@pytest.mark.parametrize("name", ["x", s1_name(1) + "_reference_map", "S2A_MSIL2A_T33UUP_1_2"])
def test_other_names_are_of_no_kind(name):
    assert kind_of_value(name) == "other"


def test_a_tiff_is_known_by_its_ending():
    assert is_tiff("x.tif")
    assert is_tiff("x.TIFF")
    assert not is_tiff("x.tif.aux.xml")
