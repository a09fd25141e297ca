"""Measures inference against the plain way: eager, contiguous, in float32.

    python benchmarks/inference.py [--compile] [--batch-size N] [--rounds N]

Both ways run in turns in one process, with the threads that PyTorch takes by itself; the quickest
round of each counts. Run it while nothing else does: with other work on the same cores, threads
wait for each other and the ratios mean little.

The share of the peak tells how much is left to gain: the peak is what a large product of matrices
in float32 reaches, in the same run. No layer of a network can be quicker than that, unless it
computes something else than the plain way does.
"""

import argparse
import time

import torch

import reben
from reben.model.classifier import Classifier

MODELS = (("resnet50", "s2", 1.8), ("resnet18", "all", 3.0))
"""Backbone, bands, and the ratio that is wanted."""


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
    """Print one line for each model, way and batch size."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch-size", type=int, nargs="+", default=[32, 512])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--compile", action="store_true")
    arguments = parser.parse_args()
    peak = peak_gflops()
    print(f"{torch.get_num_threads()} threads; products of matrices reach {peak:.0f} GFLOP/s")
    for backbone, bands, wanted in MODELS:
        speed = reben.benchmark(
            Classifier(backbone, bands),
            batch_sizes=arguments.batch_size,
            rounds=arguments.rounds,
            compile=arguments.compile,
        )
        print(f"{speed.name}: {', '.join(speed.optimisations)}; wanted {wanted} x")
        plain = {row.batch_size: row for row in speed.measurements if row.way == "eager"}
        for row in speed.measurements:
            ratio = row.images_per_second / plain[row.batch_size].images_per_second
            print(
                f"  batch {row.batch_size:4d}  {row.way:10s} {row.images_per_second:7.1f} images/s"
                f"  {ratio:4.2f} x  {row.images_per_second * speed.gflops / peak:4.0%} of the peak"
                f"  logits differ by {row.max_difference:.1e}"
            )


if __name__ == "__main__":
    main()
