"""Patches of one's own as files, written by rasterio: bands of any size, called as one likes."""

import csv

import numpy as np
import rasterio
from rasterio.transform import Affine

from reben.spec.bands import PIXEL_METRES, S2_FULL

LEFT, TOP = 300_000, 5_400_000
NAMES = tuple(f"farm_{number}" for number in range(4))
LABELS = ("wheat", "rye; oat", "oat", "wheat; rye")
SPLITS = ("train", "train", "validation", "test")


def pixels(name, number, size):
    """A ramp of its own for each band and patch; 60 m bands of 64 pixels stay at 10 m."""
    step = PIXEL_METRES[name] // 10
    side = size if size % step else size // step
    rows, columns = np.meshgrid(np.arange(side), np.arange(side), indexing="ij")
    if name in ("VV", "VH"):
        return (-12.0 - 7 * (name == "VH") - number + 0.01 * rows - 0.02 * columns).astype("f4")
    place = S2_FULL.index(name)
    return (300 + 150 * place + 7 * number + 3 * columns + 2 * (side - rows)).astype(np.uint16)


def place_of(number, metres=10):
    return Affine(metres, 0, LEFT + 5000 * number, 0, -metres, TOP)


def write(path, layers, number, descriptions=None, crs="EPSG:32633", metres=None):
    """Write one TIFF of some layers of one size."""
    path.parent.mkdir(parents=True, exist_ok=True)
    side = len(layers[0])
    with rasterio.open(
        path, "w", driver="GTiff", width=side, height=side, count=len(layers), crs=crs,
        dtype=layers[0].dtype, transform=place_of(number, metres or 10),
    ) as image:  # fmt: skip
        for at, layer in enumerate(layers, start=1):
            image.write(layer, at)
            if descriptions:
                image.set_band_description(at, descriptions[at - 1])
    return path


def write_folders(root, bands=S2_FULL, size=120, *, flat=False, numbers=range(4)):
    """Write a folder for each patch, or all files into one; return the root."""
    for number in numbers:
        name = NAMES[number]
        for band in bands:
            layer = pixels(band, number, size)
            folder = root if flat else root / name
            metres = size * 10 / len(layer)
            write(folder / f"{name}_{band}.tif", [layer], number, metres=metres)
    return root


def on_ten_metres(name, number, size):
    """The pixels of a band, each repeated so that the band has pixels of 10 m."""
    layer = pixels(name, number, size)
    return np.kron(layer, np.ones((size // len(layer),) * 2, layer.dtype))


def write_multi(root, bands=S2_FULL, size=120, *, described=True):
    """Write one TIFF of several bands for each patch; return the root."""
    for number, name in enumerate(NAMES):
        layers = [on_ten_metres(band, number, size) for band in bands]
        write(root / f"{name}.tif", layers, number, [*bands] if described else None)
    return root


def write_labels(path, *, names=NAMES, **columns):
    """Write a CSV of labels; ``columns`` replace or add to patch_id, labels and split."""
    told = {"patch_id": names, "labels": LABELS, "split": SPLITS, **columns}
    told = {name: values for name, values in told.items() if values is not None}
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(told)
        writer.writerows(zip(*told.values(), strict=False))
    return path
