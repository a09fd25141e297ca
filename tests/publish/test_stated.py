"""What is stated of a model, by its run or its card, as sentences of plain text."""

import json

import pytest

import made_up
import reben
from reben.app.demo.handlers import PageState
from reben.app.demo.patches import Samples
from reben.app.demo.serving import open_samples
from reben.model.classifier import Classifier
from reben.publish.stated import StatedFacts, stated_facts

HEAD = """---
license: cc-by-nc-4.0
model-index:
- name: toy
  results:
  - task: {type: image-classification}
    dataset: {name: BigEarthNet v2.0, type: bigearthnet-v2.0, split: test}
    metrics:
    - {type: average_precision, value: 0.6970, args: {average: macro}}
---
# A <script>alert(1)</script> model

```bibtex
@article{x, title={<img src=x onerror=alert(1)> [link](https://evil.example)}}
```
"""
TABLE = """
| Metric | Macro | Micro |
|---|---|---|
| Average Precision | 0.7123 | 0.8 |
"""


@pytest.fixture
def folder(tmp_path):
    return Classifier("test_resnet", "rgb").save_pretrained(tmp_path / "toy")


def test_a_card_states_figure_licence_and_citation(folder):
    (folder / "README.md").write_text(HEAD)
    warning = "This is a toy run: it was trained on 12 patches."
    (folder / "card.json").write_text(json.dumps({"values": {"warning": [warning]}}))
    found = stated_facts(str(folder))
    assert found.figures == ("Macro average precision 0.6970, measured on BigEarthNet v2.0, test.")
    assert found.licence == "Licence: cc-by-nc-4.0."
    assert found.warnings == (warning,)
    assert found.citations[0].startswith("@article{x, title={<img src=x")


def test_a_card_with_a_table_alone_states_its_figure(folder):
    (folder / "README.md").write_text(TABLE)
    found = stated_facts(str(folder))
    assert found.figures == "Macro average precision 0.7123, as its card states."
    assert found.licence == StatedFacts().licence


@pytest.mark.parametrize(
    "page",
    [None, "", "---\n- a list\n---\n", "---\nmodel-index: 3\n---\n", "---\nlicense: [1]\n---\n"],
)
def test_what_is_not_stated_is_said_to_be_not_stated(folder, page):
    if page is not None:
        (folder / "README.md").write_text(page)
    assert stated_facts(str(folder)) == StatedFacts()


def test_a_model_on_the_hub_states_what_its_card_does(hub, folder):
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    hub.repository("someone/toy", {**files, "README.md": HEAD.encode()})
    assert stated_facts("someone/toy").figures.startswith("Macro average precision 0.6970")
    hub.repository("someone/bare", files)
    assert stated_facts("someone/bare") == StatedFacts()


def test_texts_of_others_are_text_on_the_page(folder, tmp_path):
    (folder / "README.md").write_text(HEAD)
    evil = "<a href=//x onclick=y>toy</a>"
    (folder / "card.json").write_text(json.dumps({"values": {"warning": [evil]}}))
    from reben.app.demo.markup import draw

    model = Classifier("test_resnet", "rgb", labels=["<img src=x>", "[a](https://b.example)"])
    page = draw("head", "<b>name</b>", model.config, stated_facts(str(folder)))
    page += PageState(model, "x", tmp_path).show("nothing").message
    assert not any(
        bad in page for bad in ("<script", "<img", "<a ", "onclick=y>toy</a>", "<b>name")
    )
    assert "&lt;a href=//x" in page


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run with labels of its own, and its report."""
    folder = tmp_path_factory.mktemp("own")
    store = made_up.write_store(folder / "store", num_train=4, num_validation=2, num_test=2)
    table = folder / "labels.csv"
    rows = [f"{made_up.patch_id(n)},{'water' if n % 2 else 'crops;water'}" for n in range(8)]
    table.write_text("patch_id,labels\n" + "\n".join(rows) + "\n")
    data = reben.open_dataset(store, labels=None, label_table=table)
    config = reben.TrainConfig(
        backbone="test_resnet", bands="rgb", epochs=1, batch_size=2, accelerator="cpu",
        labels=("crops", "water"),
    )  # fmt: skip
    found = reben.train(config, data, folder / "run")
    report = reben.evaluate(found, data["test"], rounds=0)
    found.report_folder().mkdir()
    report.save(found.report_path())
    return found


def test_a_run_states_its_report_and_that_it_is_no_more_than_a_try(run):
    found = stated_facts(str(run.path))
    figure = run.report().macro.average_precision
    assert found.figures.startswith(f"Macro average precision {figure:.4f}, measured on 2 ")
    assert "not published" in found.licence
    assert stated_facts(str(run.best)) == found


def test_the_page_of_a_run_with_its_own_labels_opens_its_own_store(run, tmp_path):
    model = reben.open_model(run)
    samples = Samples(open_samples(str(run.path), None), model.labels)
    state = PageState(model, "own", tmp_path, samples)
    view = state.show(made_up.patch_id(0))
    assert view.patch.true_labels == ("crops", "water")
    assert "The data set names 2" in view.scores


def test_labels_that_the_model_lacks_are_no_truth(run, tmp_path):
    model = Classifier("test_resnet", "rgb", labels=["crops", "water"])
    samples = Samples(open_samples(model, run.path.parent / "store"), model.labels)
    view = PageState(model, "own", tmp_path, samples).show(made_up.patch_id(0))
    assert view.patch.true_labels is None
    assert "labels that the model lacks" in view.message
    assert "The data set names" not in view.scores
