import json

import pytest
import torch

from reben.app import cli
from reben.learn.speed import Speed
from reben.model.classifier import Classifier


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def test_an_untrained_model_is_measured_into_a_file(tmp_path, capsys):
    out = tmp_path / "speed.json"
    words = ["benchmark", "--backbone", "test_resnet", "--bands", "s1", "--batch-sizes", "1,2"]
    assert cli.run([*words, "--rounds", "1", "--out", str(out)]) == 0
    shown = capsys.readouterr().out
    speed = Speed.load(out)
    assert f"{speed.parameters:,} parameters" in shown
    assert {row.batch_size for row in speed.measurements} == {1, 2}
    assert "optimised" in shown


def test_a_model_folder_is_measured_as_json(tmp_path, capsys):
    Classifier("test_resnet", "rgb").save_pretrained(tmp_path / "mine")
    words = ["benchmark", str(tmp_path / "mine"), "--batch-sizes", "1", "--rounds", "1", "--json"]
    assert cli.run(words) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["name"], said["bands"]) == ("mine", ["B04", "B03", "B02"])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "Say what to measure"),
        (["x", "--backbone", "resnet18"], "Say what to measure"),
        (["--backbone", "test_resnet"], "needs --bands"),
        (["--backbone", "test_resnet", "--bands", "s1", "--batch-sizes", "1;2"], "1;2"),
        (["--backbone", "test_resnet", "--bands", "s1", "--precision", "8"], "precision 8"),
        (["--backbone", "test_resnet", "--bands", "s1", "--device", "abacus"], "abacus"),
    ],
)
def test_what_cannot_be_measured_is_one_line(words, message, capsys):
    assert cli.run(["benchmark", *words]) == 2
    said = capsys.readouterr().err
    assert said.startswith("ConfigError: ")
    assert message in said
    assert said.count("\n") == 1
