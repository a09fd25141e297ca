import numpy as np
import pytest
import sklearn.metrics

from learn.predicted import predicted
from reben.learn.metrics.curves import (
    MAX_POINTS,
    NUM_BINS,
    measure_reliability,
    trace_precision_recall,
)
from reben.spec.labels import LABELS


@pytest.fixture(scope="module")
def whole():
    return predicted(900, digits=6)


def test_curves_are_thin_and_lie_on_those_of_scikit_learn(whole):
    curves = trace_precision_recall(whole)
    k = LABELS.index("Urban fabric")
    precision, recall, _ = sklearn.metrics.precision_recall_curve(
        whole.labels[:, k], whole.scores[:, k]
    )
    on_curve = {(round(r, 5), round(p, 5)) for r, p in zip(recall, precision, strict=True)}
    curve = curves["Urban fabric"]

    assert 100 < len(curve.recall) == len(curve.precision) <= MAX_POINTS
    assert set(zip(curve.recall, curve.precision, strict=True)) <= on_curve
    assert list(curve.recall) == sorted(curve.recall)
    assert curve.recall[-1] == 1


def test_an_absent_label_has_no_curve(whole):
    assert set(LABELS) - set(trace_precision_recall(whole)) == {LABELS[1]}


def test_scores_that_are_the_share_of_right_ones_have_no_expected_error():
    scores = np.repeat([0.25, 0.75], 4)[:, None]
    labels = np.array([1, 0, 0, 0, 1, 1, 1, 0])[:, None]

    assert measure_reliability(scores, labels, ("A",)).expected_error == 0


def test_the_expected_error_is_the_mean_distance_weighted_by_count():
    scores = np.array([0.9, 0.9, 0.9, 0.1])[:, None]
    labels = np.array([1, 0, 0, 0])[:, None]
    found = measure_reliability(scores, labels, ("A",))

    assert found.expected_error == pytest.approx(0.75 * (0.9 - 1 / 3) + 0.25 * 0.1)
    assert found.expected_error_per_class == {"A": pytest.approx(found.expected_error)}
    assert found.log_loss == pytest.approx(sklearn.metrics.log_loss(labels[:, 0], scores[:, 0]))


def test_bins_without_decisions_are_empty():
    found = measure_reliability(np.array([[1.0], [0.0]]), np.array([[1], [0]]), ("A",))

    assert found.count == (1, *(0,) * (NUM_BINS - 2), 1)
    assert found.share == (0.0, *(None,) * (NUM_BINS - 2), 1.0)
