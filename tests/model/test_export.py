import ast
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from lively import lively
from made_up import patch
from reben import ModelConfig, open_dataset
from reben.errors import ConfigError, ExportError, MissingExtraError, OutputError
from reben.model.classifier import Classifier
from reben.model.export import OPSET, TOLERANCE, export_onnx
from reben.model.inference import optimise_for_inference
from reben.model.weights import stale_exports
from reben.spec.bands import ALL, BandSet, native_size
from reben.spec.statistics import published_statistics

TRACES = re.compile(rb"site-packages|stack_trace|[\w/]{4}\.py\b|/(home|root|Users|tmp)/")
FAMILIES = (
    ("test_resnet", "s2"),
    ("test_vit3", "all"),
    ("test_convnext", "s1"),
    ("test_efficientnet", "all"),
    ("test_mambaout", "s2"),
)
REAL = (("resnet18", "all"), ("mobilevit_s", "s2"), ("convnextv2_atto", "s1"))


@pytest.fixture(scope="module")
def model(golden):
    return Classifier.from_pretrained(golden / "test_resnet-all", bands="all")


@pytest.fixture(scope="module")
def written(model, tmp_path_factory):
    return export_onnx(model, tmp_path_factory.mktemp("onnx") / "model.onnx")


@pytest.fixture(scope="module")
def session(written):
    return open_session(written.path)


def open_session(path):
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])


def as_inputs(bands, names, dtype=np.float32):
    return {
        name: np.asarray(bands[name]).astype(dtype if name[0] == "B" else np.float32)
        for name in names
    }


def random_patches(num_patches, names):
    """Raw values over the whole range of the data: uint16 up to 65535, dB from -60 to 20."""
    random = np.random.default_rng(num_patches)
    decibels = {"VV": (-30, 20), "VH": (-60, -10)}
    shapes = {name: (num_patches, native_size(name), native_size(name)) for name in names}
    bands = {
        name: random.integers(1, 65536, shape, dtype=np.uint16)
        if name[0] == "B"
        else random.uniform(*decibels[name], shape).astype(np.float32)
        for name, shape in shapes.items()
    }
    for name, pixels in bands.items():
        pixels[:, 3, 5] = 0 if name[0] == "B" else -60
    return bands


def plausible_patches(num_patches, model):
    """Raw values like real ones, every patch and band at a level of its own."""
    random = np.random.default_rng(num_patches)
    figures, bands = model.config.statistics, {}
    for name in model.bands:
        side = native_size(name)
        level = random.uniform(-1.5, 1.5, (num_patches, 1, 1))
        values = level + 0.5 * random.standard_normal((num_patches, side, side))
        values = figures.mean[name] + figures.std[name] * values
        optical = name[0] == "B"
        bands[name] = values.clip(1).astype(np.uint16) if optical else values.astype(np.float32)
    return bands


def assert_same(model, session, bands, dtype=np.float32):
    scores, logits = session.run(None, as_inputs(bands, model.bands, dtype))
    expected = model.predict(bands)
    # Values at the ends of the range give logits of hundreds, where float32 ends at 3e-5.
    np.testing.assert_allclose(logits, expected.logits, rtol=1e-5, atol=TOLERANCE)
    np.testing.assert_allclose(scores, expected.values, rtol=0, atol=TOLERANCE)
    return logits


def test_the_logits_of_the_reference_on_real_patches(golden, real_store, session):
    expected = np.load(golden / "test_resnet-all" / "expected.npz")
    dataset = open_dataset(real_store, "all", snow=None, cloud=None)
    rows = [dataset.table.position(name) for name in expected["patch_ids"].tolist()]
    bands = dataset.read(rows)
    scores, logits = session.run(["scores", "logits"], as_inputs(bands, ALL))
    np.testing.assert_allclose(logits, expected["logits"], rtol=0, atol=1e-4)
    np.testing.assert_allclose(scores, 1 / (1 + np.exp(-logits)), rtol=0, atol=1e-6)
    assert len(rows) == 24


@pytest.mark.parametrize("num_patches", [1, 5])
def test_batches_of_any_size_and_of_raw_values(model, session, num_patches):
    assert_same(model, session, random_patches(num_patches, ALL))


