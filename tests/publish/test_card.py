import json
import math
import re
import shutil
from dataclasses import fields, replace
from email.message import Message

import numpy as np
import pytest
from huggingface_hub import ModelCard
from PIL import Image
from safetensors.numpy import load_file

import made_up
from reben.data.loader import open_dataset
from reben.data.metadata import PatchTable
from reben.errors import ConfigError, MetadataError, OutputError, RunError
from reben.learn.calibrate import apply_calibration
from reben.learn.config import SETTINGS, TrainConfig
from reben.learn.evaluate import calibrate, evaluate
from reben.learn.metrics.classification import Figures
from reben.learn.report import Report
from reben.learn.run import Run
from reben.learn.train import train
from reben.model.classifier import Classifier
from reben.publish.branding import INSTALL, Branding
from reben.publish.card import FILES, write_card
from reben.publish.cards.content import in_words
from reben.publish.cards.example import choose_example
from reben.publish.cards.recipe import format_seconds
from reben.publish.check import check_card
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
            rows.append([" ".join(re.sub(r"\\(.)", r"\1", cell).split()) for cell in cells])
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
    assert there == set(FILES) - {"model.onnx"}
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


def test_the_snippet_of_the_card_prints_the_scores_of_the_card(folder, text, monkeypatch, capsys):
    code = text[text.index("## Example") :].split("```python\n")[1].split("```")[0]
    monkeypatch.chdir(folder.parent)
    exec(compile(code, "README.md", "exec"), {})
    printed = [line.split(" ", 1) for line in capsys.readouterr().out.splitlines()]
    shown = table_after(text, "## Example")[1:6]
    assert [label for _, label in printed] == [row[1] for row in shown]
    assert [float(score) for score, _ in printed] == pytest.approx(
        [float(row[0]) for row in shown], abs=2e-4
    )


def test_links_lead_to_data_and_paper(real_store, tmp_path):
    data = open_dataset(real_store)
    model = Classifier("test_resnet", "rgb").eval()
    card = plain_card(
        model, evaluate(model, data["test"], rounds=0), tmp_path / "card", dataset=data
    )
    assert (
        "[Data: BigEarthNet v2.0](https://zenodo.org/records/10891137), "
        "[Paper of BigEarthNet v2.0](https://arxiv.org/abs/2407.03653)"
    ) in (card / "README.md").read_text()


def test_the_table_of_channels_is_the_models(folder, text):
    config = Classifier.from_pretrained(folder).config
    rows = table_after(text, "## Input")[1:]
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
        known = [report.metrics.figure_of(label, f.name) for f in fields(Figures)]
        assert [precision, *figures] == ["-" if x is None else f"{x:.4f}" for x in known]
        assert (support == "0") == (precision == "-")


def test_intervals_of_single_patches_are_said_to_be_too_narrow(text):
    assert "from 1,000 bootstrap resamples of single patches" in text
    assert "these intervals are too narrow. There are no intervals by tile: all patches are" in text


def test_a_report_without_intervals_makes_tables_without_them(run, report, tmp_path):
    text = (
        plain_card(run, replace(report, intervals={}), tmp_path / "c") / "README.md"
    ).read_text()
    assert "interval" not in text.split("## Results")[1].split("## Use")[0]
    assert table_after(text, "## Results")[0] == ["", "Macro", "Micro"]


def test_absent_labels_are_named(text, report):
    absent = re.search(r"\*\*Absent:\*\* none of these patches has (.*?)\. As in", text)
    assert tuple(absent[1].split("; ")) == report.absent


def test_how_it_was_trained_is_the_record_of_the_run(text, run):
    lines = dict(table_after(text, "## Training")[1:])
    assert lines["Training patches"] == "5"
    assert lines["Validation patches"] == "3"
    assert lines["Batch size"] == "2"
    assert lines["Learning rate"] == (
        "peak 0.0025; linear warm-up over 2 steps from 10% of the peak; cosine decay to 10% of "
        "the peak"
    )
    assert lines["Steps"] == "9 of the 9 in the schedule"
    assert lines["Dropout"] == "0.25"
    assert lines["Seed"] == "7"
    assert lines["Fingerprint of names and labels"] == f"`{run.summary['data']['fingerprint']}`"
    assert f"These are the weights of epoch {run.summary['best_epoch']}, the best" in text
    best = run.summary["best_validation_macro_average_precision"]
    assert f"the best by that figure: {best:.4f}." in text
    assert "Training ran for all 3 epochs" in text


