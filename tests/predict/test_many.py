import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch

from made_up_scene import scene_of, write_scene
from reben.errors import ConfigError, SceneError
from reben.model.classifier import Classifier
from reben.predict.many import do_task, predict_scenes, read_list, share_tasks, tasks_of
from reben.predict.outputs.class_map import MapOptions
from reben.predict.resume import SceneProgress
from reben.predict.scene_settings import SceneOptions, SceneOutcome, SceneSettings, SceneTask
from reben.spec.bands import RGB

OPTIONS = SceneOptions(boa_offset=0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A model, and two products that can be opened beside one that cannot."""
    torch.manual_seed(4)
    folder = tmp_path_factory.mktemp("many")
    Classifier("test_resnet", "rgb", labels=("A", "B")).save_pretrained(folder / "model")
    for number in (1, 3):
        write_scene(scene_of(120, 240, RGB, seed=number), folder / "products" / f"scene{number}")
    (folder / "products" / "scene2").mkdir()
    return folder


def products(folder):
    return [folder / "products" / f"scene{number}" for number in (1, 2, 3)]


def check(folder, out_dir, outcomes):
    """The good scenes have the scores they should have, and the bad one is named."""
    assert [outcome.status for outcome in outcomes] == ["done", "failed", "done"]
    assert [Path(outcome.product).name for outcome in outcomes] == ["scene1", "scene2", "scene3"]
    assert outcomes[1].reason
    model = Classifier.from_pretrained(folder / "model")
    for number in (1, 3):
        arrays = scene_of(120, 240, RGB, seed=number).arrays
        cut = {
            name: np.stack([pixels[:, :120], pixels[:, 120:]]) for name, pixels in arrays.items()
        }
        with rasterio.open(out_dir / f"scene{number}.tif") as file:
            found = file.read()[:, 0]
        np.testing.assert_allclose(found.T, model.predict(cut).values, atol=1e-4)


# One after the other -----------------------------------------------------------------------------


def test_a_scene_that_fails_is_named_and_the_others_are_done(folder, tmp_path):
    seen = []

    outcomes = predict_scenes(
        folder / "model",
        products(folder),
        tmp_path,
        options=OPTIONS,
        progress=lambda done, total: seen.append((done, total)),
    )

    check(folder, tmp_path, outcomes)
    assert seen == [(0, 3), (1, 3), (2, 3), (3, 3)]


def test_finished_scenes_are_skipped(folder, tmp_path):
    first = predict_scenes(folder / "model", products(folder)[:1], tmp_path, options=OPTIONS)
    written = (tmp_path / "scene1.tif").stat().st_mtime_ns

    again = predict_scenes(folder / "model", products(folder), tmp_path, options=OPTIONS)

    assert first[0].status == "done"
    assert [outcome.status for outcome in again] == ["skipped", "failed", "done"]
    assert (tmp_path / "scene1.tif").stat().st_mtime_ns == written


def test_a_scene_that_is_finished_with_other_settings_is_not_taken_for_finished(folder, tmp_path):
    predict_scenes(folder / "model", products(folder)[:1], tmp_path, options=OPTIONS)
    options = SceneOptions(SceneSettings(stride=600), boa_offset=0)

    (outcome,) = predict_scenes(folder / "model", products(folder)[:1], tmp_path, options=options)

    assert outcome.status == "failed"
    assert "stride was 1200, is 600" in outcome.reason


def test_finished_scores_are_not_taken_for_classes(folder, tmp_path):
    predict_scenes(folder / "model", products(folder)[:1], tmp_path, options=OPTIONS)
    settings = SceneSettings(map=MapOptions("classes", 0.5, ("gap",)))
    options = SceneOptions(settings, boa_offset=0)

    (other,) = predict_scenes(folder / "model", products(folder)[:1], tmp_path, options=options)
    (outcome,) = predict_scenes(
        folder / "model", products(folder)[:1], tmp_path / "anew", options=options
    )
    (again,) = predict_scenes(
        folder / "model", products(folder)[:1], tmp_path / "anew", options=options
    )

    assert other.status == "failed"
    assert "what was scores, is classes" in other.reason
    assert "scene1_certainty.tif is missing" in other.reason
    assert (outcome.status, again.status) == ("done", "skipped")


def test_tables_and_pictures_are_called_like_the_product(folder, tmp_path):
    options = SceneOptions(boa_offset=0, table="windows.parquet", quicklook="map.png")

    predict_scenes(folder / "model", products(folder)[2:], tmp_path, options=options)

    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "scene3.tif",
        "scene3_map.png",
        "scene3_windows.parquet",
    ]


def test_an_ending_that_is_a_path_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="is a path"):
        SceneOptions(table=str(tmp_path / "windows.parquet"))


# The list ----------------------------------------------------------------------------------------


def test_a_list_names_one_product_on_a_line_and_its_partner_behind_a_tab(tmp_path):
    path = tmp_path / "list.txt"
    path.write_text("# mine\n/data/a b.SAFE\n\n/data/c.SAFE\t/data/radar\n")

    assert read_list(path) == ["/data/a b.SAFE", ("/data/c.SAFE", "/data/radar")]


@pytest.mark.parametrize("line", ["a\tb\tc", "a\t"])
def test_a_line_that_cannot_be_is_named(line, tmp_path):
    path = tmp_path / "list.txt"
    path.write_text(f"good\n{line}\n")
    with pytest.raises(ConfigError, match="Line 2"):
        read_list(path)


def test_a_line_may_give_the_offset_of_its_product(tmp_path):
    path = tmp_path / "list.txt"
    path.write_text("a\tboa_offset=-1000\nb\tradar\tboa_offset=0\nc\n")

    listed = read_list(path)

    assert listed == [("a", None, -1000.0), ("b", "radar", 0.0), "c"]
    tasks = tasks_of("model", listed, tmp_path, SceneOptions(boa_offset=-500))
    assert [task.offset for task in tasks] == [-1000, 0, -500]


@pytest.mark.parametrize("offset", ["", "1000", "nan", "-0.1", "x"])
def test_an_offset_of_a_line_that_cannot_be_is_named(offset, tmp_path):
    path = tmp_path / "list.txt"
    path.write_text(f"a\tboa_offset={offset}\n")
    with pytest.raises(ConfigError, match=r"Line 1 .*no offset"):
        read_list(path)


def test_an_offset_of_a_line_reaches_its_scene_alone(folder, tmp_path):
    first, _, third = products(folder)
    listed = [(first, None, 0), (third, None, -1)]

    predict_scenes(folder / "model", listed, tmp_path)

    tags = []
    for name in ("scene1", "scene3"):
        with rasterio.open(tmp_path / f"{name}.tif") as file:
            tags.append(file.tags()["boa_offset"])
    assert tags == ["0", "-1"]
    (again, _) = predict_scenes(folder / "model", [(first, None, -1), listed[1]], tmp_path)
    assert again.status == "failed"
    assert "boa_offset was 0, is -1" in again.reason


def test_two_products_of_one_name_are_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"/a/x\.SAFE and /b/x\.zip would both"):
        tasks_of("model", ["/a/x.SAFE", "/b/x.zip"], tmp_path, OPTIONS)


def test_a_list_of_nothing_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="no scene"):
        predict_scenes("model", [], tmp_path)


# Processes ---------------------------------------------------------------------------------------


def sleep_or_die(task):
    """What a task does in the test below: the pid comes back as the reason."""
    if task.product == "deadly":
        os.kill(os.getpid(), signal.SIGKILL)
    return SceneOutcome(task.product, task.out, "done", str(os.getpid()))


def task(product):
    return SceneTask("model", product, None, Path(f"{product}.tif"), OPTIONS)


@pytest.mark.slow
def test_a_process_that_dies_fails_its_scene_alone_and_another_takes_its_place():
    tasks = [task(name) for name in ("a", "b", "deadly", "c")]
    outcomes = {o.product: o for o in share_tasks(sleep_or_die, tasks, 1)}

    assert list(outcomes) == ["a", "b", "deadly", "c"]
    assert "its process died (exit code -9)" in outcomes.pop("deadly").reason
    assert {outcome.status for outcome in outcomes.values()} == {"done"}
    assert outcomes["a"].reason == outcomes["b"].reason != outcomes["c"].reason


@pytest.mark.slow
def test_two_processes_share_the_scenes(folder, tmp_path):
    outcomes = predict_scenes(
        folder / "model", products(folder), tmp_path, options=OPTIONS, num_workers=2
    )

    check(folder, tmp_path, outcomes)


def test_any_executor_does_the_scenes_and_stays_open(folder, tmp_path):
    with ThreadPoolExecutor(2) as executor:
        outcomes = predict_scenes(
            folder / "model", products(folder), tmp_path, options=OPTIONS, executor=executor
        )
        assert executor.submit(len, "open").result() == 4

    check(folder, tmp_path, outcomes)


# A cluster ---------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # what Dask and Tornado warn of is not ours
def test_a_cluster_of_two_workers_does_the_scenes(folder, tmp_path):
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(
        n_workers=2,
        threads_per_worker=1,
        host="127.0.0.1",
        dashboard_address=None,
        local_directory=str(tmp_path / "dask"),
    ) as cluster:
        address = cluster.scheduler_address
        out_dir = tmp_path / "out"
        outcomes = predict_scenes(
            folder / "model", products(folder), out_dir, options=OPTIONS, dask=address
        )
        again = predict_scenes(
            folder / "model", products(folder), out_dir, options=OPTIONS, dask=address
        )

    check(folder, out_dir, outcomes)
    assert [outcome.status for outcome in again] == ["skipped", "failed", "skipped"]


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_a_cluster_that_is_not_there_is_said(folder, tmp_path, monkeypatch):
    pytest.importorskip("distributed")
    monkeypatch.setattr("reben.predict.sharing._CONNECT_SECONDS", 1)
    with pytest.raises(SceneError, match=r"no Dask scheduler at tcp://127\.0\.0\.1:9"):
        predict_scenes(folder / "model", ["x"], tmp_path, dask="tcp://127.0.0.1:9")


# Killed ------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_scene_that_was_killed_goes_on_and_ends_as_if_it_had_not_been(folder, tmp_path):
    product = write_scene(scene_of(2_400, 2_400, RGB, seed=9), tmp_path / "product")
    out = tmp_path / "out.tif"
    words = ["predict-scene", str(folder / "model"), str(product), "--out", str(out)]
    words += ["--boa-offset", "0", "--batch-size", "1"]
    command = [sys.executable, "-m", "reben", *words]
    parts = SceneProgress(out)
    with subprocess.Popen(command, stderr=subprocess.PIPE) as process:
        while not len(parts.finished(20)) and process.poll() is None:
            time.sleep(0.01)
        process.kill()
        process.communicate()
    assert process.returncode == -signal.SIGKILL
    kept = len(parts.finished(20))
    assert 1 <= kept < 20
    assert not out.exists()

    told = subprocess.run([*command, "--json"], capture_output=True, check=True, text=True)

    assert f'"num_resumed": {20 * kept}' in told.stdout
    whole = do_task(
        SceneTask(str(folder / "model"), str(product), None, tmp_path / "whole.tif", OPTIONS)
    )
    assert whole.status == "done"
    with rasterio.open(out) as file, rasterio.open(whole.out) as wanted:
        np.testing.assert_allclose(file.read(), wanted.read(), atol=1e-4)
