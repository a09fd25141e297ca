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

from reben.data.loader import open_dataset
from reben.data.preprocess import check_bands
from reben.errors import ConfigError
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
from reben.publish.cards.record import RECORD_FILE
from reben.publish.check import CardProblem, check_card
from reben.publish.checks.differences import differences
from reben.publish.checks.page import CardText, check_placeholders
from reben.spec.labels import LABELS

BANDS = "B08,VV,B02,VH,B11"
CARD = "README.md"


@pytest.fixture(scope="module")
def run(real_store, tmp_path_factory):
    """A run on the real sample, whose best model was calibrated."""
    folder = tmp_path_factory.mktemp("check")
    data = open_dataset(real_store)
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


def edit_record(folder, change):
    """Change what `card.json` says, as somebody would who wants to deceive the check."""
    path = folder / RECORD_FILE
    record = json.loads(path.read_text())
    change(record["values"])
    path.write_text(json.dumps(record))


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
    edit(folder, r"average precision of \d\.\d{4}", other_figure)


def macro_and_micro_swapped_in_the_text(folder):
    edit(folder, r"of (\d\.\d+) .macro. and (\d\.\d+) .micro.", r"of \2 (macro) and \1 (micro)")


def wrong_calibration_error_in_the_text(folder):
    edit(folder, r"expected calibration error is \d\.\d{4}", other_figure)


def wrong_number_of_patches(folder):
    edit(folder, r"Measured on 6 patches", "Measured on 119,825 patches")


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


def warning_taken_out(folder):
    edit(folder, r"^<!-- reben:begin warning -->.*?<!-- reben:end warning -->\n", "")


def section_without_its_end(folder):
    edit(folder, r"^<!-- reben:end results -->\n", "")


def section_that_stands_there_twice(folder):
    section = r"(^<!-- reben:begin example -->.*?<!-- reben:end example -->\n)"
    edit(folder, section, r"\1\n\1")


def section_that_reben_did_not_write(folder):
    edit(folder, r"^## Use", "<!-- reben:begin more -->\nGood\n<!-- reben:end more -->\n\n## Use")


def extra_row_of_results(folder):
    edit(folder, r"^(\| F1 \| [^\n]*\n)", r"\1| F2 | 0.9999 | - | 0.9999 | - |\n")


def wrong_recipe(folder):
    edit(folder, r"^\| Seed \| 42 \|", "| Seed | 43 |")


def wrong_limits(folder):
    edit(folder, r"June 2017", "June 2016")


def wrong_licence_in_the_text(folder):
    edit(folder, r"`mit` for the weights", "`apache-2.0` for the weights")


def wrong_name_in_the_model_index(folder):
    edit(folder, r"^- name: tiny-v1", "- name: huge-v1")


def other_licence_in_the_front_matter(folder):
    edit(folder, r"^license: mit", "license: apache-2.0")


def data_set_missing(folder):
    edit(folder, r"^- bigearthnet-v2\.0\n", "")


def no_record(folder):
    (folder / RECORD_FILE).unlink()


def broken_record(folder):
    (folder / RECORD_FILE).write_text("{}")


def record_without_a_value(folder):
    edit_record(folder, lambda values: values.pop("example"))


def record_with_a_value_of_another_kind(folder):
    edit_record(folder, lambda values: values.update(labels=3))


def figure_changed_in_record_and_text(folder):
    edit_record(folder, lambda values: values["overall"][1].update(macro="0.9999"))
    edit(folder, r"^\| F1 \| \d\.\d{4}", "| F1 | 0.9999")


def score_changed_in_record_and_text(folder):
    edit_record(folder, lambda values: values["example"]["bars"][0].update(score=0.9999))
    edit(folder, r"(\| Score \| Label \| True \|\n\|[-:|]*\n\| )\d\.\d{4}", r"\g<1>0.9999")


def unsorted_scores_in_record_and_text(folder):
    edit_record(folder, lambda values: values["example"]["bars"].reverse())


def true_label_in_the_record(folder):
    edit_record(
        folder,
        lambda values: [bar.update(is_true=True) for bar in values["example"]["bars"]],
    )


def calibrated_again(folder):
    model = Classifier.from_pretrained(folder)
    values = {**model.config.to_dict(), "temperature": 2.5}
    (folder / "config.json").write_text(json.dumps(values))


