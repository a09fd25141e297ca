import csv
import io
import re
from dataclasses import replace

import pytest
from PIL import Image

from reben.learn.metrics.bootstrap import Comparison, Interval, Intervals, MetricDifference
from reben.learn.metrics.classification import compute_metrics
from reben.learn.report import Report
from reben.publish.compare import ComparableReports, Leaderboard, LeaderboardRow
from reben.publish.leaderboard.files import to_csv, to_html, to_markdown, write_leaderboard

EVIL = '=r50|<script>alert("x")</script>$&_'


def report(name, shift=0.0):
    scores = [[0.9 - shift, 0.2], [0.3, 0.8], [0.7, 0.6 + shift]]
    return Report(
        name=name,
        backbone="resnet50",
        bands=("B04", "B03", "B02"),
        labels=("Pastures", "Arable land"),
        split="test",
        num_patches=3,
        fingerprint="ab12cd34ef",
        metrics=compute_metrics(scores, [[1, 0], [0, 1], [1, 0]], ("Pastures", "Arable land")),
        intervals={
            "tile": Intervals("tile", 9, 10, 0.95, 0, macro={"f1": Interval(0.123456, 0.98765)})
        },
    )


@pytest.fixture
def board():
    first = LeaderboardRow(EVIL, report(EVIL), None, 23_540_000, 4.125, 61.26, "cpu: test")
    second = LeaderboardRow("r18", replace(report("r18", 0.3), backbone="resnet18"))
    found = Comparison("tile", 9, 10, 0.95, 0, macro={"f1": MetricDifference(0.2, 0.1, 0.3, 0.01)})
    groups = (ComparableReports((first, second), {(EVIL, "r18"): found}),)
    return Leaderboard(groups, "macro", "f1", ("A note with <b>tags</b>.",))


def test_csv_holds_all_digits_of_the_figures(board):
    rows = list(csv.DictReader(io.StringIO(to_csv(board))))
    for row, entry in zip(rows, board.groups[0].entries, strict=True):
        assert float(row["macro_f1"]) == entry.report.macro.f1
        assert float(row["micro_average_precision"]) == entry.report.micro.average_precision
        assert float(row["macro_f1_low"]) == 0.123456
        assert row["micro_f1_low"] == ""
    assert (rows[0]["parameters"], rows[1]["parameters"]) == ("23540000", "")


def test_no_name_is_a_formula_for_a_spreadsheet(board):
    rows = list(csv.DictReader(io.StringIO(to_csv(board))))
    assert rows[0]["name"] == f"'{EVIL}"


def test_markdown_has_a_cell_for_each_column_whatever_the_names(board):
    text = to_markdown(board)
    for table in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        counts = {len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}
        assert len(counts) == 1
    assert "<script>" not in text


def test_markdown_shows_figures_and_intervals(board):
    entry = board.groups[0].entries[0]
    assert f"| {entry.report.macro.f1:.4f} (0.1235 to 0.9877) |" in to_markdown(board)


def test_markdown_says_which_differences_are_real(board):
    assert "+0.2000 (+0.1000 to +0.3000) real" in to_markdown(board)
    assert "-0.2000 (-0.3000 to -0.1000) real" in to_markdown(board)


def test_html_is_escaped_and_needs_no_other_file(board):
    page = to_html(board)
    assert "<script" not in page
    assert "<b>tags" not in page
    assert not re.search(r"(?:src|href)\s*=|url\(|@import", page)


def test_html_shows_the_figures_of_the_reports(board):
    page = to_html(board)
    for entry in board.groups[0].entries:
        assert f"<td>{entry.report.micro.average_precision:.4f}" in page
    assert "23,540,000" in page


def test_a_folder_holds_every_form(board, tmp_path):
    pytest.importorskip("matplotlib")
    folder = write_leaderboard(board, tmp_path / "new" / "board")
    names = {f"leaderboard.{kind}" for kind in ("md", "csv", "html", "png")}
    assert {file.name for file in folder.iterdir()} == names
    with Image.open(folder / "leaderboard.png") as picture:
        assert picture.width > 800


def test_without_a_picture_there_is_none(board, tmp_path):
    assert not (write_leaderboard(board, tmp_path, picture=False) / "leaderboard.png").exists()


def test_two_models_of_the_same_scores_differ_by_no_minus_zero(board):
    rows = board.groups[0].entries
    same = Comparison("tile", 9, 10, 0.95, 0, macro={"f1": MetricDifference(0.0, 0.0, 0.0, 1.0)})
    text = to_markdown(replace(board, groups=(ComparableReports(rows, {(EVIL, "r18"): same}),)))
    assert text.count("+0.0000 (+0.0000 to +0.0000) not real") == 2


def several(p_values):
    """A group of four models, of which each pair has one of the p-values."""
    rows = [LeaderboardRow(name, report(name)) for name in "abcd"]
    pairs = [("a", "b"), ("a", "c"), ("a", "d"), ("b", "c"), ("b", "d"), ("c", "d")]
    found = {
        pair: Comparison(
            "tile", 9, 1000, 0.95, 0, macro={"f1": MetricDifference(0.2, 0.1, 0.3, p_value)}
        )
        for pair, p_value in zip(pairs, p_values, strict=True)
    }
    return ComparableReports(tuple(rows), found)


def test_a_difference_is_real_only_after_correction_for_all_pairs():
    group = several([0.03, 0.04, 0.5, 0.6, 0.7, 0.8])  # each interval excludes 0
    assert not group.is_real("a", "b", "macro", "f1")
    group = several([0.002, 0.009, 0.02, 0.6, 0.7, 0.8])  # 0.002 * 6, 0.009 * 5, 0.02 * 4
    verdicts = [group.is_real("a", other, "macro", "f1") for other in "bcd"]
    assert verdicts == [True, True, False]
    assert group.is_real("b", "a", "macro", "f1")
    assert not group.is_real("a", "e", "macro", "f1")
    text = to_markdown(Leaderboard((group,), "macro", "f1"))
    assert text.count(") real") == 4
    assert "after Holm's correction" in text
