"""Cards from templates: the first published form, a user's own, and what is added to the head."""

import os
import re
from pathlib import Path

import pytest
from huggingface_hub import ModelCard

import made_up
from reben.data.loader import open_dataset
from reben.errors import ConfigError
from reben.learn.config import TrainConfig
from reben.learn.evaluate import evaluate
from reben.learn.train import train
from reben.publish.author import read_metadata
from reben.publish.card import write_card
from reben.publish.check import check_card
from reben.spec.labels import LABELS

FORM = """---
thumbnail: "https://example.org/logo.png"
tags:
    - <MODEL_NAME_RAW>
    - <DATASET_NAME>
library_name: configilm
license: apache-2.0
widget:
  - src: example.png
    output:
      - label: <LABEL_1>
        score: <SCORE_1>
---

# <MODEL_NAME> with <BANDS_USED> bands

- Batch size: 512
- Dropout rate: <DROPOUT_RATE>

| Metric | Macro | Micro |
|:--|--:|--:|
| Average Precision | <AP_MACRO> | <AP_MICRO> |

| <VIS_BANDS> |
|:--:|
| ![[x](http://example.org/)](example.png) |

| <p> <LABEL_1> <br> <LABEL_2> <br> ... <br> <LABEL_19> </p> |
|--:|
| <p> <SCORE_1> <br> <SCORE_2> <br> ... <br> <SCORE_19> </p> |

```python
model = from_pretrained("somebody/<MODEL_NAME_RAW>-<BAND_CONFIG>")
```

These are my words.
"""


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """A run and its report."""
    folder = tmp_path_factory.mktemp("templates")
    data = open_dataset(made_up.write_store(folder / "store", num_train=3, num_test=2))
    config = TrainConfig(
        backbone="test_resnet", bands="s2", epochs=1, batch_size=3, accelerator="cpu"
    )
    run = train(config, data, folder / "run")
    return run, evaluate(run, data["test"], rounds=0)


@pytest.fixture
def write(measured, tmp_path):
    """Write a card from a template, or from what it holds."""

    def write(template=FORM, out="card", **settings):
        if "\n" in str(template):
            (tmp_path / "mine.md").write_text(template)
            template = tmp_path / "mine.md"
        return write_card(*measured, tmp_path / out, template=template, figures=False, **settings)

    return write


def told(folder):
    return [str(problem) for problem in check_card(folder)]


def edit(folder, old, new):
    page = folder / "README.md"
    text, count = re.subn(old, new, page.read_text(), count=1)
    assert count
    page.write_text(text)


def test_a_form_with_placeholders_is_filled_and_its_head_completed(write, measured):
    folder = write(hub_id="my-org/mine")
    text, report = (folder / "README.md").read_text(), measured[1]
    head = ModelCard(text).data.to_dict()
    assert (head["library_name"], head["license"]) == ("configilm", "apache-2.0")
    assert head["tags"] == ["test_resnet", "Ramps"]
    assert head["pipeline_tag"] == "image-classification"
    found = {
        (result.metric_type, result.metric_args["average"]): result.metric_value
        for result in ModelCard(text).data.eval_results
    }
    assert found["average_precision", "macro"] == round(report.macro.average_precision, 4)
    assert f"| Average Precision | {report.macro.average_precision:.4f} |" in text
    (labels,) = re.findall(r"\| <p> (.*[a-z]) </p> \|", text)
    assert set(labels.split(" <br> ")) == set(LABELS)
    assert head["widget"][0]["output"][0]["label"] == labels.split(" <br> ")[0]
    (scores,) = re.findall(r"\| <p> (0.*\d) </p> \|", text)
    assert sorted(scores.split(" <br> "), reverse=True) == scores.split(" <br> ")
    assert len(scores.split(" <br> ")) == 19
    assert not re.search(r"<[A-Z][A-Z_0-9]+>", text)


def test_sentences_of_a_form_that_the_run_contradicts_are_warnings(write, caplog):
    folder = write(hub_id="my-org/mine")
    assert told(folder) == [
        "README.md: it says 512 patches in a batch; the run had 3 (warning)",
        "README.md: it loads somebody/test_resnet-s2, but this is the card of my-org/mine "
        "(warning)",
    ]
    assert "it says 512 patches in a batch; the run had 3" in caplog.text


