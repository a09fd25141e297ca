"""Templates with placeholders in angle brackets."""

import re
import time

import pytest
from markdown_it import MarkdownIt

from reben.errors import ConfigError
from reben.publish.cards.placeholders import NAMES, fill_head, fill_text
from reben.publish.cards.user_template import CardTemplate


def values(labels=("Urban fabric", "Arable land", "Pastures"), run=True, **changes):
    """As much of the values of a card as placeholders need, each of them another one."""
    means = {"average_precision": 0.71, "f1": 0.61, "precision": 0.51}
    bands = ("B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B11", "B12")
    return {
        "backbone": "mobilevit_s",
        "dataset": "BigEarthNet v2.0",
        "official": True,
        "channels": [{"band": band} for band in bands],
        "caption": "true colour",
        "report": {"macro": means, "micro": {name: x + 0.2 for name, x in means.items()}},
        "example": {
            "bars": [
                {"label": label, "score": 0.9 - place / 100} for place, label in enumerate(labels)
            ]
        },
        "recipe": [{"name": "Dropout", "value": "0.25"}, {"name": "Drop path", "value": "0.35"}],
        "run": {"warmup_steps": 1000, "best_epoch": 23} if run else None,
        "config": {"learning_rate": 0.002, "seed": 42} if run else None,
        **changes,
    }


def filled(text, **changes):
    return fill_text(text, values(**changes), "t.md")


def test_each_placeholder_has_its_own_value():
    text = filled("\n".join(f"{name}: <{name}>" for name in (*NAMES, "LABEL_2", "SCORE_2")))
    assert dict(line.split(": ", 1) for line in text.split("\n")) == {
        "MODEL_NAME": "Mobilevit_s",
        "MODEL_NAME_RAW": "mobilevit_s",
        "DATASET_NAME": "BigEarthNet v2.0",
        "DATASET_NAME_FULL": "BigEarthNet v2.0 (reBEN)",
        "DATASET_NAME_FULL_2": "BigEarthNet v2.0 (also known as reBEN)",
        "BANDS_USED": "Sentinel-2",
        "BAND_CONFIG": "s2",
        "LEARNING_RATE": "0.002",
        "DROPOUT_RATE": "0.25",
        "DROP_PATH_RATE": "0.35",
        "WARMUP_STEPS": "1000",
        "SEED": "42",
        "EPOCHS": "23",
        "AP_MACRO": "0.7100",
        "AP_MICRO": "0.9100",
        "F1_MACRO": "0.6100",
        "F1_MICRO": "0.8100",
        "PRECISION_MACRO": "0.5100",
        "PRECISION_MICRO": "0.7100",
        "VIS_BANDS": "true colour",
        "LABEL_2": "Arable land",
        "SCORE_2": "0.8900",
    }


@pytest.mark.parametrize(
    ("bands", "used", "config"),
    [
        ("VV VH", "Sentinel-1", "s1"),
        ("VV VH B02 B03 B04 B05 B06 B07 B08 B8A B11 B12", r"Sentinel-1 \& Sentinel-2", "all"),
        ("B08 VV B02", "B08, VV, B02", "B08-VV-B02"),
        ("B04 B03 B02", "B04, B03, B02", "rgb"),
    ],
)
def test_bands_are_named_by_their_set(bands, used, config):
    channels = [{"band": band} for band in bands.split()]
    text = filled("<BANDS_USED>|<BAND_CONFIG>", channels=channels)
    assert text == f"{used}|{config}"


def test_what_is_not_recorded_of_a_training_is_said_to_be_unknown():
    text = filled("<LEARNING_RATE> <WARMUP_STEPS> <SEED> <EPOCHS>", run=False)
    assert text == "unknown unknown unknown unknown"
    assert filled("<DATASET_NAME_FULL_2>", official=False, dataset="Mine") == "Mine"


@pytest.mark.parametrize("count", [1, 2, 3, 4, 19, 25])
@pytest.mark.parametrize("between", [" <br> ", ", ", "\n- "])
def test_an_ellipsis_up_to_the_nineteenth_means_all_labels(count, between):
    labels = [f"Label {chr(65 + place)}" for place in range(count)]
    form = between.join(["<LABEL_1>", "<LABEL_2>", "<LABEL_3>", "...", "<LABEL_19>"])
    assert filled(f"({form})", labels=labels) == f"({between.join(labels)})"
    form = form.replace("LABEL", "SCORE").replace("...", "…")
    scores = [f"{0.9 - place / 100:.4f}" for place in range(count)]
    assert filled(form, labels=labels) == between.join(scores)


def test_an_ellipsis_up_to_another_number_ends_there():
    labels = [f"Label {place}" for place in "ABCDEFG"]
    assert filled("<LABEL_2>, ..., <LABEL_4>.", labels=labels) == "Label B, Label C, Label D."


