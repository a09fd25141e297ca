import warnings

import numpy as np
import pytest
import torch
import xarray
from hypothesis import given
from hypothesis import strategies as st

from made_up import band, patch
from reben.data.preprocess import (
    Preprocess,
    Suspicious,
    SuspiciousInputWarning,
    check_bands,
    count_suspicious,
    examine_bands,
)
from reben.errors import (
    BandsError,
    BandsMismatchError,
    ConfigError,
    PatchShapeError,
    PixelValueError,
    UnknownBandError,
)
from reben.spec.bands import ALL, ALL_FULL, S1, S2, BandSet
from reben.spec.statistics import Statistics, published_statistics


def images_of(bands, names=ALL_FULL, size=120, upsampling="nearest"):
    preprocess = Preprocess(names, published_statistics(size, upsampling), size)
    return preprocess(check_bands(bands, names))


def test_nearest_repeats_each_pixel_and_normalises_by_band():
    images = images_of(patch(3))
    figures = published_statistics()
    assert images.shape == (1, 14, 120, 120)
    assert images.dtype == torch.float32
    for channel, name in enumerate(ALL_FULL):
        times = 120 // band(name).shape[0]
        repeated = band(name, 3).repeat(times, 0).repeat(times, 1).astype(np.float64)
        expected = (repeated - figures.mean[name]) / figures.std[name]
        np.testing.assert_allclose(images[0, channel], expected, rtol=0, atol=2e-6)


@pytest.mark.parametrize("upsampling", ["bilinear", "bicubic"])
def test_smooth_upsampling_aligns_corners_as_the_published_statistics_do(upsampling):
    bands = BandSet(("B01",))
    images = images_of(patch(), bands, upsampling=upsampling)
    figures = published_statistics(120, upsampling)
    restored = images[0, 0].double() * figures.std["B01"] + figures.mean["B01"]
    raw = band("B01").astype(np.float64)
    for corner in ((0, 0), (0, -1), (-1, 0), (-1, -1)):
        assert float(restored[corner]) == pytest.approx(raw[corner], abs=1e-3)
    # A ramp stays a ramp: linear from corner to corner.
    assert float(restored[0, 7]) == pytest.approx(raw[0, 0] + 3 * 7 * 19 / 119, abs=0.5)


@pytest.mark.parametrize("size", [60, 120, 128])
def test_images_have_the_size_asked_for(size):
    assert images_of(patch(), S2, size).shape == (1, 10, size, size)


def test_channels_follow_the_band_set_and_not_the_mapping():
    forwards, backwards = patch(), dict(reversed(patch().items()))
    assert torch.equal(images_of(forwards), images_of(backwards))
    swapped = BandSet(("VH", "VV"))
    assert torch.equal(images_of(forwards, swapped), images_of(forwards, S1).flip(1))


@given(st.permutations(ALL.names))
def test_any_order_of_bands_gives_the_same_channels_in_that_order(order):
    images = images_of(patch(), BandSet(tuple(order)))
    usual = images_of(patch(), ALL)
    assert torch.equal(images, usual[:, [ALL.index(name) for name in order]])


def test_a_batch_is_its_patches_one_by_one():
    patches = [patch(number) for number in range(3)]
    batch = {name: np.stack([one[name] for one in patches]) for name in ALL_FULL}
    assert torch.equal(images_of(batch), torch.cat([images_of(one) for one in patches]))


def test_bands_that_are_not_needed_are_left_out():
    assert list(check_bands(patch(), S1)) == ["VV", "VH"]


def test_tensors_lists_and_other_byte_orders_are_taken():
    raw = band("B02")
    usual = check_bands({"B02": raw}, BandSet(("B02",)))["B02"].float()
    for other in (torch.from_numpy(raw.astype(np.int32)), raw.tolist(), raw.astype(">u2")):
        found = check_bands({"B02": other}, BandSet(("B02",)))["B02"]
        assert torch.equal(found.float(), usual)


def test_read_only_arrays_are_taken_without_a_warning():
    raw = band("B02")
    raw.flags.writeable = False
    assert check_bands({"B02": raw}, BandSet(("B02",)))["B02"].shape == (1, 120, 120)


