"""Weights that are no weights, and names that lead to no model: refused, and nothing else read."""

import json
import struct

import pytest
import torch
from safetensors.torch import load_file, save_file

from reben.errors import (
    ConfigError,
    ModelError,
    ModelFolderError,
    RebenError,
    UnsafeWeightsError,
    WeightsMismatchError,
)
from reben.model.classifier import Classifier
from reben.model.open import name_of, open_model

FIRST = "model.vision_encoder.conv1.0.weight"


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    torch.manual_seed(3)
    return Classifier("test_resnet", "rgb").save_pretrained(tmp_path_factory.mktemp("m") / "toy")


@pytest.fixture
def folder(saved, tmp_path):
    """A model folder of which a test may change a file."""
    found = tmp_path / "toy"
    found.mkdir()
    for file in saved.iterdir():
        (found / file.name).write_bytes(file.read_bytes())
    return found


def change_weights(folder, change):
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors")


def change_config(folder, **values):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def header(content, body=b""):
    text = content if isinstance(content, bytes) else json.dumps(content).encode()
    return struct.pack("<Q", len(text)) + text + body


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_weights_that_are_no_numbers_are_named(folder, value):
    change_weights(folder, lambda tensors: tensors[FIRST].view(-1)[5:6].fill_(value))
    with pytest.raises(ModelError, match=f"NaN or infinite values: {FIRST}.*Fetch it again"):
        open_model(folder)


def test_weights_that_float32_cannot_hold_are_named(folder):
    def enlarge(tensors):
        tensors[FIRST] = tensors[FIRST].double() + 1e200

    change_weights(folder, enlarge)
    with pytest.raises(ModelError, match=f"infinite values: {FIRST}"):
        open_model(folder)


def test_large_weights_whose_sum_overflows_are_loaded(folder):
    change_weights(folder, lambda tensors: tensors[FIRST].fill_(3e38))
    assert float(open_model(folder).state_dict()[FIRST].max()) == pytest.approx(3e38)


@pytest.mark.parametrize("dtype", [torch.int64, torch.bool, torch.uint8, torch.complex64])
def test_weights_of_a_type_that_they_cannot_have_are_named(folder, dtype):
    change_weights(folder, lambda tensors: tensors.update({FIRST: tensors[FIRST].to(dtype)}))
    with pytest.raises(WeightsMismatchError, match=rf"{FIRST} is \w+; weights are F64, F32"):
        open_model(folder)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_floats_become_float32(folder, dtype):
    change_weights(folder, lambda tensors: tensors.update({FIRST: tensors[FIRST].to(dtype)}))
    assert open_model(folder).state_dict()[FIRST].dtype == torch.float32


def test_a_counter_with_fractions_is_refused(folder):
    name = next(n for n in load_file(folder / "model.safetensors") if n.endswith("batches_tracked"))
    change_weights(folder, lambda tensors: tensors.update({name: torch.tensor(1.5)}))
    with pytest.raises(WeightsMismatchError, match=f"{name} is F32"):
        open_model(folder)


@pytest.mark.parametrize(
    "claim",
    [
        {"timm_model_name": "vit_giant_patch14_224"},
        {"timm_model_name": "resnet152"},
        {"label_names": [f"label {i}" for i in range(10_000)], "classes": 10_000},
    ],
)
def test_a_config_that_claims_a_giant_is_compared_with_the_header_first(folder, claim, monkeypatch):
    """No tensor of the network is made: an initialisation off the meta device would be one."""
    count = len(claim.get("label_names", ())) or 19
    change_config(folder, **claim, class_names=[], thresholds=[0.5] * count)
    made = []
    normal = torch.Tensor.normal_

    def watched(tensor, *words, **named):
        if not tensor.is_meta:
            made.append(tensor.shape)
        return normal(tensor, *words, **named)

    monkeypatch.setattr(torch.Tensor, "normal_", watched)
    with pytest.raises(WeightsMismatchError, match="do not fit the model that its config"):
        open_model(folder)
    assert made == []


def test_too_many_labels_are_refused(folder):
    many = [str(i) for i in range(20_000)]
    change_config(folder, label_names=many, classes=len(many), thresholds=[0.5] * len(many))
    with pytest.raises(RebenError, match="1 to 10,000 of them, not 20,000"):
        open_model(folder)


LIES = {
    "the case": header(
        b'{"B01": {"dtype": "U16", "shape": [20, -Infinity], "data_offsets": [0, 8]}}'
    ),
    "a header of 2^62 bytes": struct.pack("<Q", 1 << 62) + b"{}",
    "a header of 17 MiB": struct.pack("<Q", 17 << 20) + b"{" + bytes(100),
    "a tensor of 2^64 bytes": header(
        {FIRST: {"dtype": "F32", "shape": [1 << 62], "data_offsets": [0, 1 << 62]}}
    ),
    "two at one place": header(
        {n: {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]} for n in "ab"}, bytes(4)
    ),
    "no JSON": header(b"<html></html>"),
    "nothing": b"",
    "half a number": b"\x10\0\0",
}


@pytest.mark.parametrize("lie", LIES)
def test_a_header_that_lies_is_damage_to_the_file(folder, lie):
    (folder / "model.safetensors").write_bytes(LIES[lie])
    with pytest.raises(ModelFolderError, match=r"model\.safetensors is damaged: .*Fetch it again"):
        open_model(folder)


