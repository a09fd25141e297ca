import json

import numpy as np
import pytest
import rasterio
import torch

from made_up_scene import scene_of, write_scene
from reben.app.cli import run
from reben.model.classifier import Classifier
from reben.spec.bands import RGB


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
