import json
import os
import re
import signal
import subprocess
import sys
import warnings
from collections import Counter
from dataclasses import dataclass, fields
from typing import Annotated

import pytest
from cyclopts import App, Parameter

import reben
from reben.app import cli
from reben.app.flags import formerly
from reben.errors import ChecksumError, MissingExtraError, OutputError
from reben.learn.config import TrainConfig

VERBS = (
    "sample",
    "download",
    "synthesize",
    "encode",
    "inspect",
    "train",
    "evaluate",
    "calibrate",
    "card",
    "push",
    "hub",
    "predict",
    "benchmark",
    "compare",
)


def reben_command(*words, **options):
    """Run the command in a process of its own."""
    command = [sys.executable, "-m", "reben", *map(str, words)]
    options = {"capture_output": True, "text": True, "timeout": 60, **options}
    return subprocess.run(command, check=False, **options)


def failing_inspect(monkeypatch, error):
    def fail(*_):
        raise error

    monkeypatch.setattr("reben.data.inspection.summarise_store", fail)
    return cli.run(["inspect", "x"])


def test_the_version_is_printed_to_stdout():
    done = reben_command("--version")
    assert (done.returncode, done.stdout) == (0, f"reben {reben.__version__}\n")


def test_help_names_every_verb():
    done = reben_command("--help")
    assert done.returncode == 0
    for verb in VERBS:
        assert f" {verb} " in done.stdout


