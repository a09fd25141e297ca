import copy
import logging

import pytest
import torch
from torch import nn

from made_up import patch
from reben.errors import ConfigError
from reben.model import inference
from reben.model.classifier import Classifier
from reben.model.inference import TOLERANCE, fold_batch_norms, optimise_for_inference

ARCHITECTURES = {
    "test_resnet": 15,
    "resnet18": 20,
    "convmixer_768_32": 0,  # its batch norms come after an activation
    "test_vit3": 0,
    "test_efficientnet": 13,
    "test_convnext": 0,
    "densenet121": 59,  # the others come before a convolution
}
"""Backbone -> batch norms that come right after a convolution."""


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def trained_alike(backbone, bands="s2"):
    """A model whose batch norms are not the identity and whose logits are far from zero."""
    torch.manual_seed(7)
    model = Classifier(backbone, bands)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean, 0, 0.2)
            nn.init.uniform_(module.running_var, 0.8, 1.4)
            nn.init.uniform_(module.weight, 0.6, 1.1)
            nn.init.normal_(module.bias, 0, 0.2)
    head = model.model.vision_encoder.get_classifier()
    nn.init.normal_(head.weight, 0, 0.1)
    return model


def plain_logits(model, images_BCHW):
    with torch.no_grad():
        return copy.deepcopy(model).eval()(images_BCHW)


@pytest.mark.parametrize("backbone", ARCHITECTURES)
def test_logits_are_within_the_tolerance_of_the_plain_model(backbone):
    model = trained_alike(backbone)
    images_BCHW = torch.randn(3, 10, 120, 120, generator=torch.Generator().manual_seed(5))
    fast = optimise_for_inference(model)
    difference = (fast(images_BCHW) - plain_logits(model, images_BCHW)).abs().max()
    assert difference <= TOLERANCE
    assert fast.max_difference <= TOLERANCE


@pytest.mark.parametrize(("backbone", "count"), ARCHITECTURES.items())
def test_batch_norms_are_folded_where_a_convolution_is_right_before(backbone, count):
    network = trained_alike(backbone).model.eval()
    assert fold_batch_norms(network, torch.randn(1, 10, 120, 120)) == count


def test_the_model_that_was_passed_is_unchanged():
    model = trained_alike("test_resnet")
    before = copy.deepcopy(model.state_dict())
    modes = [module.training for module in model.modules()]
    optimise_for_inference(model)(torch.randn(2, 10, 120, 120))
    after = model.state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(after[name], before[name]) for name in before)
    assert [module.training for module in model.modules()] == modes
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_dropout_is_off_even_if_the_model_is_in_train_mode():
    model = Classifier("test_resnet", "rgb", drop_rate=0.9).train()
    fast, images_BCHW = optimise_for_inference(model), torch.randn(2, 3, 120, 120)
    assert torch.equal(fast(images_BCHW), fast(images_BCHW))


def test_predict_gives_the_scores_of_the_plain_model_by_name():
    model = trained_alike("test_resnet", "all").eval()
    plain, fast = model.predict(patch()), optimise_for_inference(model).predict(patch())
    assert fast.labels == plain.labels
    assert fast.values == pytest.approx(plain.values, abs=1e-5)


def test_a_large_batch_gives_the_same_as_its_patches_one_by_one(monkeypatch):
    monkeypatch.setattr(inference, "PATCHES_AT_A_TIME", 4)
    fast = optimise_for_inference(trained_alike("test_resnet", "rgb"))
    images_BCHW = torch.randn(11, 3, 120, 120)
    single_BK = torch.cat([fast(image[None]) for image in images_BCHW])
    assert torch.allclose(fast(images_BCHW), single_BK, atol=TOLERANCE)


def test_config_and_labels_are_those_of_the_model():
    model = Classifier("test_resnet", "s1")
    fast = optimise_for_inference(model)
    assert (fast.config, fast.bands, fast.labels) == (model.config, model.bands, model.labels)


def test_it_cannot_be_trained_or_saved(tmp_path):
    fast = optimise_for_inference(Classifier("test_resnet", "rgb"))
    with pytest.raises(ConfigError, match="cannot be trained"):
        fast.train()
    with pytest.raises(ConfigError, match="Save the one"):
        fast.save_pretrained(tmp_path / "model")
    assert list(tmp_path.iterdir()) == []


def test_it_is_not_optimised_twice():
    fast = optimise_for_inference(Classifier("test_resnet", "rgb"))
    with pytest.raises(ConfigError, match="already"):
        optimise_for_inference(fast)


def test_what_changes_logits_too_much_is_not_used(monkeypatch, caplog):
    def spoil(network, _):
        nn.init.constant_(network.vision_encoder.get_classifier().bias, 3.0)
        return 5

    monkeypatch.setattr(inference, "fold_batch_norms", spoil)
    with caplog.at_level(logging.INFO, logger="reben.model.inference"):
        fast = optimise_for_inference(trained_alike("test_resnet"))
    assert "5 batch norms folded" not in fast.optimisations
    assert "channels_last" in fast.optimisations
    assert "5 batch norms folded" in caplog.text


def test_without_a_compiler_it_goes_on_and_says_so(monkeypatch, caplog):
    monkeypatch.setattr(inference, "_cpp_compiler", lambda: None)
    fast = optimise_for_inference(Classifier("test_resnet", "rgb"), compile=True)
    assert "compiled" not in fast.optimisations
    assert "no C++ compiler" in caplog.text


def test_a_compiler_that_fails_is_reported_and_left_out(monkeypatch, caplog):
    class Broken(nn.Module):
        def forward(self, _):
            raise RuntimeError("cc1plus: out of memory")

    monkeypatch.setattr(inference.torch, "compile", lambda *_, **__: Broken())
    monkeypatch.setattr(inference, "_cpp_compiler", lambda: "g++")
    fast = optimise_for_inference(Classifier("test_resnet", "rgb"), compile=True)
    assert "cc1plus: out of memory" in caplog.text
    assert fast(torch.zeros(1, 3, 120, 120)).shape == (1, 19)


class Shared(nn.Module):
    """A convolution whose result is read twice, and one that runs twice."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 1)
        self.first_norm, self.second_norm = nn.BatchNorm2d(4), nn.BatchNorm2d(4)

    def forward(self, x_BCHW):
        once = self.first(x_BCHW)
        x_BCHW = self.first_norm(once) + once
        x_BCHW = self.second_norm(self.second(x_BCHW))
        return self.second(x_BCHW)


def test_a_convolution_that_others_read_or_that_runs_twice_is_not_folded():
    network, images_BCHW = Shared().eval(), torch.randn(2, 3, 5, 6)
    wanted = network(images_BCHW)
    assert fold_batch_norms(network, images_BCHW) == 0
    assert torch.equal(network(images_BCHW), wanted)


@pytest.mark.slow
def test_a_compiled_model_is_within_the_tolerance():
    model = trained_alike("test_resnet")
    fast = optimise_for_inference(model, compile=True)
    assert "compiled" in fast.optimisations
    for size in (2, 5, 33):
        images_BCHW = torch.randn(size, 10, 120, 120)
        assert torch.allclose(fast(images_BCHW), plain_logits(model, images_BCHW), atol=TOLERANCE)
