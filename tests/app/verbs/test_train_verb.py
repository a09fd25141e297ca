import json
import shutil
import subprocess
import sys

import pyarrow.parquet as pq
import pytest

import made_up
from reben.app.cli import run
from reben.data.opening import open_dataset
from reben.learn.config import TrainConfig
from reben.learn.run import Run
from reben.learn.train import train
from reben.learn.training.record import RunRecorder
from reben.spec.labels import LABELS

TINY = ("--backbone", "test_resnet", "--bands", "rgb", "--accelerator", "cpu", "--epochs", "1")


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return str(made_up.write_store(tmp_path_factory.mktemp("train") / "store"))


@pytest.fixture(scope="module")
def trained(store, tmp_path_factory):
    out = str(tmp_path_factory.mktemp("train") / "run")
    assert run(["train", "--data", store, "--out", out, *TINY]) == 0
    return out


def test_flags_win_over_set_and_that_over_the_file_and_that_over_defaults(store, tmp_path):
    (tmp_path / "own.toml").write_text('seed = 1\npatience = 1\ndrop_rate = 0.5\nbands = "s2"\n')
    words = ["train", "--data", store, "--out", str(tmp_path / "run"), *TINY, "--seed", "3"]

    assert (
        run([*words, "--config", str(tmp_path / "own.toml"), "--set", "seed=2", "patience=2"]) == 0
    )

    config = Run.open(tmp_path / "run").config
    assert (config.seed, config.patience, config.drop_rate, config.bands) == (3, 2, 0.5, "rgb")
    assert config.weight_decay == TrainConfig().weight_decay


def test_the_settings_in_a_run_folder_make_the_same_run_again(store, trained, tmp_path):
    words = ["train", "--data", store, "--out", str(tmp_path / "again")]

    assert run([*words, "--config", f"{trained}/config.toml"]) == 0

    weights = [
        (Run.open(folder).best / "model.safetensors").read_bytes()
        for folder in (trained, tmp_path / "again")
    ]
    assert weights[0] == weights[1]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--set", "sed=3"], "Unknown setting sed. Did you mean seed?"),
        (["--set", "seed"], "Write name=value"),
        (["--config", "nowhere.toml"], "nowhere.toml cannot be read"),
        (["--labels", "nowhere.txt"], "nowhere.txt cannot be read"),
    ],
)
def test_settings_that_cannot_be_read_are_one_line(store, tmp_path, capsys, words, said):
    assert run(["train", "--data", store, "--out", str(tmp_path / "run"), *words]) == 2

    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_a_store_and_a_folder_are_asked_for(capsys):
    assert run(["train", "--epochs", "1"]) == 2
    assert "--data" in capsys.readouterr().err


def test_a_finished_run_says_that_there_is_nothing_to_do(trained, capsys):
    assert run(["train", "--resume", trained, "--json"]) == 0

    said = capsys.readouterr()
    assert "is finished; there is nothing to do" in said.err
    assert json.loads(said.out)["run"] == trained


def test_a_run_goes_on_with_its_own_settings_alone(trained, capsys):
    assert run(["train", "--resume", trained, "--seed", "9"]) == 2
    assert "seed 42, now 9" in capsys.readouterr().err


