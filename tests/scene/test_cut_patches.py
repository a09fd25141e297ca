"""Patches cut out of scenes, against rasterio's reads of the files and predict-scene's windows."""

import csv
import json

import numpy as np
import pyproj
import pytest
import rasterio
import shapely
import torch
from rasterio.windows import from_bounds

from reben.app.cli import run
from reben.data.patch_folders.folder import read_patch_folder
from reben.data.selecting.label_table import read_label_names
from reben.errors import AreaError, ConfigError, OutputError
from reben.model.classifier import Classifier
from reben.predict.scene import predict_scene
from reben.scene.cut import cut_patches
from reben.scene.opening import Opening
from reben.spec.bands import PIXEL_METRES
from reben.spec.labels import LABELS
from scene.made_up_product import make_safe, write_tiff

LEFT, TOP = 300_000, 5_900_040
WIDTH, HEIGHT = 480, 360
DEGREES = pyproj.Transformer.from_crs(32633, 4326, always_xy=True)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return make_safe(tmp_path_factory.mktemp("cut"), width=WIDTH, height=HEIGHT, cloudy_columns=120)


def write_features(path, shapes, **columns):
    """GeoJSON of shapes in the metres of the scene."""
    features = []
    for number, shape in enumerate(shapes):
        degrees = shapely.transform(
            shape, lambda points: np.column_stack(DEGREES.transform(points[:, 0], points[:, 1]))
        )
        features.append(
            {
                "type": "Feature",
                "geometry": json.loads(shapely.to_geojson(degrees)),
                "properties": {name: values[number] for name, values in columns.items()},
            }
        )
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    return path


def point(column, row):
    """The place of a pixel."""
    return shapely.Point(LEFT + 10 * column, TOP - 10 * row)