def test_what_differs_from_the_paper_is_said(text, run):
    rows = table_after(text, "Differences from the recipe")[1:]
    assert [row[0] for row in rows] == [
        "Training data",
        *(SETTINGS[name].card for name, _, _ in run.differences_from_paper()),
    ]
    assert rows[0][2] == "5 patches of the train split of Ramps"
    assert rows[-1][0] == "Precision"  # auto, which became 32-true, and matrix products
    assert ["Batch size", "512", "2"] in rows
    assert ["Highest learning rate", "0.001", "0.0025"] in rows


def test_every_setting_has_a_name_for_people():
    names = [SETTINGS[field.name].card for field in fields(TrainConfig)]

    assert all(names)
    assert len(set(names)) == len(names)


def test_the_title_tells_architecture_data_and_bands(text):
    assert (
        "\n# test\\_resnet, trained on Ramps with Sentinel-1 (VV, VH) and Sentinel-2 (B08, B02, "
        "B11)\n"
    ) in text


def test_the_data_are_those_that_their_owner_describes(text, folder):
    assert (
        "It was trained on 5 patches of the train split of Ramps: Austria, Finland, June 2017. On "
        "4 patches of the test split of Ramps, it reaches"
    ) in text
    head = ModelCard.load(folder / "README.md").data
    assert head.datasets == ["ramps"]
    assert {(r.dataset_type, r.dataset_name) for r in head.eval_results} == {("ramps", "Ramps")}
    told = [line for line in text.splitlines() if "BigEarthNet v2.0" in line]
    assert [line.split()[0] for line in told] == ["Statistics:", "Differences", "|"]
    assert "CORINE" not in text
    assert "predicts which of 19 land-cover labels apply" in text
    assert "> [!WARNING]" not in text
    assert "The training data are from Austria, Finland, June 2017." in text
    assert "by the owner of the data: a rule of three." in text
    assert "Ramps is under: cc0-1.0." in text
    assert "A. Tester: Ramps, 2017" in text


def test_data_that_nobody_describes_are_asked_for_and_nothing_is_written(run, report, tmp_path):
    store = made_up.write_store(tmp_path / "store", num_train=5, num_test=4)
    (store / "data.toml").unlink()
    with pytest.raises(MetadataError, match=r"Nothing says what data set .* > \S+/data\.toml"):
        plain_card(run, report, tmp_path / "card", dataset=open_dataset(store))
    assert not (tmp_path / "card").exists()


def test_a_run_on_data_that_were_described_since_tells_what_they_are(run, report, tmp_path):
    other = copy_of(run, tmp_path / "run")
    summary = json.loads((other.path / "summary.json").read_text())
    summary["data"]["identity"] = {"kind": "unknown"}
    (other.path / "summary.json").write_text(json.dumps(summary))
    text = (plain_card(Run.open(other.path), report, tmp_path / "card") / "README.md").read_text()
    assert "trained on 5 patches of the train split of Ramps" in text


def test_a_run_whose_data_are_gone_and_were_never_described_says_that(run, report, store, tmp_path):
    other = copy_of(run, tmp_path / "run")
    summary = json.loads((other.path / "summary.json").read_text())
    del summary["data"]["identity"]
    summary["data"]["store"] = str(tmp_path / "gone")
    (other.path / "summary.json").write_text(json.dumps(summary))
    folder = plain_card(
        Run.open(other.path), report, tmp_path / "card", dataset=open_dataset(store)
    )
    text = (folder / "README.md").read_text()
    assert "It was trained on 5 patches; of what data set is not recorded." in text
    assert "Where and when the training data are from is not recorded" in text
    assert check_card(folder) == ()


def test_the_real_sample_is_a_part_and_says_so_everywhere(real_store, tmp_path):
    config = TrainConfig(
        backbone="test_resnet", bands="rgb", epochs=1, batch_size=6, accelerator="cpu"
    )
    data = open_dataset(real_store)
    run = train(config, data, tmp_path / "run")
    report = evaluate(run, data["test"], rounds=0)
    folder = plain_card(run, report, tmp_path / "card")
    text = (folder / "README.md").read_text()
    box = text[: text.index("## Input")]
    assert "> [!WARNING]\n> This is a toy run: it was trained on 6 patches; the official" in box
    assert "measured on 6 patches, not on the official test split, which has 119,825." in box
    assert "6 patches of BigEarthNet v2.0, not the whole of its train split (237,871)" in box
    (dataset,) = {
        (r.dataset_type, r.dataset_name, json.dumps(r.dataset_args))
        for r in ModelCard.load(folder / "README.md").data.eval_results
    }
    assert "# test\\_resnet, trained on a part of BigEarthNet v2.0 with" in text
    assert "- The training data are a part of BigEarthNet v2.0, which is from 10" in text
    item = json.loads((folder / "mlm.json").read_text())["properties"]
    assert item["mlm:pretrained_source"] == "a part of BigEarthNet v2.0, 6 patches"
    assert "Austria" not in item["description"]
    assert dataset[:2] == ("bigearthnet-v2.0", "a part of BigEarthNet v2.0 (6 patches)")
    assert json.loads(dataset[2])["num_patches"] == 6
    assert json.loads(dataset[2])["fingerprint"] == report.fingerprint


