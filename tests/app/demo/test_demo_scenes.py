"""A scene's scores on the page: what is read, what is refused, which cell is which."""

import re

import numpy as np
import pytest
from markupsafe import escape

from reben.app.demo.markup import draw
from reben.app.demo.scenes import SceneScores, open_scene_result, parse_scene
from reben.errors import UploadError
from reben.spec.labels import COLOURS, LABELS

rasterio = pytest.importorskip("rasterio")

LEFT, TOP, STRIDE = 300_000, 5_400_000, 600
NAMES = ("Pastures", "Arable land", "Inland waters")


def scores():
    """[3, 4, 5]: every cell its own; one has none."""
    values = np.random.default_rng(1).uniform(0, 1, (3, 4, 5)).astype(np.float32)
    values[:, 1, 3] = np.nan
    return values


def write(path, values, *, names=NAMES, crs="EPSG:32633", nodata=np.nan, **tags):
    profile = {
        "driver": "GTiff",
        "count": values.shape[0],
        "height": values.shape[1],
        "width": values.shape[2],
        "dtype": values.dtype,
        "nodata": nodata,
        "crs": crs,
        "transform": rasterio.Affine(STRIDE, 0, LEFT, 0, -STRIDE, TOP),
    }
    with rasterio.open(path, "w", **profile) as file:
        file.write(values)
        if names:
            file.descriptions = names
        file.update_tags(**tags)
    return path


@pytest.fixture
def scene(tmp_path) -> SceneScores:
    path = write(tmp_path / "scores.tif", scores(), thresholds="0.5; 0.25; 0.75", product="S2A_X")
    return open_scene_result(path)


def test_a_cell_has_the_scores_that_the_raster_has_there(scene):
    result = scene.result(2, 3)
    np.testing.assert_array_equal(np.float32(result.full), scores()[:, 3, 2])
    assert result.labels == NAMES
    assert result.thresholds == (0.5, 0.25, 0.75)


def test_a_map_of_classes_is_no_map_of_scores(tmp_path):
    path = write(
        tmp_path / "map.tif",
        np.ones((1, 4, 5), np.uint8),
        names=("dominant class",),
        nodata=0,
        what="classes",
    )
    with pytest.raises(UploadError, match=r"holds classes.*--what scores"):
        open_scene_result(path)


def test_a_cell_lies_where_the_raster_says(scene):
    place = scene.cell_place(2, 3)
    assert (place.left, place.top) == (LEFT + 2 * STRIDE, TOP - 3 * STRIDE)
    assert (place.right - place.left, place.top - place.bottom) == (STRIDE, STRIDE)


@pytest.mark.parametrize("cell", [(3, 1), (-1, 0), (5, 0), (0, 4)])
def test_a_cell_without_scores_or_outside_has_no_result(scene, cell):
    assert scene.result(*cell) is None


def test_the_class_map_has_the_colour_of_the_highest_score(scene):
    pixels = np.asarray(scene.class_map())
    for row, column in ((0, 0), (3, 4), (2, 1)):
        label = NAMES[int(scores()[:, row, column].argmax())]
        colour = "#" + bytes(pixels[row, column, :3]).hex()
        assert (colour, pixels[row, column, 3]) == (COLOURS[label], 255)
    assert pixels[1, 3, 3] == 0


def test_labels_without_a_corine_colour_have_colours_of_their_own_on_map_and_legend():
    scene = SceneScores("x", scores(), ("mine", "yours", "Pastures"), (0.5,) * 3, None, {})
    known = np.asarray(scene.class_map())[scene.is_known][:, :3]
    on_map = {"#" + bytes(pixel).hex() for pixel in known}
    in_legend = set(re.findall("background:(#[0-9a-f]{6})", draw("legend", scene)))
    assert on_map == in_legend
    assert len(on_map) == 3


