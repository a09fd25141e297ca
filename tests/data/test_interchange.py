"""ConfigILM's own reader, in an environment of its own, reads what ours reads."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from made_up import write_store
from reben.data.loader import Loader, open_dataset
from reben.data.preprocess import Preprocess
from reben.spec.bands import ALL_FULL, BandSet
from reben.spec.statistics import Statistics

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
PLAIN = Statistics(dict.fromkeys(ALL_FULL, 0.0), dict.fromkeys(ALL_FULL, 1.0), 120, "nearest", "-")

pytestmark = [pytest.mark.slow, pytest.mark.network]


@pytest.fixture(scope="module")
def reference():
    """The interpreter of an environment with ConfigILM; made once, which downloads it."""
    cache = Path(os.environ.get("REBEN_BENCHMARKS", Path.home() / ".cache/reben/benchmarks"))
    command = [sys.executable, BENCHMARKS / "reference_venv.py", cache / "configilm-0.7.1"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(done.stderr.strip())
    return done.stdout.strip()


def assert_read_alike(reference, store, out, num_patches):
    script = BENCHMARKS / "reference_load.py"
    command = [reference, script, "tensors", store, out, "--channels", "14"]
    subprocess.run(command, check=True, capture_output=True)
    theirs = np.load(out)
    bands = BandSet(tuple(theirs["bands"].tolist()))
    assert bands == ALL_FULL
    dataset = open_dataset(store, bands)
    (ours,) = Loader(dataset, Preprocess(bands, PLAIN), 64)
    rows = [dataset.table.position(name) for name in theirs["names"].tolist()]
    assert len(rows) == num_patches
    np.testing.assert_array_equal(ours.images.numpy()[rows], theirs["images"])
    np.testing.assert_array_equal(ours.multi_hot.numpy()[rows], theirs["multi_hot"])


def test_configilm_reads_the_same_from_a_store_of_ours(reference, tmp_path):
    assert_read_alike(reference, write_store(tmp_path / "store"), tmp_path / "out.npz", 12)


def test_configilm_reads_the_same_from_real_patches(reference, real_store, tmp_path):
    assert_read_alike(reference, real_store, tmp_path / "out.npz", 18)
