from dataclasses import replace

import pytest

from learn.predicted import predicted
from reben.data.identity import OFFICIAL_SPLITS, DataDescription, DataIdentity, StoredPart
from reben.learn.evaluate import measure
from reben.publish.cards.data_words import CardPatches, data_values

OFFICIAL = DataIdentity("official", ("train", "validation", "test"))
PART = DataIdentity("official")
SYNTHETIC = DataIdentity("synthetic", made_up_by="a test")
KENYA = DataIdentity(
    "described",
    description=DataDescription(
        *("Kenya crops", "Kenya", "2021-03-01", "2021-03-31", "a survey", "cc-by-4.0")
    ),
)
TRAIN, TEST = OFFICIAL_SPLITS["train"][0], OFFICIAL_SPLITS["test"][0]


@pytest.fixture(scope="module")
def measured():
    return measure(predicted(40), rounds=0)


def words(measured, trained, test, num_train=TRAIN, split="test", num_test=TEST, **more):
    report = replace(measured, num_patches=num_test, split=split, data=test)
    return data_values(CardPatches(test, trained, num_train, **more), report, ["Sentinel-2"])


WHOLE = DataIdentity("official", ("test",))


@pytest.mark.parametrize(
    ("trained", "test", "num_train", "more", "sentences"),
    [
        (OFFICIAL, WHOLE, TRAIN, {}, 0),
        (PART, WHOLE, 118_936, {}, 0),
        (PART, WHOLE, 118_935, {}, 1),
        (PART, WHOLE, 500, {"fine_tuned": True}, 0),
        (KENYA, KENYA, 12, {}, 0),
        (None, WHOLE, None, {}, 0),
        (None, PART, None, {}, 1),
        (OFFICIAL, DataIdentity("official", ("validation",)), TRAIN, {"split": "validation"}, 1),
        (SYNTHETIC, SYNTHETIC, 100_000, {}, 2),
        (OFFICIAL, SYNTHETIC, TRAIN, {}, 1),
    ],
)
def test_the_box_warns_of_toys_parts_and_made_up_patches(
    trained, test, num_train, more, sentences, measured
):
    assert len(words(measured, trained, test, num_train, **more)["warning"]) == sentences


def test_filters_of_the_training_and_what_the_stores_held_are_said(measured):
    report = replace(measured, num_patches=6, data=PART, part=StoredPart(6, 119_825))
    filters = {"snow": "false", "cloud": "true", "countries": "Austria", "limit": "5"}
    patches = CardPatches(PART, PART, 5, filters=filters, part=StoredPart(7, 237_871))
    found = data_values(patches, report, ["Sentinel-2"])
    assert found["trained_words"] == (
        "It was trained on 5 patches of BigEarthNet v2.0, not the whole of its train split "
        "(237,871). They were selected by: cloud true; countries Austria; limit 5. Of the train "
        "split in its metadata the store held 7 of 237,871 patches."
    )
    assert found["measured_words"] == (
        "6 patches of BigEarthNet v2.0, not the whole of its test split (119,825), the store "
        "holding 6 of 119,825 listed"
    )
    clear = replace(patches, filters={"snow": "false", "cloud": "false"}, part=None)
    assert "selected" not in data_values(clear, report, ["Sentinel-2"])["trained_words"]


def test_only_the_whole_test_split_goes_without_a_count(measured):
    assert words(measured, OFFICIAL, WHOLE)["measured_data"] == {
        "type": "bigearthnet-v2.0",
        "name": "BigEarthNet v2.0",
        "args": None,
    }
    for test, split in ((PART, "test"), (OFFICIAL, "test"), (WHOLE, "validation")):
        found = words(measured, OFFICIAL, test, split=split, num_test=7)["measured_data"]
        assert found["name"] == "a part of BigEarthNet v2.0 (7 patches)"
        assert found["args"]["num_patches"] == 7
        assert found["args"]["fingerprint"] == measured.fingerprint


def test_data_of_others_are_called_what_their_owner_calls_them(measured):
    found = words(measured, KENYA, KENYA)
    assert found["measured_data"]["type"] == "kenya-crops"
    assert not found["official"]
    assert not found["cites_official"]


def test_a_model_of_unknown_training_names_no_data_place_or_time(measured):
    found = words(measured, None, WHOLE, None)
    assert found["trained_words"] == "What it was trained on is not recorded."
    assert (found["trained_on"], found["datasets"]) == (None, [])
    assert found["measured_words"] == ("the whole test split of BigEarthNet v2.0 (119,825 patches)")
    assert "is not recorded" in found["limits"][0]
    assert not any("CORINE" in sentence for sentence in found["limits"])


def test_the_month_of_data_of_one_month_is_named_once(measured):
    assert words(measured, KENYA, KENYA)["trained_words"].endswith(": Kenya, March 2021.")
