import logging

import pytest
import timm
import torch

from reben.errors import BackboneError
from reben.model.backbone import build_backbone

ARCHITECTURES = (
    "test_resnet",
    "test_vit3",
    "test_efficientnet",
    "convmixer_768_32",
    "mobilevit_s",
    "mixer_b16_224",
    "rdnet_tiny",
    "swin_tiny_patch4_window7_224",
    "vgg11",
    "naflexvit_base_patch16_gap",
)
SETTINGS = {"img_size": 96, "drop_rate": 0.1, "drop_path_rate": 0.2}


def build(name, **changes):
    options = {
        "num_channels": 12,
        "num_classes": 19,
        "image_size": 96,
        "drop_rate": 0.1,
        "drop_path_rate": 0.2,
    }
    with torch.device("meta"):
        return build_backbone(name, **{**options, **changes})


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_setting_is_passed_exactly_where_the_architecture_takes_it(name, monkeypatch):
    """The oracle: timm itself raises TypeError for a setting that it does not know."""
    refused = set()
    for setting, value in SETTINGS.items():
        try:
            with torch.device("meta"):
                timm.create_model(name, **{setting: value})
        except TypeError:
            refused.add(setting)
    # ConvMixer swallows what it does not know, so timm raises nothing there.
    if name.startswith("convmixer"):
        refused = {"img_size", "drop_path_rate"}
    passed = {}
    create = timm.create_model

    def record(name, **settings):
        passed.update(settings)
        return create(name, **settings)

    monkeypatch.setattr(timm, "create_model", record)
    not_applied = build(name).not_applied
    assert passed.keys() & SETTINGS.keys() == SETTINGS.keys() - refused
    assert set(not_applied) == refused - {"img_size"}


@pytest.mark.parametrize("name", ["test_resnet", "test_vit3"])
def test_rates_reach_the_network(name):
    network = build(name, drop_rate=0.33, drop_path_rate=0.44).network
    text = repr(network)
    assert "drop_prob=0.44" in text
    assert "0.33" in text or network.drop_rate == 0.33


def test_a_vision_transformer_is_built_for_the_image_size():
    assert build("test_vit3", image_size=96).network.patch_embed.img_size == (96, 96)


def test_what_does_not_apply_is_logged(caplog):
    with caplog.at_level(logging.INFO, "reben"):
        build("convmixer_768_32")
    assert "convmixer_768_32 takes no drop_path_rate" in caplog.text


def test_an_unknown_architecture_is_refused_with_similar_ones():
    with pytest.raises(BackboneError, match=r"no architecture 'resnet51'. Did you mean resnet"):
        build("resnet51")


def test_an_image_size_that_cannot_be_is_refused():
    with pytest.raises(BackboneError, match="timm cannot build test_vit3 for 12 channels of 3 x 3"):
        build("test_vit3", image_size=3)


def test_pretrained_weights_that_cannot_be_had_are_said():
    with pytest.raises(BackboneError, match=r"No pretrained weights for test_resnet.*scratch"):
        build_backbone(
            "test_resnet",
            num_channels=12,
            num_classes=19,
            image_size=120,
            drop_rate=0.0,
            drop_path_rate=0.0,
            pretrained=True,
        )


def test_pretrained_weights_are_asked_of_timm_for_our_channels(monkeypatch):
    asked = {}
    create = timm.create_model

    def record(name, pretrained=False, **settings):
        if pretrained:
            asked.update(settings)
        return create(name, pretrained=False, **settings)

    monkeypatch.setattr(timm, "create_model", record)
    build("test_resnet", pretrained=True)
    assert asked["in_chans"] == 12
    assert asked["num_classes"] == 19
