import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from made_up import band, patch
from reben.data.values import (
    LARGEST_BAD_SHARE,
    bad_pixels,
    check_values,
    fill_bad,
    has_fractions,
    mask_declared,
)
from reben.errors import PixelValueError
from reben.spec.bands import ALL_FULL, S1, S2, S2_FULL

NO_DATA = [-9999.0, -32768.0, -1e30, -1e38, 1e15, 3.4e38, 500.0, np.nan, np.inf, -np.inf]


def batch(bands):
    return {name: pixels[None] for name, pixels in bands.items()}


def floats(names=ALL_FULL, factor=1.0):
    return {name: band(name).astype(np.float32) * np.float32(factor) for name in names}


def with_share(pixels, value, share):
    """A copy in which ``share`` of the pixels, from the upper left on, are ``value``."""
    changed = pixels.astype(np.result_type(pixels, np.float32) if np.isnan(value) else pixels.dtype)
    changed.reshape(-1)[: round(share * changed.size)] = value
    return changed


@pytest.mark.parametrize("value", NO_DATA)
def test_backscatter_out_of_range_is_filled_or_refused_by_its_share(value):
    few, many = (with_share(band("VV"), value, share) for share in (0.04, 0.3))
    filled, num_filled = check_values(batch({"VV": few, "VH": band("VH")}))
    assert num_filled == {"VV": 1}
    np.testing.assert_array_equal(filled["VH"][0], band("VH"))
    kept = filled["VV"][0].reshape(-1)[576:]
    np.testing.assert_array_equal(kept, band("VV").reshape(-1)[576:])
    assert set(filled["VV"][0].reshape(-1)[:576]) == {np.median(kept)}
    with pytest.raises(PixelValueError, match=r"Band VV has 4,320 pixels without data, of 14,400"):
        check_values(batch({"VV": many, "VH": band("VH")}))


@pytest.mark.parametrize("value", [-9999.0, -1e38, 1e15, np.nan, 65536.0, -0.5])
@pytest.mark.parametrize("name", ["B02", "B8A", "B09"])
def test_digital_numbers_out_of_range_are_filled_or_refused_by_their_share(value, name):
    bands = floats(S2_FULL)
    good = check_values(batch(bands))[0]
    for share, side in ((0.05, None), (0.06, PixelValueError)):
        changed = batch(bands | {name: with_share(bands[name], value, share)})
        if side is None:
            filled, num_filled = check_values(changed)
            assert num_filled == {name: 1}
            count = round(share * bands[name].size)
            np.testing.assert_array_equal(
                filled[name].reshape(-1)[count:], good[name].reshape(-1)[count:]
            )
        else:
            with pytest.raises(side, match=rf"Band {name} has"):
                check_values(changed)


def test_what_is_declared_to_be_no_data_counts_in_the_files_own_dtype():
    lowest = np.float32(-3.4028234663852886e38)
    changed = with_share(band("VV"), -3.0, 0.3)
    assert bad_pixels("VV", changed) is None
    assert bad_pixels("VV", changed, -3.0).sum() == 4320
    assert bad_pixels("VV", with_share(band("VV"), lowest, 0.1), -3.4028235e38).sum() == 1440
    with pytest.raises(PixelValueError, match="their value: -3"):
        check_values(batch({"VV": mask_declared("VV", changed, -3.0)}))


def test_zero_declared_to_be_no_data_is_a_digital_number_and_no_backscatter():
    # All files of the data set declare it.
    dark = with_share(band("B12"), 0, 0.5)
    assert bad_pixels("B12", dark, 0.0) is None
    assert bad_pixels("VV", with_share(band("VV"), 0, 0.5), 0.0).sum() == 7200


def test_masks_are_honoured():
    masked = np.ma.masked_less(band("B02"), np.sort(band("B02"), None)[300])
    count = int(masked.mask.sum())
    assert bad_pixels("B02", masked).sum() == count
    filled = fill_bad("B02", masked, bad_pixels("B02", masked))
    assert type(filled) is np.ndarray
    assert set(filled[masked.mask]) == {int(np.ma.median(masked))}
    with pytest.raises(PixelValueError, match="masked"):
        check_values(batch({"B02": np.ma.masked_greater(band("B02"), 500)}))


def test_a_band_without_any_measurement_is_refused():
    for bands in ({"VV": np.full((120, 120), -9999, np.float32)}, {"B02": -floats()["B02"]}):
        with pytest.raises(PixelValueError, match="14,400 pixels without data, of 14,400"):
            check_values(batch(bands))


