import json
import logging
from dataclasses import replace

import numpy as np
import pytest
import sklearn.metrics
import torch
from hypothesis import given
from hypothesis import strategies as st

from learn.predicted import predicted, subject
from reben.errors import ConfigError
from reben.learn.calibrate import (
    apply_calibration,
    at_temperature,
    best_threshold,
    calibrate_predictions,
    fit_temperature,
    logits_of,
    why_not_calibrated,
)
from reben.learn.evaluate import calibrate, evaluate
from reben.learn.metrics.curves import log_loss
from reben.model.classifier import Classifier
from reben.spec.labels import LABELS


@pytest.fixture(scope="module")
def validation():
    return predicted(split="validation", fingerprint="cd34")


@given(
    st.lists(st.tuples(st.integers(0, 9), st.integers(0, 1)), min_size=1, max_size=25),
)
def test_no_other_threshold_has_a_higher_f1(pairs):
    scores = np.array([score for score, _ in pairs]) / 9
    labels = np.array([1, *(label for _, label in pairs[1:])])
    found = sklearn.metrics.f1_score(labels, scores > best_threshold(scores, labels))

    for limit in [0, *scores]:
        assert found >= sklearn.metrics.f1_score(labels, scores > limit) - 1e-12


def test_of_equally_good_thresholds_the_one_nearest_to_a_half_wins():
    scores, labels = np.array([0.9, 0.7, 0.52, 0.2]), np.array([1, 0, 1, 0])

    assert best_threshold(scores, labels) == pytest.approx(0.36)
    assert best_threshold(np.array([0.95, 0.9, 0.9, 0.8]), np.array([1, 0, 0, 1])) == 0.4


def test_the_temperature_of_overconfident_scores_is_found():
    generator = np.random.default_rng(0)
    logits = generator.normal(0, 2, (20_000, 2))
    labels = (generator.random(logits.shape) < 1 / (1 + np.exp(-logits))).astype(np.uint8)
    scores = (1 / (1 + np.exp(-3 * logits))).astype(np.float32)

    assert fit_temperature(scores, labels) == pytest.approx(3, rel=0.03)


def test_no_temperature_beside_it_has_a_smaller_log_loss(validation):
    scores, labels = validation.scores, validation.labels
    best = fit_temperature(scores, labels)
    losses = [log_loss(at_temperature(scores, best * k), labels) for k in (0.98, 1, 1.02)]

    assert min(losses) == losses[1]


def test_temperature_one_changes_no_bit(validation):
    assert (at_temperature(validation.scores, 1.0) == validation.scores).all()


def test_logits_come_back_from_scores():
    logits = np.array([-15.0, -2.5, 0.0, 3.0, 9.0])

    assert logits_of(np.float32(1 / (1 + np.exp(-logits)))) == pytest.approx(logits, rel=1e-3)
    assert logits_of(np.float32([0, 1])).tolist() == [-17, 17]


def test_a_label_without_patches_keeps_its_threshold_and_is_named(validation):
    found = calibrate_predictions(validation)

    assert found.kept == (LABELS[1],)
    assert found.thresholds[1] == 0.5
    assert (found.split, found.fingerprint, found.num_patches) == ("validation", "cd34", 300)


def test_nothing_is_tuned_on_test(validation):
    with pytest.raises(ConfigError, match="Nothing may be tuned on the split train, test"):
        calibrate_predictions(replace(validation, subject=subject(split="train, test")))


def test_a_temperature_at_the_end_of_its_range_is_told(validation, caplog):
    with caplog.at_level(logging.WARNING, "reben"):
        calibrate_predictions(replace(validation, scores=1 - validation.scores))

    assert "end of its range" in caplog.text


def test_tuned_figures_are_refused_on_the_patches_they_were_tuned_on(validation):
    tuned = calibrate_predictions(validation)

    assert why_not_calibrated(subject(calibration=tuned)) is None
    assert "too good" in why_not_calibrated(subject(calibration=tuned, split="validation"))
    assert "too good" in why_not_calibrated(subject(calibration=tuned, fingerprint="cd34"))
    assert "not calibrated" in why_not_calibrated(subject())


@pytest.fixture
def model():
    torch.manual_seed(3)
    return Classifier("test_resnet", "B08,VV,B11").eval()


def test_a_model_keeps_its_calibration_in_its_folder(model, dataset, tmp_path):
    found = calibrate(model, dataset["validation"])
    apply_calibration(model, found)
    loaded = Classifier.from_pretrained(model.save_pretrained(tmp_path / "tuned"))

    assert loaded.config.tuned_on == found
    assert found.num_patches == 5


def test_an_older_config_has_temperature_one(model, tmp_path):
    folder = model.save_pretrained(tmp_path / "old")
    values = json.loads((folder / "config.json").read_text())
    del values["temperature"], values["tuned_on"]
    (folder / "config.json").write_text(json.dumps(values))
    config = Classifier.from_pretrained(folder).config

    assert (config.temperature, config.tuned_on) == (1.0, None)


def test_scores_are_at_the_temperature_and_logits_are_not(model, dataset):
    bands = dataset["test"].patch(0)
    before = model.predict(bands)
    model.config = replace(model.config, temperature=2.5)
    after = model.predict(bands)

    assert (after.logits == before.logits).all()
    assert after.values == pytest.approx(1 / (1 + np.exp(-before.logits / 2.5)), abs=1e-6)


def test_a_report_has_comparable_and_tuned_figures(model, dataset):
    before = evaluate(model, dataset["test"], rounds=0)
    apply_calibration(model, calibrate(model, dataset["validation"]))
    after = evaluate(model, dataset["test"], rounds=0)

    assert before.calibrated is None
    assert after.metrics == before.metrics
    assert after.calibrated.calibration.split == "validation"
    assert after.calibrated.metrics.macro.f1 != after.macro.f1


def test_the_tuned_figures_are_those_of_what_predict_calls_above(model, dataset):
    apply_calibration(model, calibrate(model, dataset["validation"]))
    split = dataset["test"]
    found = evaluate(model, split, rounds=0).calibrated.metrics.micro.recall

    hits = sum(
        len(set(model.predict(split.patch(row)).above()) & set(split.table.label_names[row]))
        for row in range(len(split))
    )
    assert found == pytest.approx(hits / sum(map(len, split.table.label_names)))


def test_a_report_on_the_tuning_patches_says_why_it_has_no_tuned_figures(model, dataset):
    apply_calibration(model, calibrate(model, dataset["validation"]))
    report = evaluate(model, dataset["validation"], rounds=0)

    assert report.calibrated is None
    assert "too good" in report.why_not_calibrated
