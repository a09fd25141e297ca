import subprocess
import sys
from xml.etree import ElementTree as ET

import numpy as np
import pytest
import rasterio
import scipy.stats

from made_up_scene import scene_of
from reben.errors import ConfigError, LabelsError, OutputError
from reben.model.classifier import Classifier
from reben.predict.outputs.class_map import (
    MapOptions,
    classes_of,
    measures_of,
    names_of_classes,
    write_map,
)
from reben.predict.outputs.cog import read_tags
from reben.predict.scene import predict_scene
from reben.scene.grid import Grid
from reben.spec.labels import COLOURS, LABELS

GRID = Grid("EPSG:32633", 300_000, 5_000_040, width=1_200, height=600)
READ_ELSEWHERE = """
import sys, rasterio, rasterio.shutil
with rasterio.open(sys.argv[1]) as file:
    print(file.count, file.dtypes[0], file.nodata, file.colorinterp[0].name)
    for value in map(int, sys.argv[3:]):
        print(*file.colormap(1)[value])
rasterio.shutil.copy(sys.argv[1], sys.argv[2], driver="VRT")
"""


def scores_of(height=5, width=10, num_labels=19):
    values = np.random.default_rng(3).random((height, width, num_labels), np.float32) * 0.4
    values[0, 0, 3], values[0, 1, 18], values[0, 2] = 0.9, 0.95, 0.1
    values[1, 2] = np.nan
    return values


def write(path, values=None, tags=None, **options):
    write_map(
        path,
        scores_of() if values is None else values,
        grid=GRID,
        stride_metres=1200,
        labels=LABELS,
        dtype="float32",
        options=MapOptions(**options),
        tags=tags or {},
    )
    return path


