import dataclasses
import json
import os
import socket
import subprocess
import sys

import numpy as np
import pytest
import torch

from made_up import patch, patch_id, row, s1_name, write_metadata
from reben.data.loader import open_dataset
from reben.data.metadata import METADATA_FILE
from reben.data.store import StoreWriter
from reben.errors import (
    BandsMismatchError,
    ConfigError,
    EmptySplitError,
    MissingPatchError,
    ModelError,
    ModelFolderError,
    UnknownLabelError,
)
from reben.learn.config import TrainConfig
from reben.learn.evaluate import evaluate, measure, predict_dataset
from reben.learn.metrics.classification import compute_metrics
from reben.learn.predict import join_slurm, joined_processes
from reben.learn.predictions import Predictions
from reben.learn.run import Run
from reben.model import inference
from reben.model.classifier import Classifier
from reben.model.network import evaluation_mode
from reben.spec.labels import LABELS


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(3)
    return Classifier("test_resnet", "B08,VV,B11").eval()


@pytest.fixture
def run(model, tmp_path):
    folder = tmp_path / "my-run"
    model.save_pretrained(folder / "best")
    (folder / "config.toml").write_text(TrainConfig().to_toml())
    (folder / "summary.json").write_text(json.dumps({"status": "finished"}))
    return Run.open(folder)


def test_the_figures_are_those_of_predicting_patch_by_patch(model, dataset):
    split = dataset["train"]
    patches = [split.patch(position) for position in range(len(split))]
    scores = np.stack([model.predict(bands).values for bands in patches])
    expected = compute_metrics(scores, split.table.multi_hot(), LABELS)

    found = evaluate(model, split)

    assert found.macro.average_precision == pytest.approx(expected.macro.average_precision)
    assert found.micro.auroc == pytest.approx(expected.micro.auroc)
    assert found.per_class["Urban fabric"] == expected.per_class["Urban fabric"]


def test_the_report_says_what_was_measured_on_what(model, dataset):
    split = dataset["validation"]

    report = evaluate(model, split)

    assert (report.backbone, report.bands) == ("test_resnet", ("B08", "VV", "B11"))
    assert (report.name, report.labels) == ("test_resnet-B08,VV,B11", LABELS)
    assert (report.split, report.num_patches) == ("validation", 5)
    assert report.fingerprint == split.table.fingerprint()
    assert report.filters == {"snow": "false", "cloud": "false"}
    assert report.threshold == 0.5
    assert "Marine waters" in report.absent


def test_several_splits_are_all_named(model, dataset):
    assert evaluate(model, dataset).split == "train, validation, test"


@pytest.mark.parametrize("batch_size", [1, 3, 100])
def test_the_batch_size_does_not_matter(model, dataset, batch_size):
    expected = evaluate(model, dataset).macro

    found = evaluate(model, dataset, batch_size=batch_size).macro

    assert found.average_precision == pytest.approx(expected.average_precision)
    assert found.auroc == pytest.approx(expected.auroc)


def test_a_run_its_folder_and_its_model_give_the_same_figures(model, dataset, run):
    expected = evaluate(model, dataset).metrics

    for given in (run, run.path, str(run.best)):
        report = evaluate(given, dataset)
        assert report.metrics == expected
        assert report.name == "my-run"


def test_a_model_folder_gives_its_name(model, dataset, tmp_path):
    folder = model.save_pretrained(tmp_path / "some-model")

    assert evaluate(folder, dataset["test"]).name == "some-model"


def test_a_place_without_a_model_is_an_error(dataset, tmp_path):
    with pytest.raises(ModelFolderError, match="nothing-here"):
        evaluate(tmp_path / "nothing-here", dataset)


def test_progress_is_told_in_patches(model, dataset):
    told = []

    evaluate(model, dataset["train"], batch_size=3, progress=lambda *counts: told.append(counts))

    assert told == [(3, 7), (6, 7), (7, 7)]


def test_dropout_is_off_and_every_module_comes_back_into_its_mode(dataset):
    model = Classifier("test_resnet", "rgb", drop_rate=0.9).train()
    model.preprocess.eval()
    modes = [module.training for module in model.modules()]

    first, second = evaluate(model, dataset), evaluate(model, dataset)

    assert first.metrics == second.metrics
    assert [module.training for module in model.modules()] == modes


def test_every_module_comes_back_into_its_mode_after_an_error():
    model = torch.nn.Sequential(torch.nn.Dropout(), torch.nn.Dropout().eval())

    def fail():
        with evaluation_mode(model):
            raise KeyError(model[0].training)

    with pytest.raises(KeyError, match="False"):
        fail()
    assert [module.training for module in model.modules()] == [True, True, False]


