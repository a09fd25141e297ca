"""Which weights learn, and how fast each: freezing, and rates that fall with the distance."""

from typing import Any

import torch
from torch import nn

from reben.errors import ConfigError
from reben.learn.config import TrainConfig
from reben.model.classifier import Classifier


def make_optimiser(classifier: Classifier, config: TrainConfig) -> torch.optim.AdamW:
    """Return AdamW over the weights that learn, all with weight decay.

    It is one group, unless ``layer_decay`` gives each layer a rate of its own.

    Raises:
        ConfigError: If the backbone does not tell of its layers.
    """
    if config.layer_decay == 1:
        groups: list[dict[str, object]] = [{"params": _learning(classifier)}]
    else:
        groups = _layer_groups(classifier, config)
    return torch.optim.AdamW(groups, lr=config.learning_rate, weight_decay=config.weight_decay)


def freeze_backbone(classifier: Classifier) -> None:
    """Let the classification head learn and nothing else.

    Raises:
        ConfigError: If the backbone has no head of its own.
    """
    head = classification_head(classifier)
    weights = [] if head is None else list(head.parameters())
    if not weights:
        raise ConfigError(
            f"freeze_backbone cannot be used with {classifier.config.backbone}, which has no "
            "classification head apart from the rest. Leave it out."
        )
    classifier.requires_grad_(requires_grad=False)
    for weight in weights:
        weight.requires_grad_()


def set_frozen_mode(classifier: Classifier) -> None:
    """Put all but the head into eval mode, so that batch norms keep their statistics."""
    head = classification_head(classifier)
    classifier.eval()
    if head is not None:
        head.train()


def classification_head(classifier: Classifier) -> nn.Module | None:
    """Return the last layer of a classifier, or None if it has none of its own."""
    network: Any = classifier.model.vision_encoder
    head = network.get_classifier() if hasattr(network, "get_classifier") else None
    return head if isinstance(head, nn.Module) else None


def _learning(classifier: Classifier) -> list[nn.Parameter]:
    return [weight for weight in classifier.parameters() if weight.requires_grad]


def _layer_groups(classifier: Classifier, config: TrainConfig) -> list[dict[str, object]]:
    """Return a group of weights for each layer, the first one nearest to the head."""
    from timm.models import group_parameters

    network: Any = classifier.model.vision_encoder
    if not hasattr(network, "group_matcher"):
        raise ConfigError(
            f"layer_decay cannot be used with {config.backbone}, whose layers timm does not know. "
            "Set it to 1."
        )
    layers = group_parameters(network, network.group_matcher(coarse=False))
    weights = dict(network.named_parameters())
    last = max(layers)
    groups: list[dict[str, object]] = []
    for layer in sorted(layers, reverse=True):
        chosen = [weights[name] for name in layers[layer] if weights[name].requires_grad]
        if chosen:
            rate = config.learning_rate * config.layer_decay ** (last - layer)
            groups.append({"params": chosen, "lr": rate})
    return groups
