import json
import os
import shlex
from pathlib import Path

import pytest

from reben.errors import AmbiguousBandsError, BandsMismatchError, ConfigError, ModelFolderError
from reben.model.open import open_model
from reben.model.published import (
    config_of_published,
    is_published_config,
    published_id,
    published_name,
    read_config,
)
from reben.spec.bands import ALL, S1, S2, BandSet
from reben.spec.labels import LABELS

BIFOLD = "BIFOLD-BigEarthNetv2-0/"
CHANNELS = {"s1": 2, "s2": 10, "all": 12}


@pytest.fixture
def values(golden):
    return json.loads((golden / "test_resnet-all" / "config.json").read_text())


@pytest.fixture
def orders(golden):
    return json.loads((golden / "facts" / "band_orders.json").read_text())


def config(values, name, bands=None):
    word = name.split("-")[-2] if name.count("-") > 1 else "all"
    channels = CHANNELS.get(word, 12)
    return config_of_published({**values, "channels": channels}, name=BIFOLD + name, bands=bands)


@pytest.mark.parametrize("word", ["s1", "s2", "all"])
@pytest.mark.parametrize(
    ("version", "release"), [("v0.1.1", "0.6.9"), ("v0.2.0", "0.7.1"), ("v1.10.3", "0.7.1")]
)
def test_the_order_follows_from_the_version_in_the_name(values, orders, word, version, release):
    found = config(values, f"resnet50-{word}-{version}").bands
    assert list(found) == orders[release]["channel_configurations"][str(CHANNELS[word])]


@pytest.mark.parametrize(
    "name", ["vit_base-patch-s1-s2-v0.2.0", "a-all-s2-v0.2.0", "RESNET-S2-V0.2.0"]
)
def test_the_name_is_split_from_the_right(values, name):
    assert config_of_published({**values, "channels": 10}, name=BIFOLD + name).bands == S2


@pytest.mark.parametrize(
    "name",
    [
        "resnet50-all-v0.2.0",
        "someone/resnet50-all-v0.2.0",
        "someone/BIFOLD-BigEarthNetv2-0/resnet50-all-v0.2.0",
        BIFOLD + "resnet50",
        BIFOLD + "resnet50-all",
        BIFOLD + "resnet50-all-v0.1.0",
        BIFOLD + "resnet50-all-v0.2",
        BIFOLD + "x-rgb-v0.2.0",
    ],
)
def test_a_name_that_does_not_tell_is_refused_with_both_orders(values, name):
    with pytest.raises(AmbiguousBandsError, match=r"12 channels, v0\.1\.1 .*has B02.*pass bands="):
        config_of_published(values, name=name)


def test_bands_may_be_given_where_the_name_does_not_tell(values):
    found = config_of_published(values, name="mine", bands=BandSet((*S2, *S1)))
    assert found.bands.names == (*S2, *S1)


@pytest.mark.parametrize("owner", ["", "someone/", BIFOLD])
def test_bands_that_are_given_decide_whatever_the_name_says(values, owner):
    found = config_of_published(values, name=f"{owner}resnet50-all-v0.1.1", bands=ALL)
    assert found.bands == ALL


def test_as_many_bands_as_channels_are_needed(values):
    with pytest.raises(BandsMismatchError, match="takes 12 channels; 10 bands were named"):
        config_of_published(values, name="mine", bands=S2)
    with pytest.raises(BandsMismatchError, match="takes 10 channels; 12 bands"):
        config_of_published({**values, "channels": 10}, name=BIFOLD + "resnet50-all-v0.2.0")


def test_labels_and_statistics_are_the_published_ones(values):
    found = config(values, "resnet50-s1-v0.2.0")
    assert found.labels == LABELS
    assert found.statistics.mean["VV"] == pytest.approx(-12.643863677978516)
    assert found.upsampling == "nearest"
    assert found.drop_path_rate == 0.15


def test_other_numbers_of_labels_are_refused(values):
    with pytest.raises(ConfigError, match="43 outputs"):
        config_of_published({**values, "classes": 43}, name=BIFOLD + "resnet50-all-v0.2.0")


def test_a_missing_key_is_named(values):
    del values["drop_rate"]
    with pytest.raises(ConfigError, match="drop_rate: Field required"):
        config_of_published(values, name=BIFOLD + "resnet50-all-v0.2.0")


