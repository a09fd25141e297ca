"""What the files of a patch make: a value, or the reason why they make none."""

import numpy as np
import pytest
import rasterio
from rasterio.transform import Affine

import made_up
import made_up_files
from reben.data.encode import encode
from reben.data.encoding.patch_files import PatchFilesError, read_patch_files
from reben.data.inspection import verify_store
from reben.data.storage.value import SENTINEL1, SENTINEL2
from reben.data.store import Store
from reben.errors import EncodeError, RebenError


@pytest.fixture
def folders(tmp_path):
    """The folders of one patch: Sentinel-1 and Sentinel-2."""
    roots = made_up_files.write_tree(tmp_path / "files", [3], ("s1", "s2"))
    return {which: next(root.glob("*/*")) for which, root in roots.items()}


def rewrite(folder, name, change, **profile):
    """Write one band again, changed, as other programs do."""
    path = next(folder.glob(f"*_{name}.tif"))
    with rasterio.open(path) as image:
        pixels = change(image.read(1))
    given = made_up_files.rasterio_profile(path) | {"dtype": pixels.dtype} | profile
    with rasterio.open(path, "w", **given) as image:
        image.write(pixels, 1)
    return path


def value_of(folder, kind):
    patch = read_patch_files(str(folder), kind)
    return patch.value(kind), patch


def reason_of(folder, kind):
    with pytest.raises((PatchFilesError, RebenError)) as refused:
        value_of(folder, kind)
    return str(refused.value)


def rows_to(value, share):
    def change(pixels):
        changed = pixels.copy()
        changed[: round(share * len(pixels))] = value
        return changed

    return change


@pytest.mark.parametrize(
    ("change", "profile", "said"),
    [
        (rows_to(-9999, 0.3), {"nodata": -9999}, "VV has 4,320 pixels without data"),
        (rows_to(-9999, 0.3), {}, "VV has 4,320 pixels without data"),
        (rows_to(-5, 0.3), {"nodata": -5}, "VV has 4,320 pixels without data"),
        (rows_to(0, 0.3), {"nodata": 0}, "VV has 4,320 pixels without data"),
        (rows_to(np.nan, 0.3), {}, "VV has 4,320 pixels without data"),
        (rows_to(500, 1), {}, "VV has 14,400 pixels without data"),
        (lambda x: 10 ** (x / 10), {}, "linear power"),
        (lambda x: x, {"crs": "EPSG:3857"}, "m on the ground (EPSG:3857)"),
        (lambda x: x, {"transform": Affine(9.4, 0, 3e5, 0, -9.4, 5e6)}, "pixels of 9.4 m"),
        (lambda x: x, {"transform": Affine(10, 0, 5e5, 0, -10, 5e6)}, "km apart"),
    ],
)
def test_backscatter_that_is_none_makes_no_value(folders, change, profile, said):
    rewrite(folders["s1"], "VV", change, **profile)
    assert said in reason_of(folders["s1"], SENTINEL1)