def test_a_logger_that_is_not_installed_says_how_to_get_it(store, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    words = ["train", "--data", store, "--out", str(tmp_path / "run"), *TINY]

    assert run([*words, "--logger", "wandb"]) == 2

    assert 'pip install "reben[wandb]"' in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_filters_and_metadata_set_from_python_are_those_of_the_run_that_is_resumed(
    tmp_path, monkeypatch
):
    place = made_up.write_store(tmp_path / "store", num_train=9, num_validation=6)
    elsewhere = shutil.move(place / "metadata.parquet", tmp_path / "elsewhere.parquet")
    dataset = open_dataset(place, "rgb", metadata=elsewhere, countries=["Austria"], snow=None)
    config = TrainConfig(backbone="test_resnet", bands="rgb", accelerator="cpu", epochs=2)

    def stop(self, *_):
        raise ZeroDivisionError

    with monkeypatch.context() as patch:
        patch.setattr(RunRecorder, "write_epoch", stop)
        with pytest.raises(ZeroDivisionError):
            train(config, dataset, tmp_path / "run")
    before = json.loads((tmp_path / "run" / "summary.json").read_text())

    assert run(["train", "--resume", str(tmp_path / "run")]) == 0

    summary = Run.open(tmp_path / "run").summary
    assert summary["status"] == "finished"
    assert (summary["num_train"], summary["num_validation"]) == (4, 3)
    assert summary["filters"] == before["filters"] == {"countries": "Austria", "cloud": "false"}
    assert summary["data"]["metadata"] == [str(elsewhere)]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--out", "new", "--epochs", "0"], "epochs must be at least 1"),
        (["--out", "new", "--batch-size", "9" * 22], "batch_size must be at least 1 and at most"),
        (["--out", "new", "--learning-rate", "1e300"], "learning_rate must be above 0 and at most"),
        (["--out", "new", "--devices", "1000000"], "devices must be at least 1 and at most 1024"),
        (["--out", "."], "not empty"),
        (["--resume", "."], "no run to resume"),
    ],
)
def test_what_cannot_be_is_said_before_anything_heavy_is_imported(tmp_path, words, said):
    (tmp_path / "mine").write_text("")
    code = "import sys, reben.app.cli as cli; print(cli.run(sys.argv[1:]), 'torch' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code, "train", "--data", "store", *words],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=True,
    )

    assert said in done.stderr
    assert done.stdout == f"{1 if said == 'not empty' else 2} False\n"
    assert [file.name for file in tmp_path.iterdir()] == ["mine"]


@pytest.fixture
def part(tmp_path):
    """A store of 15 patches whose table lists 16 validation patches more."""
    place = made_up.write_store(tmp_path / "part", num_train=9, num_validation=6, num_test=0)
    rows = [made_up.row(number, "train" if number < 9 else "validation") for number in range(31)]
    made_up.write_metadata(tmp_path / "all.parquet", rows)
    (place / "metadata.parquet").unlink()
    return ["--data", str(place), "--metadata", str(tmp_path / "all.parquet")]


def test_a_part_that_strict_refuses_is_said_before_there_is_a_folder(part, tmp_path, capsys):
    words = ["train", *part, "--out", str(tmp_path / "run"), *TINY, "--strict"]
    assert run(words) == 2

    error = capsys.readouterr().err
    assert "MissingPatchError" in error
    assert "holds 6 of 22 patches (validation) that the metadata list" in error
    assert not (tmp_path / "run").exists()


def test_filters_and_what_the_store_holds_are_recorded_and_used_again(part, tmp_path, capsys):
    out = str(tmp_path / "run")
    chosen = ["--country", "Austria", "--country", "Finland", "--season", "summer", "--covered"]
    chosen += [
        "--fraction",
        "0.5",
        "--fraction-by",
        "label",
        "--fraction-seed",
        "3",
        "--limit",
        "4",
    ]
    assert run(["train", *part, "--out", out, *TINY, *chosen]) == 0

    assert "holds 15 of the 31 patches that the metadata list" in capsys.readouterr().err
    summary = Run.open(out).summary
    assert summary["filters"] == {
        "countries": "Austria, Finland",
        "months": "6, 7, 8",
        "fraction": "0.5 by label, seed 3",
        "limit": "4",
    }
    assert summary["data"]["num_patches"] == {"train": 4, "validation": 4}
    assert summary["data"]["parts"] == {"validation": {"num_stored": 6, "num_listed": 22}}
    assert summary["data"]["drawn"] == {"tiles": [], "num_patches": 4, "num_before": 9}

    assert run(["train", "--resume", out]) == 0  # finished: only whether it is the same
    assert run(["train", "--resume", out, "--fraction", "0.4"]) == 2
    assert "other patches" in capsys.readouterr().err

    measure = ["evaluate", out, "--split", "validation", "--rounds", "0", "--no-figures"]
    assert run(measure) == 0
    report = Run.open(out).report("validation")
    assert (report.num_patches, report.part.num_listed) == (6, 22)
    assert report.filters == {"countries": "Austria, Finland", "months": "6, 7, 8"}
    said = capsys.readouterr().out
    assert "Of those in the metadata the store held 6 of 22." in said
    assert "Filters: countries Austria, Finland; months 6, 7, 8" in said

    assert run([*measure, "--country", "Austria", "--season", "all", "--limit", "2"]) == 0
    report = Run.open(out).report("validation")
    assert report.filters == {"countries": "Austria", "limit": "2"}
    assert report.num_patches == 2
    assert run([*measure, "--strict"]) == 2


