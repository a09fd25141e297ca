import numpy as np
import pytest

from reben.errors import ConfigError, ModelError
from reben.model.scores import Scores

LABELS = ("Forest", "Meadow", "Water")


def scores(*rows):
    values = np.array(rows if len(rows) > 1 else rows[0], np.float32)
    return Scores(values, np.log(values / (1 - values)), LABELS, (0.5, 0.2, 0.9))


def test_top_goes_from_the_highest_score():
    assert scores([0.1, 0.9, 0.4]).top(2) == [("Meadow", 0.9), ("Water", 0.4)]


def test_top_of_more_than_there_are_is_all():
    assert len(scores([0.1, 0.9, 0.4]).top(99)) == 3


def test_above_uses_each_labels_own_threshold_unless_one_is_given():
    one = scores([0.3, 0.3, 0.8])
    assert one.above() == ["Meadow"]
    assert one.above(0.29) == ["Water", "Forest", "Meadow"]


def test_a_score_equal_to_the_threshold_is_not_above_it():
    assert scores([0.5, 0.1, 0.1]).above() == []


def test_a_batch_gives_a_list_for_each_patch():
    batch = scores([0.9, 0.1, 0.1], [0.1, 0.1, 0.95])
    assert batch.top(1) == [[("Forest", 0.9)], [("Water", 0.95)]]
    assert batch.above() == [["Forest"], ["Water"]]
    assert len(batch) == 2
    assert batch[1].top(1) == [("Water", 0.95)]


def test_a_label_gives_its_score():
    assert scores([0.1, 0.9, 0.4])["Meadow"] == pytest.approx(0.9)
    np.testing.assert_allclose(scores([0.1, 0.9, 0.4], [0.2, 0.8, 0.3])["Water"], [0.4, 0.3])
    with pytest.raises(KeyError, match="Meadow; Water"):
        scores([0.1, 0.9, 0.4])["Sand"]


@pytest.mark.parametrize(
    ("values", "logits"), [(np.zeros(3), np.zeros((1, 3))), (np.zeros(2), np.zeros(2))]
)
def test_what_does_not_belong_together_is_refused(values, logits):
    with pytest.raises(ConfigError, match="do not match"):
        Scores(values.astype(np.float32), logits.astype(np.float32), LABELS, (0.5, 0.5, 0.5))


@pytest.mark.parametrize("k", [-1, True, 2.5, "3", None])
def test_a_number_of_labels_that_cannot_be_is_refused(k):
    with pytest.raises(ConfigError, match="k must be"):
        scores([0.1, 0.9, 0.4], [0.2, 0.8, 0.3]).top(k)


@pytest.mark.parametrize("threshold", [float("nan"), float("inf"), -0.1, 1.1, True, "x"])
def test_a_threshold_that_cannot_be_is_refused(threshold):
    with pytest.raises(ConfigError, match="threshold must be a number from 0 to 1"):
        scores([0.1, 0.9, 0.4]).above(threshold)


@pytest.mark.parametrize("logit", [np.nan, np.inf, -np.inf])
def test_outputs_that_are_no_numbers_are_no_scores(logit):
    logits = np.float32([[0, 1, 2], [0, logit, 2]])
    with pytest.raises(ModelError, match="NaN or infinite values for 1 of 2 patches"):
        Scores(np.zeros((2, 3), np.float32), logits, LABELS, (0.5, 0.5, 0.5))