def test_a_label_that_the_model_has_not_is_an_error_in_the_text_and_left_out_of_a_list():
    with pytest.raises(ConfigError, match=r"t\.md asks for <LABEL_4>; the model has 3 labels"):
        filled("<LABEL_1> <LABEL_4>")
    head = {"output": [{"label": f"<LABEL_{n}>", "score": f"<SCORE_{n}>"} for n in (3, 4, 5)]}
    assert fill_head(head, values(), "t.md") == {"output": [{"label": "Pastures", "score": 0.88}]}


@pytest.mark.parametrize("text", ["<AP_MAKRO> of <AP_MACRO>", "```\n<YOUR_NAME>\n```"])
def test_an_unknown_placeholder_is_an_error_that_lists_the_known(text):
    with pytest.raises(ConfigError, match=r"which reben does not know.*<MODEL_NAME>.*<VIS_BANDS>"):
        filled(text)
    with pytest.raises(ConfigError, match="which reben does not know"):
        fill_head({"tags": [text]}, values(), "t.md")


def test_a_similar_name_is_proposed():
    with pytest.raises(ConfigError, match="Did you mean <AP_MACRO>"):
        filled("<AP_MAKRO>")


def test_html_in_capitals_and_escaped_brackets_are_no_placeholders():
    text = r"<BR> <TABLE> \<AP_MACRO> <AP_MACRO>"
    assert filled(text) == r"<BR> <TABLE> \<AP_MACRO> 0.7100"


def test_jinja_beside_placeholders_is_refused():
    with pytest.raises(ConfigError, match=r"both placeholders .* and Jinja \(\{\{ backbone"):
        filled("<AP_MACRO> {{ backbone }}")
    assert filled("<AP_MACRO> {{BigEarthNet}}") == "0.7100 {{BigEarthNet}}"  # of BibTeX


HOSTILE = '"><script>x</script> [a](https://evil.com) `b` -->\n\n# c | *d* www.evil.com'


@pytest.mark.parametrize(
    "frame",
    [
        "a <LABEL_1> b", "| h |\n|---|\n| <p> <LABEL_1> <br> x </p> |", "# <LABEL_1>",
        "<div>\n<LABEL_1>\n</div>", '<img alt="<LABEL_1>" src="x.png">', "<!-- <LABEL_1> -->",
        "<!--\n<LABEL_1>\n-->", "`<LABEL_1>`", "```python\nx = \"<LABEL_1>\"\n```",
        '<img\nalt="x" title="<LABEL_1>">',
    ],
)  # fmt: skip
def test_a_value_is_escaped_as_its_place_demands(frame):
    def shape(text):
        tokens = MarkdownIt("commonmark").enable("table").parse(text)
        flat = [each for token in tokens for each in (token, *(token.children or ()))]
        html = [re.sub(r"&#\d+;|\s|\w", "", each.content) for each in flat if "html" in each.type]
        plain = ("text", "softbreak", "html_inline")
        kinds = [each.type for each in flat if each.type not in plain]
        return kinds, [each for each in html if each != "<!---->"]

    text = filled(frame, labels=[HOSTILE])
    assert shape(text) == shape(frame.replace("<LABEL_1>", "word"))
    if "python" in frame:
        assert '\\"><script>' in text


def test_fields_of_the_head_are_typed_and_their_texts_filled():
    head = {
        "a": "<AP_MACRO>",
        "b": "seed <SEED>",
        "c": ["<SEED>", 1, None],
        "d": {"e": "<LABEL_1>"},
    }
    assert fill_head(head, values(labels=[HOSTILE]), "t") == {
        "a": 0.71, "b": "seed 42", "c": [42, 1, None], "d": {"e": HOSTILE},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("<AP_MACRO>", "placeholders"),
        ("<AP_MAKRO>", "placeholders"),
        ("<AP_MAKRO> {{ name }}", "jinja"),
        ("{{ name }} <BR>", "jinja"),
        ("plain", "jinja"),
        ("---\ntags: [<MODEL_NAME_RAW>]\n---\nplain", "placeholders"),
    ],
)
def test_the_kind_of_a_template_is_told_by_its_content(text, kind, tmp_path):
    (tmp_path / "t").write_text(text)
    assert CardTemplate.read(tmp_path / "t").kind == kind


@pytest.mark.parametrize("content", [b"\xff", b"---\na: [\n---\n<AP_MACRO>", b"a" * 600_000])
def test_a_template_that_cannot_be_read_is_refused_by_name(content, tmp_path):
    (tmp_path / "t").write_bytes(content)
    for place in (tmp_path / "t", tmp_path / "none", tmp_path):
        with pytest.raises(ConfigError, match=f"card template {place} cannot be used"):
            CardTemplate.read(place)


@pytest.mark.parametrize("text", ["<LABEL_1> ... <LABEL_19> " * 2000, "`<AP_MACRO>" * 8000])
def test_a_long_line_of_placeholders_takes_seconds_at_most(text):
    begun = time.process_time()
    assert "<" not in filled(text)
    assert time.process_time() - begun < 10
