import json

import pytest

import made_up
from reben.app.cli import run
from reben.learn.config import TrainConfig
from reben.learn.run import Run

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
        (["--set", "sed=3"], "No setting sed. Did you mean seed?"),
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


def test_help_tells_of_every_setting(capsys):
    run(["train", "--help"])

    said = capsys.readouterr().out
    for word in ("--layer-decay", "[default: 512]", "--no-flips", "--labels", "--resume"):
        assert word in said
