import pytest

from reben.publish.checks.parse import CardText, Table, unescape
from reben.publish.markdown import escape

TEXT = r"""---
license: mit
tags:
- a
---

| Label | 95 % interval | Mi\|cro |
|---|:---:|---:|
| S2A\_x | 0.1 to 0.2 |  |
| short |

a | b
:---:|---
1 | `2`

```md
| not | a table |
|---|---|
![not a picture](code.png)
```
<!-- ![not shown](comment.png) -->

1. one
2. two

0. zero\_th
1. first
2. second

![a](b.png "title") ![[linked](http://x)](c.png) <img alt="d" src="figures/d.png" width="3">
"""


@pytest.fixture(scope="module")
def card():
    return CardText.parse(TEXT)


def test_front_matter_is_plain_values(card):
    assert card.head == {"license": "mit", "tags": ["a"]}
    assert card.trouble is None


def test_tables_have_cells_without_escapes_and_none_of_blocks_of_code(card):
    assert card.tables == (
        Table(("Label", "95 % interval", "Mi|cro"), (("S2A_x", "0.1 to 0.2", ""), ("short",))),
        Table(("a", "b"), (("1", "`2`"),)),
    )


def test_a_table_is_found_by_columns_in_any_order(card):
    assert card.find_table("Mi|cro", "Label") == card.tables[0]
    assert card.find_table("Label", "nothing") is None


def test_a_short_row_has_empty_cells(card):
    assert card.tables[0].column("95 % interval") == ["0.1 to 0.2", ""]
    assert card.tables[0].column("nothing") == []
    assert card.tables[0].dicts()[1] == {"Label": "short"}


def test_of_two_columns_of_one_name_the_first_counts():
    assert Table(("a", "a"), (("1", "2"),)).dicts() == [{"a": "1"}]


def test_the_list_that_counts_from_zero_is_the_one_of_labels(card):
    assert card.numbered == ("zero_th", "first", "second")


def test_pictures_are_those_that_are_shown(card):
    assert card.pictures == ("b.png", "c.png", "figures/d.png")


def test_windows_line_ends_and_a_byte_order_mark_change_nothing(card):
    other = CardText.parse("\ufeff" + TEXT.replace("\n", "\r\n"))
    assert (other.head, other.tables, other.numbered) == (card.head, card.tables, card.numbered)


@pytest.mark.parametrize("text", [r"S2A_x | <b> *y* [z](u) {{ t }} $ & # ~ \n `c`", "- a", "1. a"])
def test_unescape_undoes_escape(text):
    assert unescape(escape(text)) == text


@pytest.mark.parametrize(
    ("head", "trouble"),
    [
        ("license: [mit", "cannot be parsed: ParserError"),
        ("- a", "cannot be parsed: ValueError"),
        ("model-index: 3", "model-index cannot be parsed"),
        ("model-index:\n- name: a\n  results:\n  - task: 3", "model-index cannot be parsed"),
    ],
)
def test_what_cannot_be_parsed_is_told(head, trouble):
    assert trouble in CardText.parse(f"---\n{head}\n---\ntext").trouble


def test_a_text_without_front_matter_is_told():
    card = CardText.parse("# x")
    assert (card.head, card.data) == ({}, None)
    assert "no front matter" in card.trouble
