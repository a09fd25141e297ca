import dataclasses
import html
import re
import sys
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from learn.predicted import predicted
from reben.errors import MissingExtraError, OutputError
from reben.learn.calibrate import calibrate_predictions
from reben.learn.evaluate import measure
from reben.learn.predictions import Predictions
from reben.learn.report import Report
from reben.publish.plots import draw_all
from reben.publish.report_page import render_page, write_report
from reben.spec.labels import LABELS

PICTURES = {
    "average_precision",
    "precision_recall",
    "reliability",
    "co_occurrence",
    "country",
    "month",
    "num_labels",
}
VOID = {"meta", "br", "link", "img", "input", "hr"}


class Tags(HTMLParser):
    """Counts what is open; every tag must be closed by its own kind."""

    def __init__(self):
        super().__init__()
        self.open = []
        self.links = []

    def handle_starttag(self, tag, attrs):
        self.links += [value for name, value in attrs if name in ("href", "src", "xlink:href")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.links += [value for name, value in attrs if name in ("href", "src", "xlink:href")]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def predictions():
    tuned = calibrate_predictions(predicted(split="validation", fingerprint="cd34"))
    return predicted(calibration=tuned)


@pytest.fixture(scope="module")
def report(predictions):
    return measure(predictions, rounds=20)


def test_no_axis_shows_the_source_of_a_formula(report):
    pictures = draw_all(report)
    assert "mathdefault" not in render_page(report, pictures)
    assert {"1", "10"} & set(re.findall(r"<!-- ([\d,]+) -->", render_page(report, pictures)))


@pytest.mark.parametrize("label", ["$\\frac{1}{", "$5 to $6", "a\nb", "<script>x</script> & `|`"])
def test_labels_are_drawn_and_written_as_they_are(label, predictions):
    names = (label, *predictions.label_names[1:])
    own = measure(dataclasses.replace(predictions, label_names=names), rounds=0)
    pictures = draw_all(own, ["average_precision", "co_occurrence"])
    page = render_page(own, pictures)
    assert "<script" not in page
    shown = html.unescape(re.sub(r"<[^>]*>", "", page))
    assert " ".join(label.split()) in " ".join(shown.split())
    texts = [text.get_text() for axes in pictures["average_precision"].axes
             for text in axes.get_yticklabels()]  # fmt: skip
    assert any(text.replace("\n", " ") == " ".join(label.split()) for text in texts)


@pytest.fixture(scope="module")
def folder(report, predictions, tmp_path_factory):
    return write_report(report, tmp_path_factory.mktemp("page") / "report", predictions=predictions)


@pytest.fixture(scope="module")
def page(folder):
    return (folder / "report.html").read_text(encoding="utf-8")


def test_the_folder_holds_report_page_predictions_and_pictures(folder, report, predictions):
    assert Report.load(folder) == report
    assert Predictions.load(folder / "predictions.parquet").patch_ids == predictions.patch_ids
    assert {file.stem for file in (folder / "figures").iterdir()} == PICTURES
    for file in (folder / "figures").iterdir():
        with Image.open(file) as picture:
            assert picture.width > 600
            assert picture.convert("L").getextrema()[0] < 100  # something is drawn


def test_the_page_is_well_formed_and_asks_nobody_for_anything(page):
    tags = Tags()
    tags.feed(page)

    assert tags.open == []
    assert all(link.startswith(("#", "data:")) for link in tags.links)
    assert "url(http" not in page
    assert "<script" not in page


def test_the_page_shows_the_figures_of_the_report(page, report):
    found = set(re.findall(r"\d\.\d{4}", page))

    present = [figures for figures in report.per_class.values() if figures.support]
    for figures in (report.macro, report.micro, *present):
        assert f"{figures.average_precision:.4f}" in found
        assert f"{figures.f1:.4f}" in found
    assert f"{report.per_sample.subset_accuracy:.4f}" in found
    assert f"{report.calibrated.metrics.micro.f1:.4f}" in found
    assert f"{report.intervals['tile'].macro['f1'].low:.4f}" in found


def test_the_page_names_the_absent_label(page):
    assert f"No patch has <b>{LABELS[1]}</b>" in page


def test_an_absent_label_has_no_figures_in_the_table(page):
    row = page[page.index(f"<td>{LABELS[1]} <small>") :]
    cells = re.findall(r"<td>([^<]*)", row[: row.index("</tr>")])

    assert cells[1:] == ["0", "-", "-", "-", "-", "-", "0.5000", "-"]


def test_a_slice_without_labels_has_no_figures_in_the_table(predictions):
    labels = predictions.labels.copy()
    labels[:3] = 0
    page = render_page(measure(dataclasses.replace(predictions, labels=labels), rounds=0), {})
    row = page[page.index("<tr><td>0</td>") :]

    assert re.findall(r"<td>([^<]*)", row[: row.index("</tr>")])[2:6] == ["-"] * 4


def test_the_auroc_of_a_label_that_all_patches_have_is_a_dash(predictions):
    labels = predictions.labels.copy()
    labels[:, 0] = 1
    report = measure(dataclasses.replace(predictions, labels=labels), rounds=0)

    assert report.metrics.figure_of(LABELS[0], "auroc") is None
    assert report.metrics.figure_of(LABELS[0], "f1") == report.per_class[LABELS[0]].f1 > 0
    assert "AUROC is undefined there (-)" in render_page(report, {})


def test_a_page_is_the_same_each_time_it_is_written(report, folder, tmp_path):
    again = write_report(report, tmp_path / "again")

    assert (again / "report.html").read_bytes() == (folder / "report.html").read_bytes()


def test_the_page_goes_light_and_dark_and_its_pictures_with_it(page):
    assert "prefers-color-scheme: dark" in page
    assert "fill: var(--ink)" in page
    assert 'name="viewport"' in page


def test_a_hostile_name_stays_text(report):
    page = render_page(dataclasses.replace(report, name="<script>alert(1)</script>"), {})

    assert "<script" not in page


def test_a_page_of_one_tile_says_why_there_is_no_interval_by_tile():
    found = measure(predicted(40, num_tiles=1), rounds=10)

    page = render_page(found, {})
    assert "There are no intervals by tile: all patches are of one tile" in page
    assert "with whole patches drawn" not in page


def test_a_report_of_an_earlier_version_has_a_page_too(report):
    metrics = dataclasses.replace(report.metrics, per_sample=None)
    old = Report(
        report.name, report.backbone, report.bands, report.labels, "test", 300, "ab", metrics
    )

    assert set(draw_all(old)) == {"average_precision"}
    assert f"{report.macro.f1:.4f}" in render_page(old, draw_all(old))


def test_without_matplotlib_there_is_an_error_with_its_cure(report, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)

    with pytest.raises(MissingExtraError, match=r"pip install matplotlib.*--no-figures"):
        write_report(report, tmp_path / "report")
    assert list(tmp_path.iterdir()) == []


def test_without_figures_matplotlib_is_not_needed(report, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    folder = write_report(report, tmp_path / "report", figures=False)

    assert {file.name for file in folder.iterdir()} == {"report.json", "report.html"}


def test_a_place_that_cannot_be_written_is_an_error(report, tmp_path):
    (tmp_path / "file").write_text("")

    with pytest.raises(OutputError):
        write_report(report, tmp_path / "file", figures=False)


def test_precision_and_recall_are_drawn_as_the_steps_that_average_precision_sums(tmp_path):
    report = measure(predicted(60), rounds=0)
    panels = draw_all(report, ["precision_recall"])["precision_recall"].axes
    line = panels[0].lines[-1]
    recall, precision = line.get_data()
    assert line.get_drawstyle() == "steps-pre"
    area = float(np.sum(np.diff(recall) * precision[1:]))
    assert area == pytest.approx(report.per_class[LABELS[0]].average_precision, abs=1e-3)
