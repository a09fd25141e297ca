from dataclasses import replace

import numpy as np
import pytest

from learn.predicted import predicted
from reben.learn.metrics.breakdown import break_down, count_co_occurrence
from reben.learn.metrics.classification import compute_metrics
from reben.spec.labels import LABELS


@pytest.fixture(scope="module")
def whole():
    return predicted()


def test_each_patch_is_in_one_group_of_each_kind(whole):
    found = break_down(whole)

    for groups in (found.country, found.month, found.num_labels):
        assert sum(group.num_patches for group in groups.values()) == len(whole)
    assert list(found.country) == ["Austria", "Finland", "Portugal"]
    assert list(found.month) == ["5", "6", "7", "8"]


def test_the_figures_of_a_group_are_those_of_its_patches(whole):
    rows = np.array(whole.countries) == "Finland"
    part = compute_metrics(whole.scores[rows], whole.labels[rows], LABELS)
    group = break_down(whole).country["Finland"]
    present = [figures for figures in part.per_class.values() if figures.support]

    assert group.comparable_macro_average_precision == pytest.approx(part.macro.average_precision)
    assert group.comparable_macro_f1 == pytest.approx(part.macro.f1)
    assert group.micro_average_precision == pytest.approx(part.micro.average_precision)
    assert group.micro_f1 == pytest.approx(part.micro.f1)
    assert group.absent == part.absent != ()
    mean = sum(figures.average_precision for figures in present) / len(present)
    assert group.macro_average_precision == pytest.approx(mean)


def test_a_group_without_any_label_has_no_average_precision(whole):
    labels = whole.labels.copy()
    labels[:3] = 0
    group = break_down(replace(whole, labels=labels)).num_labels["0"]

    assert group.num_patches >= 3
    assert group.macro_average_precision is group.micro_f1 is None
    assert group.absent == LABELS


def test_what_is_not_known_is_not_broken_down(whole):
    found = break_down(replace(whole, countries=None, months=None))

    assert found.country is found.month is None
    assert found.num_labels


def test_co_occurrence_counts_patches_with_both_labels(whole):
    found = count_co_occurrence(whole)
    above = whole.scores > 0.5

    assert found.truth[3][7] == int((whole.labels[:, 3] & whole.labels[:, 7]).sum())
    assert found.prediction[7][3] == int((above[:, 3] & above[:, 7]).sum())
    assert found.truth[4][4] == int(whole.labels[:, 4].sum())
    assert found.truth[1] == (0,) * 19
