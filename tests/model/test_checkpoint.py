"""Checkpoints of the original training scripts: read without unpickling, imported to the last key.

They are written here with torch.save, in the form in which Lightning writes them.
"""

import argparse
import io
import pickle
import shlex
import zipfile
from collections import OrderedDict
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

import numpy as np
import pytest
import torch

import made_up
from reben.errors import (
    AmbiguousBandsError,
    BandsMismatchError,
    ConfigError,
    ModelFolderError,
    UnsafeWeightsError,
    WeightsMismatchError,
)
from reben.model.checkpoint import open_checkpoint
from reben.model.classifier import Classifier
from reben.model.open import import_model, open_model

FIRST = "model.vision_encoder.conv1.0.weight"
NAME = "test_resnet-42-10-val_mAP_macro-0.60.ckpt"


class Kind(Enum):
    IMAGE = 0


@dataclass
class Configuration:
    """Stands for that of ConfigILM, which is pickled as an object."""

    timm_model_name: str = "test_resnet"
    drop_rate: float = 0.25
    image_size: int = 120
    network_type: Kind = Kind.IMAGE


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(4)
    return Classifier("test_resnet", "s2").eval()


def write(path, model, weights=None, **more):
    optimiser = torch.optim.AdamW(model.parameters())
    content = {
        "epoch": 3,
        "pytorch-lightning_version": "2.4.0",
        "state_dict": OrderedDict(model.state_dict()) if weights is None else weights,
        "optimizer_states": [optimiser.state_dict()],
        "callbacks": {"EarlyStopping": {"best_score": torch.tensor(0.6), "wait_count": 0}},
        **more,
    }
    torch.save(content, path)
    return path


@pytest.fixture
def checkpoint(model, tmp_path):
    return write(tmp_path / NAME, model)


def test_the_imported_model_gives_the_scores_of_the_checkpoint(model, checkpoint, tmp_path):
    found = import_model(checkpoint, bands="s2", backbone="test_resnet")
    again = open_model(found.save_pretrained(tmp_path / "model"))
    assert again.bands == model.bands
    patch = made_up.patch(1, model.bands)
    np.testing.assert_array_equal(again.predict(patch).logits, model.predict(patch).logits)


def test_every_weight_is_what_torch_reads(model, tmp_path):
    """Views, other types, scalars and empty tensors, compared with torch's own reader."""
    whole = torch.arange(24, dtype=torch.float32).reshape(4, 6)
    weights = {
        "turned": whole.T,
        "cut": whole[1:3, ::2],
        "half": whole.half(),
        "brain": whole.bfloat16(),
        "count": torch.tensor(7),
        "none": torch.zeros(0, 3),
        "parameter": torch.nn.Parameter(whole + 1),
    }
    path = write(tmp_path / "a.ckpt", model, weights)
    expected = torch.load(path, weights_only=True)["state_dict"]
    with open_checkpoint(path) as found:
        assert found.keys() == list(expected)
        for name, tensor in expected.items():
            assert torch.equal(found.get_tensor(name), tensor), name
            assert found.get_slice(name).get_shape() == tuple(tensor.shape)


@pytest.mark.parametrize("hyper", [Configuration(), argparse.Namespace(**vars(Configuration()))])
def test_the_architecture_is_read_from_hyper_parameters_that_are_objects(hyper, model, tmp_path):
    path = write(tmp_path / "a.ckpt", model, hyper_parameters={"config": hyper, "lr": 0.1})
    found = import_model(path, bands="s2")
    assert (found.config.backbone, found.config.drop_rate) == ("test_resnet", 0.25)
    with pytest.raises(ConfigError, match="says its backbone is test_resnet, not resnet18"):
        import_model(path, bands="s2", backbone="resnet18")


def test_bands_and_architecture_are_asked_for(checkpoint):
    with pytest.raises(AmbiguousBandsError, match=r"its 10 channels.*v0\.1\.1.*--bands"):
        import_model(checkpoint, backbone="test_resnet")
    with pytest.raises(ConfigError, match="--backbone test_resnet"):
        import_model(checkpoint, bands="s2")


def test_other_bands_in_that_number_are_taken_in_their_order(model, checkpoint):
    turned = ",".join(reversed(model.bands.names))
    found = import_model(checkpoint, bands=turned, backbone="test_resnet")
    assert ",".join(found.bands) == turned


