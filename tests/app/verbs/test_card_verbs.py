import json
import shutil
import sys
from types import ModuleType

import pytest

import made_up
from reben.app.cli import run
from reben.learn.run import Run

SETTINGS = ("--backbone", "test_resnet", "--bands", "VV,B02,B8A", "--accelerator", "cpu")


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return str(made_up.write_store(tmp_path_factory.mktemp("verbs") / "store"))


@pytest.fixture(scope="module")
def trained(store, tmp_path_factory):
    """A run folder made and evaluated by the command itself."""
    out = str(tmp_path_factory.mktemp("verbs") / "run")
    words = ["train", "--data", store, "--out", out, *SETTINGS, "--epochs", "1"]
    assert run([*words, "--batch-size", "4"]) == 0
    assert run(["evaluate", out, "--data", store, "--no-figures", "--rounds", "20"]) == 0
    return out


@pytest.fixture(scope="module")
def written(trained, tmp_path_factory):
    out = str(tmp_path_factory.mktemp("verbs") / "card")
    assert run(["card", trained, "--out", out, "--no-figures"]) == 0
    return out


def test_card_writes_the_folder_and_says_where(trained, tmp_path, capsys):
    out = tmp_path / "card"
    assert run(["card", trained, "--out", str(out), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"folder": str(out)}
    assert (out / "README.md").is_file()
    assert (out / "figures" / "average_precision.png").is_file()


def test_card_without_a_report_says_how_to_get_one(store, tmp_path, capsys):
    words = ["train", "--data", store, "--out", str(tmp_path / "run"), *SETTINGS]
    run([*words, "--epochs", "1"])
    capsys.readouterr()
    assert run(["card", str(tmp_path / "run"), "--out", str(tmp_path / "card")]) == 2
    assert f"reben evaluate {tmp_path / 'run'} --data STORE" in capsys.readouterr().err


def test_a_plain_model_folder_gets_a_card_with_a_report_and_data(trained, store, tmp_path, capsys):
    model = shutil.copytree(Run.open(trained).best, tmp_path / "model")
    words = ["card", str(model), "--out", str(tmp_path / "card"), "--no-figures"]
    assert run(words) == 2
    assert "--report FILE" in capsys.readouterr().err
    words += ["--report", str(Run.open(trained).report_path())]
    assert run(words) == 2
    assert "--data STORE" in capsys.readouterr().err
    assert run([*words, "--data", store]) == 0
    assert (
        "There is no record of how these weights were trained"
        in (tmp_path / "card" / "README.md").read_text()
    )


def test_check_of_a_whole_card_leaves_with_0_and_says_so(written, capsys):
    assert run(["card", written, "--check"]) == 0
    said = capsys.readouterr()
    assert said.out == ""
    assert "the card agrees with its report, config and weights" in said.err


def test_check_lists_problems_and_leaves_with_1(written, tmp_path, capsys):
    folder = shutil.copytree(written, tmp_path / "card")
    (folder / "example.png").unlink()
    with pytest.raises(SystemExit) as left:
        run(["card", str(folder), "--check"])
    assert left.value.code == 1
    said = capsys.readouterr()
    assert said.out.splitlines() == [
        "example.png: the card shows this picture, but it is missing",
        "mlm.json: asset example: there is no file example.png",
    ]
    assert said.err == f"{folder}: 2 errors, 0 warnings.\n"
    with pytest.raises(SystemExit):
        run(["card", str(folder), "--check", "--json"])
    problems = json.loads(capsys.readouterr().out)["problems"]
    assert problems[0] == {
        "where": "example.png",
        "what": "the card shows this picture, but it is missing",
        "severity": "error",
    }
    assert [problem["where"] for problem in problems] == ["example.png", "mlm.json"]


def test_check_with_warnings_alone_tells_them_and_leaves_with_0(written, tmp_path, capsys):
    folder = shutil.copytree(written, tmp_path / "card")
    with (folder / "README.md").open("a") as card:
        card.write("\n[More Information Needed]\n")
    assert run(["card", str(folder), "--check"]) == 0
    said = capsys.readouterr()
    assert said.out.endswith("was not filled in (warning)\n")
    assert said.err == f"{folder}: 0 errors, 1 warning.\n"


def test_check_of_a_folder_that_is_not_there_is_an_error(tmp_path, capsys):
    assert run(["card", str(tmp_path / "gone"), "--check"]) == 2
    assert "There is no folder" in capsys.readouterr().err


def test_settings_of_the_card_are_passed_on(trained, tmp_path):
    words = ["card", trained, "--out", str(tmp_path / "card"), "--no-figures"]
    words += ["--hub-id", "org/other-name", "--licence", "apache-2.0", "--affiliations", "bigearth"]
    assert run(words) == 0
    text = (tmp_path / "card" / "README.md").read_text()
    assert 'from_pretrained("org/other-name")' in text
    assert "license: apache-2.0" in text
    assert "[RSiM](https://rsim.berlin/)" in text


def test_an_own_template_is_filled(trained, tmp_path):
    template = tmp_path / "t.jinja"
    template.write_text("# {{ backbone }}: {{ report.num_patches }}\n")
    out = tmp_path / "card"
    words = ["card", trained, "--out", str(out), "--no-figures", "--template", str(template)]
    assert run(words) == 0
    assert "\n# test\\_resnet: 3\n" in (out / "README.md").read_text()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "Say where to write"),
        (["--out", "x"], "Say the model"),
        (["--check"], "Say the folder to check"),
        (["--out", "x", "--from", "org/name"], "--data STORE"),
        (["run", "--out", "x", "--from", "org/name"], "takes neither a model nor"),
        (["run", "--out", "x", "--affiliations", "nobody"], "Could not read affiliations"),
    ],
)
def test_what_is_missing_is_said(words, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run(["card", *words]) == 2
    assert message in capsys.readouterr().err


def test_from_hands_everything_to_the_recard(store, tmp_path, monkeypatch, capsys):
    asked = {}

    def recard(name, dataset, out, **options):
        asked.update(name=name, patches=len(dataset), **options)
        return out

    fake = ModuleType("reben.publish.recard")
    fake.recard = recard
    monkeypatch.setitem(sys.modules, "reben.publish.recard", fake)
    words = ["card", "--from", "org/name", "--data", store, "--out", str(tmp_path / "c")]
    assert run([*words, "--bands", "VV,VH"]) == 0
    assert (asked["name"], asked["patches"], asked["bands"]) == ("org/name", 12, "VV,VH")
    assert "hub_id" not in asked
    assert capsys.readouterr().out == f"{tmp_path / 'c'}\n"
