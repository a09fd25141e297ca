import json
from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch

from made_up_scene import scene_of, write_scene
from reben.app.cli import run
from reben.model.classifier import Classifier
from reben.spec.bands import RGB
from scene.made_up_product import make_band_folder, make_item, write_item, write_tiff
from scene.range_server import serve_folder
from scene.stac_server import StacApi, serve_api


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    torch.manual_seed(4)
    folder = tmp_path_factory.mktemp("scene")
    Classifier("test_resnet", "rgb", labels=("Pastures", "B")).save_pretrained(folder / "model")
    for number in (1, 2):
        write_scene(scene_of(120, 240, RGB, seed=number), folder / f"scene{number}")
    return folder


def words(folder, *more):
    return ["predict-scene", str(folder / "model"), *map(str, more), "--boa-offset", "0"]


def test_a_scene_becomes_a_raster_a_table_and_a_picture(folder, tmp_path, capsys):
    outputs = [tmp_path / name for name in ("out.tif", "windows.parquet", "map.png")]
    flags = ["--out", outputs[0], "--table", outputs[1], "--quicklook", outputs[2]]

    assert run(words(folder, folder / "scene1", *flags)) == 0

    told = capsys.readouterr()
    assert all(path.exists() for path in outputs)
    assert told.out.splitlines()[-3:] == [str(path) for path in outputs]
    assert "2 windows, 0 of them left out" in told.err


def test_the_flags_reach_the_raster(folder, tmp_path, capsys):
    out = tmp_path / "out.tif"
    flags = ["--stride", "600", "--max-bad", "0.1", "--dtype", "uint8", "--json"]

    assert run(words(folder, folder / "scene1", "--out", out, *flags)) == 0

    told = json.loads(capsys.readouterr().out)
    assert told["num_windows"] == 3
    with rasterio.open(out) as file:
        assert (file.dtypes[0], file.res, file.tags()["max_bad"]) == ("uint8", (600, 600), "0.1")
        assert file.tags()["model"] == "model"


def test_an_image_in_degrees_is_warped_with_one_flag(folder, tmp_path, capsys):
    path, out = tmp_path / "image.tif", tmp_path / "out.tif"
    place = rasterio.Affine(0.00014, 0, 12.0, 0, -0.00009, 45.0)
    profile = {"width": 300, "height": 260, "count": 3, "dtype": "uint16", "crs": "EPSG:4326"}
    with rasterio.open(path, "w", driver="GTiff", transform=place, **profile) as file:
        file.write(np.random.default_rng(5).integers(900, 1900, (3, 260, 300), np.uint16))
        file.descriptions = ("B04", "B03", "B02")

    assert run(words(folder, path, "--out", out)) == 2
    assert "Pass --reproject" in capsys.readouterr().err
    assert run(words(folder, path, "--out", out, "--reproject", "--resample", "exact")) == 0

    assert "is warped to EPSG:32633 while it is read" in " ".join(capsys.readouterr().err.split())
    with rasterio.open(out) as file:
        assert file.tags()["reprojected"].startswith("from EPSG:4326 (B04: pixels of 11.0")
        assert file.crs == "EPSG:32633"
        assert np.isfinite(file.read(1)).sum() >= 4


def test_a_map_of_classes_is_one_flag_and_its_files_are_listed(folder, tmp_path, capsys):
    out = tmp_path / "map.tif"
    flags = ["--what", "classes", "--min-score", "0.99", "--with", "score,gap"]

    assert run(words(folder, folder / "scene1", "--out", out, *flags)) == 0

    listed = capsys.readouterr().out.splitlines()[-3:]
    assert listed == [str(out), str(tmp_path / "map_certainty.tif"), f"{out}.aux.xml"]
    with rasterio.open(out) as file:
        assert file.read().tolist() == [[[3, 3]]]
        assert file.tags()["min_score"] == "0.99"
    assert run(words(folder, folder / "scene1", "--out", out, "--with", "margin")) == 2
    assert "Choose each once from score, gap, entropy" in capsys.readouterr().err