def rows_of(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_point_gives_the_patch_around_it_with_the_pixels_that_rasterio_reads(made, tmp_path):
    at = write_features(
        tmp_path / "a.geojson",
        [point(150.2, 200.4), point(61, 59)],
        name=["farm", "lake"],
        labels=["Arable land; Pastures", "Inland waters"],
    )
    found = cut_patches(made.path, at, tmp_path / "out", id_column="name")
    assert found.names == ("farm", "lake")
    # 150.2 - 60 = 90.2 -> 90, 200.4 - 60 = 140.4 -> 138 (multiples of 6)
    for name, column, row in (("farm", 90, 138), ("lake", 0, 0)):
        west, north = LEFT + 10 * column, TOP - 10 * row
        for band, metres in PIXEL_METRES.items():
            if band in ("VV", "VH"):
                continue
            path = tmp_path / "out" / "S2" / name / f"{name}_{band}.tif"
            with rasterio.open(path) as file, rasterio.open(made.image(band)) as whole:
                bounds = (west, north - 1200, west + 1200, north)
                assert tuple(file.bounds) == bounds
                assert (file.crs, file.res) == (whole.crs, (metres, metres))
                assert (file.dtypes, file.nodata) == (("uint16",), 0)
                stored = whole.read(1, window=from_bounds(*bounds, whole.transform)).astype(int)
                np.testing.assert_array_equal(file.read(1), np.maximum(stored - 1000, 0))
    table = rows_of(tmp_path / "out" / "labels.csv")
    assert [row["labels"] for row in table] == ["Arable land; Pastures", "Inland waters"]
    outline = shapely.from_wkt(table[0]["geometry"])
    corner = DEGREES.transform(LEFT + 900, TOP - 1380)
    assert outline.distance(shapely.Point(corner)) < 1e-6
    assert outline.area > 0
    assert read_label_names(tmp_path / "out" / "labels.csv") == LABELS
    told = json.loads((tmp_path / "out" / "cut.json").read_text())
    assert told["boa_offset"] == "-1000"
    assert told["attribution"] == "Contains modified Copernicus Sentinel data 2023"


def test_the_scores_of_a_cut_patch_are_those_of_the_window_at_its_place(made, tmp_path):
    torch.manual_seed(2)
    model = Classifier("test_resnet", "B05,B08,B11,B12", labels=("A", "B", "C"))
    predict_scene(model, made.path, tmp_path / "map.tif", max_bad=1)
    at = write_features(tmp_path / "a.geojson", [point(180, 180)])
    cut_patches(made.path, at, tmp_path / "out")
    scores = model.predict(read_patch_folder(tmp_path / "out" / "S2" / "a_1")).values
    with rasterio.open(tmp_path / "map.tif") as file:
        np.testing.assert_allclose(file.read()[:, 1, 1], scores, atol=1e-6)


@pytest.mark.parametrize(
    ("within", "wanted"),
    [
        (False, {(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2)}),
        (True, {(0, 1)}),
    ],
)
def test_a_polygon_gives_the_patches_of_the_grid_of_windows(within, wanted, made, tmp_path):
    area = shapely.box(LEFT + 1190, TOP - 1210, LEFT + 2410, TOP + 5)
    at = write_features(tmp_path / "a.geojson", [area], name=["field"])
    found = cut_patches(made.path, at, tmp_path / "out", id_column="name", within=within)
    corners = set()
    for name in found.names:
        with rasterio.open(tmp_path / "out" / "S2" / name / f"{name}_B02.tif") as file:
            corners.add(((TOP - file.bounds.top) / 1200, (file.bounds.left - LEFT) / 1200))
    assert corners == wanted
    beyond = [name for name, why in found.left_out.items() if "outside" in why]
    assert len(beyond) == (0 if within else 3)  # it reaches over the upper edge
    assert (tmp_path / "out" / "patches.csv").is_file()


def test_what_is_hidden_or_outside_is_left_out_and_named(made, tmp_path):
    names = ["good", "cloudy", "edge", "far"]
    shapes = [point(100, 100), point(420, 100), point(30, 100), shapely.Point(LEFT + 9e5, TOP)]
    at = write_features(tmp_path / "a.geojson", shapes, name=names)
    found = cut_patches(made.path, at, tmp_path / "out", id_column="name")
    assert found.names == ("good",)
    assert found.left_out["cloudy"].startswith("100% of its pixels")
    assert "partly or wholly outside" in found.left_out["edge"]
    assert "outside the scene" in found.left_out["far"]
    assert [row["patch_id"] for row in rows_of(tmp_path / "out" / "patches.csv")] == ["good"]
    assert cut_patches(made.path, at, tmp_path / "all", id_column="name", max_bad=1).names == (
        "good",
        "cloudy",
    )
    at = write_features(tmp_path / "b.geojson", shapes[2:])
    with pytest.raises(
        AreaError, match=r"2 were left out, the first one b_\d: it lies.* smaller --size"
    ):
        cut_patches(made.path, at, tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_backscatter_is_cut_at_the_same_place_into_a_tree_of_its_own(made, tmp_path):
    random = np.random.default_rng(0)
    stored = {}
    for band, level in (("VV", -12), ("VH", -19)):
        stored[band] = random.normal(level, 2, (HEIGHT, WIDTH)).astype(np.float32)
        write_tiff(tmp_path / "s1" / f"x_{band}.tif", stored[band], left=LEFT, top=TOP)
    at = write_features(tmp_path / "a.geojson", [point(180, 180)])
    words = ["cut", str(made.path), "--at", str(at), "--out", str(tmp_path / "out")]
    words += ["--sentinel1", str(tmp_path / "s1"), "--sentinel1-unit", "db"]
    assert run([*words, "--sentinel1-quantity", "sigma0"]) == 0
    found = read_patch_folder(tmp_path / "out" / "S1" / "a_1")
    assert found["VV"].dtype == np.float32
    for band in stored:
        np.testing.assert_allclose(found[band], stored[band][120:240, 120:240], atol=1e-5)
    model = Classifier("test_resnet", "B05,VV,VH").save_pretrained(tmp_path / "model")
    trees = [str(tmp_path / "out" / "S2"), "--s1", str(tmp_path / "out" / "S1")]
    assert run(["predict", str(model), *trees, "--out", str(tmp_path / "a.csv")]) == 0
    assert [row["id"] for row in rows_of(tmp_path / "a.csv")] == ["a_1"]


def test_splits_and_countries_of_the_features_are_kept(made, tmp_path):
    shapes, given = [point(180, 180), point(240, 180)], {"split": ["train", "test"]}
    at = write_features(tmp_path / "a.geojson", shapes, labels=["a", "b"], **given)
    cut_patches(made.path, at, tmp_path / "out")
    rows = rows_of(tmp_path / "out" / "labels.csv")
    assert [(row["patch_id"], row["split"]) for row in rows] == [("a_1", "train"), ("a_2", "test")]
    assert "country" not in rows[0]


def test_where_no_backscatter_was_measured_a_patch_has_none(made, tmp_path):
    stored = np.random.default_rng(0).normal(-12, 2, (HEIGHT, WIDTH)).astype(np.float32)
    stored[:, :130] = np.nan
    for band in ("VV", "VH"):
        write_tiff(tmp_path / "s1" / f"x_{band}.tif", stored, left=LEFT, top=TOP)
    at = write_features(tmp_path / "a.geojson", [point(180, 180)])
    told = Opening(sentinel1_unit="db", sentinel1_quantity="sigma0")
    cut_patches(made.path, at, tmp_path / "out", sentinel1=tmp_path / "s1", opening=told)
    for band in ("VV", "VH"):
        with rasterio.open(tmp_path / "out" / "S1" / "a_1" / f"a_1_{band}.tif") as file:
            np.testing.assert_allclose(file.read(1), stored[120:240, 120:240], atol=1e-5)


def test_patches_of_another_size_are_cut(made, tmp_path):
    at = write_features(tmp_path / "a.geojson", [point(182, 180)])
    cut_patches(made.path, at, tmp_path / "out", size=660)
    with rasterio.open(tmp_path / "out" / "S2" / "a_1" / "a_1_B01.tif") as file:
        assert file.shape == (11, 11)
        assert file.bounds.left == LEFT + 1500  # 182 - 33 = 149, to 150
    with pytest.raises(ConfigError, match="multiple of 60"):
        cut_patches(made.path, at, tmp_path / "b", size=650)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["a", "a"], "occurs twice"),
        (["a", "b/c"], "cannot be the name of a folder"),
        (["a", ""], "is no name of a folder"),
        (["a", "x" * 300], "too long"),
        (["a", None], "is no name"),
    ],
)
def test_names_that_are_none_of_folders_are_refused_before_anything_is_read(
    names, message, tmp_path
):
    at = write_features(tmp_path / "a.geojson", [point(1, 1), point(2, 2)], name=names)
    with pytest.raises(ConfigError, match=message):
        cut_patches(tmp_path / "no-scene", at, tmp_path / "out", id_column="name")


def test_a_column_that_is_not_there_is_named_with_those_that_are(tmp_path):
    at = write_features(tmp_path / "a.geojson", [point(1, 1)], name=["a"])
    with pytest.raises(ConfigError, match=r"no column 'nam'; it has: name.*--id"):
        cut_patches(tmp_path / "no-scene", at, tmp_path / "out", id_column="nam")
    with pytest.raises(ConfigError, match=r"no column 'class'.*--labels"):
        cut_patches(tmp_path / "no-scene", at, tmp_path / "out", labels_column="class")


def test_a_folder_that_holds_something_is_not_written_into(made, tmp_path):
    at = write_features(tmp_path / "a.geojson", [point(180, 180)])
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("x")
    with pytest.raises(OutputError, match="holds mine"):
        cut_patches(made.path, at, tmp_path / "out")
