"""The published import path, used as public scripts use it, against a Hub on loopback."""

from types import SimpleNamespace

import pytest
import torch

import reben
from reben.errors import CardError, ConfigError, HubConflictError
from reben_publication.BigEarthNetv2_0_ImageClassifier import BigEarthNetv2_0_ImageClassifier

# The Hub client uses an argument of httpx that is to go.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")

NAME = "BIFOLD-BigEarthNetv2-0/test_vit3-s2-v0.2.0"


@pytest.fixture
def published(hub, golden):
    folder = golden / "test_vit3-s2"
    files = ("config.json", "model.safetensors")
    hub.repository(NAME, {name: (folder / name).read_bytes() for name in files})
    return hub


def test_a_model_is_opened_with_the_arguments_of_the_hub_client(published, tmp_path):
    model = BigEarthNetv2_0_ImageClassifier.from_pretrained(
        NAME,
        map_location="cpu",
        revision="main",
        token=False,
        cache_dir=tmp_path / "cache",
        local_files_only=False,
        force_download=True,
        strict=False,
    )
    assert isinstance(model, reben.Classifier)
    assert model.config.timm_model_name == "test_vit3"
    assert (tmp_path / "cache").is_dir()
    x = torch.zeros(1, model.config.channels, model.config.image_size, model.config.image_size)
    assert model(x).shape == (1, model.config.classes)


def test_force_download_fetches_again_what_the_cache_holds(published):
    BigEarthNetv2_0_ImageClassifier.from_pretrained(NAME)
    published.requests.clear()
    BigEarthNetv2_0_ImageClassifier.from_pretrained(NAME)
    assert not [request for request in published.requests if request.startswith("GET")]
    BigEarthNetv2_0_ImageClassifier.from_pretrained(NAME, force_download=True)
    assert [request for request in published.requests if request.startswith("GET")]


def test_a_config_of_another_model_is_refused_when_saving(published, tmp_path):
    model = BigEarthNetv2_0_ImageClassifier.from_pretrained(NAME)
    own = {"timm_model_name": "test_vit3", "channels": 10, "classes": 19, "image_size": 120}
    for config in (own, SimpleNamespace(**own), model.config):
        assert (model.save_pretrained(tmp_path / "own", config=config) / "config.json").is_file()
    with pytest.raises(ConfigError, match="channels 12, and the model has 10"):
        model.save_pretrained(tmp_path / "own", config={**own, "channels": 12})


def test_a_model_is_pushed_with_its_card_under_the_message(published, tmp_path, monkeypatch):
    monkeypatch.setattr("reben.publish.check.check_card", lambda folder: ())
    monkeypatch.setenv("HF_TOKEN", published.token("me", orgs=("org",)))
    model = BigEarthNetv2_0_ImageClassifier.from_pretrained(NAME)
    with pytest.raises(CardError, match="reben push CARD org/mine"):
        model.push_to_hub("org/mine")
    folder = model.save_pretrained(tmp_path / "own")
    with pytest.raises(CardError, match=f"{folder} holds none"):
        model.push_to_hub("org/mine")
    (folder / "README.md").write_text("---\nlicense: mit\n---\n\n# A card\n")
    assert model.push_to_hub("org/mine", commit_message="Upload mine").endswith("org/mine")
    assert "model.safetensors" in published.files("org/mine")
    assert published.repositories["org/mine"].history[0] == "Upload mine"
    (folder / "README.md").write_text("---\nlicense: mit\n---\n\n# Another\n")
    with pytest.raises(HubConflictError):
        model.push_to_hub("org/mine")
    with torch.no_grad():
        next(model.parameters()).add_(1)
    with pytest.raises(CardError, match="is not what the model has now"):
        model.push_to_hub("org/mine")
