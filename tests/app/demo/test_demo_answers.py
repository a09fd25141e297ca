"""What the page says of a patch: scores, groups switched off, the table of bands."""

import csv
import io
import json

import numpy as np
import pytest
import torch

import made_up
from reben.app.demo.answers import GROUPS, compare_bands, groups_of, score_patch
from reben.app.demo.markup import draw
from reben.app.demo.patches import ShownPatch
from reben.app.demo.results import result_as_csv, result_as_json, write_results
from reben.data.preprocess import check_bands
from reben.errors import BandsMismatchError
from reben.model.classifier import Classifier
from reben.spec.bands import ALL_FULL, BandSet

BANDS = BandSet(("B8A", "VV", "B04", "B02", "B11"))


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(3)
    return Classifier("test_resnet", BANDS).eval()


@pytest.fixture(scope="module")
def patch():
    return ShownPatch("A patch", made_up.patch(4), ("Pastures", "Arable land"), None, (), ())


# Scores ------------------------------------------------------------------------------------------


def test_with_every_band_the_scores_are_those_of_predict(model, patch):
    result = score_patch(model, patch.bands)
    expected = model.predict(patch.bands).values
    np.testing.assert_array_equal(np.float32(result.full), expected)
    assert result.scores == result.full
    assert [row.label for row in result.rows[:3]] == [
        label for label, _ in model.predict(patch.bands).top(3)
    ]


@pytest.mark.parametrize(
    ("off", "channels"),
    [
        (["Sentinel-1"], [1]),
        (["Visible"], [2, 3]),
        (["Near infrared", "Short-wave infrared"], [0, 4]),
    ],
)
def test_a_group_that_is_off_is_zero_after_normalisation(model, patch, off, channels):
    x_BCHW = model.preprocess(check_bands(patch.bands, BANDS)).clone()
    x_BCHW[:, channels] = 0
    with torch.inference_mode():
        expected = model(x_BCHW).sigmoid()[0].numpy()
    result = score_patch(model, patch.bands, off)
    np.testing.assert_allclose(result.scores, expected, atol=1e-5)
    assert np.abs(np.subtract(result.scores, result.full)).max() > 1e-4


def test_moves_name_the_label_that_each_group_alone_moves_most(model, patch):
    result = score_patch(model, patch.bands, ["Visible"])
    for group, (label, change) in result.moves.items():
        alone = score_patch(model, patch.bands, [group])
        moved = np.subtract(alone.scores, alone.full)
        k = int(np.abs(moved).argmax())
        assert (label, change) == (model.labels[k], pytest.approx(moved[k], abs=1e-6))


def test_only_groups_that_the_model_takes_can_be_switched(model):
    assert groups_of(model.bands) == {
        "Sentinel-1": ("VV",),
        "Visible": ("B04", "B02"),
        "Near infrared": ("B8A",),
        "Short-wave infrared": ("B11",),
    }


def test_every_band_is_in_one_group():
    members = [band for group in GROUPS.values() for band in group]
    assert sorted(members) == sorted(ALL_FULL)


def test_a_band_that_is_missing_is_an_error_that_names_it(model, patch):
    bands = {name: pixels for name, pixels in patch.bands.items() if name != "B8A"}
    with pytest.raises(BandsMismatchError, match="needs B8A"):
        score_patch(model, bands)


def test_values_that_look_odd_are_told_and_no_python_warning_is_left(model, patch):
    high = {name: pixels + 1000 for name, pixels in patch.bands.items() if name != "VV"}
    result = score_patch(model, {**high, "VV": patch.bands["VV"]})
    assert len(result.warnings) == 1
    assert "BOA offset" in result.warnings[0]


# The table of bands ------------------------------------------------------------------------------


