"""Labels of patches of one's own, in every form that people keep them in."""

import geopandas
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from shapely.geometry import Point, box

from reben.data.encoding.own_labels import Labelled, read_own_labels
from reben.errors import MetadataError
from reben.spec.patches import Bounds

NAMES = ["farm_0", "farm_1", "farm_2"]
WORDS = ["maize;wheat", "maize", "wheat"]
LISTS = [tuple(word.split(";")) for word in WORDS]
SPLITS = ["train", "validation", "test"]


def place(number):
    """Where a patch lies: each 30 km east of the one before."""
    left = 400_000 + 30_000 * number
    return Bounds(32633, left, 5_300_040 - 1200, left + 1200, 5_300_040)


def square(number):
    return box(*place(number)[1:])


def write_csv(path, columns):
    rows = zip(*columns.values(), strict=True)
    path.write_text("\n".join([",".join(columns), *(",".join(map(str, row)) for row in rows)]))
    return path


def write(form, folder):
    flags = {key: [int(key in one) for one in LISTS] for key in ("maize", "wheat")}
    if form == "text":
        columns = {"id": NAMES, "labels": WORDS, "split": SPLITS}
        return write_csv(folder / "t.csv", columns)
    if form == "flags":
        return write_csv(folder / "t.csv", {"patch_id": NAMES, **flags, "split": SPLITS})
    if form == "list":
        table = pa.table({"patch_id": NAMES, "labels": LISTS, "split": SPLITS})
        pq.write_table(table, folder / "t.parquet")
        return folder / "t.parquet"
    if form == "by name":
        table = geopandas.GeoDataFrame(
            {"id": NAMES, "labels": WORDS, "split": SPLITS},
            geometry=[square(number) for number in range(3)],
            crs="EPSG:32633",
        )
        table.to_file(folder / "t.gpkg")
        return folder / "t.gpkg"
    # A field for each label in the middle of each patch, and one that only touches the first.
    fields = [
        (Point(square(number).centroid).buffer(50 + 10 * at), label, SPLITS[number])
        for number in range(3)
        for at, label in enumerate(LISTS[number])
    ]
    _, bottom, right, _ = square(0).bounds
    fields.append((box(right, bottom, right + 1200, bottom + 1200), "rice", "test"))
    shapes, words, splits = zip(*fields, strict=True)
    table = geopandas.GeoDataFrame(
        {"label": words, "split": splits}, geometry=list(shapes), crs="EPSG:32633"
    )
    table.to_file(folder / "t.gpkg")
    return folder / "t.gpkg"


@pytest.mark.parametrize("form", ["text", "flags", "list", "by name", "by place"])
def test_labels_come_in_several_forms(tmp_path, form):
    labels = read_own_labels(write(form, tmp_path))
    found = [labels.of(name, place(number)) for number, name in enumerate(NAMES)]
    assert found == [Labelled(one, split) for one, split in zip(LISTS, SPLITS, strict=True)]
    assert labels.of("farm_9", place(9)) is None


def test_degrees_are_moved_to_the_zone_of_a_patch(tmp_path):
    field = geopandas.GeoSeries([square(1).buffer(-100)], crs="EPSG:32633").to_crs(4326)
    file = tmp_path / "t.geojson"
    geopandas.GeoDataFrame({"label": ["rye"]}, geometry=field).to_file(file, driver="GeoJSON")
    labels = read_own_labels(file)
    assert labels.of("farm_1", place(1)) == Labelled(("rye",))
    assert labels.of("farm_0", place(0)) is None
    with pytest.raises(MetadataError, match="farm_1 does not say where it lies"):
        labels.of("farm_1", None)


def test_names_that_no_patch_has_are_told(tmp_path):
    labels = read_own_labels(write("text", tmp_path))
    assert labels.unused(["farm_1"]) == ["farm_0", "farm_2"]


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"patch_id": ["a"], "crop": ["rye"]}, "has no labels; its columns are patch_id, crop"),
        ({"name": ["a"], "labels": ["rye"]}, "no column patch_id or id; it has name, labels"),
        ({"id": ["a", "a"], "label": ["x", "y"]}, "names the patch 'a' twice"),
        ({"id": ["a"], "label": ["x"], "labels": ["x"]}, "columns labels and label. Keep one"),
    ],
)
def test_what_is_ambiguous_is_refused(tmp_path, columns, said):
    with pytest.raises(MetadataError, match=said):
        read_own_labels(write_csv(tmp_path / "t.csv", columns))


def test_features_that_contradict_each_other_are_refused(tmp_path):
    table = {"label": ["a", "b"], "split": ["train", "test"]}
    file = tmp_path / "t.gpkg"
    geopandas.GeoDataFrame(table, geometry=[square(0)] * 2, crs="EPSG:32633").to_file(file)
    with pytest.raises(MetadataError, match="different things of its split: test, train"):
        read_own_labels(file).of("farm_0", place(0))