def test_inputs_are_the_bands_at_native_size_and_outputs_are_named(session):
    inputs = {value.name: (value.shape, value.type) for value in session.get_inputs()}
    assert inputs == {
        name: (["batch", native_size(name), native_size(name)], "tensor(float)") for name in ALL
    }
    assert tuple(inputs) == ALL.names
    outputs = [(value.name, value.shape, value.type) for value in session.get_outputs()]
    assert outputs == [
        ("scores", ["batch", 19], "tensor(float)"),
        ("logits", ["batch", 19], "tensor(float)"),
    ]


def test_bands_under_wrong_names_are_refused_or_change_the_logits(session):
    right = as_inputs({name: pixels[None] for name, pixels in patch(1).items()}, ALL)
    refused = Exception  # ONNX Runtime's kinds of error have nothing else above them
    with pytest.raises(refused, match=r"B05.*\n? *index: 1 Got: 120 Expected: 60"):
        session.run(None, {**right, "B02": right["B05"], "B05": right["B02"]})
    with pytest.raises(refused, match=r"Invalid (input name|Feed Input Name): ?B10"):
        session.run(None, {**right, "B10": right["B05"]})
    with pytest.raises(ValueError, match=r"Required inputs \(\['VH'\]\) are missing"):
        session.run(None, {name: pixels for name, pixels in right.items() if name != "VH"})
    swapped = {**right, "B02": right["B08"], "B08": right["B02"]}
    before, after = (session.run(["logits"], inputs)[0] for inputs in (right, swapped))
    assert np.abs(before - after).max() > 1e-3


def test_the_file_says_what_the_model_is(model, written, session):
    said = session.get_modelmeta().custom_metadata_map
    assert json.loads(said["bands"]) == list(ALL)
    assert json.loads(said["labels"]) == list(model.labels)
    assert json.loads(said["thresholds"]) == [0.5] * 19
    figures = published_statistics()
    assert json.loads(said["band_mean"]) == [figures.mean[name] for name in ALL]
    assert json.loads(said["band_std"]) == [figures.std[name] for name in ALL]
    assert json.loads(said["native_sizes"])["B8A"] == 60
    assert json.loads(said["units"])["VH"] == "dB"
    assert "without BOA offset" in json.loads(said["units"])["B02"]
    assert (said["upsampling"], said["opset"]) == ("nearest", str(OPSET))
    assert said["reben_version"] == model.config.reben_version
    assert said["fingerprint"] == model.fingerprint()
    assert said["scores"] == "sigmoid of the logits, 0 to 1; not calibrated"
    assert json.loads(said["tuned_on"]) is None
    opsets = {entry.domain: entry.version for entry in onnx.load(written.path).opset_import}
    assert opsets[""] == written.opset == OPSET


def test_the_file_is_whole_and_tells_nothing_of_the_machine(written):
    content = written.path.read_bytes()
    assert [path.name for path in written.path.parent.iterdir()] == ["model.onnx"]
    assert not TRACES.search(content)
    assert written.num_bytes == len(content)


def test_the_file_was_compared_with_the_model(written):
    assert 0 < written.max_difference < TOLERANCE


def test_the_model_stays_as_it_was_and_calibration_is_inside(tmp_path):
    model = lively("test_resnet", "B8A,VV", upsampling="bilinear")
    model.config = ModelConfig.from_dict({**model.config.to_dict(), "temperature": 2.5})
    model.train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    written = export_onnx(model, tmp_path / "model.onnx", sentinel2_dtype="uint16")
    assert model.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    session = open_session(written.path)
    assert [value.type for value in session.get_inputs()] == ["tensor(uint16)", "tensor(float)"]
    logits = assert_same(model, session, random_patches(3, model.bands), np.uint16)
    said = "sigmoid of the logits divided by the temperature 2.5, 0 to 1"
    assert session.get_modelmeta().custom_metadata_map["scores"] == said
    outputs = {value.name: value.doc_string for value in onnx.load(written.path).graph.output}
    assert outputs["scores"] == said
    assert outputs["logits"] == "what the network returns, before temperature and sigmoid"
    assert stale_exports(tmp_path, model.fingerprint()) == []
    assert stale_exports(tmp_path, "0" * 64) == [written.path]
    scores = session.run(["scores"], as_inputs(random_patches(3, model.bands), model.bands, "u2"))
    np.testing.assert_allclose(scores[0], 1 / (1 + np.exp(-logits / 2.5)), rtol=0, atol=1e-6)