def test_the_table_lists_channels_in_order_and_then_bands_that_are_not_used(patch):
    rows = compare_bands(BANDS, {name: patch.bands[name] for name in ("B02", "B12", *BANDS)})
    assert [row.name for row in rows] == [*BANDS, "B12"]
    assert [row.position for row in rows] == [0, 1, 2, 3, 4, None]
    assert [row.status for row in rows] == ["OK"] * 5 + ["not used"]
    b8a = patch.bands["B8A"]
    assert rows[0].values == (b8a.min(), np.median(b8a), b8a.max())
    assert (rows[0].expected, rows[0].got, rows[0].dtype) == (60, "60 x 60", "uint16")


def test_the_table_says_what_is_wrong_with_which_band(patch):
    bands = {
        "B8A": patch.bands["B8A"].repeat(2, 0).repeat(2, 1),
        "VV": 10 ** (patch.bands["VV"] / 10),
        "B04": patch.bands["B04"].astype(np.uint8),
        "B02": np.where(np.arange(120) < 12, np.nan, patch.bands["B02"]).astype(np.float32),
    }
    status = {row.name: row.status for row in compare_bands(BANDS, bands)}
    assert "must be (60, 60)" in status["B8A"]
    assert "linear power" in status["VV"]
    assert "uint8" in status["B04"]
    assert "1,440 pixels without data" in status["B02"]
    assert status["B11"] == "missing"


# HTML --------------------------------------------------------------------------------------------


def test_names_from_outside_are_escaped(model, patch):
    evil = "<script>alert(1)</script>"
    shown = draw("facts", [("Patch", evil)], "") + draw("alert", evil)
    assert "<script>" not in shown
    assert "&lt;script&gt;" in shown


def test_bars_say_found_missed_and_not_there(model, patch):
    result = score_patch(model, patch.bands)
    above = result.above
    below = [row.label for row in result.rows if not row.is_above]
    assert above
    assert below
    shown = draw("scores", result, (above[0], below[0]))
    assert shown.count("✓ found") == 1
    assert shown.count(">missed<") == 1
    assert shown.count(">not there<") == len(above) - 1
    assert "The data set names 2: 1 found, 1 missed" in shown
    assert "found" not in draw("scores", result, None)


def test_changes_are_shown_only_while_something_is_off(model, patch):
    assert "delta" not in draw("scores", score_patch(model, patch.bands), None)
    result = score_patch(model, patch.bands, ["Visible"])
    shown = draw("scores", result, None)
    first = result.rows[0]
    assert f"{abs(first.score - first.full):.3f}" in shown
    assert shown.count('class="ghost"') == len(result.labels)


# Results to take away ----------------------------------------------------------------------------


def test_json_and_csv_hold_the_scores_that_are_shown(model, patch):
    result = score_patch(model, patch.bands, ["Visible"])
    content = json.loads(result_as_json(patch, result, {"name": "m"}))
    rows = list(csv.DictReader(io.StringIO(result_as_csv(patch, result))))
    assert [row["label"] for row in rows] == [row["label"] for row in content["scores"]]
    for in_json, in_csv, shown in zip(content["scores"], rows, result.rows, strict=True):
        assert in_json["score"] == pytest.approx(shown.score, abs=1e-6)
        assert float(in_csv["score_with_every_band"]) == pytest.approx(shown.full, abs=1e-6)
    assert content["switched_off"] == ["Visible"]
    assert [row["label"] for row in content["scores"] if row["true"]] == [
        row.label for row in result.rows if row.label in patch.true_labels
    ]


def test_results_are_written_under_harmless_names_and_old_ones_go(model, patch, tmp_path):
    result = score_patch(model, patch.bands)
    evil = ShownPatch("../../etc/pass wd", patch.bands, None, None, ())
    paths = write_results(tmp_path, evil, result, {"name": "m"})
    assert [path.rpartition("/")[2] for path in paths] == [
        "reben-etc_pass_wd.json",
        "reben-etc_pass_wd.csv",
        "reben-etc_pass_wd.png",
    ]
    assert all(tmp_path in path.parents for path in tmp_path.rglob("reben-*"))
    for number in range(70):
        (tmp_path / f"result-{number}").mkdir()
    write_results(tmp_path, evil, result, {"name": "m"})
    assert len(list(tmp_path.glob("result-*"))) == 61