def test_scenes_of_a_list_are_done_and_those_that_fail_are_named(folder, tmp_path, capsys):
    path = tmp_path / "list.txt"
    path.write_text(f"{folder / 'scene1'}\n{tmp_path / 'nowhere'}\n{folder / 'scene2'}\n")

    code = run(words(folder, "--list", path, "--out-dir", tmp_path / "out", "--json"))

    told = capsys.readouterr()
    assert code == 1
    assert [row["status"] for row in json.loads(told.out)] == ["done", "failed", "done"]
    assert "SceneError: 1 of 3 scenes failed" in told.err
    assert "nowhere" in told.err
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == [
        "scene1.tif",
        "scene2.tif",
    ]


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        (["product"], "--out FILE"),
        (["--list", "x"], "needs --out-dir"),
        (["product", "--list", "x", "--out-dir", "y"], "leave PRODUCT"),
        (["product", "--out", "x.tif", "--processes", "2"], "belong to --list"),
        (["product", "--out", "x.tif", "--workers", "2"], "belong to --list"),
        (["--list", "x", "--out-dir", "y", "--bands", "rgb"], "cannot be used with --list"),
    ],
)
def test_flags_that_do_not_go_together_are_refused(folder, flags, reason, capsys):
    assert run(words(folder, *flags)) == 2
    assert reason in capsys.readouterr().err


def test_an_interruption_says_that_the_same_command_goes_on(folder, tmp_path, monkeypatch, capsys):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("reben.predict.scene.predict_scene", interrupted)

    assert run(words(folder, folder / "scene1", "--out", tmp_path / "out.tif")) == 130
    assert "the same command goes on from there" in capsys.readouterr().err


def test_a_box_names_the_windows_to_predict_and_may_begin_with_a_minus(folder, tmp_path, capsys):
    out = tmp_path / "out.tif"
    # The scene lies at 12.46 to 12.49 degrees east; its first window ends at 12.474.
    box = ["--bbox", "12.45,45.1,12.47,45.2"]

    assert run(words(folder, folder / "scene1", "--out", out, *box)) == 0
    assert "1 windows in the area (1 outside), 0 of them left out" in capsys.readouterr().err

    out = tmp_path / "elsewhere.tif"
    assert run(words(folder, folder / "scene1", "--out", out, "--bbox", "-3,45,-2,46")) == 2
    assert "from -3.0000 to -2.0000 in longitude" in capsys.readouterr().err

    assert run(words(folder, folder / "scene1", "--out", out, *box, "--aoi", "a.gpkg")) == 2
    assert "--aoi and --bbox both name an area" in capsys.readouterr().err


# STAC and Sentinel-1 ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def items(tmp_path_factory):
    """Two items of one made-up place, on two days, as files with their bands."""
    folder = tmp_path_factory.mktemp("items")
    found = []
    for id, day, cloud in (("A", "2023-06-05", 5), ("B", "2023-08-21", 40)):
        made = make_band_folder(folder / id, bands=RGB.names, width=240, height=120)
        item = make_item(made, base=f"{made.path}/", id=id)
        item |= {"bbox": [12, 53, 12.1, 53.3], "collection": "sentinel-2-l2a"}
        item["properties"] |= {"datetime": f"{day}T10:10:31Z", "eo:cloud_cover": cloud}
        item["properties"] |= {"s2:processing_baseline": "05.09"}
        found.append(item)
    return found


def of_items(folder, *more):
    return ["predict-scene", str(folder / "model"), *map(str, more)]


