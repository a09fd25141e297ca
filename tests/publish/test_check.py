import json
import re
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.numpy import load_file, save_file
from safetensors.torch import load_file as load_weights
from safetensors.torch import save_file as save_weights

import made_up
from reben.data.loader import open_dataset
from reben.data.preprocess import check_bands
from reben.learn.calibrate import apply_calibration
from reben.learn.config import TrainConfig
from reben.learn.evaluate import calibrate, evaluate
from reben.learn.report import Report
from reben.learn.run import Run
from reben.learn.train import train
from reben.model.classifier import Classifier
from reben.publish.card import write_card
from reben.publish.cards.example import unpack
from reben.publish.cards.front_matter import LICENCES
from reben.publish.check import Problem, check_card
from reben.publish.checks.numbers import agrees
from reben.publish.checks.page import check_placeholders
from reben.publish.checks.parse import CardText
from reben.spec.labels import LABELS

BANDS = "B08,VV,B02,VH,B11"
CARD = "README.md"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run whose best model was calibrated."""
    folder = tmp_path_factory.mktemp("check")
    data = open_dataset(made_up.write_store(folder / "store", num_train=5, num_test=4))
    config = TrainConfig(
        backbone="test_resnet", bands=BANDS, epochs=2, batch_size=2, accelerator="cpu"
    )
    run = train(config, data, folder / "run")
    model = Classifier.from_pretrained(run.best)
    apply_calibration(model, calibrate(model, data["validation"]))
    model.save_pretrained(run.best)
    evaluate(run, data["test"], rounds=40).save(run.report_path())
    return run


@pytest.fixture(scope="module")
def whole(run, tmp_path_factory):
    """A card folder in which nothing is wrong; not to be written into."""
    return write_card(run, run.report(), tmp_path_factory.mktemp("hub") / "tiny-v1", figures=False)


@pytest.fixture(scope="module")
def pictured(run, tmp_path_factory):
    """The same with pictures of the results."""
    return write_card(run, run.report(), tmp_path_factory.mktemp("hub") / "tiny-v1")


@pytest.fixture
def folder(whole, tmp_path):
    return shutil.copytree(whole, tmp_path / "tiny-v1")


def edit(folder, old, new, count=1):
    """Put ``new`` where the pattern ``old`` is; a fault that is not planted is a wrong test."""
    path = folder / CARD
    text, found = re.subn(old, new, path.read_text(), count=count, flags=re.MULTILINE | re.DOTALL)
    assert found
    path.write_text(text)


def edit_json(path, **values):
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def other_figure(match):
    """The same line with its last digit another one."""
    return match[0][:-1] + ("1" if match[0][-1] != "1" else "2")


def swap_lines(folder, first, second):
    edit(folder, rf"^(\| \d+ \| {first} [^\n]*)\n(\| \d+ \| {second} [^\n]*)$", r"\2\n\1")


# What reben writes -------------------------------------------------------------------------------


def test_a_card_that_reben_wrote_has_no_problem(whole, pictured):
    assert check_card(whole) == ()
    assert check_card(pictured) == ()


@pytest.mark.parametrize("bands", ["s1", "rgb", "B11"])
def test_cards_without_run_calibration_intervals_and_figures_have_no_problem(bands, run, tmp_path):
    data = open_dataset(run.summary["data"]["store"])
    model = Classifier("test_resnet", bands).eval()
    report = evaluate(model, data["test"], rounds=0)
    card = write_card(model, report, tmp_path / "card", dataset=data, figures=False)
    assert check_card(card) == ()


def test_names_that_look_like_placeholders_are_no_placeholders(run, tmp_path):
    card = write_card(run, run.report(), tmp_path / "{{TODO}} <NAME>", figures=False)
    assert check_card(card) == ()


def test_the_check_does_not_need_the_network_or_the_store(whole, run, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.chdir(tmp_path)
    assert check_card(str(whole)) == ()


# Planted faults ----------------------------------------------------------------------------------


def wrong_number_in_the_table_of_results(folder):
    edit(folder, r"^\| F1 \| \d\.\d{4}", other_figure)


def wrong_micro_number_in_the_table_of_results(folder):
    edit(folder, r"^\| Precision \| [^|]*\|[^|]*\| \d\.\d{4}", other_figure)


def wrong_interval(folder):
    edit(folder, r"^\| Recall \| [^|]*\| \d\.\d{4}", other_figure)


def missing_row_of_results(folder):
    edit(folder, r"^\| Average precision \|[^\n]*\n", "")


def wrong_number_in_the_model_index(folder):
    edit(folder, r"value: 0\.\d+$", "value: 0.987")


def model_index_without_micro_f1(folder):
    edit(folder, r"    - type: f1\n(?=[^\n]*\n      name: F1 .micro)", "    - type: other\n")


def model_index_about_another_split(folder):
    edit(folder, r"split: test$", "split: validation")


def no_model_index(folder):
    edit(folder, r"^model-index:.*?(?=^---$)", "")


def wrong_number_in_the_text(folder):
    edit(folder, r"average precision is \d\.\d{4}", other_figure)


def macro_and_micro_swapped_in_the_text(folder):
    edit(folder, r"is (\d\.\d+) macro and (\d\.\d+) micro", r"is \2 macro and \1 micro")


def wrong_calibration_error_in_the_text(folder):
    edit(folder, r"expected calibration error is \d\.\d{4}", other_figure)


def wrong_number_of_patches(folder):
    edit(folder, r"Measured on 4 patches", "Measured on 119,825 patches")


def wrong_support(folder):
    edit(folder, r"^\| Urban fabric \| \d+ \|", "| Urban fabric | 77 |")


def wrong_figure_of_a_label(folder):
    edit(folder, r"^\| Arable land \| \d+ \| \d\.\d{4}", other_figure)


def swapped_rows_of_labels(folder):
    edit(folder, r"^(\| Arable land \| \d+ \|[^\n]*)\n(\| Beaches[^\n]*)$", r"\2\n\1")


def wrong_threshold(folder):
    edit(folder, r"^\| Pastures \| (?=0\.\d{4} \|)0\.\d{3}\d", other_figure, count=0)


def wrong_tuned_figure(folder):
    edit(folder, r"At its own thresholds[^\n]*\n[^\n]*\n\| F1 \| \d\.\d{4}", other_figure)


def missing_band(folder):
    edit(folder, r"^\| 3 \| VH [^\n]*\n", "")


def swapped_rows_of_bands(folder):
    edit(folder, r"^\| 1 \| VV (.*?)\n(.*?)^\| 3 \| VH ", r"| 1 | VH \1\n\2| 3 | VV ")


def wrong_mean(folder):
    edit(folder, r"^\| 1 \| VV .*?-\d+\.\d{4}", other_figure)


def swapped_labels_in_the_list(folder):
    edit(folder, r"^3\. ([^\n]*)\n4\. ([^\n]*)$", r"3. \2\n4. \1")


def swapped_labels_in_the_config(folder):
    names = [*LABELS[:3], LABELS[4], LABELS[3], *LABELS[5:]]
    edit_json(folder / "config.json", label_names=names, class_names=names)


def swapped_bands_in_the_config(folder):
    values = json.loads((folder / "config.json").read_text())
    for name in ("bands", "band_mean", "band_std"):
        values[name][1], values[name][3] = values[name][3], values[name][1]
    edit_json(folder / "config.json", **values)


def config_without_bands(folder):
    path = folder / "config.json"
    values = json.loads(path.read_text())
    path.write_text(json.dumps({k: v for k, v in values.items() if k != "bands"}))


def absent_picture(folder):
    (folder / "example.png").unlink()


def picture_that_is_none(folder):
    (folder / "example.png").write_bytes(b"\x89PNG\r\n\x1a\n not a picture")


def picture_that_is_cut_off(folder):
    content = (folder / "example.png").read_bytes()
    (folder / "example.png").write_bytes(content[: len(content) // 2])


def picture_of_another_patch(folder):
    with Image.open(folder / "example.png") as picture:
        turned = picture.copy()
    square = turned.crop((32, 88, 752, 808)).point(lambda value: 255 - value)
    turned.paste(square, (32, 88))
    turned.save(folder / "example.png")


def picture_that_is_not_shown(folder):
    edit(folder, r"!\[[^\]]*\]\(example\.png\)", "")


def picture_outside_of_the_folder(folder):
    edit(folder, r"\(example\.png\)", "(../example.png)")


def absent_figure(folder):
    (folder / "figures" / "reliability.png").unlink()


def figure_that_is_not_shown(folder):
    edit(folder, r"<img src=\"figures/reliability[^\n]*", "")


def example_that_was_not_normalised(folder):
    """What earlier cards did: the scores of raw digital numbers in table and widget."""
    model = Classifier.from_pretrained(folder)
    bands = unpack(folder / "example.safetensors", model).bands
    tensors = check_bands({name: bands[name] for name in model.bands}, model.bands)
    with torch.inference_mode():
        raw = model.preprocess(tensors) * model.preprocess.std + model.preprocess.mean
        scores = (model(raw) / model.config.temperature).sigmoid()[0].tolist()
    ranked = sorted(zip(scores, model.labels, strict=True), reverse=True)
    rows = "".join(f"| {score:.4f} | {label} |  |\n" for score, label in ranked)
    edit(folder, r"(\| Score \| Label \| True \|\n\|[-:|]*\n).*?\n\n", rf"\g<1>{rows}\n")
    widget = "".join(f"  - label: {label}\n    score: {score:.4f}\n" for score, label in ranked[:5])
    edit(folder, r"(  output:\n).*?(?=^[a-z])", rf"\g<1>{widget}")


def swapped_bands_in_the_example(folder):
    path = folder / "example.safetensors"
    from safetensors import safe_open

    with safe_open(path, framework="np") as file:
        about = file.metadata()
    bands = load_file(path)
    bands["B08"], bands["B02"] = bands["B02"], bands["B08"]
    save_file({name: np.ascontiguousarray(value) for name, value in bands.items()}, path, about)


def example_without_its_bands(folder):
    (folder / "example.safetensors").unlink()


def damaged_example(folder):
    (folder / "example.safetensors").write_bytes(b"{}")


def wrong_true_label(folder):
    edit(folder, r"^(\| \d\.\d{4} \| [^|]*\|) yes \|", r"\1  |")


def widget_with_the_first_five_labels(folder):
    first = "".join(f"  - label: {label}\n    score: 0.5\n" for label in LABELS[:5])
    edit(folder, r"(  output:\n).*?(?=^[a-z])", rf"\g<1>{first}")


def example_table_that_is_not_sorted(folder):
    edit(
        folder,
        r"(\| Score \| Label \| True \|\n\|[-:|]*\n)([^\n]*\n)([^\n]*\n)",
        r"\1\3\2",
    )


def broken_front_matter(folder):
    edit(folder, r"^license: mit", "license: [mit")


def no_front_matter(folder):
    edit(folder, r"\A---\n.*?\n---\n", "")


def missing_licence(folder):
    edit(folder, r"^license: mit\n", "")


def unknown_licence(folder):
    edit(folder, r"^license: mit", "license: free-for-all")


def wrong_task(folder):
    edit(folder, r"^pipeline_tag: [^\n]*", "pipeline_tag: image-segmentation")


def tag_of_a_sensor_missing(folder):
    edit(folder, r"^- sentinel-1\n", "")


def renamed_weights(folder):
    path = folder / "model.safetensors"
    weights = load_weights(path)
    save_weights({f"module.{name}": value for name, value in weights.items()}, path)


def edited_weights(folder):
    path = folder / "model.safetensors"
    weights = load_weights(path)
    name = next(name for name in weights if name.endswith("fc.bias"))
    weights[name][6] += 0.5
    save_weights(weights, path)


def pickled_weights(folder):
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def report_of_another_model(folder):
    path = folder / "report.json"
    replace(Report.load(path), backbone="resnet50").save(path)


def report_on_other_patches(folder):
    path = folder / "report.json"
    report = Report.load(path)
    metrics = replace(report.metrics, macro=replace(report.macro, average_precision=0.125))
    replace(report, num_patches=119_825, metrics=metrics).save(path)


def no_report(folder):
    (folder / "report.json").unlink()


def broken_report(folder):
    (folder / "report.json").write_text("{}")


def placeholder_in_the_text(folder):
    edit(folder, r"^## Use", "<MODEL_NAME>\n\n## Use")


def placeholder_of_jinja(folder):
    edit(folder, r"^## Use", "{{ name }}\n\n## Use")


def todo_in_the_text(folder):
    edit(folder, r"^## Use", "TODO: say more\n\n## Use")


def placeholder_in_the_front_matter(folder):
    edit(folder, r"^- configilm", "- <DATASET_NAME>\n- configilm")


FAULTS = {
    wrong_number_in_the_table_of_results: "table of results: macro F1 is .* the report says",
    wrong_micro_number_in_the_table_of_results: "table of results: micro Precision is",
    wrong_interval: "table of results: interval of macro Recall is",
    missing_row_of_results: "table of results: there is no Average precision",
    wrong_number_in_the_model_index: "model-index: macro average_precision is 0.987",
    model_index_without_micro_f1: "model-index: there is no micro f1",
    model_index_about_another_split: "split of macro average_precision is validation",
    no_model_index: "there is no model-index",
    wrong_number_in_the_text: "text: macro average precision is",
    macro_and_micro_swapped_in_the_text: "text: macro average precision is",
    wrong_calibration_error_in_the_text: "text: the figure 0.* is not in the report",
    wrong_number_of_patches: "patches measured on is 119,825 of the test split; .* 4 of the test",
    wrong_support: "table of labels: Patches of Urban fabric is 77",
    wrong_figure_of_a_label: "table of labels: Average precision of Arable land is",
    swapped_rows_of_labels: "table of labels: its labels are not those of the report",
    wrong_threshold: "table of thresholds: Threshold of Pastures is",
    wrong_tuned_figure: "table of tuned figures: macro F1 is",
    missing_band: "table of channels: the bands are B08, VV, B02, B11; config.json has B08, VV,",
    swapped_rows_of_bands: "table of channels: the bands are B08, VH, B02, VV, B11",
    wrong_mean: "table of channels: Mean of VV is",
    swapped_labels_in_the_list: "labels: they are not those of config.json, or in another order",
    swapped_labels_in_the_config: "labels: they are not those of config.json",
    swapped_bands_in_the_config: "table of channels: the bands are B08, VV, B02, VH",
    config_without_bands: "config.json: it does not name the bands",
    absent_picture: "example.png: the card shows this picture, and it is not there",
    picture_that_is_none: "example.png: it is no picture",
    picture_that_is_cut_off: "example.png: it is no picture",
    picture_of_another_patch: "example.png: it does not show the patch",
    picture_that_is_not_shown: "the text does not show example.png",
    picture_outside_of_the_folder: "picture outside of its folder",
    example_that_was_not_normalised: "scores of bands that were not normalised",
    swapped_bands_in_the_example: "table of the example: the score of .* the model says",
    example_without_its_bands: "example.safetensors: it is not there",
    damaged_example: "example.safetensors: the example cannot be predicted again",
    wrong_true_label: "the labels marked as true are not those of the patch",
    widget_with_the_first_five_labels: "widget: it does not show the highest scores",
    example_table_that_is_not_sorted: "table of the example: it is not sorted by score",
    broken_front_matter: "the front matter cannot be parsed",
    no_front_matter: "there is no front matter",
    missing_licence: "there is no license",
    unknown_licence: "license 'free-for-all' is no identifier that the Hub knows",
    wrong_task: "pipeline_tag is 'image-segmentation'",
    tag_of_a_sensor_missing: "there is no tag sentinel-1",
    renamed_weights: "the model cannot be loaded: .* Missing: model.vision_encoder",
    edited_weights: "table of the example: the score of .* the model says",
    pickled_weights: "the model cannot be loaded: .* only pickled weights",
    report_of_another_model: "report.json: it is about a model with backbone resnet50",
    report_on_other_patches: "table of results: macro Average precision is .* report says 0.1250",
    no_report: "report.json: it is not there",
    broken_report: "report.json: .*not a report",
    placeholder_in_the_text: "the placeholder '<MODEL_NAME>' was left",
    placeholder_of_jinja: "the placeholder '{{ name }}' was left",
    todo_in_the_text: "the placeholder 'TODO' was left",
    placeholder_in_the_front_matter: "the placeholder '<DATASET_NAME>' was left",
}


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_a_planted_fault_is_found(fault, folder):
    fault(folder)
    told = [str(problem) for problem in check_card(folder)]
    assert any(re.search(FAULTS[fault], line) for line in told), told


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (absent_figure, "the card shows this picture, and it is not there"),
        (figure_that_is_not_shown, "the text does not show it"),
    ],
)
def test_a_fault_of_a_figure_is_found(fault, message, pictured, tmp_path):
    folder = shutil.copytree(pictured, tmp_path / "tiny-v1")
    fault(folder)
    assert check_card(folder) == (Problem("figures/reliability.png", message),)


@pytest.mark.parametrize(
    "fault", [wrong_support, wrong_mean, wrong_interval, todo_in_the_text], ids=lambda f: f.__name__
)
def test_one_fault_is_one_problem(fault, folder):
    fault(folder)
    assert len(check_card(folder)) == 1


# Cards of others ---------------------------------------------------------------------------------

FOREIGN = """---
license: mit
library_name: configilm
tags:
- resnet
widget:
- src: example.png
  example_title: Example
  output:
  - label: Agro-forestry areas
    score: 0