def test_early_stopping_and_interruption_are_told_as_they_were(run, report, tmp_path):
    for summary, sentence in (
        ({"stopped_early": True}, "Training stopped early after 3 of at most 3 epochs, the last 5"),
        ({"status": "interrupted"}, r"ended prematurely (status: interrupted)"),
    ):
        other = copy_of(run, tmp_path / sentence[:9], **summary)
        card = plain_card(other, report, tmp_path / f"card {sentence[:9]}") / "README.md"
        assert sentence in card.read_text()


def test_a_setting_that_the_backbone_does_not_take_is_named(run, report, tmp_path):
    used = {**run.summary["in_effect"], "drop_path_rate": 0.0}
    other = copy_of(run, tmp_path / "run", not_applied=["drop_path_rate"], in_effect=used)
    text = (plain_card(other, report, tmp_path / "card") / "README.md").read_text()
    assert "| Drop path | none: the backbone does not support it |" in text


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


def test_the_words_of_the_author_stay_when_the_card_is_written_again(run, report, tmp_path, caplog):
    folder = plain_card(run, report, tmp_path / "card")
    page = folder / "README.md"
    edited = page.read_text().replace("## Use\n", "By us, with thanks.\n\n## Use\n")
    edited = edited.replace("tags:\n", "tags:\n- ours\n") + "\n## To do\n\n- more\n"
    page.write_text(edited)
    plain_card(run, report, folder, hub_id="org/net-v2", licence="apache-2.0")
    text = page.read_text()
    assert "By us, with thanks.\n\n## Use\n" in text
    assert text.endswith("\n## To do\n\n- more\n")
    assert 'from_pretrained("org/net-v2")' in text
    card = ModelCard.load(page)
    assert card.data.license == "apache-2.0"
    assert "ours" in card.data.tags
    assert "of yours behind the section example" in caplog.text
    assert check_card(folder) == ()
    again = page.read_text()
    plain_card(run, report, folder, hub_id="org/net-v2", licence="apache-2.0")
    assert page.read_text() == again


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
    with pytest.raises(MetadataError, match="about 4 patches of the test split; the 2 in"):
        plain_card(
            run, report, tmp_path / "card", dataset=open_dataset(store, countries=["Austria"])
        )
    assert not (tmp_path / "card").exists()


def test_a_report_on_another_model_is_refused(run, report, tmp_path):
    with pytest.raises(RunError, match=r"about a model with backbone resnet50; .* has test_resnet"):
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
    assert "> The figures below were measured on made-up patches." in card.text
    assert "This model was trained on made-up" not in card.text
    assert card.data.datasets == ["ramps"]
    assert {result.dataset_type for result in card.data.eval_results} == {"made-up"}


# Without a run -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def stray(run, tmp_path_factory):
    """The model without its run."""
    return shutil.copytree(run.best, tmp_path_factory.mktemp("stray") / "resnet-of-somebody")


def test_without_a_run_the_card_says_what_is_known_and_invents_nothing(
    stray, report, store, tmp_path
):
    folder = plain_card(stray, report, tmp_path / "card", dataset=open_dataset(store))
    text = (folder / "README.md").read_text()
    training = text[text.index("## Training") : text.index("## Results")]
    assert dict(table_after(text, "## Training")[1:]) == {
        "Dropout": "0.25 (from its config)",
        "Drop path": "0.15 (from its config)",
    }
    assert "Nothing else is known: neither epochs, batch size" in training
    assert "What it was trained on is not recorded." in text
    assert r"# test\_resnet for Sentinel-1" in text
    assert "This is a toy run" not in text
    assert "On 4 patches of the test split of Ramps" in text
    assert "## Environment" not in text
    for figure in ("512", "AdamW", "0.001", "100 epochs"):
        assert figure not in training