def test_a_band_that_the_store_lacks_is_an_error(model, tmp_path):
    with StoreWriter(tmp_path) as writer:
        writer.put(patch_id(0), patch(0, ["B02", "B08"]))
    write_metadata(tmp_path / METADATA_FILE, [row(0)])
    data = open_dataset(tmp_path)

    with pytest.raises(MissingPatchError, match=r"lacks 1 of the 2 values .*1 Sentinel-1"):
        evaluate(model, data)
    with StoreWriter(tmp_path) as writer:
        writer.put(s1_name(0), patch(0, ["VV", "VH"]))
    with pytest.raises(BandsMismatchError, match="B11"):
        evaluate(model, data)


def test_a_label_that_the_model_does_not_know_is_an_error(dataset):
    model = Classifier("test_resnet", "rgb", labels=LABELS[:-1])

    with pytest.raises(UnknownLabelError, match="Urban fabric"):
        evaluate(model, dataset)


def test_labels_in_another_order_give_the_same_figures(dataset):
    torch.manual_seed(1)
    model = Classifier("test_resnet", "rgb").eval()
    turned = Classifier("test_resnet", "rgb", labels=LABELS[::-1]).eval()
    weights = model.state_dict()
    for name in ("model.vision_encoder.fc.weight", "model.vision_encoder.fc.bias"):
        weights[name] = weights[name].flip(0)
    turned.load_state_dict(weights)

    expected, found = evaluate(model, dataset), evaluate(turned, dataset)

    assert found.macro.average_precision == pytest.approx(expected.macro.average_precision)
    assert found.per_class["Pastures"].support == expected.per_class["Pastures"].support


def test_no_patch_is_an_error(model, dataset):
    empty = dataset["test"]
    object.__setattr__(empty, "table", empty.table.take([]))

    with pytest.raises(EmptySplitError, match="no patch"):
        evaluate(model, empty)


def test_weights_that_are_nan_are_an_error(dataset):
    model = Classifier("test_resnet", "rgb")
    torch.nn.init.constant_(model.model.vision_encoder.fc.bias, float("nan"))

    with pytest.raises(ModelError, match="NaN or infinite values for 3 of 3 patches"):
        evaluate(model, dataset["test"])


# Predictions -------------------------------------------------------------------------------------


def test_the_report_can_be_computed_again_from_the_file(model, dataset, tmp_path):
    split = dataset["train"]
    path = predict_dataset(model, split).save(tmp_path / "predictions.parquet")

    again = measure(Predictions.load(path))

    assert dataclasses.replace(again, created="") == dataclasses.replace(
        evaluate(model, split), created=""
    )


def test_predictions_know_what_the_table_and_the_names_tell(model, dataset):
    found = predict_dataset(model, dataset["test"])

    assert found.patch_ids == tuple(dataset["test"].table.patch_ids)
    assert set(found.tiles) == {"33UUP"}
    assert set(found.months) == {6}
    assert set(found.countries) == {"Austria", "Finland"}
    assert (found.labels == dataset["test"].table.multi_hot()).all()


class Watched(Classifier):
    """A class of one's own, which counts what goes through it."""

    def forward(self, x_BCHW):
        self.num_calls = getattr(self, "num_calls", 0) + 1
        return super().forward(x_BCHW)


@pytest.fixture
def optimised(monkeypatch):
    """The optimised copies that are made while a test runs."""
    made = []

    def watch(classifier, **how):
        made.append(real(classifier, **how))
        return made[-1]

    real = inference.optimise_for_inference
    monkeypatch.setattr("reben.learn.predict.optimise_for_inference", watch)
    return made


def test_an_optimised_copy_does_the_work_and_the_logits_stay(dataset, optimised):
    torch.manual_seed(4)
    model = Classifier("test_resnet", "B08,VV,B11").train()
    before = {name: value.clone() for name, value in model.state_dict().items()}

    found = predict_dataset(model, dataset, batch_size=4)
    plain = predict_dataset(model, dataset, batch_size=4, optimise=False)

    assert [copy.max_difference > 0 for copy in optimised] == [True]
    assert "batch norms folded" in optimised[0].optimisations[0]
    logits = [np.log(p.scores / (1 - p.scores.astype(np.float64))) for p in (found, plain)]
    assert not np.array_equal(*logits)
    assert np.abs(logits[0] - logits[1]).max() < 1e-4
    assert found.subject == plain.subject
    assert model.training
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_the_report_says_which_engine_computed_the_scores(dataset, tmp_path):
    model = Classifier("test_resnet", "B08,VV,B11")
    for engine, wanted in (("auto", "optimised"), ("eager", "eager")):
        found = predict_dataset(model, dataset, engine=engine)
        kept = type(found).load(found.save(tmp_path / f"{engine}.parquet"))
        report = measure(kept, rounds=0)
        assert (found.engine, report.engine) == (wanted, wanted)
        assert type(report).from_json(report.to_json()).engine == wanted
    assert predict_dataset(model, dataset, optimise=False).engine == "eager"


def test_runs_folders_and_ids_are_predicted_with_an_optimised_copy(
    run, dataset, optimised, monkeypatch
):
    monkeypatch.setattr(
        "reben.model.folder.fetch_model", lambda name, hub: {"some/model": run.best}[name]
    )
    expected = predict_dataset(run, dataset["test"])

    for given in (run.path, run.best, "some/model"):
        assert np.array_equal(predict_dataset(given, dataset["test"]).scores, expected.scores)
    assert len(optimised) == 4


