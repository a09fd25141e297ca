import numpy as np
import pytest
import torch
from torch.nn import functional

from reben.learn.training.losses import make_loss, presence_weights

LOGITS = torch.tensor([[2.0, -1.0, 0.5], [-3.0, 0.1, 4.0]])
LABELS = torch.tensor([[1.0, 0.0, 1.0], [0.0, 1.0, 0.0]])
SCORES = LOGITS.sigmoid()


def test_the_default_is_torchs_binary_cross_entropy():
    assert make_loss("bce") is functional.binary_cross_entropy_with_logits


def test_class_weights_are_torchs_positive_weights():
    weights = torch.tensor([3.0, 0.5, 7.0])

    found = make_loss("bce", weights=weights)(LOGITS, LABELS)

    expected = functional.binary_cross_entropy_with_logits(LOGITS, LABELS, pos_weight=weights)
    assert found == pytest.approx(float(expected), rel=1e-6)


def test_label_smoothing_moves_targets_towards_one_half():
    found = make_loss("bce", label_smoothing=0.2)(LOGITS, LABELS)

    targets = torch.where(LABELS == 1, 0.9, 0.1)
    expected = functional.binary_cross_entropy_with_logits(LOGITS, targets)
    assert found == pytest.approx(float(expected), rel=1e-6)


def test_the_focal_loss_is_that_of_torchvision():
    from torchvision.ops import sigmoid_focal_loss

    expected = sigmoid_focal_loss(LOGITS, LABELS, alpha=-1, gamma=2, reduction="mean")
    assert make_loss("focal")(LOGITS, LABELS) == pytest.approx(float(expected), rel=1e-6)


def test_the_asymmetric_loss_is_the_formula_of_its_paper():
    lowered = np.maximum(SCORES.double().numpy() - 0.05, 0)
    labels, scores = LABELS.numpy(), SCORES.double().numpy()
    terms = labels * np.log(scores) + (1 - labels) * lowered**4 * np.log(1 - lowered)

    assert float(make_loss("asymmetric")(LOGITS, LABELS)) == pytest.approx(-terms.mean(), rel=1e-5)


@pytest.mark.parametrize("kind", ["bce", "focal", "asymmetric"])
def test_extreme_logits_give_finite_losses_and_gradients(kind):
    logits = torch.tensor([[200.0, -200.0], [200.0, -200.0]], requires_grad=True)

    loss = make_loss(kind)(logits, torch.tensor([[0.0, 1.0], [1.0, 0.0]]))
    loss.backward()

    assert torch.isfinite(loss)
    assert torch.isfinite(logits.grad).all()


def test_weights_say_how_rare_a_label_is():
    multi_hot = np.array([[1, 0, 1, 0], [0, 0, 1, 1], [0, 0, 1, 0], [0, 0, 1, 1]], np.uint8)

    assert presence_weights(multi_hot).tolist() == [3.0, 1.0, 1.0, 1.0]