def test_help_tells_of_every_setting(capsys):
    run(["train", "--help"])

    said = capsys.readouterr().out
    for word in ("--layer-decay", "[default: 512]", "--no-flips", "--labels", "--resume"):
        assert word in said


# Labels of one's own ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def crops(store, tmp_path_factory):
    """A table that gives the patches of the store labels of their own."""
    rows = [
        f"{made_up.patch_id(number)},{('wheat', 'rye; wheat', 'maize')[number % 3]}"
        for number in range(11)
    ]
    file = tmp_path_factory.mktemp("crops") / "crops.csv"
    file.write_text("\n".join(["patch_id,labels", *rows]) + "\n")
    return str(file)


@pytest.fixture(scope="module")
def of_crops(store, trained, crops, tmp_path_factory):
    """A run on these labels that starts from a model of the 19."""
    out = str(tmp_path_factory.mktemp("crops") / "run")
    words = ["--init", f"{trained}/best", "--labels", crops]
    assert run(["train", "--data", store, "--out", out, *TINY, *words]) == 0
    return out


def test_a_table_of_labels_is_learnt_and_remembered(of_crops, crops):
    found = Run.open(of_crops)

    assert found.config.labels == ("maize", "rye", "wheat")
    assert (found.summary["num_train"], found.summary["num_validation"]) == (6, 3)
    assert found.summary["data"]["label_table"] == crops
    assert found.summary["new_head"] is True


def test_a_table_without_one_of_the_19_labels_keeps_its_output_and_says_so(store, tmp_path, capsys):
    rows = [f'{made_up.patch_id(number)},"{LABELS[1 + number % 18]}"' for number in range(11)]
    (tmp_path / "most.csv").write_text("\n".join(["patch_id,labels", *rows]))
    words = ["--labels", str(tmp_path / "most.csv"), "--out", str(tmp_path / "run")]

    assert run(["train", "--data", store, *TINY, *words]) == 0

    found = Run.open(tmp_path / "run")
    assert found.config.labels == ()
    assert len(found.config.label_names) == 19
    assert LABELS[0] in found.summary["absent_labels"]["train"]
    assert f"No patch of the train split has 13 of the 19 labels: {LABELS[0]};" in (
        capsys.readouterr().err
    )


def test_labels_that_are_set_beside_a_table_are_the_labels(store, crops, tmp_path):
    (tmp_path / "own.toml").write_text('labels = ["maize", "rye", "spelt", "wheat"]')
    words = ["--labels", crops, "--config", str(tmp_path / "own.toml")]

    assert run(["train", "--data", store, "--out", str(tmp_path / "run"), *TINY, *words]) == 0

    found = Run.open(tmp_path / "run")
    assert found.config.labels == ("maize", "rye", "spelt", "wheat")
    assert found.summary["absent_labels"]["train"] == ["spelt"]


def test_what_was_learnt_from_a_table_is_evaluated_with_it(of_crops, store, capsys):
    words = ["evaluate", of_crops, "--data", store, "--rounds", "0", "--no-figures", "--json"]

    assert run(words) == 0

    report = json.loads(capsys.readouterr().out)
    assert report["labels"] == ["maize", "rye", "wheat"]
    assert report["num_patches"] == 2  # the table leaves out the third test patch


