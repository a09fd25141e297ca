import geopandas
import pytest
from shapely.geometry import Point, box

from reben.data.vector.areas import read_area
from reben.errors import AreaError


def test_a_box_is_west_south_east_north_as_text_and_as_numbers():
    for source in ("13.1,47.8,13.4,48", " 13.1, 47.8, 13.4, 48 ", (13.1, 47.8, 13.4, 48)):
        area = read_area(source)
        assert area.geometry.equals(box(13.1, 47.8, 13.4, 48))
        assert area.bounds_degrees == (13.1, 47.8, 13.4, 48)


def test_a_box_across_the_180th_meridian_is_whole_in_its_zones():
    area = read_area("179.5,-17,-179.5,-16")

    assert area.bounds_degrees == (179.5, -17, -179.5, -16)
    for crs in ("EPSG:32760", "EPSG:32701"):
        (shape,) = geopandas.GeoSeries([area.in_crs(crs)], crs=crs)
        assert shape.geom_type == "Polygon"
        # A degree of longitude at 16.5 degrees south is 106.7 km wide, one of latitude 110.7 km.
        assert shape.area == pytest.approx(106.7e3 * 110.7e3, rel=0.01)


def test_wkt_is_in_degrees_and_features_of_a_file_are_one_area(tmp_path):
    assert read_area("POINT (13 48)").geometry == Point(13, 48)
    shapes = [box(331200, 5330400, 332400, 5331600), box(332400, 5330400, 333600, 5331600)]
    geopandas.GeoDataFrame(geometry=shapes, crs=32633).to_file(tmp_path / "a.gpkg")
    area = read_area(tmp_path / "a.gpkg")

    assert area.name.endswith("a.gpkg")
    moved = area.in_crs("EPSG:32633")
    assert moved.symmetric_difference(box(331200, 5330400, 333600, 5331600)).area < 1


def test_the_other_side_of_the_earth_is_left_out_of_a_zone():
    around = read_area("-180,-80,180,84").in_crs("EPSG:32633")

    left, bottom, right, top = around.bounds
    assert -2.5e6 < left < right < 3.5e6
    assert -2e6 < bottom < top < 10.1e6


def test_areas_of_other_places_have_other_digests_and_equal_ones_the_same():
    first, second = read_area("1,2,3,4"), read_area("POLYGON ((1 2, 1 4, 3 4, 3 2, 1 2))")

    assert first.digest == second.digest != read_area("1,2,3,5").digest


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("1,2,3", "has not four numbers"),
        ("1,2,3,nan", "has not four numbers"),
        ("13,48,14,48", "is empty"),
        ("13,49,14,48", "is empty"),
        ("47.8,100,48,101", "swapped: longitude comes first"),
        ("POLYGON ((1 2, 3))", "is no WKT"),
        ("nowhere.geojson", "No such file"),
    ],
)
def test_what_is_no_area_is_refused_with_an_example(source, said):
    with pytest.raises(AreaError, match=said):
        read_area(source)
