"""Made-up predictions of any size, in which patches of one tile resemble each other."""

import numpy as np

from reben.learn.predictions import Predictions, Subject
from reben.spec.labels import LABELS

COUNTRIES = ("Austria", "Finland", "Portugal")


def subject(**changes):
    known = {
        "name": "r50-s2",
        "backbone": "resnet50",
        "bands": ("B08", "B04"),
        "split": "test",
        "fingerprint": "ab12",
        "filters": {"snow": "false"},
    }
    return Subject(**{**known, **changes})


def predicted(num_patches=300, *, num_tiles=20, seed=0, digits=2, labels=LABELS, **changes):
    """Scores rounded to ``digits``, so that there are ties; the second label is absent."""
    generator = np.random.default_rng(seed)
    tiles = np.arange(num_patches) % num_tiles
    shape = (num_tiles, len(labels))
    effect = np.random.default_rng(9).normal(size=shape)
    share = np.linspace(0.05, 0.7, len(labels))
    real = generator.random((num_patches, len(labels))) < np.clip(share + 0.2 * effect[tiles], 0, 1)
    real[:, 1] = False
    logits = generator.normal(size=real.shape) + 2 * real - 1.2 + 0.5 * effect[tiles]
    return Predictions(
        subject(**changes),
        tuple(labels),
        tuple(f"patch {number}" for number in range(num_patches)),
        np.round(1 / (1 + np.exp(-logits)), digits).astype(np.float32),
        real.astype(np.uint8),
        tuple(COUNTRIES[tile % 3] for tile in tiles),
        tuple(f"33U{tile:02d}" for tile in tiles),
        tuple(int(5 + tile % 4) for tile in tiles),
    )