def test_without_a_run_results_and_example_are_those_with_one(
    stray, folder, report, store, tmp_path
):
    other = plain_card(stray, report, tmp_path / "card", dataset=open_dataset(store))
    mine, theirs = ((each / "README.md").read_text() for each in (other, folder))
    for heading in ("## Input", "## Results", "| Label | Patches |", "## Example"):
        assert table_after(mine, heading) == table_after(theirs, heading)


def test_what_others_state_is_told_as_their_statement(stray, report, store, tmp_path):
    folder = plain_card(
        stray,
        report,
        tmp_path / "card",
        dataset=open_dataset(store),
        origin="some-org/some_model@abc",
        licence="cc-by-4.0",
        stated={"Seed": "24", "Epochs": "28 | <b>"},
    )
    text = (folder / "README.md").read_text()
    assert "These are the weights of `some-org/some_model@abc`, unchanged." in text
    assert "Seed, Epochs: as stated by others" in text
    assert r"| Epochs | 28 \| \<b\> |" in text


def test_a_model_in_memory_gets_a_card(stray, report, store, tmp_path):
    model = Classifier.from_pretrained(stray)
    folder = plain_card(model, report, tmp_path / "card", dataset=open_dataset(store))
    assert Classifier.from_pretrained(folder).config == model.config


def test_a_published_folder_gets_a_config_that_names_its_bands(golden, real_store, tmp_path):
    name = "test_resnet-all-v0.2.0"
    published = shutil.copytree(golden / "test_resnet-all", tmp_path / name)
    card = f"---\nlicense: mit\n---\n\nBIFOLD-BigEarthNetv2-0/{name}\n"
    (published / "README.md").write_text(card)
    data = open_dataset(real_store)
    report = evaluate(published, data["test"], rounds=0)
    folder = plain_card(published, report, tmp_path / "card", dataset=data)
    assert Classifier.from_pretrained(folder).bands == BandSet.parse("all")


def test_without_a_run_and_without_data_it_is_said_what_to_pass(stray, report, tmp_path):
    with pytest.raises(RunError, match=r"no run that says where the patches are.*--data STORE"):
        plain_card(stray, report, tmp_path / "card")


def test_a_card_does_not_replace_the_model_that_it_is_made_of(folder, report, store, tmp_path):
    own = shutil.copytree(folder, tmp_path / "own")
    with pytest.raises(OutputError, match="holds the model itself"):
        plain_card(own, report, own, dataset=open_dataset(store))
    assert (own / "model.safetensors").is_file()


# Settings ----------------------------------------------------------------------------------------


def fine_tuned(run, folder, init, **weights):
    """A run that says it started from other weights."""
    used = {"kind": "model", "hub_id": None, "revision": None, "sha256": "5" * 64} | weights
    other = copy_of(run, folder, in_effect={**run.summary["in_effect"], "initial_weights": used})
    settings = (other.path / "config.toml").read_text()
    (other.path / "config.toml").write_text(f"{settings}init = {json.dumps(init)}\n")
    return Run.open(other.path)


def on_hub(hub, head):
    """The commit of a model on the Hub that has nothing but a card."""
    hub.repository("some-org/some_model", {"README.md": f"---\n{head}\n---\n# A model".encode()})
    return hub.repositories["some-org/some_model"].refs["refs/heads/main"]


def test_a_run_from_weights_on_the_hub_names_them_with_commit_and_carries_their_licence(
    run, report, hub, tmp_path
):
    commit = on_hub(hub, "license: cc-by-nc-4.0")
    name = "some-org/some_model"
    weights = {"name": name, "hub_id": name, "revision": commit, "new_head": True}
    other = fine_tuned(run, tmp_path / "run", name, **weights)
    card = ModelCard.load(plain_card(other, report, tmp_path / "card") / "README.md")
    assert card.data.base_model == name
    assert card.data.license == "cc-by-nc-4.0"
    item = json.loads((tmp_path / "card" / "mlm.json").read_text())
    assert item["properties"]["license"] == "cc-by-nc-4.0"
    lines = dict(table_after(card.text, "## Training")[1:])
    assert lines["Initial weights"] == (
        f"those of {name} at commit {commit}; the classification head is new, since the labels "
        "differ"
    )
    assert "fine-tuned on Ramps" in card.text
    assert "Training started from those of some-org/some\\_model@" in card.text
    assert "which are under cc-by-nc-4.0." in card.text


def test_a_licence_of_ones_own_after_fine_tuning_tells_that_of_the_origin_too(
    run, report, hub, tmp_path, caplog
):
    commit = on_hub(hub, "license: cc-by-nc-4.0")
    weights = {"name": "x", "hub_id": "some-org/some_model", "revision": commit}
    other = fine_tuned(run, tmp_path / "run", "some-org/some_model", **weights)
    card = ModelCard.load(plain_card(other, report, tmp_path / "card", licence="mit") / "README.md")
    assert card.data.license == "mit"
    assert "which are under cc-by-nc-4.0." in card.text
    assert "Make sure that this is allowed" in caplog.text


