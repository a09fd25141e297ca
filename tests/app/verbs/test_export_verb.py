import json

import onnxruntime
import pytest

from reben.app.cli import run
from reben.model.classifier import Classifier
from reben.publish.mlm import check_mlm, write_mlm
from reben.spec.bands import ALL


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    model = Classifier("test_resnet", "B8A,VV")
    return str(model.save_pretrained(tmp_path_factory.mktemp("model")))


def test_export_writes_a_file_that_runs_and_says_how_near_it_is(folder, tmp_path, capsys):
    out = tmp_path / "model.onnx"
    assert run(["export", folder, "--out", str(out), "--sentinel2-dtype", "uint16", "--json"]) == 0
    said = capsys.readouterr()
    written = json.loads(said.out)
    assert written["inputs"] == ["B8A", "VV"]
    assert written["outputs"] == ["scores", "logits"]
    assert (written["file"], written["num_bytes"]) == (str(out), out.stat().st_size)
    assert 0 <= written["max_difference"] < 1e-4
    assert "opset 18, inputs B8A, VV" in said.err
    session = onnxruntime.InferenceSession(out, providers=["CPUExecutionProvider"])
    assert [value.type for value in session.get_inputs()] == ["tensor(uint16)", "tensor(float)"]


@pytest.mark.slow
def test_export_into_the_folder_of_a_model_keeps_its_description_true(tmp_path, capsys):
    model = Classifier("test_resnet", "s1")
    write_mlm(model.save_pretrained(tmp_path), model, licence="mit", num_train=7)
    out = str(tmp_path / "model.onnx")
    assert run(["export", str(tmp_path), "--out", out]) == 0
    assert check_mlm(tmp_path, schema=True) == ()
    item = json.loads((tmp_path / "mlm.json").read_text())
    assert item["assets"]["onnx"]["mlm:artifact_type"] == "onnx.save"
    assert item["properties"]["mlm:hyperparameters"]["num_train"] == 7
    assert "mlm.json describes it" in capsys.readouterr().err


@pytest.mark.slow
def test_bands_of_a_published_model_can_be_named(golden, tmp_path, capsys):
    words = ["export", str(golden / "test_resnet-all"), "--out", str(tmp_path / "model.onnx")]
    assert run(words) == 2
    assert capsys.readouterr().err.startswith("AmbiguousBandsError: ")
    assert run([*words, "--bands", "all", "--opset", "19"]) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(
        tmp_path / "model.onnx", providers=["CPUExecutionProvider"]
    )
    assert tuple(value.name for value in session.get_inputs()) == ALL.names


def test_settings_that_cannot_be_are_one_line_and_nothing_is_written(folder, tmp_path, capsys):
    out = tmp_path / "model.onnx"
    assert run(["export", folder, "--out", str(out), "--opset", "9"]) == 2
    said = capsys.readouterr()
    assert said.err.startswith("ConfigError: opset must be 18 to ")
    assert (said.err.count("\n"), said.out, out.exists()) == (1, "", False)