def test_a_model_without_its_run_is_told_the_table(of_crops, store, crops, capsys):
    words = ["evaluate", f"{of_crops}/best", "--data", store, "--rounds", "0", "--json"]
    folder = shutil.copytree(f"{of_crops}/best", f"{of_crops}-alone")
    words[1] = str(folder)

    assert run(words) == 2
    error = capsys.readouterr().err
    assert "UnknownLabelError" in error
    assert "--labels FILE" in error
    assert run([*words, "--labels", crops]) == 0
    assert json.loads(capsys.readouterr().out)["num_patches"] == 2


def test_it_is_calibrated_carded_and_used(of_crops, store, tmp_path, capsys):
    assert run(["calibrate", of_crops, "--data", store]) == 0
    assert run(["evaluate", of_crops, "--data", store, "--rounds", "0", "--no-figures"]) == 0
    assert run(["card", of_crops, "--out", str(tmp_path / "card")]) == 0
    capsys.readouterr()

    card = (tmp_path / "card" / "README.md").read_text()
    assert "the classification head is new, since the labels differ" in card
    words = ["predict", str(tmp_path / "card"), store, "--patch", made_up.patch_id(9), "--json"]
    assert run(words) == 0
    scores = json.loads(capsys.readouterr().out)["scores"]
    assert {row["label"] for row in scores} == {"maize", "rye", "wheat"}


def test_a_run_on_a_table_goes_on_with_it(of_crops, capsys):
    assert run(["train", "--resume", of_crops]) == 0
    assert "is finished" in capsys.readouterr().err


def test_a_store_whose_metadata_have_own_labels_goes_all_the_way(tmp_path, capsys):
    splits = ["train"] * 4 + ["validation"] * 2 + ["test"] * 2
    rows = [
        made_up.row(number, split, labels=[("oat", "rye")[number % 2]])
        for number, split in enumerate(splits)
    ]
    place = made_up.write_store(tmp_path / "store", num_train=8, num_validation=0, num_test=0)
    made_up.write_metadata(place / "metadata.parquet", rows)
    store, out = str(place), str(tmp_path / "run")
    names = tmp_path / "names.txt"
    names.write_text("rye\noat\n")

    other = tmp_path / "other"
    assert run(["train", "--data", store, "--out", str(other), *TINY]) == 0
    assert "Its 2 labels: oat; rye" in capsys.readouterr().err
    assert Run.open(other).config.label_names == ("oat", "rye")
    assert run(["train", "--data", store, "--out", out, *TINY, "--labels", str(names)]) == 0
    assert run(["evaluate", out, "--data", store, "--rounds", "0", "--no-figures"]) == 0
    assert run(["card", out, "--out", str(tmp_path / "card"), "--data", store]) == 0
    assert run(["inspect", store]) == 0
    assert Run.open(out).report().labels == ("rye", "oat")


def test_the_labels_of_the_metadata_in_a_store_are_those_of_the_model(tmp_path, caplog):
    store, out = made_up.write_store(tmp_path / "store"), tmp_path / "run"
    file = store / "metadata.parquet"
    rows = pq.read_table(file).to_pylist()
    own = [{**row, "labels": ["wheat", "barley"][number % 2 :]} for number, row in enumerate(rows)]
    made_up.write_metadata(file, own)

    with caplog.at_level("INFO", "reben"):
        assert run(["train", "--data", str(store), "--out", str(out), *TINY]) == 0

    assert "Its 2 labels: barley; wheat." in caplog.text
    done = Run.open(out)
    assert done.config.labels == done.dataset().table.labels == ("barley", "wheat")
    assert run(["evaluate", str(out), "--device", "cpu"]) == 0
    assert done.report().labels == ("barley", "wheat")
    table = tmp_path / "scores.csv"
    assert run(["predict", str(out), str(store), "--out", str(table), "--no-geometry"]) == 0
    assert table.read_text().splitlines()[0].split(",")[1:3] == ["barley", "wheat"]
    assert run(["train", "--resume", str(out)]) == 0


def test_a_filter_that_leaves_nothing_is_not_said_to_be_of_another_place(store, trained, capsys):
    assert run(["train", "--resume", trained, "--season", "autumn"]) == 2
    said = capsys.readouterr().err
    assert "Use fewer filters." in said
    assert "--data STORE" not in said