def test_a_class_of_ones_own_is_used_as_it_is(dataset, optimised):
    model = Watched("test_resnet", "rgb")

    predict_dataset(model, dataset["test"], batch_size=2)

    assert model.num_calls == 2
    assert optimised == []


def test_a_model_that_is_optimised_already_is_used_as_it_is(model, dataset):
    expected = predict_dataset(model, dataset["test"])

    found = predict_dataset(inference.optimise_for_inference(model), dataset["test"])

    assert np.array_equal(found.scores, expected.scores)


def test_full_memory_says_which_batch_size_to_try(dataset):
    class Large(Classifier):
        def forward(self, x_BCHW):
            if len(x_BCHW) < 5:  # the last batch
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
            return super().forward(x_BCHW)

    with pytest.raises(ConfigError, match=r"size 6, after 12 of 15 patches.*batch_size to 3"):
        predict_dataset(Large("test_resnet", "rgb"), dataset, batch_size=6)


def test_the_name_of_a_model_can_be_given(model, dataset):
    assert predict_dataset(model, dataset["test"], name="mine").subject.name == "mine"


def test_one_tile_gives_no_interval_by_tile(model, dataset):
    report = evaluate(model, dataset["train"], rounds=10)

    assert "one tile" in report.intervals["tile"].reason
    assert report.intervals["patch"].macro


def test_no_rounds_give_no_intervals(model, dataset):
    assert evaluate(model, dataset["test"], rounds=0).intervals == {}


SHARED = """
import sys
import numpy as np, torch
from reben.data.loader import open_dataset
from reben.learn.evaluate import joined_processes, predict_dataset
torch.set_num_threads(1)
store, model, out = sys.argv[1:]
with joined_processes() as first:
    found = predict_dataset(model, open_dataset(store), batch_size=2)
    if first:
        found.save(out)
"""


TORCHRUN = ({"WORLD_SIZE": "2", "RANK": "0"}, {"WORLD_SIZE": "2", "RANK": "1"})
SRUN = tuple(
    {"SLURM_STEP_NUM_TASKS": "2", "SLURM_NTASKS": "2", "SLURM_PROCID": number, "SLURM_JOB_ID": "7"}
    for number in "01"
)


@pytest.mark.slow
@pytest.mark.parametrize("started", [TORCHRUN, SRUN], ids=["torchrun", "srun"])
def test_two_processes_predict_each_patch_once(started, model, dataset, tmp_path):
    """Fifteen patches, so that the parts are not of the same size."""
    folder = model.save_pretrained(tmp_path / "model")
    (tmp_path / "predict.py").write_text(SHARED)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    words = [tmp_path / "predict.py", dataset.store.path, folder, tmp_path / "p.parquet"]
    known = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    processes = [
        subprocess.Popen([sys.executable, *map(str, words)], env={**os.environ, **known, **own})
        for own in started
    ]

    assert [process.wait(timeout=120) for process in processes] == [0, 0]
    expected = predict_dataset(folder, dataset)
    found = Predictions.load(tmp_path / "p.parquet")
    assert found.patch_ids == expected.patch_ids
    assert found.scores == pytest.approx(expected.scores, abs=1e-6)
    assert (found.labels == expected.labels).all()


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"SLURM_NTASKS": "32", "SLURM_PROCID": "0"},  # a batch script that srun did not start
        {"SLURM_STEP_NUM_TASKS": "1", "SLURM_NTASKS": "32", "SLURM_PROCID": "0"},
        {"SLURM_NTASKS": "4", "SLURM_PROCID": "3", "WORLD_SIZE": "1"},  # torchrun in a task
    ],
)
def test_a_process_alone_is_not_joined_with_tasks_of_slurm(variables):
    assert not join_slurm(variables)


def test_a_task_of_slurm_that_cannot_reach_the_others_is_refused():
    with pytest.raises(ConfigError, match=r"task 3 of 32 of SLURM.*srun --ntasks=1"):
        join_slurm({"SLURM_NTASKS": "32", "SLURM_PROCID": "3"})
    with pytest.raises(ConfigError, match=r"SLURM_PROCID=a are not numbers"):
        join_slurm({"SLURM_PROCID": "a"})


@pytest.mark.parametrize(
    "variables",
    [
        {"WORLD_SIZE": "2"},
        {"WORLD_SIZE": "x"},
        {"WORLD_SIZE": "2", "RANK": "a"},
        {"WORLD_SIZE": "2", "RANK": "0"},
        {"WORLD_SIZE": "2", "RANK": "5", "MASTER_ADDR": "localhost", "MASTER_PORT": "0"},
    ],
)
def test_variables_of_torchrun_that_join_nothing_are_refused(variables, monkeypatch):
    for name in ("WORLD_SIZE", "RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    with pytest.raises(ConfigError, match=r"torchrun.*unset WORLD_SIZE"), joined_processes():
        pass
