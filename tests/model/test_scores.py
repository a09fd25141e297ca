import numpy as np
import pytest

from reben.errors import ConfigError
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