@pytest.mark.parametrize("dtype", [np.uint16, np.float32, np.int16])
def test_blank_patches_are_refused(dtype):
    for share in (1, 1 / 3):
        blank = {name: with_share(band(name), 0, share).astype(dtype) for name in S2}
        with pytest.raises(PixelValueError, match=r"of the pixels are 0 in B02, .*no data"):
            check_values(batch(blank))
    with pytest.raises(PixelValueError, match="100% of the pixels are 0 in VV"):
        check_values(batch({"VV": np.zeros((120, 120), np.float32)}))


def test_zeros_in_some_bands_are_dark_water():
    dark = {name: with_share(band(name), 0, 0.9) for name in ("B8A", "B11", "B12")}
    for bands in (patch() | dark, dark):
        filled, num_filled = check_values(batch(bands))
        assert not num_filled
        assert all(np.array_equal(filled[name][0], pixels) for name, pixels in bands.items())


def test_few_blank_and_saturated_pixels_stay_as_training_saw_them():
    bands = {name: with_share(band(name), 0, LARGEST_BAD_SHARE) for name in S2}
    bands["B03"] = with_share(band("B03"), 65535, LARGEST_BAD_SHARE)
    filled, num_filled = check_values(batch(bands))
    assert not num_filled
    assert all(np.array_equal(filled[name][0], pixels) for name, pixels in bands.items())


@pytest.mark.parametrize("number", [65535, 64537, 55537, 32768, 32767])
def test_numbers_that_stand_for_something_else_are_refused(number):
    assert (
        np.array([-1, -999, -9999, -32768, 32767], np.int16)
        .astype(np.uint16)
        .tolist()
        .count(number)
        == 1
    )
    with pytest.raises(PixelValueError, match=rf"33% of band B04 are {number}"):
        check_values(batch(patch() | {"B04": with_share(band("B04"), number, 1 / 3)}))


@pytest.mark.parametrize("names", [S2_FULL.names, ("B04",), ("B8A", "B12")])
def test_reflectances_are_told_in_one_band_and_in_all(names):
    changed = floats() | floats(names, 1e-4)
    subject = "Values of Sentinel-2 reach" if len(names) == 12 else rf"{', '.join(names)} reach"
    with pytest.raises(PixelValueError, match=rf"{subject}.*0\.\.1.*multiply by 10000"):
        check_values(batch(changed))


def test_percentages_are_told():
    with pytest.raises(PixelValueError, match=r"in percent.*multiply by 100\."):
        check_values(batch(floats(S2_FULL, 1e-2)))


def test_reflectances_with_gaps_are_told_as_such():
    changed = floats(S2_FULL, 1e-4)
    changed["B02"] = with_share(changed["B02"], -9999, 0.5)
    with pytest.raises(PixelValueError, match="multiply by 10000"):
        check_values(batch(changed))


def test_linear_power_with_gaps_is_told_as_such():
    power = with_share(10 ** (band("VV") / 10), -9999, 0.5)
    with pytest.raises(PixelValueError, match="linear power"):
        check_values(batch({"VV": power}))


def test_dark_water_that_was_averaged_is_no_reflectance():
    whole = np.random.default_rng(1).integers(0, 9, (120, 120))
    mean = whole.reshape(60, 2, 60, 2).mean((1, 3)).astype(np.float32)
    assert not has_fractions(mean)
    assert check_values(batch(patch() | {"B12": mean}))
    assert has_fractions(np.array([0.1, 2.0], np.float32))


def test_one_bad_patch_of_a_batch_is_found_and_only_it_is_filled():
    changed = np.stack([band("VV"), with_share(band("VV", 1), np.nan, 0.01), band("VV", 2)])
    filled, num_filled = check_values({"VV": changed})
    assert num_filled == {"VV": 1}
    for at in (0, 2):
        np.testing.assert_array_equal(filled["VV"][at], band("VV", at))
    assert np.isfinite(filled["VV"]).all()


@settings(max_examples=30, deadline=None)
@given(st.sampled_from(ALL_FULL.names), st.floats(0, 1), st.sampled_from(NO_DATA))
def test_what_passes_is_within_range_whatever_is_given(name, share, value):
    bands = floats() | {name: with_share(floats()[name], value, share)}
    if value == 500.0 and name not in S1:
        return
    try:
        filled, _ = check_values(batch(bands))
    except PixelValueError:
        assert share > LARGEST_BAD_SHARE - 1e-4
        return
    assert bad_pixels(name, filled[name]) is None
    np.testing.assert_array_equal(filled[name][0].reshape(-1)[-1], bands[name].reshape(-1)[-1])


def test_real_patches_pass_unchanged(real_store):
    from reben.data.store import Store

    store = Store.open(real_store)
    for name in store.names():
        stored = {key: pixels[None] for key, pixels in store.get(name).items()}
        filled, num_filled = check_values(stored)
        assert not num_filled
        assert all(filled[key] is stored[key] for key in stored)
