from dataclasses import replace

import numpy as np
import pytest

from reben.errors import ConfigError, RunError
from reben.learn.evaluate import measure
from reben.learn.metrics.bootstrap import paired_bootstrap
from reben.learn.predictions import Predictions, Subject
from reben.learn.report import Report
from reben.learn.speed import Measurement, Speed
from reben.publish.compare import compare
from reben.publish.report_page import PREDICTIONS_FILE, write_report

LABELS = ("Pastures", "Marine waters", "Arable land")
NUM = 90


def predicted(name, noise, *, num=NUM, fingerprint="ab12", seed=1):
    """Scores that are the worse, the more noise; all models of one fingerprint share labels."""
    truth = np.random.default_rng(num)
    labels = (truth.random((num, 3)) < [0.2, 0.5, 0.4]).astype(np.uint8)
    logits = 3.0 * labels - 1.5 + np.random.default_rng(seed).normal(0, noise, labels.shape)
    return Predictions(
        Subject(name, f"backbone of {name}", ("B04", "VV"), "test", fingerprint),
        LABELS,
        tuple(f"patch {number}" for number in range(num)),
        (1 / (1 + np.exp(-logits))).astype(np.float32),
        labels,
        tiles=tuple(f"33U{number % 12:02d}" for number in range(num)),
    )


def written(folder, predictions, *, rounds=20, keep=True):
    report = measure(predictions, rounds=rounds)
    write_report(report, folder, predictions=predictions if keep else None, figures=False)
    return folder


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """A good model, a bad one, and one on other patches; do not write into the folders."""
    root = tmp_path_factory.mktemp("reports")
    return {
        "bad": written(root / "bad", predicted("bad", 4.0)),
        "good": written(root / "good", predicted("good", 1.0, seed=2)),
        "twin": written(root / "twin", predicted("twin", 1.02, seed=2)),
        "else": written(root / "else", predicted("else", 0.2, num=40, fingerprint="cd34")),
    }


def speed(backbone="backbone of good"):
    row = Measurement("eager", "32", 8, 3, 21.5, 20.0, 400.0, 410.0, 0.0, None)
    return Speed(
        "good", backbone, ("B04", "VV"), 120, "cpu: test", 2, "2.9", 1234, 0.75, (), 0.1, None,
        None, (row, replace(row, way="optimised", images_per_second=33.25)),
    )  # fmt: skip


def test_the_figures_are_those_of_the_reports(places):
    board = compare([places["bad"], places["good"]], rounds=0)
    expected = {name: measure(predicted(name, noise, seed=seed), rounds=0)
                for name, noise, seed in (("bad", 4.0, 1), ("good", 1.0, 2))}  # fmt: skip
    for entry in board.groups[0].entries:
        assert entry.figure("macro", "f1") == expected[entry.name].macro.f1
        assert entry.figure("micro", "precision") == expected[entry.name].micro.precision


def test_the_best_comes_first(places):
    board = compare([places["bad"], places["good"]], rounds=0)
    assert [entry.name for entry in board.groups[0].entries] == ["good", "bad"]


def test_it_is_ranked_by_the_figure_that_is_asked_for(tmp_path):
    sure = predicted("sure", 1.0)
    shy = replace(
        sure, subject=replace(sure.subject, name="shy"), scores=(sure.scores / 2).astype(np.float32)
    )  # as good a ranking, but nothing is above 0.5, so F1 is 0
    paths = [written(tmp_path / "shy", shy), written(tmp_path / "sure", sure)]
    board = compare(paths, figure="f1", mean="micro", rounds=0)
    assert [entry.name for entry in board.groups[0].entries] == ["sure", "shy"]


def test_reports_of_other_patches_are_in_a_group_of_their_own(places):
    board = compare([places["else"], places["good"], places["bad"]], rounds=0)
    names = [[entry.name for entry in group.entries] for group in board.groups]
    assert names == [["good", "bad"], ["else"]]
    assert "cannot be ranked together" in board.notes[0]


def test_they_are_ranked_together_only_if_that_is_asked_for(places):
    board = compare([places["bad"], places["else"]], rounds=0, together=True)
    assert [entry.name for entry in board.groups[0].entries] == ["else", "bad"]
    assert not board.groups[0].same_patches
    assert "says little" in board.notes[0]


def test_models_of_other_patches_have_no_difference(places):
    board = compare([places["bad"], places["else"]], rounds=20, together=True)
    assert board.groups[0].comparisons == {}


