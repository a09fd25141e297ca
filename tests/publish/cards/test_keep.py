import pytest

from reben.errors import OutputError
from reben.publish.cards.keep import keep_words
from reben.publish.cards.record import CardRecord, join_pieces, split_pieces

HEAD = "license: mit\ntags:\n- a\nmodel-index:\n- name: n\n  results:\n  - value: 1"


def page(title="# A net", use='load("card")', score=1, *, warning=False, head=HEAD):
    box = "<!-- reben:begin warning -->\nToy.\n<!-- reben:end warning -->\n\n"
    return (
        f"---\n{head}\n---\n\n{title}\n\n{box if warning else ''}"
        f"<!-- reben:begin results -->\nScore: {score}\n<!-- reben:end results -->\n\n"
        f"## Use\n\n{use}\n\n<!-- reben:begin end -->\nx\n<!-- reben:end end -->\n\nBye.\n"
    )


def record(text):
    body = text.split("\n---\n", 1)[1]
    head = {"license": "mit", "tags": ["a"], "model-index": [{"results": [{"value": 1}]}]}
    return CardRecord("0", "0", {}, head, {}, {}, dict(split_pieces(body)))


def test_pieces_join_to_the_same_text():
    text = page(warning=True)
    assert join_pieces(text, dict(split_pieces(text))) == text


def test_a_card_that_nobody_changed_becomes_the_new_one():
    old, new = page(), page("# Other", 'load("org/card")', 2, warning=True)
    assert keep_words(old, record(old), new).page == new
    assert keep_words(old, record(old), new).told == ()


def test_lines_of_the_author_stay_where_they_stood_and_all_of_rebens_are_new():
    old = page()
    edited = old.replace("# A net\n", "# A net\n\nBy us.\n").replace(
        "## Use\n", "## Use\n\nMine.\n"
    )
    edited = edited.replace("Bye.", "Bye.\n\n## To do\n\n- more")
    new = page("# A net", 'load("org/card")', 2)
    kept = keep_words(edited, record(old), new)
    assert kept.page == new.replace("# A net\n", "# A net\n\nBy us.\n").replace(
        "## Use\n", "## Use\n\nMine.\n"
    ).replace("Bye.", "Bye.\n\n## To do\n\n- more")
    assert kept.told == (
        "1 line of yours above the first section",
        "1 line of yours behind the section results",
        "2 lines of yours behind the section end",
    )


def test_words_behind_a_section_that_is_gone_are_kept_too():
    old = page(warning=True)
    edited = old.replace("<!-- reben:end warning -->\n", "<!-- reben:end warning -->\n\nMine.\n")
    assert "\nMine.\n" in keep_words(edited, record(old), page()).page


def test_without_a_record_all_that_differs_is_the_authors():
    edited = page("# My own title")
    assert "# My own title" in keep_words(edited, None, page(score=3)).page
    assert "Score: 3" in keep_words(edited, None, page(score=3)).page


def test_fields_tags_and_results_of_the_author_stay_in_the_front_matter():
    old = page()
    mine = HEAD.replace("- a\n", "- a\n- mine\n").replace("value: 1", "value: 1\n  - value: 7")
    new = page(score=2, head=HEAD.replace("value: 1", "value: 2"))
    kept = keep_words(page(head=f"{mine}\nextra: {{x: 1}}"), record(old), new)
    import yaml

    head = yaml.safe_load(kept.page.split("---")[1])
    assert head["tags"] == ["a", "mine"]
    assert head["extra"] == {"x": 1}
    assert [one["value"] for one in head["model-index"][0]["results"]] == [2, 7]
    assert kept.told == (
        "your tags mine",
        "1 of your results in the model-index",
        "your field extra of the front matter",
    )


@pytest.mark.parametrize(
    ("old", "new"), [("<!-- reben:end results -->\n", ""), ("license: mit", "license: [mit")]
)
def test_a_card_that_cannot_be_taken_apart_is_not_overwritten(old, new):
    with pytest.raises(OutputError, match="Nothing was changed"):
        keep_words(page().replace(old, new), record(page()), page())
