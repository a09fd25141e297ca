import dataclasses
import json
from datetime import datetime, timedelta

import numpy as np
import pytest

import reben
from learn.predicted import predicted
from reben.errors import ConfigError, OutputError, RunError
from reben.learn.calibrate import calibrate_predictions
from reben.learn.evaluate import measure
from reben.learn.metrics.classification import compute_metrics
from reben.learn.report import Report

LABELS = ("Arable land", "Marine waters", "Wörter, mit Komma")


@pytest.fixture
def report():
    scores = np.float32([[0.9, 0.1, 0.6], [0.3, 0.2, 0.7], [0.61, 0.3, 0.8]])
    labels = np.array([[1, 0, 1], [0, 0, 1], [0, 0, 1]])
    return Report(
        name="r50-s2",
        backbone="resnet50",
        bands=("B08", "B04"),
        labels=LABELS,
        split="test",
        num_patches=3,
        fingerprint="ab12",
        metrics=compute_metrics(scores, labels, LABELS),
        filters={"countries": "Austria"},
    )


def test_a_report_survives_json(report):
    assert Report.from_json(report.to_json()) == report


def test_a_report_survives_its_file(report, tmp_path):
    path = report.save(tmp_path / "new" / "report.json")

    assert Report.load(path) == report


def test_figures_are_at_hand(report):
    assert report.macro is report.metrics.macro
    assert report.micro.recall == report.metrics.micro.recall
    assert report.per_class["Arable land"].precision == 0.5
    assert report.absent == ("Marine waters",)
    assert report.in_every_patch == ("Wörter, mit Komma",)


def test_json_says_which_labels_are_absent(report):
    values = json.loads(report.to_json())

    assert values["metrics"]["absent"] == ["Marine waters"]
    assert values["metrics"]["per_class"]["Wörter, mit Komma"]["support"] == 3


def test_a_report_says_who_made_it_and_when_in_utc(report):
    created = datetime.fromisoformat(report.created)

    assert report.reben_version == reben.__version__
    assert created.utcoffset() == timedelta(0)


def test_nan_never_gets_into_a_file(report, tmp_path):
    macro = dataclasses.replace(report.macro, f1=float("nan"))
    broken = dataclasses.replace(report, metrics=dataclasses.replace(report.metrics, macro=macro))

    with pytest.raises(ValueError, match="JSON"):
        broken.save(tmp_path / "report.json")
    assert list(tmp_path.iterdir()) == []


def test_no_file_is_an_error(tmp_path):
    with pytest.raises(RunError, match=r"report-test\.json.*Evaluate"):
        Report.load(tmp_path / "report-test.json")


@pytest.mark.parametrize("text", ["{", "[]", "{}", '"text"', '{"metrics": {"macro": 3}}'])
def test_a_file_that_is_no_report_is_an_error_that_names_it(tmp_path, text):
    (tmp_path / "other.json").write_text(text)

    with pytest.raises(RunError, match=r"other\.json"):
        Report.load(tmp_path / "other.json")


@pytest.mark.parametrize("key", ["split", "fingerprint", "labels", "metrics"])
def test_a_missing_value_is_an_error_that_names_it(report, key):
    values = report.to_dict()
    del values[key]

    with pytest.raises(RunError, match=key):
        Report.from_dict(values)


def test_a_place_that_cannot_be_written_is_an_error(report, tmp_path):
    (tmp_path / "file").write_text("")

    with pytest.raises(OutputError, match="file"):
        report.save(tmp_path / "file" / "report.json")


@pytest.fixture(scope="module")
def full():
    tuned = calibrate_predictions(predicted(split="validation", fingerprint="cd34"))
    return measure(predicted(calibration=tuned), rounds=20)


def test_a_report_with_all_sections_survives_json(full):
    assert full.calibrated is not None
    assert Report.from_json(full.to_json()) == full


