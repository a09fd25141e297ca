"""Writes full products for benchmarks/scene.py, once: a SAFE with JPEG 2000 bands, or COGs.

    python benchmarks/scene_products.py FOLDER --form safe|cog [--side PIXELS] [--clouds SHARE]

The bands have the pixel sizes, tiles (1024, 640, 192) and lossless coding of real products, and
noise such that a SAFE of 10,980 pixels has about 0.8 GB in the bands at their own pixel size.
Clouds are squares of 5.4 km, so that some blocks lie under one as a whole.
"""

import argparse
import os
import sys
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import rasterio

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "scene"))
from made_up_product import (
    BAND_IDS,
    PIXEL_METRES,
    product_metadata,
    sizes_of,
    tile_metadata,
    write_jp2,
)

BLOCKS = {10: 1024, 20: 640, 60: 192}
CLOUD = 540
EPSG, LEFT, TOP = 32633, 300_000, 5_900_040
TIME = "20230821T101031"
NAME = f"S2A_MSIL2A_{TIME}_N0509_R022_T33UUP_20230822T021825"


def product(folder: Path, form: str, side: int, clouds: float) -> Path:
    """Return a product, written at need; its name says how it was made."""
    place = folder / f"{form}-{side}-{round(clouds * 100)}"
    if not (place / "whole").exists():
        jobs = [*((band, metres) for band, metres in PIXEL_METRES.items()), ("SCL", 20)]
        with ProcessPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(partial(_write, place, form, side, clouds), jobs))
        if form == "safe":
            _write_metadata(place / f"{NAME}.SAFE", side)
        (place / "whole").touch()
    return place / (f"{NAME}.SAFE" if form == "safe" else NAME)


def _granule(band: str, metres: int) -> str:
    granule = f"GRANULE/L2A_T33UUP_A042640_{TIME}/IMG_DATA/R{metres}m"
    return f"{granule}/T33UUP_{TIME}_{band}_{metres}m"


def _write(place: Path, form: str, side: int, clouds: float, job: tuple[str, int]) -> None:
    band, metres = job
    count = side * 10 // metres
    cloudy = np.random.default_rng(7).random((side // CLOUD + 1,) * 2) < clouds
    repeated = np.ones((CLOUD * 10 // metres,) * 2, bool)
    is_cloud = np.kron(cloudy, repeated)[:count, :count]
    if band == "SCL":
        random = np.random.default_rng(0)
        fields = random.choice([4, 4, 5, 6], (count // 20 + 1,) * 2)
        pixels = np.where(is_cloud, 9, np.kron(fields, np.ones((20, 20)))[:count, :count])
        pixels = pixels.astype(np.uint8)
    else:
        number = list(PIXEL_METRES).index(band)
        random = np.random.default_rng(number + 1)
        pixels = random.standard_normal((count, count), np.float32)
        pixels *= 150
        pixels += 1900 + 150 * number + np.linspace(0, 900, count, dtype=np.float32)[:, None]
        pixels[is_cloud] += 6000
        pixels = pixels.astype(np.uint16)
    if form == "safe":
        path = place / f"{NAME}.SAFE" / f"{_granule(band, metres)}.jp2"
        block = min(BLOCKS[metres], count)
        where = {"metres": metres, "epsg": EPSG, "left": LEFT, "top": TOP, "block": block}
        write_jp2(path, pixels, **where)
        return
    path = place / NAME / f"{band}.tif"
    path.parent.mkdir(parents=True, exist_ok=True)
    profile = {"driver": "COG", "count": 1, "dtype": pixels.dtype, "crs": f"EPSG:{EPSG}"}
    profile |= {"height": count, "width": count, "compress": "deflate", "predictor": "yes"}
    profile |= {"blocksize": 1024, "transform": rasterio.Affine(metres, 0, LEFT, 0, -metres, TOP)}
    with rasterio.open(path, "w", **profile) as file:
        file.write(pixels, 1)


def _write_metadata(place: Path, side: int) -> None:
    listed = [
        _granule(band, metres)
        for band, native in PIXEL_METRES.items()
        for metres in sizes_of(band, native, "05.09")
    ]
    listed.append(_granule("SCL", 20))
    offsets = dict.fromkeys(BAND_IDS, -1000)
    text = product_metadata(NAME, "05.09", "2A", listed, 10_000, offsets)
    (place / "MTD_MSIL2A.xml").write_text(text, encoding="utf-8")
    tile = place / _granule("SCL", 20)
    tile = tile.parents[2] / "MTD_TL.xml"
    tile.write_text(tile_metadata(EPSG, LEFT, TOP, side, side), encoding="utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--form", default="safe", choices=("safe", "cog"))
    parser.add_argument("--side", type=int, default=10_980)
    parser.add_argument("--clouds", type=float, default=0.0)
    asked = parser.parse_args()
    print(product(asked.folder, asked.form, asked.side, asked.clouds))
