"""Models from the Hub: the real client against a Hub on loopback."""

import logging
import pickle
import re
from importlib.metadata import version

import numpy as np
import pytest
import torch

from hub_server import offline
from reben import open_dataset
from reben.errors import (
    AmbiguousBandsError,
    HubAuthError,
    HubConnectionError,
    ModelFolderError,
    OutputError,
    UnsafeWeightsError,
)
from reben.model import hub as hub_module
from reben.model.classifier import Classifier
from reben.spec.bands import S2

NAME = "someone/tiny-v1"
TWO_FILES = {"config.json", "model.safetensors"}


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    waited = []
    monkeypatch.setattr(hub_module.time, "sleep", waited.append)
    return waited


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(5)
    return Classifier("test_resnet", "B08,VV,B02").eval()


@pytest.fixture(scope="module")
def files(model, tmp_path_factory):
    folder = model.save_pretrained(tmp_path_factory.mktemp("model"))
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def published(hub, files):
    hub.repository(NAME, {**files, "README.md": b"# x", "pytorch_model.bin": b"never fetched"})
    return hub


def same_weights(one, other):
    mine, theirs = one.state_dict(), other.state_dict()
    return mine.keys() == theirs.keys() and all(torch.equal(mine[n], theirs[n]) for n in mine)


def fetched(hub):
    """What was asked for, without HEAD and without the host of large files."""
    return [
        request.rsplit("/", 1)[-1] for request in hub.requests if request.startswith("GET /someone")
    ]


def test_a_model_comes_back_bit_for_bit_and_only_two_files_are_fetched(published, model):
    assert same_weights(Classifier.from_pretrained(NAME), model)
    assert fetched(published) == ["config.json"]  # the weights come from the storage:
    assert [r.split("/")[1] for r in published.requests if r.startswith("GET")] == [
        "someone",
        "storage",
    ]
    assert {r.rsplit("/", 1)[-1] for r in published.requests if "/resolve/" in r} == TWO_FILES


def test_a_second_load_fetches_no_file_again(published):
    Classifier.from_pretrained(NAME)
    published.requests.clear()
    Classifier.from_pretrained(NAME)
    assert [request.split()[0] for request in published.requests] == ["HEAD"]


def test_a_published_name_on_the_hub_tells_the_order_and_gives_the_golden_logits(
    hub, golden, real_store
):
    folder = golden / "test_vit3-s2"
    names = ("config.json", "model.safetensors")
    hub.repository(
        "BIFOLD-BigEarthNetv2-0/test_vit3-s2-v0.2.0",
        {name: (folder / name).read_bytes() for name in names},
    )
    model = Classifier.from_pretrained("BIFOLD-BigEarthNetv2-0/test_vit3-s2-v0.2.0")
    assert model.bands == S2
    expected = np.load(folder / "expected.npz")
    dataset = open_dataset(real_store, "s2", snow=None, cloud=None)
    rows = [dataset.table.position(str(name)) for name in expected["patch_ids"]]
    found = model.predict(dataset.read(rows)).logits
    np.testing.assert_allclose(found, expected["logits"], atol=1e-4)


def test_an_older_version_in_the_name_gives_the_older_order(hub, golden):
    folder = golden / "test_vit3-s2"
    hub.repository(
        "BIFOLD-BigEarthNetv2-0/test_vit3-s2-v0.1.1",
        {name: (folder / name).read_bytes() for name in TWO_FILES},
    )
    bands = Classifier.from_pretrained("BIFOLD-BigEarthNetv2-0/test_vit3-s2-v0.1.1").bands
    assert bands.names[3:6] == ("B08", "B05", "B06")


def test_a_published_config_under_a_name_that_does_not_tell_is_refused(hub, golden):
    folder = golden / "test_vit3-s2"
    hub.repository(NAME, {name: (folder / name).read_bytes() for name in TWO_FILES})
    with pytest.raises(AmbiguousBandsError, match=f"'{NAME}'"):
        Classifier.from_pretrained(NAME)


@pytest.mark.parametrize("kind", ["branch", "tag", "commit"])
def test_a_revision_is_the_model_of_that_time(published, model, files, kind):
    repository = published.repositories[NAME]
    old = repository.refs["refs/heads/main"]
    repository.refs["refs/heads/earlier"] = repository.refs["refs/tags/v1.0"] = old
    torch.manual_seed(6)
    published.write(NAME, {"model.safetensors": b"broken, and not to be opened"})
    revision = {"branch": "earlier", "tag": "v1.0", "commit": old}[kind]
    assert same_weights(Classifier.from_pretrained(NAME, revision=revision), model)
    with pytest.raises(ModelFolderError, match="damaged"):
        Classifier.from_pretrained(NAME)