RESULTS = r"section results: it says .*; it should say"
FAULTS = {
    wrong_number_in_the_table_of_results: RESULTS,
    wrong_micro_number_in_the_table_of_results: RESULTS,
    wrong_interval: RESULTS,
    missing_row_of_results: RESULTS,
    extra_row_of_results: RESULTS,
    wrong_number_in_the_model_index: r"metrics\[0\]\.value is 0\.987; it should be 0\.\d+",
    model_index_without_micro_f1: "type is 'other'; it should be 'f1'",
    model_index_about_another_split: "split is 'validation'; it should be 'test'",
    no_model_index: "model-index is missing",
    wrong_name_in_the_model_index: "model-index.name is 'huge-v1'; it should be 'tiny-v1'",
    wrong_number_in_the_text: "section summary: it says .*average precision of .*; it should say",
    macro_and_micro_swapped_in_the_text: "section summary: it says .*; it should say",
    wrong_calibration_error_in_the_text: "section thresholds: .*calibration error is",
    wrong_number_of_patches: "section results: it says 'Measured on 119,825 .* 'Measured on 6 pa",
    wrong_support: r"section results: it says '\| Urban fabric \| 77",
    wrong_figure_of_a_label: RESULTS,
    swapped_rows_of_labels: RESULTS,
    wrong_threshold: r"section thresholds: it says '\| Pastures \| 0",
    wrong_tuned_figure: r"section thresholds: it says '\| F1 \| 0",
    missing_band: r"section input: it says '\| 4 \| B11 .* should say '\| 3 \| VH",
    swapped_rows_of_bands: r"section input: it says '\| 1 \| VH .* should say '\| 1 \| VV",
    wrong_mean: "section input: it says .*; it should say",
    swapped_labels_in_the_list: "section output: it says .*; it should say",
    swapped_labels_in_the_config: "report.json: The report is about a model with labels",
    swapped_bands_in_the_config: r"card.json: channels\[1\].band is 'VV'; it should be 'VH'",
    config_without_bands: "config.json: it does not name the bands",
    calibrated_again: "report.json: .* with other thresholds or another temperature",
    absent_picture: "example.png: the card shows this picture, but it is missing",
    picture_that_is_none: "example.png: it is not a readable picture",
    picture_that_is_cut_off: "example.png: it is not a readable picture",
    picture_of_another_patch: "example.png: it was changed since the card was written",
    picture_that_is_not_shown: "section summary: it says ''; it should say '!",
    picture_outside_of_the_folder: "picture outside its folder",
    example_that_was_not_normalised: "section example: it says .*; it should say",
    swapped_bands_in_the_example: "card.json: the score of .* the model predicts",
    example_without_its_bands: "example.safetensors: it is missing",
    damaged_example: "example.safetensors: the example could not be predicted again",
    wrong_true_label: "section example: it says .*; it should say .*yes",
    widget_with_the_first_five_labels: r"widget\[0\].output\[0\].* should be",
    example_table_that_is_not_sorted: "section example: it says .*; it should say",
    broken_front_matter: "the front matter is not valid YAML",
    no_front_matter: "the front matter is missing",
    missing_licence: "license is missing",
    unknown_licence: "license 'free-for-all' is not an identifier that the Hub knows",
    other_licence_in_the_front_matter: "license is 'apache-2.0'; it should be 'mit'",
    wrong_licence_in_the_text: "section licence: .*apache",
    wrong_task: "pipeline_tag is 'image-segmentation'; it should be",
    tag_of_a_sensor_missing: "tags lacks 'sentinel-1'",
    data_set_missing: "datasets",
    renamed_weights: "the model could not be loaded: .* Missing: model.vision_encoder",
    edited_weights: "card.json: the score of .* the model predicts",
    pickled_weights: "the model could not be loaded: .* only pickled weights",
    report_of_another_model: "report.json: The report is about a model with backbone resnet50",
    report_on_other_patches: r"card.json: overall\[0\].macro is .* should be '0.1250', by rep",
    no_report: "report.json: it is missing",
    broken_report: "report.json: .*is not as it should be",
    warning_taken_out: "section warning: it is missing",
    section_without_its_end: "section results: it is missing",
    section_that_stands_there_twice: "two sections have the same name",
    section_that_reben_did_not_write: "section more: reben did not write this section",
    wrong_recipe: "section training: it says .*43.*; it should",
    wrong_limits: "section limits: it says .*2016.*; it should",
    no_record: "card.json: it is missing, so nothing on the card can be verified",
    broken_record: "card.json: .*reben_version.*Write the card again",
    record_without_a_value: "card.json: a value is missing",
    record_with_a_value_of_another_kind: "card.json: labels is 3; it should be",
    figure_changed_in_record_and_text: r"card.json: overall\[1\].macro is '0.9999'; it should be",
    score_changed_in_record_and_text: "card.json: the score of .* is 0.9999; the model predicts",
    unsorted_scores_in_record_and_text: r"card.json: example.bars\[0\].label is",
    true_label_in_the_record: r"card.json: example.bars\[\d+\].is_true is True; it should be False",
}


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_a_planted_fault_is_found_and_is_an_error(fault, folder):
    fault(folder)
    errors = [str(found) for found in check_card(folder) if found.severity == "error"]
    assert any(re.search(FAULTS[fault], line) for line in errors), errors


