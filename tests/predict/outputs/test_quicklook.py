from dataclasses import replace

import numpy as np
import pytest
import rasterio.warp
import torch
from PIL import Image

from made_up_scene import grid_of, scene_of
from reben.data.pictures import UNCERTAIN_COLOUR
from reben.errors import BandsMismatchError, ConfigError
from reben.model.classifier import Classifier
from reben.predict.outputs.furniture import MASK, describe_corner, draw_corners, title_of
from reben.predict.outputs.quicklook import (
    QuicklookPicture,
    colour_bands,
    draw_quicklook,
    hatched,
    pale,
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


def to_lab(rgb):
    """CIE L*a*b* of sRGB under D65, by the formulas of IEC 61966-2-1 and CIE 15."""
    unit = np.asarray(rgb) / 255
    linear = np.where(unit <= 0.04045, unit / 12.92, ((unit + 0.055) / 1.055) ** 2.4)
    matrix = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    x, y, z = np.array(matrix) @ linear / [0.9505, 1, 1.089]
    x, y, z = (np.cbrt(t) if t > (6 / 29) ** 3 else t * 841 / 108 + 4 / 29 for t in (x, y, z))
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("label", LABELS)
def test_every_colour_is_apart_from_the_greys_of_what_has_no_class(label):
    for grey in (MASK, UNCERTAIN_COLOUR, (255, 255, 255)):
        assert np.linalg.norm(to_lab(colour(label)) - to_lab(grey)) >= 15
    palest = pale(np.array(colour(label), np.uint8), np.float32(0))
    assert np.linalg.norm(to_lab(palest) - to_lab(MASK)) >= 8


@pytest.mark.parametrize("label", ["Beaches, dunes, sands", "Marine waters"])
def test_the_colours_of_our_own_are_apart_from_all_others(label):
    others = [to_lab(colour(other)) for other in LABELS if other != label]
    assert min(np.linalg.norm(to_lab(colour(label)) - other) for other in others) >= 15
    assert np.linalg.norm(to_lab(MASK) - to_lab(UNCERTAIN_COLOUR)) >= 15


def test_low_scores_are_paler_by_a_rule_and_the_legend_shows_it():
    blue = np.array(colour("Marine waters"), np.uint8)

    low, middle, high = pale(np.stack([blue] * 3), np.float32([0.2, 0.5, 0.8]))

    assert high.tolist() == blue.tolist()
    np.testing.assert_allclose(low, 255 - 0.3 * (255 - blue.astype(float)), atol=0.51)
    np.testing.assert_allclose(middle, (low.astype(float) + high) / 2, atol=1)
    pale_one, sea = LABELS.index("Coastal wetlands"), LABELS.index("Marine waters")
    picture = picture_of([[sea, pale_one, pale_one]])
    picture.mosaic.scores[0, 0, sea] = 0.5
    canvas = np.asarray(draw_quicklook(picture, labels=LABELS, product="p", model="m"))
    assert tuple(canvas[400, 1200]) == tuple(middle)
    for shade in (low, high):
        assert (canvas[:, -590:] == shade).all(axis=-1).any()


def test_uncertain_cells_have_their_own_colour_and_row():
    picture = picture_of([[3, 4]])
    picture.mosaic.scores[0, 0, 3] = 0.3
    picture = replace(picture, min_score=0.5)

    rows = picture.legend(LABELS)

    assert [(row.name, row.share) for row in rows] == [
        (LABELS[4], 0.5),
        ("Uncertain: all scores below 0.5", 0.5),
    ]
    found = picture.class_map(np.array([colour(label) for label in LABELS], np.uint8))
    assert found.getpixel((3, 3)) == UNCERTAIN_COLOUR
    assert found.getpixel((900, 3)) == colour(LABELS[4])


def test_the_corners_say_where_they_lie():
    grid = grid_of(240, 360, left=399_960, top=5_300_040)
    said = []

    class Notebook:
        def text(self, at, text, *_args, anchor, **_options):
            said.append((at, text, anchor))

    draw_corners(Notebook(), grid, left=10, top=100, size=(900, 600))

    corners = [(399_960, 5_300_040), (403_560, 5_300_040)]
    corners += [(x, y - 2_400) for x, y in corners]
    x, y = rasterio.warp.transform(
        "EPSG:32633", "EPSG:4326", *map(list, zip(*corners, strict=True))
    )
    wanted = [f"{north:.3f}\u00b0 N, {east:.3f}\u00b0 E" for east, north in zip(x, y, strict=True)]
    assert [text for _, text, _ in said] == wanted
    assert [at for at, _, _ in said] == [(10, 90), (910, 90), (10, 710), (910, 710)]


def test_a_place_west_and_south_says_so():
    assert describe_corner(-8.5, -41.25) == "41.250\u00b0 S, 8.500\u00b0 W"
    assert describe_corner(181, 0) == "0.000\u00b0 N, 179.000\u00b0 W"


@pytest.mark.parametrize("shape", [(1, 1), (12, 1), (1, 12)])
@pytest.mark.parametrize("name", ["W" * 190, "one of many words " * 10])
def test_no_text_leaves_its_room_however_long_names_are(shape, name):
    picture = picture_of(np.arange(np.prod(shape)).reshape(shape) % 6)
    labels = [f"{number}{name}" for number in range(19)]
    about = {"attribution": "Contains modified Copernicus Sentinel data 2022"}

    canvas = np.asarray(
        draw_quicklook(picture, labels=labels, product=name, model=name, about=about)
    )

    assert (canvas[:, -60:] == 255).all()
    assert (canvas[:, :60] == 255).all()
    assert (canvas[-20:] == 255).all()
    beside_legend = canvas[250:, -64 - 520 - 40 : -64 - 520 - 4]
    maps_end = 250 + 49 * len(set(picture.classes.ravel().tolist()))
    assert (beside_legend[: maps_end - 250] == 255).all()


def test_the_picture_says_the_date_and_whose_data_it_shows():
    assert title_of("my orchard", "2022-04-13T15:07:59Z")[1].endswith(", 13 April 2022")
    days = "2023-06-01; 2023-06-11; 2023-08-30"
    assert title_of("map", days)[1].endswith(", 3 days from 2023-06-01 to 2023-08-30")
    assert title_of("map", "2023-06-01")[1].endswith(", 1 June 2023")
    assert title_of("S1A_IW_GRDH_1SDV_20170613T165043_x") == (
        "Sentinel-1A, 13 June 2017",
        "S1A_IW_GRDH_1SDV_20170613T165043_x",
    )
    plain = draw_quicklook(picture_of([[1]]), labels=LABELS, product="p", model="m")
    about = {"attribution": "Contains modified Copernicus Sentinel data 2022"}
    noted = draw_quicklook(picture_of([[1]]), labels=LABELS, product="p", model="m", about=about)
    assert noted.height > plain.height


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
    mosaic = replace(mosaic_of([[0, -1]]), counts=np.array(counts))
    assert QuicklookPicture(mosaic, grid_of(120, 240), 1200, RGB).masked_as == name