---
[Us](https://example.org) | [You](https://example.org)
:---:|:---:
<a href="https://example.org"><img src="https://example.org/a.png"/> | x

# Resnet

| Metric            |       Macro |       Micro |
|:------------------|------------------:|------------------:|
| Average Precision |        0.703328 |        0.863635 |

![[BigEarthNet](http://bigearth.net/)](example.png)
"""


def test_of_a_foreign_card_it_is_told_what_cannot_be_verified(tmp_path, golden):
    folder = shutil.copytree(golden / "test_resnet-all", tmp_path / "test_resnet-all-v0.2.0")
    (folder / CARD).write_text(FOREIGN)
    told = "\n".join(map(str, check_card(folder)))
    for sentence in (
        "config.json: it does not name the bands",
        "report.json: it is not there, so no figure can be verified",
        "there is no pipeline_tag",
        "example.png: the card shows this picture, and it is not there",
        "example.safetensors: it is not there",
        "table of channels: there is none",
    ):
        assert sentence in told


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"---\n---\n",
        b"---\n- a\n---\nx",
        b"\xff\xfe",
        b"| a |\n|--|",
        b"---\nwidget: 3\n---\n",
    ],
)
def test_no_content_makes_the_check_fail(content, tmp_path):
    (tmp_path / CARD).write_bytes(content)
    assert all(isinstance(problem, Problem) for problem in check_card(tmp_path))
    assert check_card(tmp_path)


def test_no_cut_of_a_card_makes_the_check_fail(whole, tmp_path):
    text = (whole / CARD).read_text()
    shutil.copy(whole / "report.json", tmp_path)
    for end in range(0, len(text), len(text) // 23):
        (tmp_path / CARD).write_text(text[:end])
        assert check_card(tmp_path)


def test_a_folder_without_a_card_has_one_problem(tmp_path):
    assert [str(problem) for problem in check_card(tmp_path)] == [
        f"README.md: there is no such file in {tmp_path}"
    ]


HARMLESS = (
    "a<br>b <BR> <p>x</p> <details> <H2> [your guide](https://example.org) a todo list",
    r"\<MODEL\_NAME\> \{\{ name \}\}",
    "`a < B and C > D` 1 <2> <!-- <HIDDEN> -->",
    "```bibtex\ntitle={{A {B}}}\n```",
)


@pytest.mark.parametrize("text", HARMLESS)
def test_what_only_looks_like_a_placeholder_is_no_problem(text):
    card = CardText.parse(f"---\nlicense: mit\n---\n{text}\n")
    assert list(check_placeholders(card, ["net"])) == []


@pytest.mark.parametrize(
    "text",
    [
        *("<MODEL_NAME_RAW>", "<NAME>", "{{ x }}", "{% if %}", "TBD", "FIXME", "PLACEHOLDER"),
        *("[insert name here]", "[More Information Needed]", "Lorem ipsum dolor", "`<SCORE_1>`"),
    ],
)
def test_what_was_left_to_be_filled_in_is_found(text):
    for card in (f"---\nlicense: mit\n---\n{text}\n", f"---\nlicense: {text!r}\n---\nx\n"):
        assert len(list(check_placeholders(CardText.parse(card), ["net"]))) == 1


def test_a_name_hides_only_itself():
    card = CardText.parse("---\nlicense: mit\n---\nTODO-net and TODO\n")
    assert len(list(check_placeholders(card, ["TODO-net", "T"]))) == 1


def test_a_report_that_lacks_a_label_is_told_and_not_tripped_over(folder):
    values = json.loads((folder / "report.json").read_text())
    del values["metrics"]["per_class"]["Pastures"]
    (folder / "report.json").write_text(json.dumps(values))
    told = [str(problem) for problem in check_card(folder) if problem.where != "mlm.json"]
    assert told == ["report.json: its figures are not one for each of its labels"]


# Parts -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("there", "right", "same"),
    [
        ("0.6123", 0.61234567, True),
        ("0.612346", 0.61234567, True),
        ("0.6124", 0.61234567, False),
        ("0.61", 0.6123, True),
        ("0", 0.4, False),
        ("1", 0.9, False),
        ("237,871", 237871, True),
        ("237,872", 237871, False),
        ("-12.6", -12.5990, False),
        ("nan", 0.5, False),
        ("", 0.0, False),
    ],
)
def test_numbers_agree_to_the_digits_they_have(there, right, same):
    assert agrees(there, right) == same


def test_the_stac_item_is_checked_by_its_own_rules(folder):
    (folder / "mlm.json").write_text("{}")
    problems = check_card(folder)
    assert problems
    assert {problem.where for problem in problems} == {"mlm.json"}


def test_the_licences_are_those_that_people_use():
    assert {"mit", "apache-2.0", "cc-by-4.0", "cdla-permissive-1.0", "other"} <= LICENCES
    assert all(name == name.lower() for name in LICENCES)


def test_the_run_is_still_one(run):
    assert Run.open(run.path).report().calibrated is not None
