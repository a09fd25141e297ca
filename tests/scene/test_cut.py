import numpy as np
import pytest

from made_up_scene import scene_of, write_scene
from reben.errors import GridError
from reben.scene.band_scene import Scene
from reben.scene.offset import OffsetAndScale
from reben.scene.product import open_scene
from reben.scene.sources import BandSources, Placement

BANDS = ("B02", "B05", "B01")


@pytest.fixture(name="folder", scope="module")
def fixture_folder(tmp_path_factory):
    scene = scene_of(360, 480, bands=BANDS)
    for band, step in zip(BANDS, (1, 2, 6), strict=True):  # no data
        scene.arrays[band][132 // step : 144 // step, 252 // step : 264 // step] = 0
    return write_scene(scene, tmp_path_factory.mktemp("scene") / "S2")


def test_a_part_has_the_pixels_the_mask_and_the_place_of_the_whole(folder):
    with open_scene(folder, boa_offset=0) as scene:
        whole, mask = scene.read(BANDS, 0, 360), scene.read_mask(0, 360)
        part = scene.cut(120, 240, 180, 120)
        assert part.grid.bounds == (302_400, 4_997_040, 303_600, 4_998_840)
        pixels, part_mask = part.read(BANDS, 60, 120), part.read_mask(60, 120)
        above = part.read_mask(0, 60)

    for band, step in zip(BANDS, (1, 2, 6), strict=True):
        expected = whole[band][180 // step : 300 // step, 240 // step : 360 // step]
        np.testing.assert_array_equal(pixels[band], expected)
    np.testing.assert_array_equal(part_mask, mask[180:300, 240:360])
    np.testing.assert_array_equal(above, mask[120:180, 240:360])
    assert above.any()


def test_a_part_of_a_part_lies_in_it_and_each_has_a_fingerprint_of_its_own(folder):
    with open_scene(folder, boa_offset=0) as scene:
        part = scene.cut(60, 120, 240, 240)
        again, at_once = part.cut(60, 60, 120, 120), scene.cut(120, 180, 120, 120)

        assert again.grid == at_once.grid
        assert again.fingerprint(BANDS) == at_once.fingerprint(BANDS) != part.fingerprint(BANDS)


class RecordingBand:
    """A band of zeros that writes down which rows and columns are asked for."""

    name, nodata, words = "a band", None, {}

    def __init__(self, metres):
        transform = (metres, 0, 300_000, 0, -metres, 5_000_040)
        self.placement = Placement("EPSG:32633", transform, 4800 // metres, 3600 // metres)
        self.asked = []

    def read_rows(self, top, height, columns=None, needed=None):
        self.asked.append((top, height, columns))
        left, stop = columns or (0, self.placement.width)
        return np.zeros((height, stop - left), np.uint16)

    def read_small(self, size, shape):
        return None

    def close(self):
        pass


def test_only_its_columns_are_read():
    bands = {"B02": RecordingBand(10), "B01": RecordingBand(60)}
    scaling = dict.fromkeys(bands, OffsetAndScale(0, 10_000, "as given"))
    part = Scene(BandSources("a scene", bands, scaling)).cut(120, 240, 180, 120)
    for band in bands.values():
        band.asked.clear()
    part.read(["B02", "B01"], 60, 120)

    assert bands["B02"].asked == [(180, 120, (240, 360))]
    assert bands["B01"].asked == [(30, 20, (40, 60))]


@pytest.mark.parametrize("place", [(0, 3, 120, 120), (0, 366, 120, 120), (-6, 0, 120, 120)])
def test_a_part_that_is_not_in_it_or_begins_within_a_pixel_of_60_m_is_refused(folder, place):
    with (
        open_scene(folder, boa_offset=0) as scene,
        pytest.raises(GridError, match=r"has 360 rows and 480 columns .* up to 60 m"),
    ):
        scene.cut(*place)
