import json
import math
import re
import shutil
from dataclasses import fields, replace

import numpy as np
import pytest
from huggingface_hub import ModelCard
from PIL import Image

import made_up
from reben.data.loader import open_dataset
from reben.data.metadata import PatchTable
from reben.errors import MetadataError, OutputError, RunError
from reben.learn.config import TrainConfig
from reben.learn.evaluate import evaluate
from reben.learn.metrics import Figures
from reben.learn.report import Report
from reben.learn.run import Run
from reben.learn.train import train
from reben.model.classifier import Classifier
from reben.publish.card import FILES, write_card
from reben.publish.content import in_words, warning
from reben.publish.example import choose_example
from reben.publish.recipe import SETTING_NAMES, format_seconds
from reben.spec.bands import BandSet, native_size
from reben.spec.labels import LABELS

BANDS = "B08,VV,B02,VH,B11"


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return made_up.write_store(tmp_path_factory.mktemp("card") / "store", num_train=5, num_test=4)


@pytest.fixture(scope="module")
def run(store, tmp_path_factory):
    config = TrainConfig(
        backbone="test_resnet",
        bands=BANDS,
        epochs=3,
        batch_size=2,
        learning_rate=0.0025,
        warmup_steps=2,
        drop_rate=0.25,
        seed=7,
        accelerator="cpu",
    )
    return train(config, open_dataset(store), tmp_path_factory.mktemp("runs") / "r_1")


@pytest.fixture(scope="module")
def report(run, store):
    return evaluate(run, open_dataset(store)["test"])


@pytest.fixture(scope="module")
def folder(run, report, tmp_path_factory):
    return write_card(run, report, tmp_path_factory.mktemp("hub") / "tiny_net-v1")


@pytest.fixture(scope="module")
def text(folder):
    return (folder / "README.md").read_text(encoding="utf-8")


def plain_card(*arguments, **options):
    """A card without pictures of results, which take longer than all the rest."""
    return write_card(*arguments, figures=False, **options)


def table_after(text, heading):
    """The rows of the first table after ``heading``: cells, without escapes."""
    lines = iter(text[text.index(heading) :].splitlines())
    rows = []
    for line in lines:
        if line.startswith("|"):
            cells = re.split(r"(?<!\\)\|", line)[1:-1]
            rows.append([re.sub(r"\\(.)", r"\1", cell).strip() for cell in cells])
        elif rows:
            return rows[:1] + rows[2:]
    return rows[:1] + rows[2:]


def copy_of(run, folder, **summary):
    """The same run with another record."""
    shutil.copytree(run.path, folder)
    (folder / "summary.json").write_text(json.dumps({**run.summary, **summary}))
    return Run.open(folder)


def test_the_folder_holds_weights_config_card_picture_and_report(folder):
    there = {file.name for file in folder.iterdir()}
    assert there == set(FILES) - {"mlm.json", "model.onnx"}
    assert {file.name for file in (folder / "figures").iterdir()} == {
        "average_precision.png",
        "precision_recall.png",
        "reliability.png",
    }


def test_the_folder_loads_and_gives_the_logits_of_the_best_model(folder, run):
    ours, best = Classifier.from_pretrained(folder), Classifier.from_pretrained(run.best)
    patch = made_up.patch(3)
    np.testing.assert_array_equal(ours.predict(patch).logits, best.predict(patch).logits)


def test_the_model_index_parses_back_to_the_figures_of_the_report(folder, report):
    data = ModelCard.load(folder / "README.md").data
    found = {
        (result.metric_type, result.metric_args["average"]): result.metric_value
        for result in data.eval_results
    }
    assert data.model_name == "tiny_net-v1"
    assert found == {
        (name, means): round(getattr(getattr(report, means), name), 4)
        for name in ("average_precision", "f1", "precision")
        for means in ("macro", "micro")
    }
    assert {result.dataset_split for result in data.eval_results} == {"test"}


def test_the_front_matter_says_what_the_model_is(folder):
    data = ModelCard.load(folder / "README.md").data.to_dict()
    assert data["license"] == "mit"
    assert data["library_name"] == "reben"
    assert data["pipeline_tag"] == "image-classification"
    assert {"test_resnet", "sentinel-1", "sentinel-2", "multispectral"} <= set(data["tags"])