@pytest.mark.parametrize("head", ["tags: [a]", "license: of-my-own", "license: [mit]"])
def test_the_licence_is_asked_for_if_that_of_the_origin_is_unknown(
    head, run, report, hub, tmp_path
):
    commit = on_hub(hub, head)
    weights = {"name": "x", "hub_id": "some-org/some_model", "revision": commit}
    other = fine_tuned(run, tmp_path / "run", "some-org/some_model", **weights)
    with pytest.raises(ConfigError, match=r"some-org/some_model@\w+, whose licence .*--licence"):
        plain_card(other, report, tmp_path / "card")
    assert plain_card(other, report, tmp_path / "card", licence="mit")


def test_a_card_of_a_card_tells_what_the_old_one_states_of_the_training(
    folder, report, store, tmp_path
):
    new = plain_card(folder, report, tmp_path / "new", dataset=open_dataset(store))
    text = (new / "README.md").read_text()
    rows = dict(table_after(text, "## Training")[1:])
    assert rows["Seed"] == "7"
    assert rows["Training data"].startswith("5 patches of the train split of Ramps")
    assert "as stated by others; reben could not verify it" in text
    assert "What it was trained on is not recorded." in text
    assert check_card(new) == ()


def test_a_card_of_the_same_weights_keeps_their_licence(folder, report, store, tmp_path):
    old = shutil.copytree(folder, tmp_path / "old")
    page = (old / "README.md").read_text().replace("license: mit", "license: cc-by-nc-4.0")
    (old / "README.md").write_text(page)
    data = open_dataset(store)
    with pytest.raises(ConfigError, match=r"under cc-by-nc-4\.0; .* does not put them under mit"):
        plain_card(old, report, tmp_path / "new", dataset=data, licence="mit")
    new = plain_card(old, report, tmp_path / "new", dataset=data)
    assert ModelCard.load(new / "README.md").data.license == "cc-by-nc-4.0"


def test_a_run_from_a_run_has_the_licence_of_where_that_one_started(run, report, hub, tmp_path):
    commit = on_hub(hub, "license: cc-by-sa-4.0")
    weights = {"name": "x", "hub_id": "some-org/some_model", "revision": commit}
    first = fine_tuned(run, tmp_path / "first", "some-org/some_model", **weights)
    second = fine_tuned(run, tmp_path / "second", str(first.best), name="first")
    card = ModelCard.load(plain_card(second, report, tmp_path / "card") / "README.md")
    assert card.data.license == "cc-by-sa-4.0"
    third = fine_tuned(run, tmp_path / "third", str(run.best), name="r_1")
    card = ModelCard.load(plain_card(third, report, tmp_path / "card-3") / "README.md")
    assert card.data.license == "mit"  # of our own, from random weights


def test_a_folder_of_ones_own_without_a_card_brings_no_licence(run, report, stray, tmp_path):
    other = fine_tuned(run, tmp_path / "run", str(stray), name="stray")
    card = ModelCard.load(plain_card(other, report, tmp_path / "card") / "README.md")
    assert card.data.license == "mit"
    (tmp_path / "gone").mkdir()
    other = fine_tuned(run, tmp_path / "run-2", str(tmp_path / "gone" / "model"), name="model")
    with pytest.raises(ConfigError, match=r"weights of model, whose licence .* none was found"):
        plain_card(other, report, tmp_path / "card-2")


def test_weights_of_timm_bring_their_licence(run, report, tmp_path):
    weights = {"kind": "pretrained", "name": "convnextv2_base.fcmae", "new_head": True}
    used = {**run.summary["in_effect"], "initial_weights": weights}
    other = copy_of(run, tmp_path / "run", in_effect=used)
    card = ModelCard.load(plain_card(other, report, tmp_path / "card") / "README.md")
    assert card.data.license == "cc-by-nc-4.0"
    lines = dict(table_after(card.text, "## Training")[1:])
    assert lines["Initial weights"] == (
        "timm's pretrained weights convnextv2_base.fcmae; the classification head is new"
    )


