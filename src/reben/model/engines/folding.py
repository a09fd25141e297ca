"""Batch norms folded into the convolutions before them.

What feeds what is read from one run of the network, never from names or the order of modules: a
batch norm is folded only if it alone reads the result of a convolution, and each runs only once.

Axes: B patches, C channels, H rows, W columns.
"""

import copy
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any, cast

import torch
from timm.layers.norm_act import BatchNormAct2d
from torch import Tensor, nn
from torch.nn.functional import batch_norm, conv2d
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

_CONVOLUTIONS = (conv2d, torch.conv2d)
_BATCH_NORMS = (batch_norm, torch.batch_norm)
_SHAPE_ONLY = frozenset({"__get__", "__len__", "dim", "is_contiguous", "numel", "size", "stride"})
"""Functions that read no values of a tensor, if they return no tensor; ``__get__`` is ``.shape``,
``.dtype`` and the like."""


def fold_batch_norms(network: nn.Module, example_BCHW: Tensor) -> int:
    """Fold the batch norms of ``network`` into the convolutions before them, in place.

    Args:
        network: A network in eval mode; its weights are changed, so pass a copy.
        example_BCHW: Images that it takes, float32 [B, C, H, W].

    Returns:
        How many were folded. The others stay as they are.
    """
    recorder = _Recorder()
    with torch.no_grad(), recorder:
        network(example_BCHW)
    convolutions = {
        id(module.weight): module for module in network.modules() if isinstance(module, nn.Conv2d)
    }
    norms = [
        (parent, name, module)
        for parent in network.modules()
        for name, module in parent.named_children()
        if type(module) in (nn.BatchNorm2d, BatchNormAct2d)  # not what others derive from them
        and not module.training
    ]
    folded = 0
    for parent, name, norm in norms:
        read = recorder.normalised.get(id(norm.running_mean), 0)
        weight = recorder.convolved_by.get(read, 0)
        once = all(recorder.reads[key] == 1 for key in (read, weight, id(norm.running_mean)))
        if once and weight in convolutions:
            _fold(convolutions[weight], cast("nn.BatchNorm2d", norm))
            rest = norm.act if isinstance(norm, BatchNormAct2d) else nn.Identity()
            setattr(parent, name, rest)
            folded += 1
    return folded


def _fold(convolution: nn.Conv2d, norm: nn.BatchNorm2d) -> None:
    """Give a convolution weights with which it does the work of the batch norm after it, too."""
    exact = fuse_conv_bn_eval(
        copy.deepcopy(convolution).cpu().double(), copy.deepcopy(norm).cpu().double()
    )
    weight, bias = (nn.Parameter(t.to(convolution.weight)) for t in exact.parameters())
    convolution.weight, convolution.bias = weight, bias


class _Recorder(TorchFunctionMode):
    """Notes which convolution feeds which batch norm, and how often each tensor is read."""

    def __init__(self) -> None:
        super().__init__()
        self.reads: Counter[int] = Counter()
        self.convolved_by: dict[int, int] = {}  # result of a convolution -> its weight
        self.normalised: dict[int, int] = {}  # running mean of a batch norm -> what it reads
        self._alive: list[Tensor] = []  # so that no two tensors of the run share an id

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401 - whatever func returns
        result = func(*args, **(kwargs or {}))
        results = [leaf for leaf in tree_leaves(result) if isinstance(leaf, Tensor)]
        if not results and getattr(func, "__name__", "") in _SHAPE_ONLY:
            return result
        inputs = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        self._alive += [*inputs, *results]
        self.reads.update({id(tensor) for tensor in inputs})
        if func in _CONVOLUTIONS and len(args) > 1:
            self.convolved_by[id(result)] = id(args[1])
        elif func in _BATCH_NORMS and len(args) > 1:
            self.normalised[id(args[1])] = id(args[0])
        return result
