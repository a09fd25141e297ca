import sys

import numpy as np
import pytest
import rasterio
from rasterio.transform import Affine

import made_up
from multiband_files import write_multiband
from reben.data.patch_folders.multiband import read_multiband
from reben.data.preprocess import SuspiciousInputWarning
from reben.errors import (
    BandsMismatchError,
    ConfigError,
    MissingExtraError,
    PatchShapeError,
    PixelValueError,
    TiffError,
    UnknownBandError,
)
from reben.spec.bands import ALL_FULL, BandSet, native_size

NAMES = ("B8A", "VV", "B02", "B01")
BANDS = BandSet(NAMES)


@pytest.fixture
def patch():
    return made_up.patch(4, NAMES)


def test_repeated_pixels_come_back_exactly_at_native_size(tmp_path):
    everything = made_up.patch(3)
    read = read_multiband(write_multiband(tmp_path / "p.tif", everything), ALL_FULL)
    assert list(read) == list(ALL_FULL)
    for name, pixels in everything.items():
        np.testing.assert_array_equal(read[name], pixels)


def test_bands_are_taken_by_description_whatever_their_place(tmp_path, patch):
    backwards = dict(reversed(patch.items()))
    read = read_multiband(write_multiband(tmp_path / "p.tif", backwards), BANDS)
    for name, pixels in patch.items():
        np.testing.assert_array_equal(read[name], pixels)


def test_descriptions_may_be_unpadded_and_others_than_bands_are_left_out(tmp_path):
    bands = {"B02": made_up.band("B02"), "B08": made_up.band("B08"), "B04": made_up.band("B04")}
    path = write_multiband(tmp_path / "p.tif", bands, descriptions=("b2", " B8 ", "QA60"))
    read = read_multiband(path, BandSet(("B08", "B02")))
    np.testing.assert_array_equal(read["B08"], bands["B08"])
    np.testing.assert_array_equal(read["B02"], bands["B02"])


def test_without_descriptions_names_are_asked_for_and_never_guessed(tmp_path, patch):
    path = write_multiband(tmp_path / "p.tif", patch, descriptions=False)
    with pytest.raises(BandsMismatchError, match=r"called \(no name\).*--band-names B8A,VV,B02"):
        read_multiband(path, BANDS)
    read = read_multiband(path, BANDS, names=NAMES)
    np.testing.assert_array_equal(read["VV"], patch["VV"])


def test_given_names_win_over_descriptions_and_a_dash_leaves_out(tmp_path, patch):
    path = write_multiband(tmp_path / "p.tif", patch)
    read = read_multiband(path, BandSet(("B04",)), names=("-", "-", "B04", "-"))
    np.testing.assert_array_equal(read["B04"], patch["B02"])


@pytest.mark.parametrize(
    ("names", "error", "said"),
    [
        (NAMES[:3], BandsMismatchError, "has 4 bands, but 3 names"),
        (("B8A", "VV", "B02", "B13"), UnknownBandError, "'B13'"),
        (("B8A", "VV", "B02", "B02"), BandsMismatchError, "two bands called B02, number 3 and 4"),
        (("B8A", "VV", "B02", "-"), BandsMismatchError, "needs B01"),
    ],
)
def test_names_that_do_not_fit_are_refused(tmp_path, patch, names, error, said):
    with pytest.raises(error, match=said):
        read_multiband(write_multiband(tmp_path / "p.tif", patch), BANDS, names=names)


def test_pixels_that_are_not_repeated_are_refused_until_a_rule_is_chosen(tmp_path):
    fine = {name: made_up.band("B02") * (2 if name == "B8A" else 1) for name in ("B02", "B8A")}
    path = tmp_path / "p.tif"
    profile = {"driver": "GTiff", "width": 120, "height": 120, "count": 2, "dtype": "uint16"}
    place = {"crs": "EPSG:32633", "transform": Affine(10, 0, 0, 0, -10, 0)}
    with rasterio.open(path, "w", **profile, **place) as image:
        image.write(np.stack(list(fine.values())))
        image.descriptions = tuple(fine)
    with pytest.raises(PatchShapeError, match=r"Band B8A .*60 x 60 ones repeated.*--resample mean"):
        read_multiband(path, BandSet(("B02", "B8A")))
    values = fine["B8A"].astype(float)
    mean = read_multiband(path, BandSet(("B8A",)), resample="mean")["B8A"]
    centre = read_multiband(path, BandSet(("B8A",)), resample="centre")["B8A"]
    for row, column in ((0, 0), (7, 41), (59, 3)):
        block = values[2 * row : 2 * row + 2, 2 * column : 2 * column + 2]
        assert mean[row, column] == np.float32(block.mean())
        assert centre[row, column] == block[1, 1]
    with pytest.warns(SuspiciousInputWarning, match="^B8A had been interpolated"):
        auto = read_multiband(path, BandSet(("B02", "B8A")), resample="auto")
    np.testing.assert_array_equal(auto["B8A"], mean)
    np.testing.assert_array_equal(auto["B02"], fine["B02"])
    with pytest.raises(ConfigError, match="'cubic'"):
        read_multiband(path, BANDS, resample="cubic")


