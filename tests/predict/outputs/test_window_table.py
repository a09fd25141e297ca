import numpy as np
import pyarrow.parquet as pq
import pytest
import rasterio.warp

from made_up_scene import grid_of, patch_at, scene_of
from reben.model.classifier import Classifier
from reben.predict.outputs.window_table import footprints
from reben.predict.scene import predict_scene
from reben.predict.windows import Axis


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    folder = tmp_path_factory.mktemp("table")
    scene = scene_of(240, 300)
    scene.mask[:120, 60:120] = 2
    model = Classifier("test_resnet", "s2")
    predict_scene(model, scene, folder / "out.tif", table=folder / "windows.parquet")
    return model, scene, folder / "windows.parquet"


def test_each_window_that_was_not_left_out_is_a_row(table):
    _, scene, path = table
    rows = pq.read_table(path)
    assert rows["id"].to_pylist() == [
        f"{scene.name}_{place}" for place in ("01_00", "02_00", "00_01", "01_01", "02_01")
    ]
    assert rows["column"].to_pylist() == [1, 2, 0, 1, 2]
    assert rows["row"].to_pylist() == [0, 0, 1, 1, 1]
    assert rows["bad"].to_pylist() == [0] * 5


def test_a_row_has_the_scores_of_its_window(table):
    model, scene, path = table
    rows = pq.read_table(path)
    wanted = model.predict(patch_at(scene, top=120, left=180))
    found = [rows[label][4].as_py() for label in model.labels]
    np.testing.assert_allclose(found, wanted.values, atol=1e-4)
    assert rows["labels"][4].as_py() == wanted.above()


def test_the_table_is_geoparquet_that_says_what_it_was_made_with(table):
    _, scene, path = table
    metadata = pq.read_metadata(path).metadata
    assert b"geo" in metadata
    assert scene.name.encode() in metadata[b"reben"]


def test_rows_of_windows_that_were_all_left_out_are_no_rows_of_the_table(tmp_path):
    scene = scene_of(360, 120)
    scene.mask[:120] = 2
    path = tmp_path / "windows.parquet"
    predict_scene(Classifier("test_resnet", "s2"), scene, tmp_path / "out.tif", table=path)
    assert pq.read_table(path)["row"].to_pylist() == [1, 2]


@pytest.mark.parametrize("crs", ["EPSG:32633", "EPSG:32733"])
def test_an_outline_is_the_square_of_the_window_in_degrees(crs):
    grid = grid_of(240, 300, left=399_960, top=9_100_020, crs=crs)

    (ring,) = footprints(grid, 120, Axis(300, 120), np.array([2]))

    x, y = rasterio.warp.transform("EPSG:4326", crs, *map(list, zip(*ring, strict=True)))
    left, bottom = 399_960 + 1800, 9_100_020 - 2400
    wanted = [(0, 0), (1200, 0), (1200, 1200), (0, 1200), (0, 0)]
    np.testing.assert_allclose(np.transpose([x, y]) - [left, bottom], wanted, atol=0.01)


def test_an_outline_across_the_180th_meridian_is_in_one_piece():
    # Zone 1 begins there: its central meridian, 177 degrees west, has the easting 500,000 m.
    grid = grid_of(120, 2_400, left=390_000, top=8_000_040, crs="EPSG:32601")
    rings = footprints(grid, 0, Axis(2_400, 120), np.arange(20))

    longitudes = np.array([[point[0] for point in ring] for ring in rings])
    assert np.ptp(longitudes, axis=1).max() < 0.1
    assert (longitudes[:, 0] > 179).any()
