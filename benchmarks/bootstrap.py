"""Seconds and memory of 1,000 bootstrap rounds on as many scores as the official test split has.

Run it with: python benchmarks/bootstrap.py [patches] [rounds]
"""

import resource
import sys
import time

import numpy as np

from reben.learn.metrics.bootstrap import bootstrap, paired_bootstrap
from reben.learn.predictions import Predictions, Subject
from reben.spec.labels import LABELS

NUM_TILES = 50


def make_predictions(num_patches: int) -> Predictions:
    """Return made-up predictions, better than chance, of patches in so many tiles."""
    generator = np.random.default_rng(0)
    real = generator.random((num_patches, len(LABELS))) < np.linspace(0.01, 0.5, len(LABELS))
    logits = generator.normal(size=real.shape) + 2 * real - 2
    return Predictions(
        Subject("made up", "none", ("B02",), "test", "none"),
        LABELS,
        tuple(map(str, range(num_patches))),
        (1 / (1 + np.exp(-logits))).astype(np.float32),
        real.astype(np.uint8),
        tiles=tuple(str(number % NUM_TILES) for number in range(num_patches)),
    )


def main() -> None:
    """Print one line for each way of resampling."""
    num_patches, rounds = (int(word) for word in [*sys.argv[1:], "119825", "1000"][:2])
    predictions = make_predictions(num_patches)
    bootstrap(predictions, rounds=1)  # compiles
    for name, work in (
        ("by tile", lambda: bootstrap(predictions, rounds=rounds)),
        ("by patch", lambda: bootstrap(predictions, by="patch", rounds=rounds)),
        ("two models, by tile", lambda: paired_bootstrap(predictions, predictions, rounds=rounds)),
    ):
        started = time.perf_counter()
        work()
        seconds = time.perf_counter() - started
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
        print(f"{name}: {seconds:.1f} s, peak {memory:.2f} GB")


if __name__ == "__main__":
    main()
