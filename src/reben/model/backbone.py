"""Any timm architecture, built for N channels and a patch-sized image.

Which settings an architecture takes is read from the signature of its class, never found out by
deleting arguments until construction succeeds.
"""

import dataclasses
import difflib
import inspect
import logging
import typing
from typing import Any, NamedTuple

import timm
import torch
from torch import nn

from reben.errors import BackboneError, first_line

logger = logging.getLogger(__name__)


class Backbone(NamedTuple):
    """A network and the settings that it does not take."""

    network: nn.Module
    not_applied: tuple[str, ...]


def build_backbone(  # noqa: PLR0913 - all after the first are named
    name: str,
    *,
    num_channels: int,
    num_classes: int,
    image_size: int,
    drop_rate: float,
    drop_path_rate: float,
    pretrained: bool = False,
) -> Backbone:
    """Return a timm network, and the names of the settings that the architecture does not take.

    Args:
        name: Name of a timm architecture, with or without a tag of pretrained weights.
        num_channels: Channels of the input.
        num_classes: Outputs.
        image_size: Side length of the input in pixels, for architectures that are built for one.
        drop_rate: Dropout before the head, 0 to 1.
        drop_path_rate: Stochastic depth, 0 to 1.
        pretrained: Whether to load ImageNet weights, which timm adapts to the channels.
    """
    require_architecture(name)
    wanted = {"img_size": image_size, "drop_rate": drop_rate, "drop_path_rate": drop_path_rate}
    known = _parameters(name)
    # A network that takes no img_size takes images of any size, so that setting always applies.
    not_applied = tuple(s for s in ("drop_rate", "drop_path_rate") if s not in known)
    settings: dict[str, Any] = {
        "num_classes": num_classes,
        "in_chans": num_channels,
        **{setting: value for setting, value in wanted.items() if setting in known},
    }
    if not_applied:
        logger.info("%s takes no %s; it has no effect.", name, ", no ".join(not_applied))
    _require_logits(name, settings, image_size)
    try:
        network = timm.create_model(name, pretrained=pretrained, **settings)
    except (RuntimeError, ValueError, OSError) as error:
        if not pretrained:
            raise
        raise BackboneError(
            f"No pretrained weights for {name} could be loaded: {first_line(error)}. Connect to "
            "the Hugging Face Hub once so that they are cached, choose a name from "
            "timm.list_pretrained(), or train from scratch with pretrained=False."
        ) from error
    return Backbone(network, not_applied)


def require_architecture(name: str) -> None:
    """Check that timm knows an architecture; the BackboneError names similar ones."""
    architecture = name.split(".", 1)[0]
    if not timm.is_model(architecture):
        similar = difflib.get_close_matches(architecture, timm.list_models(), n=3, cutoff=0.5)
        hint = f" Did you mean {' or '.join(similar)}?" if similar else ""
        raise BackboneError(
            f"timm {timm.__version__} knows no architecture {name!r}.{hint} "
            "timm.list_models() lists them all."
        )


def _parameters(name: str) -> set[str]:
    """Return the names of the settings that the class of an architecture takes."""
    with torch.device("meta"):  # shapes alone: nothing is computed, no memory is taken
        network_class = type(timm.create_model(name, pretrained=False))
    names: set[str] = set()
    for base in network_class.__mro__:
        if base is nn.Module:
            break
        parameters = inspect.signature(base).parameters.values()
        names.update(parameter.name for parameter in parameters)
        if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
            break
        names.update(_config_fields(base))
    return names


def _config_fields(network_class: type) -> set[str]:
    """Return the fields of the config dataclasses that the constructor of a class takes."""
    kinds = typing.get_type_hints(network_class.__init__).values()  # type: ignore[misc]
    alternatives = [kind for hint in kinds for kind in (typing.get_args(hint) or (hint,))]
    configs = [kind for kind in alternatives if dataclasses.is_dataclass(kind)]
    return {field.name for config in configs for field in dataclasses.fields(config)}


def _require_logits(name: str, settings: dict[str, Any], image_size: int) -> None:
    """Check by shapes alone that the network takes the images and returns one logit per class."""
    shape = (1, settings["in_chans"], image_size, image_size)
    try:
        with torch.device("meta"), torch.no_grad():
            network = timm.create_model(name, pretrained=False, **settings).eval()
            logits = network(torch.empty(shape))
        found = tuple(logits.shape) if isinstance(logits, torch.Tensor) else type(logits).__name__
    except Exception as error:  # timm's architectures raise errors of every kind
        raise BackboneError(
            f"timm cannot build {name} for {settings['in_chans']} channels of {image_size} x "
            f"{image_size} pixels: {first_line(error)}. Choose another image size or backbone."
        ) from error
    if found != (1, settings["num_classes"]):
        raise BackboneError(
            f"{name} returns {found} for one image and {settings['num_classes']} classes, not one "
            "logit per class. Choose a backbone with a classification head."
        )


def pooled_features(network: nn.Module, x_BCHW: torch.Tensor) -> torch.Tensor | None:
    """Return the pooled features before the head, [B, D]; None if the network has none to give."""
    features = getattr(network, "forward_features", None)
    head = getattr(network, "forward_head", None)
    if features is None or head is None or "pre_logits" not in inspect.signature(head).parameters:
        return None
    pooled = head(features(x_BCHW), pre_logits=True)
    return pooled if isinstance(pooled, torch.Tensor) and pooled.ndim == 2 else None