@pytest.mark.parametrize(
    ("fault", "where", "message"),
    [
        (
            absent_figure,
            "figures/reliability.png",
            "the card shows this picture, but it is missing",
        ),
        (figure_that_is_not_shown, "README.md, section thresholds", "reliability.png"),
    ],
)
def test_a_fault_of_a_figure_is_found(fault, where, message, pictured, tmp_path):
    folder = shutil.copytree(pictured, tmp_path / "tiny-v1")
    fault(folder)
    (problem,) = check_card(folder)
    assert problem.where == where
    assert message in problem.what


def test_another_figure_in_place_of_one_of_rebens_is_found(pictured, tmp_path):
    folder = shutil.copytree(pictured, tmp_path / "tiny-v1")
    shutil.copy(folder / "figures" / "precision_recall.png", folder / "figures" / "reliability.png")
    (problem,) = check_card(folder)
    assert str(problem).startswith("figures/reliability.png: it was changed")


@pytest.mark.parametrize(
    "fault", [wrong_support, wrong_mean, wrong_interval, wrong_recipe], ids=lambda f: f.__name__
)
def test_one_fault_is_one_problem(fault, folder):
    fault(folder)
    assert len(check_card(folder)) == 1


def test_scores_that_another_machine_rounds_otherwise_are_no_fault(folder):
    def nudge(values):
        for bar in values["example"]["bars"]:
            bar["score"] -= 1e-7

    edit_record(folder, nudge)
    assert check_card(folder) == ()


# What is the author's ----------------------------------------------------------------------------


def a_cited_figure(folder):
    edit(folder, r"^## Results$", "## Results\n\nThe paper reached 0.8712 on this split.")


def a_table(folder):
    table = "| Macro | Micro |\n|---|---|\n| 0.9 | 0.9123 |\n"
    edit(folder, r"^### Thresholds", f"{table}\n### Thresholds")


def a_list_of_things_to_do(folder):
    edit(folder, r"^## Use", "TODO: compare with ours\n- FIXME: say more\n\n## Use")


def a_section(folder):
    edit(folder, r"^## Use", "## Our field trip\n\n0. Arable land\n1. Forest\n\n## Use")


def another_title_and_snippet(folder):
    edit(folder, r"^# test[^\n]*", "# Our network")
    edit(folder, r"^pip install reben", "pip install reben[geo]")


def another_paper(folder):
    edit(folder, r"^@article\{hackel.*?^\}", "@article{us2030, title={Ours}}")


def more_limits(folder):
    edit(folder, r"^<!-- reben:end limits -->$", "<!-- reben:end limits -->\n\n- Nor in winter.")


def more_front_matter(folder):
    edit(folder, r"^- configilm", "- configilm\n- agriculture")
    edit(
        folder, r"^license: mit", "license: mit\nlanguage: en\nextra_gated_prompt: Say who you are"
    )


def another_result_in_the_model_index(folder):
    more = (
        "  - task:\n      type: image-classification\n    dataset:\n      type: ours\n"
        "      name: Ours\n    metrics:\n    - type: f1\n      value: 0.5\n"
    )
    edit(folder, r"^  results:\n", f"  results:\n{more}")


def line_ends_of_windows(folder):
    text = (folder / CARD).read_text()
    (folder / CARD).write_bytes(("\ufeff" + text).replace("\n", " \r\n").encode())


