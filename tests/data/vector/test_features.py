import json
import zipfile

import geopandas
import numpy as np
import pytest
import shapely
from shapely.geometry import Point, Polygon, box, mapping

from reben.data.vector.features import read_features
from reben.errors import AreaError

SQUARE = Polygon([(13.1, 47.8), (13.4, 47.8), (13.4, 48.0), (13.1, 48.0)])


def geojson(path, *features, **more):
    listed = [
        {"type": "Feature", "properties": properties, "geometry": geometry and mapping(geometry)}
        for geometry, properties in features
    ]
    path.write_text(json.dumps({"type": "FeatureCollection", "features": listed, **more}))
    return path


def frame(crs="EPSG:32633"):
    shapes = [box(331200, 5330400, 332400, 5331600), Point(400_000, 5_300_000)]
    return geopandas.GeoDataFrame({"id": ["a", "b"], "n": [1, 2]}, geometry=shapes, crs=crs)


def test_geojson_has_degrees_and_keeps_its_properties_lists_too(tmp_path):
    path = geojson(
        tmp_path / "a.geojson",
        (SQUARE, {"id": "x", "labels": ["Pastures", "Beaches"]}),
        (Point(13, 48), {"id": "y", "labels": ["Pastures"]}),
    )
    found = read_features(path)

    assert found.crs == "EPSG:4326"
    assert found.geometries == (SQUARE, Point(13, 48))
    assert found.table.to_pydict() == {
        "id": ["x", "y"],
        "labels": [["Pastures", "Beaches"], ["Pastures"]],
    }


def test_geojson_that_names_a_reference_system_is_in_it(tmp_path):
    crs = {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::32633"}}
    path = geojson(tmp_path / "a.geojson", (Point(331200, 5331600), {}), crs=crs)

    assert read_features(path).crs == "EPSG:32633"


@pytest.mark.parametrize("ending", ["gpkg", "shp", "zip", "geojson"])
def test_files_that_gdal_wrote_are_read_and_moved_as_geopandas_moves_them(tmp_path, ending):
    wanted, path = frame(), tmp_path / f"a.{ending}"
    if ending == "zip":
        wanted.iloc[:1].to_file(tmp_path / "a.shp")
        with zipfile.ZipFile(path, "w") as file:
            for part in tmp_path.glob("a.*"):
                file.write(part, f"inside/{part.name}") if part != path else None
        wanted = wanted.iloc[:1]
    elif ending == "shp":
        wanted = wanted.iloc[:1]
        wanted.to_file(path)
    else:
        wanted.to_file(path)
    found = read_features(path)

    assert found.table.to_pydict() == {"id": list(wanted.id), "n": list(wanted.n)}
    assert found.crs == "EPSG:32633"
    moved = found.in_crs("EPSG:4326").geometries
    expected = wanted.to_crs(4326).geometry.values
    assert shapely.equals_exact(shapely.normalize(moved), shapely.normalize(expected), 1e-9).all()


def test_wkt_has_a_geometry_on_each_line_and_may_name_its_reference_system(tmp_path):
    path = tmp_path / "a.wkt"
    path.write_text("SRID=32633;POINT (331200 5331600)\nSRID=32633;POINT (1 2)\n")

    assert read_features(path).geometries == (Point(331200, 5331600), Point(1, 2))
    assert read_features(path).crs == "EPSG:32633"
    path.write_text("POLYGON ((13 47, 14 47,\n 14 48, 13 47))")
    assert len(read_features(path).geometries) == 1


def test_an_outline_that_crosses_itself_is_mended_and_said(tmp_path, caplog):
    path = geojson(tmp_path / "a.json", (Polygon([(0, 0), (2, 2), (0, 2), (2, 0)]), {}))
    (shape,) = read_features(path).geometries

    assert shape.is_valid
    assert shape.area == pytest.approx(2)
    assert "1 of 1 features: number 1" in caplog.text


def test_long_lines_are_moved_as_the_curves_that_they_are(tmp_path):
    path = geojson(tmp_path / "a.json", (box(10, 47, 18, 48), {}))
    (shape,) = read_features(path).in_crs("EPSG:32633").geometries
    # The middle of its northern edge, moved by itself; corners alone would be 9 km off.
    (middle,) = geopandas.GeoSeries([Point(14, 48)], crs=4326).to_crs(32633)

    assert shape.distance(middle) < 1
    assert shape.exterior.distance(middle) < 1


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "is empty"),
        ("{}", "cannot be read"),
        ('{"type": "FeatureCollection", "features": []}', "has no features"),
        ('{"type": "Polygon", "coordinates": [[[0, 0], [1', "cannot be read"),
        ('{"type": "Feature", "properties": {}, "geometry": null}', "without a geometry: number 1"),
        ('{"type": "Point", "coordinates": [48, 120]}', "swapped: longitude comes first"),
        ('{"type": "Point", "coordinates": [331200, 5331600]}', "look like metres"),
        ('{"type": "Point", "coordinates": [200, 20]}', "-180 to 180"),
        ("<OGRVRTDataSource></OGRVRTDataSource>", "in no form that is read"),
        ("\0\0\0\0", "in no form that is read"),
    ],
)
def test_what_cannot_be_used_is_named_with_a_reason(tmp_path, content, said):
    path = tmp_path / "a.geojson"
    path.write_text(content)
    with pytest.raises(AreaError, match=said) as caught:
        read_features(path)

    assert str(path) in str(caught.value)


def test_a_missing_file_a_folder_and_a_file_without_a_reference_system_are_named(tmp_path):
    with pytest.raises(AreaError, match="No such file"):
        read_features(tmp_path / "none.gpkg")
    with pytest.raises(AreaError, match="a folder"):
        read_features(tmp_path)
    frame().iloc[:1].to_file(tmp_path / "a.shp")
    (tmp_path / "a.prj").unlink()
    with pytest.raises(AreaError, match="-a_srs"):
        read_features(tmp_path / "a.shp")


def test_of_several_layers_none_is_guessed(tmp_path):
    for layer in ("fields", "roads"):
        frame().to_file(tmp_path / "a.gpkg", layer=layer)
    with pytest.raises(AreaError, match=r"2 layers of features \(fields, roads\)"):
        read_features(tmp_path / "a.gpkg")


def test_an_archive_that_unpacks_to_too_much_is_refused_before_it_is_unpacked(tmp_path):
    frame().iloc[:1].to_file(tmp_path / "a.shp")
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as file:
        for ending in ("shp", "shx", "dbf", "prj"):
            file.write(tmp_path / f"a.{ending}", f"a.{ending}")
        with file.open("b.bin", "w") as entry:
            for _ in range(65):
                entry.write(bytes(1 << 24))
    with pytest.raises(AreaError, match="unpacks to more than 1024 MiB"):
        read_features(tmp_path / "a.zip")


def test_many_random_points_keep_their_order(tmp_path):
    points = np.random.default_rng(0).uniform(-80, 80, (3000, 2))
    path = geojson(tmp_path / "a.json", *((Point(p), {"n": i}) for i, p in enumerate(points)))
    found = read_features(path)

    assert shapely.get_coordinates(found.geometries) == pytest.approx(points)
    assert found.table["n"].to_pylist() == list(range(3000))
