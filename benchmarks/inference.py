"""Measures inference on the CPU against the plain way: eager, contiguous, in float32.

    python benchmarks/inference.py [--models NAME ...] [--batch-size N ...] [--rounds N] [--compile]

All engines that are installed run in turns in one process, with the threads that PyTorch takes by
itself; the quickest round of each counts. Run it while nothing else does: with other work on the
same cores, threads wait for each other and the ratios mean little. An arrow marks
what `engine="auto"` chooses for very many patches, from a measurement of its own.

The share of the peak tells how much is left to gain: the peak is what a large product of matrices
in float32 reaches, in the same run. No layer of a network can be quicker than that, unless it
computes something else than the plain way does.
"""

import argparse
import os
import platform
import tempfile
import time

import torch

import reben
from reben.model.classifier import Classifier
from reben.model.engines.choice import processor
from reben.model.engines.runtimes import versions

MODELS = {
    "resnet18": "all",
    "resnet50": "s2",
    "vit_tiny_patch16_224": "s2",
    "convnext_atto": "s2",
}
"""Backbone -> bands."""


def peak_gflops(side: int = 2048, rounds: int = 20) -> float:
    """Return the operations a second of a large product of matrices, in 1e9."""
    left, right, out = torch.randn(side, side), torch.randn(side, side), torch.empty(side, side)
    seconds = []
    for _ in range(rounds):
        started = time.perf_counter()
        torch.mm(left, right, out=out)
        seconds.append(time.perf_counter() - started)
    return 2 * side**3 / min(seconds) / 1e9


def main() -> None:
    """Print a table for each model: a line for each batch size and engine."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", default=list(MODELS))
    parser.add_argument("--batch-size", type=int, nargs="+", default=[1, 32, 512])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--compile", action="store_true")
    arguments = parser.parse_args()
    engines, peak = versions(), peak_gflops()
    print(
        f"{processor()}, {torch.get_num_threads()} threads, Python {platform.python_version()}, "
        f"PyTorch {torch.__version__}, {', '.join(map(' '.join, engines.items()))}; products of "
        f"matrices reach {peak:.0f} GFLOP/s"
    )
    with tempfile.TemporaryDirectory() as folder:
        os.environ["REBEN_CACHE"] = folder  # so that auto measures
        for backbone in arguments.models:
            model = Classifier(backbone, MODELS.get(backbone, "s2")).eval()
            measure(model, arguments, tuple(engines), peak)


def measure(
    model: Classifier, arguments: argparse.Namespace, engines: tuple[str, ...], peak: float
) -> None:
    """Print the table of one model."""
    speed = reben.benchmark(
        model,
        batch_sizes=arguments.batch_size,
        rounds=arguments.rounds,
        compile=arguments.compile,
        engines=engines,
    )
    print(f"{speed.name}, {speed.gflops:.2f} GFLOPs: {', '.join(speed.optimisations)}", flush=True)
    plain = {row.batch_size: row for row in speed.measurements if row.way == "eager"}
    chosen = {}  # larger batches go in parts of 32, and so does their measurement
    for size in sorted({min(size, 32) for size in arguments.batch_size}):
        chosen[size] = reben.optimise_for_inference(model, engine="auto", batch_size=size).engine
    for row in speed.measurements:
        ratio = row.images_per_second / plain[row.batch_size].images_per_second
        print(
            f"  batch {row.batch_size:4d}  {row.way:10s} {ratio:5.2f} x"
            f"  {row.images_per_second * speed.gflops / peak:4.0%} of the peak"
            f"  {row.images_per_second:7.1f} images/s"
            f"  logits differ by {row.max_difference:.1e}"
            + ("  <- auto" if chosen[min(row.batch_size, 32)] == row.way else ""),
            flush=True,
        )


if __name__ == "__main__":
    main()