@pytest.mark.parametrize("change", ["missing", "extra", "channels"])
def test_weights_fit_to_the_last_key(change, model, tmp_path):
    weights = model.state_dict()
    if change == "missing":
        del weights[FIRST]
    elif change == "extra":
        weights["loss.pos_weight"] = torch.ones(19)
    path = write(tmp_path / "a.ckpt", model, weights)
    bands = "all" if change == "channels" else "s2"
    with pytest.raises(WeightsMismatchError, match=r"Nothing was loaded.*checkpoint, name the"):
        import_model(path, bands=bands, backbone="test_resnet")


def test_a_checkpoint_as_model_leads_to_the_command_that_imports_it(checkpoint, tmp_path):
    with pytest.raises(ModelFolderError) as caught:
        open_model(checkpoint)
    command = (
        f"reben import {checkpoint} --bands s2 --backbone test_resnet --out "
        f"{checkpoint.with_suffix('')}"
    )
    assert command in str(caught.value)


def test_a_model_folder_that_does_not_name_its_bands_is_imported_with_them(golden, tmp_path):
    found = import_model(golden / "test_vit3-s2", bands="s2").save_pretrained(tmp_path / "own")
    assert open_model(found).bands.word == "s2"
    with pytest.raises(BandsMismatchError):
        import_model(golden / "test_vit3-s2", bands="s1")
    with pytest.raises(ConfigError, match="Leave --backbone out"):
        import_model(golden / "test_vit3-s2", bands="s2", backbone="test_vit3")


# What a file may hold ----------------------------------------------------------------------------


class Evil:
    def __reduce__(self):
        return Path.touch, (Path("/tmp/reben-was-unpickled"),)


def test_nothing_that_a_checkpoint_names_is_called(model, tmp_path):
    mark = Path("/tmp/reben-was-unpickled")
    mark.unlink(missing_ok=True)
    path = write(tmp_path / "a.ckpt", model, hyper_parameters=Evil())
    import_model(path, bands="s2", backbone="test_resnet")
    assert not mark.exists()
    path = write(tmp_path / "b.ckpt", model, {**model.state_dict(), FIRST: Evil()})
    with pytest.raises(ModelFolderError, match="is no tensor"):
        import_model(path, bands="s2", backbone="test_resnet")
    assert not mark.exists()


def rewritten(path, out, change, compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(out, "w", compression) as new:
        for name in old.namelist():
            new.writestr(name, change(name, old.read(name)))
    return out


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\x80\x02N.", "holds no mapping"),
        (b"\x80\x02}q\x00X\x01\x00\x00\x00aK\x01s.", "is no tensor"),
        (b"\x80\x02}r\xff\xff\xff\xff.", "holds no state_dict"),
        (b"\x80\x02e.", "cannot be read"),
        (b"\x80\x02}]X\x01\x00\x00\x00as.", "cannot be read"),
        (b"\x80\x02(" + b"(" * 100_000, "cannot be read"),
        (b"\x80\x02cos\nsystem\n)R.", "holds no mapping"),
        (b"", "cannot be read"),
    ],
)
def test_a_description_that_is_made_up_is_an_error(content, message, checkpoint, tmp_path):
    def change(name, old):
        return content if name.endswith("data.pkl") else old

    path = rewritten(checkpoint, tmp_path / "b.ckpt", change)
    with pytest.raises(ModelFolderError, match=message):
        import_model(path, bands="s2", backbone="test_resnet")


def test_values_that_are_not_where_the_description_says_are_an_error(checkpoint, tmp_path):
    short = rewritten(
        checkpoint, tmp_path / "b.ckpt", lambda name, old: old[:-4] if "/data/" in name else old
    )
    packed = rewritten(checkpoint, tmp_path / "c.ckpt", lambda _, old: old, zipfile.ZIP_DEFLATED)
    for path, reason in ((short, "are not where it says"), (packed, "it is compressed")):
        with pytest.raises(ModelFolderError, match=reason):
            import_model(path, bands="s2", backbone="test_resnet")


