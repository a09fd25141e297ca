"""Made-up scenes in memory: what a product gives, from arrays, with every read written down."""

import numpy as np

from reben.scene.grid import Grid
from reben.spec.bands import ALL_FULL, PIXEL_METRES, sensor

NAME = "S2A_MSIL2A_20170613T101031_N0500_R022_T33UUP_20231010T101031"


class ArrayScene:
    """A scene of arrays: band -> [h, w] at native size; mask uint8 [H, W] at 10 m."""

    def __init__(self, arrays, grid, mask=None, name=NAME, about=None):
        self.name = name
        self.grid = grid
        self.arrays = arrays
        self.bands = tuple(arrays)
        self.mask = np.zeros((grid.height, grid.width), np.uint8) if mask is None else mask
        self.about = {"processing_baseline": "05.00", "boa_offset": "-1000"} | (about or {})
        self.reads = []
        self.is_closed = False

    def read(self, bands, top, height):
        assert top % 6 == height % 6 == 0
        assert 0 <= top < top + height <= self.grid.height
        self.reads.append((top, height))
        steps = {name: PIXEL_METRES[name] // 10 for name in bands}
        return {
            name: self.arrays[name][top // step : (top + height) // step].copy()
            for name, step in steps.items()
        }

    def read_mask(self, top, height):
        return self.mask[top : top + height].copy()

    def cut(self, top, left, height, width):
        whole = self
        grid = Grid(
            self.grid.crs, self.grid.left + left * 10, self.grid.top - top * 10, width, height
        )
        steps = {name: PIXEL_METRES[name] // 10 for name in self.arrays}
        arrays = {
            name: self.arrays[name][:, left // step : (left + width) // step]
            for name, step in steps.items()
        }

        class Part(ArrayScene):
            def read(self, bands, first, rows):
                whole.reads.append((top + first, rows))
                return {
                    name: self.arrays[name][
                        (top + first) // steps[name] : (top + first + rows) // steps[name]
                    ].copy()
                    for name in bands
                }

        mask = self.mask[top : top + height, left : left + width]
        return Part(arrays, grid, mask, self.name, self.about)

    def close(self):
        self.is_closed = True

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.close()


def grid_of(height, width, left=300_000, top=5_000_040, crs="EPSG:32633"):
    return Grid(crs, left, top, width, height)


def values(name, height, width, seed=0):
    """A whole band at native size: hills, a ramp of its own and noise, nowhere symmetric."""
    step = PIXEL_METRES[name] // 10
    random = np.random.default_rng([seed, ALL_FULL.index(name)])
    rows = np.arange(height // step)[:, None] * step
    columns = np.arange(width // step)[None, :] * step
    hills = np.sin(rows / 97 + ALL_FULL.index(name)) * np.cos(columns / 61) + columns / width
    noise = random.normal(size=hills.shape)
    if sensor(name) == "Sentinel-1":
        level = -19.0 if name == "VH" else -12.0
        return (level + 3 * hills + noise).astype(np.float32)
    level = 350 + 60 * ALL_FULL.index(name)
    return np.clip(level + 200 * hills + 60 * noise + rows / 9, 1, None).astype(np.uint16)


def scene_of(height, width, bands=ALL_FULL, *, seed=0, mask=None, **options):
    arrays = {name: values(name, height, width, seed) for name in bands}
    return ArrayScene(arrays, grid_of(height, width, **options), mask)


def patch_at(scene, top, left):
    """The bands of a window, cut out of the arrays: the slow and sure way."""
    cut = {}
    for name, array in scene.arrays.items():
        step = PIXEL_METRES[name] // 10
        rows = slice(top // step, (top + 120) // step)
        cut[name] = array[rows, left // step : (left + 120) // step]
    return cut


def write_scene(scene, folder):
    """One GeoTIFF for each band, at its native size."""
    import rasterio

    folder.mkdir(parents=True)
    for name, pixels in scene.arrays.items():
        metres = PIXEL_METRES[name]
        transform = rasterio.Affine(metres, 0, scene.grid.left, 0, -metres, scene.grid.top)
        profile = {
            "driver": "GTiff",
            "dtype": pixels.dtype,
            "count": 1,
            "height": pixels.shape[0],
            "width": pixels.shape[1],
            "crs": scene.grid.crs,
            "transform": transform,
        }
        with rasterio.open(folder / f"{name}.tif", "w", **profile) as file:
            file.write(pixels, 1)
    return folder
