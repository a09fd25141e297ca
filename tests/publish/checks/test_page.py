import pytest

from reben.publish.checks.page import CardProblem, CardText
from reben.publish.pages import pictures

TEXT = r"""---
license: mit
tags:
- a
---

```md
![not a picture](code.png)
```
<!-- ![not shown](comment.png) -->

![a](b.png "title") ![[linked](http://x)](c.png) <img alt="d" src="figures/d.png" width="3">
"""


def test_front_matter_is_plain_values():
    card = CardText.parse(TEXT)
    assert card.head == {"license": "mit", "tags": ["a"]}
    assert card.trouble is None


def test_pictures_are_those_that_are_shown():
    assert pictures(CardText.parse(TEXT).text) == ("b.png", "c.png", "figures/d.png")


@pytest.mark.parametrize(
    ("head", "trouble"),
    [
        ("license: [mit", "not valid YAML"),
        ("- a", "has no fields"),
        ("model-index: 3", "Hub cannot use"),
        ("model-index:\n- name: a\n  results:\n  - task: 3", "Hub cannot use"),
    ],
)
def test_what_cannot_be_parsed_is_told(head, trouble):
    assert trouble in CardText.parse(f"---\n{head}\n---\ntext").trouble


def test_a_text_without_front_matter_is_told():
    card = CardText.parse("# x")
    assert (card.head, card.text) == ({}, "# x")
    assert "front matter is missing" in card.trouble


def test_a_warning_says_that_it_is_one():
    assert str(CardProblem("a", "b")) == "a: b"
    assert str(CardProblem("a", "b", "warning")) == "a: b (warning)"
