"""The same classifier, faster: for inference only, with logits within 1e-4 of the plain one.

Axes: B patches, C channels, H rows, W columns, K labels.
"""

import copy
import logging
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Self, cast

import torch
from timm.layers.norm_act import BatchNormAct2d
from torch import Tensor, nn
from torch.nn.functional import batch_norm, conv2d
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

from reben.errors import ConfigError, first_line
from reben.model.classifier import Classifier
from reben.model.open import ModelLike, open_model

TOLERANCE = 1e-4
"""How far a logit may be from that of the plain model."""
PATCHES_AT_A_TIME = 32
"""On a CPU, larger batches go through the network in parts of this size, so that the results of
its layers stay small enough to reuse memory."""

logger = logging.getLogger(__name__)


class InferenceClassifier(Classifier):
    """A classifier that can only predict. Get it from `optimise_for_inference`.

    Attributes:
        optimisations: What was done to the network, in words.
        max_difference: Highest |logit - logit of the plain model| on the images of the check.
    """

    optimisations: tuple[str, ...]
    max_difference: float

    def __init__(self, classifier: Classifier, network: nn.Module) -> None:
        nn.Module.__init__(self)
        self.config = classifier.config
        self.not_applied = classifier.not_applied
        self.preprocess = copy.deepcopy(classifier.preprocess)
        self.model = network  # type: ignore[assignment]
        self._channels_last = False
        self.optimisations = ()
        self.max_difference = 0.0
        self.eval().requires_grad_(requires_grad=False)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Return logits [B, K] of normalised images, float32 [B, C, H, W]; no gradients flow."""
        with torch.inference_mode():
            if self._channels_last:
                x_BCHW = x_BCHW.contiguous(memory_format=torch.channels_last)
            if x_BCHW.device.type != "cpu" or len(x_BCHW) <= PATCHES_AT_A_TIME:
                return cast("Tensor", self.model(x_BCHW))
            return torch.cat([self.model(part) for part in torch.split(x_BCHW, PATCHES_AT_A_TIME)])

    def train(self, mode: bool = True) -> Self:
        """Stay in eval mode; a ConfigError if train mode is asked for."""
        if mode:
            raise ConfigError(
                "This classifier was optimised for inference and cannot be trained. Train the one "
                "that it was made from."
            )
        return super().train(mode=False)

    def save_pretrained(self, folder: str | Path) -> Path:
        """Refuse with a ConfigError: the weights are no longer those of the architecture."""
        raise ConfigError(
            f"Nothing was written to {folder}: this classifier was optimised for inference. Save "
            "the one that it was made from."
        )


def optimise_for_inference(classifier: ModelLike, *, compile: bool = False) -> InferenceClassifier:
    """Return a copy of a classifier that predicts the same faster.

    Batch norms are folded into convolutions, convolutions run in channels_last, and large batches
    go through a CPU in parts. Each step is kept only if the logits of random images stay within
    1e-4 of those of ``classifier``, which itself is not changed, nor is the number of threads.

    Args:
        classifier: Whatever `reben.open_model` takes.
        compile: Whether to compile the network too. That takes up to minutes, once for the first
            batch and once more for the first of another size; it pays for thousands of patches.
            Without a C++ compiler a warning says so, and the network is not compiled.

    Example:
        >>> model = Classifier("test_resnet", "rgb")
        >>> fast = optimise_for_inference(model)
        >>> fast.max_difference < 1e-4, fast.config == model.config
        (True, True)
    """
    classifier = open_model(classifier)
    if isinstance(classifier, InferenceClassifier):
        raise ConfigError("This classifier is optimised for inference already. Use it as it is.")
    plain = copy.deepcopy(classifier.model).eval()
    images_BCHW = _random_images(classifier)
    with torch.no_grad():
        wanted_BK = plain(images_BCHW)
    fast = InferenceClassifier(classifier, plain)
    for fold in (True, False):
        candidate = _rearranged(classifier, images_BCHW, fold=fold)
        candidate.max_difference = _difference(candidate, images_BCHW, wanted_BK)
        if candidate.max_difference <= TOLERANCE:
            fast = candidate
            break
        logger.info(
            "Not used, since logits change by %.1e: %s.",
            candidate.max_difference,
            ", ".join(candidate.optimisations),
        )
    if fast.device.type == "cpu":
        fast.optimisations += (f"at most {PATCHES_AT_A_TIME} patches at a time",)
    return _compiled(fast, images_BCHW, wanted_BK) if compile else fast


optimize_for_inference = optimise_for_inference
"""American spelling of `optimise_for_inference`."""


def _rearranged(classifier: Classifier, images_BCHW: Tensor, *, fold: bool) -> InferenceClassifier:
    """Return a copy in channels_last and, with ``fold``, with batch norms folded."""
    network = copy.deepcopy(classifier.model).eval()
    done: list[str] = []
    if fold and (count := fold_batch_norms(network, images_BCHW[:1])):
        done.append(f"{count} batch norms folded")
    if any(isinstance(module, nn.Conv2d) for module in network.modules()):
        network = network.to(memory_format=torch.channels_last)
        done.append("channels_last")
    fast = InferenceClassifier(classifier, network)
    fast._channels_last = "channels_last" in done
    fast.optimisations = tuple(done)
    return fast


def _compiled(
    fast: InferenceClassifier, images_BCHW: Tensor, wanted_BK: Tensor
) -> InferenceClassifier:
    """Return ``fast`` compiled, or ``fast`` itself if that fails or changes the logits."""
    if fast.device.type == "cpu" and not _cpp_compiler():
        logger.warning("There is no C++ compiler (g++ or $CXX), so the network is not compiled.")
        return fast
    compiled = copy.copy(fast)
    compiled._modules = dict(fast._modules)
    compiled.model = torch.compile(fast.model, options={"freezing": True})  # type: ignore[assignment]
    try:
        compiled.max_difference = _difference(compiled, images_BCHW, wanted_BK)
    except RuntimeError as error:  # what the compiler raises if it fails
        logger.warning("The network is not compiled: %s", first_line(error))
        return fast
    if compiled.max_difference > TOLERANCE:
        logger.warning(
            "The network is not compiled, since that changes logits by %.1e.",
            compiled.max_difference,
        )
        return fast
    compiled.optimisations = (*fast.optimisations, "compiled")
    return compiled


def _cpp_compiler() -> str | None:
    names = (os.environ.get("CXX"), "g++", "clang++", "c++", "cl")
    return next(filter(None, (shutil.which(name) for name in names if name)), None)


def _random_images(classifier: Classifier) -> Tensor:
    """Return two images of mean 0 and standard deviation 1; always the same."""
    size = classifier.config.image_size
    shape = (2, classifier.config.channels, size, size)
    images_BCHW = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    return images_BCHW.to(classifier.device)


def _difference(fast: InferenceClassifier, images_BCHW: Tensor, wanted_BK: Tensor) -> float:
    """Return the highest |difference| of logits; infinite for NaN."""
    difference = (fast(images_BCHW) - wanted_BK).abs().max().item()
    return difference if difference == difference else float("inf")  # noqa: PLR0124 - NaN


# Batch norms folded into the convolutions before them -------------------------------------------
# What feeds what is read from one run of the network, never from names or the order of modules: a
# batch norm is folded only if it alone reads the result of a convolution, and each runs only once.

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