@pytest.mark.parametrize(
    "change",
    [
        *(a_cited_figure, a_table, a_list_of_things_to_do, a_section, another_title_and_snippet),
        *(another_paper, more_limits, more_front_matter, another_result_in_the_model_index),
        line_ends_of_windows,
    ],
    ids=lambda change: change.__name__,
)
def test_what_an_author_writes_outside_of_the_sections_is_no_fault(change, folder):
    change(folder)
    assert check_card(folder) == ()


@pytest.mark.parametrize("fence", ["```", "~~~~ text", "~~~"])
def test_a_section_within_a_fence_that_an_author_opened_is_an_error(fence, folder):
    edit(folder, r"^<!-- reben:begin warning -->", f"{fence}\n<!-- reben:begin warning -->")
    problems = [str(problem) for problem in check_card(folder)]
    assert f"{CARD}, section warning: it stands in a block of code, so its page is broken" in (
        problems
    )


def test_a_fence_that_is_closed_before_a_section_is_no_fault(folder):
    own = "```\nmine\n```\n\n<!-- reben:begin warning -->"
    edit(folder, r"^<!-- reben:begin warning -->", own)
    assert check_card(folder) == ()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (r"^## Use", "<MODEL_NAME>\n\n## Use"),
        (r"^## Use", "{{ name }}\n\n## Use"),
        (r"^- configilm", "- <DATASET_NAME>\n- configilm"),
        (r"^license: mit", "license: mit\nlanguage: <LANGUAGE>"),
    ],
)
def test_a_placeholder_outside_of_the_sections_is_a_warning(old, new, folder):
    edit(folder, old, new)
    (problem,) = check_card(folder)
    assert problem.severity == "warning"
    assert re.search("the placeholder .* was not filled in .warning.$", str(problem))


# Templates and versions --------------------------------------------------------------------------


def test_the_sections_of_an_own_template_are_checked_and_its_other_text_is_free(run, tmp_path):
    template = tmp_path / "ours.jinja"
    template.write_text(
        "# Ours: {{ backbone }}\n\n<!-- reben:begin figures -->\n"
        "AP {{ report.macro.average_precision | number }}\n<!-- reben:end figures -->\n\nFree\n"
        "![x](example.png)\n"
    )
    card = write_card(run, run.report(), tmp_path / "c", figures=False, template=template)
    assert check_card(card) == ()
    edit(card, "^Free", "Free, and 0.1234 of it")
    assert check_card(card) == ()
    edit(card, r"AP \d\.\d{4}", other_figure)
    assert [str(problem) for problem in check_card(card)] == [
        "README.md, section figures: it was changed since reben wrote it"
    ]


def test_an_own_template_without_marks_is_one_section(run, tmp_path):
    (tmp_path / "t").write_text("AP {{ report.macro.average_precision | number }}")
    card = write_card(run, run.report(), tmp_path / "c", figures=False, template=tmp_path / "t")
    assert check_card(card) == ()
    edit(card, r"AP \d\.\d{4}", other_figure)
    assert len(check_card(card)) == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<!-- reben:begin a -->\nx\n", "lacks its begin or end"),
        (2 * "<!-- reben:begin a -->\nx\n<!-- reben:end a -->\n", "have the same name"),
    ],
)
def test_a_template_whose_marks_do_not_fit_together_is_refused(text, message, run, tmp_path):
    (tmp_path / "t").write_text(text)
    with pytest.raises(ConfigError, match=message):
        write_card(run, run.report(), tmp_path / "c", figures=False, template=tmp_path / "t")


def written_by_another_version(folder):
    """What an older reben wrote, in other words, of which only checksums are known here."""
    record = json.loads((folder / RECORD_FILE).read_text())
    record["reben_version"] = "0.0.9"
    record["template"] = "0" * 64
    record["values"]["calibration"] = ["Worded otherwise."]
    del record["values"]["land_cover"]
    (folder / RECORD_FILE).write_text(json.dumps(record))


def test_a_card_by_another_version_has_a_warning_and_no_error(folder):
    written_by_another_version(folder)
    (problem,) = check_card(folder)
    assert problem.severity == "warning"
    assert "reben 0.0.9 wrote the card" in str(problem)


@pytest.mark.parametrize(
    "fault",
    [
        *(wrong_support, wrong_recipe, wrong_mean, wrong_number_in_the_model_index),
        *(report_on_other_patches, swapped_bands_in_the_config, edited_weights),
    ],
    ids=lambda fault: fault.__name__,
)
def test_a_fault_of_a_card_by_another_version_is_an_error(fault, folder):
    written_by_another_version(folder)
    fault(folder)
    assert any(problem.severity == "error" for problem in check_card(folder))


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