def test_a_file_of_coarse_pixels_gives_coarse_bands_only(tmp_path):
    bands = {"B8A": made_up.band("B8A"), "B05": made_up.band("B05")}
    path = write_multiband(tmp_path / "p.tif", bands, side=60, metres=20)
    np.testing.assert_array_equal(read_multiband(path, BandSet(("B05",)))["B05"], bands["B05"])
    with pytest.raises(PatchShapeError, match="Pass a file with pixels of 10 m"):
        read_multiband(path, BandSet(("B02",)), names=("B02", "B05"))
    with pytest.raises(PatchShapeError, match="needs 20 x 20"):
        read_multiband(path, BandSet(("B01",)), names=("B01", "B05"))


def write_blank(path, width, height, metres=10):
    profile = {"driver": "GTiff", "width": width, "height": height, "count": 1, "dtype": "uint16"}
    place = {"crs": "EPSG:32633", "transform": Affine(metres, 0, 500_000, 0, -metres, 5_400_000)}
    with rasterio.open(path, "w", **profile, **place) as image:
        image.descriptions = ("B02",)
    return path


@pytest.mark.parametrize(
    ("width", "height", "metres", "said"),
    [
        (240, 240, 10, "240 x 240 pixels.*predict-scene"),
        (120, 100, 10, "120 x 100 pixels; a patch is a square"),
        (64, 64, 10, "64 x 64 pixels"),
        (120, 120, 20, r"covers 2400 x 2400 m on the ground \(EPSG:32633\), with pixels of 20 m"),
        (120, 120, 9.4, "covers 1128 x 1128 m on the ground.*with pixels of 9.4 m"),
    ],
)
def test_what_is_no_patch_of_1200_metres_is_refused(tmp_path, width, height, metres, said):
    path = write_blank(tmp_path / "p.tif", width, height, metres)
    with pytest.raises(PatchShapeError, match=said):
        read_multiband(path, BandSet(("B02",)))


@pytest.mark.parametrize("resample", ["auto", "exact", "mean", "centre"])
def test_pixels_without_data_are_masked_but_zero_is_a_digital_number(tmp_path, patch, resample):
    patch["B8A"] = patch["B8A"].astype(np.float32)
    patch["VV"][5, 7] = patch["B8A"][3, 4] = -9999
    path = write_multiband(tmp_path / "p.tif", patch, nodata=-9999)
    bands = read_multiband(path, BANDS, resample=resample)
    assert np.argwhere(bands["VV"].mask).tolist() == [[5, 7]]
    assert np.argwhere(bands["B8A"].mask).tolist() == [[3, 4]]
    assert not np.ma.isMaskedArray(bands["B02"])
    np.testing.assert_array_equal(bands["B8A"].compressed(), np.delete(patch["B8A"], 3 * 60 + 4))
    dark = {"B02": np.zeros((120, 120), np.uint16)}
    path = write_multiband(tmp_path / "d.tif", dark, nodata=0, dtype="uint16")
    found = read_multiband(path, BandSet(("B02",)))["B02"]
    assert not found.any()
    assert not np.ma.isMaskedArray(found)


def test_a_mask_in_the_file_is_honoured(tmp_path, patch):
    path = write_multiband(tmp_path / "p.tif", patch)
    hidden = np.zeros((120, 120), bool)
    hidden[60:66, 30:36] = True
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(path, "r+") as image:
        image.write_mask(~hidden)
    bands = read_multiband(path, BANDS)
    np.testing.assert_array_equal(bands["B02"].mask, hidden)
    assert np.argwhere(bands["B8A"].mask).tolist() == [
        [row, column] for row in (30, 31, 32) for column in (15, 16, 17)
    ]


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ({"crs": "EPSG:4326", "transform": Affine(0.01, 0, 15, 0, -0.01, 60)}, r"e\+05 m"),
        ({"crs": "EPSG:3857", "transform": Affine(10, 0, 1e6, 0, -10, 8.4e6)}, "covers 60[01]"),
        ({"transform": Affine.rotation(9) @ Affine(10, 0, 5e5, 0, -10, 5e6)}, "is rotated"),
        ({"transform": Affine(10, 0, 5e5, 0, 10, 5e6)}, "is mirrored"),
    ],
)
def test_the_size_on_the_ground_counts(tmp_path, patch, place, said):
    with pytest.raises(PatchShapeError, match=said):
        read_multiband(write_multiband(tmp_path / "p.tif", patch, **place), BANDS)


def test_a_scale_that_is_not_applied_is_refused(tmp_path, patch):
    path = write_multiband(tmp_path / "p.tif", patch, scales=(1, 1, 0.0001, 1))
    with pytest.raises(PixelValueError, match=r"B02 .* has scale 0\.0001"):
        read_multiband(path, BANDS)


def test_a_file_that_is_no_tiff_is_refused(tmp_path):
    (tmp_path / "p.tif").write_bytes(b"not it")
    with pytest.raises(TiffError, match=r"p\.tif"):
        read_multiband(tmp_path / "p.tif", BANDS)


def test_without_rasterio_the_extra_is_named(tmp_path, patch, monkeypatch):
    path = write_multiband(tmp_path / "p.tif", patch)
    monkeypatch.setitem(sys.modules, "rasterio", None)
    with pytest.raises(MissingExtraError, match=r"reben\[geo\]"):
        read_multiband(path, BANDS)


def test_the_oracle_writes_coarse_bands_as_repetitions(tmp_path):
    path = write_multiband(tmp_path / "p.tif", made_up.patch(0, ("B01",)))
    with rasterio.open(path) as image:
        pixels = image.read(1)
    assert native_size("B01") == 20
    np.testing.assert_array_equal(pixels[::6, ::6], made_up.band("B01"))
    np.testing.assert_array_equal(pixels[5::6, 5::6], made_up.band("B01"))
