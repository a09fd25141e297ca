"""How quick a model is on this machine: images per second, latency, cost, and what it changes.

Ways are measured in turns, one call each a round, so that whatever else the machine does meets all
of them alike. The highest rate comes from the quickest round, the one that was disturbed least.

Axes: B patches, C channels, H rows, W columns, K labels.

What was measured of the speed of a model, as a file that can be read again.
"""

import copy
import json
import platform
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal, NamedTuple, Self, get_args

import numpy as np
import torch
from torch import Tensor

from reben.errors import ConfigError, RunError
from reben.model.classifier import Classifier
from reben.model.config import ModelConfig
from reben.model.inference import InferenceClassifier, optimise_for_inference
from reben.model.open import ModelLike, name_of, open_model
from reben.support.atomic import write_text
from reben.support.plain_json import from_plain, to_plain

SPEED_FILE = "speed.json"
"""The measurements, where they lie beside a report."""


@dataclass(frozen=True)
class Measurement:
    """How quick one way is, at one batch size and precision.

    Args:
        way: ``eager`` (the plain model), ``optimised`` or ``compiled``.
        precision: ``32`` for float32, ``bf16`` for automatic bfloat16.
        batch_size: Patches a call.
        rounds: Calls that were timed, after one that was not.
        images_per_second: In the quickest round.
        median_images_per_second: In the median round.
        latency_ms: Median duration of a call.
        latency_p95_ms: 95th percentile of it.
        max_difference: Highest |logit - logit of the plain model in float32|.
        peak_bytes: Memory of the accelerator at its highest; None on a CPU.
    """

    way: str
    precision: str
    batch_size: int
    rounds: int
    images_per_second: float
    median_images_per_second: float
    latency_ms: float
    latency_p95_ms: float
    max_difference: float
    peak_bytes: int | None


@dataclass(frozen=True)
class Speed:
    """How quick a model is on one machine.

    Args:
        name: Name of the model, or what it is made of.
        backbone: Name of its timm architecture.
        bands: Its bands, in the order of the channels.
        image_size: Side length of the images in pixels.
        device: What it ran on.
        threads: Threads of the CPU.
        torch_version: The version of PyTorch.
        parameters: How many there are.
        gflops: Cost of one patch in 1e9 operations; a multiplication and an addition are two.
        optimisations: What was done to the network where it is not plain, in words.
        seconds_to_optimise: How long that took; the same with ``compiled``, if it was.
        seconds_to_compile: How long compiling took; None if the network was not compiled.
        process_peak_bytes: Memory of this process at its highest, all ways together; None where
            the system does not tell.
        measurements: The rows.
    """

    name: str
    backbone: str
    bands: tuple[str, ...]
    image_size: int
    device: str
    threads: int
    torch_version: str
    parameters: int
    gflops: float
    optimisations: tuple[str, ...]
    seconds_to_optimise: float
    seconds_to_compile: float | None
    process_peak_bytes: int | None
    measurements: tuple[Measurement, ...]

    @property
    def best(self) -> Measurement:
        """The row with the most images per second among those within float32's tolerance."""
        exact = [row for row in self.measurements if row.precision == "32"]
        return max(exact or self.measurements, key=lambda row: row.images_per_second)

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain values, as JSON has them."""
        values: dict[str, Any] = to_plain(self)
        return values

    def save(self, path: str | Path) -> Path:
        """Write the measurements to ``path`` as JSON, whole or not at all, and return it.

        Raises:
            OutputError: If the file cannot be written.
        """
        write_text(path, json.dumps(self.to_dict(), indent=2, allow_nan=False) + "\n")
        return Path(path)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Return what `save` wrote.

        Raises:
            RunError: If it cannot be read.
        """
        try:
            return from_plain(cls, json.loads(Path(path).read_text(encoding="utf-8")))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise RunError(
                f"{path} does not hold measurements as reben writes them: {type(error).__name__} "
                f"{error}. Write them with: reben benchmark MODEL --out {path}"
            ) from None


Precision = Literal["32", "bf16"]
BATCH_SIZES = (1, 8, 32)
ROUNDS = 10
_LATENCIES = (50, 95)


class Cost(NamedTuple):
    """What a model takes, whatever the machine."""

    parameters: int
    gflops: float


def count_cost(config: ModelConfig) -> Cost:
    """Return the parameters and the operations of one patch; computed from shapes alone.

    Example:
        >>> from reben.spec.bands import RGB
        >>> count_cost(ModelConfig("test_resnet", RGB)).parameters > 100_000
        True
    """
    from torch.utils.flop_counter import FlopCounterMode

    with torch.device("meta"), torch.no_grad():
        model = Classifier.from_config(config).eval()
        image_BCHW = torch.empty(1, config.channels, config.image_size, config.image_size)
        with FlopCounterMode(display=False) as counter:  # not building, which tries it out, too
            model(image_BCHW)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    return Cost(parameters, counter.get_total_flops() / 1e9)