def test_an_unknown_revision_is_named(published):
    with pytest.raises(ModelFolderError, match=r"404.*Invalid rev id.*revision"):
        Classifier.from_pretrained(NAME, revision="v9")


def test_weights_are_of_the_commit_of_the_config_though_somebody_pushes_meanwhile(published, model):
    published.before["HEAD .*/model.safetensors"] = lambda: published.write(
        NAME, {"model.safetensors": b"newer"}
    )
    assert same_weights(Classifier.from_pretrained(NAME), model)
    assert published.files(NAME)["model.safetensors"] == b"newer"


def test_offline_with_a_warm_cache_works_without_a_request(published, model, tmp_path):
    Classifier.from_pretrained(NAME, cache_dir=tmp_path)
    published.requests.clear()
    again = Classifier.from_pretrained(NAME, cache_dir=tmp_path, local_files_only=True)
    assert same_weights(again, model)
    assert published.requests == []


def test_the_offline_mode_of_the_client_works_with_a_warm_cache(published, model):
    Classifier.from_pretrained(NAME)
    with offline():
        assert same_weights(Classifier.from_pretrained(NAME), model)


def test_a_cold_cache_offline_is_an_error_that_says_so(published):
    with pytest.raises(ModelFolderError, match=r"cache does not hold .* whole.*offline"):
        Classifier.from_pretrained(NAME, local_files_only=True)
    with offline(), pytest.raises(ModelFolderError, match="network on"):
        Classifier.from_pretrained(NAME)
    assert published.requests == []


def test_a_cache_with_the_config_alone_is_not_a_model_offline(published):
    published.fault("HEAD .*/model.safetensors", 503, times=9)
    with pytest.raises(HubConnectionError):
        Classifier.from_pretrained(NAME)
    with pytest.raises(ModelFolderError, match="whole"):
        Classifier.from_pretrained(NAME, local_files_only=True)


def test_a_private_model_without_a_token_is_said_to_be_perhaps_private(hub, files):
    hub.repository(NAME, files, private=True)
    with pytest.raises(HubAuthError, match=r"no folder someone/tiny-v1.*401.*private.*auth login"):
        Classifier.from_pretrained(NAME)


def test_a_private_model_loads_with_its_owners_token_which_stays_with_the_hub(hub, files, model):
    hub.repository(NAME, files, private=True)
    token = hub.token("someone", "read")
    assert same_weights(Classifier.from_pretrained(NAME, token=token), model)
    assert any("/resolve/" in request for request in hub.authorised)
    assert not [request for request in hub.authorised if "/storage/" in request]


def test_a_token_from_the_environment_is_used(hub, files, monkeypatch):
    hub.repository(NAME, files, private=True)
    monkeypatch.setenv("HF_TOKEN", hub.token("someone", "read"))
    assert Classifier.from_pretrained(NAME).bands.names == ("B08", "VV", "B02")


def test_a_token_of_somebody_else_gets_not_found(hub, files):
    hub.repository(NAME, files, private=True)
    with pytest.raises(ModelFolderError, match="Repository not found"):
        Classifier.from_pretrained(NAME, token=hub.token("other"))


def test_a_token_that_is_not_valid_is_said_to_be_so_and_not_shown(published):
    with pytest.raises(HubAuthError, match="token is not valid") as caught:
        Classifier.from_pretrained(NAME, token="hf_wrongSecret")
    assert "hf_wrong" not in str(caught.value)


def test_a_token_with_a_line_end_is_refused_before_it_can_be_shown(published):
    with pytest.raises(HubAuthError, match="line ends") as caught:
        Classifier.from_pretrained(NAME, token="hf_mySecret\n")
    assert "mySecret" not in repr(caught.value)
    assert published.requests == []


def test_a_model_that_is_not_there_is_said_so(hub):
    with pytest.raises(ModelFolderError, match=r"no folder .*404.*Repository not found"):
        Classifier.from_pretrained(NAME, token=hub.token("someone"))


def test_only_pickled_weights_are_refused_unseen(hub, files):
    content = {"config.json": files["config.json"], "pytorch_model.bin": pickle.dumps({})}
    hub.repository(NAME, content)
    with pytest.raises(UnsafeWeightsError, match=r"pytorch_model\.bin.*can run any code"):
        Classifier.from_pretrained(NAME)
    assert fetched(hub) == ["config.json"]
    assert not [request for request in hub.requests if "storage" in request]