def test_a_file_that_is_no_checkpoint_is_an_error(tmp_path):
    path = tmp_path / "a.ckpt"
    path.write_bytes(pickle.dumps({"state_dict": {}}))
    with pytest.raises(ModelFolderError, match="cannot be read as a checkpoint"):
        import_model(path, bands="s2", backbone="test_resnet")
    with pytest.raises(UnsafeWeightsError):
        open_model(path)
    plain = io.BytesIO()
    with zipfile.ZipFile(plain, "w") as archive:
        archive.writestr("a.txt", "a")
    path.write_bytes(plain.getvalue())
    with pytest.raises(ModelFolderError, match="zip of something else"):
        import_model(path, bands="s2", backbone="test_resnet")


class Settings(dict):
    """Stands for the mapping with attributes in which some versions of Lightning keep settings."""


def test_settings_in_a_mapping_of_another_kind_are_read(model, tmp_path):
    hyper = Settings(timm_model_name="test_resnet", drop_rate=0.25)
    path = write(tmp_path / "a.ckpt", model, hyper_parameters=hyper)
    assert import_model(path, bands="s2").config.drop_rate == 0.25


@pytest.mark.parametrize("place", ["", "model."])
def test_a_model_that_was_compiled_for_training_is_imported(place, model, tmp_path):
    weights = {
        f"{place}_orig_mod.{k.removeprefix(place)}": v for k, v in model.state_dict().items()
    }
    path = write(tmp_path / "a.ckpt", model, weights)
    found = import_model(path, bands="s2", backbone="test_resnet").state_dict()
    assert all(torch.equal(found[key], value) for key, value in model.state_dict().items())
    both = write(tmp_path / "b.ckpt", model, {**weights, **model.state_dict()})
    with pytest.raises(ModelFolderError, match="the same names with and without _orig_mod"):
        import_model(both, bands="s2", backbone="test_resnet")


def doubled(rest: bytes) -> bytes:
    """Tuples that hold the one before twice, 60 times over: 2 ** 60 values to who looks inside."""
    steps = (b"0h%ch%c\x86q%c" % (n, n, n + 1) for n in range(60))
    return b"})q\x00" + b"".join(steps) + rest


@pytest.mark.parametrize(
    "steps",
    [
        b"})" + b"\x85" * 500_000 + b"K\x01s",
        doubled(b"K\x01s"),
        doubled(b"X\x01\x00\x00\x00a\x93K\x01s"),
        doubled(b"0cos\nx\nh\x3cRK\x01s"),
        b"}X\x01\x00\x00\x00actorch._utils\n_rebuild_tensor_v2\n(K\x01K\x00))tRs",
    ],
    ids=["deep", "key", "name", "call", "no storage"],
)
def test_what_was_made_up_to_crash_or_stall_is_refused(steps, tmp_path):
    path = tmp_path / "a.ckpt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/data.pkl", b"\x80\x02" + steps + b".")
    with pytest.raises(ModelFolderError, match="cannot be read as a checkpoint"):
        import_model(path, bands="s2", backbone="test_resnet")


def test_values_under_a_password_are_refused(checkpoint):
    with zipfile.ZipFile(checkpoint) as archive:
        name = next(n for n in archive.namelist() if n.endswith("/data/0")).encode()
    content = bytearray(checkpoint.read_bytes())
    content[content.rindex(name) - 46 + 8] |= 1  # in the list of files at the end of the zip
    content[content.index(name) - 30 + 6] |= 1
    checkpoint.write_bytes(content)
    with pytest.raises(ModelFolderError, match="is encrypted"):
        import_model(checkpoint, bands="s2", backbone="test_resnet")


@pytest.mark.parametrize("channels", [10, 5])
def test_the_command_that_imports_is_one_that_a_shell_takes(channels, tmp_path):
    torch.manual_seed(4)
    model = Classifier(
        "test_resnet", ",".join(Classifier("test_resnet", "s2").bands.names[:channels])
    )
    path = write(tmp_path / "my run's last.ckpt", model)
    with pytest.raises(ModelFolderError) as caught:
        open_model(path)
    said = str(caught.value)
    words = shlex.split(said[said.index("reben import ") :].rpartition(" (")[0])
    bands = "s2" if channels == 10 else "BANDS"
    assert words == [
        "reben", "import", str(path), "--bands", bands, "--backbone", "BACKBONE", "--out",
        str(path.with_suffix("")),
    ]  # fmt: skip
    assert ("s2 is the latter" in said) == (channels == 10)
    assert "BANDS is" not in said
