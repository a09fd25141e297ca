"""The verbs push and hub: the real Hub client against a Hub on loopback."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import made_up
from reben.app.cli import run
from reben.app.verbs import hub as hub_verbs
from reben.data.loader import open_dataset
from reben.learn.config import TrainConfig
from reben.learn.evaluate import evaluate
from reben.learn.train import train
from reben.model.classifier import Classifier
from reben.publish.card import write_card

# The Hub client uses an argument of httpx that is to go.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")

NAME = "org/tiny-v1"


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(8)
    return Classifier("test_resnet", "VH,B11")


@pytest.fixture
def folder(model, tmp_path, monkeypatch):
    monkeypatch.setattr("reben.publish.check.check_card", lambda folder: ())
    place = model.save_pretrained(tmp_path / "card")
    (place / "README.md").write_bytes(b"---\nlicense: mit\n---\n# A card\n")
    (place / "notes.txt").write_text("mine")
    return place


@pytest.fixture
def token(hub, monkeypatch):
    token = hub.token("me", orgs=("org",))
    monkeypatch.setenv("HF_TOKEN", token)
    return token


def at_a_terminal(monkeypatch, answer):
    monkeypatch.setattr(hub_verbs, "can_ask", lambda: True)
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{answer}\n"))


def test_the_files_are_shown_on_stderr_and_the_address_alone_on_stdout(hub, token, folder, capsys):
    assert run(["push", str(folder), NAME, "--yes"]) == 0
    out, err = capsys.readouterr()
    assert out == f"{hub.url}/{NAME}\n"
    assert f"{hub.url}/{NAME} (new), branch main" in err
    assert "left out: not part of a card folder" in err
    size = (folder / "config.json").stat().st_size
    assert f"{size / 1000:.1f} kB" in err
    assert "it/s" not in err


def test_without_a_terminal_nothing_is_pushed_unless_told_so(hub, token, folder, capsys):
    assert run(["push", str(folder), NAME]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "model.safetensors" in err
    assert "no terminal to ask at" in err
    assert "--yes" in err
    assert hub.writes() == []


@pytest.mark.parametrize("answer", ["y", "Yes"])
def test_at_a_terminal_yes_pushes(hub, token, folder, monkeypatch, capsys, answer):
    at_a_terminal(monkeypatch, answer)
    assert run(["push", str(folder), NAME]) == 0
    assert "Push 3 files" in capsys.readouterr().err
    assert "config.json" in hub.files(NAME)


@pytest.mark.parametrize("answer", ["n", "", "yess"])
def test_at_a_terminal_anything_else_does_not(hub, token, folder, monkeypatch, capsys, answer):
    at_a_terminal(monkeypatch, answer)
    with pytest.raises(SystemExit, match="1"):
        run(["push", str(folder), NAME])
    out, err = capsys.readouterr()
    assert out == ""
    assert "Nothing was pushed." in err
    assert hub.writes() == []


def test_other_content_is_named_in_the_question(hub, token, folder, monkeypatch, capsys):
    hub.repository(NAME, {"config.json": b"{}"})
    at_a_terminal(monkeypatch, "n")
    with pytest.raises(SystemExit):
        run(["push", str(folder), NAME])
    assert "over other content?" in capsys.readouterr().err


def test_a_dry_run_shows_the_files_on_stdout_and_writes_nothing(hub, token, folder, capsys):
    assert run(["push", str(folder), NAME, "--dry-run", "--private", "--tag", "v1.0"]) == 0
    out, _ = capsys.readouterr()
    assert "(new, private), branch main, tag v1.0" in out
    assert "model.safetensors" in out
    assert hub.writes() == []


def test_the_same_again_needs_no_yes_and_says_so(hub, token, folder, capsys):
    run(["push", str(folder), NAME, "--yes"])
    capsys.readouterr()
    assert run(["push", str(folder), NAME]) == 0
    out, err = capsys.readouterr()
    assert out == f"{hub.url}/{NAME}\n"
    assert "no commit was made" in err


def test_the_result_can_be_had_as_json(hub, token, folder, capsys):
    assert run(["push", str(folder), NAME, "--yes", "--json", "--tag", "v1.0"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["outcome"] == "pushed"
    assert told["commit"] == hub.repositories[NAME].refs["refs/tags/v1.0"]
    assert {file["path"]: file["state"] for file in told["files"]} == dict.fromkeys(
        ("README.md", "config.json", "model.safetensors"), "new"
    )
    assert told["left_out"] == {"notes.txt": "not part of a card folder"}


def test_a_pull_request_and_a_branch_can_be_asked_for(hub, token, folder, capsys):
    hub.repository(NAME, {"README.md": b"---\nlicense: mit\n---\n"})
    assert run(["push", str(folder), NAME, "--pr", "--yes"]) == 0
    assert run(["push", str(folder), NAME, "--revision", "next", "--yes"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"{hub.url}/{NAME}/discussions/1",
        f"{hub.url}/{NAME}/tree/next",
    ]


@pytest.mark.parametrize("trouble", ["wrong", "POST .*/commit/"])
def test_debug_shows_the_traceback_without_the_token(
    hub, token, folder, trouble, monkeypatch, capfd
):
    monkeypatch.setattr("reben.model.hub.time.sleep", lambda _: None)
    if trouble == "wrong":
        monkeypatch.setenv("HF_TOKEN", "hf_unknownSecret")
    else:
        hub.fault(trouble, "drop", times=9)
    assert run(["push", str(folder), NAME, "--yes", "--debug"]) == 1
    out, err = capfd.readouterr()
    assert "Traceback" in err
    assert "Secret" not in out + err


def test_the_models_of_an_organisation_are_listed(hub, folder, capsys):
    config = (folder / "config.json").read_bytes()
    hub.repository("org/one", {"config.json": config})
    hub.repository("org/two", {"README.md": b"# x"})
    assert run(["hub", "org"]) == 0
    out, _ = capsys.readouterr()
    one = next(line for line in out.splitlines() if "org/one" in line)
    two = next(line for line in out.splitlines() if "org/two" in line)
    assert one.split()[:5] == ["org/one", "test_resnet", "VH,", "B11", "unknown"]
    assert two.split()[:4] == ["org/two", "unknown", "unknown", "unknown"]
    assert run(["hub", "org", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told[0]["bands"] == ["VH", "B11"]
    assert told[1]["average_precision"] is None


def test_an_owner_without_models_is_an_error(hub, capsys):
    assert run(["hub", "nobody"]) == 1
    assert "HubNotFoundError: The Hub shows no model of nobody" in capsys.readouterr().err


@pytest.mark.slow
def test_a_run_is_carded_checked_pushed_and_loaded_by_programs_of_their_own(hub, token, tmp_path):
    """Nothing is set but the environment: HF_ENDPOINT, HF_HOME and HF_TOKEN."""
    data = open_dataset(made_up.write_store(tmp_path / "store", num_train=4, num_test=4))
    config = TrainConfig(
        backbone="test_resnet", bands="VH,B11", epochs=1, batch_size=4, accelerator="cpu"
    )
    trained = train(config, data, tmp_path / "run")
    card = write_card(trained, evaluate(trained, data["test"]), tmp_path / "tiny-v1")
    program = [str(Path(sys.executable).with_name("reben")), "push", str(card), NAME, "--yes"]
    pushed = subprocess.run(program, capture_output=True, text=True, timeout=120, check=False)
    assert (pushed.stdout, pushed.returncode) == (f"{hub.url}/{NAME}\n", 0), pushed.stderr
    assert "Secret" not in pushed.stderr
    assert len(hub.repositories[NAME].history) == 2
    code = (
        "import sys, reben; model = reben.Classifier.from_pretrained(sys.argv[1]);"
        "print(*model.bands, sum(w.double().sum().item() for w in model.parameters()))"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", code, NAME],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
        env={**os.environ, "HF_HUB_DISABLE_PROGRESS_BARS": "1"},
    )
    here = Classifier.from_pretrained(card)
    total = sum(weight.double().sum().item() for weight in here.parameters())
    assert loaded.stdout == f"VH B11 {total}\n"