def test_only_pickled_weights_in_the_cache_are_refused_offline_with_the_reason(hub, files):
    from huggingface_hub import snapshot_download

    content = {"config.json": files["config.json"], "best.ckpt": pickle.dumps({})}
    hub.repository(NAME, content)
    snapshot_download(NAME)
    with pytest.raises(UnsafeWeightsError, match=r"best\.ckpt"):
        Classifier.from_pretrained(NAME, local_files_only=True)


def test_a_repository_without_config_or_weights_is_no_model(hub, files):
    hub.repository(NAME, {"README.md": b"# a card and no more"})
    with pytest.raises(ModelFolderError, match=r"holds no config\.json"):
        Classifier.from_pretrained(NAME)
    hub.write(NAME, {"config.json": files["config.json"]})
    with pytest.raises(ModelFolderError, match=r"holds no model\.safetensors"):
        Classifier.from_pretrained(NAME)


@pytest.mark.parametrize(
    ("request_", "what"),
    [
        ("HEAD .*/config.json", 503),
        ("HEAD .*/config.json", "drop"),
        ("GET .*/config.json", 500),
        ("GET .*/config.json", "drop"),
        ("GET .*/config.json", "half"),
        ("HEAD .*/model.safetensors", "drop"),
        ("GET /storage", 502),
        ("GET /storage", "half"),
    ],
)
def test_what_fails_once_is_asked_again(published, model, request_, what):
    published.fault(request_, what)
    assert same_weights(Classifier.from_pretrained(NAME), model)


@pytest.mark.parametrize("request_", ["HEAD .*/config.json", "GET .*/config.json", "GET /storage"])
@pytest.mark.parametrize(("what", "said"), [(503, "503.*has a problem"), ("drop", "connection")])
def test_what_keeps_failing_is_an_error_that_says_so(published, request_, what, said, no_waiting):
    published.fault(request_, what, times=99)
    with pytest.raises(HubConnectionError, match=rf"no folder someone/tiny-v1.*{said}.*try again"):
        Classifier.from_pretrained(NAME)
    assert sum(no_waiting) < 10


@pytest.mark.parametrize("what", [429, 503, "drop"])
@pytest.mark.parametrize("request_", ["HEAD .*/config.json", "GET .*/config.json", "GET /storage"])
def test_nothing_is_asked_more_than_four_times(published, request_, what):
    published.fault(request_, what, times=99)
    with pytest.raises(HubConnectionError):
        Classifier.from_pretrained(NAME)
    assert sum(re.search(request_, request) is not None for request in published.requests) <= 4


def test_the_client_asks_again_for_others_as_before(published):
    from huggingface_hub.utils import http_backoff

    Classifier.from_pretrained(NAME)
    assert http_backoff.__kwdefaults__["max_retries"] == 5


def test_too_many_requests_are_said_to_be_that(published):
    published.fault("HEAD", 429, times=99)
    with pytest.raises(HubConnectionError, match=r"429.*no more requests.*hf auth login"):
        Classifier.from_pretrained(NAME)


def test_all_requests_call_us_by_name(published):
    Classifier.from_pretrained(NAME)
    assert published.agents == {f"reben/{version('reben')}"}


@pytest.mark.parametrize("what", [503, "drop"])
def test_a_hub_that_fails_leaves_what_is_in_the_cache(published, model, what, caplog):
    Classifier.from_pretrained(NAME)
    published.fault("HEAD", what, times=99)
    assert same_weights(Classifier.from_pretrained(NAME), model)


def test_a_cache_that_stands_in_for_a_lost_connection_is_told_of(published, caplog):
    Classifier.from_pretrained(NAME)
    published.fault("HEAD", "drop", times=99)
    with caplog.at_level(logging.WARNING, "reben"):
        Classifier.from_pretrained(NAME)
    assert "from the cache" in caplog.text


def test_a_refusal_is_not_asked_again(hub, files):
    hub.repository(NAME, files)
    hub.fault("HEAD", 403, times=9)
    with pytest.raises(HubAuthError, match="403"):
        Classifier.from_pretrained(NAME)
    assert len(hub.requests) == 1


def test_a_full_disk_is_said_to_be_one(published, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("huggingface_hub.file_download.hf_hub_download", full)
    with pytest.raises(OutputError, match="No space left"):
        Classifier.from_pretrained(NAME)
