import hashlib
import json
import os
import re
import sys

import pytest

from learn.predicted import predicted
from reben import check_mlm
from reben.data.identity import DataDescription, DataIdentity
from reben.errors import ConfigError, MissingExtraError, ModelFolderError, OutputError
from reben.learn.evaluate import measure
from reben.model.classifier import Classifier
from reben.model.config import ModelConfig
from reben.publish.mlm import add_file, write_mlm
from reben.spec.bands import ALL, S1, S2, BandSet
from reben.spec.labels import COLOURS, LABELS
from reben.spec.statistics import published_statistics


def write(folder, bands="all", **settings):
    model = Classifier("test_resnet", bands, **settings)
    model.save_pretrained(folder)
    (folder / "model.onnx").write_bytes(b"an ONNX file")
    (folder / "README.md").write_text("a card")
    official = DataIdentity("official")
    write_mlm(folder, model, name="made-up name v1.0", licence="mit", num_train=1234, data=official)
    return model


@pytest.fixture(scope="module")
def described(tmp_path_factory):
    """A folder with its mlm.json, for tests that change neither."""
    folder = tmp_path_factory.mktemp("described")
    return write(folder), folder


@pytest.fixture
def folder(tmp_path):
    write(tmp_path)
    return tmp_path


def item_of(folder):
    return json.loads((folder / "mlm.json").read_text(encoding="utf-8"))


def written(folder, model, **about):
    return item_of(write_mlm(folder, model, **about).parent)


def change(folder, edit):
    item = item_of(folder)
    edit(item)
    (folder / "mlm.json").write_text(json.dumps(item))


@pytest.mark.parametrize("bands", ["s1", "s2", "all", "all_full", "B8A,VV"])
def test_what_is_written_is_valid(tmp_path, bands):
    write(tmp_path, bands)
    assert check_mlm(tmp_path, schema=True) == ()


def test_stac_model_writes_the_same(described):
    from stac_model.schema import MLModelProperties

    fields = {k: v for k, v in item_of(described[1])["properties"].items() if k[:4] == "mlm:"}
    parsed = MLModelProperties.model_validate(fields)
    assert json.loads(parsed.model_dump_json(by_alias=True)) == fields


def test_pystac_reads_it_and_finds_the_files(described):
    import pystac

    item = pystac.Item.from_file(str(described[1] / "mlm.json"))
    assert item.id == "made-up name v1.0"
    assert item.common_metadata.start_datetime.year == 2017
    assert {asset.href for asset in item.get_assets(role="mlm:model").values()} == {
        "./model.safetensors",
        "./model.onnx",
    }


def test_bands_have_their_wavelengths_and_polarisations(described):
    item = item_of(described[1])
    bands = {band["name"]: band for band in item["properties"]["bands"]}
    assert tuple(bands) == ALL.names
    red = bands["B04"]
    assert (red["eo:common_name"], red["eo:center_wavelength"], red["gsd"]) == ("red", 0.6646, 10)
    assert bands["B12"]["eo:full_width_half_max"] == 0.175
    assert (bands["VH"]["sar:polarizations"], bands["VH"]["unit"]) == (["VH"], "dB")
    assert bands["VV"]["sar:center_frequency"] == 5.405
    assert item["assets"]["weights"]["bands"] == item["properties"]["bands"]


def test_the_input_says_order_shape_and_scaling(tmp_path):
    model = Classifier("test_resnet", "B11,VV,B03", upsampling="bicubic", image_size=128)
    item = written(tmp_path, model, licence="mit")
    (entry,) = item["properties"]["mlm:input"]
    figures = published_statistics(128, "bicubic")
    assert entry["bands"] == ["B11", "VV", "B03"]
    assert entry["input"]["shape"] == [-1, 3, 128, 128]
    assert entry["resize_type"] == "interpolation-cubic"
    assert entry["value_scaling"][2] == {
        "type": "z-score",
        "mean": figures.mean["B03"],
        "stddev": figures.std["B03"],
    }


def test_the_output_says_labels_colours_and_sigmoid(described):
    properties = item_of(described[1])["properties"]
    (entry,) = properties["mlm:output"]
    classes = entry["classification:classes"]
    assert [one["description"] for one in classes] == list(LABELS)
    assert [one["value"] for one in classes] == list(range(19))
    assert classes[2]["name"] == "beaches-dunes-sands"
    assert [f"#{one['color_hint'].lower()}" for one in classes] == [COLOURS[x] for x in LABELS]
    assert entry["result"]["shape"] == [-1, 19]
    assert entry["post_processing_function"]["expression"] == "torch.sigmoid(logits)"
    assert properties["mlm:hyperparameters"]["thresholds"] == [0.5] * 19


