import json

import numpy as np
import pytest

import made_up
from reben.app.cli import run
from reben.data.loader import open_dataset
from reben.data.tiff.write import GeoTransform, encode_geotiff
from reben.learn.report import Report
from reben.learn.run import Run
from reben.model.classifier import Classifier
from reben.spec.bands import PIXEL_METRES

SETTINGS = ("--backbone", "test_resnet", "--bands", "VV,B02,B8A", "--accelerator", "cpu")


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return str(made_up.write_store(tmp_path_factory.mktemp("verbs") / "store"))


@pytest.fixture(scope="module")
def trained(store, tmp_path_factory):
    """A run folder made and evaluated by the command itself."""
    out = str(tmp_path_factory.mktemp("verbs") / "run")
    words = ["train", "--data", store, "--out", out, *SETTINGS]
    assert run([*words, "--epochs", "2", "--batch-size", "4", "--no-flips"]) == 0
    assert run(["evaluate", out, "--data", store]) == 0
    return out


def test_train_takes_its_settings_from_flags(trained):
    config = Run.open(trained).config
    assert (config.bands, config.epochs, config.batch_size, config.flips) == (
        "VV,B02,B8A",
        2,
        4,
        False,
    )


def test_train_writes_its_record_as_json_and_talks_on_stderr(store, tmp_path, capsys):
    words = ["train", "--data", store, "--out", str(tmp_path / "run"), *SETTINGS, "--json"]
    assert run([*words, "--epochs", "1"]) == 0
    said = capsys.readouterr()
    written = json.loads(said.out)
    assert written["summary"] == dict(Run.open(tmp_path / "run").summary)
    assert written["best"] == str(tmp_path / "run" / "best")
    assert "Epoch 1/1: train loss" in said.err


def test_train_never_writes_into_a_folder_that_is_not_empty(store, trained, capsys):
    assert run(["train", "--data", store, "--out", trained, *SETTINGS]) == 1
    said = capsys.readouterr().err
    assert said.startswith(f"OutputError: {trained} holds a run already")
    assert said.count("\n") == 1


def test_a_setting_that_cannot_be_is_one_line(store, tmp_path, capsys):
    words = ["train", "--data", store, "--out", str(tmp_path / "run"), "--epochs", "0"]
    assert run(words) == 2
    assert (
        capsys.readouterr().err
        == "ConfigError: epochs must be at least 1 and at most 1000000; got 0.\n"
    )


def test_evaluate_keeps_the_report_of_a_run_in_the_run(trained):
    report = Report.load(Run.open(trained).report_path("test"))
    assert (report.split, report.num_patches) == ("test", 3)


