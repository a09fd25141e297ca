"""What others wrote, taken apart within bounds."""

import os
import time

import pytest

from reben.errors import CardError
from reben.publish.pages import parse_head, pictures, prose, read_page, split_head
from reben.support.bounds import MAX_CARD_BYTES

PAGE = """
![a](b.png "title") ![[linked](http://x)](c%20d.png) <img alt="d" src="figures/d.png" width="3">

[ref]: e.png

| head |
|---|
| ![cell][ref] [![inside a link](f.png)](http://x) |

<div>
<img src='g.png'>
</div>

```md
![code](no.png)
```

    ![indented](no.png)

`![code](no.png)` <!-- ![comment](no.png) -->
<!--
![comment](no.png)
-->
"""


def test_pictures_are_those_that_are_shown():
    assert pictures(PAGE) == (
        "b.png", "c d.png", "figures/d.png", "e.png", "f.png", "g.png",
    )  # fmt: skip


def test_prose_is_without_code_and_comments():
    text = "a\n\n```\nb\n```\n\nc <!-- d --> e\n\n<p>f</p>\n\n<!-- g\n\n-->\n"
    assert prose(text).split() == ["a", "c", "e", "<p>f</p>"]


@pytest.mark.parametrize(
    ("text", "head", "rest"),
    [
        ("---\na: 1\n---\nb", "a: 1", "b"),
        ("\n \n---  \na: 1\nb: 2\n--- \nb\n---\n", "a: 1\nb: 2", "b\n---\n"),
        ("---\n---\nb", "", "b"),
        ("---\na: 1\n", None, "---\na: 1\n"),
        ("# b\n---\na\n---\n", None, "# b\n---\na\n---\n"),
        ("", None, ""),
    ],
)
def test_the_head_is_what_stands_between_lines_of_dashes_at_the_top(text, head, rest):
    assert split_head(text) == (head, rest)


def test_windows_line_ends_and_a_byte_order_mark_change_nothing(tmp_path):
    (tmp_path / "a").write_bytes(b"\xef\xbb\xbf---\r\na: 1\r\n---\r\nb")
    assert split_head(read_page(tmp_path / "a")) == ("a: 1", "b")


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"\xff", "no text in UTF-8"), (b"a" * (MAX_CARD_BYTES + 1), "larger than 512 KiB")],
)
def test_what_is_no_text_or_too_large_is_refused(content, said, tmp_path):
    (tmp_path / "a").write_bytes(content)
    with pytest.raises(CardError, match=said):
        read_page(tmp_path / "a")


@pytest.mark.parametrize(
    ("block", "said"),
    [
        ("a: [mit", "not valid YAML"),
        ("- a", "has no fields"),
        ("1: 2", "has no fields"),
        ("a: 2024-99-99", "month must be"),
        ("a: !!float x", "could not convert"),
        ("a: !!timestamp x", "not valid YAML"),
        ("a: !!int ''", "not valid YAML"),
        ("a: !!python/object:os.system x", "not valid YAML"),
        (f"a: {'9' * 5000}", "not valid YAML"),
        ("[" * 5000, "more than 64 levels deep"),
        ("a: &a\n  b: *a", "with its aliases"),
        ("x: &a [1, 1]\n" + "\n".join(
            f"{name}: &{name} [{','.join(['*' + before] * 9)}]"
            for before, name in zip("abcdefgh", "bcdefghi", strict=True)
        ), "with its aliases"),
        ("a: 1\n" * 60_000, "larger than 256 KiB"),
    ],
)  # fmt: skip
def test_a_head_that_is_none_or_has_no_end_is_refused(block, said):
    with pytest.raises(CardError, match=said):
        parse_head(block)


def test_aliases_within_bounds_are_read():
    assert parse_head("a: &a [1]\nb: [*a, *a]") == {"a": [1], "b": [[1], [1]]}


@pytest.mark.parametrize(
    "text",
    [
        "![" + "[](a)" * 30, "![" * 40_000, "[" * 80_000, "<!--" * 40_000, "<" * 80_000,
        "`" * 80_000, ">" * 80_000, "- " * 40_000, "\n" * 80_000, "<a " * 40_000,
        "[a](<b" * 20_000, "![a](b) " + "[" * 200_000, "![a](b) <img " * 10_000,
        "|" * 40_000 + "\n" + "|-" * 40_000, "<!-- reben:begin a -->\n" * 4000,
    ],
)  # fmt: skip
def test_no_text_keeps_the_parser_busy(text):
    begun = time.process_time()
    for read in (pictures, prose):
        try:
            read(text)
        except CardError as error:
            assert "more than" in str(error) or "longer than" in str(error)  # noqa: PT017
    assert time.process_time() - begun < 5


def test_a_pipe_is_no_page(tmp_path):
    os.mkfifo(tmp_path / "a")
    with pytest.raises(CardError, match="is a pipe"):
        read_page(tmp_path / "a")
