import numpy as np
import pytest
import sklearn.metrics
from hypothesis import given
from hypothesis import strategies as st

from learn.predicted import predicted
from reben.learn.metrics.breakdown import break_down
from reben.learn.metrics.classification import (
    Counts,
    average_precision,
    compute_metrics,
    trace_curve,
)
from reben.learn.metrics.resampling import Resampler


@st.composite
def weighted(draw):
    """Scores with many ties, labels with a positive of some weight, whole weights with zeros."""
    size = draw(st.integers(1, 30))
    scores = draw(st.lists(st.integers(0, 6), min_size=size, max_size=size))
    labels = draw(st.lists(st.integers(0, 1), min_size=size, max_size=size))
    weights = draw(st.lists(st.integers(0, 3), min_size=size, max_size=size))
    labels[0], weights[0] = 1, 2
    return np.array(scores) / 6, np.array(labels), np.array(weights)


def resampled(scores, labels, weights):
    """Return the average precision of a resample in which patches count as often as they weigh."""
    columns = scores.astype(np.float32)[:, None], labels[:, None]
    found = Resampler(*columns).figures(weights.astype(np.uint8)[None])
    return found.per_class["average_precision"][0, 0]


@given(weighted())
def test_the_average_precision_of_a_resample_is_the_weighted_one_of_scikit_learn(values):
    scores, labels, weights = values
    expected = sklearn.metrics.average_precision_score(labels, scores, sample_weight=weights)

    assert resampled(scores, labels, weights) == pytest.approx(expected, abs=1e-12)


@given(weighted())
def test_a_weight_is_the_number_of_times_a_patch_is_there(values):
    scores, labels, weights = values
    expected = average_precision(np.repeat(scores, weights), np.repeat(labels, weights))

    assert resampled(scores, labels, weights) == pytest.approx(expected, abs=1e-12)


@given(weighted())
def test_average_precision_is_that_of_scikit_learn(values):
    scores, labels, _ = values
    expected = sklearn.metrics.average_precision_score(labels, scores)

    assert average_precision(scores, labels) == pytest.approx(expected, abs=1e-12)


@given(weighted())
def test_the_f1_of_a_curve_is_that_of_scikit_learn_at_each_score(values):
    scores, labels, _ = values
    curve = trace_curve(scores, labels)

    expected = [sklearn.metrics.f1_score(labels, scores >= limit) for limit in curve.scores]

    assert curve.f1 == pytest.approx(expected, abs=1e-12)


def test_without_positives_it_is_zero():
    assert average_precision(np.array([0.3, 0.2]), np.zeros(2)) == 0


def test_without_patches_it_is_zero():
    assert average_precision(np.array([]), np.array([])) == 0


def test_reports_resamples_breakdowns_and_curves_share_one_definition(monkeypatch):
    whole = predicted(40)
    once = np.ones((1, 40), np.uint8)
    monkeypatch.setattr(Counts, "f1", property(lambda counts: 0.25 + 0.0 * counts.recall))

    assert compute_metrics(whole.scores, whole.labels, whole.label_names).macro.f1 == 0.25
    assert Resampler(whole.scores, whole.labels).figures(once).macro["f1"][0] == 0.25
    assert break_down(whole).country["Austria"].comparable_macro_f1 == 0.25
    assert set(trace_curve(whole.scores[:, 0], whole.labels[:, 0]).f1) == {0.25}
