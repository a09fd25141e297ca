"""Maps of many products, against scenes that were never divided and composites that numpy makes."""

import json
from concurrent.futures import ThreadPoolExecutor

import geopandas
import numpy as np
import pyarrow.parquet as pq
import pytest
import rasterio
import torch
from PIL import Image
from shapely.geometry import box

from made_up_map import DAYS, HEIGHT, LEFT, TOP, WIDTH, day_of, write_tiles
from made_up_scene import ArrayScene, scene_of, write_scene
from reben.errors import AreaError, ConfigError, GridError, OutputError, SceneError
from reben.model.classifier import Classifier
from reben.predict.map import predict_map
from reben.predict.scene import predict_scene
from reben.predict.scene_settings import SceneOptions, SceneSettings
from reben.spec.bands import PIXEL_METRES, RGB, S2
from scene.range_server import serve_folder
from scene.stac_server import StacApi, serve_api

READ = SceneOptions(boa_offset=0)


@pytest.fixture(name="model", scope="module")
def fixture_model():
    torch.manual_seed(7)
    return Classifier("test_resnet", S2, labels=("a", "b", "c"))


@pytest.fixture(name="days", scope="module")
def fixture_days():
    return [day_of(seed) for seed in range(3)]


@pytest.fixture(name="tiles", scope="module")
def fixture_tiles(days, tmp_path_factory):
    """Products of three days: day -> folders."""
    folder = tmp_path_factory.mktemp("tiles")
    return [write_tiles(scene, folder, day) for scene, day in zip(days, DAYS, strict=True)]


@pytest.fixture(name="small_tiles")
def fixture_small_tiles(monkeypatch):
    monkeypatch.setattr("reben.predict.mapping.zones.TILE_CELLS", 2)


def read(path):
    with rasterio.open(path) as file:
        return file.read()


def scores_of(model, scene, folder, **options):
    folder.mkdir(exist_ok=True)
    predict_scene(model, scene, folder / "reference.tif", overwrite=True, **options)
    return read(folder / "reference.tif")


def all_of(tiles):
    return [path for day in tiles for path in day]


# Values -------------------------------------------------------------------------------------------


def test_tiles_of_one_day_make_the_map_of_the_ground_that_was_never_divided(
    model, days, tiles, tmp_path
):
    (found,) = predict_map(model, tiles[0], tmp_path / "map.tif", options=READ)

    expected = scores_of(model, days[0], tmp_path / "whole")
    np.testing.assert_allclose(read(found.out), expected, atol=1e-5)
    assert 0 < np.isnan(expected).mean() < 0.5
    assert (found.num_windows, found.num_masked) == (20, int(np.isnan(expected[0]).sum()))
    with rasterio.open(found.out) as file:
        assert file.bounds == (LEFT, TOP - 4800, LEFT + 6000, TOP)
        assert file.tags()["composite"] == "one day"
        assert file.tags()["days"] == "2023-06-07"
        assert file.tags()["attribution"].endswith("2023")


def test_many_small_map_tiles_make_the_same_map(model, tiles, tmp_path, small_tiles):
    (found,) = predict_map(model, tiles[0], tmp_path / "map.tif", options=READ)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("reben.predict.mapping.zones.TILE_CELLS", 50)
        (whole,) = predict_map(model, tiles[0], tmp_path / "whole.tif", options=READ)

    np.testing.assert_allclose(read(found.out), read(whole.out), atol=1e-6)


