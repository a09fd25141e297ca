import ast
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

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


@pytest.mark.parametrize(
    ("template", "line", "said"),
    [
        ("{% for x in %}", 1, "Expected an expression"),
        ("\n\n{{ 1 / 0 }}", 3, "division by zero"),
        ("\n{{ range(10 ** 9) }}", 2, "Range too big"),
        ("{% include '/etc/hostname' %}", 1, "no loader"),
        ("{{ labels.append('x') }}", 1, "unsafe"),
        ("{{ ''.__class__ }}", 1, "unsafe"),
        ("{{ labels.save('x') }}", 1, "has no attribute 'save'"),
        ("{{ labels | nosuch }}", 1, "No filter named"),
        ("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", 1, "recursion"),
    ],
)
def test_a_fault_of_a_template_is_an_error_with_its_file_and_line(template, line, said):
    with pytest.raises(ConfigError, match=rf"mine\.jinja, line {line}, cannot be filled: .*{said}"):
        render(template, {"labels": ["a"]}, "mine.jinja")


def test_names_are_listed_only_where_a_name_is_what_is_wrong():
    with pytest.raises(ConfigError, match=r"division by zero\.$"):
        render("{{ 1 / 0 }}", {"labels": ["a"]}, "mine.jinja")


HOSTILE = (
    "https://evil.com/x", "http://evil.com", "www.evil.com", "me@evil.com", "mailto:me@evil.com",
    "evil.com", "<https://evil.com>", "<me@evil.com>", "[a](https://evil.com)", "[evil.com]",
    "[a]: https://evil.com", "![a](https://evil.com/x.png)", "<script>alert(1)</script>",
    "<a href='https://evil.com'>x</a>", "<img src=x onerror=alert(1)>", "<!-- x", "&lt;b&gt;",
    "a | b", "`a`", "``", "**a**", "_a_", "~~a~~", "# a", "> a", "- a", "1. a", "===", "---", "***",
    "$x^2$", "a\nb\n\n# c", "\\", "a\\|b", "[^1]", ":---:", "    code", "```", "x\u2028y",
    "FTP://evil.com", "javascript://evil.com", "&#104;ttps://evil.com", "//evil.com",
)  # fmt: skip


def parsed(text):
    """The tokens of CommonMark with tables, in one flat list."""
    tokens = MarkdownIt("commonmark").enable("table").parse(text)
    return [each for token in tokens for each in (token, *(token.children or ()))]


@pytest.mark.parametrize("value", HOSTILE)
@pytest.mark.parametrize("frame", ["{}", "Title\n{}", "# {}", "| a |\n|---|\n| {} |", "- {}"])
def test_a_value_makes_no_link_picture_or_html_and_shows_its_own_characters(value, frame):
    plain, tokens = parsed(frame.format("word")), parsed(frame.format(escape(value)))
    blocks = [token.type for token in tokens if token.block]
    assert blocks == [token.type for token in plain if token.block]
    inside = [token for token in tokens if not token.block]
    assert {token.type for token in inside} <= {"text", "softbreak", "html_inline"}
    assert {token.content for token in inside if token.type == "html_inline"} <= {"<!-- -->"}
    shown = "".join(token.content for token in tokens if token.type == "text")
    assert " ".join(value.split()) in shown


@pytest.mark.parametrize("value", HOSTILE)
def test_no_run_of_text_is_what_renderers_make_a_link_of(value):
    """GFM links addresses and mail in plain text; what parts a run of text stops it."""
    runs = [""]
    for token in parsed(str(escape(value))):
        if token.type == "text":
            runs[-1] += token.content
        elif token.type == "html_inline":
            runs.append("")
    address = re.compile(r"[a-z]+://|www\.|\w@\w|\w\.(com|org|de)\b", re.IGNORECASE)
    assert not [run for run in runs if address.search(run)]


@pytest.mark.parametrize("value", HOSTILE)
def test_code_stays_code_also_inside_tables(value):
    rows = [token for token in parsed(f"| a |\n|---|\n| {code(value)} |") if token.type != "text"]
    assert {token.type for token in rows if not token.block} == {"code_inline"}


@given(st.text())
def test_escaping_is_done_once(text):
    assert escape(escape(text)) == escape(text)
    assert isinstance(escape(text), Markdown)


@given(st.text(alphabet="ab`|", min_size=1))
def test_the_fence_of_code_is_longer_than_any_run_of_backticks_in_it(text):
    fenced = code(text)
    fence = fenced[: len(fenced) - len(fenced.lstrip("`"))]
    assert fence not in text