def test_a_run_from_a_folder_has_no_base_model_and_its_path_stays_private(run, report, tmp_path):
    secret = tmp_path / "home-of-me" / "first"
    other = fine_tuned(run, tmp_path / "run", str(secret), name="first")
    folder = plain_card(other, report, tmp_path / "card", licence="mit")
    card = ModelCard.load(folder / "README.md")
    assert card.data.base_model is None
    assert "home-of-me" not in card.content
    assert "home-of-me" not in (folder / "card.json").read_text()
    digest = "5" * 64
    lines = dict(table_after(card.text, "## Training")[1:])
    assert lines["Initial weights"] == (
        f"those of first, a model in a folder of the author, SHA-256 {digest}"
    )


# What was in effect ------------------------------------------------------------------------------


def card_of_effect(run, report, tmp_path, *, settings=None, **used):
    """The rows of recipe and differences of a run with another record of what was in effect."""
    other = copy_of(run, tmp_path / "run", in_effect={**run.summary["in_effect"], **used})
    toml = replace(run.config, **(settings or {})).to_toml()
    (other.path / "config.toml").write_text(toml)
    folder = plain_card(Run.open(other.path), report, tmp_path / "card")
    text = (folder / "README.md").read_text()
    assert check_card(folder) == ()
    recipe = dict(table_after(text, "## Training")[1:])
    return recipe, {row[0]: row[1:] for row in table_after(text, "Differences")[1:]}


def test_the_dropout_of_a_frozen_backbone_is_none(run, report, tmp_path):
    recipe, differences = card_of_effect(
        run, report, tmp_path, settings={"freeze_backbone": True}, drop_rate=0.0
    )
    assert recipe["Dropout"] == "none: the backbone is frozen"
    assert differences["Dropout"] == ["0.15", "none: the backbone is frozen"]
    assert recipe["Optimiser"].endswith("on all weights that were trained")


def test_a_warm_up_that_nobody_set_is_the_one_that_ran(run, report, tmp_path):
    other = copy_of(run, tmp_path / "run", warmup_steps=1)
    (other.path / "config.toml").write_text(replace(run.config, warmup_steps=None).to_toml())
    folder = plain_card(Run.open(other.path), report, tmp_path / "card")
    text = (folder / "README.md").read_text()
    recipe = dict(table_after(text, "## Training")[1:])
    assert "linear warm-up over 1 step from 10% of the peak" in recipe["Learning rate"]
    assert ["Warm-up steps", "1,000", "1"] in table_after(text, "Differences")


def test_the_precision_is_that_which_ran(run, report, tmp_path):
    recipe, differences = card_of_effect(
        run,
        report,
        tmp_path,
        settings={"precision": "16-mixed"},
        precision="bf16-mixed",
        matmul_precision="highest",
    )
    assert recipe["Precision"] == (
        "bf16-mixed (16-mixed was asked for), products of float32 matrices: highest"
    )
    assert differences["Precision"] == ["32-true, matrix products medium", "bf16-mixed"]


def test_parts_of_a_batch_show_where_batch_norm_sees_them(run, report, tmp_path):
    recipe, differences = card_of_effect(
        run, report, tmp_path, accumulate=2, batch_size=2, batch_norm_patches=1
    )
    assert recipe["Patches that a batch norm averages over"] == "1"
    assert differences["Patches that a batch norm averages over"] == ["a whole batch", "1 of 2"]


def test_a_batch_that_the_split_could_not_fill_is_told(run, report, tmp_path):
    recipe, _ = card_of_effect(run, report, tmp_path, batch_size=1, batch_norm_patches=1)
    assert recipe["Batch size"] == "1"


def test_branding_is_shown_above_the_title(run, report, tmp_path):
    branding = Branding.load("bigearth")
    folder = plain_card(run, report, tmp_path / "card", branding=branding)
    card = ModelCard.load(folder / "README.md")
    above, below = card.text.split("\n# ", 1)
    assert branding.row() in above
    assert branding.gallery({"Sentinel-1", "Sentinel-2"}, official=False) in below
    assert card.data.to_dict()["thumbnail"] == branding.thumbnail


def test_by_default_nobody_is_named(text):
    assert "BIFOLD" not in text
    assert "thumbnail" not in text


def test_a_hub_id_gives_name_and_snippets(run, report, tmp_path):
    folder = plain_card(run, report, tmp_path / "somewhere", hub_id="my-org/net-v1")
    card = ModelCard.load(folder / "README.md")
    assert card.data.model_name == "net-v1"
    assert 'Classifier.from_pretrained("my-org/net-v1")' in card.text
    assert "reben export my-org/net-v1 --out model.onnx" in card.text
    assert "somewhere" not in card.content


