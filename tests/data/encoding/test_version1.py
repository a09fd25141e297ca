"""The labels of BigEarthNet v1.0."""

import json
import tomllib

import pytest

from reben.data.encoding.own_labels import Labelled
from reben.data.encoding.version1 import (
    CORINE_OF,
    LABELS_43,
    LabelsOfFiles,
    description,
    is_version1_name,
)
from reben.errors import MetadataError
from reben.spec.labels import CORINE_TO_LABEL, LABELS

NAME = "S2A_MSIL2A_20170613T101031_0_45"


def labels(tmp_path, names, scheme, **known):
    folder = tmp_path / NAME
    folder.mkdir(exist_ok=True)
    (folder / f"{NAME}_labels_metadata.json").write_text(json.dumps({"labels": names}))
    found = LabelsOfFiles({NAME: folder}, scheme, known.get("splits", {}), known.get("s1", {}))
    return found.of(NAME, None)


def test_there_are_43_of_which_32_make_the_19():
    assert len(LABELS_43) == 43
    assert len(set(CORINE_OF.values())) == 43
    of_19 = [CORINE_TO_LABEL[code] for code in CORINE_OF.values() if code in CORINE_TO_LABEL]
    assert (len(of_19), set(of_19)) == (32, set(LABELS))


def test_a_patch_has_the_labels_of_its_file_or_those_of_v2(tmp_path):
    names = ["Pastures", "Water bodies", "Water courses", "Airports"]
    known = {"splits": {NAME: "test"}, "s1": {NAME: "its partner"}}
    assert labels(tmp_path, names, "43", **known) == Labelled(
        tuple(names), "test", None, "its partner"
    )
    assert labels(tmp_path, names, "19") == Labelled(("Inland waters", "Pastures"))
    assert labels(tmp_path, ["Airports"], "19") is None


@pytest.mark.parametrize("content", [["Paris"], "Pastures", [3]])
def test_a_file_without_its_labels_is_refused(tmp_path, content):
    with pytest.raises(MetadataError, match=f"{NAME}_labels_metadata.json has"):
        labels(tmp_path, content, "43")


def test_names_of_version_1_are_told_from_others():
    assert is_version1_name(NAME)
    assert not is_version1_name("S2A_MSIL2A_20170613T101031_N9999_R022_T33UUP_0_45")


def test_a_store_says_what_it_is():
    assert tomllib.loads(description("43"))["name"] == "BigEarthNet v1.0, 43 labels"