@pytest.mark.parametrize("share", [0.01, 0.5, 0.999])
def test_half_a_download_is_damage_to_the_file(folder, share):
    path = folder / "model.safetensors"
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(ModelFolderError, match=r"model\.safetensors is damaged"):
        open_model(folder)


def test_a_pointer_of_git_lfs_says_how_to_get_the_file(folder):
    (folder / "model.safetensors").write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(ModelFolderError, match="git lfs pull"):
        open_model(folder)


def test_weights_that_could_not_be_loaded_are_not_saved(tmp_path):
    model = Classifier("test_resnet", "rgb")
    torch.nn.init.constant_(model.model.vision_encoder.fc.bias, float("nan"))
    with pytest.raises(ModelError, match=r"Nothing was written to .*fc\.bias"):
        model.save_pretrained(tmp_path / "bad")
    with pytest.raises(ModelError, match=r"Nothing was written to .* device meta"):
        Classifier("test_resnet", "rgb").to("meta").save_pretrained(tmp_path / "bad")
    assert list(tmp_path.iterdir()) == []


def test_an_onnx_file_of_another_model_beside_saved_weights_is_said(folder, caplog):
    model = Classifier.from_pretrained(folder)
    export = folder / "model.onnx"
    export.write_bytes(b"\x08\x0a fingerprint \x12\x40" + model.fingerprint().encode() + b"\0")
    model.save_pretrained(folder)
    assert caplog.text == ""
    torch.nn.init.ones_(model.model.vision_encoder.fc.bias)
    model.save_pretrained(folder)
    assert f"{export} was made of other weights or settings" in caplog.text
    assert f"reben export {folder} {export}" in caplog.text
    caplog.clear()
    export.write_bytes(b"")
    Classifier.from_pretrained(folder).save_pretrained(folder)
    assert "was made of other weights" in caplog.text


def test_a_model_of_other_weights_than_numbers_gives_no_scores():
    model = Classifier("test_resnet", "rgb")
    images = torch.zeros(2, 3, 120, 120)
    with pytest.raises(ConfigError, match=r"turned into torch.float16.*Open it again"):
        Classifier("test_resnet", "rgb").half().score_images(images)
    for shape in ((3, 120, 120), (1, 2, 120, 120)):
        with pytest.raises(RebenError, match=r"are not \[patches, 3, rows, columns\]"):
            model.score_images(torch.zeros(shape))
    torch.nn.init.constant_(model.model.vision_encoder.fc.bias, float("nan"))
    with pytest.raises(ModelError, match="NaN or infinite values for 2 of 2 patches"):
        model.score_images(images)


# Names that lead to no model ---------------------------------------------------------------------


def test_files_lead_to_the_folder_that_is_meant(folder, tmp_path):
    for name in ("config.json", "model.safetensors"):
        with pytest.raises(ModelFolderError, match=f"{name} is a file. Name .*: {folder}"):
            open_model(folder / name)
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(ModelFolderError, match=r"notes.txt is a file, not a model. Name a folder"):
        open_model(tmp_path / "notes.txt")


@pytest.mark.parametrize("name", ["x.ckpt", "x.pth", "pytorch_model.bin"])
def test_a_pickle_is_named_as_one(tmp_path, name):
    (tmp_path / name).write_bytes(b"PK")
    with pytest.raises(UnsafeWeightsError, match=f"{name} holds only pickled weights"):
        open_model(tmp_path / name)


def test_a_checkpoint_of_a_run_leads_to_the_run(tmp_path):
    run = tmp_path / "run"
    (run / "checkpoints").mkdir(parents=True)
    (run / "summary.json").write_text("{}")
    (run / "checkpoints" / "last.ckpt").write_bytes(b"PK")
    with pytest.raises(ModelFolderError, match=f"Name the run folder: {run}"):
        open_model(run / "checkpoints" / "last.ckpt")


def test_a_folder_of_models_names_them(folder):
    with pytest.raises(ModelFolderError, match=rf"holds no config\.json.*Did you mean {folder}\?"):
        open_model(folder.parent)


def test_a_config_of_another_project_is_said(folder):
    (folder / "config.json").write_text('{"model_type": "bert", "hidden_size": 768}')
    with pytest.raises(ConfigError, match=r"no timm_model_name.*it is one of bert"):
        open_model(folder)


def test_an_unknown_tag_lists_the_known(folder):
    change_config(folder, timm_model_name="test_resnet.r99")
    with pytest.raises(RebenError, match=r"weights 'r99' of test_resnet.*test_resnet\.r160_in1k"):
        open_model(folder)


NAMES = ("", "   ", "a\0b", "x" * 5000, "a/b\n", "\udcff/x", "https://example.org/a/b", "/dev/null")


@pytest.mark.parametrize("name", NAMES)
def test_an_odd_name_is_refused_and_still_has_a_name(name):
    with pytest.raises(ModelFolderError) as refused:
        open_model(name)
    assert len(str(refused.value)) < 500
    assert isinstance(name_of(name), str)


def test_a_folder_with_an_odd_name_is_opened(folder):
    odd = folder.rename(folder.parent / "toy {x} % $ \u00e9 <b>")
    assert open_model(odd).bands.word == "rgb"
    assert name_of(odd) == odd.name