def test_a_collection_of_items_is_narrowed_down_to_one(folder, items, tmp_path, capsys):
    path = write_item(tmp_path / "items.json", {"type": "FeatureCollection", "features": items})

    assert run(of_items(folder, path, "--out", tmp_path / "no.tif")) == 2
    told = capsys.readouterr().err
    assert "A (2023-06-05, cloud 5 %); B (2023-08-21, cloud 40 %)" in told
    assert f"{path}#A" in told
    for number, more in enumerate(
        ([f"{path}#B"], [path, "--datetime", "2023-08"], [path, "--collection", "x"])
    ):
        out = tmp_path / f"{number}.tif"
        assert run(of_items(folder, *more, "--out", out)) == (2 if number == 2 else 0)
        if number < 2:
            with rasterio.open(out) as file:
                assert file.tags()["product"] == "B"
    assert "has no item for collection x" in capsys.readouterr().err


def test_an_api_is_searched_by_box_date_and_cloud(folder, items, tmp_path, capsys):
    flags = ["--bbox", "12.01,53.203,12.02,53.206", "--datetime", "2023", "--max-cloud", "20"]
    root = Path(items[0]["assets"]["red"]["href"]).parents[1]
    with serve_folder(root) as (url, _), serve_api(StacApi([])) as api:
        api.items = json.loads(json.dumps(items).replace(str(root), url))
        assert run(of_items(folder, api.url, *flags, "--out", tmp_path / "out.tif")) == 0
        assert run(of_items(folder, api.url, "--out", tmp_path / "no.tif")) == 2

    assert "--bbox WEST,SOUTH,EAST,NORTH" in capsys.readouterr().err
    with rasterio.open(tmp_path / "out.tif") as file:
        assert file.tags()["product"] == "A"


def test_choosing_an_item_belongs_to_stac(folder, tmp_path, capsys):
    more = [folder / "scene1", "--out", tmp_path / "no.tif", "--max-cloud", "20"]
    assert run(words(folder, *more)) == 2
    assert "--max-cloud: chooses among STAC items" in capsys.readouterr().err


@pytest.fixture
def radar(folder, tmp_path):
    """A model of Sentinel-1 and products for it: the words before ``--out``."""
    torch.manual_seed(5)
    model = Classifier("test_resnet", "s1", labels=("A", "B")).save_pretrained(tmp_path / "s1")
    for band, level in (("VV", -10), ("VH", -17)):
        pixels = np.random.default_rng(level % 7).normal(level, 2, (120, 240)).astype(np.float32)
        write_tiff(tmp_path / "radar" / f"20230821T051234_Sigma0_{band}_db.tif", pixels)
    return ["predict-scene", str(model)]


def test_sentinel_1_alone_is_predicted_as_product_and_as_sentinel1(radar, tmp_path, capsys):
    given = (["radar"], ["--sentinel1", "radar"])
    found = []
    for number, (*flag, name) in enumerate(given):
        out = tmp_path / f"{number}.tif"
        picture = ["--quicklook", str(tmp_path / f"{number}.png")]
        assert run([*radar, *flag, str(tmp_path / name), "--out", str(out), *picture]) == 0
        with rasterio.open(out) as file:
            found.append(file.read())
            tags = file.tags()
    np.testing.assert_array_equal(*found)
    assert np.isfinite(found[0]).all()
    assert tags["source"] == "Sentinel-1 alone"
    assert tags["sentinel1_quantity"] == "sigma0"
    assert "clouds do not hide" in tags["mask"]
    assert tags["TIFFTAG_COPYRIGHT"].endswith("2023")


def test_a_map_without_any_window_is_said_aloud(radar, tmp_path, caplog):
    for band in ("VV", "VH"):
        pixels = np.full((120, 240), np.nan, np.float32)
        write_tiff(tmp_path / "none" / f"Sigma0_{band}_db.tif", pixels)

    assert run([*radar, str(tmp_path / "none"), "--out", str(tmp_path / "out.tif")]) == 0

    assert "Nothing of none was predicted: all windows were left out, 2 of 2 for" in caplog.text
