import json

import numpy as np
import pytest

from reben.app import cli
from reben.learn.evaluate import measure
from reben.learn.predictions import Predictions, Subject
from reben.publish.report_page import write_report


@pytest.fixture
def reports(tmp_path):
    labels = np.array([[1, 0], [0, 1], [1, 1], [0, 0], [1, 0], [0, 1]], np.uint8)
    for number, name in enumerate(("worse", "better")):
        scores = np.float32(0.8 * labels + 0.1)
        if name == "worse":
            scores[:4] = scores[:4][::-1]
        found = Predictions(
            Subject(name, "resnet18", ("VV", "VH"), "test", "ab12" + "0" * number),
            ("Pastures", "Arable land"),
            tuple(f"patch {row}" for row in range(6)),
            scores,
            labels,
        )
        write_report(measure(found, rounds=0), tmp_path / name, figures=False)
    return [str(tmp_path / name) for name in ("worse", "better")]


def test_reports_of_other_patches_are_shown_apart_and_it_is_said(reports, capsys):
    assert cli.run(["compare", *reports]) == 0
    said = capsys.readouterr()
    assert said.out.count("6 patches of the test split") == 2
    assert "cannot be ranked together" in said.err


def test_together_ranks_them_in_one_list(reports, capsys):
    assert cli.run(["compare", *reports, "--together", "--json"]) == 0
    groups = json.loads(capsys.readouterr().out)["groups"]
    assert [[model["name"] for model in group["models"]] for group in groups] == [
        ["better", "worse"]
    ]


def test_out_writes_the_leaderboard(reports, tmp_path, capsys):
    out = tmp_path / "board"
    assert cli.run(["compare", *reports, "--out", str(out), "--no-figures"]) == 0
    assert str(out) in capsys.readouterr().err
    assert "better" in (out / "leaderboard.md").read_text(encoding="utf-8")


def test_what_is_no_report_is_one_line(tmp_path, capsys):
    assert cli.run(["compare", str(tmp_path)]) == 2
    assert capsys.readouterr().err.startswith("RunError: ")
