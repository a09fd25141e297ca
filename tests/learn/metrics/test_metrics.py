import dataclasses
import json

import numpy as np
import pytest
import sklearn.metrics
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from reben.errors import ConfigError, EmptySplitError, LabelsError
from reben.learn.metrics.classification import Figures, compute_metrics

PUBLISHED = {
    "average_precision": "AveragePrecision",
    "f1": "F1Score",
    "precision": "Precision",
    "recall": "Recall",
    "accuracy": "Accuracy",
    "auroc": "AUROC",
}
NAMES = tuple(PUBLISHED)
NUM_LABELS = 5
LETTERS = "ABCDE"


@pytest.fixture(scope="module")
def reference(golden):
    return json.loads((golden / "metrics.json").read_text())


@pytest.fixture(scope="module")
def published(golden, reference):
    with np.load(golden / "metrics.npz") as values:
        scores = torch.sigmoid(torch.tensor(values["logits"]))
        return compute_metrics(scores, values["labels"], reference["class_names"])


@st.composite
def measured(draw):
    """Scores with many ties and labels, among them absent and ubiquitous ones."""
    shape = (draw(st.integers(1, 12)), NUM_LABELS)
    steps = draw(arrays.arrays(np.int64, shape, elements=st.integers(0, 8)))
    labels = draw(arrays.arrays(np.int64, shape, elements=st.integers(0, 1)))
    return (steps / 8).astype(np.float32), labels


@pytest.fixture(scope="module")
def random():
    generator = np.random.default_rng(5)
    labels = generator.random((200, NUM_LABELS)) < [0.05, 0.2, 0.4, 0.6, 0.9]
    scores = generator.random(labels.shape) * 0.7 + labels * 0.2
    return np.round(scores, 2), labels.astype(np.uint8)  # rounded: ties matter


# The published figures ---------------------------------------------------------------------------


@pytest.mark.parametrize("average", ["macro", "micro"])
@pytest.mark.parametrize("name", NAMES)
def test_averages_are_the_published_ones(published, reference, name, average):
    expected = reference["metrics"][f"test/Multilabel{PUBLISHED[name]}_{average}"]

    assert getattr(getattr(published, average), name) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_figures_of_each_label_are_the_published_ones(published, reference, name):
    expected = reference["metrics"][f"test/Multilabel{PUBLISHED[name]}_class"]

    found = [getattr(figures, name) for figures in published.per_class.values()]

    assert list(published.per_class) == reference["class_names"]
    assert found == pytest.approx(expected, abs=1e-6)


def test_the_label_that_no_patch_has_and_the_one_that_all_have_are_named(published, reference):
    names = reference["class_names"]

    assert published.absent == (names[reference["class_without_positives"]],)
    assert published.in_every_patch == (names[reference["class_all_positive"]],)


def test_support_counts_the_patches_with_the_label(published, golden):
    with np.load(golden / "metrics.npz") as values:
        expected = values["labels"].sum(0).tolist()

    assert [figures.support for figures in published.per_class.values()] == expected


# scikit-learn, an independent oracle -------------------------------------------------------------


@pytest.mark.parametrize("average", ["macro", "micro"])
def test_ranking_figures_are_those_of_scikit_learn(random, average):
    scores, labels = random
    found = getattr(compute_metrics(scores, labels, LETTERS), average)

    for name, oracle in (
        ("average_precision", sklearn.metrics.average_precision_score),
        ("auroc", sklearn.metrics.roc_auc_score),
    ):
        expected = oracle(labels, scores, average=average)
        assert getattr(found, name) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("average", ["macro", "micro"])
def test_threshold_figures_are_those_of_scikit_learn(random, average):
    scores, labels = random
    found = getattr(compute_metrics(scores, labels, LETTERS, threshold=0.4), average)

    for name in ("precision", "recall", "f1"):
        oracle = getattr(sklearn.metrics, f"{name}_score")
        expected = oracle(labels, scores > 0.4, average=average)
        assert getattr(found, name) == pytest.approx(expected, abs=1e-12)


def test_accuracy_is_that_of_scikit_learn_on_single_decisions(random):
    scores, labels = random
    expected = sklearn.metrics.accuracy_score(labels.ravel(), (scores > 0.5).ravel())

    assert compute_metrics(scores, labels, LETTERS).micro.accuracy == pytest.approx(expected)


def test_figures_of_each_label_are_those_of_scikit_learn(random):
    scores, labels = random
    found = compute_metrics(scores, labels, LETTERS).per_class.values()

    for name, oracle in (
        ("average_precision", sklearn.metrics.average_precision_score),
        ("auroc", sklearn.metrics.roc_auc_score),
    ):
        expected = oracle(labels, scores, average=None)
        assert [getattr(figures, name) for figures in found] == pytest.approx(expected, abs=1e-6)


# Properties --------------------------------------------------------------------------------------


@given(measured())
def test_macro_figures_are_the_means_of_the_labels_figures(case):
    metrics = compute_metrics(*case, LETTERS)

    for name in NAMES:
        values = [getattr(figures, name) for figures in metrics.per_class.values()]
        assert getattr(metrics.macro, name) == pytest.approx(np.mean(values))


@given(measured(), st.randoms(use_true_random=False))
def test_the_order_of_the_patches_changes_nothing(case, shuffler):
    scores, labels = case
    order = list(range(len(scores)))
    shuffler.shuffle(order)

    assert compute_metrics(scores[order], labels[order], LETTERS) == compute_metrics(
        scores, labels, LETTERS
    )


