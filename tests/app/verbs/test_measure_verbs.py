import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import reben
from learn.predicted import predicted
from made_up import patch_id, write_store
from reben.app.cli import run
from reben.learn.report import Report
from reben.model.classifier import Classifier
from reben.spec.labels import LABELS


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return write_store(tmp_path_factory.mktemp("measure") / "store")


@pytest.fixture
def model(tmp_path):
    return Classifier("test_resnet", "rgb").save_pretrained(tmp_path / "model")


@pytest.fixture
def run_folder(model, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(model, folder / "best")
    (folder / "config.toml").write_text("")
    (folder / "summary.json").write_text(json.dumps({"status": "finished"}))
    return folder


def test_evaluate_writes_the_folder_of_a_report(model, store, tmp_path, capsys):
    out = tmp_path / "report"

    assert run(["evaluate", str(model), "--data", str(store), "--out", str(out), "--json"]) == 0

    told = capsys.readouterr()
    assert Report.from_json(told.out) == Report.load(out)
    assert "report.html" in told.err
    assert sorted(file.name for file in out.iterdir()) == [
        "figures",
        "predictions.parquet",
        "report.html",
        "report.json",
    ]


def test_the_report_of_a_run_goes_into_the_run(run_folder, store, capsys):
    words = ["evaluate", str(run_folder), "--data", str(store), "--no-figures", "--rounds", "0"]
    assert run([*words, "--split", "validation"]) == 0

    assert Report.load(run_folder / "report-validation").split == "validation"
    assert not (run_folder / "report-validation" / "figures").exists()


def test_a_run_is_measured_on_the_store_that_it_was_trained_on(run_folder, store, capsys):
    summary = {"status": "finished", "data": {"store": str(store)}}
    (run_folder / "summary.json").write_text(json.dumps(summary))
    words = ["evaluate", str(run_folder), "--no-figures", "--rounds", "0"]
    assert run(words) == 0
    assert Report.load(run_folder / "report-test").data.name == "Ramps"
    assert "3 patches of the test split of Ramps" in capsys.readouterr().out

    summary["data"]["store"] = str(run_folder / "gone")
    (run_folder / "summary.json").write_text(json.dumps(summary))
    assert run(words) == 2
    assert "tells where its data were. If the data lie elsewhere, name their store" in (
        capsys.readouterr().err
    )


def test_a_model_without_a_run_needs_its_data(model, capsys):
    assert run(["evaluate", str(model)]) == 2
    assert "Name its data: --data STORE" in capsys.readouterr().err


def test_a_label_table_of_a_part_says_what_it_leaves_out(model, store, tmp_path, capsys):
    table = tmp_path / "labels.csv"
    table.write_text(f"patch_id,labels\n{patch_id(9)},Pastures\n{patch_id(10)},Pastures\n")
    words = ["evaluate", str(model), "--data", str(store), "--rounds", "0", "--no-figures"]
    assert run([*words, "--labels", str(table)]) == 0
    assert "does not list 10 of the 12 patches in the metadata" in capsys.readouterr().err


def test_patches_of_other_labels_than_the_models_are_refused_with_both_lists(
    model, store, tmp_path, capsys
):
    table = tmp_path / "labels.csv"
    table.write_text(f"patch_id,labels\n{patch_id(9)},maize;Pastures\n")
    words = ["evaluate", str(model), "--data", str(store), "--labels", str(table)]
    assert run(words) == 2
    told = capsys.readouterr().err
    assert "unknown label 'maize'" in told
    assert "Their labels: Pastures; maize." in told
    assert "Agro-forestry areas; Arable land;" in told


def test_predictions_give_the_same_report_without_model_and_data(model, store, tmp_path, capsys):
    out = tmp_path / "report"
    run(["evaluate", str(model), "--data", str(store), "--out", str(out), "--no-figures", "--json"])
    first = json.loads(capsys.readouterr().out)

    assert run(["evaluate", "--predictions", str(out / "predictions.parquet"), "--json"]) == 0

    again = json.loads(capsys.readouterr().out)
    assert {**again, "created": ""} == {**first, "created": ""}


def test_a_label_without_patches_has_no_figures_on_the_terminal(tmp_path, capsys):
    path = predicted(40).save(tmp_path / "p.parquet")

    assert run(["evaluate", "--predictions", str(path), "--rounds", "0"]) == 0
    told = capsys.readouterr().out
    (row,) = (line.split() for line in told.splitlines() if line.strip().startswith(LABELS[1]))
    assert row[-3:] == ["0", "-", "-"]
    assert f"0 in the macro figures: {LABELS[1]}" in told


def test_evaluate_says_how_sure_the_figures_are(model, store, capsys):
    assert run(["evaluate", str(model), "--data", str(store), "--rounds", "20"]) == 0

    told = capsys.readouterr().out
    assert "No 95 % interval by tile: all patches are of one tile" in told
    assert "95 % interval by patch (3): macro average precision" in told


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "Name the model"),
        (["model"], "--data STORE"),
        (["model", "--predictions", "p.parquet"], "measured by itself"),
        (["--predictions", "p.parquet"], "p.parquet"),
    ],
)
def test_what_cannot_be_measured_is_an_error(words, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    assert run(["evaluate", *words]) == 2
    assert message in capsys.readouterr().err


def test_intervals_are_drawn_where_compiled_code_can_be_kept_nowhere(tmp_path):
    """As in a container: a read-only package, no home, no folder for caches."""
    package = Path(shutil.copytree(Path(reben.__file__).parent, tmp_path / "installed" / "reben"))
    for source in package.rglob("*.py"):
        shutil.rmtree(source.parent / "__pycache__", ignore_errors=True)
        (source.parent / "__pycache__").touch()  # where a folder would have to be made
    nowhere = dict.fromkeys(("HOME", "XDG_CACHE_HOME", "NUMBA_CACHE_DIR"), os.devnull)
    path = predicted(40).save(tmp_path / "p.parquet")
    words = ["evaluate", "--predictions", str(path), "--rounds", "20", "--json"]

    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "reben", *words],
        env={**os.environ, **nowhere, "PYTHONPATH": str(package.parent)},
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["intervals"]["tile"]["macro"]["f1"]["low"] > 0


