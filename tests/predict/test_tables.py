import csv
import json
import sys
import tracemalloc

import numpy as np
import pyarrow.parquet as pq
import pytest

from reben.errors import ConfigError, MissingExtraError
from reben.predict.polygons import from_wkb, rings_of, to_wkb
from reben.predict.table_files import require_ending, write_table
from reben.predict.tables import Rows, batch_of_scores
from reben.spec.patches import Bounds

LABELS = ("Arable land", "Land, with a comma", "Ufer\u00e4")
LIMITS = (0.5, 0.1, 0.3)
SCORES = np.float32([[0.9, 0.2, 0.29], [0.1, 0.05, 0.31], [np.nan, np.nan, np.nan]])
IDS = ["a_01", "b,02", "c"]
PLACES = [
    Bounds(32633, 331_200, 5_330_400, 332_400, 5_331_600),
    None,
    Bounds(32733, 500_000, 8_000_000, 501_200, 8_001_200),
]
ABOVE = [["Arable land", "Land, with a comma"], ["Ufer\u00e4"], []]


def rows():
    return Rows(IDS, SCORES, rings_of(PLACES), {"share": [0.5, None, 1.0]})


def write(path):
    about = {"labels": list(LABELS), "thresholds": list(LIMITS), "model": "m"}
    write_all(path, rows(), rows(), about=about)
    return path


def write_all(path, *several, about=None):
    batches = (batch_of_scores(some, LABELS, LIMITS) for some in several)
    write_table(path, batches, about or {})


def plain(values):
    return [None if np.isnan(v) else float(str(v)) for v in values]


def test_geoparquet_reads_back_with_geopandas(tmp_path):
    geopandas = pytest.importorskip("geopandas")
    from shapely.geometry import Polygon

    frame = geopandas.read_parquet(write(tmp_path / "t.parquet"))
    assert list(frame.columns) == ["id", "geometry", "share", *LABELS, "labels"]
    assert frame.crs.to_epsg() == 4326 or frame.crs.to_string() == "OGC:CRS84"
    assert frame["id"].tolist() == IDS * 2
    np.testing.assert_array_equal(frame[LABELS[1]].to_numpy(), np.tile(SCORES[:, 1], 2))
    assert [list(names) for names in frame["labels"][:3]] == ABOVE
    assert frame.geometry[1] is None
    for place in (0, 2):
        assert frame.geometry[place].equals(Polygon(rings_of(PLACES)[place]))
        assert frame.geometry[place].exterior.is_ccw
    # The area of a patch, measured in its own projection.
    there = frame.geometry[[0]].to_crs(32633)
    assert there.iloc[0].area == pytest.approx(1_440_000, rel=1e-6)
    assert there.iloc[0].bounds == pytest.approx(PLACES[0][1:], abs=1e-3)


def test_geoparquet_says_what_the_standard_asks_for(tmp_path):
    for ending in ("parquet", "geoparquet"):
        metadata = pq.read_metadata(write(tmp_path / f"t.{ending}")).metadata
        geo = json.loads(metadata[b"geo"])
        assert (geo["version"], geo["primary_column"]) == ("1.1.0", "geometry")
        column = geo["columns"]["geometry"]
        assert (column["encoding"], column["geometry_types"]) == ("WKB", ["Polygon"])
        corners = np.array([*rings_of(PLACES)[0], *rings_of(PLACES)[2]])
        np.testing.assert_array_equal(column["bbox"], [*corners.min(0), *corners.max(0)])
        about = json.loads(metadata[b"reben"])
        assert (about["model"], about["thresholds"]) == ("m", list(LIMITS))


def test_csv_reads_back(tmp_path):
    with write(tmp_path / "t.csv").open(newline="", encoding="utf-8") as file:
        found = list(csv.DictReader(file))
    assert list(found[0]) == ["id", "geometry", "share", *LABELS, "labels"]
    assert [row["id"] for row in found] == IDS * 2
    assert [np.float32(row[LABELS[2]]) for row in found[:2]] == SCORES[:2, 2].tolist()
    assert found[2][LABELS[2]] == ""
    assert [row["labels"] for row in found[:3]] == ["; ".join(names) for names in ABOVE]
    assert found[0]["geometry"].startswith("POLYGON ((12.7")
    assert found[1]["geometry"] == ""


def test_json_lines_read_back(tmp_path):
    lines = write(tmp_path / "t.jsonl").read_text(encoding="utf-8").splitlines()
    found = [json.loads(line) for line in lines]
    assert [row["id"] for row in found] == IDS * 2
    for place, label in enumerate(LABELS):
        assert [row[label] for row in found[:3]] == plain(SCORES[:, place])
    assert [row["labels"] for row in found[:3]] == ABOVE
    assert [row["share"] for row in found[:3]] == [0.5, None, 1.0]
    assert found[0]["geometry"]["type"] == "Polygon"
    assert found[1]["geometry"] is None


