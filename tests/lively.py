"""Classifiers that answer differently to every patch, though nobody trained them."""

import torch
from torch import nn

from reben.model.classifier import Classifier


def lively(backbone, bands, seed=0, **settings):
    """A classifier in eval mode whose layers all take part, with logits of up to about 10.

    Fresh networks hardly say anything: norms pass their input on, layer scales are almost zero,
    and heads are small, so that a comparison of two copies could not fail.
    """
    torch.manual_seed(seed)
    model = Classifier(backbone, bands, **settings).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("bias"):
                parameter.normal_(0, 0.2)
            elif parameter.ndim <= 1:
                parameter.uniform_(0.5, 1.5)
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.normal_(0, 0.2)
                module.running_var.uniform_(0.5, 1.5)
        images = torch.randn(8, len(model.bands), *(2 * [model.config.image_size]))
        images += torch.randn(8, len(model.bands), 1, 1)
        head = model.model.vision_encoder.get_classifier()
        head.weight.normal_(0, 1)
        head.bias.zero_()
        head.weight /= model(images).abs().max() / 10
    return model