def test_a_missing_band_is_named_with_those_there_and_the_cure():
    with pytest.raises(
        BandsMismatchError, match=r"needs B8A, B11; the patch has B02, B03\. Pass the missing"
    ):
        check_bands(patch(bands=("B02", "B03")), BandSet(("B02", "B8A", "B11")))


@pytest.mark.parametrize("name", ["B10", "b02", "SCL", "red"])
def test_an_unknown_band_is_refused(name):
    with pytest.raises(UnknownBandError, match=name):
        check_bands({**patch(), name: band("B02")}, S2)


@pytest.mark.parametrize("given", [np.zeros((12, 120, 120)), [1, 2], None])
def test_bands_by_position_are_refused(given):
    with pytest.raises(BandsError, match="by name, not by position"):
        check_bands(given, S2)


@pytest.mark.parametrize(
    ("name", "shape"),
    [("B02", (60, 60)), ("B05", (120, 120)), ("B01", (1, 1, 20, 20)), ("VV", (120,))],
)
def test_a_wrong_size_is_refused_with_the_right_one(name, shape):
    bands = {**patch(), name: np.full(shape, -10.0 if name == "VV" else 500.0, np.float32)}
    with pytest.raises(PatchShapeError, match=rf"Band {name} has shape .* must be \(\d+, \d+\)"):
        check_bands(bands, ALL_FULL)


def test_differing_numbers_of_patches_are_refused():
    bands = {"VV": np.stack([band("VV")] * 2), "VH": np.stack([band("VH")] * 3)}
    with pytest.raises(PatchShapeError, match=r"VV \(2, 120, 120\), VH \(3, 120, 120\)"):
        check_bands(bands, S1)


def test_one_patch_and_a_batch_of_one_do_not_mix():
    with pytest.raises(PatchShapeError):
        check_bands({"VV": band("VV"), "VH": band("VH")[None]}, S1)


def test_reflectances_of_0_to_1_are_told_apart():
    bands = {name: (pixels / 10000).astype(np.float32) for name, pixels in patch(0, S2).items()}
    with pytest.raises(PixelValueError, match=r"reflectances of 0\.\.1.*multiply by 10000"):
        check_bands(bands, S2)


def test_one_patch_of_reflectances_in_a_batch_is_found():
    good = band("B02").astype(np.float32)
    with pytest.raises(PixelValueError, match="reflectances"):
        check_bands({"B02": np.stack([good, good / 10000])}, BandSet(("B02",)))


def test_a_dark_band_among_bright_ones_is_no_reflectance():
    bands = {"B02": band("B02").astype(np.float32), "B12": np.full((60, 60), 1.0, np.float32)}
    assert check_bands(bands, BandSet(("B02", "B12")))


def test_a_patch_without_data_is_refused():
    with pytest.raises(PixelValueError, match="100% of the pixels are 0 in B02, which is no data"):
        check_bands({"B02": np.zeros((120, 120), np.uint16)}, BandSet(("B02",)))


@pytest.mark.parametrize("dtype", [np.uint8, np.bool_, np.complex64])
def test_dtypes_that_cannot_hold_digital_numbers_are_refused(dtype):
    with pytest.raises(PixelValueError, match="cannot hold digital numbers"):
        check_bands({"B02": np.ones((120, 120), dtype)}, BandSet(("B02",)))


def test_linear_power_is_told_apart_from_db():
    bands = {name: 10 ** (band(name) / 10) for name in S1}
    with pytest.raises(PixelValueError, match=r"linear power.*10 \* log10"):
        check_bands(bands, S1)


@pytest.mark.parametrize("dtype", [np.int32, np.uint16])
def test_rounded_backscatter_is_refused(dtype):
    bands = {name: band(name).astype(np.int32).astype(dtype) for name in S1}
    with pytest.raises(PixelValueError, match="dB has fractions"):
        check_bands(bands, S1)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", ["VH", "B11"])
def test_values_that_are_not_finite_are_counted_and_named(name, value):
    bands = {one: pixels.astype(np.float32) for one, pixels in patch().items()}
    bands[name][:10] = value
    count = 10 * len(bands[name])
    with pytest.raises(
        PixelValueError, match=rf"Band {name} has {count:,} pixels without data.*value: {value}\)"
    ):
        check_bands(bands, ALL_FULL)


