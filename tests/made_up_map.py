"""Tiles of a map: made-up scenes, written as overlapping products of several days."""

import numpy as np
import rasterio

from made_up_scene import ArrayScene, scene_of, write_scene
from reben.spec.bands import PIXEL_METRES, S2

LEFT, TOP = 300_000, 4_999_200  # 250 and 4166 cells from the origin of the zone
HEIGHT, WIDTH = 480, 600  # 4 by 5 cells
TILES = ((0, 270, 0, 330), (0, 270, 270, 600), (210, 480, 0, 330), (210, 480, 270, 600))
DAYS = ("20230607", "20230622", "20230712")


def name_of(day, number):
    return f"S2A_MSIL2A_{day}T101031_N0509_R022_T33U{'AAAABBBB'[number]}{number}_{day}T161030"


def clouds(seed, height=HEIGHT, width=WIDTH):
    """A mask in squares of 20 m, as the scene classification has them: 0 clear, 2 cloud."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[: height // 2, : width // 2]
    mask = np.zeros(y.shape, np.uint8)
    for _ in range(3):
        row, column = random.uniform((0, 0), y.shape)
        mask[np.hypot(y - row, x - column) < random.uniform(20, 45)] = 2
    return np.kron(mask, np.ones((2, 2), np.uint8))


def day_of(seed, mask=None, bands=S2, **options):
    """The whole ground on one day."""
    scene = scene_of(HEIGHT, WIDTH, tuple(bands), seed=seed, left=LEFT, top=TOP, **options)
    scene.mask = clouds(seed) if mask is None else mask
    return scene


def write_tiles(scene, folder, day, tiles=TILES):
    """Write a day as products that overlap; return their folders."""
    written = []
    for number, (top, bottom, left, right) in enumerate(tiles):
        part = scene.cut(top, left, bottom - top, right - left)
        arrays = {
            name: pixels[top * 10 // PIXEL_METRES[name] : bottom * 10 // PIXEL_METRES[name]]
            for name, pixels in part.arrays.items()
        }
        place = write_scene(ArrayScene(arrays, part.grid), folder / name_of(day, number))
        classes = np.where(part.mask[::2, ::2] > 0, 9, 4).astype(np.uint8)
        transform = rasterio.Affine(20, 0, part.grid.left, 0, -20, part.grid.top)
        profile = {"count": 1, "dtype": "uint8", "crs": part.grid.crs, "driver": "GTiff"}
        profile |= {"height": classes.shape[0], "width": classes.shape[1]}
        with rasterio.open(place / "SCL.tif", "w", transform=transform, **profile) as file:
            file.write(classes, 1)
        written.append(place)
    return written
