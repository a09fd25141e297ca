import json

import pytest

from reben.errors import ConfigError
from reben.publish.branding import Affiliation, Branding, Pictures

FILE = """
thumbnail = "https://example.org/t.png"
[[affiliations]]
name = "A | <b>"
url = "https://example.org/a?x=1&y=2"
logo = "https://example.org/a.svg"
[[affiliations]]
name = "B_c"
url = "https://example.org/b"
[pictures]
sentinel1 = "https://example.org/s1.jpg"
dataset = "https://example.org/d.jpg"
"""


@pytest.fixture
def branding(tmp_path):
    path = tmp_path / "us.toml"
    path.write_text(FILE)
    return Branding.load(path)


def test_the_preset_has_the_five_groups_of_the_original_project():
    groups = Branding.load("bigearth").affiliations
    assert [group.name for group in groups] == ["TU Berlin", "RSiM", "DIMA", "BigEarth", "BIFOLD"]
    assert all(group.logo.startswith("https://") for group in groups)


def test_a_json_file_says_the_same_as_a_toml_file(branding, tmp_path):
    path = tmp_path / "us.json"
    values = {
        "thumbnail": branding.thumbnail,
        "affiliations": [
            {"name": "A | <b>", "url": "https://example.org/a?x=1&y=2"}
            | {"logo": "https://example.org/a.svg"},
            {"name": "B_c", "url": "https://example.org/b"},
        ],
        "pictures": {
            "sentinel1": "https://example.org/s1.jpg",
            "dataset": "https://example.org/d.jpg",
        },
    }
    path.write_text(json.dumps(values))
    assert Branding.load(path) == branding


def test_names_are_escaped_in_the_row_for_markdown_and_for_html(branding):
    assert branding.row().splitlines() == [
        r"| [A \| \<b\>](https://example.org/a?x=1&y=2) | [B\_c](https://example.org/b) |",
        "| :---: | :---: |",
        '| <a href="https://example.org/a?x=1&amp;y=2"><img src="https://example.org/a.svg" '
        'alt="A &#124; &lt;b&gt;" height="40"></a> |  |',
    ]


def test_without_affiliations_there_is_no_row():
    assert (Branding().row(), Branding().gallery({"Sentinel-1"}, official=True)) == ("", "")


def test_a_picture_is_shown_for_the_sensors_of_the_model_alone(branding):
    assert branding.gallery({"Sentinel-2"}, official=False) == ""
    assert "s1.jpg" in branding.gallery({"Sentinel-1"}, official=False)
    assert "d.jpg" in branding.gallery({"Sentinel-2"}, official=True)


@pytest.mark.parametrize(
    "url",
    [
        "http://example.org/",
        "javascript:alert(1)",
        "https://example.org/a b",
        'https://example.org/"onload="x',
        "https://example.org/)![x](y",
        "https://example.org/<b>",
        "https://",
        "https://localhost/",
        "https://user@example.org/",
        "https://example.org/\n",
        "",
    ],
)
def test_addresses_that_are_not_plain_https_are_refused(url):
    for make in (
        lambda: Affiliation("A", url),
        lambda: Affiliation("A", "https://example.org", url),
        lambda: Pictures(dataset=url),
        lambda: Branding(thumbnail=url),
    ):
        with pytest.raises(ConfigError, match="must begin with https://"):
            make()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("affiliations = 3", "us.toml .*affiliations: .*it is 3"),
        ("[[affiliations]]\nname = 'A'", "affiliations.0.url: Field required"),
        ("colour = 'red'", "colour: .*may have a list affiliations"),
        ("= =", "is not TOML"),
        ("[[affiliations]]\nname = ' '\nurl = 'https://example.org'", "has no name"),
    ],
)
def test_a_file_that_cannot_be_is_an_error_that_names_it(text, message, tmp_path):
    path = tmp_path / "us.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        Branding.load(path)


@pytest.mark.parametrize("line", ["", " ", "a\nb", "```", "pip install reben\x0brm"])
def test_a_command_that_is_not_one_line_is_refused(line):
    with pytest.raises(ConfigError, match="must be one line"):
        Branding(install=line)


def test_a_file_that_is_not_there_is_an_error_that_names_the_presets():
    with pytest.raises(ConfigError, match=r"Could not read affiliations from gone\.toml.*bigearth"):
        Branding.load("gone.toml")
