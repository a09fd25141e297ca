"""Every public function and verb that takes a model takes each form of it."""

import json
import shutil

import pyarrow.parquet as pq
import pytest
import rasterio
import torch

import made_up
import reben
from hub_server import pointed_at, serve
from hub_state import FakeHub
from made_up_scene import scene_of, write_scene
from reben.app import cli
from reben.learn.config import TrainConfig
from reben.learn.training.start import first_classifier
from reben.model.inference import optimise_for_inference
from reben.model.open import name_of, open_model, pick_device
from reben.predict.scene_settings import SceneOptions
from reben.spec.bands import RGB

HUB_ID = "someone/toy"


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    folder = tmp_path_factory.mktemp("everywhere") / "store"
    made_up.write_store(folder, num_train=2, num_validation=2, num_test=2)
    return folder


@pytest.fixture(scope="module")
def run(store, tmp_path_factory):
    settings = TrainConfig(
        backbone="test_resnet", bands="rgb", epochs=1, batch_size=2, accelerator="cpu"
    )
    data = reben.open_dataset(store)
    return reben.train(settings, data, tmp_path_factory.mktemp("everywhere") / "toy-run")


@pytest.fixture(scope="module")
def forms(run, tmp_path_factory):
    """The same model in every form, by name."""
    folder = tmp_path_factory.mktemp("everywhere") / "toy"
    shutil.copytree(run.best, folder)
    files = {name: (folder / name).read_bytes() for name in ("config.json", "model.safetensors")}
    with serve(FakeHub()) as hub, pointed_at(hub, tmp_path_factory.mktemp("hf-home")):
        hub.repository(HUB_ID, files)
        commit = hub.repositories[HUB_ID].refs["refs/heads/main"]
        yield {
            "classifier": reben.Classifier.from_pretrained(folder),
            "run": run,
            "run folder": run.path,
            "best of a run": str(run.best),
            "model folder": folder,
            "id on the Hub": HUB_ID,
            "id at a revision": f"{HUB_ID}@{commit}",
        }


FORMS = (
    "classifier",
    "run",
    "run folder",
    "best of a run",
    "model folder",
    "id on the Hub",
    "id at a revision",
)
NAMES = {
    "classifier": "test_resnet-rgb",
    "run": "toy-run",
    "run folder": "toy-run",
    "best of a run": "toy-run",
    "model folder": "toy",
    "id on the Hub": HUB_ID,
}


@pytest.fixture(scope="module")
def product(tmp_path_factory):
    folder = tmp_path_factory.mktemp("everywhere") / "product"
    write_scene(scene_of(120, 120, RGB), folder)
    return folder


@pytest.fixture
def given(forms, store, product, tmp_path):
    """What the functions need beside a model."""
    return reben.open_dataset(store), product, tmp_path


def call_predict_patches(model, data, product, out):
    return reben.predict_patches(model, data["test"], out / "scores.csv").num_patches == 2


def call_embed_patches(model, data, product, out):
    return reben.embed_patches(model, data["test"], out / "found.parquet").num_patches == 2


def call_predict_scene(model, data, product, out):
    return reben.predict_scene(model, product, out / "scores.tif", boa_offset=0).num_windows == 1


def call_predict_scenes(model, data, product, out):
    done = reben.predict_scenes(model, [product], out, options=SceneOptions(boa_offset=0))
    return done[0].status == "done"


def call_write_card(model, data, product, out):
    report = reben.evaluate(model, data["test"], rounds=0)
    folder = reben.write_card(
        model, report, out / "card", dataset=data, licence="mit", figures=False
    )
    return (folder / "model.safetensors").is_file()


def call_export_onnx(model, data, product, out):
    # The opset is looked at when the model is open; a whole export takes seconds.
    with pytest.raises(reben.RebenError, match="opset must be"):
        reben.export_onnx(model, out / "model.onnx", opset=1)
    return True


