"""Measures a whole scene: its memory, and its time against that of the model alone.

    python benchmarks/scene.py [--side PIXELS] [--backbone NAME] [--bands SET] [--stride METRES]

The scene is made up strip by strip as it is read, with clouds nowhere, so that every window is
predicted. The model alone gets as many images, normalised and in memory already, in batches of the
same size: one half before the scene and one half after it, so that a machine that warms up or gets
busy meanwhile shows in both. Wanted: a ratio of at most 1.5, and less than 3 GB for a full scene.
"""

import argparse
import resource
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch

from reben.model.classifier import Classifier
from reben.model.inference import optimise_for_inference
from reben.predict.scene import predict_scene
from reben.predict.windows import Plan
from reben.scene.grid import Grid
from reben.spec.bands import ALL_FULL, PIXEL_METRES, sensor

WANTED_RATIO, WANTED_GB = 1.5, 3.0


class MadeUpScene:
    """A scene of noise on a slope; a strip is made when it is read."""

    def __init__(self, side: int) -> None:
        self.name = "made-up"
        self.grid = Grid("EPSG:32633", 300_000, 5_000_040, side, side)
        self.about = {"boa_offset": "0"}
        self.bands = ALL_FULL.names
        random = np.random.default_rng(0)
        self._noise = random.normal(0, 1, (120 + len(self.bands), side)).astype(np.float32)

    def read(self, bands: tuple[str, ...], top: int, height: int) -> dict[str, np.ndarray]:
        """Return a strip at native sizes."""
        found = {}
        for name in bands:
            step = PIXEL_METRES[name] // 10
            first = self.bands.index(name)  # no band is like another
            noise = self._noise[first : first + height // step, : self.grid.width // step]
            if sensor(name) == "Sentinel-1":
                found[name] = noise + np.float32(-12 if name == "VV" else -19)
            else:
                found[name] = (900 + 150 * noise + top / 20).clip(1, 9_999).astype(np.uint16)
        return found

    def read_mask(self, top: int, height: int) -> np.ndarray:
        """Return a mask without clouds."""
        return np.zeros((height, self.grid.width), np.uint8)


def clock() -> SimpleNamespace:
    """Return the time on the wall and the time of computing, in seconds."""
    return SimpleNamespace(wall=time.perf_counter(), cpu=time.process_time())


def alone(model: Classifier, num_windows: int, batch_size: int) -> SimpleNamespace:
    """Return how long the model takes for normalised images."""
    fast = optimise_for_inference(model)
    size = model.config.image_size
    images = torch.randn(batch_size, model.config.channels, size, size)
    fast(images)
    begun = clock()
    for start in range(0, num_windows, batch_size):
        fast(images[: num_windows - start]).sigmoid().numpy()
    ended = clock()
    return SimpleNamespace(wall=ended.wall - begun.wall, cpu=ended.cpu - begun.cpu)


def main() -> None:
    """Print memory, times and ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--side", type=int, default=10_980)
    parser.add_argument("--backbone", default="resnet18")
    parser.add_argument("--bands", default="s2")
    parser.add_argument("--stride", type=int, default=1200)
    parser.add_argument("--batch-size", type=int, default=32)
    arguments = parser.parse_args()
    model = Classifier(arguments.backbone, arguments.bands).eval()
    scene = MadeUpScene(arguments.side)
    windows = Plan.of(scene.grid, arguments.stride).num_windows
    before = alone(model, windows // 2, arguments.batch_size)
    with tempfile.TemporaryDirectory() as folder:
        begun = clock()
        predict_scene(
            model,
            scene,
            Path(folder) / "out.tif",
            quicklook=Path(folder) / "map.png",
            table=Path(folder) / "windows.parquet",
            stride=arguments.stride,
            batch_size=arguments.batch_size,
        )
        ended = clock()
    gigabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    after = alone(model, windows - windows // 2, arguments.batch_size)
    print(f"{arguments.backbone} {arguments.bands}, {arguments.side} px, {windows} windows")
    print(f"  peak memory {gigabytes:.2f} GB (wanted: under {WANTED_GB:g})")
    for name, what in (("wall", "on the wall"), ("cpu", "of computing")):
        scene_seconds = getattr(ended, name) - getattr(begun, name)
        model_seconds = getattr(before, name) + getattr(after, name)
        print(
            f"  seconds {what}: scene {scene_seconds:.1f}, model alone {model_seconds:.1f}, ratio "
            f"{scene_seconds / model_seconds:.2f} (wanted: at most {WANTED_RATIO:g})"
        )


if __name__ == "__main__":
    main()