def test_the_widget_shows_the_five_highest_labels_in_order(folder, store, report):
    model = Classifier.from_pretrained(folder)
    data = open_dataset(store, model.bands)["test"]
    top = model.predict(data.patch(choose_example(data.table))).top(5)
    shown = ModelCard.load(folder / "README.md").data.to_dict()["widget"][0]
    assert shown["src"] == "example.png"
    assert [(row["label"], row["score"]) for row in shown["output"]] == [
        (label, round(score, 4)) for label, score in top
    ]


def test_all_scores_of_the_example_are_those_of_predict_and_true_labels_are_marked(
    folder, store, text
):
    model = Classifier.from_pretrained(folder)
    data = open_dataset(store, model.bands)["test"]
    patch = choose_example(data.table)
    ranked = model.predict(data.patch(patch)).top(19)
    truth = data.table.label_names[data.table.position(patch)]
    assert f"Patch `{patch}` of the test split" in text
    assert table_after(text, "## Example")[1:] == [
        [f"{score:.4f}", label, "yes" if label in truth else ""] for label, score in ranked
    ]


def test_the_table_of_channels_is_the_models(folder, text):
    config = Classifier.from_pretrained(folder).config
    rows = table_after(text, "## What goes in")[1:]
    sizes = [row.pop(4) for row in rows]
    assert sizes == [f"{native_size(b)} x {native_size(b)}" for b in BANDS.split(",")]
    assert [row[:2] for row in rows] == [[str(i), b] for i, b in enumerate(BANDS.split(","))]
    assert [row[2] for row in rows] == [
        f"Sentinel-{2 if band.startswith('B') else 1}" for band in BANDS.split(",")
    ]
    assert [row[3:5] for row in rows][3:] == [["10", "dB"], ["20", "digital number"]]
    for row in rows:
        assert row[5] == f"{config.statistics.mean[row[1]]:.4f}"
        assert row[6] == f"{config.statistics.std[row[1]]:.4f}"


def test_the_tables_of_results_are_the_reports(text, report):
    own = report.intervals["patch"]
    rows = table_after(text, "## Results")[1:]
    assert [[row[1], row[3]] for row in rows] == [
        [f"{getattr(report.macro, f.name):.4f}", f"{getattr(report.micro, f.name):.4f}"]
        for f in fields(Figures)
    ]
    for row, f in zip(rows, fields(Figures), strict=True):
        for cell, means in ((row[2], own.macro), (row[4], own.micro)):
            found = means.get(f.name)
            assert cell == (f"{found.low:.4f} to {found.high:.4f}" if found else "-")
    rows = table_after(text, "| Label | Patches |")[1:]
    assert [row[0] for row in rows] == list(LABELS)
    for label, support, precision, interval, *figures in rows:
        of_label, found = report.per_class[label], own.average_precision[label]
        assert support == str(of_label.support)
        assert interval == (f"{found.low:.4f} to {found.high:.4f}" if found else "-")
        assert [precision, *figures] == [
            f"{getattr(of_label, f.name):.4f}" for f in fields(Figures)
        ]


def test_intervals_of_single_patches_are_said_to_be_too_narrow(text):
    assert "from 1,000 resamples of single patches" in text
    assert "these intervals are too narrow. There are no intervals by tile: All is of one" in text


def test_a_report_without_intervals_makes_tables_without_them(run, report, tmp_path):
    text = (
        plain_card(run, replace(report, intervals={}), tmp_path / "c") / "README.md"
    ).read_text()
    assert "interval" not in text.split("## Results")[1].split("## Use")[0]
    assert table_after(text, "## Results")[0] == ["", "Macro", "Micro"]


def test_absent_labels_are_named(text, report):
    absent = re.search(r"\*\*Absent:\*\* no patch that was measured on has (.*?)\. As in", text)
    assert tuple(absent[1].split("; ")) == report.absent


def test_how_it_was_trained_is_the_record_of_the_run(text, run):
    lines = dict(table_after(text, "## How it was trained")[1:])
    assert lines["Training patches"] == "5"
    assert lines["Validation patches"] == "3"
    assert lines["Batch size"] == "2"
    assert lines["Learning rate"].startswith("0.0025 at most; a linear warm-up of 2 steps")
    assert lines["Steps"].startswith("9 run of the 9 ")
    assert lines["Dropout"] == "0.25"
    assert lines["Seed"] == "7"
    assert lines["Fingerprint of names and labels"] == f"`{run.summary['data']['fingerprint']}`"
    assert f"The weights are those of epoch {run.summary['best_epoch']}, the best" in text
    best = run.summary["best_validation_macro_average_precision"]
    assert f"the best by that figure: {best:.4f}." in text
    assert "Training ran for all of 3 epochs" in text


