"""BigEarthNet v1: its labels lie beside the bands, and are 43, or the 19 of v2.0."""

import json
import logging

import numpy as np
import pytest

from own_patches import pixels, write
from reben.data.encode import encode
from reben.data.encoding.v1 import CORINE_NAMES
from reben.data.inspection import summarise_store
from reben.data.loader import open_dataset
from reben.errors import MetadataError
from reben.learn.config import TrainConfig
from reben.learn.training.start import statistics_for
from reben.spec.bands import S2_FULL
from reben.spec.labels import CORINE_TO_LABEL, LABELS

NAMES = [f"S2A_MSIL2A_20170613T101031_{number}_45" for number in range(3)]
PARTNER = "S1A_IW_GRDH_1SDV_20170613T165043_33UUP_{}_45"
TOLD = [
    ["Non-irrigated arable land", "Discontinuous urban fabric"],
    ["Transitional woodland/shrub", "Airports"],
    ["Airports"],
]


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """The folders of v1.0, Sentinel-1 and Sentinel-2."""
    root = tmp_path_factory.mktemp("v1")
    for number, (name, labels) in enumerate(zip(NAMES, TOLD, strict=True)):
        first = PARTNER.format(number)
        for of, patch, bands in (("s2", name, S2_FULL), ("s1", first, ("VV", "VH"))):
            folder = root / of / patch
            for band in bands:
                layer = pixels(band, number, 120)
                path = folder / f"{patch}_{band}.tif"
                write(path, [layer], number, metres=1200 / len(layer))
            told = {"labels": labels, "corresponding_s2_patch": name if of == "s1" else None}
            (folder / f"{patch}_labels_metadata.json").write_text(json.dumps(told))
    return root


def test_there_are_43_labels_and_11_of_them_have_no_class():
    # 43 and 19 classes, 11 of the 43 removed: arXiv:2001.06372, section 2.
    assert len(CORINE_NAMES) == len(set(CORINE_NAMES.values())) == 43
    assert sum(code not in CORINE_TO_LABEL for code in CORINE_NAMES.values()) == 11
    assert {CORINE_TO_LABEL[c] for c in CORINE_NAMES.values() if c in CORINE_TO_LABEL} == {*LABELS}


def test_patches_have_the_labels_beside_them(tree, tmp_path, caplog):
    encode(tmp_path / "store", folder=tree / "s2", split_by="random", workers=1)

    data = open_dataset(tmp_path / "store")
    found = dict(zip(data.table.patch_ids, data.table.label_names, strict=True))
    assert {name: list(labels) for name, labels in found.items()} == dict(
        zip(NAMES, TOLD, strict=True)
    )
    assert data.identity.name == "BigEarthNet v1.0, 43 labels"
    assert data.identity.kind == "described"
    said = "BigEarthNet v1, 43 labels, 120 x 120 pixels of 10 m"
    assert summarise_store(tmp_path / "store").own == said
    with caplog.at_level(logging.WARNING):
        statistics_for(TrainConfig(bands="rgb"), data)
    assert "published for BigEarthNet v2.0, and the patches are of BigEarthNet v1.0" in caplog.text


def test_they_may_have_the_19(tree, tmp_path, caplog):
    splits = tmp_path / "splits.csv"
    rows = [
        f"{name},{split}" for name, split in zip(NAMES, ("train", "test", "train"), strict=True)
    ]
    splits.write_text("\n".join(["patch_id,split", *rows]))

    encode(
        tmp_path / "store", s2=tree / "s2", s1=tree / "s1", labels=splits, scheme="19", workers=1
    )

    data = open_dataset(tmp_path / "store", "all")
    assert data.table.labels == LABELS
    assert dict(zip(data.table.patch_ids, data.table.label_names, strict=True)) == {
        NAMES[0]: ("Arable land", "Urban fabric"),
        NAMES[1]: ("Transitional woodland, shrub",),
    }
    assert f"left out ({NAMES[2]})" in caplog.text  # none of the 19
    assert data.table.s1_names == [PARTNER.format(0), PARTNER.format(1)]
    np.testing.assert_array_equal(data.patch(1)["VH"], pixels("VH", 1, 120))
    assert "19 labels" in summarise_store(tmp_path / "store").own


def test_an_unknown_label_is_named(tree, tmp_path):
    name = NAMES[0]
    layer = pixels("B02", 0, 120)
    write(tmp_path / name / f"{name}_B02.tif", [layer], 0)
    (tmp_path / name / f"{name}_labels_metadata.json").write_text('{"labels": ["Tundra"]}')
    with pytest.raises(MetadataError, match="Tundra"):
        encode(tmp_path / "store", folder=tmp_path / name, split_by="random")
