import errno
import json
import os
import pickle
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from made_up import patch
from reben import open_dataset
from reben.data.preprocess import SuspiciousInputWarning, check_bands
from reben.errors import (
    AmbiguousBandsError,
    BandsError,
    BandsMismatchError,
    ConfigError,
    ModelFolderError,
    OutputError,
    PatchShapeError,
    PixelValueError,
    RunError,
    UnknownBandError,
    UnsafeWeightsError,
    WeightsMismatchError,
)
from reben.model.classifier import Classifier
from reben.spec.bands import ALL, S2, BandSet
from reben.spec.statistics import published_statistics

GOLDEN_MODELS = ("test_resnet-all", "test_vit3-s2")


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(3)
    return Classifier("test_resnet", "all").eval()


@pytest.fixture
def folder(model, tmp_path):
    return model.save_pretrained(tmp_path / "model")


@pytest.fixture(scope="module")
def real_bands(real_store):
    dataset = open_dataset(real_store, "all", snow=None, cloud=None)
    return dataset.table.patch_ids, dataset.read(range(len(dataset)))


@pytest.mark.parametrize("name", GOLDEN_MODELS)
def test_published_folders_give_the_logits_of_the_reference(golden, real_bands, name):
    expected = np.load(golden / name / "expected.npz")
    names, bands = real_bands
    model = Classifier.from_pretrained(golden / name, bands=name.split("-")[-1])
    shuffled = dict(sorted(bands.items(), key=lambda item: hash(item[0][::-1])))
    logits = model.predict(shuffled).logits
    rows = [names.index(patch_id) for patch_id in expected["patch_ids"]]
    np.testing.assert_allclose(logits[rows], expected["logits"], rtol=0, atol=1e-4)
    assert tuple(expected["bands"]) == model.bands.names


def as_published(folder, to):
    """A copy of a folder as it comes from the repository of its publisher, with a card."""
    shutil.copytree(folder, to)
    (to / "README.md").write_text(f'from_pretrained("BIFOLD-BigEarthNetv2-0/{to.name}")')
    return to


@pytest.mark.parametrize("name", GOLDEN_MODELS)
def test_a_folder_that_came_from_the_publisher_needs_no_bands(golden, tmp_path, name):
    folder = as_published(golden / name, tmp_path / f"{name}-v0.2.0")
    assert Classifier.from_pretrained(folder).bands == BandSet.parse(name.split("-")[-1])


def test_the_old_order_gives_the_same_logits_to_weights_in_that_order(golden, tmp_path, model):
    """Weights whose input channels are put in the order of v0.1.1 must say the same."""
    orders = json.loads((golden / "facts" / "band_orders.json").read_text())
    folder = as_published(golden / "test_resnet-all", tmp_path / "test_resnet-all-v0.1.1")
    weights = load_file(folder / "model.safetensors")
    first = "model.vision_encoder.conv1.0.weight"
    permuted = weights[first][:, orders["perm_new_to_old"]["12"]].contiguous()
    save_file({**weights, first: permuted}, folder / "model.safetensors")
    old = Classifier.from_pretrained(folder)
    new = Classifier.from_pretrained(golden / "test_resnet-all", bands=ALL)
    assert old.bands.names[-2:] == ("VH", "VV")
    np.testing.assert_allclose(
        old.predict(patch(1)).logits, new.predict(patch(1)).logits, rtol=0, atol=1e-5
    )


def test_an_unnamed_folder_without_bands_is_refused(golden):
    with pytest.raises(AmbiguousBandsError, match="does not guess"):
        Classifier.from_pretrained(golden / "test_vit3-s2")


def test_a_folder_of_anyone_else_is_asked_for_its_bands_and_takes_any(golden, tmp_path):
    folder = shutil.copytree(golden / "test_vit3-s2", tmp_path / "test_vit3-s2-v0.2.0")
    with pytest.raises(AmbiguousBandsError, match="pass bands="):
        Classifier.from_pretrained(folder)
    own = BandSet(tuple(reversed(BandSet.parse("s2").names)))
    assert Classifier.from_pretrained(folder, bands=own).bands == own