def test_differences_are_those_of_the_paired_bootstrap(places):
    board = compare([places["bad"], places["good"]], rounds=50, seed=3)
    expected = paired_bootstrap(
        predicted("good", 1.0, seed=2), predicted("bad", 4.0), rounds=50, seed=3
    )
    assert board.groups[0].comparisons == {("good", "bad"): expected}


def test_a_difference_turned_round_has_the_other_sign(places):
    group = compare([places["bad"], places["good"]], rounds=50).groups[0]
    there = group.difference("good", "bad", "macro", "f1")
    back = group.difference("bad", "good", "macro", "f1")
    assert (back.value, back.low, back.high) == (-there.value, -there.high, -there.low)
    assert back.is_real == there.is_real


def test_a_large_difference_is_real_and_a_tiny_one_is_not(places):
    group = compare([places["bad"], places["good"], places["twin"]], rounds=200).groups[0]
    assert group.difference("good", "bad", "macro", "average_precision").is_real
    assert not group.difference("good", "twin", "macro", "average_precision").is_real


def test_the_order_of_patches_and_labels_in_the_files_does_not_matter(places, tmp_path):
    bad = predicted("bad", 4.0).take(np.random.default_rng(0).permutation(NUM))
    turned = replace(
        bad,
        label_names=LABELS[::-1],
        scores=bad.scores[:, [2, 1, 0]],
        labels=bad.labels[:, [2, 1, 0]],
    )
    path = written(tmp_path / "turned", turned)
    board, usual = (compare([place, places["good"]], rounds=30) for place in (path, places["bad"]))
    assert board.groups[0].comparisons == usual.groups[0].comparisons


def test_without_predictions_a_difference_is_not_known(places, tmp_path):
    bare = written(tmp_path / "bare", predicted("bare", 2.0), keep=False)
    group = compare([bare, places["good"]], rounds=20).groups[0]
    assert group.difference("bare", "good", "macro", "f1") is None


def test_intervals_are_those_of_the_report(places):
    entry = compare([places["good"]], rounds=0).groups[0].entries[0]
    tile = entry.report.intervals["tile"].macro["f1"]
    assert entry.interval("macro", "f1") == tile


def test_two_of_the_same_name_get_a_number(places):
    board = compare([places["good"], places["good"] / "report.json"], rounds=0)
    assert [entry.name for entry in board.groups[0].entries] == ["good", "good (2)"]


def test_speed_is_taken_from_beside_the_report(tmp_path):
    folder = written(tmp_path / "good", predicted("good", 1.0))
    speed().save(folder / "speed.json")
    entry = compare([folder], rounds=0).groups[0].entries[0]
    assert (entry.parameters, entry.gflops, entry.images_per_second) == (1234, 0.75, 33.25)


def test_speed_of_another_model_is_an_error(tmp_path):
    folder = written(tmp_path / "good", predicted("good", 1.0))
    speed("resnet18").save(folder / "speed.json")
    with pytest.raises(RunError, match="resnet18"):
        compare([folder])


def test_predictions_of_another_model_are_an_error(places, tmp_path):
    folder = written(tmp_path / "mixed", predicted("mixed", 1.0))
    predicted("bad", 4.0).save(folder / PREDICTIONS_FILE)
    with pytest.raises(RunError, match="is about bad"):
        compare([folder, places["good"]])


def test_a_folder_without_a_report_is_an_error(tmp_path):
    with pytest.raises(RunError, match="reben evaluate"):
        compare([tmp_path])


def test_nothing_to_compare_is_an_error():
    with pytest.raises(ConfigError, match="nothing to compare"):
        compare([])


def test_an_unknown_figure_is_an_error_that_lists_them(places):
    with pytest.raises(ConfigError, match=r"auroc.*average_precision, f1"):
        compare([places["good"]], figure="auroc")


def test_each_file_is_read_once_however_many_models_there_are(places, tmp_path, monkeypatch):
    read = []

    def watched(load):
        return classmethod(lambda cls, path: read.append(path) or load(cls, path))

    for kind in (Report, Predictions):
        monkeypatch.setattr(kind, "load", watched(kind.load.__func__))
    third = written(tmp_path / "third", predicted("third", 2.0, seed=3))

    board = compare([places["bad"], places["good"], places["twin"], third], rounds=2)

    assert len(board.groups[0].comparisons) == 6
    assert len(read) == len(set(read)) == 8


def test_progress_counts_all_pairs(places):
    seen = []
    paths = [places["bad"], places["good"], places["twin"]]
    compare(paths, rounds=20, progress=lambda *counts: seen.append(counts))
    assert seen[-1] == (60, 60)
    assert seen == sorted(seen)