def test_cells_begin_at_multiples_of_1200_m_wherever_the_products_do(model, days, tmp_path):
    tiles = ((12, 480, 6, 330), (12, 480, 270, 600))
    products = write_tiles(days[0], tmp_path, DAYS[0], tiles)
    (found,) = predict_map(model, products, tmp_path / "map.tif", options=READ)

    lacking = day_of(0)
    for name, pixels in lacking.arrays.items():
        step = PIXEL_METRES[name] // 10
        pixels[: 12 // step] = pixels[:, : 6 // step] = 0
    lacking.mask[:12] = lacking.mask[:, :6] = 1
    expected = scores_of(model, lacking, tmp_path / "whole")
    # Where nothing was measured the reader fills in the mean of the training data, this one 0.
    np.testing.assert_allclose(read(found.out)[:, 1:, 1:], expected[:, 1:, 1:], atol=1e-5)
    np.testing.assert_array_equal(np.isnan(read(found.out)), np.isnan(expected))
    with rasterio.open(found.out) as file:
        assert (file.bounds.left, file.bounds.top) == (LEFT, TOP)


def test_the_median_is_that_of_the_clear_pixels_as_numpy_has_it(model, days, tiles, tmp_path):
    (found,) = predict_map(model, all_of(tiles), tmp_path / "map.tif", options=READ)

    masks = np.stack([day.mask for day in days])
    arrays = {}
    for name in S2:
        step = PIXEL_METRES[name] // 10
        hidden = masks[:, ::step, ::step] > 0
        hidden[:, hidden.all(axis=0)] = False  # nowhere clear: all that there is
        values = np.ma.MaskedArray([day.arrays[name] for day in days], hidden)
        arrays[name] = np.ma.median(values, axis=0).data.astype(np.float32)
    nowhere = (masks > 0).all(axis=0)
    composite = ArrayScene(arrays, days[0].grid, np.where(nowhere, 2, 0).astype(np.uint8))
    expected = scores_of(model, composite, tmp_path / "whole")
    np.testing.assert_allclose(read(found.out), expected, atol=1e-5)
    assert np.isnan(expected).sum() < np.isnan(scores_of(model, days[0], tmp_path / "one")).sum()


def test_scores_of_days_are_averaged_by_their_clear_pixels(model, days, tiles, tmp_path):
    (found,) = predict_map(
        model, all_of(tiles), tmp_path / "map.tif", composite="scores", options=READ
    )

    sums = weights = 0
    for day in days:
        scores = scores_of(model, day, tmp_path / "day")
        clear = (day.mask == 0).reshape(HEIGHT // 120, 120, WIDTH // 120, 120).mean(axis=(1, 3))
        clear = np.where(np.isnan(scores[0]), 0, clear)
        sums, weights = sums + np.nan_to_num(scores) * clear, weights + clear
    expected = np.where(weights > 0, sums / np.maximum(weights, 1e-9), np.nan)
    np.testing.assert_allclose(read(found.out), expected, atol=1e-5)


@pytest.mark.parametrize("composite", ["median", "scores"])
def test_the_table_tells_how_often_each_cell_was_seen_clearly(
    model, days, tiles, tmp_path, composite
):
    table = tmp_path / "windows.parquet"
    predict_map(
        model, all_of(tiles), tmp_path / "map.tif", table=table, composite=composite, options=READ
    )

    seen = sum((day.mask == 0).astype(float) for day in days)
    expected = seen.reshape(HEIGHT // 120, 120, WIDTH // 120, 120).mean(axis=(1, 3))
    rows = pq.read_table(table).to_pylist()
    assert len(rows) >= 18
    for row in rows:
        assert row["clear_looks"] == pytest.approx(expected[row["row"], row["column"]], abs=1e-5)


def test_an_area_chooses_cells_and_what_lies_outside_is_never_opened(
    model, days, tiles, tmp_path, monkeypatch
):
    opened = []
    from reben.predict.mapping import tiles as module

    real = module.open_scene
    monkeypatch.setattr(module, "open_scene", lambda p, **o: opened.append(p) or real(p, **o))
    cells = box(LEFT + 100, TOP - 2300, LEFT + 2300, TOP - 1300)  # two of the second row
    aoi = geopandas.GeoSeries([cells], crs=32633).to_crs(4326)[0].wkt
    (found,) = predict_map(model, tiles[0], tmp_path / "map.tif", aoi=aoi, options=READ)

    expected = scores_of(model, days[0], tmp_path / "whole")[:, 1:2, :2]
    np.testing.assert_allclose(read(found.out), expected, atol=1e-5)
    with rasterio.open(found.out) as file:
        assert file.bounds == (LEFT, TOP - 2400, LEFT + 2400, TOP - 1200)
        assert len(file.tags()["area_sha256"]) == 64
    assert opened == [tiles[0][0], tiles[0][2]]  # the others begin to the east


def test_a_picture_and_a_map_of_classes_are_written(model, tiles, tmp_path, small_tiles):
    from reben.predict.outputs.class_map import MapOptions

    options = SceneOptions(SceneSettings(map=MapOptions("classes")), boa_offset=0)
    picture = tmp_path / "map.png"
    (found,) = predict_map(
        model, tiles[0], tmp_path / "map.tif", quicklook=picture, options=options
    )

    assert read(found.out).dtype == np.uint8
    pixels = np.asarray(Image.open(picture).convert("RGB"))
    assert min(pixels.shape[:2]) > 300
    assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 1000


# Running ------------------------------------------------------------------------------------------


def test_a_map_that_was_stopped_goes_on_and_is_the_same_file(model, tiles, tmp_path, small_tiles):
    def stop(done, _):
        if done >= 8:
            raise KeyboardInterrupt

    out, again = tmp_path / "map.tif", {"options": READ}
    with pytest.raises(KeyboardInterrupt):
        predict_map(model, tiles[0], out, progress=stop, **again)
    assert not out.exists()
    with pytest.raises(ConfigError, match="composite was 'median', now 'scores'"):
        predict_map(model, tiles[0], out, composite="scores", **again)
    with pytest.raises(ConfigError, match="num_products was 4, now 3"):
        predict_map(model, tiles[0][:3], out, **again)
    (found,) = predict_map(model, tiles[0], out, **again)
    (fresh,) = predict_map(model, tiles[0], tmp_path / "fresh" / "map.tif", **again)

    assert found.num_resumed == 8
    assert out.read_bytes() == fresh.out.read_bytes()
    assert not list(tmp_path.glob(".map*"))


@pytest.mark.parametrize("how", ["executor", pytest.param("processes", marks=pytest.mark.slow)])
def test_processes_and_any_executor_make_the_same_map(model, tiles, tmp_path, small_tiles, how):
    alone, shared = tmp_path / "alone" / "map.tif", tmp_path / "shared" / "map.tif"
    predict_map(model, tiles[0], alone, options=READ)
    if how == "processes":
        predict_map(model, tiles[0], shared, options=READ, num_workers=2)
    else:
        with ThreadPoolExecutor(2) as executor:
            predict_map(model, tiles[0], shared, options=READ, executor=executor)

    np.testing.assert_allclose(read(shared), read(alone), atol=1e-6)
    assert not list(shared.parent.glob(".*"))


def test_tiles_that_fail_are_named_and_the_others_kept(model, tiles, tmp_path, small_tiles):
    broken = [*tiles[0][:3], write_tiles(day_of(0), tmp_path, DAYS[0])[3]]
    out = tmp_path / "map.tif"

    def damage(done, _):
        if not done:
            for band in broken[3].glob("B*.tif"):
                band.write_bytes(b"II*\0")

    with (
        ThreadPoolExecutor(1) as executor,
        pytest.raises(SceneError, match=r"of 6 tiles failed. The same command tries them again"),
    ):
        predict_map(model, broken, out, options=READ, executor=executor, progress=damage)
    assert len(list((tmp_path / ".map.tif.parts").glob("tile-*.npz"))) >= 2


# STAC ---------------------------------------------------------------------------------------------


def items_for(tiles, address=""):
    items = []
    for day, folders in zip(DAYS, tiles, strict=True):
        for folder in folders:
            place = f"{address}/{folder.name}" if address else str(folder)
            assets = {
                path.stem: {"href": f"{place}/{path.name}"} for path in sorted(folder.glob("*.tif"))
            }
            when = f"{day[:4]}-{day[4:6]}-{day[6:]}T10:10:31Z"
            items.append(
                {
                    "type": "Feature",
                    "stac_version": "1.0.0",
                    "id": folder.name,
                    "collection": "sentinel-2-l2a",
                    "bbox": [12.4, 45.0, 12.6, 45.2],
                    "geometry": None,
                    "links": [],
                    "properties": {
                        "datetime": when,
                        "eo:cloud_cover": 20.0,
                        "platform": "sentinel-2a",
                        "constellation": "sentinel-2",
                    },
                    "assets": assets,
                }
            )
    return items


def test_items_of_a_collection_and_of_a_search_are_products(model, days, tiles, tmp_path):
    listed = tmp_path / "items.json"
    listed.write_text(json.dumps({"type": "FeatureCollection", "features": items_for(tiles)}))
    chosen = {"datetime": "2023-06-01/2023-06-10", "options": READ}
    (found,) = predict_map(model, [listed], tmp_path / "map.tif", **chosen)
    expected = scores_of(model, days[0], tmp_path / "whole")
    np.testing.assert_allclose(read(found.out), expected, atol=1e-5)

    with (
        serve_folder(tiles[0][0].parent) as (address, _),
        serve_api(StacApi(items_for(tiles, address))) as api,
    ):
        aoi = "12.46,45.0,12.55,45.15"
        (again,) = predict_map(model, api.url, tmp_path / "api.tif", aoi=aoi, **chosen)
    np.testing.assert_allclose(read(again.out), expected, atol=1e-5)


# Refusals -----------------------------------------------------------------------------------------


def test_what_cannot_be_one_map_is_refused_with_a_cure(model, tiles, tmp_path):
    out = tmp_path / "map.tif"

    def refuse(error, match, products=tiles[0], options=READ, **more):
        with pytest.raises(error, match=match):
            predict_map(more.pop("model", model), products, out, options=options, **more)

    radar = Classifier("test_resnet", "all", labels=("a", "b"))
    refuse(ConfigError, "needs VV, VH.*predict-scene MODEL PRODUCT --sentinel1", model=radar)
    refuse(ConfigError, "named more than once", [*tiles[0], tiles[0][0]])
    refuse(ConfigError, "no product to predict", [])
    refuse(ConfigError, "would choose among STAC items", datetime="2023")
    refuse(ConfigError, "median or scores", composite="mean")
    refuse(ConfigError, "cells of 1200 m", options=SceneOptions(SceneSettings(stride=600)))
    refuse(ConfigError, "Sentinel-2 alone", options=SceneOptions(sentinel1_unit="db"))
    refuse(AreaError, r"touches none of the products: .* they from 12.4\d+ to 12.5", aoi="5,5,6,6")
    out.write_text("there")
    refuse(OutputError, "is there already")


def test_products_that_cannot_be_joined_are_refused_with_a_cure(model, tmp_path):
    off = write_scene(scene_of(120, 120, S2.names, left=300_005), tmp_path / "off")
    near = write_scene(scene_of(120, 120, S2.names, left=300_010), tmp_path / "near")
    for product in (off, near):
        with pytest.raises(GridError, match=r"begins at 3000\d+, \d+ .*gdalwarp -tr 10 10 -tap"):
            predict_map(model, [product], tmp_path / "map.tif", options=READ)
    fine = write_scene(scene_of(240, 240, RGB.names, left=300_010), tmp_path / "fine")
    model = Classifier("test_resnet", RGB, labels=("a", "b"))
    (found,) = predict_map(model, [fine], tmp_path / "map.tif", options=READ)  # all of 10 m
    assert found.num_masked < found.num_windows
    other = write_scene(scene_of(240, 240, RGB.names, crs="EPSG:3035"), tmp_path / "other")
    with pytest.raises(GridError, match=r"all must be UTM zones|does not measure"):
        predict_map(model, [fine, other], tmp_path / "two.tif", options=READ)