def test_a_map_of_classes_opens_coloured_and_named_in_gdal_elsewhere(tmp_path):
    path = write(tmp_path / "map.tif", what="classes", min_score=0.3)

    answer = subprocess.run(  # GDAL alone, in a process of its own
        [sys.executable, "-c", READ_ELSEWHERE, path, tmp_path / "copy.vrt", "4", "19"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.splitlines()

    assert answer[0] == "1 uint8 0.0 palette"
    assert answer[1:] == [
        "{} {} {} 255".format(*bytes.fromhex(COLOURS[LABELS[place]][1:])) for place in (3, 18)
    ]
    band = ET.parse(tmp_path / "copy.vrt").getroot().find("VRTRasterBand")
    names = [category.text for category in band.find("CategoryNames")]
    assert names == ["masked", *LABELS, "uncertain (below 0.3)"]
    table = band.find("GDALRasterAttributeTable")
    rows = [[cell.text for cell in row] for row in table.iter("Row")]
    assert [row[:2] for row in rows[:2]] == [["1", LABELS[0]], ["2", LABELS[1]]]
    assert rows[19][:2] == ["20", "uncertain (below 0.3)"]
    with rasterio.open(path) as file:
        colours = file.colormap(1)
    assert all(tuple(map(int, row[2:])) == colours[int(row[0])][:3] for row in rows)


def test_a_cell_has_the_class_of_its_highest_score_unless_that_is_too_low(tmp_path):
    with rasterio.open(write(tmp_path / "m.tif", what="classes", min_score=0.3)) as file:
        values = file.read(1)
        assert file.descriptions == ("dominant class",)
    scores = scores_of()
    highest = np.nanmax(np.nan_to_num(scores), axis=-1)
    assert values[0, :3].tolist() == [4, 19, 20]
    assert values[1, 2] == 0
    expected = np.where(highest < 0.3, 20, np.nan_to_num(scores).argmax(-1) + 1)
    expected[1, 2] = 0
    np.testing.assert_array_equal(values, expected)
    assert 20 not in classes_of(scores)


def test_a_score_that_is_the_limit_is_certain():
    assert classes_of(np.full((1, 1, 2), 0.25, np.float32), 0.25).tolist() == [[1]]


def test_a_map_of_classes_is_cloud_optimised_and_its_overviews_hold_classes_only(tmp_path):
    values = np.zeros((1_100, 700, 19), np.float32)
    values[..., 2] = 0.5
    values[::3, :, 11] = values[:, ::3, 11] = 0.9  # the mean of classes 3 and 12 is another class
    with rasterio.open(write(tmp_path / "m.tif", values, what="classes")) as file:
        assert file.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        assert file.overviews(1) == [2, 4]
        small = file.read(1, out_shape=(275, 175))
    assert set(np.unique(small)) <= {3, 12}


def test_measures_are_bands_of_a_second_file(tmp_path):
    path = write(tmp_path / "m.tif", what="classes", measures=("gap", "score"), tags={"a": "b"})

    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "m.tif",
        "m.tif.aux.xml",
        "m_certainty.tif",
    ]
    assert MapOptions("classes", 0, ("gap",)).beside(path) == (
        tmp_path / "m_certainty.tif",
        tmp_path / "m.tif.aux.xml",
    )
    with rasterio.open(tmp_path / "m_certainty.tif") as file:
        assert file.descriptions == ("gap", "score")
        gap, score = file.read()
        assert file.tags()["measure_gap"] == "the highest score minus the second highest"
        assert (file.tags()["what"], file.tags()["a"]) == ("certainty", "b")
    assert score[0, 0] == np.float32(0.9)
    rest = np.delete(scores_of()[0, 0], 3)
    assert gap[0, 0] == pytest.approx(0.9 - rest.max())
    assert np.isnan(gap[1, 2])


def test_entropy_is_that_of_yes_and_no_for_each_label():
    scores = scores_of()[:1]
    scores[0, 3] = 0.5
    scores[0, 4, 1:], scores[0, 4, 0] = 0, 1
    found = measures_of(scores, ["entropy"])[..., 0]
    expected = scipy.stats.entropy(np.stack([scores, 1 - scores]).astype(float), base=2, axis=0)
    np.testing.assert_allclose(found, expected.mean(-1), atol=1e-6)
    assert found[0, 3] == pytest.approx(1)
    assert found[0, 4] == pytest.approx(0, abs=1e-6)


def test_a_single_label_has_its_score_as_its_gap():
    assert measures_of(np.full((1, 1, 1), 0.75, np.float32), ["gap"]).tolist() == [[[0.75]]]


def test_the_map_says_what_it_holds(tmp_path):
    tags = read_tags(write(tmp_path / "m.tif", what="classes", min_score=0.5))
    assert (tags["what"], tags["min_score"]) == ("classes", "0.5")
    assert tags["classes"].startswith("1 Agro-forestry areas; 2 Arable land; ")
    assert tags["classes"].endswith("; 20 uncertain (below 0.5)")
    assert read_tags(write(tmp_path / "s.tif"))["what"] == "scores"


def test_scores_that_replace_classes_keep_neither_their_names_nor_how_certain_they_were(tmp_path):
    write(tmp_path / "m.tif", what="classes", measures=("gap",))
    write(tmp_path / "m.tif")
    assert [p.name for p in tmp_path.iterdir()] == ["m.tif"]


def test_names_are_what_xml_allows_in_other_letters(tmp_path):
    names = names_of_classes(("A & <b>", "Höhe"))
    assert names == {1: "A & <b>", 2: "Höhe"}
    write_map(
        tmp_path / "m.tif",
        scores_of()[..., :2],
        grid=GRID,
        stride_metres=1200,
        labels=("A & <b>", "Höhe"),
        dtype="float32",
        options=MapOptions("classes"),
        tags={},
    )
    root = ET.parse(tmp_path / "m.tif.aux.xml").getroot()
    assert [one.text for one in root.iter("Category")] == ["masked", "A & <b>", "Höhe"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"what": "labels"}, "scores or classes"),
        ({"min_score": 0.5}, "--what classes"),
        ({"what": "classes", "min_score": 1.5}, "min_score"),
        ({"measures": ("margin",)}, "score, gap, entropy"),
        ({"measures": ("gap", "gap")}, "each once"),
    ],
)
def test_what_no_map_holds_is_refused(options, said):
    with pytest.raises(ConfigError, match=said):
        MapOptions(**options)


def test_more_classes_than_a_byte_holds_are_refused_before_anything_is_read(tmp_path):
    labels = tuple(f"kind {number}" for number in range(255))
    model = Classifier("test_resnet", "rgb", labels=labels)
    scene = scene_of(120, 120, ("B02", "B03", "B04"))
    with pytest.raises(LabelsError, match=r"254 of them, and the model 255.*--what scores"):
        predict_scene(model, scene, tmp_path / "m.tif", what="classes")
    assert scene.reads == []


def test_a_scene_becomes_a_map_of_classes_and_says_which_files_it_wrote(tmp_path):
    scene = scene_of(240, 360)
    scene.mask[:120, :120] = 2
    model = Classifier("test_resnet", "s2")
    scores = predict_scene(model, scene, tmp_path / "scores.tif")
    with rasterio.open(scores.out) as file:
        by_label = np.moveaxis(file.read(), 0, -1)

    found = predict_scene(
        model, scene, tmp_path / "map.tif", what="classes", measures=["score", "entropy"]
    )

    with rasterio.open(found.out) as file:
        np.testing.assert_array_equal(file.read(1), classes_of(by_label))
        assert file.read(1)[0, 0] == 0
    assert [path.name for path in found.beside] == ["map_certainty.tif", "map.tif.aux.xml"]
    assert found.to_dict()["beside"] == [str(path) for path in found.beside]
    assert all(path.is_file() for path in found.beside)
    assert scores.beside == ()
    (tmp_path / "map.tif").unlink()
    with pytest.raises(OutputError, match=r"map_certainty\.tif.*is there already"):
        predict_scene(model, scene, tmp_path / "map.tif", what="classes", measures=["score"])
