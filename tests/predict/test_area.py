"""Areas of interest: outlines are drawn in metres here, and moved to degrees by geopandas."""

import os
from pathlib import Path

import geopandas
import numpy as np
import pyarrow.parquet as pq
import pytest
import rasterio
import torch
from shapely.geometry import MultiPoint, Polygon, box

from made_up_scene import scene_of
from reben.errors import AreaError, ConfigError
from reben.model.classifier import Classifier
from reben.predict.scene import predict_scene
from reben.spec.bands import S2

CASE = Path(os.environ.get("REBEN_TEST_DATA", "no such folder")) / "cases" / "multiband-256.tif"
LEFT, TOP = 300_000, 5_000_040
HEIGHT, WIDTH = 540, 660  # 4 and a half rows, 5 and a half columns of windows


@pytest.fixture(name="model", scope="module")
def fixture_model():
    torch.manual_seed(3)
    return Classifier("test_resnet", S2, labels=("a", "b", "c"))


@pytest.fixture(name="whole", scope="module")
def fixture_whole(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    scene = scene_of(HEIGHT, WIDTH)
    predict_scene(model, scene, folder / "out.tif", table=folder / "windows.parquet")
    return {row["id"]: row for row in pq.read_table(folder / "windows.parquet").to_pylist()}


def at(column, row, columns=1, rows=1):
    """Windows as a rectangle in metres, from the upper left one."""
    x, y = LEFT + 1200 * column, TOP - 1200 * row
    return box(x, y - 1200 * rows, x + 1200 * columns, y)


def write_area(path, *shapes):
    geopandas.GeoDataFrame(geometry=list(shapes), crs=32633).to_file(path)
    return path


def columns_and_rows(rows):
    return {(row["column"], row["row"]) for row in rows}


@pytest.mark.parametrize(
    ("shapes", "wanted"),
    [
        ([at(1, 2)], {(1, 2)}),  # what only shares an edge is not touched
        ([at(1, 1, 2, 1).buffer(20)], {(c, r) for c in range(4) for r in range(3)}),
        ([at(0, 0), at(3, 2)], {(0, 0), (3, 2)}),
        ([at(5.3, 1.2, 0.1, 0.1)], {(5, 1)}),  # the last column ends with the scene
        ([at(4.7, 3.7, 0.1, 0.1)], {(4, 3), (5, 3), (4, 4), (5, 4)}),  # and overlaps the one before
        ([MultiPoint([(LEFT + 700, TOP - 1900), (LEFT + 3700, TOP - 100)])], {(0, 1), (3, 0)}),
        ([Polygon([(LEFT, TOP), (LEFT + 2399, TOP), (LEFT, TOP - 2399)])],
         {(0, 0), (1, 0), (0, 1)}),
    ],
)  # fmt: skip
def test_windows_that_touch_have_the_scores_of_the_whole_scene_and_others_none(
    model, whole, shapes, wanted, tmp_path
):
    area = write_area(tmp_path / "aoi.gpkg", *shapes)
    scene, table = scene_of(HEIGHT, WIDTH), tmp_path / "windows.parquet"
    found = predict_scene(model, scene, tmp_path / "out.tif", aoi=area, table=table)

    rows = pq.read_table(table).to_pylist()
    assert columns_and_rows(rows) == wanted
    for row in rows:
        expected = whole[row["id"]]
        assert [row[key] for key in "abc"] == pytest.approx([expected[key] for key in "abc"])
    assert (found.num_windows, found.num_outside) == (len(wanted), 30 - len(wanted))
    assert found.num_masked == 0


def test_only_rows_that_the_area_touches_are_read(model, tmp_path):
    area = write_area(tmp_path / "aoi.geojson", at(1, 0.1, 1, 0.1), at(2, 3.1, 1, 0.1))
    scene = scene_of(HEIGHT, WIDTH)
    predict_scene(model, scene, tmp_path / "out.tif", aoi=area)

    assert sorted(scene.reads) == [(0, 120), (360, 120)]


def test_the_map_is_cut_to_the_area_on_the_cells_of_the_whole_and_its_tags_tell_it(model, tmp_path):
    area = write_area(tmp_path / "aoi.gpkg", at(1, 1), at(3, 2))
    predict_scene(model, scene_of(HEIGHT, WIDTH), tmp_path / "whole.tif")
    predict_scene(model, scene_of(HEIGHT, WIDTH), tmp_path / "part.tif", aoi=area)

    with rasterio.open(tmp_path / "whole.tif") as file:
        expected = file.read()[:, 1:3, 1:4]
    expected[:, [0, 0, 1, 1], [1, 2, 0, 1]] = np.nan
    with rasterio.open(tmp_path / "part.tif") as file:
        assert file.bounds[:2] == (LEFT + 1200, TOP - 3600)
        np.testing.assert_allclose(file.read(), expected, atol=1e-6)
        tags = file.tags()
    assert tags["area"].endswith("aoi.gpkg")
    west, _, _, north = map(float, tags["area_bounds"].split(","))
    x, y = geopandas.GeoSeries([at(1, 1)], crs=32633).to_crs(4326)[0].exterior.xy
    assert (west, north) == pytest.approx((min(x), max(y)), abs=1e-3)
    assert (tags["num_windows"], tags["num_outside"], tags["num_masked"]) == ("2", "28", "0")


def test_windows_that_overlap_count_where_they_touch(model, tmp_path):
    area = write_area(tmp_path / "aoi.gpkg", at(2.05, 1.05, 0.2, 0.2))
    table = tmp_path / "windows.parquet"
    scene = scene_of(HEIGHT, WIDTH)
    predict_scene(model, scene, tmp_path / "out.tif", aoi=area, table=table, stride=600)

    rows = pq.read_table(table).to_pylist()
    assert columns_and_rows(rows) == {(c, r) for c in (3, 4) for r in (1, 2)}


def test_clouds_in_the_area_are_counted_apart_from_what_is_outside(model, tmp_path):
    mask = np.full((HEIGHT, WIDTH), 2, np.uint8)
    mask[:, 120:] = 0
    area = write_area(tmp_path / "aoi.gpkg", at(0, 0, 2, 1))
    scene = scene_of(HEIGHT, WIDTH, mask=mask)
    found = predict_scene(model, scene, tmp_path / "out.tif", aoi=area)

    assert (found.num_windows, found.num_masked, found.num_outside) == (2, 1, 28)


def test_a_picture_of_an_area_shows_its_part(model, tmp_path):
    area = write_area(tmp_path / "aoi.gpkg", at(0, 0), at(3, 2))
    picture = tmp_path / "map.png"
    scene = scene_of(HEIGHT, WIDTH)
    predict_scene(model, scene, tmp_path / "out.tif", aoi=area, quicklook=picture)

    assert picture.stat().st_size > 10_000


def test_an_area_elsewhere_is_refused_with_both_places_and_a_swap_is_seen(model, tmp_path):
    scene = scene_of(HEIGHT, WIDTH)
    places = (
        r"no window of S2A_\S+ it reaches from 5.0000 to 6.0000 .*the scene from 12.4\d+ to 12.5"
    )
    with pytest.raises(AreaError, match=places) as told:
        predict_scene(model, scene, tmp_path / "out.tif", aoi="5,47,6,48")
    assert "swapped" not in str(told.value)
    with pytest.raises(AreaError, match="swapped: longitude comes first"):
        predict_scene(model, scene, tmp_path / "out.tif", aoi="45.1,12.4,45.12,12.5")


def test_parts_of_another_area_are_not_taken_for_those_of_this_one(model, tmp_path):
    first = write_area(tmp_path / "first.gpkg", at(1, 0, 1, 3))
    other = write_area(tmp_path / "other.gpkg", at(1, 0, 1, 2.5))

    def stop(done, _):
        if done == 1:
            raise KeyboardInterrupt

    scene, out = scene_of(HEIGHT, WIDTH), tmp_path / "out.tif"
    with pytest.raises(KeyboardInterrupt):
        predict_scene(model, scene, out, aoi=first, progress=stop)
    with pytest.raises(ConfigError, match="area_sha256"):
        predict_scene(model, scene, out, aoi=other)
    scene.reads.clear()
    found = predict_scene(model, scene, out, aoi=first)

    assert (found.num_resumed, found.num_windows) == (1, 3)
    assert [top for top, _ in scene.reads] == [120, 240]


def test_a_rim_of_less_than_half_a_cell_is_left_out_and_said(model, tmp_path, caplog):
    found = predict_scene(model, scene_of(252, 294), tmp_path / "out.tif")

    said = "54 columns at the right, 12 rows at the lower edge"
    assert found.num_windows == 4
    assert found.about["left_out"].startswith(said)
    assert said in caplog.text
    with rasterio.open(tmp_path / "out.tif") as file:
        assert file.shape == (2, 2)
        assert file.tags()["left_out"].startswith(said)


@pytest.mark.skipif(not CASE.is_file(), reason="REBEN_TEST_DATA names no cases")
def test_a_real_image_of_256_pixels_is_a_scene_of_2_by_2_windows(model, tmp_path):
    names = ["B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B11", "B12", "B01", "B09"]
    found = predict_scene(model, CASE, tmp_path / "out.tif", boa_offset=-1000, band_names=names)

    assert found.num_windows == 4
    assert found.about["left_out"].startswith("15 columns at the right, 16 rows at the lower edge")
    assert found.about["cut"].startswith("1 columns at the left")
