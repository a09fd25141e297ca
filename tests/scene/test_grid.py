import pytest
from rasterio import Affine
from rasterio.transform import array_bounds

from reben.errors import GridError
from reben.scene.grid import Grid


def test_transform_and_bounds_are_those_of_rasterio():
    grid = Grid("EPSG:32701", 99_960, 8_200_000, 240, 180)

    assert Affine(*grid.transform) == Affine(10, 0, 99_960, 0, -10, 8_200_000)
    assert grid.bounds == array_bounds(180, 240, Affine(*grid.transform))


def test_a_grid_lies_wherever_an_image_lies():
    grid = Grid("EPSG:32633", 300_003.7, 5_900_041.2, 240, 180, (9.98, 9.97))

    wanted = Affine(9.98, 0, 300_003.7, 0, -9.97, 5_900_041.2)
    assert Affine(*grid.transform) == wanted
    assert grid.bounds == pytest.approx(array_bounds(180, 240, wanted))
    assert grid.point(7, 3) == wanted @ (7, 3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"crs": ""}, "needs a coordinate reference system"),
        ({"left": float("inf")}, "left is inf"),
        ({"top": float("nan")}, "top is nan"),
        ({"width": 100}, "width is 100"),
        ({"height": 0}, "height is 0"),
        ({"height": -6}, "height is -6"),
    ],
)
def test_a_grid_that_coarser_bands_do_not_share_is_refused(change, message):
    right = {"crs": "EPSG:32633", "left": 300_000, "top": 5_900_040, "width": 60, "height": 120}

    with pytest.raises(GridError, match=message):
        Grid(**(right | change))
