import ast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reben.errors import ConfigError
from reben.publish.markdown import Markdown, code, escape, number, render


def test_everything_that_is_interpolated_is_escaped():
    filled = render("{{ name }} | {{ 'a_b' }}", {"name": "S2A_T33 | *x* <b>[l](u)"})
    assert filled == r"S2A\_T33 \| \*x\* \<b\>\[l\](u) | a\_b"


def test_a_line_break_in_a_value_cannot_begin_a_new_block():
    assert render("{{ name }}", {"name": "a\n\n# b"}) == r"a \# b"


def test_code_is_not_escaped_twice():
    assert render("{{ name | code }}", {"name": "S2A_T33"}) == "`S2A_T33`"


def test_figures_have_four_decimals():
    assert render("{{ x | number }}", {"x": 2 / 3}) == "0.6667"
    assert number(1) == "1.0000"


def test_whole_numbers_have_commas():
    assert render("{{ x | thousands }}", {"x": 237871}) == "237,871"


def test_a_value_in_python_code_stays_one_string():
    name = 'it\'s "x"\n | ü'
    assert ast.literal_eval(render("{{ x | python }}", {"x": name})) == name


@pytest.mark.parametrize("name", ["- a", "1. a", "+ a", "3) a"])
def test_a_value_cannot_begin_a_list(name):
    assert render("{{ name }}", {"name": name}) == name.replace(name[-3], "\\" + name[-3])


@pytest.mark.parametrize("value", ["-1000", "0.15", "1e-3", "(nearest)"])
def test_plain_numbers_and_words_stay_as_they_are(value):
    assert render("{{ value }}", {"value": value}) == value


def test_a_template_that_names_an_unknown_value_is_an_error_that_lists_the_known_ones():
    with pytest.raises(ConfigError, match=r"'backbne' is undefined\. It may use: backbone, labels"):
        render("{{ backbne }}", {"backbone": "resnet18", "labels": ()})


def test_a_broken_template_is_an_error():
    with pytest.raises(ConfigError, match="Could not fill the card template"):
        render("{% for x in %}", {})


@given(st.text())
def test_escaping_is_done_once(text):
    assert escape(escape(text)) == escape(text)
    assert isinstance(escape(text), Markdown)


@given(st.text(alphabet="ab`|", min_size=1))
def test_the_fence_of_code_is_longer_than_any_run_of_backticks_in_it(text):
    fenced = code(text)
    fence = fenced[: len(fenced) - len(fenced.lstrip("`"))]
    assert fence not in text
