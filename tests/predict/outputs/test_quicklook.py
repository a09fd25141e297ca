import numpy as np
import pytest
import torch
from PIL import Image

from made_up_scene import grid_of, scene_of
from reben.errors import BandsMismatchError, ConfigError
from reben.model.classifier import Classifier
from reben.predict.outputs.quicklook import (
    QuicklookPicture,
    colour_bands,
    draw_quicklook,
    hatched,
    shrink,
    shrink_factor,
    shrink_mask,
    to_rgb,
)
from reben.predict.scene import predict_scene
from reben.predict.strips import Strip
from reben.predict.windows import Mosaic
from reben.spec.bands import S1
from reben.spec.labels import COLOURS, LABELS

RGB = ("B04", "B03", "B02")


def mosaic_of(dominant, kinds=None):
    """A mosaic in which the cells have these labels as their dominant ones, -1 for masked."""
    dominant = np.array(dominant)
    scores = np.full((*dominant.shape, len(LABELS)), 0.1, np.float32)
    for place in np.ndindex(dominant.shape):
        scores[place][dominant[place]] = 0.9
    scores[dominant < 0] = np.nan
    height, width = dominant.shape[0] * 12, dominant.shape[1] * 12
    colours = np.random.default_rng(2).uniform(100, 1500, (height, width, 3)).astype(np.float32)
    if kinds is None:
        kinds = np.zeros((height, width), np.uint8)
    return Mosaic(scores, colours, kinds, np.array([1, 0, 0]), 0)


def picture_of(dominant, **options):
    mosaic = mosaic_of(dominant, **options)
    height, width = np.shape(dominant)
    return QuicklookPicture(mosaic, grid_of(120 * height, 120 * width), 1200, RGB)


def colour(label):
    return tuple(bytes.fromhex(COLOURS[label][1:]))


def test_the_class_map_has_corine_colours_where_the_classes_lie():
    pastures, sea, town = (
        LABELS.index(name) for name in ("Pastures", "Marine waters", "Urban fabric")
    )
    picture = picture_of([[pastures, sea, sea, -1], [town, sea, sea, sea]])
    palette = np.array([list(colour(label)) for label in LABELS], np.uint8)

    found = picture.class_map(palette)

    assert found.size == (980, 490)
    assert found.getpixel((3, 3)) == colour("Pastures")
    assert found.getpixel((3, 486)) == colour("Urban fabric")
    assert found.getpixel((600, 100)) == colour("Marine waters")
    corner = found.crop((740, 5, 970, 240))
    assert np.array_equal(corner, hatched(980, 490).crop((740, 5, 970, 240)))


def test_cells_that_reach_beyond_the_scene_are_cut_at_its_edge():
    picture = picture_of([[1, 2]])
    narrow = QuicklookPicture(picture.mosaic, grid_of(120, 180), 1200, RGB)
    palette = np.array([list(colour(label)) for label in LABELS], np.uint8)

    found = np.asarray(narrow.class_map(palette))

    share = (found == colour(LABELS[2])).all(axis=-1).mean()
    assert share == pytest.approx(1 / 3, abs=0.01)


def test_ground_without_data_is_hatched_in_true_colour_too():
    kinds = np.zeros((12, 24), np.uint8)
    kinds[:, :12] = 1
    found = picture_of([[0, 1]], kinds=kinds).scene_map()

    assert np.array_equal(found.crop((0, 0, 400, 480)), hatched(980, 490).crop((0, 0, 400, 480)))
    assert not np.array_equal(
        found.crop((500, 0, 900, 480)), hatched(980, 490).crop((500, 0, 900, 480))
    )


def test_the_picture_names_only_classes_that_are_dominant_somewhere():
    one = draw_quicklook(picture_of([[4, 4]]), labels=LABELS, product="p", model="m")
    other = draw_quicklook(picture_of([[4, 6]]), labels=LABELS, product="p", model="m")

    legend = slice(1600, None)
    green = colour(LABELS[6])
    assert not (np.asarray(one)[:, legend] == green).all(axis=-1).any()
    assert (np.asarray(other)[:, legend] == green).all(axis=-1).any()


