"""Text that fits and colours that agree, for all pictures."""

import numpy as np

from reben.data.pictures import colour_radar, fit_font, label_colours, load_font, stretch, wrap
from reben.spec.labels import COLOURS, LABELS


def test_a_long_label_takes_two_lines_of_about_the_same_length():
    text = "Land principally occupied by agriculture, with significant areas"
    lines = wrap(text, load_font(20), 300)
    assert " ".join(lines) == text
    assert abs(len(lines[0]) - len(lines[1])) < 12


def test_one_long_word_stays_in_one_line():
    assert wrap("Donaudampfschifffahrt", load_font(20), 10) == ["Donaudampfschifffahrt"]


def test_a_font_is_as_large_as_fits_and_no_smaller_than_asked():
    assert fit_font("short", 30, 1000).size == 30
    assert 12 < fit_font("a rather long title", 30, 200).size < 30
    assert fit_font("far too long" * 20, 30, 10, smallest=9).size == 9


def test_labels_of_corine_have_its_colours_and_others_their_own():
    colours = label_colours((LABELS[0], "mine", "yours"))
    assert colours[0].tolist() == list(bytes.fromhex(COLOURS[LABELS[0]][1:]))
    assert colours[1].tolist() != colours[2].tolist()


def test_values_are_stretched_and_cut_off():
    np.testing.assert_allclose(stretch(np.array([0, 150, 200, 900]), 100, 300), [0, 0.25, 0.5, 1])


def test_radar_has_a_fixed_stretch():
    rgb = colour_radar(np.full((1, 1), -10.0), np.full((1, 1), -17.0))
    np.testing.assert_allclose(rgb[0, 0], [0.5, 0.5, 7 / 15], rtol=1e-6)