def test_the_snippet_of_published_cards_runs_unchanged(golden, tmp_path):
    folder = as_published(golden / "test_vit3-s2", tmp_path / "test_vit3-s2-v0.2.0")
    code = f"""
import torch
from reben_publication.BigEarthNetv2_0_ImageClassifier import BigEarthNetv2_0_ImageClassifier
model = BigEarthNetv2_0_ImageClassifier.from_pretrained({str(folder)!r})
x = torch.zeros(2, model.config.channels, model.config.image_size, model.config.image_size)
print(tuple(model(x).shape), type(model.model.vision_encoder).__name__, model.training)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "(2, 19) VisionTransformer False"


def test_what_was_saved_loads_and_says_the_same(model, folder):
    again = Classifier.from_pretrained(folder)
    assert again.config == model.config
    assert not again.training
    np.testing.assert_array_equal(again.predict(patch()).logits, model.predict(patch()).logits)


def test_weights_are_saved_under_the_published_names(folder):
    keys = set(load_file(folder / "model.safetensors"))
    network = Classifier("test_resnet", "all").model.vision_encoder
    assert keys == {f"model.vision_encoder.{key}" for key in network.state_dict()}


def test_every_config_that_can_be_saved_can_be_loaded(tmp_path):
    figures = published_statistics(128, "bicubic")
    model = Classifier(
        "test_vit3", "B09,VV", image_size=128, upsampling="bicubic", labels=["a", "b"]
    )
    again = Classifier.from_pretrained(model.save_pretrained(tmp_path))
    assert again.config == model.config
    assert again.preprocess.statistics == figures.select(BandSet(("B09", "VV")))
    assert again.predict(patch(2)).labels == ("a", "b")


def test_predict_is_forward_on_preprocessed_bands(model):
    images = model.preprocess(check_bands(patch(5), model.bands))
    with torch.no_grad():
        logits = model(images)[0]
    scores = model.predict(patch(5))
    np.testing.assert_allclose(scores.logits, logits, rtol=0, atol=1e-6)
    np.testing.assert_allclose(scores.values, logits.sigmoid(), rtol=0, atol=1e-6)
    assert scores.values.dtype == np.float32


def test_one_by_one_equals_batched_and_key_order_does_not_matter(model):
    patches = [patch(number) for number in range(4)]
    batch = {name: np.stack([one[name] for one in patches]) for name in reversed(patches[0])}
    together = model.predict(batch)
    assert together.values.shape == (4, 19)
    for row, one in enumerate(patches):
        np.testing.assert_allclose(model.predict(one).logits, together.logits[row], atol=1e-5)


def test_a_batch_of_one_stays_a_batch(model):
    batch = {name: pixels[None] for name, pixels in patch().items()}
    assert model.predict(batch).values.shape == (1, 19)


def test_swapping_two_bands_changes_the_logits(model):
    right, wrong = patch(1), patch(1)
    wrong["B02"], wrong["B08"] = wrong["B08"], wrong["B02"]
    assert np.abs(model.predict(right).logits - model.predict(wrong).logits).max() > 1e-3


def test_predict_leaves_dropout_off_and_the_mode_as_it_was():
    torch.manual_seed(1)
    model = Classifier("test_resnet", "rgb", drop_rate=0.9)
    assert model.training
    first, second = model.predict(patch()), model.predict(patch())
    np.testing.assert_array_equal(first.logits, second.logits)
    assert model.training


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"B08": None}, BandsMismatchError),
        ({"B10": np.ones((60, 60), np.uint16)}, UnknownBandError),
        ({"B02": np.ones((60, 60), np.uint16)}, PatchShapeError),
        ({"VV": np.full((120, 120), np.nan, np.float32)}, PixelValueError),
        ({"VV": np.full((120, 120), 0.07, np.float32)}, PixelValueError),
    ],
)
def test_bands_that_cannot_be_right_are_refused(model, change, error):
    bands = {name: pixels for name, pixels in {**patch(), **change}.items() if pixels is not None}
    with pytest.raises(error):
        model.predict(bands)


def test_reflectances_are_refused(model):
    bands = {name: (pixels / 1e4 if name[0] == "B" else pixels) for name, pixels in patch().items()}
    with pytest.raises(PixelValueError, match="multiply by 10000"):
        model.predict(bands)


def test_an_array_without_names_is_refused(model):
    with pytest.raises(BandsError, match="by name, not by position"):
        model.predict(np.zeros((12, 120, 120), np.float32))


def test_a_forgotten_offset_is_warned_of(model):
    bands = {n: (p + np.uint16(1000) if n[0] == "B" else p) for n, p in patch().items()}
    with pytest.warns(SuspiciousInputWarning, match="BOA offset"):
        model.predict(bands)


def test_renamed_weights_are_refused_and_listed(folder):
    weights = load_file(folder / "model.safetensors")
    renamed = {name.replace("model.vision_encoder.", ""): w for name, w in weights.items()}
    save_file(renamed, folder / "model.safetensors")
    with pytest.raises(
        WeightsMismatchError, match=r"Missing: model\.vision_encoder\..*and \d+ more.*Left over: "
    ):
        Classifier.from_pretrained(folder)


@pytest.mark.parametrize("fault", ["missing", "extra", "shape"])
def test_one_wrong_weight_is_enough_to_refuse(folder, fault):
    weights = load_file(folder / "model.safetensors")
    last = "model.vision_encoder.fc.bias"
    if fault == "missing":
        del weights[last]
    elif fault == "extra":
        weights["optimizer"] = torch.zeros(1)
    else:
        weights[last] = torch.zeros(43)
    save_file(weights, folder / "model.safetensors")
    expected = {
        "missing": rf"Missing: {last}\. Left over: none",
        "extra": "Left over: optimizer",
        "shape": r"\(43,\) instead of \(19,\)",
    }
    with pytest.raises(WeightsMismatchError, match=expected[fault]):
        Classifier.from_pretrained(folder)


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.ckpt"])
def test_pickled_weights_are_never_opened(folder, name):
    class Bomb:
        def __reduce__(self):
            return os.mkdir, (str(folder / "pwned"),)

    (folder / "model.safetensors").unlink()
    (folder / name).write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(UnsafeWeightsError, match=name):
        Classifier.from_pretrained(folder)
    assert not (folder / "pwned").exists()


def test_a_pickle_under_another_name_is_never_opened(folder):
    torch.save({"a": torch.zeros(1)}, folder / "model.safetensors")
    with pytest.raises(UnsafeWeightsError, match="under a wrong name"):
        Classifier.from_pretrained(folder)


def test_truncated_weights_are_said_to_be_damaged(folder):
    content = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(content[:-1000])
    with pytest.raises(ModelFolderError, match="is damaged"):
        Classifier.from_pretrained(folder)


def test_a_folder_without_a_model_says_what_it_lacks(folder, tmp_path):
    (folder / "model.safetensors").unlink()
    with pytest.raises(ModelFolderError, match=r"holds no model\.safetensors"):
        Classifier.from_pretrained(folder)
    (folder / "config.json").unlink()
    with pytest.raises(ModelFolderError, match=r"holds no config\.json"):
        Classifier.from_pretrained(folder)
    with pytest.raises(ModelFolderError, match="There is no folder nowhere"):
        Classifier.from_pretrained("nowhere")


@pytest.mark.parametrize("files", [("summary.json",), ()])
def test_a_run_folder_is_its_best_model(folder, files, model):
    run = folder.parent / "run"
    run.mkdir()
    folder.rename(run / "best")
    for name in files:
        (run / name).write_text("{}")
    assert Classifier.from_pretrained(run).config == model.config


def test_a_run_without_a_finished_epoch_holds_no_model(tmp_path):
    (tmp_path / "summary.json").write_text("{}")
    with pytest.raises(
        RunError,
        match=r"no epoch was finished or best/ was removed; its train\.log may tell why. Resume",
    ):
        Classifier.from_pretrained(tmp_path)


@pytest.mark.parametrize("text", ["{", "[]", '{"timm_model_name": "test_resnet"}'])
def test_a_config_that_is_none_is_refused(folder, text):
    (folder / "config.json").write_text(text)
    with pytest.raises((ModelFolderError, ConfigError)):
        Classifier.from_pretrained(folder)


def test_bands_that_contradict_the_config_are_refused(folder):
    with pytest.raises(BandsMismatchError, match="was trained with VV,VH,B02"):
        Classifier.from_pretrained(folder, bands="s2")
    assert Classifier.from_pretrained(folder, bands="all").bands == ALL


def test_a_revision_of_a_folder_is_refused(folder):
    with pytest.raises(ConfigError, match="no revision v1"):
        Classifier.from_pretrained(folder, revision="v1")


def test_a_full_disk_while_saving_leaves_the_old_model_whole(model, folder, monkeypatch):
    before = {path.name: path.read_bytes() for path in folder.iterdir()}

    def full(self, content):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OutputError, match="No space left on device"):
        Classifier("test_resnet", "all").save_pretrained(folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_a_model_on_the_hub_is_fetched_at_one_commit(folder, monkeypatch, golden, tmp_path):
    """Weights and config of one commit: only the two files, and the name tells the order."""
    commit = tmp_path / "snapshots" / "0c0ffee"
    shutil.copytree(golden / "test_vit3-s2", commit)
    asked = []

    def fetch(_, repository, file, **options):
        asked.append((repository, file, options))
        return str(commit / file)

    monkeypatch.setattr("huggingface_hub.HfApi.hf_hub_download", fetch)
    model = Classifier.from_pretrained(
        "BIFOLD-BigEarthNetv2-0/test_vit3-s2-v0.2.0", revision="main", token=False
    )
    assert model.bands == S2
    assert [(file, options["revision"]) for _, file, options in asked] == [
        ("config.json", "main"),
        ("model.safetensors", "0c0ffee"),
    ]
    assert all(options["token"] is False for *_, options in asked)


def test_a_hub_model_that_cannot_be_reached_says_so(tmp_path):
    with pytest.raises(ModelFolderError, match="cache does not hold such a model"):
        Classifier.from_pretrained("someone/model", cache_dir=tmp_path, local_files_only=True)


# Modes and fingerprints --------------------------------------------------------------------------


@pytest.mark.parametrize("ask", ["predict", "embed"])
def test_a_frozen_batch_norm_stays_frozen_when_the_model_is_asked(ask):
    model = Classifier("test_resnet", "rgb").train()
    frozen = [module for module in model.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    for module in frozen:
        module.eval()
    before = {name: module.training for name, module in model.named_modules()}

    getattr(model, ask)(patch(0))

    assert {name: module.training for name, module in model.named_modules()} == before
    assert frozen
    assert True in before.values()


def test_models_with_other_weights_or_another_config_have_other_fingerprints(folder):
    model = Classifier.from_pretrained(folder)
    same = Classifier.from_pretrained(folder)
    assert model.fingerprint() == same.fingerprint()
    assert len(model.fingerprint()) == 64

    same.config = replace(same.config, thresholds=(0.25,) * 19)
    changed = Classifier.from_pretrained(folder)
    with torch.no_grad():
        next(iter(changed.parameters())).flatten()[0] += 1
    assert len({model.fingerprint(), same.fingerprint(), changed.fingerprint()}) == 3


@pytest.mark.parametrize(
    "header",
    [
        b'{"a": {"dtype": "F32", "shape": [1, -Infinity], "data_offsets": [0, 4]}}',
        b'{"a": {"dtype": "F32", "shape": [18446744073709551615, 9], "data_offsets": [0, 4]}}',
        b'{"a": {"dtype": "F99", "shape": [1], "data_offsets": [0, 4]}}',
        b'{"a": ' + b"[" * 10_000,
        b"\xff\xfe",
    ],
)
def test_weights_with_a_header_that_cannot_be_are_said_to_be_damaged(header, folder):
    content = len(header).to_bytes(8, "little") + header + bytes(4)
    (folder / "model.safetensors").write_bytes(content)
    with pytest.raises(ModelFolderError, match="is damaged"):
        Classifier.from_pretrained(folder)
