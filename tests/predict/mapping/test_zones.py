import geopandas
import numpy as np
import pyproj
import pytest
from pyproj.aoi import AreaOfInterest
from pyproj.database import query_utm_crs_info
from shapely import box, centroid, contains, get_x, points, union_all

from reben.data.vector.areas import read_area
from reben.errors import AreaError
from reben.predict.mapping.zones import first_on_cells, zone_of, zones_of
from reben.scene.grid import Grid

# Tiles at 12 degrees east, where zones 32 and 33 meet; both reach beyond it.
WEST = Grid("EPSG:32632", 710_400, 5_324_040, 1800, 1200)
EAST = Grid("EPSG:32633", 271_800, 5_324_040, 1800, 1200)


def cells_of(zone):
    """The wanted cells as rectangles in degrees."""
    rows, columns = np.nonzero(zone.is_wanted)
    left, top = zone.grid.left + 1200 * columns, zone.grid.top - 1200 * rows
    shapes = box(left, top - 1200, left + 1200, top)
    return geopandas.GeoSeries(shapes, crs=zone.grid.crs).to_crs(4326).values


def longitudes(cells):
    return get_x(centroid(np.asarray(cells)))


def test_zones_are_those_of_pyproj_also_in_the_south():
    random = np.random.default_rng(1)
    lon, lat = random.uniform(-180, 180, 10), random.uniform(-55, 55, 10)
    for x, y, code in zip(lon, lat, zone_of(lon, lat), strict=True):
        (info,) = query_utm_crs_info("WGS 84", AreaOfInterest(x, y, x, y))
        assert info.code == str(code)


@pytest.mark.parametrize(
    ("tile", "longitude", "latitude"),
    [(32632, 4.9, 60.4), (32633, 15.6, 78.2), (32635, 25.0, 79.0), (32631, 2.9, 60.4)],
)
def test_norway_and_svalbard_have_the_zones_of_their_tiles(tile, longitude, latitude):
    assert zone_of(longitude, latitude) == tile


def test_each_place_is_in_one_zone_that_of_its_longitude():
    first, second = zones_of([WEST, EAST], None)
    west, east = cells_of(first), cells_of(second)
    covered = [
        geopandas.GeoSeries([box(*grid.bounds)], crs=grid.crs).to_crs(4326)[0]
        for grid in (WEST, EAST)
    ]
    inside = covered[0].union(covered[1])

    west, east = np.asarray(west), np.asarray(east)
    for cells, is_beyond, other in (
        (west, longitudes(west) > 12, covered[1]),
        (east, longitudes(east) < 12, covered[0]),
    ):
        # Beyond the meridian are only cells that the products of the other zone do not cover.
        assert not contains(other, centroid(cells[is_beyond])).any()
    # Along the meridian cells of two grids meet: less than one is twice or in none.
    twice = union_all(west).intersection(union_all(east))
    assert twice.area < 0.016 * 0.11
    lost = inside.difference(union_all(west).union(union_all(east)))
    away = lost.buffer(-0.001).difference(box(12 - 0.02, 47, 12 + 0.02, 49))
    assert away.is_empty  # but for slivers, as straight lines of metres are none of degrees


def test_what_no_product_of_its_own_zone_covers_is_not_lost():
    (alone,) = zones_of([WEST], None)
    assert alone.is_wanted.all()
    assert longitudes(cells_of(alone)).max() > 12.04
    elsewhere = Grid("EPSG:32633", 271_800, 5_204_040, 600, 600)  # 120 km to the south
    zones = zones_of([WEST, elsewhere], None)
    np.testing.assert_array_equal(zones[0].is_wanted, alone.is_wanted)


def test_cells_begin_at_multiples_of_1200_m_in_the_south_from_the_equator():
    south = Grid("EPSG:32736", 300_000, 9_700_000, 600, 600)
    (zone,) = zones_of([south], None)
    top = zone.grid.top

    assert (10_000_000 - top) % 1200 == 0
    assert zone.grid.left % 1200 == 0
    assert 0 <= top - 9_700_000 < 1200
    assert first_on_cells(south) == (0, 0)
    # Tiles of the south begin at multiples of 60 m from the equator: 56HLH at 6,300,040.
    assert first_on_cells(Grid("EPSG:32756", 300_000, 6_300_040, 600, 600)) == (0, 0)
    assert first_on_cells(Grid("EPSG:32633", 300_010, 4_999_990, 600, 600)) == (1, 5)


def test_map_tiles_hold_each_wanted_cell_once_and_lie_on_one_raster():
    random = np.random.default_rng(2)
    grids = [Grid("EPSG:32633", 300_000 + 60 * int(x), 5_000_040 + 60 * int(y), 1800, 1800)
             for x, y in random.integers(0, 3000, (6, 2))]  # fmt: skip
    (zone,) = zones_of(grids, None)
    times = np.zeros(zone.is_wanted.shape, int)
    for tile in zone.tiles():
        row, column = tile.first[0] - zone.first[0], tile.first[1] - zone.first[1]
        height, width = tile.is_wanted.shape
        times[row : row + height, column : column + width] += tile.is_wanted
        assert tile.first[0] // 50 == (tile.first[0] + height - 1) // 50
        assert tile.first[1] // 50 == (tile.first[1] + width - 1) // 50
        assert tile.grid.left == 1200 * tile.first[1]

    np.testing.assert_array_equal(times, zone.is_wanted.astype(int))


def test_an_area_takes_the_cells_that_shapely_finds():
    area = read_area("11.93,47.93,12.05,48.0")
    zones = zones_of([WEST, EAST], area)
    for zone, grid in zip(zones, (WEST, EAST), strict=True):
        (shape,) = geopandas.GeoSeries([area.geometry], crs=4326).to_crs(grid.crs)
        rows, columns = np.nonzero(zone.is_wanted)
        x = zone.grid.left + 1200 * columns
        y = zone.grid.top - 1200 * rows
        assert box(x, y - 1200, x + 1200, y).tolist()
        # Straight lines of degrees are nearly straight here, and cells are large.
        assert all(shape.buffer(5).intersects(box(x, y - 1200, x + 1200, y)))
    to_west = pyproj.Transformer.from_crs(4326, 32632, always_xy=True)
    x, y = to_west.transform(11.95, 47.95)
    column, row = int((x - zones[0].grid.left) // 1200), int((zones[0].grid.top - y) // 1200)
    assert zones[0].is_wanted[row, column]
    assert area.geometry.contains(points(11.95, 47.95))


def test_an_area_elsewhere_is_refused():
    with pytest.raises(AreaError, match="touches none of the products"):
        zones_of([WEST, EAST], read_area("5,5,6,6"))