def test_rates_of_dropout_which_a_training_may_not_have_had_are_not_told(tmp_path):
    model = Classifier("test_resnet", "s1", drop_rate=0.3)
    item = written(tmp_path, model, licence="mit")
    assert not [name for name in item["properties"]["mlm:hyperparameters"] if "drop" in name]


def test_the_temperature_of_a_calibrated_model_is_said(tmp_path):
    model = Classifier("test_resnet", "s1")
    model.config = ModelConfig.from_dict({**model.config.to_dict(), "temperature": 1.5})
    output = written(tmp_path, model, licence="mit")["properties"]["mlm:output"][0]
    assert output["post_processing_function"]["expression"] == "torch.sigmoid(logits / 1.5)"


def test_files_are_there_with_size_and_checksum(described):
    model, folder = described
    item = item_of(folder)
    weights = item["assets"]["weights"]
    content = (folder / "model.safetensors").read_bytes()
    assert weights["file:checksum"] == "1220" + hashlib.sha256(content).hexdigest()
    assert weights["file:size"] == len(content)
    assert set(item["assets"]) == {"weights", "onnx", "config", "card"}
    expected = sum(weight.numel() for weight in model.parameters())
    assert item["properties"]["mlm:total_parameters"] == expected


def test_made_up_patches_have_no_place_on_earth(tmp_path):
    model = Classifier("test_resnet", "s1")
    model.save_pretrained(tmp_path)
    write_mlm(tmp_path, model, licence="mit", made_up=True)
    item = item_of(tmp_path)
    assert (item["geometry"], item["links"]) == (None, [])
    assert "made-up patches" in item["properties"]["mlm:pretrained_source"]
    assert check_mlm(tmp_path, schema=True) == ()


@pytest.mark.parametrize("data", [None, DataIdentity("unknown")])
def test_unrecorded_data_have_no_place_no_name_and_no_links(data, tmp_path):
    model = Classifier("test_resnet", "s1")
    model.save_pretrained(tmp_path)
    write_mlm(tmp_path, model, licence="mit", data=data)
    text = (tmp_path / "mlm.json").read_text()
    assert "BigEarthNet v2.0" not in text.replace("official BigEarthNet v2.0 train split", "")
    assert "Austria" not in text
    assert item_of(tmp_path)["properties"]["mlm:pretrained_source"] is None
    assert check_mlm(tmp_path, schema=True) == ()


def test_own_data_have_their_own_place_time_and_link(tmp_path):
    model = Classifier("test_resnet", "s1", labels=("maize", "savanna"))
    model.save_pretrained(tmp_path)
    kenya = DataDescription(
        *("Crops", "Kenya", "2021-01-01", "2021-12-31", "field survey", "cc-by-4.0"),
        url="https://example.org/crops",
        bounds=(33.9, -4.7, 41.9, 5.5),
    )
    data = DataIdentity("described", description=kenya)
    write_mlm(tmp_path, model, licence="mit", num_train=7, data=data)
    item = item_of(tmp_path)
    assert item["bbox"] == [33.9, -4.7, 41.9, 5.5]
    assert item["properties"]["start_datetime"] == "2021-01-01T00:00:00Z"
    assert item["properties"]["description"].endswith("trained on Crops, 7 patches (Kenya).")
    assert [link["href"] for link in item["links"]] == ["https://example.org/crops"]
    assert check_mlm(tmp_path, schema=True) == ()


def test_names_that_the_extension_does_not_allow_are_cleaned(tmp_path):
    model = Classifier("test_resnet", "s1")
    for name in ("18 (ours)", "é", "résumé/x", "a"):
        assert written(tmp_path, model, name=name, licence="mit")["id"] == name
        assert not [fault for fault in check_mlm(tmp_path) if "mlm:name" in fault]


def drop_last_class(item):
    del item["properties"]["mlm:output"][0]["classification:classes"][-1]