@pytest.mark.parametrize("as_given", [np.asarray, torch.from_numpy, list])
def test_few_values_that_are_not_finite_are_filled_and_said(as_given):
    bands = {name: band(name) for name in S1}
    bands["VV"][3, 5] = np.nan
    before = bands["VV"].copy()
    tensors, odd = examine_bands({name: as_given(b) for name, b in bands.items()}, S1)
    others = np.delete(before.reshape(-1), 3 * 120 + 5)
    assert float(tensors["VV"][0, 3, 5]) == np.median(others)
    np.testing.assert_array_equal(np.delete(tensors["VV"].numpy().reshape(-1), 365), others)
    np.testing.assert_array_equal(bands["VV"], before)  # what was passed is not changed
    with pytest.warns(SuspiciousInputWarning, match="In 1 of 1 patches VV has pixels without data"):
        odd.warn()


def test_masks_are_honoured_in_arrays_lists_and_declarations():
    masked = np.ma.masked_array(band("B02"), band("B02") > 500)
    declared = xarray.DataArray(band("B02"), attrs={"_FillValue": int(band("B02")[0, 0])})
    many = {"B02": masked}, {"B02": [masked, masked]}
    for bands in many:
        with pytest.raises(PixelValueError, match="pixels without data"):
            check_bands(bands, BandSet(("B02",)))
    odd = examine_bands({"B02": declared}, BandSet(("B02",)))[1]
    assert [note.split(",")[0] for note in odd.notes] == ["B02 has pixels without data"]


@pytest.mark.parametrize(
    "attributes",
    [
        {"missing_value": 7777},
        {"nodatavals": (7777.0,)},
        {"_FillValue": np.array([7777])},
        {"nodata": [7777], "missing_value": 7777, "_FillValue": np.nan},
    ],
)
@pytest.mark.parametrize("listed", [False, True])
def test_attributes_declare_no_data_in_each_of_their_forms(attributes, listed):
    pixels = band("B02").astype(np.int32)
    pixels[:40] = 7777
    array = xarray.DataArray(pixels, attrs=attributes)
    with pytest.raises(PixelValueError, match=r"4,800 pixels without data.*value: 7777\)"):
        check_bands({"B02": [array] if listed else array}, BandSet(("B02",)))


@pytest.mark.parametrize(
    ("attributes", "said"),
    [
        ({"_FillValue": "7777"}, "_FillValue of Band B02 is '7777', which is no number"),
        ({"nodatavals": (1, 2)}, r"nodatavals of Band B02 is \(1, 2\), which is no number"),
        ({"_FillValue": 1, "missing_value": 2}, "_FillValue of Band B02 is 1, which is not what"),
        ({"scale_factor": 1e-4, "add_offset": -0.1}, "scale 0.0001 and offset -0.1"),
        ({"add_offset": np.float32(-1000)}, "scale 1 and offset -1000"),
        ({"scale_factor": "one"}, "B02"),
    ],
)
def test_attributes_that_no_plain_values_have_are_refused(attributes, said):
    with pytest.raises(PixelValueError, match=said):
        check_bands({"B02": xarray.DataArray(band("B02"), attrs=attributes)}, BandSet(("B02",)))


def test_columns_before_rows_are_refused_with_the_cure():
    array = xarray.DataArray(band("B02"), dims=("x", "y"))
    with pytest.raises(PatchShapeError, match=r"x, y.*array\.T"):
        check_bands({"B02": array}, BandSet(("B02",)))
    found = check_bands({"B02": array.T}, BandSet(("B02",)))["B02"]
    np.testing.assert_array_equal(found[0], band("B02").T)


def test_a_tensor_without_values_is_no_band():
    with pytest.raises(PixelValueError, match="B02 is not an array of numbers"):
        check_bands({"B02": torch.empty(120, 120, device="meta")}, BandSet(("B02",)))


@pytest.mark.parametrize("change", [lambda db: db / 10, lambda db: 10 ** (db / 10) - 0.1])
def test_backscatter_that_is_hardly_in_db_is_said(change):
    found = examine_bands({name: change(band(name)) for name in S1}, S1)[1]
    assert [note[:17] for note in found.notes] == ["VH is above -5 dB"]


