"""JSON from elsewhere becomes values of the right types, or an error with file, field and cure."""

from dataclasses import dataclass

import pytest

from reben.errors import ConfigError
from reben.support.bounds import MAX_JSON_BYTES
from reben.support.json_files import Finite, check_values, parse_json, read_json


@dataclass(frozen=True)
class Colour:
    name: str
    share: Finite
    parts: tuple[int, ...] = ()


CURE = "Write it anew."


def parse(content):
    return parse_json(content, Colour, "colour.json", ConfigError, CURE)


def test_values_of_the_right_types_come_back_as_the_dataclass():
    assert parse('{"name": "red", "share": 1, "parts": [1, 2]}') == Colour("red", 1.0, (1, 2))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('{"name": "red"}', "share: Field required"),
        ('{"name": "red", "share": "0.5"}', "share: .* it is '0.5'"),
        ('{"name": "red", "share": true}', "share: .* it is True"),
        ('{"name": "red", "share": 1, "parts": [1, 2.5]}', r"parts.1: .* it is 2.5"),
        ('{"name": "red", "share": 1, "parts": [' + "9" * 5000 + "]}", "out of range"),
        ('{"name": "red", "share": 1e999}', "share: .* it is inf"),
        ('{"name": "red", "share": NaN}', "share: .* it is nan"),
        ("[" * 100_000, "recursion"),
        ('{"name": "\xff', "Invalid JSON"),
        (b'{"name": "\xff"}', "Invalid JSON"),
        ("", "Invalid JSON"),
        ("[]", "it is \\[\\]"),
    ],
)
def test_anything_else_is_an_error_with_name_field_and_cure(content, said):
    with pytest.raises(ConfigError, match=f"(?s)^colour.json .*{said}.*{CURE}$"):
        parse(content)


def test_values_in_a_message_are_cut_short():
    with pytest.raises(ConfigError) as caught:
        parse('{"name": "red", "share": "' + "x" * 10_000 + '"}')

    assert len(str(caught.value)) < 250


def test_a_file_that_is_not_there_is_the_same_error(tmp_path):
    with pytest.raises(ConfigError, match=f"none.json cannot be read: No such file.*{CURE}"):
        read_json(tmp_path / "none.json", Colour, ConfigError, CURE)


def test_a_file_without_end_is_not_read_to_its_end():
    with pytest.raises(ConfigError, match=f"larger than {MAX_JSON_BYTES >> 20} MiB"):
        parse(b" " * (MAX_JSON_BYTES + 1))


def test_values_from_python_are_checked_alike():
    assert check_values({"name": "red", "share": 1.0}, Colour, "x", ConfigError, CURE).share == 1.0
    with pytest.raises(ConfigError, match="name: "):
        check_values({"name": 3, "share": 1.0}, Colour, "x", ConfigError, CURE)
