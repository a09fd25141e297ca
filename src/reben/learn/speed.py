"""How fast a model is on this machine: images per second, latency, cost, change of its logits.

The variants of a model are measured in turns, one call each per round, so that other load on the
machine affects them alike. The highest rate is that of the fastest round, the least disturbed one.

Axes: B patches, C channels, H rows, W columns, K labels.
"""

import copy
import itertools
import json
import platform
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, ClassVar, Literal, Self, get_args

import numpy as np
import torch
from torch import Tensor

from reben.errors import ConfigError, RunError
from reben.learn.cost import count_cost
from reben.model.classifier import Classifier
from reben.model.engines.names import Engine
from reben.model.inference import optimise_for_inference
from reben.model.open import ModelLike, name_of, open_model
from reben.support.atomic import write_text
from reben.support.json_files import Count, Finite, read_json
from reben.support.numbers import require_whole
from reben.support.plain_json import to_plain

SPEED_FILE = "speed.json"
"""The measurements, where they lie beside a report."""
BATCH_SIZES = (1, 8, 32)
ROUNDS = 10
Precision = Literal["32", "bf16"]


@dataclass(frozen=True)
class Measurement:
    """How fast one variant is, at one batch size and precision.

    Args:
        way: The engine that computed: ``eager`` (the plain model), ``optimised``, ``compiled``,
            ``onnx``, ``openvino``.
        precision: ``32`` for float32, ``bf16`` for automatic bfloat16.
        batch_size: Patches per call.
        rounds: Calls that were timed, after one that was not.
        images_per_second: In the fastest round.
        median_images_per_second: In the median round.
        latency_ms: Median duration of a call.
        latency_p95_ms: 95th percentile of it.
        max_difference: Highest |logit - logit of the plain model in float32|.
        peak_bytes: Peak memory of the accelerator; None on a CPU.
    """

    way: str
    precision: str
    batch_size: Count
    rounds: Count
    images_per_second: Finite
    median_images_per_second: Finite
    latency_ms: Finite
    latency_p95_ms: Finite
    max_difference: Finite
    peak_bytes: Count | None


