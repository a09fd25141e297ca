import numpy as np
import pytest
from safetensors.numpy import save

from made_up import patch, patch_id, s1_name
from made_up_files import name_of, tensors_of
from reben.data.inspection import StoreProblem, verify_store
from reben.data.storage.environment import open_lmdb
from reben.errors import StoreError

GOOD = {name_of(which, 3): save(tensors_of(which, 3)) for which in ("s1", "s2", "reference_maps")}


def store_of(folder, values):
    environment = open_lmdb(folder, map_size=1 << 26)
    with environment.begin(write=True) as transaction:
        for name, value in values.items():
            transaction.put(name.encode(), value)
    environment.close()
    return folder


def only_problem(folder, name, value):
    """What is said of one bad value among good ones."""
    found = verify_store(store_of(folder, GOOD | {name: value}))
    assert found.num_problems == len(found.problems) == 1
    assert found.problems[0].name == name
    return found.problems[0].reason


def changed(which, **changes):
    return save(tensors_of(which, 1) | changes)


def test_a_good_store_has_no_problem(tmp_path):
    found = verify_store(store_of(tmp_path, GOOD))
    assert (found.num_values, found.num_problems, found.problems) == (3, 0, ())
    assert found.num_bytes == sum(map(len, GOOD.values()))


def test_the_real_sample_has_no_problem(real_store):
    found = verify_store(real_store)
    assert (found.num_values, found.num_problems) == (48, 0)


def test_progress_goes_to_the_number_of_values(tmp_path):
    calls = []
    verify_store(store_of(tmp_path, GOOD), progress=lambda *call: calls.append(call))
    assert calls[-1] == (3, 3)


@pytest.mark.parametrize("value", [b"", b"rubbish", bytes(1000), save(tensors_of("s2", 1))[:-1]])
def test_what_is_no_whole_blob_is_damaged(value, tmp_path):
    assert "is damaged" in only_problem(tmp_path, patch_id(1), value)


def test_a_missing_tensor_is_named(tmp_path):
    tensors = {name: pixels for name, pixels in tensors_of("s2", 1).items() if name != "B8A"}
    assert only_problem(tmp_path, patch_id(1), save(tensors)) == "it lacks B8A"


def test_an_unknown_tensor_is_named(tmp_path):
    value = changed("s2", B10=np.zeros((60, 60), np.uint16))
    assert only_problem(tmp_path, patch_id(1), value) == "it has B10, which no Sentinel-2 value has"


def test_a_wrong_shape_is_told_with_the_right_one(tmp_path):
    value = changed("s2", B05=patch(1)["B02"])
    reason = only_problem(tmp_path, patch_id(1), value)
    assert reason == "B05 is 120 x 120 uint16 and should be 60 x 60 uint16"


def test_a_wrong_dtype_is_told_with_the_right_one(tmp_path):
    value = changed("s1", VV=patch(1)["VV"].astype(np.float64))
    reason = only_problem(tmp_path, s1_name(1), value)
    assert reason == "VV is 120 x 120 float64 and should be 120 x 120 float32"


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_pixels_that_are_not_finite_are_counted(bad, tmp_path):
    pixels = patch(1)["VH"].copy()
    pixels[3, 4:7] = bad
    reason = only_problem(tmp_path, s1_name(1), changed("s1", VH=pixels))
    assert reason == "VH has 3 pixels that are not finite"


@pytest.mark.parametrize("bad", [-9999, -1e30, 500])
def test_backscatter_out_of_range_is_a_problem(bad, tmp_path):
    pixels = patch(1)["VV"].copy()
    pixels[3, 4:7] = bad
    reason = only_problem(tmp_path, s1_name(1), changed("s1", VV=pixels))
    assert reason == f"VV has 3 pixels that are no measurement: values of {bad:.6g} to {bad:.6g}"


@pytest.mark.parametrize(
    ("share", "said"), [(1, "100% of"), (0.34, "% of the pixels are 0 in B01")]
)
def test_a_blank_patch_is_a_problem(share, said, tmp_path):
    blank = tensors_of("s2", 1)
    for name in blank:
        blank[name] = blank[name].copy()
        blank[name][: round(share * len(blank[name]))] = 0
    assert said in only_problem(tmp_path, patch_id(1), save(blank))


def test_saturated_and_wrapped_numbers_are_a_problem(tmp_path):
    pixels = patch(1)["B05"].copy()
    pixels[:20] = np.int16(-9999).astype(np.uint16)
    reason = only_problem(tmp_path, patch_id(1), changed("s2", B05=pixels))
    assert "33% of band B05 are 55537" in reason


def test_a_name_of_nothing_is_a_problem(tmp_path):
    reason = only_problem(tmp_path, "hello", GOOD[patch_id(3)])
    assert reason == "the name is not that of a patch or a reference map"


def test_a_value_under_the_name_of_another_kind_is_a_problem(tmp_path):
    assert only_problem(tmp_path, s1_name(1), GOOD[patch_id(3)]) == "it lacks VH, VV"


def test_problems_are_all_counted_and_part_of_them_listed(tmp_path, monkeypatch):
    monkeypatch.setattr("reben.data.inspection.MAX_LISTED", 2)
    bad = {patch_id(number): b"x" for number in range(4)}
    found = verify_store(store_of(tmp_path, bad))
    assert found.num_problems == 4
    assert [problem.name for problem in found.problems] == [patch_id(0), patch_id(1)]
    assert found.to_dict()["problems"][0] == StoreProblem(*found.problems[0])._asdict()


def test_what_is_no_store_is_refused(tmp_path):
    with pytest.raises(StoreError):
        verify_store(tmp_path)