FAULTS = {
    "swap two bands": (
        lambda i: i["properties"]["mlm:input"][0]["bands"].reverse(),
        "mlm:input[0].bands[0] is 'B12'; it should be 'VV'",
    ),
    "another mean": (
        lambda i: i["properties"]["mlm:input"][0]["value_scaling"][3].update(mean=0.5),
        "mlm:input[0].value_scaling[3].mean is 0.5; it should be",
    ),
    "another resize": (
        lambda i: i["properties"]["mlm:input"][0].update(resize_type="interpolation-cubic"),
        "resize_type is 'interpolation-cubic'; it should be",
    ),
    "paper order": (
        lambda i: i["properties"]["mlm:output"][0]["classification:classes"].reverse(),
        "classification:classes[0].value is 18; it should be 0",
    ),
    "a class less": (drop_last_class, "mlm:output[0].classification:classes is "),
    "another threshold": (
        lambda i: i["properties"]["mlm:hyperparameters"]["thresholds"].__setitem__(4, 0.4),
        "thresholds[4] is 0.4; it should be 0.5",
    ),
    "a wavelength": (
        lambda i: i["properties"]["bands"][2].update({"eo:center_wavelength": 0.7}),
        "properties.bands[2].eo:center_wavelength is 0.7; it should be",
    ),
    "undefined band": (
        lambda i: i["properties"]["mlm:input"][0]["bands"].append("B10"),
        "mlm:input[0].bands is ",
    ),
    "another backbone": (
        lambda i: i["properties"].update({"mlm:architecture": "resnet50"}),
        "mlm:architecture is 'resnet50'; it should be 'test_resnet'",
    ),
    "no role": (
        lambda i: i["assets"]["weights"].update(roles=["data"]),
        "asset weights: the role mlm:model and mlm:artifact_type belong together",
    ),
    "outside": (
        lambda i: i["assets"]["weights"].update(href="../model.safetensors"),
        "asset weights is outside the folder",
    ),
    "elsewhere": (
        lambda i: i["assets"]["weights"].update(href="https://host/model.safetensors"),
        "asset weights is outside the folder",
    ),
    "file not there": (
        lambda i: i["assets"]["weights"].update(href="./other.safetensors"),
        "there is no file other.safetensors",
    ),
    "onnx left out": (lambda i: i["assets"].pop("onnx"), "item.assets lacks onnx"),
    "no input": (lambda i: i["properties"].pop("mlm:input"), "mlm:input: Field required"),
    "another name": (
        lambda i: i["properties"].update({"mlm:name": "a/b"}),
        "mlm:name is 'a/b'; it should be 'made-up name v1.0'",
    ),
    "another time": (
        lambda i: i["properties"].update(start_datetime="2016-01-01T00:00:00Z"),
        "start_datetime is '2016-01-01T00:00:00Z'; it should be",
    ),
    "another place": (lambda i: i["bbox"].reverse(), "item.bbox[0] is "),
    "the role of a model alone": (
        lambda i: i["assets"].update(other={"href": "./README.md", "roles": ["mlm:model"]}),
        "asset other: the role mlm:model and mlm:artifact_type belong together",
    ),
    "an asset of an author that is not there": (
        lambda i: i["assets"].update(paper={"href": "./paper.pdf"}),
        "asset paper: there is no file paper.pdf",
    ),
    "unknown task": (
        lambda i: i["properties"].update({"mlm:tasks": ["guessing"]}),
        "MLM: mlm:tasks",
    ),
    "unknown field": (
        lambda i: i["properties"].update({"mlm:mood": "good"}),
        "there is no field mlm:mood",
    ),
    "no bbox": (lambda i: i.pop("bbox"), "STAC: "),
    "no date": (lambda i: i["properties"].pop("end_datetime"), "STAC: "),
    "bad version": (lambda i: i.update(stac_version="9.9.9"), "no schema for stac_version '9.9.9'"),
    "no extension": (
        lambda i: i["stac_extensions"].pop(0),
        "stac_extensions lacks https://stac-extensions.github.io/mlm",
    ),
    "assets a list": (lambda i: i.update(assets=[1]), "has the wrong type"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_found(described, tmp_path, fault):
    for file in described[1].iterdir():
        os.link(file, tmp_path / file.name)
    edit, expected = FAULTS[fault]
    item = item_of(tmp_path)
    edit(item)
    (tmp_path / "mlm.json").unlink()
    (tmp_path / "mlm.json").write_text(json.dumps(item))
    assert expected in "\n".join(check_mlm(tmp_path, schema=True))


def test_other_weights_are_found_by_their_checksum(folder):
    content = bytearray((folder / "model.safetensors").read_bytes())
    content[-1] ^= 1
    (folder / "model.safetensors").write_bytes(content)
    (problem,) = check_mlm(folder)
    assert re.match(
        r"item\.assets\.weights\.file:checksum is '1220\w+'; it should be '1220", problem
    )


def test_a_config_of_other_bands_is_found(folder):
    Classifier("test_resnet", BandSet((*S2, *S1))).save_pretrained(folder)
    faults = "\n".join(check_mlm(folder / "mlm.json"))
    assert "mlm:input[0].bands[0] is 'VV'; it should be 'B02'" in faults


@pytest.mark.parametrize("text", ["{", "[]", "null", "{}", '{"properties": 1}'])
def test_a_file_that_is_no_item_is_said_to_be_none(tmp_path, text):
    (tmp_path / "mlm.json").write_text(text)
    assert check_mlm(tmp_path, schema=True)
    assert check_mlm(tmp_path / "nothing.json")


def test_figures_that_are_not_those_of_the_report_are_found(tmp_path):
    model = Classifier("test_resnet", "s1")
    report = measure(predicted(40), rounds=0)
    model.save_pretrained(tmp_path)
    report.save(tmp_path / "report.json")
    write_mlm(tmp_path, model, licence="mit", report=report)
    figures = item_of(tmp_path)["properties"]["reben:metrics"]
    assert figures["macro"]["average_precision"] == report.macro.average_precision
    assert check_mlm(tmp_path, schema=True) == ()
    change(tmp_path, lambda i: i["properties"]["reben:metrics"]["macro"].update(f1=0.99))
    assert check_mlm(tmp_path) == (
        f"item.properties.reben:metrics.macro.f1 is 0.99; it should be {report.macro.f1}",
    )


def add_words_of_an_author(item):
    item["properties"].update(
        title="Ours", description="Said otherwise", license="other", keywords=["forest"]
    )
    item["links"].append({"rel": "author", "href": "https://example.org"})
    item["assets"]["paper"] = {"href": "./README.md", "title": "Our paper"}
    item["assets"]["weights"]["title"] = "Weights"
    item["stac_extensions"].append("https://example.org/schema.json")


def test_what_an_author_adds_or_words_otherwise_is_no_fault(folder):
    change(folder, add_words_of_an_author)
    assert check_mlm(folder, schema=True) == ()


def test_a_report_that_came_later_is_no_fault(tmp_path):
    model = Classifier("test_resnet", "s1")
    model.save_pretrained(tmp_path)
    write_mlm(tmp_path, model, licence="mit")
    measure(predicted(40), rounds=0).save(tmp_path / "report.json")
    assert check_mlm(tmp_path) == ()


def test_a_file_that_came_later_is_added(folder):
    (folder / "model.onnx").write_bytes(b"another ONNX file")
    assert check_mlm(folder)
    before = item_of(folder)
    add_file(folder, "model.onnx")
    assert check_mlm(folder, schema=True) == ()
    after = item_of(folder)
    assert {**after, "assets": None} == {**before, "assets": None}
    assert after["assets"]["weights"] == before["assets"]["weights"]


@pytest.mark.parametrize("text", [None, "{", "[]", '{"properties": {"bands": []}}'])
def test_a_file_cannot_be_added_to_what_is_no_item(tmp_path, text):
    (tmp_path / "model.onnx").write_bytes(b"an ONNX file")
    if text is not None:
        (tmp_path / "mlm.json").write_text(text)
    with pytest.raises(ModelFolderError, match=r"mlm\.json.* Write it again with write_mlm"):
        add_file(tmp_path, "model.onnx")
    assert (tmp_path / "mlm.json").exists() == (text is not None)


def test_without_the_extra_an_item_is_written_and_the_rest_checked(folder, monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "stac_model.schema", None)
    model = Classifier.from_pretrained(folder)
    write_mlm(folder, model, licence="mit")
    assert check_mlm(folder) == ()
    assert "was not validated against the STAC schemas" in caplog.text
    with pytest.raises(MissingExtraError, match=r"reben\[mlm\]"):
        check_mlm(folder, schema=True)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "licence of the weights is missing"),
        ({"licence": "mit", "license": "mit"}, "two spellings of one setting"),
    ],
)
def test_one_licence_is_needed_in_either_spelling(settings, message, tmp_path):
    model = Classifier("test_resnet", "s1")
    assert written(tmp_path, model, license="mit")["properties"]["license"] == "mit"
    with pytest.raises(ConfigError, match=message):
        write_mlm(tmp_path, model, **settings)


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    write_mlm(tmp_path, Classifier("test_resnet", "s1"), licence="mit")
    with pytest.raises(OutputError, match=r"Could not read .*gone\.bin"):
        add_file(tmp_path, "gone.bin")
