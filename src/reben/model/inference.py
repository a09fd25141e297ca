"""The same classifier, faster: for inference only, with logits within 1e-4 of the plain one.

Axes: B patches, C channels, H rows, W columns, K labels.
"""

import copy
import logging
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Self, cast, get_args

import torch
from torch import Tensor, nn

from reben.errors import ConfigError, ExportError, MissingExtraError, first_line
from reben.model.classifier import Classifier
from reben.model.engines.folding import fold_batch_norms
from reben.model.engines.names import Engine
from reben.model.open import ModelLike, open_model

TOLERANCE = 1e-4
"""How far a logit may be from that of the plain model."""
PATCHES_AT_A_TIME = 32
"""On a CPU, larger batches go through the network in parts of this size, so that the results of
its layers stay small enough to reuse memory."""
LEAST_PATCHES = 2_000
"""Below as many, ``auto`` is ``optimised``, without a measurement or another import."""

logger = logging.getLogger(__name__)


class InferenceClassifier(Classifier):
    """A classifier that can only predict. Get it from `optimise_for_inference`.

    Attributes:
        engine: What computes the logits; never ``auto``.
        optimisations: What was done to the network, in words.
        max_difference: Highest |logit - logit of the plain model| on the images of the check.
    """

    engine: Engine
    optimisations: tuple[str, ...]
    max_difference: float

    def __init__(self, classifier: Classifier, network: nn.Module) -> None:
        nn.Module.__init__(self)
        self.config = classifier.config
        self.not_applied = classifier.not_applied
        self.preprocess = copy.deepcopy(classifier.preprocess)
        self.model = network  # type: ignore[assignment]
        self._channels_last = False
        self._run: Callable[[Tensor], Tensor] | None = None
        self.engine = "optimised"
        self.optimisations = ()
        self.max_difference = 0.0
        self.eval().requires_grad_(requires_grad=False)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Return logits [B, K] of normalised images, float32 [B, C, H, W]; no gradients flow."""
        with torch.inference_mode():
            run = self._runner(x_BCHW)
            in_parts = x_BCHW.device.type == "cpu" and self.engine != "eager"
            if not in_parts or len(x_BCHW) <= PATCHES_AT_A_TIME:
                return run(x_BCHW)
            return torch.cat([run(part) for part in torch.split(x_BCHW, PATCHES_AT_A_TIME)])

    def _runner(self, x_BCHW: Tensor) -> Callable[[Tensor], Tensor]:
        """Return what computes these images: an engine takes those that it was started for."""
        side = self.config.image_size
        is_fit = x_BCHW.device.type == "cpu" and x_BCHW.dtype == torch.float32
        if self._run is not None and is_fit and x_BCHW.shape[1:] == (len(self.bands), side, side):
            return self._run
        return self._in_torch

    def _in_torch(self, x_BCHW: Tensor) -> Tensor:
        if self._channels_last:
            x_BCHW = x_BCHW.contiguous(memory_format=torch.channels_last)
        return cast("Tensor", self.model(x_BCHW))

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


def engine_of(classifier: Classifier) -> str:
    """Return what computes the logits of a classifier."""
    return classifier.engine if isinstance(classifier, InferenceClassifier) else "eager"


def optimise_for_inference(
    classifier: ModelLike,
    *,
    compile: bool = False,
    engine: Engine = "optimised",
    num_patches: int | None = None,
    batch_size: int = PATCHES_AT_A_TIME,
) -> InferenceClassifier:
    """Return a copy of a classifier that predicts the same faster.

    Batch norms are folded into convolutions, convolutions run in channels_last, and large batches
    go through a CPU in parts. Each step is kept only if the logits of random images stay within
    1e-4 of those of ``classifier``, which itself is not changed, nor is the number of threads.
    So is an engine: where it fails, a warning says so, and the copy is without it.

    Args:
        classifier: Whatever `reben.open_model` takes.
        compile: Whether to compile the network too. That takes up to minutes, once for the first
            batch and once more for the first of another size; it pays for thousands of patches.
            Without a C++ compiler a warning says so, and the network is not compiled.
        engine: What computes: ``eager`` (the plain network), ``optimised``, ``compiled``; on a CPU
            also ``onnx`` (ONNX Runtime) and ``openvino``, or ``auto``: what gets ``num_patches``
            done first here. That is measured where the work is long enough, and kept in the cache
            folder for this architecture, batch size, processor, number of threads and versions.
        num_patches: How many patches are to come, for ``auto``; None for very many.
        batch_size: How many at a time, for ``auto``.

    Raises:
        ConfigError: If there is no such engine, or it cannot be used on the device.
        MissingExtraError: If the engine is not installed.

    Example:
        >>> model = Classifier("test_resnet", "rgb")
        >>> fast = optimise_for_inference(model)
        >>> fast.max_difference < 1e-4, fast.config == model.config, fast.engine
        (True, True, 'optimised')
    """
    classifier = open_model(classifier)
    if isinstance(classifier, InferenceClassifier):
        raise ConfigError("This classifier is optimised for inference already. Use it as it is.")
    engine = _checked_engine("compiled" if compile else engine, classifier)
    plain = copy.deepcopy(classifier.model).eval()
    images_BCHW = _random_images(classifier)
    with torch.no_grad():
        wanted_BK = plain(images_BCHW)
    fast = InferenceClassifier(classifier, plain)
    if engine == "eager":
        fast.engine = engine
        return fast
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
    if engine == "optimised":
        return fast
    ways = _Ways(plain, fast, images_BCHW, wanted_BK)
    return ways.quickest(num_patches, batch_size) if engine == "auto" else ways.named(engine)


optimize_for_inference = optimise_for_inference
"""American spelling of `optimise_for_inference`."""


def _checked_engine(engine: Engine, classifier: Classifier) -> Engine:
    """Return the engine that is meant, if it can be: ``auto`` is one in torch off the CPU."""
    if engine not in get_args(Engine):
        raise ConfigError(
            f"There is no engine {engine!r}. Choose from: {', '.join(get_args(Engine))}."
        )
    if engine in ("auto", "onnx", "openvino") and classifier.device.type != "cpu":
        if engine == "auto":
            return "optimised"
        raise ConfigError(
            f"The engine {engine} computes on the CPU, and the model is on {classifier.device}. "
            "Choose the device cpu, or the engine auto."
        )
    if engine in ("onnx", "openvino"):
        from reben.model.engines.runtimes import require_installed

        require_installed(engine)
    return engine


class _Ways:
    """The engines of one model, each made when it is asked for, and the choice among them.

    Args:
        plain: Its network.
        fast: It, optimised.
        images_BCHW: Images of the check.
        wanted_BK: What the plain network returns for these.
    """

    def __init__(
        self, plain: nn.Module, fast: InferenceClassifier, images_BCHW: Tensor, wanted_BK: Tensor
    ) -> None:
        self._plain, self._fast = plain, fast
        self._images_BCHW, self._wanted_BK = images_BCHW, wanted_BK
        self._graph: bytes | None = None
        self._seconds_of_graph = 0.0

    def named(self, engine: str) -> InferenceClassifier:
        """Return the model on an engine; as it is, with a warning, if that fails the check."""
        if engine == "optimised":
            return self._fast
        if engine == "compiled":
            return _compiled(self._fast, self._images_BCHW, self._wanted_BK)
        from reben.model.engines.runtimes import start

        made = copy.copy(self._fast)
        try:
            made._run = start(engine, self._as_onnx(), torch.get_num_threads())
            made.engine = cast("Engine", engine)
            made.max_difference = _difference(made, self._images_BCHW, self._wanted_BK)
        except (ExportError, MissingExtraError) as error:
            logger.warning("The engine %s is not used: %s", engine, error)
            return self._fast
        if made.max_difference > TOLERANCE:
            logger.warning(
                "The engine %s is not used, since that changes logits by %.1e.",
                engine,
                made.max_difference,
            )
            return self._fast
        return made

    def quickest(self, num_patches: int | None, batch_size: int) -> InferenceClassifier:
        """Return the model on the engine that has so many patches done first."""
        if num_patches is not None and num_patches < LEAST_PATCHES:
            return self._fast
        from reben.model.engines.choice import Choice

        size = min(batch_size, PATCHES_AT_A_TIME)  # larger ones go in parts of this
        images_BCHW = self._images_BCHW[:1].expand(size, -1, -1, -1).contiguous()
        config = self._fast.config
        case = f"{config.backbone}, {config.channels} channels, {config.image_size} pixels"
        choice = Choice(self._fast, self.named, case, images_BCHW)
        choice.seconds_shared = lambda: self._seconds_of_graph
        return choice.best(num_patches, can_compile=_cpp_compiler() is not None)

    def _as_onnx(self) -> bytes:
        from reben.model.engines.runtimes import as_onnx

        if self._graph is None:
            started = time.perf_counter()
            self._graph = as_onnx(self._plain, self._images_BCHW)
            self._seconds_of_graph = time.perf_counter() - started
        return self._graph


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
    compiled.engine = "compiled"
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
