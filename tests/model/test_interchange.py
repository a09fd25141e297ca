"""ConfigILM, in an environment of its own, loads our folders and gives our logits."""

import logging
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file, save_file

from lively import lively
from reben import open_dataset
from reben.model.classifier import Classifier

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
MODELS = [
    (backbone, bands)
    for backbone in ("resnet18", "mobilevit_s", "test_vit3")
    for bands in ("s1", "s2", "all")
]
TOLERANCE = 1e-4
logger = logging.getLogger(__name__)

pytestmark = [pytest.mark.slow, pytest.mark.network]


@pytest.fixture(scope="module")
def reference():
    """The interpreter of an environment with ConfigILM and timm; made once, with downloads."""
    cache = Path(os.environ.get("REBEN_BENCHMARKS", Path.home() / ".cache/reben/benchmarks"))
    command = [sys.executable, BENCHMARKS / "reference_venv.py", cache / "configilm-0.7.1"]
    done = subprocess.run([*command, "--models"], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(done.stderr.strip())
    return done.stdout.strip()


def predict(reference, store, out, folders, check=True):
    script = BENCHMARKS / "reference_predict.py"
    command = [reference, script, store, out, *folders]
    return subprocess.run(command, check=check, capture_output=True, text=True)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Folders that we wrote, by architecture and bands."""
    place = tmp_path_factory.mktemp("folders")
    return {
        f"{backbone}-{bands}": lively(backbone, bands).save_pretrained(
            place / f"{backbone}-{bands}"
        )
        for backbone, bands in MODELS
    }


@pytest.fixture(scope="module")
def theirs(reference, real_store, written, tmp_path_factory):
    """Logits of the reference stack for every folder, on all real patches it reads."""
    out = tmp_path_factory.mktemp("theirs") / "logits.npz"
    predict(reference, real_store, out, written.values())
    with np.load(out) as found:
        return dict(found)


@pytest.mark.parametrize(("backbone", "bands"), MODELS)
def test_a_folder_of_ours_gives_our_logits_in_the_reference_stack(
    written, theirs, real_store, backbone, bands
):
    name = f"{backbone}-{bands}"
    patches = open_dataset(real_store, bands, snow=None, cloud=None)
    rows = [patches.table.position(patch_id) for patch_id in theirs["patch_ids"].tolist()]
    ours = Classifier.from_pretrained(written[name]).predict(patches.read(rows)).logits
    difference = np.abs(ours - theirs[name]).max()
    spread = float(np.ptp(ours, axis=0).max())
    logger.info("%s: %d patches, spread %.2f, %.1e", name, len(rows), spread, difference)
    assert difference <= TOLERANCE
    assert len(rows) >= 18
    assert spread > 100 * TOLERANCE


def test_the_keys_of_the_weights_are_those_that_the_reference_has(
    reference, real_store, written, tmp_path
):
    """Or the test above could not fail: one key under another name, and loading is refused."""
    folder = shutil.copytree(written["test_vit3-s1"], tmp_path / "renamed")
    weights = load_file(folder / "model.safetensors")
    assert all(name.startswith("model.vision_encoder.") for name in weights)
    first = next(iter(weights))
    weights[f"{first}.renamed"] = weights.pop(first)
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    done = predict(reference, real_store, tmp_path / "out.npz", [folder], check=False)
    assert done.returncode
    assert "renamed" in done.stderr
