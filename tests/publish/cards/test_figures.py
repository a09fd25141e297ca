import numpy as np
import pytest
from PIL import Image

from reben.errors import BandsMismatchError
from reben.publish.cards.figures import RADAR, TRUE_COLOUR, Bar, colour_patch, draw_example
from reben.spec.labels import LABELS


def bands_of(**values):
    return {name: np.full((120, 120), value) for name, value in values.items()}


def test_true_colour_puts_b04_in_red_b03_in_green_b02_in_blue():
    picture, how = colour_patch(
        bands_of(B02=np.uint16(500), B03=np.uint16(1000), B04=np.uint16(2000))
    )
    expected = [255, round(255 * 0.5 ** (1 / 1.5)), round(255 * 0.25 ** (1 / 1.5))]
    assert list(picture.getpixel((7, 90))) == expected
    assert how == TRUE_COLOUR


def test_digital_numbers_above_the_stretch_are_white():
    picture, _ = colour_patch(
        bands_of(B02=np.uint16(9000), B03=np.uint16(2000), B04=np.uint16(65535))
    )
    assert picture.getpixel((0, 0)) == (255, 255, 255)


def test_north_stays_up_and_west_stays_left():
    red = np.zeros((120, 120), np.uint16)
    red[:10, :30] = 2000
    picture, _ = colour_patch({"B04": red, "B03": red * 0, "B02": red * 0})
    assert picture.getpixel((29, 9)) == (255, 0, 0)
    assert picture.getpixel((9, 29)) == (0, 0, 0)


def test_the_ratio_of_a_radar_picture_is_the_difference_in_db():
    picture, how = colour_patch(bands_of(VV=np.float32(-10), VH=np.float32(-17)))
    expected = np.array([9 / 18, 9 / 18, 7 / 15]) * 255
    np.testing.assert_allclose(picture.getpixel((60, 60)), expected, atol=0.51)
    assert how == RADAR


def test_speckle_is_averaged_as_power_and_not_as_db():
    vv_db = np.full((120, 120), -100, np.float32)
    vv_db[50, 60] = -1
    picture, _ = colour_patch({"VV": vv_db, "VH": np.full((120, 120), -30, np.float32)})
    mean_db = -1 - 10 * np.log10(9)
    assert picture.getpixel((61, 49))[0] == round(255 * (mean_db + 19) / 18)
    assert picture.getpixel((62, 50))[0] == 0


def test_true_colour_wins_where_both_are_there():
    bands = bands_of(VV=np.float32(-10), VH=np.float32(-17), B02=1, B03=2, B04=3)
    assert colour_patch(bands)[1] == TRUE_COLOUR


def test_a_patch_without_colours_is_refused_and_the_cure_is_said():
    with pytest.raises(
        BandsMismatchError, match=r"needs B04, B03, B02 or VV, VH; the patch has B11\. Pass"
    ):
        colour_patch(bands_of(B11=np.uint16(5)))


def test_the_patch_is_drawn_at_six_times_its_size_and_bars_beside_it():
    patch = Image.new("RGB", (120, 120), (200, 10, 10))
    bars = [
        Bar(label, 1 - position / 19, position % 2 == 0) for position, label in enumerate(LABELS)
    ]
    picture = draw_example(patch, bars, title="a patch", caption="red")
    pixels = np.asarray(picture)
    rows, columns = np.nonzero((pixels == (200, 10, 10)).all(axis=-1))
    assert (np.ptp(rows) + 1, np.ptp(columns) + 1) == (720, 720)
    assert picture.width > 1500


def test_bars_are_as_long_as_their_scores_and_true_labels_have_a_colour_of_their_own():
    patch = Image.new("RGB", (120, 120))
    bars = [Bar("Pastures", 0.75, is_true=True), Bar("Arable land", 0.25, is_true=False)]
    pixels = np.asarray(draw_example(patch, bars, title="a patch", caption="black"))

    def longest_run(colour):
        rows = (pixels[:, -452:-122] == colour).all(axis=-1)  # the track of the bars
        return int(rows.sum(axis=1).max())

    assert longest_run((0x0B, 0x7A, 0x4B)) == pytest.approx(0.75 * 330, abs=4)
    assert longest_run((0x9F, 0xB3, 0xC8)) == pytest.approx(0.25 * 330, abs=4)
