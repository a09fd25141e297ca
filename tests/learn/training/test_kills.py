"""Training loses nothing, at whichever write it is killed, and when the disk is full.

An audit hook sees every file that Python opens, renames, links or removes. What lies in the run
folder before such an event is what a process leaves that is killed at that moment.
"""

import errno
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.torch import load_file

from reben.errors import OutputError, RunError
from reben.learn.config import TrainConfig
from reben.learn.train import Run, train
from reben.learn.training.loop import Loop
from reben.learn.training.record import MONITORED
from reben.model.open import open_model
from reben.model.weights import digest_weights

SCORES = [0.25, 0.5, 0.125]
"""Validation scores of the epochs: the second one is the best."""
CHANGES = ("open", "os.rename", "os.link", "os.remove", "os.mkdir")


class Watch:
    """Calls ``act`` with the path before anything in ``folder`` is changed."""

    folder: Path | None = None
    act: Callable[[Path], None] | None = None


def watch_changes(event, args):
    if Watch.folder is None or event not in CHANGES or not isinstance(args[0], str | Path):
        return
    if event == "open" and not args[2] & (os.O_WRONLY | os.O_RDWR):
        return
    path = Path(args[1] if event in ("os.rename", "os.link") else args[0])
    folder, act = Watch.folder, Watch.act
    if folder in path.parents:
        Watch.folder = None  # not while it acts
        try:
            act(path)
        finally:
            Watch.folder = folder


sys.addaudithook(watch_changes)


@pytest.fixture
def watching(monkeypatch):
    def start(folder, act):
        monkeypatch.setattr(Watch, "act", staticmethod(act))
        monkeypatch.setattr(Watch, "folder", folder)

    return start


@pytest.fixture(autouse=True, scope="module")
def scripted():
    real = Loop._figures
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            Loop, "_figures", lambda self: {**real(self), MONITORED: SCORES[self.training.epoch]}
        )
        yield


def settings():
    tiny = {"backbone": "test_resnet", "bands": "rgb", "accelerator": "cpu", "batch_size": 4}
    return TrainConfig(**tiny, epochs=len(SCORES), ema_decay=0.5, learning_rate=0.01)


def visible(folder):
    """All files that have their final names, but for the log, which only grows."""
    return {
        str(file.relative_to(folder)): file.read_bytes()
        for file in sorted(folder.rglob("*"))
        if file.is_file() and not file.name.startswith(".") and file.name != "train.log"
        and "tensorboard" not in file.parts
    }  # fmt: skip


def outcome(folder):
    """Everything that two trainings of the same end share."""
    run = Run.open(folder)
    summary = {name: value for name, value in run.summary.items() if name != "seconds"}
    rows = [line.rpartition(",")[0] for line in (folder / "metrics.csv").read_text().splitlines()]
    return summary, rows, digest_weights(load_file(run.best / "model.safetensors"))


@pytest.fixture(scope="module")
def moments(dataset, scripted, tmp_path_factory):
    """A run, and what lay in its folder at each moment, without those that look the same."""
    place = tmp_path_factory.mktemp("moments")
    kept, seen = [], []

    def keep(_path):
        now = visible(place / "run")
        if now not in seen:
            seen.append(now)
            kept.append(shutil.copytree(place / "run", place / str(len(kept))))

    Watch.folder, Watch.act = place / "run", staticmethod(keep)
    train(settings(), dataset, place / "run")
    Watch.folder = None
    return place / "run", kept


@pytest.fixture
def stopped(moments, tmp_path):
    """A copy of the run as it was just before it ended."""
    _, kept = moments
    with_epochs = [one for one in kept if num_epochs(one) == len(SCORES)]
    return shutil.copytree(with_epochs[0], tmp_path / "stopped")


def num_epochs(folder):
    """How many epochs ``metrics.csv`` tells of."""
    file = folder / "metrics.csv"
    return len(file.read_text().splitlines()) - 1 if file.is_file() else 0


def require_honest(folder):
    """What opens as a run holds the model that its summary speaks of."""
    try:
        run = Run.open(folder)
    except RunError:
        return
    told = run.summary["best_weights_sha256"]
    assert digest_weights(load_file(run.best / "model.safetensors")) == told


def require_same_end(dataset, folder, whole):
    resume = (folder / "config.toml").is_file()
    train(settings(), dataset, folder, resume=resume)
    assert outcome(folder) == outcome(whole)
    left = [file for file in folder.rglob(".*") if file.is_file()]
    assert left == [], "what a killed process left half written is removed"


def test_killed_while_it_keeps_its_best_epoch_a_run_ends_like_one_that_was_not(
    dataset, moments, tmp_path
):
    whole, kept = moments
    for folder in kept:
        require_honest(folder)
    done = [num_epochs(folder) for folder in kept]
    # From the checkpoint of the second epoch on, until its figures are written too.
    second = [one for one, epochs in zip(kept, done, strict=True) if epochs == 1][1:]
    assert len(second) >= 4

    for folder in second:
        require_same_end(dataset, shutil.copytree(folder, tmp_path / folder.name), whole)


@pytest.mark.slow
def test_killed_at_any_write_a_run_ends_like_one_that_was_not(dataset, moments, tmp_path):
    whole, kept = moments
    assert len(kept) > 15

    for folder in kept:
        require_same_end(dataset, shutil.copytree(folder, tmp_path / folder.name), whole)


