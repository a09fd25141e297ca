from reben.publish.cards.statements import contradictions

KNOWN = {
    "config": None,
    "hub_id": None,
    "official": True,
    "trained_words": "It was trained on a part.",
    "measured_data": {"args": None},
    "measured_words": "6 patches of Ramps",
}
TEXT = "It was pretrained on BigEarthNet v2.0 and evaluated on the\ntest set of the data."


def test_a_text_that_says_what_is_so_has_no_contradiction():
    assert list(contradictions(TEXT, KNOWN)) == []


def test_training_and_test_data_that_were_others_are_named():
    values = {**KNOWN, "official": False, "measured_data": {"args": {"num_patches": 6}}}
    trained, measured = contradictions(TEXT, values)
    assert "what is known: It was trained on a part." in trained
    assert "they are of 6 patches of Ramps" in measured
