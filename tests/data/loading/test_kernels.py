import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from made_up import patch
from reben.data.loading.batch import flip
from reben.data.loading.fill import Buffers
from reben.data.loading.kernels import BFLOAT16, FLOAT16, FLOAT32, copy_bands, fill_images
from reben.data.preprocess import Preprocess, check_bands
from reben.spec.bands import ALL_FULL, S1, BandSet, native_size, sensor
from reben.spec.statistics import Statistics, published_statistics

TURNS = np.array([[False, False], [True, False], [False, True], [True, True]])
STORED = {FLOAT32: torch.float32, BFLOAT16: torch.bfloat16, FLOAT16: torch.float16}


def stacked(bands=ALL_FULL, numbers=range(4)):
    patches = [patch(number, bands) for number in numbers]
    return {name: np.stack([one[name] for one in patches]) for name in bands}


def formats_of(bands):
    floats = [sensor(name) == "Sentinel-1" for name in bands]
    return np.array([(native_size(n), 4 if f else 2) for n, f in zip(bands, floats, strict=True)])


def addresses_of(arrays):
    return np.array([[one.ctypes.data for one in array] for array in arrays.values()], np.uint64).T


def filled(arrays, preprocess, flips=TURNS, storage=FLOAT32):
    bands = preprocess.bands
    figures = torch.stack([preprocess.mean.flatten(), preprocess.std.flatten()], 1).numpy()
    images = Buffers().take((len(flips), len(bands), 120, 120), STORED[storage])
    addresses = np.ascontiguousarray(addresses_of(arrays))
    doubtful = fill_images(addresses, formats_of(bands), figures, flips, images.data_ptr(), storage)
    return images, doubtful


def expected(arrays, preprocess, flips=TURNS):
    return flip(preprocess(check_bands(arrays, preprocess.bands)), torch.from_numpy(flips))


@pytest.mark.parametrize("storage", STORED)
def test_images_are_bit_by_bit_those_of_preprocess(storage):
    preprocess = Preprocess(ALL_FULL, published_statistics())
    arrays = stacked()
    images, doubtful = filled(arrays, preprocess, storage=storage)
    assert doubtful == -1
    assert torch.equal(images, expected(arrays, preprocess).to(STORED[storage]))


@given(st.permutations(ALL_FULL.names), st.integers(1, 14), st.booleans(), st.booleans())
def test_channels_are_the_bands_in_their_order(names, num_bands, flip_x, flip_y):
    bands = BandSet(tuple(names[:num_bands]))
    preprocess = Preprocess(bands, published_statistics())
    arrays = stacked(bands, (3,))
    flips = np.array([[flip_x, flip_y]])
    images, _ = filled(arrays, preprocess, flips)
    assert torch.equal(images, expected(arrays, preprocess, flips))


@pytest.mark.parametrize("storage", [BFLOAT16, FLOAT16])
@pytest.mark.parametrize("scale", [1e-9, 1e-6, 1e-3, 1.0, 1e5, 1e30])
def test_values_of_16_bits_are_rounded_as_torch_does(storage, scale):
    values = np.random.default_rng(7).normal(0, scale, (4, 120, 120)).astype(np.float32)
    values[0, 0, :8] = [0.0, -0.0, 65519.996, 65520.0, 2.0**-24, 2.0**-25, 6.1035156e-05, -3e38]
    plain = Statistics({"VV": 0.0}, {"VV": 1.0}, 120, "nearest", "made up")
    preprocess = Preprocess(BandSet(("VV",)), plain)
    images, _ = filled({"VV": values}, preprocess, storage=storage)
    expected_images = flip(preprocess({"VV": torch.from_numpy(values)}), torch.from_numpy(TURNS))
    expected_images = expected_images.to(STORED[storage])
    assert torch.equal(images.view(torch.int16), expected_images.view(torch.int16))


def copied(arrays):
    bands = BandSet(tuple(arrays))
    copies = {
        name: Buffers().take(array.shape, torch.from_numpy(array).dtype)
        for name, array in arrays.items()
    }
    targets = np.array([array.data_ptr() for array in copies.values()], np.uint64)
    addresses = np.ascontiguousarray(addresses_of(arrays))
    return copies, copy_bands(addresses, formats_of(bands), targets)


def test_bands_are_copied_as_they_are():
    arrays = stacked()
    copies, doubtful = copied(arrays)
    assert doubtful == -1
    for name, array in arrays.items():
        np.testing.assert_array_equal(copies[name].numpy(), array)


@pytest.mark.parametrize("value", [np.nan, -np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("place", [(0, 0), (119, 119), (57, 3)])
def test_the_first_patch_that_is_not_finite_is_found(value, place):
    arrays = stacked(S1)
    arrays["VH"][(2, *place)] = value
    arrays["VV"][(3, *place)] = value
    _, doubtful = filled(arrays, Preprocess(S1, published_statistics()))
    assert doubtful == 2
    assert copied(arrays)[1] == 2


@pytest.mark.parametrize(
    ("values", "doubtful"),
    [
        ([0.1, 0.2], 1),
        ([0.0, 0.2], 1),
        ([-0.0, 0.2], 1),
        ([-0.1, 0.2], -1),
        ([-1e-40, 0.2], -1),
        ([0.0, 0.0], 1),
        ([-0.0, -0.0], 1),
        ([-3.4e38, 3.4e38], 1),
        ([-9999.0, -12.0], 1),
        ([-100.0, 50.0], -1),
        ([-100.00001, 50.0], 1),
        ([-100.0, 50.00001], 1),
    ],
)
def test_values_out_of_range_or_without_a_negative_one_are_doubtful_as_db(values, doubtful):
    arrays = {"VV": np.full((2, 120, 120), -12.5, np.float32)}
    arrays["VV"][1] = values[0]
    arrays["VV"][1, 100, 9] = values[1]
    bands = BandSet(("VV",))
    _, found = filled(arrays, Preprocess(bands, published_statistics()), TURNS[:2])
    assert found == doubtful


LOOP = """
from reben.data.loading.kernels import compiled

@compiled
def sum_to(n):
    total = 0
    for i in range(n + 1):
        total += i
    return total

print(sum_to(4), sum_to.stats.cache_path)
"""


@pytest.mark.parametrize("is_writable", [True, False])
def test_loops_are_compiled_also_where_no_folder_can_hold_a_cache(tmp_path, is_writable):
    (tmp_path / "loop.py").write_text(LOOP)
    if not is_writable:
        (tmp_path / "__pycache__").write_text("")
    # Files in the place of folders keep out even the superuser, as a read-only system does.
    nowhere = dict.fromkeys(("HOME", "XDG_CACHE_HOME", "NUMBA_CACHE_DIR"), "/dev/null/nowhere")
    ran = subprocess.run(
        [sys.executable, tmp_path / "loop.py"],
        env={**os.environ, **nowhere},
        capture_output=True,
        text=True,
        check=True,
    )
    cache = tmp_path / "__pycache__" if is_writable else None
    assert ran.stdout.strip() == f"10 {cache}"
