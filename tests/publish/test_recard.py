"""Recard: from a model on a Hub on loopback to a corrected card folder."""

import inspect
import json

import pytest

import made_up
from reben.data.loader import open_dataset
from reben.errors import ConfigError
from reben.learn.evaluate import evaluate
from reben.learn.report import Report
from reben.model.classifier import Classifier
from reben.publish import recard as module
from reben.publish.card import write_card
from reben.publish.check import check_card
from reben.publish.recard import recard
from reben.spec.bands import ALL

NAME = "BIFOLD-BigEarthNetv2-0/test_resnet-all-v0.1.1"
takes_a_model_folder = pytest.mark.skipif(
    "origin" not in inspect.signature(write_card).parameters,
    reason="write_card writes cards of runs only",
)


@pytest.fixture
def published(hub, golden):
    folder = golden / "test_resnet-all"
    names = ("config.json", "model.safetensors")
    hub.repository(NAME, {name: (folder / name).read_bytes() for name in names})
    return hub.repositories[NAME].refs["refs/heads/main"]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    place = tmp_path_factory.mktemp("recard") / "store"
    return open_dataset(made_up.write_store(place, num_train=2, num_test=4))


def test_the_folder_handed_on_names_its_bands_and_the_report_is_measured(
    published, dataset, tmp_path, monkeypatch
):
    seen = {}

    def keep(folder, report, out, **settings):
        seen.update(settings, report=report, bands=Classifier.from_pretrained(folder).bands)
        seen["config"] = json.loads((folder / "config.json").read_text())
        return out

    monkeypatch.setattr(module, "write_card", keep)
    assert (
        recard(NAME, dataset, tmp_path / "mine", licence="mit", hub_id="me/new")
        == tmp_path / "mine"
    )
    assert seen["config"]["bands"][:4] == ["B02", "B03", "B04", "B08"]
    assert seen["config"]["bands"][-2:] == ["VH", "VV"]
    assert seen["bands"].names != ALL.names
    assert (seen["origin"], seen["licence"]) == (f"{NAME}@{published}", "mit")
    assert seen["hub_id"] == "me/new"
    assert seen["report"].name == NAME
    expected = evaluate(Classifier.from_pretrained(NAME), dataset["test"])
    assert seen["report"].macro == expected.macro
    assert seen["report"].num_patches == 4


def test_something_that_is_no_id_is_refused(dataset, tmp_path):
    with pytest.raises(ConfigError, match="is not the id of a model"):
        recard(str(tmp_path), dataset, tmp_path / "out")


@takes_a_model_folder
def test_a_published_model_becomes_a_card_folder_that_tells_where_it_is_from(
    published, dataset, tmp_path
):
    folder = recard(NAME, dataset, tmp_path / "mine", figures=False, licence="mit")
    model = Classifier.from_pretrained(folder)
    assert model.bands.names[-2:] == ("VH", "VV")
    report = Report.load(folder / "report.json")
    assert report.macro == evaluate(model, dataset["test"]).macro
    text = (folder / "README.md").read_text()
    assert NAME in text
    assert published[:7] in text


OLD_CARD = """---
license: cc-by-nc-4.0
---
This model was trained on the BigEarthNet v2.0 (also known as reBEN) dataset using the bands.
- Number of epochs: up to 100 (with early stopping after 5 epochs
of no improvement)
- Batch size: 512
- Dropout rate: <DROPOUT_RATE>
- Seed: 24
- Mood: good

The weights were obtained after 28 training epochs.
"""


def test_the_licence_of_the_published_weights_stays_and_what_their_card_states_is_told(
    hub, golden, dataset, tmp_path
):
    folder = golden / "test_resnet-all"
    files = {name: (folder / name).read_bytes() for name in ("config.json", "model.safetensors")}
    hub.repository(NAME, {**files, "README.md": OLD_CARD.encode()})
    with pytest.raises(ConfigError, match=r"under cc-by-nc-4\.0; a new card does not put them"):
        recard(NAME, dataset, tmp_path / "other", figures=False, licence="mit")
    out = recard(NAME, dataset, tmp_path / "mine", figures=False)
    assert json.loads((out / "card.json").read_text())["values"]["stated"] == {
        "Training data": "BigEarthNet v2.0 (also known as reBEN)",
        "Number of epochs": "up to 100 (with early stopping after 5 epochs of no improvement)",
        "Batch size": "512",
        "Seed": "24",
        "Epoch of the published weights": "28",
    }
    text = (out / "README.md").read_text()
    assert "license: cc-by-nc-4.0" in text
    assert "| Seed | 24 |" in text
    assert "Seed: as stated by others; reben could not verify it." in text
    assert check_card(out) == ()


def test_without_a_licence_on_its_card_the_licence_is_asked_for(published, dataset, tmp_path):
    with pytest.raises(
        ConfigError, match=r"BIFOLD-BigEarthNetv2-0/test_resnet.* none was found.*--licence"
    ):
        recard(NAME, dataset, tmp_path / "mine", figures=False)
    assert not (tmp_path / "mine").exists()