def test_geojson_reads_back_as_json_and_with_geopandas(tmp_path):
    geopandas = pytest.importorskip("geopandas")
    path = write(tmp_path / "t.geojson")
    found = json.loads(path.read_text(encoding="utf-8"))
    assert found["reben"]["labels"] == list(LABELS)
    assert [feature["id"] for feature in found["features"]] == IDS * 2
    assert found["features"][0]["properties"]["labels"] == ABOVE[0]
    ring = found["features"][2]["geometry"]["coordinates"][0]
    assert [tuple(point) for point in ring] == list(rings_of(PLACES)[2])
    frame = geopandas.read_file(path)
    assert frame["id"].tolist() == IDS * 2
    assert frame.crs.to_epsg() == 4326


def test_geopackages_read_back_with_geopandas(tmp_path):
    geopandas, pyogrio = pytest.importorskip("geopandas"), pytest.importorskip("pyogrio")
    import shapely

    path = write(tmp_path / "t.gpkg")

    assert list(tmp_path.iterdir()) == [path]
    frame = geopandas.read_file(path)
    assert list(frame.columns) == ["id", "share", *LABELS, "labels", "geometry"]
    assert frame.crs.to_epsg() == 4326
    assert frame["id"].tolist() == IDS * 2
    np.testing.assert_array_equal(frame[LABELS[1]].to_numpy(np.float32), np.tile(SCORES[:, 1], 2))
    assert frame["labels"][:3].tolist() == ["; ".join(names) for names in ABOVE]
    assert frame.geometry[1] is None
    for place in (0, 2):
        assert frame.geometry[place].equals(shapely.Polygon(rings_of(PLACES)[place]))
    said = json.loads(pyogrio.read_info(path)["layer_metadata"]["reben"])
    assert said == {"labels": list(LABELS), "thresholds": list(LIMITS), "model": "m"}


@pytest.mark.parametrize("ending", ["parquet", "csv", "jsonl"])
def test_places_may_be_left_out(tmp_path, ending):
    path = tmp_path / f"t.{ending}"
    write_all(path, Rows(IDS, SCORES))
    assert b"geometry" not in path.read_bytes()


@pytest.mark.parametrize("ending", ["geojson", "geoparquet", "gpkg"])
def test_formats_of_places_need_places(tmp_path, ending):
    with pytest.raises(ConfigError, match="say where patches lie"):
        write_all(tmp_path / f"t.{ending}", Rows(IDS, SCORES))
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_ending_lists_those_there_are(tmp_path):
    with pytest.raises(ConfigError, match=r"'\.xlsx'.*\.parquet, \.geoparquet, \.csv"):
        require_ending(".xlsx")


def test_a_geopackage_without_its_extra_is_refused_before_anything_is_done(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyogrio", None)
    with pytest.raises(MissingExtraError, match=r"reben\[tables\]"):
        require_ending(".gpkg")


def test_a_table_that_fails_leaves_what_stood_there(tmp_path):
    path = write(tmp_path / "t.csv")
    before = path.read_bytes()
    with pytest.raises(ConfigError, match="do not belong together"):
        write_all(path, rows(), Rows(IDS, SCORES[:2], rings_of(PLACES)))
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_rows_of_other_columns_than_before_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="Write the same ones"):
        write_all(tmp_path / "t.csv", rows(), Rows(IDS, SCORES))


@pytest.mark.parametrize("name", ["id", "geometry", "labels", "Arable land"])
def test_no_two_columns_have_one_name(name):
    made = Rows(IDS, SCORES, rings_of(PLACES), {name: ["x", "y", "z"]})
    with pytest.raises(ConfigError, match=repr(name)):
        batch_of_scores(made, LABELS, LIMITS)


@pytest.mark.parametrize("ending", ["parquet", "csv", "geojson", "jsonl"])
def test_a_table_without_rows_is_a_table(tmp_path, ending):
    path = tmp_path / f"t.{ending}"
    write_all(path, Rows([], SCORES[:0], []))
    text = path.read_bytes()
    if ending == "parquet":
        assert pq.read_table(path).num_rows == 0
    elif ending == "geojson":
        assert json.loads(text)["features"] == []
    else:
        assert text.count(b"\n") == (1 if ending == "csv" else 0)


def test_well_known_binary_reads_back_and_shapely_agrees():
    shapely = pytest.importorskip("shapely")
    ring = rings_of(PLACES)[0]
    assert from_wkb(to_wkb(ring)) == (ring,)
    assert shapely.from_wkb(to_wkb(ring)).equals(shapely.Polygon(ring))


@pytest.mark.parametrize("ending", ["csv", "geojson", "jsonl", "parquet"])
def test_memory_does_not_grow_with_the_rows(tmp_path, ending):
    def peak(times):
        tracemalloc.start()
        write_all(tmp_path / f"{times}.{ending}", *[many] * times)
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    many = Rows(IDS * 20, np.tile(SCORES, (20, 1)), rings_of(PLACES) * 20)
    few, some = peak(5), peak(10)
    assert peak(80) < 2 * max(few, some)


def test_polygons_across_the_date_line_are_in_one_piece():
    (ring,) = rings_of([Bounds(32660, 833_400, 100_000, 834_600, 101_200)])
    longitudes = np.array(ring)[:, 0]
    assert longitudes.min() < 180 < longitudes.max()
    assert np.ptp(longitudes) < 0.02


def test_a_code_of_no_reference_system_is_refused():
    with pytest.raises(ConfigError, match="EPSG:12345678"):
        rings_of([Bounds(12345678, 0, 0, 1, 1)])
