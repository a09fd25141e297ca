"""The list of an organisation's models: the real Hub client against a Hub on loopback."""

from importlib.metadata import version

import pytest
from huggingface_hub import EvalResult, ModelCardData

from reben.errors import ConfigError, HubConnectionError, HubNotFoundError
from reben.model.classifier import Classifier
from reben.publish.hub_models import list_models


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    monkeypatch.setattr("reben.model.hub.time.sleep", lambda seconds: None)


def card(*results):
    """A card with figures: (average, value, split)."""
    data = ModelCardData(
        license="mit",
        model_name="x",
        eval_results=[
            EvalResult(
                task_type="image-classification",
                dataset_type="bigearthnet-v2.0",
                dataset_name="BigEarthNet v2.0",
                dataset_split=split,
                metric_type=metric,
                metric_value=value,
                metric_args={"average": average},
            )
            for metric, average, value, split in results
        ],
    )
    return f"---\n{data.to_yaml()}\n---\n# x\n".encode()


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    folder = Classifier("test_resnet", "VH,B11").save_pretrained(tmp_path_factory.mktemp("model"))
    return (folder / "config.json").read_bytes()


@pytest.fixture
def org(hub, config, golden):
    published = (golden / "test_vit3-s2" / "config.json").read_bytes()
    ours = {"config.json": config, "model.safetensors": b"not to be fetched"}
    hub.repository(
        "org/b-good",
        {
            **ours,
            "README.md": card(
                ("average_precision", "micro", 0.9, "test"),
                ("average_precision", "macro", 0.99, "validation"),
                ("average_precision", "macro", 0.7, "test"),
                ("f1", "macro", 0.6, "test"),
            ),
        },
    )
    hub.repository(
        "org/a-better",
        {
            **ours,
            "README.md": card(
                ("average_precision", "macro", 0.8, "test"),
            ),
        },
    )
    files = {"config.json": published, "README.md": b"# x"}
    hub.repository("BIFOLD-BigEarthNetv2-0/test_vit3-s2-v0.1.1", files)
    hub.repository("org/test_vit3-s2-v0.1.1", files)
    hub.repository("org/renamed", {"config.json": published})
    hub.repository("org/nothing-here", {"README.md": b"# x"})
    hub.repository("org/broken", {"config.json": b"{"})
    hub.repository("org/secret", ours, private=True)
    hub.repository("other/model", ours)
    return hub


def by_name(entries):
    return {entry.model.split("/")[1]: entry for entry in entries}


def test_the_best_comes_first_and_what_has_no_figure_last(org):
    assert [entry.model for entry in list_models("org")] == [
        "org/a-better",
        "org/b-good",
        "org/broken",
        "org/nothing-here",
        "org/renamed",
        "org/test_vit3-s2-v0.1.1",
    ]


def test_the_figure_is_the_macro_average_precision_of_the_test_split(org):
    entry = by_name(list_models("org"))["b-good"]
    assert entry.average_precision == 0.7
    assert entry.measured_on == "BigEarthNet v2.0, test"


def test_bands_and_architecture_are_those_of_the_config(org):
    entry = by_name(list_models("org"))["a-better"]
    assert (entry.architecture, entry.bands) == ("test_resnet", ("VH", "B11"))


def test_the_bands_of_an_older_model_follow_from_its_name_if_it_is_of_its_publisher(org):
    assert by_name(list_models("org"))["test_vit3-s2-v0.1.1"].bands is None
    found = by_name(list_models("BIFOLD-BigEarthNetv2-0"))
    assert found["test_vit3-s2-v0.1.1"].bands[3:6] == ("B08", "B05", "B06")
    assert found["test_vit3-s2-v0.1.1"].architecture == "test_vit3"


def test_what_is_not_known_is_said_so(org):
    found = by_name(list_models("org"))
    assert (found["renamed"].architecture, found["renamed"].bands) == ("test_vit3", None)
    assert "its config does not say the bands" in found["renamed"].remark
    assert "no config.json" in found["nothing-here"].remark
    assert "no average precision" in found["nothing-here"].remark
    assert "not JSON" in found["broken"].remark
    assert found["a-better"].remark == ""


def test_private_models_are_listed_for_those_who_may_see_them(org):
    assert "secret" not in by_name(list_models("org"))
    entry = by_name(list_models("org", token=org.token("me", "read", orgs=("org",))))["secret"]
    assert entry.private
    assert entry.bands == ("VH", "B11")


def test_no_weights_are_fetched_and_a_second_list_fetches_no_config(org):
    list_models("org")
    assert not [request for request in org.requests if "safetensors" in request]
    org.requests.clear()
    list_models("org")
    resolved = {request.split("/resolve/")[0] for request in org.requests if "resolve" in request}
    # What a repository has not is asked for again.
    assert resolved <= {f"HEAD /org/{name}" for name in ("nothing-here", "renamed", "broken")}


def test_listing_calls_us_by_name(org):
    list_models("org")
    assert org.agents == {f"reben/{version('reben')}"}


@pytest.mark.parametrize("what", [429, 503, "drop"])
def test_a_list_is_asked_for_four_times_at_most(org, what):
    org.fault("GET /api/models", what, times=99)
    with pytest.raises(HubConnectionError):
        list_models("org")
    assert sum("GET /api/models" in request for request in org.requests) == 4


@pytest.mark.parametrize("value", [71.2, "0.71", None])
def test_a_figure_that_is_none_is_not_taken_for_one(hub, config, value):
    text = card(("average_precision", "macro", value, "test"))
    hub.repository("org/x", {"config.json": config, "README.md": text})
    assert list_models("org")[0].average_precision is None


TABLE = b"""---
license: mit
---
| Metric            |    Macro |    Micro |
|:------------------|---------:|---------:|
| F1 Score          | 0.612345 | 0.712345 |
| Average Precision | 0.694587 | 0.834561 |

| Precision | Macro |
|---|---|
| Average Precision | 0.1 |
"""


def test_without_model_index_the_figure_is_that_of_the_table_and_is_said_to_be(hub, config):
    hub.repository("org/x", {"config.json": config, "README.md": TABLE})
    (entry,) = list_models("org")
    assert (entry.average_precision, entry.measured_on) == (0.694587, None)
    assert entry.remark == "average precision from the table of its card"


@pytest.mark.parametrize("figure", [b"69.4587", b"about 0.7", b"nan", b""])
def test_a_figure_of_a_table_that_is_none_is_not_taken_for_one(hub, config, figure):
    hub.repository(
        "org/x", {"config.json": config, "README.md": TABLE.replace(b"0.694587", figure)}
    )
    (entry,) = list_models("org")
    assert entry.average_precision is None
    assert "average precision" in entry.remark


def test_an_owner_without_models_is_said_so(org):
    with pytest.raises(HubNotFoundError, match=r"no model of nobody.*private"):
        list_models("nobody")


@pytest.mark.parametrize("owner", ["", "org/model"])
def test_something_that_is_no_owner_is_refused(org, owner):
    with pytest.raises(ConfigError, match="no organisation or user"):
        list_models(owner)


def test_a_hub_that_fails_is_said_to(org, monkeypatch):
    monkeypatch.setattr("reben.model.hub.WAITS", ())
    org.fault("GET", 503, times=99)
    with pytest.raises(HubConnectionError, match="Listing the models of org"):
        list_models("org")