def test_a_licence_that_the_hub_does_not_know_is_refused(run, report, tmp_path):
    with pytest.raises(ConfigError, match=r"no licence 'apache'\. Did you mean apache-2\.0"):
        plain_card(run, report, tmp_path / "card", licence="apache")
    assert not (tmp_path / "card").exists()


def test_the_licence_has_two_spellings(run, report, tmp_path):
    folder = plain_card(run, report, tmp_path / "card", license="apache-2.0")
    assert ModelCard.load(folder / "README.md").data.license == "apache-2.0"
    assert json.loads((folder / "mlm.json").read_text())["properties"]["license"] == "apache-2.0"


@pytest.mark.parametrize("licence", ["mit", "apache-2.0"])
def test_a_licence_in_both_spellings_is_refused(licence, run, report, tmp_path):
    with pytest.raises(ConfigError, match="two spellings of one setting"):
        plain_card(run, report, tmp_path / "card", licence=licence, license="apache-2.0")


def test_the_line_that_installs_reben_is_the_brandings(run, report, text, tmp_path):
    assert f"```sh\n{INSTALL}\n```" in text
    branding = Branding(install="pip install 'reben[geo] @ https://example.org/reben.whl'")
    folder = plain_card(run, report, tmp_path / "card", branding=branding)
    assert f"```sh\n{branding.install}\n```" in (folder / "README.md").read_text()
    assert check_card(folder) == ()


def test_the_code_is_linked_where_the_package_says_where_it_lies(
    run, report, text, tmp_path, monkeypatch
):
    assert "This card was written by reben 0.1.0 from" in text
    told = Message()
    told["Project-URL"] = "Paper, https://example.org/paper"
    told["Project-URL"] = "Source, https://example.org/org/reben"
    monkeypatch.setattr("reben.publish.cards.content.metadata", lambda name: told)
    folder = plain_card(run, report, tmp_path / "card")
    assert (
        "by [reben 0.1.0](https://example.org/org/reben) from" in (folder / "README.md").read_text()
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{{ colour }}", "'colour' is undefined. It may use: affiliations"),
        ("\n{% if %}", r"t, line 2, cannot be filled"),
        ("{{ ''.__class__.__mro__[1].__subclasses__() }}", r"line 1, cannot be filled.*unsafe"),
        ("{{ report.save('x') }}", r"line 1, cannot be filled.*no attribute 'save'"),
    ],
)
def test_a_template_that_cannot_be_filled_or_breaks_out_is_refused(
    text, message, run, report, tmp_path
):
    (tmp_path / "t").write_text(text)
    with pytest.raises(ConfigError, match=message):
        plain_card(run, report, tmp_path / "card", template=tmp_path / "t")
    assert not (tmp_path / "card").exists()


def test_the_record_of_a_card_holds_what_the_template_got_and_no_path(folder, run, report):
    content = (folder / "card.json").read_text(encoding="utf-8")
    values = json.loads(content)["values"]
    assert run.summary["data"]["store"] not in content
    assert values["report"]["macro"]["f1"] == report.macro.f1
    assert [channel["band"] for channel in values["channels"]] == BANDS.split(",")
    assert values["run"]["num_train"] == 5
    assert values["config"]["learning_rate"] == 0.0025


def test_an_environment_that_cannot_be_read_is_an_error_that_names_it(run, report, tmp_path):
    other = copy_of(run, tmp_path / "run")
    (other.path / "environment.json").write_text('{"python": 3}')
    with pytest.raises(RunError, match=r"environment\.json.*python.*train again"):
        plain_card(other, report, tmp_path / "card")


@pytest.mark.parametrize(
    ("changed", "rows"), [(True, [["Uncommitted changes", "yes"]]), (False, [])]
)
def test_the_commit_of_a_run_and_changes_since_are_told(changed, rows, run, report, tmp_path):
    other = copy_of(run, tmp_path / "run")
    found = json.loads((run.path / "environment.json").read_text())
    git = {"commit": "abc123", "changed": changed}
    (other.path / "environment.json").write_text(json.dumps({**found, "git": git}))
    text = (plain_card(other, report, tmp_path / "card") / "README.md").read_text()
    table = table_after(text, "## Environment")
    place = table.index(["Commit of reben", "`abc123`"])
    assert table[place + 1 : -1] == rows


@pytest.mark.slow
def test_the_same_card_is_the_same_bytes(run, report, folder, tmp_path):
    again = write_card(run, report, tmp_path / folder.name)
    files = [file for file in folder.rglob("*") if file.is_file()]
    assert len(files) > 8
    for file in files:
        assert (again / file.relative_to(folder)).read_bytes() == file.read_bytes(), file