CALLS = {
    "open_model": lambda model, data, product, out: open_model(model).bands == RGB,
    "evaluate": lambda model, data, product, out: (
        reben.evaluate(model, data["test"], rounds=0).num_patches == 2
    ),
    "calibrate": lambda model, data, product, out: (
        reben.calibrate(model, data["validation"]).num_patches == 2
    ),
    "predict_dataset": lambda model, data, product, out: (
        len(reben.predict_dataset(model, data["test"])) == 2
    ),
    "predict_patches": call_predict_patches,
    "embed_patches": call_embed_patches,
    "predict_scene": call_predict_scene,
    "predict_scenes": call_predict_scenes,
    "export_onnx": call_export_onnx,
    "write_card": call_write_card,
    "optimise_for_inference": lambda model, data, product, out: (
        optimise_for_inference(model).bands == RGB
    ),
    "benchmark": lambda model, data, product, out: (
        reben.benchmark(model, batch_sizes=(1,), rounds=1).bands == RGB.names
    ),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("function", CALLS)
def test_a_public_function_takes_a_model_in_every_form(function, form, forms, given):
    assert CALLS[function](forms[form], *given)


@pytest.mark.parametrize("form", FORMS[1:])
def test_a_training_starts_from_a_model_in_every_form_that_a_record_can_name(form, forms):
    config = TrainConfig(backbone="test_resnet", bands="rgb", init=forms[form])
    assert isinstance(config.init, str)
    started = first_classifier(config).classifier.state_dict()
    for name, weight in forms["classifier"].state_dict().items():
        assert torch.equal(started[name], weight)


def test_a_training_that_starts_from_a_classifier_says_to_save_it(forms):
    with pytest.raises(reben.RebenError, match="save a classifier first"):
        TrainConfig(backbone="test_resnet", bands="rgb", init=forms["classifier"])


@pytest.mark.parametrize(("form", "name"), NAMES.items())
def test_a_model_has_one_name(form, name, forms):
    assert name_of(forms[form]) == name


@pytest.mark.parametrize("form", ["classifier", "best of a run"])
def test_a_model_has_the_same_name_in_whatever_is_written(form, forms, given):
    data, product, out = given
    model, name = forms[form], NAMES[form]
    reben.predict_patches(model, data["test"], out / "scores.parquet")
    reben.predict_scene(model, product, out / "scores.tif", boa_offset=0)
    with rasterio.open(out / "scores.tif") as file:
        assert file.tags()["model"] == name
    told = pq.read_schema(out / "scores.parquet").metadata
    assert json.loads(told[b"reben"])["model"] == name
    assert reben.predict_dataset(model, data["test"]).subject.name == name


def test_scenes_shared_by_processes_take_a_classifier_and_leave_no_trace(forms, given):
    _, product, out = given
    options = SceneOptions(boa_offset=0)
    done = reben.predict_scenes(
        forms["classifier"], [product], out / "maps", options=options, num_workers=2
    )
    assert [outcome.status for outcome in done] == ["done"]
    assert [path.name for path in (out / "maps").iterdir()] == ["product.tif"]


# Devices -----------------------------------------------------------------------------------------


def test_a_classifier_that_is_open_stays_where_it_is(forms):
    model = forms["classifier"]
    assert open_model(model) is model
    assert open_model(model, "cpu").device.type == "cpu"


def test_auto_is_the_cpu_where_there_is_no_accelerator(monkeypatch):
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda **_: None)
    assert pick_device() == pick_device("cpu", rank=3) == torch.device("cpu")


@pytest.mark.parametrize("device", ["abacus", "meta", "cuda:99"])
def test_a_device_that_this_machine_lacks_is_named(device):
    with pytest.raises(reben.RebenError, match=f"The device {device} cannot be used"):
        pick_device(device)


@pytest.mark.gpu
def test_processes_of_one_machine_take_an_accelerator_each(monkeypatch):
    count = torch.accelerator.device_count()
    assert [pick_device(rank=rank).index for rank in range(count)] == list(range(count))
    monkeypatch.setenv("LOCAL_RANK", str(count))
    assert pick_device().index == 0


# What contradicts itself -------------------------------------------------------------------------


def test_a_revision_belongs_to_an_id_on_the_hub(forms):
    with pytest.raises(reben.RebenError, match="no revision v1"):
        open_model(forms["classifier"], revision="v1")
    with pytest.raises(reben.RebenError, match="names another revision than v1"):
        open_model(forms["id at a revision"], revision="v1")


def test_bands_that_are_not_those_of_the_model_are_refused(forms):
    with pytest.raises(reben.RebenError, match="test_resnet-rgb was trained with B04,B03,B02"):
        open_model(forms["classifier"], bands="s2")
    assert open_model(forms["classifier"], bands="rgb") is forms["classifier"]


def test_what_is_no_model_is_said_by_its_type():
    with pytest.raises(reben.RebenError, match="int does not name a model"):
        open_model(3)


# Verbs -------------------------------------------------------------------------------------------

VERBS = {
    "evaluate": "evaluate {model} --data {store} --rounds 0 --no-figures --out {out}/r",
    "calibrate": "calibrate {model} --data {store} --out {out}/tuned",
    "predict": "predict {model} {store} --split test --out {out}/scores.csv",
    "embed": "embed {model} {store} --split test --out {out}/found.parquet",
    "predict-scene": "predict-scene {model} {product} --out {out}/s.tif --boa-offset 0",
    "benchmark": "benchmark {model} --batch-sizes 1 --rounds 1",
}


@pytest.mark.parametrize("form", ["run folder", "id at a revision"])
@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_takes_a_model_in_every_form_and_a_device(verb, form, forms, given, store):
    _, product, out = given
    words = VERBS[verb].format(model=forms[form], store=store, product=product, out=out)
    assert cli.run([*words.split(), "--device", "auto"]) == 0
