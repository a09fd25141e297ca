"""Measures a whole scene: its time against reading alone and the model alone, and its memory.

    python benchmarks/scene.py [--from made-up|safe|cog] [--side PIXELS] [--backbone NAME]
        [--bands SET] [--stride METRES] [--rounds N] [--clouds SHARE] [--cache FOLDER]

``made-up`` is a scene that is made strip by strip as it is read; ``safe`` and ``cog`` are products
on disk, written once into the cache folder. Reading, the model and the whole run in processes of
their own, by turns; the best of the rounds counts. Reading alone is what ``predict-scene`` reads,
masks included, scored by nothing. The model alone gets as many images, normalised and in memory, in
batches of the same size, in the way that is quicker here: threads that share each layer, or as many
batches at once as there are threads.

No machine with two cores does the whole sooner than half of the sum of both in seconds of
computing, so that is printed, too. ``--peer PYTHON`` adds a row: rio-tiler reads the bands of the
COGs in strips. Make its environment anywhere: ``python -m venv F; F/bin/pip install rio-tiler``.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import numpy as np
import torch
from scene_products import product

from reben.data.preprocess import Suspicious
from reben.model.classifier import Classifier
from reben.model.inference import optimise_for_inference
from reben.predict.scene import predict_scene
from reben.predict.scoring import Scorer
from reben.predict.windows import Plan
from reben.scene.grid import Grid
from reben.spec.bands import ALL_FULL, PIXEL_METRES, sensor

PARTS = ("reading", "model", "whole")
PEER = """
import sys, time
from rio_tiler.io import Reader
folder, rows, *bands = sys.argv[1:]
begun, busy = time.perf_counter(), time.process_time()
for band in bands:
    with Reader(f"{folder}/{band}.tif") as file:
        width, height = file.dataset.width, file.dataset.height
        step = int(rows) * width // 10_980 or 1
        left, lower, right, upper = file.bounds
        metres = (right - left) / width
        for top in range(0, height, step):
            low = max(lower, upper - (top + step) * metres)
            box = (left, low, right, upper - top * metres)
            file.part(box, bounds_crs=file.crs, dst_crs=file.crs)