def test_what_differs_from_the_paper_is_said(text, run):
    rows = table_after(text, "What differs from the recipe")[1:]
    assert [row[0] for row in rows] == [
        SETTING_NAMES[name] for name, _, _ in run.config.differences_from_paper()
    ]
    assert ["Batch size", "512", "2"] in rows
    assert ["Highest learning rate", "0.001", "0.0025"] in rows


def test_every_setting_has_a_name_for_people():
    assert list(SETTING_NAMES) == [field.name for field in fields(TrainConfig)]


def test_the_size_of_the_training_set_is_in_the_text(text):
    assert "It was trained on 5 patches of BigEarthNet v2.0" in text


def test_a_toy_run_says_so_in_a_box_on_top(text):
    box = text[: text.index("## What goes in")]
    assert "> [!WARNING]\n> This is a toy run: it was trained on 5 patches, where" in box
    assert "measured on 4 patches" in box


@pytest.mark.parametrize(
    ("num_train", "num_test", "sentences"),
    [(237_871, 119_825, 0), (118_936, 59_913, 0), (118_935, 59_913, 1), (118_936, 59_912, 1)],
)
def test_fewer_than_half_of_the_official_patches_make_a_toy(report, num_train, num_test, sentences):
    assert len(warning(num_train, replace(report, num_patches=num_test))) == sentences


def test_a_run_in_earnest_has_no_box(run, report, store, tmp_path, monkeypatch):
    monkeypatch.setattr("reben.publish.content.OFFICIAL_TRAIN_PATCHES", 5)
    monkeypatch.setattr("reben.publish.content.OFFICIAL_TEST_PATCHES", 4)
    text = (plain_card(run, report, tmp_path / "card") / "README.md").read_text()
    assert "[!WARNING]" not in text


def test_early_stopping_and_interruption_are_told_as_they_were(run, report, tmp_path):
    for summary, sentence in (
        ({"stopped_early": True}, "Training stopped early after 3 of at most 3 epochs, 5 of them"),
        ({"status": "interrupted"}, r"did not end as planned (status: interrupted)"),
    ):
        other = copy_of(run, tmp_path / sentence[:9], **summary)
        card = plain_card(other, report, tmp_path / f"card {sentence[:9]}") / "README.md"
        assert sentence in card.read_text()


def test_a_setting_that_the_backbone_does_not_take_is_named(run, report, tmp_path):
    other = copy_of(run, tmp_path / "run", not_applied=["drop_path_rate"])
    text = (plain_card(other, report, tmp_path / "card") / "README.md").read_text()
    assert "takes no drop\\_path\\_rate, so the setting had no effect" in text
    assert "| Drop path | none: the backbone takes none |" in text


def test_no_placeholder_is_left(text):
    assert not re.search(r"\{\{|\}\}(?!,)|\{%|TODO|undefined|None", text.split("## Citation")[0])


def test_a_hostile_name_of_the_folder_stays_a_string(run, report, tmp_path):
    folder = plain_card(run, report, tmp_path / "a'|`b")
    card = ModelCard.load(folder / "README.md")
    assert card.data.model_name == "a'|`b"
    assert 'from_pretrained("a\'|`b")' in card.text


def test_the_picture_is_there_shown_and_shows_the_patch_at_six_times_its_size(folder, text):
    with Image.open(folder / "example.png") as picture:
        assert picture.mode == "RGB"
        assert picture.height > 720
        assert picture.width > 2 * 720
    assert "](example.png)" in text


def test_the_report_in_the_folder_is_the_report(folder, report):
    assert Report.load(folder / "report.json") == report


def test_a_card_of_our_own_is_replaced_as_a_whole(run, report, tmp_path):
    folder = plain_card(run, report, tmp_path / "card")
    (folder / "example.png").write_bytes(b"old")
    assert plain_card(run, report, folder) == folder
    assert (folder / "example.png").stat().st_size > 1000
    assert [path.name for path in tmp_path.iterdir()] == ["card"]