def test_figures_of_a_former_card_do_not_stay(run, report, folder, tmp_path):
    folder = shutil.copytree(folder, tmp_path / "card")
    (folder / "mlm.json").write_text("{}")
    plain_card(run, report, folder)
    assert not (folder / "figures").exists()
    assert "figures/" not in (folder / "mlm.json").read_text()
    assert check_card(folder) == ()
    assert "figures/" not in (folder / "README.md").read_text()


def test_an_onnx_file_of_former_weights_does_not_stay_and_that_is_said(
    run, report, tmp_path, caplog
):
    folder = plain_card(run, report, tmp_path / "card")
    (folder / "model.onnx").write_bytes(b"former")
    plain_card(run, report, folder)
    assert not (folder / "model.onnx").exists()
    assert "model.onnx belonged to the former card and was removed" in caplog.text


def test_the_raw_bands_of_the_example_are_those_of_the_store(folder, store):
    data = open_dataset(store)
    patch = choose_example(data["test"].table)
    raw = data.patch(patch)
    kept = load_file(folder / "example.safetensors")
    assert sorted(kept) == sorted({*BANDS.split(","), "B03", "B04"})  # the picture needs them
    for name, values in kept.items():
        np.testing.assert_array_equal(values, raw[name])
        assert values.dtype == raw[name].dtype


def test_the_stac_item_is_written_last_from_the_facts_of_the_card(
    run, report, tmp_path, monkeypatch
):
    asked = {}

    def write_mlm(folder, model, **facts):
        asked.update(facts, files={file.name for file in folder.iterdir()}, bands=model.bands.names)

    monkeypatch.setattr("reben.publish.card.write_mlm", write_mlm)
    plain_card(run, report, tmp_path / "net", licence="cc-by-4.0")
    assert asked.pop("files") == {
        *("README.md", "config.json", "model.safetensors", "report.json", "card.json"),
        *("example.png", "example.safetensors"),
    }
    assert asked == {
        "name": "net",
        "report": report,
        "licence": "cc-by-4.0",
        "num_train": 5,
        "data": open_dataset(run.summary["data"]["store"]).identity,
        "bands": tuple(BANDS.split(",")),
    }


# Calibration -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tuned(run, store, tmp_path_factory):
    """A calibrated model, and its report."""
    data = open_dataset(store)
    model = Classifier.from_pretrained(run.best)
    apply_calibration(model, calibrate(model, data["validation"]))
    folder = model.save_pretrained(tmp_path_factory.mktemp("tuned") / "model")
    return folder, evaluate(folder, data["test"], rounds=0)


def test_a_calibrated_model_tells_temperature_thresholds_and_what_it_reaches(
    tuned, store, tmp_path
):
    folder, report = tuned
    config = Classifier.from_pretrained(folder).config
    card = plain_card(folder, report, tmp_path / "card", dataset=open_dataset(store))
    text = (card / "README.md").read_text()
    assert f"divided by the temperature, {config.temperature:.4f}, is the score" in text
    assert f"a temperature of {config.temperature:.4f} and a threshold for each label" in text
    assert "tuned on 3 patches of the validation split" in text
    errors = (report.reliability, report.calibrated.reliability)
    first, second = (f"{each.expected_error:.4f}" for each in errors)
    assert f"error is {first} at temperature 1 and {second} at the model's own" in text
    rows = {row[0]: row[1:] for row in table_after(text, "| Label | Threshold |")[1:]}
    for label, threshold in zip(config.labels, config.thresholds, strict=True):
        own = report.calibrated.metrics.per_class[label]
        assert rows[label] == [
            f"{threshold:.4f}",
            *(
                "-" if not own.support else f"{x:.4f}"
                for x in (own.f1, own.precision, own.recall, own.accuracy)
            ),
        ]
    assert "Scores are not calibrated" not in text


def test_an_uncalibrated_model_says_that_its_scores_are_no_probabilities(text):
    assert "The model was not calibrated: its temperature is 1.0000" in text
    assert "Scores are not calibrated: 0.8 does not mean right in four of five cases." in text
    assert "| Label | Threshold |" not in text


def test_a_report_from_before_the_calibration_changed_is_refused(tuned, store, tmp_path):
    folder, report = tuned
    calibration = replace(report.calibrated.calibration, temperature=3.0)
    other = replace(report, calibrated=replace(report.calibrated, calibration=calibration))
    with pytest.raises(RunError, match="with other thresholds or another temperature"):
        plain_card(folder, other, tmp_path / "card", dataset=open_dataset(store))
