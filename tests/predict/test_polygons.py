import json

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reben.predict.polygons import Extent, box_of, cut, from_wkb, rings_of, to_wkb
from reben.predict.table_files import write_table
from reben.predict.tables import Rows, batch_of_scores
from reben.spec.patches import Bounds

shapely = pytest.importorskip("shapely")

ACROSS = Bounds(32660, 833_400, 100_000, 834_600, 101_200)  # zone 60, at its eastern edge
FROM_THE_EAST = Bounds(32601, 396_600, 8_000_000, 397_800, 8_001_200)
PLAIN = Bounds(32633, 331_200, 5_330_400, 332_400, 5_331_600)
LABELS = ("Pastures", "Beaches, dunes, sands")


def write(path, places):
    scores = np.tile(np.float32([[0.9, 0.2]]), (len(places), 1))
    ids = [f"window {number}" for number in range(len(places))]
    write_table(
        path, [batch_of_scores(Rows(ids, scores, rings_of(places)), LABELS, (0.5,) * 2)], {}
    )
    return path


def halves(ring):
    """What shapely makes of a ring across 180 degrees: two clips, the second one moved."""
    whole = shapely.Polygon(ring)
    turn = 360 if max(x for x, _ in ring) > 180 else -360
    inside = shapely.intersection(whole, shapely.box(-180, -90, 180, 90))
    beyond = shapely.intersection(whole, shapely.box(-180 + turn, -90, 180 + turn, 90))
    return inside, shapely.transform(beyond, lambda points: points - [turn, 0])


@pytest.mark.parametrize("place", [ACROSS, FROM_THE_EAST])
def test_a_place_across_the_180th_meridian_is_cut_into_two(place):
    (ring,) = rings_of([place])

    found = shapely.from_wkb(to_wkb(ring))

    assert (found.geom_type, found.is_valid) == ("MultiPolygon", True)
    expected = halves(ring)
    for piece, wanted in zip(found.geoms, expected, strict=True):
        assert piece.exterior.is_ccw
        assert piece.symmetric_difference(wanted).area < 1e-12
        assert -180 <= piece.bounds[0] < piece.bounds[2] <= 180
    assert found.area == pytest.approx(shapely.Polygon(ring).area)
    west, south, east, north = box_of(from_wkb(to_wkb(ring)))
    eastern, western = sorted(expected, key=lambda piece: -piece.bounds[0])
    assert (west, east) == pytest.approx((eastern.bounds[0], western.bounds[2]))
    assert (south, north) == pytest.approx(shapely.Polygon(ring).bounds[1::2])
    assert west > 179.9
    assert east < -179.9


@given(
    left=st.floats(179.5, 180),
    width=st.floats(0.01, 1),
    lean=st.floats(-0.4, 0.4),
    sign=st.sampled_from([1, -1]),
)
def test_pieces_are_what_shapely_cuts(left, width, lean, sign):
    corners = [(left, 10), (left + width, 10.1), (left + width + lean, 11), (left + lean, 10.9)]
    if sign < 0:
        corners = [(-x, y) for x, y in reversed(corners)]
    ring = (*corners, corners[0])

    pieces = cut(ring)

    expected = [piece for piece in halves(ring) if piece.area > 1e-9]
    assert sum(shapely.Polygon(piece).area for piece in pieces) == pytest.approx(
        sum(piece.area for piece in expected), abs=1e-9
    )
    assert all(-180 <= x <= 180 for piece in pieces for x, _ in piece)


def test_a_place_that_touches_the_180th_meridian_is_in_one_piece():
    ring = ((179.0, 0.0), (180.0, 0.0), (180.0, 1.0), (179.0, 1.0), (179.0, 0.0))
    assert cut(ring) == (ring,)


@pytest.mark.parametrize("ending", ["parquet", "geojson", "gpkg"])
def test_geopandas_reads_places_on_both_sides_of_the_meridian(tmp_path, ending):
    geopandas = pytest.importorskip("geopandas")
    path = write(tmp_path / f"t.{ending}", [PLAIN, ACROSS])

    frame = geopandas.read_parquet(path) if ending == "parquet" else geopandas.read_file(path)

    assert list(frame["Pastures"]) == pytest.approx([0.9, 0.9])
    assert frame.geometry[1].geom_type == "MultiPolygon"
    inside, beyond = halves(rings_of([ACROSS])[0])
    assert frame.geometry[1].symmetric_difference(shapely.union(inside, beyond)).area < 1e-12
    assert frame.geometry[0].equals(shapely.Polygon(rings_of([PLAIN])[0]))


def test_text_tables_hold_both_pieces(tmp_path):
    line = write(tmp_path / "t.csv", [ACROSS]).read_text().splitlines()[1]
    (ring,) = rings_of([ACROSS])
    found = shapely.from_wkt(line.split('"')[1])
    assert found.equals(shapely.from_wkb(to_wkb(ring)))
    row = json.loads(write(tmp_path / "t.jsonl", [ACROSS]).read_text())
    assert shapely.geometry.shape(row["geometry"]).equals(found)


def test_geoparquet_has_a_box_for_each_row_and_one_for_all(tmp_path):
    geopandas = pytest.importorskip("geopandas")
    path = write(tmp_path / "t.parquet", [PLAIN, ACROSS, FROM_THE_EAST])

    boxes = pq.read_table(path)["bbox"].to_pylist()
    column = json.loads(pq.read_metadata(path).metadata[b"geo"])["columns"]["geometry"]

    bounds = shapely.Polygon(rings_of([PLAIN])[0]).bounds
    assert tuple(boxes[0].values()) == bounds
    assert list(boxes[0]) == ["xmin", "ymin", "xmax", "ymax"]
    assert boxes[1]["xmin"] > 179.9 > -179.9 > boxes[1]["xmax"]
    assert column["geometry_types"] == ["Polygon", "MultiPolygon"]
    assert column["covering"]["bbox"]["xmin"] == ["bbox", "xmin"]
    west, south, east, north = column["bbox"]
    assert (west, east) == (bounds[0], max(boxes[1]["xmax"], boxes[2]["xmax"]))
    assert south == boxes[1]["ymin"]
    assert north == boxes[2]["ymax"]
    near = geopandas.read_parquet(path, bbox=bounds)
    assert near["id"].tolist() == ["window 0"]
    assert "bbox" not in near.columns


def test_the_box_of_places_around_the_world_leaves_nothing_out():
    extent = Extent()
    extent.add([(179, 0, -179, 1), (-1, 2, 1, 3)])
    assert extent.box == (-180, 0, 180, 3)
    assert Extent().box is None


def test_the_box_of_places_far_from_the_meridian_is_an_ordinary_one():
    extent = Extent()
    extent.add([(170, 0, 171, 1), (-10, 2, -9, 3)])
    assert extent.box == (-10, 0, 171, 3)