def test_help_imports_few_modules():
    # How long it takes depends on the machine; how much is imported does not.
    code = (
        "import sys; from reben.app.cli import run; run(['--help']); "
        "print(len(sys.modules), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stderr) < 350


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help_with_its_json_flag(verb, capsys):
    assert cli.run([verb, "--help"]) == 0
    assert "--json" in capsys.readouterr().out


def words_of_help(verb, width, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", str(width))
    assert cli.run([verb, "--help"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= width
    return Counter(re.sub(r"[│╭╮╰╯─]", " ", " ".join(lines)).split())


@pytest.mark.parametrize("verb", [name for name in cli.app if not name.startswith("-")])
def test_help_breaks_no_word_at_80_columns(verb, monkeypatch, capsys):
    narrow = words_of_help(verb, 80, monkeypatch, capsys)
    assert narrow == words_of_help(verb, 300, monkeypatch, capsys)


@Parameter(name="*")
@dataclass(frozen=True)
class Flags:
    processes: Annotated[int, formerly("--workers", "--jobs")] = 1
    """How many processes."""


NO_FLAGS = Flags()


@pytest.mark.parametrize("flag", ["--processes", "--workers", "--jobs"])
def test_a_flag_that_was_renamed_answers_to_its_old_names(flag):
    def verb(*, flags: Flags = NO_FLAGS) -> int:
        return flags.processes

    app = App(result_action="return_value")
    app.default(verb)
    assert app([flag, "3"]) == 3


def help_of(verb, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "120")
    app = App(name="x", help_formatter=cli.HelpFormatter(), help_format="plaintext")
    app.default(verb)
    app(["--help"], exit_on_error=False, result_action="return_value")
    return capsys.readouterr().out


def test_help_shows_the_new_name_of_a_flag_only(monkeypatch, capsys):
    def verb(*, flags: Flags = NO_FLAGS, threads: Annotated[int, formerly("--readers")] = 0):
        """Do it."""

    shown = help_of(verb, monkeypatch, capsys)
    assert "--processes" in shown
    assert "--threads" in shown
    assert not re.search("--workers|--jobs|--readers", shown)


def test_help_fills_its_lines_whatever_the_lines_of_the_docstring_are(monkeypatch, capsys):
    def verb(product: str, /, *, deep: bool = False, names: tuple[str, ...] = ()):
        """Do it.

        The first paragraph is
        of two lines.

        The second has one.

        Args:
            product: A folder with a file
                for each band.
            deep: Go down.
            names: Some.
        """

    shown = help_of(verb, monkeypatch, capsys)
    assert "\nThe first paragraph is of two lines.\n\nThe second has one.\n" in shown
    assert "A folder with a file for each band." in shown
    assert "[default" not in shown
    assert "--empty-names" not in shown


def test_train_has_a_flag_for_every_setting(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    cli.run(["train", "--help"])
    shown = capsys.readouterr().out
    for setting in fields(TrainConfig):
        assert f"--{setting.name.replace('_', '-')}" in shown


def test_an_unknown_option_is_one_line_with_the_right_one_and_where_help_is(capsys):
    assert cli.run(["train", "--data", "x", "--out", "y", "--epoch", "3"]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("UsageError: Unknown option: --epoch. Did you mean --epochs?")
    assert said.err.endswith("See: reben train --help\n")


def test_an_unknown_verb_is_one_line(capsys):
    assert cli.run(["trian"]) == 2
    said = capsys.readouterr()
    assert "trian" in said.err
    assert said.err.count("\n") == 1


def test_a_missing_store_is_one_paragraph_without_a_traceback(tmp_path):
    done = reben_command("inspect", tmp_path / "nowhere")
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == (
        f"StoreError: There is no folder {tmp_path / 'nowhere'}. "
        "A store is a folder that holds data.mdb.\n"
    )


@pytest.mark.parametrize("place", [0, 1, 2])
def test_debug_shows_the_traceback_wherever_it_stands(place, tmp_path, capsys):
    words = ["inspect", str(tmp_path)]
    words.insert(place, "--debug")
    assert cli.run(words) == 2
    said = capsys.readouterr().err
    assert "Traceback (most recent call last)" in said
    assert "StoreError" in said


def test_an_unknown_band_is_one_paragraph_that_lists_the_bands(tmp_path, capsys):
    out = tmp_path / "run"
    assert cli.run(["train", "--data", str(tmp_path), "--out", str(out), "--bands", "B10"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("UnknownBandError: No band or band set B10. Bands: VV, VH, B01,")
    assert said.count("\n") == 1
    assert not out.exists()


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (OutputError("disk full"), 1),
        (ChecksumError("another file"), 1),
        (MissingExtraError("install reben[geo]"), 2),
        (KeyboardInterrupt(), 130),
    ],
)
def test_exit_codes_tell_who_can_cure_it(error, code, monkeypatch, capsys):
    assert failing_inspect(monkeypatch, error) == code
    said = capsys.readouterr().err
    assert said in (f"{type(error).__name__}: {error}\n", "Interrupted.\n")


def test_a_termination_interrupts_a_verb_and_says_so(monkeypatch, capsys):
    monkeypatch.setattr(
        "reben.data.inspection.summarise_store", lambda *_: os.kill(os.getpid(), signal.SIGTERM)
    )
    assert cli.run(["inspect", "x"]) == 143
    assert capsys.readouterr().err == "Interrupted by SIGTERM.\n"


def test_what_nobody_foresaw_is_not_swallowed(monkeypatch):
    with pytest.raises(ZeroDivisionError):
        failing_inspect(monkeypatch, ZeroDivisionError())


def test_a_message_of_several_lines_becomes_one_paragraph(monkeypatch, capsys):
    failing_inspect(monkeypatch, OutputError("first\n  second"))
    assert capsys.readouterr().err == "OutputError: first second\n"


def test_a_warning_is_one_line_on_stderr(monkeypatch, capsys):
    def warn(*_):
        warnings.warn("mind\nthis", UserWarning, stacklevel=2)
        raise OutputError("done")

    monkeypatch.setattr("reben.data.inspection.summarise_store", warn)
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        cli.run(["inspect", "x"])
    assert capsys.readouterr().err == "UserWarning: mind this\nOutputError: done\n"


def test_a_reader_that_went_away_is_no_error():
    reading, writing = os.pipe()
    os.close(reading)
    done = reben_command("--help", capture_output=False, stdout=writing, stderr=subprocess.PIPE)
    os.close(writing)
    assert (done.returncode, done.stderr) == (141, "")


def test_inspect_says_what_the_real_sample_holds(real_store, capsys):
    assert cli.run(["inspect", str(real_store)]) == 0
    shown = capsys.readouterr().out
    assert "B8A 60x60 uint16" in shown
    assert "VV 120x120 float32" in shown
    assert "Listed there but missing in the store, Sentinel-1: 0" in shown


def test_inspect_writes_json(real_store, capsys):
    assert cli.run(["inspect", str(real_store), "--json"]) == 0
    said = capsys.readouterr()
    summary = json.loads(said.out)
    assert summary["values"] == {"Sentinel-2": 24, "Sentinel-1": 24}
    assert said.err == ""


@pytest.mark.parametrize("verb", [["predict", "m"], ["inspect"], ["encode", "--out", "o", "--s2"]])
def test_a_path_that_cannot_be_looked_at_is_one_line(verb, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert cli.run([*verb, "x" * 300]) in (1, 2)
    assert len(capsys.readouterr().err.splitlines()) == 1


USAGE = (
    "encode",
    "encode tree --out store --processes 0",
    "encode tree --out store --limit 0",
    "download folder --only s3",
    "download -",
    "download - --only s1,s2",
    "inspect",
    "sample",
    "synthesize folder",
)
QUICK = """
import sys
from reben.app import cli
for words in sys.argv[1:]:
    assert cli.run(words.split()) == 2, words
    print(*sorted({"torch", "pyarrow", "lmdb", "numpy", "rasterio", "httpx"} & set(sys.modules)))
"""


def test_usage_errors_of_data_verbs_come_before_anything_heavy(tmp_path):
    command = [sys.executable, "-c", QUICK, *USAGE]
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stdout) == (0, "\n" * len(USAGE)), done.stderr
    assert not list(tmp_path.iterdir())