def full_disk_from(name, epoch, folder, *, stays_full):
    """Return what fails the writes of a file from an epoch, from 1, on, and perhaps all others."""
    is_full = False

    def fail(path):
        nonlocal is_full
        is_now = name in path.name and num_epochs(folder) >= epoch - 1
        is_full |= is_now and stays_full
        if is_now or is_full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    return fail


@pytest.mark.parametrize(
    ("name", "stays_full"),
    [
        ("last.ckpt", True),
        ("model.safetensors", False),  # a summary is smaller, and may still find room
        *(
            pytest.param(name, stays_full, marks=pytest.mark.slow)
            for name in ("previous.ckpt", "best.ckpt", "config.json", "metrics.csv", "summary.json")
            for stays_full in (True, False)
        ),
        pytest.param("train.log", True, marks=pytest.mark.slow),
    ],
)
def test_a_full_disk_is_an_error_and_the_run_can_be_resumed(
    dataset, tmp_path, watching, name, stays_full, moments
):
    whole, _ = moments
    folder = tmp_path / "full"
    watching(folder, full_disk_from(name, 2, folder, stays_full=stays_full))
    with pytest.raises(OutputError, match="No space left on device"):
        train(settings(), dataset, folder)
    Watch.folder = None
    require_honest(folder)

    require_same_end(dataset, folder, whole)


def test_a_damaged_checkpoint_gives_way_to_the_one_before_and_says_so(
    dataset, moments, stopped, caplog
):
    whole, folder = moments[0], stopped
    last = folder / "checkpoints" / "last.ckpt"
    content = bytearray(last.read_bytes())
    content[-5] ^= 1  # one bit of the weights

    last.write_bytes(content)

    require_same_end(dataset, folder, whole)
    assert "its tensors are not those that were written" in caplog.text
    assert "Resuming from" in caplog.text


def test_a_best_model_that_was_lost_is_written_again(dataset, moments, stopped, caplog):
    whole, folder = moments[0], stopped
    shutil.rmtree(folder / "best")

    require_same_end(dataset, folder, whole)

    assert "was written into best again" in caplog.text


def damage_weights(best):
    content = bytearray((best / "model.safetensors").read_bytes())
    content[-5] ^= 1
    (best / "model.safetensors").write_bytes(content)


def swap_bands(best):
    config = (best / "config.json").read_text()
    swapped = config.replace('"B04"', '"?"').replace('"B02"', '"B04"').replace('"?"', '"B02"')
    assert swapped != config
    (best / "config.json").write_text(swapped)


@pytest.mark.parametrize(
    "damage",
    [damage_weights, swap_bands, shutil.rmtree, lambda best: (best / "config.json").write_text("")],
    ids=["weights", "bands", "missing", "config"],
)
def test_a_finished_run_whose_best_model_was_damaged_is_refused_and_put_right(
    dataset, moments, tmp_path, damage
):
    folder = shutil.copytree(moments[0], tmp_path / "run")
    damage(folder / "best")

    with pytest.raises(RunError, match=f"damaged or replaced.*reben train --resume {folder}"):
        Run.open(folder)

    require_same_end(dataset, folder, moments[0])


def test_a_damaged_best_model_is_no_model_of_its_run(moments, tmp_path):
    folder = shutil.copytree(moments[0], tmp_path / "run")
    open_model(folder / "best")
    damage_weights(folder / "best")

    for place in (folder, folder / "best"):
        with pytest.raises(RunError, match=f"damaged or replaced.*reben train --resume {folder}"):
            open_model(place)


def test_a_calibration_outlives_damaged_weights(dataset, moments, tmp_path):
    folder = shutil.copytree(moments[0], tmp_path / "run")
    config = folder / "best" / "config.json"
    config.write_text(config.read_text().replace('"temperature": 1.0', '"temperature": 1.5'))
    damage_weights(folder / "best")

    require_same_end(dataset, folder, moments[0])

    assert '"temperature": 1.5' in config.read_text()


def test_a_finished_run_whose_best_model_is_nowhere_stays_as_it_is(dataset, moments, tmp_path):
    folder = shutil.copytree(moments[0], tmp_path / "run")
    shutil.rmtree(folder / "checkpoints")
    damage_weights(folder / "best")
    before = visible(folder)

    with pytest.raises(RunError, match=r"is lost: .*no checkpoint.*train in a new folder"):
        train(settings(), dataset, folder, resume=True)

    assert visible(folder) == before


def test_a_best_model_that_is_nowhere_is_said_before_anything_changes(dataset, stopped):
    folder = stopped
    (folder / "best" / "model.safetensors").write_bytes(b"")
    (folder / "checkpoints" / "best.ckpt").unlink()
    before = visible(folder)

    with pytest.raises(RunError, match=r"best epoch, 2, is lost"):
        train(settings(), dataset, folder, resume=True)

    assert visible(folder) == before


def test_a_run_is_not_trained_twice_at_once(dataset, tmp_path, watching):
    refused = []

    def try_too(path):
        if path.name.startswith(".last.ckpt"):
            for resume in (True, False):
                with pytest.raises((RunError, OutputError)) as caught:
                    train(settings(), dataset, tmp_path / "run", resume=resume)
                refused.append(str(caught.value))

    watching(tmp_path / "run", try_too)
    train(settings(), dataset, tmp_path / "run")

    assert "Another process is training the run" in refused[0]
    assert "holds a run already" in refused[1]
