"""Which weights learn, and how fast: freezing, the learning rate of each layer and each step.

Steps are optimiser steps, counted from 0.
"""

import math
from typing import Any

import torch
from torch import nn

from reben.errors import ConfigError
from reben.learn.config import PAPER_WARMUP_STEPS, TrainConfig
from reben.model.classifier import Classifier

LOWEST_PART = 0.1
"""Learning rate at the start of the warm-up and at the end of the run, relative to the peak."""


def make_optimiser(classifier: Classifier, config: TrainConfig) -> torch.optim.AdamW:
    """Return AdamW over the weights that learn, all with weight decay.

    They are one group, or with ``layer_decay`` one for each layer, the head first. ``initial_lr``
    of a group is its peak learning rate.
    """
    weights = [weight for weight in classifier.parameters() if weight.requires_grad]
    groups = [{"params": weights}] if config.layer_decay == 1 else _by_layer(classifier, config)
    optimiser = torch.optim.AdamW(groups, lr=config.learning_rate, weight_decay=config.weight_decay)
    for group in optimiser.param_groups:
        group["initial_lr"] = group["lr"]
    return optimiser


def _by_layer(classifier: Classifier, config: TrainConfig) -> list[dict[str, Any]]:
    from timm.models import group_parameters

    network: Any = classifier.model.vision_encoder
    if not hasattr(network, "group_matcher"):
        raise ConfigError(
            f"layer_decay cannot be used with {config.backbone}, whose layers timm does not know. "
            "Set it to 1."
        )
    layers = group_parameters(network, network.group_matcher(coarse=False))
    weights = dict(network.named_parameters())
    groups = []
    for layer in sorted(layers, reverse=True):
        chosen = [weights[name] for name in layers[layer] if weights[name].requires_grad]
        if chosen:
            rate = config.learning_rate * config.layer_decay ** (max(layers) - layer)
            groups.append({"params": chosen, "lr": rate})
    return groups


def freeze_backbone(classifier: Classifier) -> None:
    """Let only the classification head learn."""
    head = classification_head(classifier)
    weights = [] if head is None else list(head.parameters())
    if not weights:
        raise ConfigError(
            f"freeze_backbone cannot be used with {classifier.config.backbone}, which has no "
            "separate classification head. Leave it out."
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
    """Return the last layer of a classifier, or None if it is not separate."""
    network: Any = classifier.model.vision_encoder
    head = network.get_classifier() if hasattr(network, "get_classifier") else None
    return head if isinstance(head, nn.Module) else None


def learning_rate_at(step: int, *, total_steps: int, warmup_steps: int, peak: float) -> float:
    """Return the learning rate of one optimiser step.

    It rises linearly from a tenth of ``peak`` at step 0 to ``peak`` at step ``warmup_steps - 1``,
    then falls along half a cosine from ``peak`` at step ``warmup_steps`` to a tenth of it at
    ``total_steps``, and stays there. Without a warm-up it starts at ``peak``.

    Source: the published training script, whose rates are in tests/golden/lr_schedule.json.

    Example:
        >>> rates = [learning_rate_at(s, total_steps=4, warmup_steps=2, peak=1.0) for s in range(5)]
        >>> [round(rate, 3) for rate in rates]
        [0.1, 1.0, 1.0, 0.55, 0.1]
    """
    require_schedule(total_steps=total_steps, warmup_steps=warmup_steps)
    if step < 0:
        raise ConfigError(f"Steps count from 0; there is no step {step}.")
    lowest = LOWEST_PART * peak
    if step < warmup_steps:
        return lowest + (peak - lowest) * step / max(warmup_steps - 1, 1)
    part = min((step - warmup_steps) / (total_steps - warmup_steps), 1.0)
    return lowest + (peak - lowest) * (1 + math.cos(math.pi * part)) / 2


def require_schedule(*, total_steps: int, warmup_steps: int) -> None:
    """Check that the run has a step, and the warm-up ends before it."""
    if total_steps < 1:
        raise ConfigError(f"A run needs at least one step, not {total_steps} steps.")
    if not 0 <= warmup_steps < total_steps:
        raise ConfigError(
            f"A warm-up of {warmup_steps} steps does not fit into a run of {total_steps}. Set "
            f"warmup_steps to 0..{total_steps - 1}, leave it unset for "
            f"{default_warmup(total_steps)}, or train for more epochs."
        )


def default_warmup(total_steps: int) -> int:
    """Return the default warm-up: 1000 steps, or a tenth of the run if that is fewer.

    Example:
        >>> default_warmup(46500), default_warmup(120), default_warmup(9)
        (1000, 12, 0)
    """
    return min(PAPER_WARMUP_STEPS, total_steps // 10)