@dataclass(frozen=True)
class Speed:
    """How fast a model is on one machine.

    Args:
        name: Name of the model.
        backbone: Name of its timm architecture.
        bands: Its bands, in the order of the channels.
        image_size: Side length of the images in pixels.
        device: What it ran on.
        threads: Threads of the CPU.
        torch_version: The version of PyTorch.
        parameters: Number of parameters.
        gflops: Cost of one patch in 1e9 operations; a multiplication and an addition are two.
        optimisations: What was done to the network in the ``optimised`` variant, in words.
        seconds_to_optimise: How long that took.
        seconds_to_compile: How long compiling took; None if the network was not compiled.
        process_peak_bytes: Peak memory of this process over all variants; None where the system
            does not tell.
        measurements: The rows.
    """

    __pydantic_config__: ClassVar = {"extra": "forbid"}

    name: str
    backbone: str
    bands: tuple[str, ...]
    image_size: Count
    device: str
    threads: Count
    torch_version: str
    parameters: Count
    gflops: Finite
    optimisations: tuple[str, ...]
    seconds_to_optimise: Finite
    seconds_to_compile: Finite | None
    process_peak_bytes: Count | None
    measurements: tuple[Measurement, ...]

    @property
    def best(self) -> Measurement:
        """The row with the most images per second in float32, or of all if none is."""
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
            RunError: If it cannot be read, or holds no measurement.
        """
        cure = f"Measure again with: reben benchmark MODEL --out {path}"
        speed = read_json(Path(path), cls, RunError, cure)
        if not speed.measurements:
            raise RunError(f"{path} holds no measurement. {cure}")
        return speed


def benchmark(  # noqa: PLR0913 - all after the first are named
    model: ModelLike,
    *,
    name: str | None = None,
    batch_sizes: Sequence[int] = BATCH_SIZES,
    precisions: Sequence[Precision] = ("32",),
    compile: bool = False,
    engines: Sequence[Engine] = (),
    rounds: int = ROUNDS,
    device: str | torch.device = "auto",
    progress: Callable[[int, int], None] | None = None,
) -> Speed:
    """Return how fast a model is on this machine, plain and optimised for inference.

    Args:
        model: Whatever `reben.open_model` takes; it is not changed.
        name: What to call it; by default its run, folder, id, or what it is made of.
        batch_sizes: Patches per call.
        precisions: ``32`` and ``bf16``, in any order.
        compile: Whether to compile it as well, which can take minutes.
        engines: Further engines of `reben.optimise_for_inference`: ``onnx``, ``openvino``.
        rounds: Calls to time, for each variant, batch size and precision.
        device: As for `reben.open_model`.
        progress: Called as ``progress(done, total)`` after each round.

    Raises:
        ConfigError: If a setting is out of range, or the device cannot be used.
        ModelError: If the model cannot be loaded.

    Example:
        >>> benchmark("runs/r50-s2").best.images_per_second  # doctest: +SKIP
        74.2
    """
    _check(batch_sizes, precisions, rounds)
    classifier = open_model(model, device)
    config, cost = classifier.config, count_cost(classifier.config)
    engines = ("optimised", "compiled", *engines) if compile else ("optimised", *engines)
    variants, optimisations, seconds = _variants(classifier, engines)
    cases = list(itertools.product(precisions, batch_sizes))
    rows: list[Measurement] = []
    for number, (precision, size) in enumerate(cases):

        def moved(done: int, before: int = number * rounds) -> None:
            if progress is not None:
                progress(before + done, len(cases) * rounds)

        rows += _measure_case(variants, precision, size, rounds, moved)
    return Speed(
        name=name or name_of(model),
        backbone=config.backbone,
        bands=config.bands.names,
        image_size=config.image_size,
        device=_describe(classifier.device),
        threads=torch.get_num_threads(),
        torch_version=version("torch"),
        parameters=cost.parameters,
        gflops=cost.gflops,
        optimisations=optimisations,
        seconds_to_optimise=seconds["optimised"],
        seconds_to_compile=seconds.get("compiled"),
        process_peak_bytes=_process_peak(),
        measurements=tuple(rows),
    )


measure_speed = benchmark  # its name before it was public


def _variants(
    classifier: Classifier, engines: Sequence[Engine]
) -> tuple[dict[str, Classifier], tuple[str, ...], dict[str, float]]:
    """Return the variants by name, what was optimised, and the seconds that making them took.

    An engine that fails is left out, as the log says.
    """
    variants: dict[str, Classifier] = {"eager": copy.deepcopy(classifier).eval()}
    optimisations, seconds = tuple[str, ...](), dict[str, float]()
    for engine in dict.fromkeys(engines):
        start = time.perf_counter()
        made = optimise_for_inference(classifier, engine=engine)
        if made.engine not in variants:
            variants[made.engine], seconds[made.engine] = made, time.perf_counter() - start
            optimisations = optimisations or made.optimisations
    return variants, optimisations, seconds


def _measure_case(
    variants: dict[str, Classifier],
    precision: str,
    size: int,
    rounds: int,
    moved: Callable[[int], None],
) -> list[Measurement]:
    """Return one row for each variant, measured in turns."""
    plain = variants["eager"]
    images_BCHW = _images(plain, size)
    with torch.no_grad():
        wanted_BK = plain(images_BCHW)
    differences, peaks = {}, {}
    for way, model in variants.items():  # warm-up, in which compilers do their work, too
        if plain.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(plain.device)
        logits_BK, _ = _timed(model, images_BCHW, precision)
        differences[way] = (logits_BK.float() - wanted_BK).abs().max().item()
        peaks[way] = _peak(plain.device)
    seconds: dict[str, list[float]] = {way: [] for way in variants}
    for done in range(1, rounds + 1):
        for way, model in variants.items():
            seconds[way].append(_timed(model, images_BCHW, precision)[1])
        moved(done)
    rows = []
    for way, taken in seconds.items():
        median, high = (float(value) for value in np.percentile(taken, (50, 95)))
        rates = size / min(taken), size / median
        latencies = median * 1e3, high * 1e3
        rows.append(
            Measurement(
                way, precision, size, rounds, *rates, *latencies, differences[way], peaks[way]
            )
        )
    return rows


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
    if not batch_sizes:
        raise ConfigError("There is no batch size to measure. Name at least one.")
    for size in batch_sizes:
        require_whole("A batch size", size)
    require_whole("rounds", rounds)
    known = get_args(Precision)
    odd = [precision for precision in precisions if precision not in known]
    if odd or not precisions:
        raise ConfigError(
            f"Unknown precision {', '.join(odd) or '(none)'}. Choose from: {', '.join(known)}."
        )