def measure_speed(  # noqa: PLR0913 - all after the first are named
    classifier: ModelLike,
    *,
    name: str | None = None,
    batch_sizes: Sequence[int] = BATCH_SIZES,
    precisions: Sequence[Precision] = ("32",),
    compile: bool = False,
    rounds: int = ROUNDS,
    progress: Callable[[int, int], None] | None = None,
) -> Speed:
    """Return how quick a classifier is where it is now, plain and optimised for inference.

    Args:
        classifier: Whatever `reben.open_model` takes; it is not changed.
        name: What to call it; by default as `reben.model.open.name_of` does.
        batch_sizes: Patches a call.
        precisions: ``32`` and ``bf16``, in any order.
        compile: Whether to compile it as well; that takes up to minutes.
        rounds: Calls to time, for each way, batch size and precision.
        progress: Called as ``progress(done, total)`` after each round.

    Raises:
        ConfigError: If a setting cannot be.
    """
    _check(batch_sizes, precisions, rounds)
    name, classifier = name or name_of(classifier), open_model(classifier)
    ways, preparation = _prepare(classifier, compile=compile)
    cases = [(precision, size) for precision in precisions for size in batch_sizes]
    rows: list[Measurement] = []
    for number, (precision, size) in enumerate(cases):

        def moved(done: int, before: int = number * rounds) -> None:
            if progress is not None:
                progress(before + done, len(cases) * rounds)

        rows += _measure_case(ways, precision, size, rounds, moved)
    config = classifier.config
    cost = count_cost(config)
    return Speed(
        name=name,
        backbone=config.backbone,
        bands=config.bands.names,
        image_size=config.image_size,
        device=_describe(classifier.device),
        threads=torch.get_num_threads(),
        torch_version=version("torch"),
        parameters=cost.parameters,
        gflops=cost.gflops,
        optimisations=preparation.optimisations,
        seconds_to_optimise=preparation.seconds_to_optimise,
        seconds_to_compile=preparation.seconds_to_compile,
        process_peak_bytes=_process_peak(),
        measurements=tuple(rows),
    )


class _Preparation(NamedTuple):
    optimisations: tuple[str, ...]
    seconds_to_optimise: float
    seconds_to_compile: float | None


Ways = dict[str, Classifier]


def _prepare(classifier: Classifier, *, compile: bool) -> tuple[Ways, _Preparation]:
    """Return the ways to run a classifier, and what it took to make them."""
    ways: Ways = {"eager": copy.deepcopy(classifier).eval()}
    start = time.perf_counter()
    fast = optimise_for_inference(classifier)
    seconds, compile_seconds = time.perf_counter() - start, None
    ways["optimised"] = fast
    if compile:
        start = time.perf_counter()
        compiled: InferenceClassifier = optimise_for_inference(classifier, compile=True)
        if "compiled" in compiled.optimisations:
            ways["compiled"] = compiled
            compile_seconds = time.perf_counter() - start
    return ways, _Preparation(fast.optimisations, seconds, compile_seconds)


def _measure_case(
    ways: Ways, precision: str, size: int, rounds: int, moved: Callable[[int], None]
) -> list[Measurement]:
    """Return one row for each way, measured in turns."""
    plain = ways["eager"]
    images_BCHW = _images(plain, size)
    with torch.no_grad():
        wanted_BK = plain(images_BCHW)
    differences, peaks = {}, {}
    for way, model in ways.items():  # warm-up, in which compilers do their work, too
        _forget_peak(plain.device)
        logits_BK, _ = _timed(model, images_BCHW, precision)
        differences[way] = (logits_BK.float() - wanted_BK).abs().max().item()
        peaks[way] = _peak(plain.device)
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    for done in range(1, rounds + 1):
        for way, model in ways.items():
            seconds[way].append(_timed(model, images_BCHW, precision)[1])
        moved(done)
    return [
        _row(way, precision, size, taken, differences[way], peaks[way])
        for way, taken in seconds.items()
    ]


def _row(
    way: str,
    precision: str,
    size: int,
    taken: Sequence[float],
    difference: float,
    peak: int | None,
) -> Measurement:
    median, high = (float(value) for value in np.percentile(taken, _LATENCIES))
    return Measurement(
        way=way,
        precision=precision,
        batch_size=size,
        rounds=len(taken),
        images_per_second=size / min(taken),
        median_images_per_second=size / median,
        latency_ms=median * 1e3,
        latency_p95_ms=high * 1e3,
        max_difference=difference,
        peak_bytes=peak,
    )


def _timed(model: Classifier, images_BCHW: Tensor, precision: str) -> tuple[Tensor, float]:
    """Return logits and the seconds that they took."""
    kind = images_BCHW.device.type
    reduced: AbstractContextManager[object] = (
        torch.autocast(kind, dtype=torch.bfloat16) if precision == "bf16" else nullcontext()
    )
    _wait(kind)
    with torch.no_grad(), reduced:
        start = time.perf_counter()
        logits_BK = model(images_BCHW)
        _wait(kind)
        return logits_BK, time.perf_counter() - start


def _images(model: Classifier, size: int) -> Tensor:
    side, generator = model.config.image_size, torch.Generator().manual_seed(size)
    images_BCHW = torch.randn((size, model.config.channels, side, side), generator=generator)
    return images_BCHW.to(model.device)


def _wait(kind: str) -> None:
    if kind != "cpu":
        torch.accelerator.synchronize()


def _forget_peak(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def _peak(device: torch.device) -> int | None:
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None


def _process_peak() -> int | None:
    try:
        import resource
    except ImportError:  # Windows
        return None
    highest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return highest if sys.platform == "darwin" else highest * 1024


def _describe(device: torch.device) -> str:
    if device.type == "cuda":
        return f"cuda: {torch.cuda.get_device_name(device)}"
    return f"{device.type}: {platform.processor() or platform.machine()}"


def _check(batch_sizes: Sequence[int], precisions: Sequence[str], rounds: int) -> None:
    if not batch_sizes or min(batch_sizes) < 1 or rounds < 1:
        raise ConfigError(
            f"Batch sizes and rounds are at least 1; got {list(batch_sizes)} and {rounds}."
        )
    known = get_args(Precision)
    odd = [precision for precision in precisions if precision not in known]
    if odd or not precisions:
        raise ConfigError(
            f"No precision {', '.join(odd) or 'at all'}. There are: {', '.join(known)}."
        )