@given(measured())
def test_all_figures_are_numbers_from_zero_to_one(case):
    metrics = compute_metrics(*case, LETTERS)

    for figures in (metrics.macro, metrics.micro, *metrics.per_class.values()):
        values = [getattr(figures, field.name) for field in dataclasses.fields(Figures)]
        assert all(0 <= value <= 1.0000005 for value in values)


# Rules -------------------------------------------------------------------------------------------


def test_a_score_at_the_threshold_does_not_count_as_found():
    metrics = compute_metrics(np.float32([[0.5, 0.51]]), np.array([[1, 1]]), ("A", "B"))

    assert (metrics.per_class["A"].recall, metrics.per_class["B"].recall) == (0.0, 1.0)


def test_an_absent_label_counts_as_zero_in_the_macro_figures():
    scores, labels = np.array([[0.9, 0.1], [0.2, 0.1]]), np.array([[1, 0], [0, 0]])
    metrics = compute_metrics(scores, labels, ("A", "B"))

    assert metrics.absent == ("B",)
    assert metrics.macro.average_precision == 0.5
    assert repr(metrics.per_class["B"].average_precision) == "0.0"


def test_without_any_label_at_all_every_label_is_absent():
    metrics = compute_metrics(np.full((3, 2), 0.4), np.zeros((3, 2)), ("A", "B"))

    assert metrics.absent == ("A", "B")
    assert (metrics.micro.average_precision, metrics.micro.auroc) == (0.0, 0.0)
    assert metrics.micro.accuracy == 1.0


def test_one_label_is_enough():
    metrics = compute_metrics(np.array([[0.9], [0.2]]), np.array([[1], [0]]), ("A",))

    assert metrics.macro.average_precision == metrics.micro.average_precision == 1.0


def test_tensors_of_half_precision_are_measured_too():
    scores = torch.tensor([[0.75, 0.25], [0.5, 1.0]])
    labels = torch.eye(2)

    expected = compute_metrics(scores, labels, ("A", "B"))
    assert compute_metrics(scores.bfloat16(), labels.bool(), ("A", "B")) == expected


# Errors ------------------------------------------------------------------------------------------


def test_logits_are_refused():
    with pytest.raises(ConfigError, match=r"from -2 to 3\..*sigmoid"):
        compute_metrics(np.array([[-2.0, 3.0]]), np.array([[0, 1]]), ("A", "B"))


def test_nan_scores_are_counted():
    scores = np.array([[0.1, np.nan], [np.nan, np.nan], [0.2, 0.3]])
    with pytest.raises(ConfigError, match="3 of 6 scores are NaN, in 2 of 3 patches"):
        compute_metrics(scores, np.zeros((3, 2)), ("A", "B"))


def test_no_patch_is_an_error():
    with pytest.raises(EmptySplitError, match="0 patches, 2 labels"):
        compute_metrics(np.zeros((0, 2)), np.zeros((0, 2)), ("A", "B"))


@pytest.mark.parametrize(
    ("scores", "labels", "names"),
    [((4, 2), (4, 3), "AB"), ((4, 2), (3, 2), "AB"), ((4, 2), (4, 2), "ABC"), ((2,), (2,), "AB")],
)
def test_shapes_that_do_not_belong_together_are_an_error(scores, labels, names):
    with pytest.raises(LabelsError, match="do not belong together"):
        compute_metrics(np.zeros(scores), np.zeros(labels), names)


def test_labels_other_than_zero_and_one_are_an_error():
    with pytest.raises(LabelsError, match="zeros and ones"):
        compute_metrics(np.zeros((1, 2)), np.array([[1, 2]]), ("A", "B"))


@pytest.mark.parametrize("threshold", [-0.1, 1.1, float("nan")])
def test_a_threshold_outside_zero_to_one_is_an_error(threshold):
    with pytest.raises(ConfigError, match="threshold"):
        compute_metrics(np.zeros((1, 2)), np.zeros((1, 2)), ("A", "B"), threshold)


# Each patch by itself ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["f1", "precision", "recall", "accuracy"])
def test_figures_of_each_patch_are_the_published_ones(published, reference, name):
    expected = reference["metrics"][f"test/Multilabel{PUBLISHED[name]}_sample"]

    assert getattr(published.per_sample, name) == pytest.approx(expected, abs=1e-6)


def test_figures_of_each_patch_are_those_of_scikit_learn(random):
    scores, labels = random
    found = compute_metrics(scores, labels, LETTERS, threshold=0.4).per_sample
    above = scores > 0.4

    assert found.subset_accuracy == sklearn.metrics.accuracy_score(labels, above)
    assert found.hamming_distance == pytest.approx(sklearn.metrics.hamming_loss(labels, above))
    expected = sklearn.metrics.f1_score(labels, above, average="samples", zero_division=0)
    assert found.f1 == pytest.approx(expected)


def test_each_label_can_have_a_threshold_of_its_own(random):
    scores, labels = random
    limits = [0.1, 0.2, 0.35, 0.5, 0.9]
    found = compute_metrics(scores, labels, LETTERS, limits).per_class

    for k, letter in enumerate(LETTERS):
        expected = sklearn.metrics.f1_score(labels[:, k], scores[:, k] > limits[k])
        assert found[letter].f1 == pytest.approx(expected)


def test_another_number_of_thresholds_than_labels_is_an_error(random):
    with pytest.raises(ConfigError, match="2 thresholds for 5 labels"):
        compute_metrics(*random, LETTERS, [0.5, 0.5])
