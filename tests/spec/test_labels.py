import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reben.errors import LabelsError, UnknownLabelError
from reben.spec.labels import (
    COLOURS,
    CORINE_TO_LABEL,
    LABELS,
    PAPER_LABELS,
    from_multi_hot,
    labels_of_codes,
    to_multi_hot,
)

ORDERS = {"alphabetical": LABELS, "paper": PAPER_LABELS}
SETS_OF_LABELS = st.sets(st.sampled_from(LABELS))


@pytest.fixture(scope="module")
def facts(golden):
    return json.loads((golden / "facts" / "labels.json").read_text(encoding="utf-8"))


# Facts -------------------------------------------------------------------------------------------


def test_labels_are_in_the_published_alphabetical_order(facts):
    assert list(LABELS) == facts["alphabetical"] == sorted(LABELS)


def test_labels_are_in_the_order_of_the_reference_loader(golden):
    text = (golden / "facts" / "band_orders.json").read_text(encoding="utf-8")

    assert list(LABELS) == json.loads(text)["NEW_LABELS"]


def test_paper_labels_are_in_the_order_of_the_paper(facts):
    assert list(PAPER_LABELS) == facts["paper_order"]


def test_the_two_orders_hold_the_same_labels_at_different_places():
    assert set(LABELS) == set(PAPER_LABELS)
    assert LABELS != PAPER_LABELS


def test_corine_codes_have_their_published_labels(facts):
    published = {int(code): label for code, label in facts["clc_to_class"].items()}

    assert dict(CORINE_TO_LABEL) == published


def test_every_label_but_two_has_its_published_colour(facts):
    own = {"Beaches, dunes, sands", "Marine waters"}
    assert {label for label in LABELS if COLOURS[label] != facts["colours"][label]} == own
    assert set(COLOURS) == set(LABELS)


# Multi-hot vectors -------------------------------------------------------------------------------


@pytest.mark.parametrize("order", ORDERS.values(), ids=ORDERS)
@given(names=SETS_OF_LABELS)
def test_from_multi_hot_undoes_to_multi_hot(order, names):
    vector = to_multi_hot(names, order)

    assert len(vector) == 19
    assert set(from_multi_hot(vector, order)) == names


@given(vector=st.lists(st.sampled_from([0, 1]), min_size=19, max_size=19))
def test_to_multi_hot_undoes_from_multi_hot(vector):
    assert list(to_multi_hot(from_multi_hot(vector))) == vector


@given(names=st.lists(st.sampled_from(LABELS)))
def test_order_and_repeats_of_names_do_not_matter(names):
    assert to_multi_hot(names) == to_multi_hot(sorted(set(names), reverse=True))


def test_a_vector_read_in_the_other_order_gives_other_labels():
    vector = to_multi_hot(["Marine waters", "Pastures"], PAPER_LABELS)

    assert from_multi_hot(vector, LABELS) == ("Coastal wetlands", "Urban fabric")


def test_names_come_back_in_the_order_of_the_vector():
    vector = to_multi_hot(["Agro-forestry areas", "Urban fabric"], PAPER_LABELS)

    assert from_multi_hot(vector, PAPER_LABELS) == ("Urban fabric", "Agro-forestry areas")


def test_booleans_and_whole_floats_mark_labels_too():
    assert from_multi_hot([True, *[False] * 17, 1.0]) == ("Agro-forestry areas", "Urban fabric")


def test_an_unknown_label_is_named_beside_the_labels_there_are():
    with pytest.raises(UnknownLabelError, match=r"'pastures'.*Agro-forestry areas; Arable land"):
        to_multi_hot(["Pastures", "pastures"])


def test_a_text_for_names_is_refused():
    with pytest.raises(LabelsError, match="'Pastures'"):
        to_multi_hot("Pastures")


@pytest.mark.parametrize("length", [0, 18, 20, 43])
def test_a_vector_of_another_length_is_refused(length):
    with pytest.raises(LabelsError, match=f"{length} values.*19 labels"):
        from_multi_hot([0] * length)


@pytest.mark.parametrize("value", [2, -1, 0.7, float("nan"), "1"])
def test_a_vector_with_anything_but_zero_and_one_is_refused(value):
    with pytest.raises(LabelsError, match=f"holds {value!r}"):
        from_multi_hot([*[0] * 18, value])


# Codes of reference maps -------------------------------------------------------------------------


def test_a_patch_has_the_labels_of_all_codes_in_its_map():
    # The codes and labels of one real pair of reference map and metadata row.
    assert labels_of_codes([313, 211, 231, 311, 211]) == (
        "Arable land",
        "Broad-leaved forest",
        "Mixed forest",
        "Pastures",
    )


@pytest.mark.parametrize("code", [0, 122, 332, 335, 423, 999])
def test_a_code_without_a_label_counts_as_unlabelled(code):
    assert labels_of_codes([code, 112]) == ("Urban fabric",)
    assert labels_of_codes([code]) == ()


@given(st.lists(st.sampled_from(sorted(CORINE_TO_LABEL))))
def test_labels_of_codes_are_sorted_and_unique(codes):
    labels = labels_of_codes(codes)

    assert list(labels) == sorted(set(labels)) == sorted({CORINE_TO_LABEL[c] for c in codes})
