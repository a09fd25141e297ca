"""Measures one full tile of a map: its time, what of it is reading, and its memory.

    python benchmarks/map.py [--days N] [--backbone NAME] [--composite WORD] [--cells N]

The products are made up: one for each day, 60 km wide, with ten bands and a scene classification as
tiled, deflated GeoTIFFs, as catalogues on the web have them; a fifth of each day is under clouds.
Reading (decoding, masks, the composite) is measured by itself, with a scorer that scores nothing.
"""

import argparse
import os
import resource
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from unittest import mock

import numpy as np
import rasterio
import torch

from reben.data.preprocess import Suspicious
from reben.model.classifier import Classifier
from reben.predict.map import predict_map
from reben.predict.scene_settings import SceneOptions
from reben.predict.scoring import Scorer
from reben.spec.bands import PIXEL_METRES, S2

LEFT, TOP = 300_000, 5_040_000  # 250 and 4200 cells from the origin: a whole tile of 50 x 50


def main() -> None:
    """Make the products, predict the tile twice, and say what it took."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--days", type=int, default=3)
    parser.add_argument("--backbone", default="resnet18")
    parser.add_argument("--composite", default="median", choices=("median", "scores"))
    parser.add_argument("--cells", type=int, default=50, help="along a side of the tile")
    arguments = parser.parse_args()
    model = Classifier(arguments.backbone, "s2")
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        side = arguments.cells * 120
        days = range(1, arguments.days + 1)
        with ProcessPoolExecutor(1) as other:  # its memory is not that of the prediction
            products = list(other.map(partial(write_product, folder, side), days))
        size = sum(path.stat().st_size for one in products for path in one.iterdir())
        options = SceneOptions(boa_offset=0)

        def run(name: str) -> tuple[float, float]:
            begun, busy = time.perf_counter(), time.process_time()
            out = folder / f"{name}.tif"
            predict_map(model, products, out, composite=arguments.composite, options=options)
            return time.perf_counter() - begun, time.process_time() - busy

        def nothing(self: Scorer, _: object, lefts: list[int]) -> tuple[np.ndarray, Suspicious]:
            return np.zeros((len(lefts), len(self._fast.labels)), np.float32), Suspicious()

        with mock.patch.object(Scorer, "score", nothing):
            reading = run("reading")
        whole = run("whole")
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"{arguments.cells} x {arguments.cells} cells, {arguments.days} days, "
          f"{arguments.composite}, {arguments.backbone}, {torch.get_num_threads()} threads, "
          f"{os.cpu_count()} cores")  # fmt: skip
    print(f"products: {size / 2**30:.2f} GB on disk")
    print(f"whole tile: {whole[0]:.0f} s, {whole[1]:.0f} s of CPU")
    print(f"reading alone: {reading[0]:.0f} s, {reading[1]:.0f} s of CPU")
    print(f"peak memory: {memory:.2f} GB")


def write_product(folder: Path, side: int, day: int) -> Path:
    """Write a product of ``side`` pixels of 10 m, and return its folder."""
    random = np.random.default_rng(day)
    place = folder / f"S2A_MSIL2A_202306{day:02}T101031_N0509_R022_T33UAA_202306{day:02}T161030"
    place.mkdir()
    coarse = random.normal(0, 1, (side // 60 + 1, side // 60 + 1))
    for number, band in enumerate(S2):
        metres = PIXEL_METRES[band]
        count = side * 10 // metres
        hills = np.kron(coarse, np.ones((600 // metres,) * 2))[:count, :count]
        noise = random.normal(0, 40, (count, count))
        values = np.clip(700 + 150 * number + 200 * hills + noise, 1, 9_999).astype(np.uint16)
        write(place / f"{band}.tif", values, metres)
    cloudy = random.random((side // 120 + 1, side // 120 + 1)) < 0.2
    classes = np.where(np.kron(cloudy, np.ones((60, 60), bool)), 9, 4)
    write(place / "SCL.tif", classes[: side // 2, : side // 2].astype(np.uint8), 20)
    return place


def write(path: Path, values: np.ndarray, metres: int) -> None:
    """Write a band as web catalogues have it."""
    profile = {"driver": "GTiff", "count": 1, "dtype": values.dtype, "crs": "EPSG:32633"}
    profile |= {"height": values.shape[0], "width": values.shape[1], "compress": "deflate"}
    profile |= {"tiled": True, "blockxsize": 1024, "blockysize": 1024, "predictor": 2, "zlevel": 1}
    transform = rasterio.Affine(metres, 0, LEFT, 0, -metres, TOP)
    with rasterio.open(path, "w", transform=transform, num_threads="all_cpus", **profile) as file:
        file.write(values, 1)


if __name__ == "__main__":
    main()