def test_calibrate_writes_into_the_config_and_leaves_the_weights(model, store, capsys):
    weights = (model / "model.safetensors").read_bytes()

    assert run(["calibrate", str(model), "--data", str(store), "--json"]) == 0

    found = json.loads(capsys.readouterr().out)
    config = Classifier.from_pretrained(model).config
    assert config.temperature == found["temperature"]
    assert list(config.thresholds) == found["thresholds"]
    assert (config.tuned_on.split, config.tuned_on.num_patches) == ("validation", 3)
    assert (model / "model.safetensors").read_bytes() == weights


def test_calibrate_of_a_run_changes_its_best_model(run_folder, store, capsys):
    assert run(["calibrate", str(run_folder), "--data", str(store)]) == 0

    told = capsys.readouterr().out
    assert "temperature" in told
    assert Classifier.from_pretrained(run_folder / "best").config.tuned_on is not None


def test_calibrate_can_write_elsewhere(model, store, tmp_path, capsys):
    before = (model / "config.json").read_text()
    words = ["calibrate", str(model), "--data", str(store), "--out", str(tmp_path / "tuned")]

    assert run(words) == 0
    assert (model / "config.json").read_text() == before
    assert Classifier.from_pretrained(tmp_path / "tuned").labels == LABELS


def test_calibrate_refuses_the_test_split(model, store, capsys):
    assert run(["calibrate", str(model), "--data", str(store), "--split", "test"]) == 2
    assert "Nothing may be tuned on the split test" in capsys.readouterr().err


def test_a_model_on_the_hub_needs_a_place_to_be_written_to(store, capsys):
    assert run(["calibrate", "some/model", "--data", str(store)]) == 2
    assert "--out" in capsys.readouterr().err