def test_a_report_of_an_earlier_version_can_be_read(full):
    values = full.to_dict()
    later = ("intervals", "breakdowns", "co_occurrence", "curves", "reliability", "calibrated")
    for name in (*later, "why_not_calibrated"):
        del values[name]
    del values["metrics"]["per_sample"]
    report = Report.from_dict(values)

    assert report.macro == full.macro
    assert report.per_sample is report.breakdowns is report.calibrated is None


def test_a_report_can_be_loaded_by_its_folder(report, tmp_path):
    report.save(tmp_path / "report.json")

    assert Report.load(tmp_path) == report


def test_a_value_of_another_type_is_an_error_that_says_where(full):
    values = full.to_dict()
    values["intervals"]["tile"]["macro"]["f1"]["low"] = "0.3"

    with pytest.raises(RunError, match=r"intervals\.tile\.macro\.f1\.low"):
        Report.from_dict(values)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("num_patches", "1e999"),
        ("num_patches", "-3"),
        ("num_patches", "1" + "0" * 400),
        ("threshold", "NaN"),
        ("threshold", "true"),
        ("threshold", "[" * 100_000),
        ("bands", '{"B02": 1}'),
        ("labels", "[1, 2, 3]"),
        ("breakdown", "null"),
    ],
)
def test_a_damaged_report_is_an_error_with_file_field_and_cure(full, tmp_path, field, value):
    text = json.dumps({**full.to_dict(), field: "HERE"})
    (tmp_path / "report.json").write_text(text.replace('"HERE"', value))

    with pytest.raises(RunError, match=rf"report\.json .*({field}|JSON).* Evaluate the model"):
        Report.load(tmp_path)


def test_an_unknown_field_deep_inside_is_an_error_that_names_it(full):
    values = full.to_dict()
    values["metrics"]["macro"]["f2"] = 0.5

    with pytest.raises(RunError, match=r"metrics\.macro\.f2"):
        Report.from_dict(values)


def test_a_report_that_is_not_utf_8_is_an_error_that_names_it(report, tmp_path):
    report.save(tmp_path / "report.json").write_bytes(report.to_json().encode("latin-1"))

    with pytest.raises(RunError, match=r"report\.json"):
        Report.load(tmp_path)


def test_every_label_that_is_absent_is_named_in_every_section(full):
    (name,) = full.absent

    assert name not in full.curves
    assert full.intervals["tile"].average_precision[name] is None
    assert all(name in group.absent for group in full.breakdowns.country.values())
    assert full.calibrated.calibration.kept == (name,)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda r: r["breakdowns"].update(month={"13": r["breakdowns"]["month"]["5"]}), "13"),
        (lambda r: r["breakdowns"].update(num_labels={"a": r["breakdowns"]["month"]["5"]}), "'a'"),
        (lambda r: r.update(labels=["one"]), "figures of other labels"),
        (lambda r: r.update(labels=[]), "its labels are none"),
        (lambda r: r["metrics"]["absent"].append("one"), "other absent labels"),
        (lambda r: r["curves"].update(one=r["curves"]["Pastures"]), "curves of other labels"),
        (lambda r: r["curves"]["Pastures"].update(recall=[]), "curves of no length"),
        (lambda r: r["co_occurrence"]["truth"].pop(), "counts of pairs"),
    ],
)
def test_a_report_whose_parts_do_not_fit_is_refused(change, said):
    values = json.loads(measure(predicted(40), rounds=2).to_json())
    change(values)
    with pytest.raises(RunError, match=said):
        Report.from_dict(values)


def test_months_of_predictions_are_months():
    with pytest.raises(ConfigError, match="month 13; months are 1 to 12"):
        dataclasses.replace(predicted(3), months=(5, 13, 6))


def test_intervals_of_few_patches_are_named_and_warned_of():
    few, many = measure(predicted(40), rounds=2), measure(predicted(1000), rounds=2)
    assert (
        "fewer than 1,000 patches the intervals of average precision lie too high"
        in (few.cautions[-1])
    )
    assert not any("fewer than" in sentence for sentence in many.cautions)
    assert "without correction for bias" in few.best_intervals.method
    assert measure(predicted(40), rounds=0).cautions == ()