def test_shares_count_the_cells_that_have_scores(scene):
    best = [NAMES[k] for k in scores().argmax(0)[np.isfinite(scores()).all(0)]]
    assert dict(scene.shares()) == {n: pytest.approx(best.count(n) / 19) for n in set(best)}


def test_bytes_are_scores_times_two_hundred(tmp_path):
    steps = np.rint(np.nan_to_num(scores(), nan=1.275) * 200).astype(np.uint8)
    scene = open_scene_result(write(tmp_path / "b.tif", steps, nodata=255))
    np.testing.assert_allclose(scene.scores_KYX, scores(), atol=0.0026)
    assert scene.result(3, 1) is None


def test_the_quick_look_beside_the_scores_is_found_through_the_folder(tmp_path):
    write(tmp_path / "scores.tif", scores())
    (tmp_path / "map.png").write_bytes(b"\x89PNG\r\n and more")
    assert open_scene_result(tmp_path).quicklook == b"\x89PNG\r\n and more"
    (tmp_path / "map.png").write_bytes(b"<svg onload=...>")
    assert open_scene_result(tmp_path).quicklook is None


def test_thresholds_that_are_not_there_are_one_half(tmp_path):
    for number, tags in enumerate(({}, {"thresholds": "0.1; 0.2"}, {"thresholds": "nonsense"})):
        scene = open_scene_result(write(tmp_path / f"{number}.tif", scores(), **tags))
        assert scene.thresholds == (0.5, 0.5, 0.5)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"names": None}, "not named by labels"),
        ({"names": ("Pastures", "Pastures", "Urban fabric")}, "not named by labels"),
        ({"values": scores().astype(np.float64)}, "holds float64"),
        ({"values": scores() * 300}, "outside 0 to 1"),
    ],
)
def test_a_raster_that_holds_no_scores_is_refused(tmp_path, change, said):
    path = write(tmp_path / "x.tif", change.pop("values", scores()), **change)
    with pytest.raises(UploadError, match=said):
        open_scene_result(path)


@pytest.mark.parametrize("content", [b"", b"a letter", b"II*\0 and nothing"])
def test_what_is_no_geotiff_is_refused(content):
    with pytest.raises(UploadError, match=r"x.tif cannot be read as a GeoTIFF"):
        parse_scene(content, "x.tif")


def test_a_raster_far_too_large_is_refused_before_it_is_read(tmp_path):
    path = tmp_path / "x.tif"
    profile = {"driver": "GTiff", "count": 19, "height": 9000, "width": 9000, "dtype": "float32"}
    transform = rasterio.Affine(10, 0, LEFT, 0, -10, TOP)
    with rasterio.open(
        path, "w", transform=transform, crs="EPSG:32633", sparse_ok=True, **profile
    ) as file:
        file.descriptions = LABELS
    with pytest.raises(UploadError, match="9000 x 9000 pixels in 19 bands"):
        open_scene_result(path)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(UploadError, match=r"Cannot read .*scores.tif"):
        open_scene_result(tmp_path)


def test_names_in_a_file_from_outside_are_escaped():
    evil = '"><script>alert(1)</script>'
    labels = (evil, *NAMES[1:])
    scene = SceneScores(evil, scores() * [[[1]], [[0]], [[0]]], labels, (0.5,) * 3, None, {}, b"x")
    cell = scene.result(0, 0)
    shown = "".join(draw(part, scene) for part in ("class_map", "legend", "quicklook"))
    shown += draw("scores", cell, (evil,))
    shown += draw("facts", [*scene.cell_facts(0, 0), (evil, evil)], "")
    assert shown.count("alert(1)") == shown.count(str(escape(evil))) > 6


def test_the_middle_is_a_cell_with_scores(scene):
    values = scores()
    values[:, :, 1:] = np.nan
    assert parse_middle(values)[0] == 0
    assert scene.result(*scene.middle) is not None


def parse_middle(values):
    return SceneScores("x", values, NAMES, (0.5,) * 3, None, {}).middle
