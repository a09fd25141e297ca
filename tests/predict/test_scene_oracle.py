"""A scene is written and cut by rasterio into patches as the data set has them; patches and scene
are predicted apart, and have to agree wherever they lie."""

import numpy as np
import pytest
import rasterio
import torch
from rasterio.windows import Window

from made_up_scene import ArrayScene, grid_of, scene_of, write_scene
from reben.data.patch_folders.folder import read_patch_folder
from reben.model.classifier import Classifier
from reben.predict.scene import predict_scene
from reben.spec.bands import ALL, ALL_FULL, PIXEL_METRES, S1, S2, sensor

TILE = "S2A_MSIL2A_20170613T101031_N9999_R022_T33UUP"
RADAR = "S1B_IW_GRDH_1SDV_20170612T165809_33UUP"
HEIGHT, WIDTH = 312, 444


def pixel_at(file, easting, northing):
    """Column and row of the pixel at a place; rasterio's own functions warn of a deprecation."""
    left, _, _, top = file.bounds
    return int((easting - left) // file.res[0]), int((top - northing) // file.res[1])


def cut_patches(scenes, out, corners):
    """Cut patches whose upper left corners are at (easting, northing); return their folders."""
    cut = {}
    for number, (left, top) in enumerate(corners):
        folders = {
            "Sentinel-2": out / f"{TILE}_{number:02d}_07",
            "Sentinel-1": out / f"{RADAR}_{number:02d}_07",
        }
        for folder in folders.values():
            folder.mkdir(parents=True)
        for name in ALL_FULL:
            with rasterio.open(scenes / f"{name}.tif") as file:
                metres = PIXEL_METRES[name]
                column, row = pixel_at(file, left + 1, top - 1)
                side = 1200 // metres
                window = Window(column, row, side, side)
                pixels = file.read(1, window=window)
                profile = file.profile | {
                    "height": side,
                    "width": side,
                    "transform": rasterio.Affine(metres, 0, left, 0, -metres, top),
                }
            folder = folders[sensor(name)]
            with rasterio.open(folder / f"{folder.name}_{name}.tif", "w", **profile) as file:
                file.write(pixels, 1)
        cut[left, top] = tuple(folders.values())
    return cut


def scores_of(model, patch):
    """Scores of a patch, also of one of which more is without data than `predict` takes."""
    tensors = {name: torch.from_numpy(patch[name].copy())[None] for name in model.bands}
    with torch.no_grad():
        return model.eval().score_images(model.preprocess(tensors)).values[0]


def plain():
    return scene_of(HEIGHT, WIDTH)


def shifted():
    grid = grid_of(HEIGHT, WIDTH, left=612_340, top=4_199_980, crs="EPSG:32629")
    return ArrayScene(scene_of(HEIGHT, WIDTH, seed=1).arrays, grid)


def southern():
    grid = grid_of(HEIGHT, WIDTH, left=199_980, top=9_600_040, crs="EPSG:32701")
    return ArrayScene(scene_of(HEIGHT, WIDTH, seed=2).arrays, grid)


def turned():
    arrays = {
        name: np.rot90(a).copy() for name, a in scene_of(WIDTH, HEIGHT, seed=3).arrays.items()
    }
    return ArrayScene(arrays, grid_of(HEIGHT, WIDTH))


def bordered_by_no_data():
    scene = scene_of(HEIGHT, WIDTH, seed=4)
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    scene.mask = (columns + rows // 6 * 3 < 120).astype(np.uint8)
    for name, pixels in scene.arrays.items():
        step = PIXEL_METRES[name] // 10
        if sensor(name) == "Sentinel-2":
            pixels[scene.mask[::step, ::step] > 0] = 0
    return scene


def half_cloudy():
    scene = scene_of(HEIGHT, WIDTH, seed=5)
    scene.mask[:, WIDTH // 2 + 30 :] = 2
    return scene


@pytest.mark.parametrize(
    "make", [plain, shifted, southern, turned, bordered_by_no_data, half_cloudy]
)
@pytest.mark.parametrize("bands", [S1, S2, ALL], ids=["s1", "s2", "all"])
def test_patches_and_scene_agree(bands, make, tmp_path):
    torch.manual_seed(5)
    model = Classifier("test_resnet", bands)
    scene = make()
    write_scene(scene, tmp_path / "scene")
    grid = scene.grid
    # The last window of a row or column ends with the scene.
    lefts = [grid.left + 10 * x for x in (0, 120, 240, WIDTH - 120)]
    tops = [grid.top - 10 * y for y in (0, 120, HEIGHT - 120)]
    corners = [(left, top) for top in tops for left in lefts]
    patches = cut_patches(tmp_path / "scene", tmp_path / "patches", corners)

    found = predict_scene(model, scene, tmp_path / "out.tif")

    num_compared = num_masked = 0
    with rasterio.open(tmp_path / "out.tif") as file:
        assert file.crs == rasterio.CRS.from_string(grid.crs)
        for (left, top), folders in patches.items():
            # The middle of the cell; the lower right corner where the window was moved.
            right, bottom = left + 1200, top - 1200
            place = (right - 1, bottom + 1)
            column, row = pixel_at(file, *place)
            scores = file.read(window=Window(column, row, 1, 1)).ravel()
            y, x = round((grid.top - top) / 10), round((left - grid.left) / 10)
            if (scene.mask[y : y + 120, x : x + 120] > 0).mean() > 0.25:
                num_masked += 1
                assert np.isnan(scores).all()
            elif not np.isnan(scores).any():
                num_compared += 1
                wanted = scores_of(model, read_patch_folder(*folders))
                np.testing.assert_allclose(scores, wanted, atol=1e-4)
    assert found.num_masked == num_masked
    assert num_compared >= (4 if scene.mask.any() else 12)
