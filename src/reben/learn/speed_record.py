"""What was measured of the speed of a model, as a file that can be read again."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from reben.data.files import write_text
from reben.errors import RunError
from reben.learn.plain import from_plain, to_plain

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