def test_the_stretch_is_that_of_good_pixels():
    colours = np.random.default_rng(1).uniform(200, 1500, (40, 40, 3)).astype(np.float32)
    kinds = np.zeros((40, 40), np.uint8)
    alone = to_rgb(colours, RGB, kinds)
    colours[:10], kinds[:10] = 9000, 2

    with_clouds = to_rgb(colours, RGB, kinds)

    np.testing.assert_allclose(with_clouds[10:], alone[10:], atol=0.03)
    assert (with_clouds[:10] == 1).all()


def test_red_stays_red():
    colours = np.full((9, 9, 3), 300, np.float32) + np.arange(81).reshape(9, 9, 1)
    colours[4, 4] = (1400, 300, 300)

    red, green, blue = to_rgb(colours, RGB, np.zeros((9, 9), np.uint8))[4, 4]

    assert red > 0.9
    assert green == blue < 0.5


def test_shrinking_averages_fresh_rows_alone_and_keeps_north_up():
    scene = scene_of(126, 240, ("B02", "B03", "B04"))
    strip = Strip(1, {name: scene.arrays[name][6:] for name in scene.bands}, scene.mask[6:], 6)

    small = shrink(strip, RGB, 3)

    red = scene.arrays["B04"].astype(float)
    assert small.shape == (2, 80, 3)
    assert small[1, 79, 0] == pytest.approx(red[123:126, 237:240].mean(), rel=1e-5)


def test_radar_is_averaged_as_power():
    vv_db = np.full((120, 120), -10, np.float32)
    vv_db[::2, ::2] = 0
    strip = Strip(0, {"VV": vv_db, "VH": vv_db - 7}, np.zeros((120, 120), np.uint8), 120)

    small = shrink(strip, S1.names, 2)

    assert small[5, 7, 0] == pytest.approx(10 * np.log10((3 * 0.1 + 1) / 4), abs=1e-4)


def test_a_mask_is_shrunk_to_what_most_pixels_are():
    mask = np.zeros((4, 6), np.uint8)
    mask[:2, :2], mask[2:, 2:4], mask[2, 4] = 1, 2, 2

    assert shrink_mask(mask, 2).tolist() == [[1, 0, 0], [0, 2, 0]]


@pytest.mark.parametrize(("side", "factor"), [(10_980, 6), (5_490, 3), (2_400, 2), (600, 1)])
def test_large_scenes_are_shrunk_more(side, factor):
    assert shrink_factor(grid_of(side, 120)) == factor


def test_colours_come_from_what_is_there():
    assert colour_bands(("B02", "B03", "B04", "VV", "VH")) == RGB
    assert colour_bands(("VH", "VV")) == ("VV", "VH")
    with pytest.raises(BandsMismatchError, match="needs B04, B03, B02 or VV, VH"):
        colour_bands(("B08", "VV"))


def test_a_quick_look_is_written_and_its_bands_are_read_though_the_model_takes_others(tmp_path):
    torch.manual_seed(1)
    model = Classifier("test_resnet", "B08,B11")

    found = predict_scene(
        model, scene_of(240, 360), tmp_path / "out.tif", quicklook=tmp_path / "map.png"
    )

    with Image.open(found.quicklook) as picture:
        assert picture.format == "PNG"
        assert picture.width > 2000
    assert sorted(path.name for path in tmp_path.iterdir()) == ["map.png", "out.tif"]


def test_a_picture_of_another_ending_is_refused_before_anything_is_done(tmp_path):
    scene, model = scene_of(120, 120), Classifier("test_resnet", "rgb")
    with pytest.raises(ConfigError, match=r"call it \.\.\.\.png"):
        predict_scene(model, scene, tmp_path / "out.tif", quicklook=tmp_path / "map.jpg")
    assert scene.reads == []


@pytest.mark.parametrize(
    ("counts", "name"),
    [
        ([5, 1, 0], "No data"),
        ([5, 0, 1], "Cloud, shadow or defect"),
        ([5, 1, 1], "No data, cloud, shadow or defect"),
    ],
)
def test_masked_cells_are_named_by_what_was_masked(counts, name):
    from dataclasses import replace

    mosaic = replace(mosaic_of([[0, -1]]), counts=np.array(counts))
    assert QuicklookPicture(mosaic, grid_of(120, 240), 1200, RGB).masked_as == name
