import numpy as np

from made_up_scene import ArrayScene, grid_of, scene_of
from reben.predict.mapping.pixels import MapScene, layer_of
from reben.scene.grid import Grid
from reben.spec.bands import PIXEL_METRES

BANDS = ("B02", "B05", "B01")
GRID = Grid("EPSG:32633", 300_000, 4_999_200, 240, 240)


def read(*looks, height=240):
    layers = [[layer_of(scene, GRID) for scene in look] for look in looks]
    scene = MapScene("map", GRID, BANDS, layers)
    return scene.read(BANDS, 0, height), scene.read_mask(0, height), scene


def whole(seed, mask=None):
    scene = scene_of(240, 240, BANDS, seed=seed, left=300_000, top=4_999_200)
    scene.mask = np.zeros((240, 240), np.uint8) if mask is None else mask
    return scene


def test_one_look_has_the_values_and_the_mask_of_its_product_whatever_they_are():
    mask = np.zeros((240, 240), np.uint8)
    mask[3:50, 7:90], mask[100:, 200:] = 2, 1
    scene = whole(1, mask)
    pixels, found, _ = read([scene])

    np.testing.assert_array_equal(found, mask)
    for name in BANDS:
        np.testing.assert_array_equal(pixels[name], scene.arrays[name])


def test_what_the_first_product_of_a_day_does_not_see_clearly_the_next_one_gives():
    cloudy, clear = np.zeros((240, 240), np.uint8), np.zeros((240, 240), np.uint8)
    cloudy[60:120, 60:120] = 2
    cloudy[120:180, :60] = 2
    clear[120:180, :60] = 1  # no data: clouds are more than nothing
    first, second = whole(1, cloudy), whole(2, clear)
    pixels, found, _ = read([first, second])

    np.testing.assert_array_equal(found > 0, (cloudy > 0) & (clear > 0))
    assert (found[120:180, :60] == 2).all()
    for name in BANDS:
        step = PIXEL_METRES[name] // 10
        hidden = cloudy[::step, ::step] > 0
        hidden[120 // step : 180 // step, : 60 // step] = False
        expected = np.where(hidden, second.arrays[name], first.arrays[name])
        np.testing.assert_array_equal(pixels[name], expected)


def test_products_that_lie_beside_each_other_join_and_what_none_covers_has_no_data():
    left = ArrayScene(scene_of(240, 90, BANDS, seed=1).arrays, grid_of(240, 90, top=4_999_200))
    right = scene_of(240, 120, BANDS, seed=2)
    right = ArrayScene(right.arrays, grid_of(240, 120, left=300_900, top=4_999_200))
    pixels, found, scene = read([left, right])

    assert (found[:, 210:] == 1).all()
    assert not found[:, :210].any()
    for name in BANDS:
        step = PIXEL_METRES[name] // 10
        np.testing.assert_array_equal(pixels[name][:, : 90 // step], left.arrays[name])
        expected = right.arrays[name]
        np.testing.assert_array_equal(pixels[name][:, 90 // step : 210 // step], expected)
        assert not pixels[name][:, 210 // step :].any()
    np.testing.assert_allclose(scene.clear_looks, [[1, 0.75], [1, 0.75]])


def test_all_bands_of_a_place_are_of_the_same_looks_also_where_a_cloud_ends_in_a_pixel_of_60_m():
    mask = np.zeros((240, 240), np.uint8)
    mask[:, :63] = 2  # half of the pixels of 60 m in the eleventh column
    looks = [whole(1, mask), whole(2), whole(3)]
    pixels, found, scene = read(*([look] for look in looks))

    assert not found.any()
    for name in BANDS:
        step = PIXEL_METRES[name] // 10
        stack = np.array([look.arrays[name] for look in looks], float)
        stack[0, :, : 66 // step] = np.nan
        np.testing.assert_allclose(pixels[name], np.nanmedian(stack, axis=0), rtol=1e-6)
    np.testing.assert_allclose(scene.clear_looks[:, 0], 3 - 63 / 120, rtol=1e-6)


def test_where_no_look_is_clear_clouds_stay_clouds():
    mask = np.full((240, 240), 2, np.uint8)
    pixels, found, _ = read([whole(1, mask)], [whole(2, mask)])

    assert (found == 2).all()
    both = [whole(seed).arrays["B02"].astype(float) for seed in (1, 2)]
    np.testing.assert_allclose(pixels["B02"], np.mean(both, axis=0), rtol=1e-6)