@pytest.mark.parametrize(
    ("names", "change", "profile", "said"),
    [
        (SENTINEL2.sizes, rows_to(0, 1), {}, "100% of the pixels are 0 in B01"),
        (SENTINEL2.sizes, rows_to(0, 0.3), {"nodata": 0}, "30% of the pixels are 0 in B01"),
        (["B8A"], rows_to(7, 0.3), {"nodata": 7}, "B8A has 1,080 pixels without data"),
        (["B8A"], rows_to(65535, 0.3), {}, "30% of band B8A are 65535"),
        (SENTINEL2.sizes, lambda x: x // 1000, {}, "reflectances of 0..1"),
    ],
)
def test_numbers_that_are_none_make_no_value(folders, names, change, profile, said):
    for name in names:
        rewrite(folders["s2"], name, change, **profile)
    assert said in reason_of(folders["s2"], SENTINEL2)


def test_a_scale_that_is_not_applied_makes_no_value(folders):
    with rasterio.open(next(folders["s2"].glob("*_B02.tif")), "r+") as image:
        image.scales = [0.0001]
    assert "B02 has scale 0.0001" in reason_of(folders["s2"], SENTINEL2)


def test_a_few_bad_pixels_are_filled_and_counted(folders):
    rewrite(folders["s1"], "VV", rows_to(-9999, 0.05), nodata=-9999)
    value, patch = value_of(folders["s1"], SENTINEL1)
    assert patch.num_filled == 1
    assert patch.agrees(SENTINEL1, value)
    pixels = np.frombuffer(value[-4 * 14400 :], np.float32).reshape(120, 120)
    np.testing.assert_array_equal(pixels[6:], made_up.band("VV", 3)[6:])
    assert set(pixels[:6].ravel()) == {np.median(pixels[6:])}


def test_zeros_of_single_bands_are_kept_bit_for_bit(folders):
    before, _ = value_of(folders["s2"], SENTINEL2)
    rewrite(folders["s2"], "B12", rows_to(0, 1), nodata=0)
    value, patch = value_of(folders["s2"], SENTINEL2)
    assert patch.num_filled == 0
    start = before.index(made_up.band("B12", 3).tobytes())
    assert value == before[:start] + bytes(7200) + before[start + 7200 :]


def test_the_other_ending_of_tiffs_is_taken_and_two_of_one_band_are_refused(folders):
    value, _ = value_of(folders["s2"], SENTINEL2)
    first = next(folders["s2"].glob("*_B02.tif"))
    first.rename(first.with_suffix(".tiff"))
    assert value_of(folders["s2"], SENTINEL2)[0] == value
    first.write_bytes(next(folders["s2"].glob("*_B03.tif")).read_bytes())
    assert "two different files" in reason_of(folders["s2"], SENTINEL2)


def test_encode_names_counts_and_goes_on(tmp_path):
    roots = made_up_files.write_tree(tmp_path / "files", range(5), ("s1", "s2"))
    patch = {n: next(roots["s1"].glob(f"*/{made_up.s1_name(n)}")) for n in range(5)}
    rewrite(patch[0], "VV", rows_to(-9999, 0.3), nodata=-9999)
    rewrite(patch[1], "VH", rows_to(-9999, 0.02), nodata=-9999)
    rows = [made_up.row(n) for n in range(4)] + [made_up.row(4, s1_name=made_up.s1_name(3))]
    table = made_up.write_metadata(tmp_path / "metadata.parquet", rows)
    with pytest.raises(EncodeError, match="2 of 10 patches were left out") as left_out:
        encode(tmp_path / "store", **roots, metadata=[table], workers=1)
    report = left_out.value.report
    assert {one.name for one in report.failures} == {made_up.s1_name(0), made_up.s1_name(3)}
    assert "lies elsewhere than its pair" in report.failures[1].reason
    assert report.new == {"Sentinel-2": 5, "Sentinel-1": 3}
    assert report.filled == {"Sentinel-1": 1}
    assert made_up.s1_name(4) in set(Store.open(tmp_path / "store").names())
    assert verify_store(tmp_path / "store").num_problems == 0


@pytest.mark.parametrize("workers", [1, 2])
def test_files_of_a_pair_that_lie_apart_are_left_out_and_those_that_lie_together_not(
    tmp_path, workers
):
    roots = made_up_files.write_tree(tmp_path / "files", range(3), ("s1", "s2"))
    east = {"transform": Affine(10, 0, 500_000, 0, -10, 5_000_000)}
    for name in ("VV", "VH"):
        for number in (1, 2):
            folder = next(roots["s1"].glob(f"*/{made_up.s1_name(number)}"))
            rewrite(folder, name, lambda pixels: pixels, **east)
    for name, side in SENTINEL2.sizes.items():  # the whole pair 2 is moved
        there = {"transform": Affine(1200 / side, 0, 500_000, 0, -1200 / side, 5_000_000)}
        folder = next(roots["s2"].glob(f"*/{made_up.patch_id(2)}"))
        rewrite(folder, name, lambda pixels: pixels, **there)
    table = made_up.write_metadata(
        tmp_path / "metadata.parquet", [made_up.row(n) for n in range(3)]
    )
    with pytest.raises(EncodeError, match="1 of 6 patches were left out") as left_out:
        encode(tmp_path / "store", **roots, metadata=[table], workers=workers)
    (failure,) = left_out.value.report.failures
    assert failure.name == made_up.s1_name(1)
    assert "km apart" in failure.reason
    kept = {made_up.s1_name(0), made_up.s1_name(2), *map(made_up.patch_id, range(3))}
    assert set(Store.open(tmp_path / "store").names()) == kept
    assert left_out.value.report.new == {"Sentinel-2": 3, "Sentinel-1": 2}