def test_a_file_that_says_something_else_is_not_kept(model, written, tmp_path, monkeypatch):
    def spoiled(*_):
        proto = onnx.load(written.path)
        (head,) = (one for one in proto.graph.initializer if one.name.endswith("fc.bias"))
        bias = onnx.numpy_helper.to_array(head) + np.float32(2e-3)
        head.raw_data = bias.tobytes()
        return proto

    out = tmp_path / "model.onnx"
    out.write_bytes(b"old")
    monkeypatch.setattr("reben.model.export._translate", spoiled)
    with pytest.raises(ExportError, match=r"differ by 2\.0e-03 .*1e-04 is allowed"):
        export_onnx(model, out)
    assert out.read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["model.onnx"]


@pytest.mark.parametrize("package", ["onnx", "onnxscript"])
def test_without_the_extra_it_is_named(model, tmp_path, monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtraError, match=r"reben\[onnx\]"):
        export_onnx(model, tmp_path / "model.onnx")


@pytest.mark.parametrize("setting", [{"opset": 17}, {"opset": 999}, {"sentinel2_dtype": "int8"}])
def test_settings_that_cannot_be_are_refused(model, tmp_path, setting):
    with pytest.raises(ConfigError, match=r"got (17|999|'int8')"):
        export_onnx(model, tmp_path / "model.onnx", **setting)


def test_a_classifier_optimised_for_inference_is_refused(tmp_path):
    fast = optimise_for_inference(Classifier("test_resnet", "rgb"))
    with pytest.raises(ConfigError, match="Export the one that it was made from"):
        export_onnx(fast, tmp_path / "model.onnx")


@pytest.mark.slow
def test_a_place_that_cannot_be_written_is_said(model, tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OutputError, match="Cannot write"):
        export_onnx(model, tmp_path / "file" / "model.onnx")


@pytest.mark.slow
def test_without_onnx_runtime_the_file_is_written_and_said_to_be_unchecked(
    model, tmp_path, monkeypatch, caplog
):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert export_onnx(model, tmp_path / "model.onnx").max_difference is None
    assert "was not compared with the model" in caplog.text


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::reben.data.preprocess.SuspiciousInputWarning")
@pytest.mark.parametrize(("backbone", "bands"), [*FAMILIES, *REAL])
def test_architectures_of_every_family_agree(tmp_path, backbone, bands):
    model = lively(backbone, bands)
    session = open_session(export_onnx(model, tmp_path / "model.onnx").path)
    for num_patches in (1, 5):
        logits = assert_same(model, session, plausible_patches(num_patches, model))
    assert np.ptp(logits, axis=0).max() > 100 * TOLERANCE


@pytest.mark.slow
@pytest.mark.parametrize("upsampling", ["bilinear", "bicubic"])
@pytest.mark.parametrize("opset", [18, 20])
def test_every_upsampling_and_opset_agrees(tmp_path, upsampling, opset):
    bands = BandSet(("B09", "VH", "B04", "B11"))
    model = lively("test_resnet", bands, upsampling=upsampling)
    written = export_onnx(model, tmp_path / "model.onnx", opset=opset)
    assert written.opset == opset
    assert_same(model, open_session(written.path), random_patches(2, bands))


@pytest.mark.slow
def test_the_reference_logits_of_a_transformer(golden, real_store, tmp_path):
    expected = np.load(golden / "test_vit3-s2" / "expected.npz")
    model = Classifier.from_pretrained(golden / "test_vit3-s2", bands="s2")
    session = open_session(export_onnx(model, tmp_path / "model.onnx").path)
    dataset = open_dataset(real_store, "s2", snow=None, cloud=None)
    rows = [dataset.table.position(name) for name in expected["patch_ids"].tolist()]
    logits = session.run(["logits"], as_inputs(dataset.read(rows), model.bands))[0]
    np.testing.assert_allclose(logits, expected["logits"], rtol=0, atol=1e-4)


@pytest.mark.slow
def test_the_lines_of_the_docs_run_where_neither_torch_nor_reben_can_be_imported(
    model, written, tmp_path
):
    page = (Path(__file__).parents[2] / "docs" / "export.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(import json\n.*?)```", page, re.DOTALL)
    shutil.copy(written.path, tmp_path / "model.onnx")
    for name, pixels in patch(1, model.bands).items():
        np.save(tmp_path / f"{name}.npy", pixels)
    blocked = f"import sys\nsys.modules.update(torch=None, reben=None)\n{code}"
    done = subprocess.run(
        [sys.executable, "-c", blocked], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    above = model.predict(patch(1)).above()
    assert sorted(ast.literal_eval(done.stdout)) == sorted(above)
    assert above
