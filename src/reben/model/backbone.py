"""Any timm architecture, built for N channels and a patch-sized image.

Which settings an architecture takes is read from the signature of its class, never found out by
deleting arguments until construction succeeds.
"""

import dataclasses
import difflib
import inspect
import logging
import typing
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any, NamedTuple

import timm
import torch
from timm.models import get_arch_pretrained_cfgs
from torch import nn
from torch.overrides import TorchFunctionMode

from reben.errors import BackboneError, first_line

_LONGEST_NAME = 200

_DRAWS = (
    "normal_", "uniform_", "trunc_normal_", "kaiming_normal_", "kaiming_uniform_", "xavier_normal_",
    "xavier_uniform_",
)  # fmt: skip
"""How torch draws weights, in place."""
_SCALES = ("erfinv_", "mul_", "add_", "clamp_")
"""What follows where numbers are drawn from a part of the normal distribution."""

logger = logging.getLogger(__name__)


class _Undrawn(TorchFunctionMode):
    """Leaves weights that would be drawn at random as memory has them: others take their place.

    What is computed otherwise, such as positions, is as ever.
    """

    def __init__(self) -> None:
        super().__init__()
        self._left: dict[int, Any] = {}

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,  # noqa: ANN401 - that of the base
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401
        """Call a function of torch, unless it draws a weight, or scales one that was not drawn."""
        kwargs, name = kwargs or {}, getattr(func, "__name__", "")
        tensor = args[0] if args else kwargs.get("tensor")
        if name in _DRAWS or (name in _SCALES and id(tensor) in self._left):
            self._left[id(tensor)] = tensor
            return tensor
        if name.endswith("_"):
            self._left.pop(id(tensor), None)
        return func(*args, **kwargs)


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
    check: Callable[[nn.Module], None] | None = None,
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
        check: Called with the network as shapes alone, before it takes any memory. Its weights are
            not drawn then: those that were checked take their place.
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
    skeleton = _require_logits(name, settings, image_size)
    if check is not None:
        check(skeleton)
    try:
        with nullcontext() if check is None else _Undrawn():
            network = timm.create_model(name, pretrained=pretrained, **settings)
    except MemoryError as error:
        raise BackboneError(f"The memory of this machine is too small for {name}.") from error
    except (RuntimeError, ValueError, OSError) as error:
        if not pretrained:
            raise BackboneError(
                f"timm cannot build {name}: {first_line(error)}. Choose a smaller backbone."
            ) from error
        raise BackboneError(
            f"No pretrained weights for {name} could be loaded: {first_line(error)}. Connect to "
            "the Hugging Face Hub once so that they are cached, choose a name from "
            "timm.list_pretrained(), or train from scratch with pretrained=False."
        ) from error
    return Backbone(network, not_applied)


def require_architecture(name: str) -> None:
    """Check that timm knows an architecture and its tag; the BackboneError names similar ones."""
    if not isinstance(name, str) or len(name) > _LONGEST_NAME:
        raise BackboneError(
            f"{repr(name)[:60]} is not the name of an architecture. Pass one that "
            "timm.list_models() lists, for example resnet50."
        )
    architecture, _, tag = name.partition(".")
    if not timm.is_model(architecture):
        similar = difflib.get_close_matches(architecture, timm.list_models(), n=3, cutoff=0.5)
        hint = f" Did you mean {' or '.join(similar)}?" if similar else ""
        raise BackboneError(
            f"timm {timm.__version__} knows no architecture {name!r}.{hint} "
            "timm.list_models() lists them all."
        )
    if tag and name not in (known := get_arch_pretrained_cfgs(architecture)):
        tags = ", ".join(known) or "none"
        raise BackboneError(
            f"timm {timm.__version__} knows no pretrained weights {tag!r} of {architecture}; those "
            f"it knows are: {tags}. Leave the tag out (timm_model_name in a config.json), choose "
            "one of these, or update timm."
        )


def _parameters(name: str) -> set[str]:
    """Return the names of the settings that the class of an architecture takes."""
    # Shapes alone: nothing is computed, no memory is taken.
    with torch.device("meta"), _Undrawn():
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


def _require_logits(name: str, settings: dict[str, Any], image_size: int) -> nn.Module:
    """Return the network as shapes alone; it takes the images and returns one logit per class."""
    shape = (1, settings["in_chans"], image_size, image_size)
    try:
        with torch.device("meta"), torch.no_grad():
            with _Undrawn():
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
    return network


def pooled_features(network: nn.Module, x_BCHW: torch.Tensor) -> torch.Tensor | None:
    """Return the pooled features before the head, [B, D]; None if the network has none to give."""
    features = getattr(network, "forward_features", None)
    head = getattr(network, "forward_head", None)
    if features is None or head is None or "pre_logits" not in inspect.signature(head).parameters:
        return None
    pooled = head(features(x_BCHW), pre_logits=True)
    return pooled if isinstance(pooled, torch.Tensor) and pooled.ndim == 2 else None