def test_a_folder_of_others_is_left_alone(run, report, tmp_path):
    (tmp_path / "README.md").write_text("# mine")
    with pytest.raises(OutputError, match=r"is not empty: it holds README\.md"):
        plain_card(run, report, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["README.md"]


def test_a_card_folder_with_something_of_others_in_it_is_left_alone(run, report, tmp_path):
    folder = plain_card(run, report, tmp_path / "card")
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(OutputError, match=r"also holds notes\.txt"):
        plain_card(run, report, folder)
    assert (folder / "notes.txt").read_text() == "mine"


def test_a_failure_leaves_the_former_card_and_nothing_beside_it(run, report, tmp_path, monkeypatch):
    folder = plain_card(run, report, tmp_path / "card")
    before = (folder / "README.md").read_text()

    def fail(*_):
        raise OutputError("disk full")

    monkeypatch.setattr("reben.publish.card.write_bytes", fail)
    with pytest.raises(OutputError, match="disk full"):
        plain_card(run, report, folder)
    assert (folder / "README.md").read_text() == before
    assert [path.name for path in tmp_path.iterdir()] == ["card"]


def test_a_report_on_other_patches_is_refused(run, report, store, tmp_path):
    with pytest.raises(MetadataError, match="about 4 patches of the test split; the 2 of"):
        plain_card(
            run, report, tmp_path / "card", dataset=open_dataset(store, countries=["Austria"])
        )
    assert not (tmp_path / "card").exists()


def test_a_report_on_another_model_is_refused(run, report, tmp_path):
    with pytest.raises(RunError, match="The report is about resnet50 with bands B08, VV"):
        plain_card(run, replace(report, backbone="resnet50"), tmp_path / "card")


def test_a_store_that_is_gone_is_an_error_that_says_what_to_pass(run, report, tmp_path):
    gone = {"store": str(tmp_path / "gone"), "fingerprint": "x"}
    other = copy_of(run, tmp_path / "run", data=gone)
    with pytest.raises(RunError, match=r"no folder .*gone.* --data STORE"):
        plain_card(other, report, tmp_path / "card")


def test_a_store_that_moved_can_be_passed(run, report, store, tmp_path):
    other = copy_of(run, tmp_path / "run", data={"store": "gone", "fingerprint": "x"})
    assert plain_card(other.path, report, tmp_path / "card", dataset=open_dataset(store)).is_dir()


def test_the_example_does_not_depend_on_the_order_of_the_table(store):
    table = open_dataset(store).table
    chosen = choose_example(table)
    assert choose_example(table.take(range(len(table))[::-1])) == chosen
    assert len(table.label_names[table.position(chosen)]) >= 3


def test_the_example_follows_the_seed(store):
    table = open_dataset(store).table
    assert len({choose_example(table, seed) for seed in range(30)}) > 1


def test_where_no_patch_has_three_labels_one_with_the_most_is_shown(store):
    table = open_dataset(store).table
    few = table.take([i for i, names in enumerate(table.label_names) if len(names) < 3])
    assert len(few.label_names[few.position(choose_example(few))]) == 2


def test_the_bands_of_one_sensor_are_told_alone():
    assert in_words(BandSet.parse("s1")) == "Sentinel-1 (VV, VH)"
    assert in_words(BandSet.parse("s2")) == "Sentinel-2 (10 bands)"


@pytest.mark.parametrize(
    ("bands", "words", "offset", "unit"),
    [
        ("s1", r"Sentinel-1 (VV, VH)", False, True),
        ("rgb", "Sentinel-2 (B04, B03, B02)", True, False),
    ],
)
def test_a_model_of_one_sensor_has_the_traps_of_that_sensor_only(
    bands, words, offset, unit, store, tmp_path
):
    config = TrainConfig(
        backbone="test_resnet", bands=bands, epochs=1, batch_size=4, accelerator="cpu"
    )
    data = open_dataset(store)
    run = train(config, data, tmp_path / "run")
    text = (
        plain_card(run, evaluate(run, data["test"]), tmp_path / "card") / "README.md"
    ).read_text()
    assert text.count(words) == 2
    assert ("**Mind the offset.**" in text) == offset
    assert ("**Mind the unit.**" in text) == unit
    assert (made_up.TILE in text.split("## Use")[1]) == offset


def test_long_times_are_told_in_hours_and_minutes():
    assert format_seconds(90_061) == "25 h 1 min"
    assert not math.isnan(float(format_seconds(0.04).removesuffix(" s")))


def test_a_card_from_made_up_patches_names_no_real_data_set(run, report, store, tmp_path):
    dataset = open_dataset(store)
    rows = dataset.table.rows.replace_schema_metadata({"made_up_by": "a test"})
    folder = plain_card(
        run, report, tmp_path / "x", dataset=replace(dataset, table=PatchTable(rows))
    )
    card = ModelCard.load(folder / "README.md")
    assert "> This model was trained or measured on made-up patches" in card.text
    assert card.data.datasets == ["made-up"]
    assert {result.dataset_type for result in card.data.eval_results} == {"made-up"}
