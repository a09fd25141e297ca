import numpy as np
import pytest
import rasterio

from reben.errors import GridError
from reben.scene.product import open_scene
from scene.made_up_product import (
    PIXEL_METRES,
    make_band_folder,
    make_item,
    numbers,
    write_item,
    write_tiff,
)

CORNER = {"left": 300_003.7, "top": 5_900_041.3}


def read_exactly(product):
    with open_scene(product, boa_offset=0) as scene:
        assert (scene.grid.left, scene.grid.top) == (CORNER["left"], CORNER["top"])
        for band in ("B02", "B05", "B01"):
            rows = slice(60 * 10 // PIXEL_METRES[band], 120 * 10 // PIXEL_METRES[band])
            strip = scene.read([band], 60, 60)[band]
            np.testing.assert_array_equal(strip, numbers(band, 240, 180)[rows])


def test_a_folder_and_an_item_are_read_where_they_lie(tmp_path):
    made = make_band_folder(tmp_path, scl=False, **CORNER)
    read_exactly(made.path)
    read_exactly(write_item(tmp_path / "item.json", make_item(made)))


@pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")  # of rioxarray
def test_arrays_are_read_where_they_lie(tmp_path):
    rioxarray = pytest.importorskip("rioxarray")
    made = make_band_folder(tmp_path, scl=False, **CORNER)
    read_exactly(
        {
            band: rioxarray.open_rasterio(made.path / f"{band}.tif").isel(band=0, drop=True)
            for band in ("B02", "B05", "B01")
        }
    )


def test_pixels_of_almost_ten_metres_keep_their_size(tmp_path):
    for band, metres in PIXEL_METRES.items():
        write_tiff(tmp_path / f"{band}.tif", numbers(band, 240, 180), metres=0.998 * metres)

    with open_scene(tmp_path, boa_offset=0) as scene:
        assert scene.grid.pixel == pytest.approx((9.98, 9.98))
        assert scene.about["pixel_metres_on_ground"] == "9.98 x 9.98"
        np.testing.assert_array_equal(scene.read(["B01"], 0, 180)["B01"], numbers("B01", 240, 180))
    with rasterio.open(tmp_path / "B02.tif") as file:
        assert scene.grid.bounds == pytest.approx(tuple(file.bounds), abs=1e-6)


@pytest.mark.parametrize(
    ("metres", "message"),
    [
        ({"B02": 9.89}, r"B02\.tif has pixels of 9\.89 x 9\.89 m; B02 is used at 10 m"),
        ({"B05": 19.9}, r"B05\.tif has pixels of 19\.9 .* 2 of those of .*B02.* 12 m apart"),
    ],
)
def test_other_pixels_are_refused(tmp_path, metres, message):
    for band in ("B02", "B05"):
        size = {**PIXEL_METRES, **metres}[band]
        write_tiff(tmp_path / f"{band}.tif", numbers(band, 240, 180), metres=size)

    with pytest.raises(GridError, match=message):
        open_scene(tmp_path, boa_offset=0)