def test_text_is_no_band():
    with pytest.raises(PixelValueError, match="B02"):
        check_bands({"B02": np.full((120, 120), "a")}, BandSet(("B02",)))


def test_a_forgotten_boa_offset_is_suspicious():
    bands = check_bands({n: p + np.uint16(1000) for n, p in patch(0, S2).items()}, S2)
    with pytest.warns(SuspiciousInputWarning, match=r"1 of 1 patches.*BOA offset"):
        count_suspicious(bands).warn()


def test_swapped_polarisations_are_suspicious():
    with pytest.warns(SuspiciousInputWarning, match="VV is weaker than VH"):
        count_suspicious(check_bands({"VV": band("VH"), "VH": band("VV")}, S1)).warn()


def test_suspicious_patches_are_counted_by_what_is_suspicious_about_each():
    bright = {name: np.stack([band(name), band(name) + np.uint16(1000)]) for name in S2}
    swapped = {"VV": np.stack([band("VH"), band("VV")]), "VH": np.stack([band("VV"), band("VH")])}
    found = count_suspicious(check_bands({**bright, **swapped}, ALL))
    assert found == Suspicious(num_patches=2, num_bright=1, num_swapped=1)
    assert found + Suspicious(3, 0, 2) == Suspicious(5, 1, 3)


@pytest.mark.parametrize("dtype", [np.float16, np.longdouble, np.float64])
def test_floats_of_any_size_are_taken(dtype):
    found = check_bands({"VV": band("VV").astype(dtype)}, BandSet(("VV",)))["VV"]
    np.testing.assert_allclose(found[0], band("VV").astype(dtype).astype(np.float64))


def test_percentages_of_one_band_are_said():
    bands = {**patch(), "B04": (band("B04") / 100 + 0.003).astype(np.float32)}
    found = examine_bands(bands, ALL)[1]
    assert list(found.notes) == [
        "B04 reaches no more than 100, with fractions, as a percentage does"
    ]


def test_constant_and_equal_bands_are_said():
    odd = {"B05": np.full((60, 60), 500, np.uint16), "B04": band("B03"), "B07": band("B06") + 1}
    bands = {name: np.stack([band(name), {**patch(), **odd}[name]]) for name in ALL}
    found = count_suspicious(check_bands(bands, ALL))
    assert found.notes == {
        "all pixels of B05 are the same": 1, "B03 and B04 are the same in every pixel": 1
    }  # fmt: skip
    with pytest.warns(SuspiciousInputWarning) as said:
        (found + found).warn(unit="windows")
    assert [str(one.message) for one in said] == [
        "In 2 of 4 windows all pixels of B05 are the same.",
        "In 2 of 4 windows B03 and B04 are the same in every pixel.",
    ]


@pytest.mark.parametrize(("share", "warned"), [(0, ["3 of 8", "4 of 8"]), (0.4, ["4 of 8"])])
def test_only_more_than_the_share_that_is_given_is_warned_of(share, warned):
    with pytest.warns(SuspiciousInputWarning) as said:
        assert Suspicious(8, 3, 4).warn(unit="windows", cure="ask whoever made it", share=share)
    assert [next(part for part in warned if part in str(one.message)) for one in said] == warned
    assert all("windows" in str(one.message) for one in said)


def test_nothing_is_said_where_no_more_than_the_share_is_suspicious():
    assert not Suspicious(8, 4, 4).warn(share=0.5)
    assert not Suspicious().warn()


def test_the_real_patches_are_not_suspicious(real_store):
    from reben import open_dataset

    dataset = open_dataset(real_store)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        count_suspicious(check_bands(dataset.read(range(len(dataset))), ALL_FULL)).warn()


def test_bands_without_statistics_are_refused():
    figures = Statistics({"B02": 1.0}, {"B02": 1.0}, 120, "nearest", "made up")
    with pytest.raises(ConfigError, match="No statistics for B03"):
        Preprocess(BandSet(("B02", "B03")), figures)


def test_statistics_do_not_end_up_in_the_weights():
    assert not Preprocess(S2, published_statistics()).state_dict()