def test_of_a_foreign_card_only_that_is_asked_which_all_cards_have(tmp_path, golden):
    folder = shutil.copytree(golden / "test_resnet-all", tmp_path / "test_resnet-all-v0.2.0")
    (folder / CARD).write_text(FOREIGN + "\nBIFOLD-BigEarthNetv2-0/test_resnet-all-v0.1.1\n")
    assert {(problem.severity, str(problem)) for problem in check_card(folder)} == {
        ("error", "config.json: it does not name the bands, so their order is a guess"),
        ("error", "example.png: the card shows this picture, but it is missing"),
        (
            "warning",
            "card.json: it is missing: another program or an older reben wrote the card, so its "
            "figures cannot be verified (warning)",
        ),
        *(
            ("warning", f"README.md, front matter: {name} (warning)")
            for name in (
                "pipeline_tag is missing: the task",
                "datasets is missing: what it was trained on",
                "metrics is missing: what it was measured by",
            )
        ),
    }


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"---\n---\n",
        b"---\n- a\n---\nx",
        b"\xff\xfe",
        b"| a |\n|--|",
        b"---\nwidget: 3\n---\n",
        b"---\nwidget: [{src: 'a\\0b'}, {src: 3}]\n---\n![](" + b"x" * 5000 + b")",
        b"![" + b"[](a)" * 30,
        b"![" * 10_000,
        b"<!--" * 250_000,
        b"<!-- reben:begin a -->\n" * 5000,
        b"{{" * 100_000,
        b"<A" * 100_000,
        b"---\na: &a [1]\nb: &b [*a, *a]\nlicense: [&c [*b, *b]]\n---\n",
        b"---\n" + b"[" * 50_000 + b"\n---\n",
    ],
    ids=range(15),
)
def test_no_content_makes_the_check_fail(content, tmp_path):
    (tmp_path / CARD).write_bytes(content)
    assert all(isinstance(problem, CardProblem) for problem in check_card(tmp_path))
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
    "TODO, FIXME and TBD are lists of authors",
)


@pytest.mark.parametrize("text", HARMLESS)
def test_what_only_looks_like_a_placeholder_is_no_problem(text):
    card = CardText.parse(f"---\nlicense: mit\n---\n{text}\n")
    assert list(check_placeholders(card, {})) == []


@pytest.mark.parametrize(
    "text",
    [
        *("<MODEL_NAME_RAW>", "<NAME>", "{{ x }}", "{% if %}", "`<SCORE_1>`"),
        *("[insert name here]", "[More Information Needed]", "Lorem ipsum dolor"),
    ],
)
def test_what_was_left_to_be_filled_in_is_found(text):
    for card in (f"---\nlicense: mit\n---\n{text}\n", f"---\nlicense: {text!r}\n---\nx\n"):
        assert len(list(check_placeholders(CardText.parse(card), {}))) == 1


def test_a_report_that_lacks_a_label_is_told_and_not_tripped_over(folder):
    values = json.loads((folder / "report.json").read_text())
    del values["metrics"]["per_class"]["Pastures"]
    (folder / "report.json").write_text(json.dumps(values))
    told = [str(problem) for problem in check_card(folder) if problem.where != "mlm.json"]
    assert len(told) == 1
    assert "figures of other labels" in told[0]


# Parts -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("there", "right", "told"),
    [
        ({"a": [1, {"b": 2}]}, {"a": [1, {"b": 2}]}, []),
        ({"a": 1, "c": 1}, {"a": 1}, ["x has an unexpected c"]),
        ({}, {"a": 1}, ["x lacks a"]),
        ([1], [1, 2], ["x is [1]; it should be [1, 2]"]),
        (
            {"a": [1, 3]},
            {"a": [2, 4]},
            ["x.a[0] is 1; it should be 2", "x.a[1] is 3; it should be 4"],
        ),
        (True, 1, ["x is True; it should be 1"]),
        ("1", 1, ["x is '1'; it should be 1"]),
    ],
)
def test_differences_are_told_by_field(there, right, told):
    assert list(differences(there, right, "x")) == told


def test_more_fields_can_be_allowed():
    assert list(differences({"a": 1, "c": 1}, {"a": 1}, "x", more=True)) == []


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