def test_the_hubs_cache_tells_the_name_of_the_repository(tmp_path):
    folder = tmp_path / "models--BIFOLD-BigEarthNetv2-0--resnet50-s2-v0.1.1" / "snapshots" / "3f2a"
    assert published_name(folder) == "resnet50-s2-v0.1.1"
    assert published_id(folder) == "BIFOLD-BigEarthNetv2-0/resnet50-s2-v0.1.1"
    assert published_name(tmp_path / "resnet50-s2-v0.2.0") == "resnet50-s2-v0.2.0"


@pytest.mark.parametrize(
    ("card", "found"),
    [
        ('from_pretrained("BIFOLD-BigEarthNetv2-0/resnet50-s2-v0.1.1")', BIFOLD),
        ('from_pretrained("BIFOLD-BigEarthNetv2-0/resnet50-all-v0.2.0")', ""),
        ('from_pretrained("someone/resnet50-s2-v0.2.0")', ""),
        (None, ""),
    ],
)
def test_a_card_tells_that_its_folder_came_from_the_publisher(card, found, tmp_path):
    """The cards of v0.2.0 show v0.1.1 in their example: the version is that of the folder."""
    folder = tmp_path / "resnet50-s2-v0.2.0"
    folder.mkdir()
    if card is not None:
        (folder / "README.md").write_text(card)
    assert published_id(folder) == f"{found}resnet50-s2-v0.2.0"


def test_a_relative_folder_has_a_name_too(tmp_path, monkeypatch):
    (tmp_path / "resnet50-s2-v0.2.0").mkdir()
    monkeypatch.chdir(tmp_path / "resnet50-s2-v0.2.0")
    assert published_name(Path()) == "resnet50-s2-v0.2.0"


def test_our_own_configs_are_told_apart(values):
    assert is_published_config(values)
    assert not is_published_config({**values, "bands": ["B02"]})


# What a file may hold ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", "Invalid JSON"),
        (b"[]", "be an object"),
        (b'{"x": ' + b"[" * 100_000, "Invalid JSON"),
        (b'{"x": "\xff\xfe"}', "Invalid JSON|unicode"),
    ],
)
def test_a_file_that_is_no_config_is_named_with_what_to_do(content, message, tmp_path):
    path = tmp_path / "config.json"
    path.write_bytes(content)
    with pytest.raises(ModelFolderError, match=f"{path}.*({message}).*Fetch the model again"):
        read_config(path, name="mine")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("channels", 1e400),
        ("channels", -1),
        ("channels", "12"),
        ("classes", None),
        ("timm_model_name", ["resnet50"]),
        ("image_size", 10**30),
        ("drop_rate", float("nan")),
        ("drop_path_rate", -0.5),
    ],
)
def test_a_published_value_that_cannot_be_is_named_with_its_file(key, value, values, tmp_path):
    path = tmp_path / "config.json"
    path.write_text(json.dumps({**values, key: value}))
    with pytest.raises(ConfigError, match=f"{path}: .*{key}: "):
        read_config(path, name=BIFOLD + "resnet50-all-v0.2.0")


def test_keys_that_nobody_knows_change_nothing(values, tmp_path):
    path = tmp_path / "config.json"
    path.write_text(json.dumps({**values, "new": {"deep": [1e400, 10**300, None]}}))
    assert read_config(path, name=BIFOLD + "resnet50-all-v0.2.0").bands == ALL


def test_the_overflowing_config_of_the_cases_is_an_error_that_names_the_field(tmp_path):
    folder = os.environ.get("REBEN_TEST_DATA")
    if folder is None:
        pytest.skip("REBEN_TEST_DATA names no folder of cases")
    case = Path(folder) / "cases" / "hostile" / "config-overflow.json"
    with pytest.raises(ConfigError, match=r"config-overflow\.json: .*band_std\.2: "):
        read_config(case, name="mine")


def test_the_command_that_imports_a_folder_names_its_place(values, tmp_path):
    folder = tmp_path / "a b" / "my model"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(values))
    with pytest.raises(AmbiguousBandsError) as caught:
        open_model(folder)
    words = shlex.split(str(caught.value).partition("with: ")[2])
    assert words == ["reben", "import", str(folder), "--bands", "BANDS", "--out", "FOLDER"]
