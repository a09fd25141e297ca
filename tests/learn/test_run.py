import json

import numpy as np
import pytest

from reben.errors import RunError
from reben.learn.config import TrainConfig
from reben.learn.metrics.classification import compute_metrics
from reben.learn.report import Report
from reben.learn.resume import open_unfinished
from reben.learn.run import Run


@pytest.fixture
def folder(tmp_path):
    """What a training leaves behind, as far as opening it goes."""
    run = tmp_path / "r18-s1"
    (run / "best").mkdir(parents=True)
    (run / "best" / "config.json").write_text("{}")
    (run / "config.toml").write_text(TrainConfig(bands="s1", epochs=9).to_toml())
    (run / "summary.json").write_text(json.dumps({"status": "finished", "best_epoch": 4}))
    return run


def report(split):
    metrics = compute_metrics(np.array([[0.9, 0.2]]), np.array([[1, 0]]), ("A", "B"))
    return Report("r18-s1", "resnet18", ("VV",), ("A", "B"), split, 1, "ab12", metrics)


def test_a_run_is_opened_by_its_folder(folder):
    run = Run.open(folder)

    assert (run.path, run.best, run.name) == (folder, folder / "best", "r18-s1")
    assert run.config == TrainConfig(bands="s1", epochs=9)
    assert run.summary["best_epoch"] == 4


def test_a_run_is_opened_by_the_folder_of_its_model(folder):
    assert Run.open(str(folder / "best")).path == folder


def test_a_run_is_opened_from_inside(folder, monkeypatch):
    monkeypatch.chdir(folder / "best")

    run = Run.open(".")

    assert run.name == "r18-s1"
    assert run.best.samefile(folder / "best")


@pytest.mark.parametrize("place", ["", "best", "nowhere"])
def test_another_folder_is_an_error_that_says_what_a_run_holds(tmp_path, place):
    (tmp_path / "best").mkdir()

    with pytest.raises(RunError, match=r"not a run.*config\.toml.*summary\.json.*best/"):
        Run.open(tmp_path / place)


@pytest.mark.parametrize("file", ["config.toml", "summary.json"])
def test_a_damaged_run_is_an_error(folder, file):
    (folder / file).write_text("{")

    with pytest.raises(RunError, match=rf"r18-s1/{file}.*A run is a folder that reben train wrote"):
        Run.open(folder)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[1]", "an object"),
        ('{"steps": 1e999}', "steps"),
        ('{"steps": -1}', "steps: .*-1"),
        ('{"best_epoch": "4"}', "best_epoch: .*'4'"),
        ('{"data": {"store": 7}}', "data.store: .*7"),
        ('{"not_applied": "x"}', "not_applied"),
        ("[" * 100_000, "summary.json"),
        ("\ud800", "summary.json"),
    ],
)
@pytest.mark.parametrize("opened", [Run.open, open_unfinished])
def test_a_summary_that_cannot_be_is_an_error_with_file_and_field(folder, opened, text, said):
    (folder / "summary.json").write_bytes(text.encode("utf-8", "surrogatepass"))

    with pytest.raises(RunError, match=rf"(?s)summary\.json.*{said}"):
        opened(folder)


def test_what_other_versions_say_in_a_summary_is_kept(folder):
    (folder / "summary.json").write_text('{"status": "finished", "colour": "red"}')

    assert Run.open(folder).summary["colour"] == "red"


def test_a_run_without_settings_is_an_error(folder):
    (folder / "config.toml").unlink()

    with pytest.raises(RunError, match=r"config\.toml"):
        Run.open(folder)


def test_a_run_that_never_finished_an_epoch_is_an_error(folder):
    (folder / "best" / "config.json").unlink()
    (folder / "summary.json").write_text('{"status": "failed"}')

    with pytest.raises(RunError, match=r"status failed.*no epoch was finished.*train\.log"):
        Run.open(folder)


def test_the_report_of_a_split_is_found(folder):
    run = Run.open(folder)
    report("validation").save(run.report_path("validation"))

    assert run.report("validation").split == "validation"


def test_a_missing_report_is_an_error_that_lists_those_there_are(folder):
    run = Run.open(folder)
    report("validation").save(run.report_path("validation"))

    with pytest.raises(
        RunError, match=r"no report-test/report\.json.*report-validation/report\.json.*evaluate"
    ):
        run.report()