def test_evaluate_writes_where_it_is_told(trained, store, tmp_path, capsys):
    out = tmp_path / "there"
    words = ["evaluate", f"{trained}/best", "--data", store, "--split", "validation"]
    assert run([*words, "--out", str(out), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == json.loads((out / "report.json").read_text())
    assert Report.load(out).split == "validation"


def test_evaluate_shows_figures_and_absent_labels(trained, store, capsys):
    run(["evaluate", trained, "--data", store])
    shown = capsys.readouterr().out
    assert "average precision" in shown
    assert "Without a patch, and 0 in the macro figures: Agro-forestry areas;" in shown


def test_evaluate_of_an_unknown_split_is_one_line(trained, store, capsys):
    assert run(["evaluate", trained, "--data", store, "--split", "tset"]) == 2
    assert "'tset'" in capsys.readouterr().err


def test_predict_shows_the_scores_of_predict_beside_the_true_labels(trained, store, capsys):
    patch = made_up.patch_id(11)
    words = ["predict", trained, store, "--patch", patch, "--top", "3"]
    assert run([*words, "--json"]) == 0
    written = json.loads(capsys.readouterr().out)
    model = Classifier.from_pretrained(Run.open(trained).best)
    scores = model.predict(open_dataset(store, model.bands).patch(patch))
    assert [(row["label"], row["score"]) for row in written["scores"]] == scores.top(3)
    assert written["above"] == scores.above()
    assert written["true_labels"] == sorted(made_up.LABEL_SETS[2])
    assert run(words) == 0
    shown = capsys.readouterr().out
    assert "True labels: Broad-leaved forest; Inland waters; Mixed forest" in shown
    for label, score in scores.top(3):
        assert label[:30] in shown
        assert f"{score:.4f}" in shown


def test_predict_reads_patch_folders_of_both_sensors(trained, store, tmp_path, capsys):
    for name in ("VV", "B02", "B8A"):
        place = tmp_path / ("s1" if name == "VV" else "s2")
        patch = made_up.s1_name(11) if name == "VV" else made_up.patch_id(11)
        transform = GeoTransform(500_000.0, 5_300_000.0, PIXEL_METRES[name], 32633)
        place.mkdir(exist_ok=True)
        file = place / f"{patch}_{name}.tif"
        file.write_bytes(encode_geotiff(made_up.band(name, 11), transform))
    words = ["predict", trained, "--top", "19", "--json"]
    assert run([*words, store, "--patch", made_up.patch_id(11)]) == 0
    from_store = json.loads(capsys.readouterr().out)
    assert run([*words, str(tmp_path / "s2"), str(tmp_path / "s1")]) == 0
    from_folders = json.loads(capsys.readouterr().out)
    assert from_folders == {**from_store, "true_labels": None}
    assert run([*words, str(tmp_path / "s2")]) == 2
    assert "BandsMismatchError: " in capsys.readouterr().err


def test_predict_on_a_store_needs_the_name_of_a_patch(trained, store, capsys):
    assert run(["predict", trained, store]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"ConfigError: {store} is a store of 12 patches. Name one with --patch")


def test_predict_of_a_patch_that_is_not_there_is_one_line(trained, store, capsys):
    assert run(["predict", trained, store, "--patch", "S2A_nowhere"]) == 2
    assert capsys.readouterr().err.startswith("MissingPatchError: No patch 'S2A_nowhere'")


def test_predict_without_input_says_what_to_name(trained, capsys):
    assert run(["predict", trained]) == 2
    assert "There is nothing to predict" in capsys.readouterr().err


def test_patch_is_for_stores_only(trained, tmp_path, capsys):
    assert run(["predict", trained, str(tmp_path), "--patch", "x"]) == 2
    assert "Leave --patch out for a patch folder" in capsys.readouterr().err


def test_top_takes_no_less_than_one(trained, store, capsys):
    assert run(["predict", trained, store, "--top", "0"]) == 2
    assert capsys.readouterr().err.startswith("UsageError: ")


def test_a_published_model_gives_the_golden_scores_of_a_real_patch(golden, real_store, capsys):
    folder = golden / "test_resnet-all"
    expected = np.load(folder / "expected.npz")
    patch = str(expected["patch_ids"][4])
    words = ["predict", str(folder), str(real_store), "--patch", patch, "--json", "--top", "19"]
    assert run(words) == 2
    assert capsys.readouterr().err.startswith("AmbiguousBandsError: ")
    assert run([*words, "--bands", ",".join(map(str, expected["bands"]))]) == 0
    written = json.loads(capsys.readouterr().out)
    scores = np.sort(1 / (1 + np.exp(-expected["logits"][4].astype(float))))[::-1]
    np.testing.assert_allclose([row["score"] for row in written["scores"]], scores, atol=1e-4)


def test_sample_says_what_it_is_and_where_from_a_wrong_wheel_is_refused(tmp_path, capsys):
    wheel = tmp_path / "configilm-0.7.1-py3-none-any.whl"
    wheel.write_bytes(b"not it")
    assert run(["sample", str(tmp_path / "s"), "--from-wheel", str(wheel)]) == 1
    said = capsys.readouterr()
    assert said.err.startswith("ChecksumError: ")
    assert said.out == ""
