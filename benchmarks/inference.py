"""Measures inference against the plain way: eager, contiguous, in float32.

    python benchmarks/inference.py [--compile] [--batch-size N] [--rounds N]

Both ways run in turns in one process, with the threads that PyTorch takes by itself; the quickest
round of each counts. Run it while nothing else does: with other work on the same cores, threads
wait for each other and the ratios mean little.
"""

import argparse

from reben.learn.speed import measure_speed
from reben.model.classifier import Classifier

MODELS = (("resnet50", "s2", 1.8), ("resnet18", "all", 3.0))
"""Backbone, bands, and the ratio that is wanted."""


def main() -> None:
    """Print one line for each model, way and batch size."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch-size", type=int, nargs="+", default=[32, 128])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--compile", action="store_true")
    arguments = parser.parse_args()
    for backbone, bands, wanted in MODELS:
        speed = measure_speed(
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
                f"  {ratio:4.2f} x  logits differ by {row.max_difference:.1e}"
            )


if __name__ == "__main__":
    main()
