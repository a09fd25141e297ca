"""What a foreign template cannot do: run for ever, grow without end, reach out."""

import pytest

from reben.errors import ConfigError
from reben.publish.cards.sandbox import render_apart
from reben.publish.markdown import Markdown


def test_a_foreign_template_is_filled_like_our_own():
    values = {"name": "a_b | ü", "row": Markdown("[a](b)"), "numbers": [0.5]}
    text = render_apart("{{ name }} {{ row }} {{ numbers[0] | number }}", values, "t")
    assert text == r"a\_b \| ü [a](b) 0.5000"


def test_a_fault_has_file_and_line():
    with pytest.raises(ConfigError, match=r"t\.jinja, line 2, cannot be filled: 'x' is undefined"):
        render_apart("a\n{{ x }}", {}, "t.jinja")


@pytest.mark.parametrize(
    ("template", "said"),
    [
        (
            "{% for i in range(10 ** 5) %}{% for j in range(10 ** 5) %}{% endfor %}{% endfor %}",
            "it took longer than 1 s",
        ),
        ("{{ 'a' * 10 ** 11 }}", "MemoryError"),
        (
            "{% set s = namespace(x='a') %}{% for i in range(60) %}{% set s.x = s.x ~ s.x %}"
            "{% endfor %}",
            "MemoryError|it took longer",
        ),
        ("a" * 600_000, "at most 524,288"),
    ],
)
def test_time_memory_and_output_are_bounded(template, said):
    with pytest.raises(ConfigError, match=said):
        render_apart(template, {}, "t", seconds=1)