print(time.perf_counter() - begun, time.process_time() - busy)
"""


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


def alone(model: Classifier, num_windows: int, batch_size: int) -> None:
    """Score normalised images, whichever way is quicker; say how long it took."""
    fast = optimise_for_inference(model)
    size = model.config.image_size
    images = torch.randn(batch_size, model.config.channels, size, size)
    num_batches, num_threads = -(-num_windows // batch_size), torch.get_num_threads()

    def score(_: int) -> None:
        fast(images).sigmoid().numpy()

    def at_once(count: int) -> None:
        torch.set_num_threads(1)
        with ThreadPoolExecutor(num_threads) as pool:
            list(pool.map(score, range(count)))
        torch.set_num_threads(num_threads)

    def one_by_one(count: int) -> None:
        for number in range(count):
            score(number)

    ways: dict[str, Callable[[int], None]] = {"batches at once": at_once, "one by one": one_by_one}
    for way in ways.values():
        way(2)
    trial = min(num_batches // 4, 24)
    seconds = {name: timed(lambda way=way: way(trial)).wall for name, way in ways.items()}
    best = min(seconds, key=seconds.__getitem__)
    found = timed(lambda: ways[best](num_batches))
    say(found, best)


def timed(do: Callable[[], Any]) -> SimpleNamespace:
    """Return the time on the wall and the time of computing, in seconds."""
    begun, busy = time.perf_counter(), time.process_time()
    do()
    return SimpleNamespace(wall=time.perf_counter() - begun, cpu=time.process_time() - busy)


def say(found: SimpleNamespace, what: str = "") -> None:
    """Tell the process that measures what was found."""
    # Not of getrusage: that holds the peak of the process that began this one.
    lines = Path("/proc/self/status").read_text().splitlines()
    gigabytes = next(int(line.split()[1]) / 1e6 for line in lines if line.startswith("VmHWM"))
    print(json.dumps({"wall": found.wall, "cpu": found.cpu, "gb": gigabytes, "what": what}))


def run_part(arguments: argparse.Namespace, scene: Any) -> None:  # noqa: ANN401
    """Do one part in this process."""
    model = Classifier(arguments.backbone, arguments.bands).eval()
    grid = Grid("EPSG:32633", 300_000, 5_900_040, arguments.side, arguments.side)
    num_windows = Plan.of(grid, arguments.stride).num_windows
    if arguments.part == "model":
        alone(model, num_windows, arguments.batch_size)
        return

    def nothing(_: Scorer, __: object, lefts: list[int]) -> tuple[np.ndarray, Suspicious]:
        return np.zeros((len(lefts), len(model.labels)), np.float32), Suspicious()

    with tempfile.TemporaryDirectory() as folder:
        out: dict[str, Any] = {"table": Path(folder) / "windows.parquet"}
        out["stride"] = arguments.stride
        if arguments.quicklook:
            out["quicklook"] = Path(folder) / "map.png"
        if arguments.form == "cog":
            out["boa_offset"] = -1000

        def predict() -> None:
            place = Path(folder) / "out.tif"
            predict_scene(model, scene, place, batch_size=arguments.batch_size, **out)

        if arguments.part == "whole":
            say(timed(predict))
            return
        with mock.patch.object(Scorer, "score", nothing):
            say(timed(predict))


def measure(arguments: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """Return the best round of each part."""
    found: dict[str, list[dict[str, Any]]] = {part: [] for part in PARTS}
    for _ in range(arguments.rounds):
        for part in PARTS:
            command = [sys.executable, __file__, *sys.argv[1:], "--part", part]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
            found[part].append(json.loads(done.stdout.splitlines()[-1]))
    return {part: min(rounds, key=lambda one: one["wall"]) for part, rounds in found.items()}


def main() -> None:
    """Print a table of times, ratios and memory."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--from", dest="form", default="made-up", choices=("made-up", "safe", "cog")
    )
    parser.add_argument("--side", type=int, default=10_980)
    parser.add_argument("--backbone", default="resnet18")
    parser.add_argument("--bands", default="s2")
    parser.add_argument("--stride", type=int, default=1200)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--clouds", type=float, default=0.0)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--quicklook", action="store_true")
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "reben-scenes")
    parser.add_argument("--peer", help="a Python that has rio-tiler")
    parser.add_argument("--part", choices=PARTS, help="do this alone, in this process")
    arguments = parser.parse_args()
    scene: Any = MadeUpScene(arguments.side)
    if arguments.form != "made-up":
        scene = product(arguments.cache, arguments.form, arguments.side, arguments.clouds)
    if arguments.part:
        run_part(arguments, scene)
        return
    found = measure(arguments)
    print(f"{arguments.form}, {arguments.side} px, clouds {arguments.clouds:g}, "
          f"{arguments.backbone} {arguments.bands}, {os.cpu_count()} cores, "
          f"torch {torch.__version__}")  # fmt: skip
    for part, one in found.items():
        print(f"  {part:8} {one['wall']:7.1f} s on the wall, {one['cpu']:7.1f} s of computing, "
              f"{one['gb']:.2f} GB {one['what']}")  # fmt: skip
    whole, reading, model = (found[part] for part in ("whole", "reading", "model"))
    least = (reading["cpu"] + model["cpu"]) / (os.cpu_count() or 1)
    for name, seconds in (
        ("the longer of the two alone", max(reading["wall"], model["wall"])),
        ("the model alone", model["wall"]),
        ("what all cores need for both", least),
    ):
        print(f"  whole / {name}: {whole['wall'] / seconds:.2f}")
    if arguments.peer and arguments.form == "cog":
        bands = Classifier(arguments.backbone, arguments.bands).bands
        command = [arguments.peer, "-c", PEER, str(scene), "1024", *bands]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        wall, cpu = map(float, done.stdout.split())
        print(f"  rio-tiler reads the bands, no mask: {wall:.1f} s, {cpu:.1f} s of computing")


if __name__ == "__main__":
    main()
