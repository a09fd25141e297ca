import os

import pytest

from reben.errors import ConfigError
from reben.support.toml_files import parse_toml, read_toml

CURE = "Write it anew."


def test_values_come_back(tmp_path):
    (tmp_path / "a.toml").write_text('a = 1\nb = ["é"]\n', encoding="utf-8")
    assert read_toml(tmp_path / "a.toml", ConfigError, CURE) == {"a": 1, "b": ["é"]}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a = ", "not TOML: Invalid value"),
        ("a = " + "9" * 5000, "not TOML: Exceeds the limit"),
        ("a = " + "[" * 50_000, "nested too deeply"),
        ("a = 1\na = 2", "not TOML: Cannot overwrite"),
    ],
    ids=["cut", "digits", "depth", "twice"],
)
def test_anything_else_is_an_error_with_name_and_cure(text, said):
    with pytest.raises(ConfigError, match=rf"^a\.toml .*{said}.*{CURE}$"):
        parse_toml(text, "a.toml", ConfigError, CURE)


def test_what_is_no_text_file_is_an_error_with_path_and_cure(tmp_path):
    (tmp_path / "latin").write_bytes(b"a = '\xe9'")
    os.mkfifo(tmp_path / "pipe")
    for name, said in (
        ("latin", "it is no text in UTF-8"),
        ("pipe", "it is a pipe"),
        ("none", "No such file"),
        ("", "it is a folder"),
    ):
        with pytest.raises(ConfigError, match=rf"{name} cannot be read: {said}.*{CURE}$"):
            read_toml(tmp_path / name, ConfigError, CURE)
    with pytest.raises(ConfigError, match="/dev/zero cannot be read: it is a device"):
        read_toml(tmp_path / "/dev/zero", ConfigError, CURE)