def test_words_of_a_form_are_its_authors_and_figures_are_not(write):
    folder = write()
    edit(folder, "These are my words", "These are other words")
    assert any("words were changed" in problem for problem in told(folder))
    assert all(problem.severity == "warning" for problem in check_card(folder))
    edit(folder, r"\| Average Precision \| 0\.\d{4}", "| Average Precision | 0.95")
    errors = [str(problem) for problem in check_card(folder) if problem.severity == "error"]
    assert len(errors) == 1
    assert "0.95" in errors[0]


def test_parts_of_a_form_may_go(write):
    folder = write()
    edit(folder, r"(?s)\| Metric.*?\n\n", "")
    assert all(problem.severity == "warning" for problem in check_card(folder))


def test_a_figure_of_the_head_of_a_form_is_not_its_authors(write):
    folder = write()
    edit(folder, r"(?s)(output:\s+- label: [^\n]+\s+score: )0\.\d+", r"\g<1>0.999")
    assert any("0.999" in str(problem) for problem in check_card(folder))
    edit(folder, "https://example.org/logo.png", "https://example.org/other.png")
    assert len([problem for problem in check_card(folder) if problem.severity == "error"]) == 1


def test_the_template_of_the_first_published_cards_is_filled(write):
    file = Path(os.environ.get("REBEN_TEST_DATA", "no")) / "cases" / "original-card-template.md"
    if not file.is_file():
        pytest.skip("REBEN_TEST_DATA names no folder of cases")
    folder = write(file)
    text = (folder / "README.md").read_text()
    assert not re.search(r"<[A-Z][A-Z_0-9]+>", text)
    assert all(label in text for label in LABELS)
    assert "pretrained on Ramps using Sentinel-2 bands" in text
    assert all(problem.severity == "warning" for problem in check_card(folder))


def test_the_original_form_in_our_words_is_true_and_checked_word_by_word(write):
    folder = write("original")
    assert told(folder) == []
    text = (folder / "README.md").read_text()
    places = [text.index(part) for part in (
        "- Seed: 42", "| Metric | Macro | Micro |", "## Example", "| Label | Score |",
        "from_pretrained(", "## Citation",
    )]  # fmt: skip
    assert places == sorted(places)
    assert "- Batch size: 3" in text
    edit(folder, "- Batch size: 3", "- Batch size: 512")
    assert "section training: it says" in told(folder)[0]


def test_the_front_matter_can_be_extended(write, tmp_path):
    (tmp_path / "more.toml").write_text(
        "language = ['en']\nlicense_link = 'https://example.org/'\n"
    )
    more = {**read_metadata(tmp_path / "more.toml"), "license_name": "mine"}
    folder = write(None, licence="other", metadata=more, tags=["alps", "test_resnet"])
    head = ModelCard.load(folder / "README.md").data.to_dict()
    assert (head["license"], head["license_name"]) == ("other", "mine")
    assert head["language"] == ["en"]
    assert head["tags"].count("test_resnet") == 1
    assert head["tags"][-1] == "alps"
    assert told(folder) == []


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"metadata": {"model-index": []}}, "made from the report"),
        ({"metadata": {"tags": "a"}}, "Tags are a list of words"),
        ({"tags": [" "]}, "Tags are a list of words"),
        ({"metadata": {"license_link": "javascript:alert(1)"}}, "license_link is"),
        ({"metadata": {"license": "gpl-3.0"}}, "license: gpl-3.0, but the licence is to be apache"),
        ({"licence": "mit"}, "license: apache-2.0, but the licence is to be mit"),
        ({"hub_id": "my-org/mine@v1"}, "not the id of a repository"),
        ({"hub_id": "müller/mine"}, "not the id of a repository"),
        ({"template": "# <AP_MAKRO>\n"}, "Did you mean <AP_MACRO>"),
        ({"template": "---\nlicense: mitt\n---\n<AP_MACRO>"}, "no licence 'mitt'"),
        ({"template": "---\nmodel-index: []\n---\n<AP_MACRO>"}, "made from the report"),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_written(write, tmp_path, settings, said):
    with pytest.raises(ConfigError, match=said):
        write(**settings)
    assert not (tmp_path / "card").exists()


@pytest.mark.parametrize("content", ["a: [", "- a", "a = 1", "a: 1\n" * 99_999])
def test_fields_that_cannot_be_read_are_refused_by_file(content, tmp_path):
    (tmp_path / "more.yaml").write_text(content)
    for place in (tmp_path / "more.yaml", tmp_path / "none.yaml"):
        with pytest.raises(ConfigError, match=f"cannot be read from {place}"):
            read_metadata(place)
