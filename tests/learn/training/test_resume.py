import csv
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from reben.data.loader import Loader
from reben.errors import ConfigError, RunError
from reben.learn.train import Run, train
from reben.learn.training.loop import Loop
from reben.learn.training.record import RunRecorder
from reben.model.classifier import Classifier
from reben.support.signals import exit_code

SCRIPT = """
import sys
import torch
from reben import TrainConfig, open_dataset
from reben.learn.train import train

torch.set_num_threads(1)
store, out, config, resume = sys.argv[1:]
train(TrainConfig.from_toml(config), open_dataset(store), out, resume=resume == "yes")
"""
ALL_OPTIONS = {
    "drop_rate": 0.3,
    "drop_path_rate": 0.2,
    "turns": True,
    "band_dropout": 0.3,
    "ema_decay": 0.9,
    "accumulate": 2,
    "gradient_clip": 1.0,
}


class KilledError(Exception):
    """Stands for the end of a process."""


def rows(folder):
    with (Path(folder) / "metrics.csv").open(newline="") as file:
        return [{k: x for k, x in row.items() if k != "seconds"} for row in csv.DictReader(file)]


def weights(folder):
    return load_file(Path(folder) / "best" / "model.safetensors")


def last(folder):
    return Path(folder) / "checkpoints" / "last.ckpt"


def state_in(file):
    """What a checkpoint holds beside tensors."""
    with safe_open(file, "pt") as checkpoint:
        return json.loads(checkpoint.metadata()["reben"])


def unfinished(run, folder, *, only_last=True):
    """A copy of a run that says it was interrupted."""
    shutil.copytree(run, folder)
    if only_last:
        (folder / "checkpoints" / "previous.ckpt").unlink()
        (folder / "checkpoints" / "best.ckpt").unlink()
    summary = json.loads((folder / "summary.json").read_text())
    (folder / "summary.json").write_text(json.dumps({**summary, "status": "interrupted"}))
    return folder


def require_same_end(one, other):
    """Two runs ended the same: weights, optimiser, schedule, figures, to the last bit."""
    ours, theirs = weights(one), weights(other)
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    first, second = (load_file(last(run)) for run in (one, other))
    assert first.keys() == second.keys()
    assert {name.partition(".")[0] for name in first} >= {"model", "optimiser"}
    assert all(torch.equal(first[name], second[name]) for name in first)
    states = [state_in(last(run)) for run in (one, other)]
    for name in ("epoch", "batch", "step", "train_loss", "precision"):
        assert states[0][name] == states[1][name]
    assert rows(one) == rows(other)
    summaries = [
        {k: x for k, x in Run.open(run).summary.items() if k != "seconds"} for run in (one, other)
    ]
    assert summaries[0] == summaries[1]


def killed_at(monkeypatch, epoch, batch):
    """Let the process end before a batch of an epoch, both from 0, with what is written then."""
    real = Loader.__iter__

    def iterate(self):
        done = self._num_done
        for number, item in enumerate(real(self)):
            if self.shuffle and self.epoch == epoch and number + done == batch:
                raise KilledError
            yield item

    monkeypatch.setattr(Loader, "__iter__", iterate)


@pytest.fixture(scope="module")
def undisturbed(dataset, tmp_path_factory):
    """A run with all that draws random numbers; its folder is not to be written to."""
    return train(settings(), dataset, tmp_path_factory.mktemp("whole") / "run").path


def settings(**changes):
    from reben.learn.config import TrainConfig

    tiny = {"backbone": "test_resnet", "bands": "rgb", "accelerator": "cpu", "batch_size": 2}
    every_batch = {"checkpoint_minutes": 1e-9, "learning_rate": 0.01}
    return TrainConfig(**{**tiny, "epochs": 3, **every_batch, **ALL_OPTIONS, **changes})


@pytest.mark.parametrize(("epoch", "batch"), [(0, 0), (0, 1), (1, 0), (1, 2), (1, 3), (2, 3)])
def test_a_run_that_goes_on_ends_like_one_that_was_never_stopped(
    dataset, undisturbed, tmp_path, monkeypatch, epoch, batch
):
    with monkeypatch.context() as patch:
        killed_at(patch, epoch, batch)
        with pytest.raises(KilledError):
            train(settings(), dataset, tmp_path / "run")

    train(settings(), dataset, tmp_path / "run", resume=True)

    require_same_end(tmp_path / "run", undisturbed)


def test_a_run_stopped_between_checkpoint_and_its_files_ends_the_same(
    dataset, undisturbed, tmp_path, monkeypatch
):
    def fail(self, published):
        if self.summary["epochs_run"] == 2:
            raise KilledError
        real(self, published)

    real = RunRecorder.write_epoch
    with monkeypatch.context() as patch:
        patch.setattr(RunRecorder, "write_epoch", fail)
        with pytest.raises(KilledError):
            train(settings(), dataset, tmp_path / "run")

    train(settings(), dataset, tmp_path / "run", resume=True)

    require_same_end(tmp_path / "run", undisturbed)


def test_a_run_stopped_after_its_last_checkpoint_is_brought_to_its_end(
    dataset, undisturbed, tmp_path, monkeypatch
):
    with monkeypatch.context() as patch:
        patch.setattr(RunRecorder, "finish", lambda *_args, **_more: None)
        train(settings(), dataset, tmp_path / "run")

    run = train(settings(), dataset, tmp_path / "run", resume=True)

    assert run.summary["status"] == "finished"
    require_same_end(tmp_path / "run", undisturbed)


def test_patience_that_was_over_stays_over(dataset, tmp_path, monkeypatch):
    config = settings(epochs=9, patience=1, learning_rate=1e-12, ema_decay=None)
    whole = train(config, dataset, tmp_path / "whole")
    with monkeypatch.context() as patch:
        patch.setattr(RunRecorder, "finish", lambda *_args, **_more: None)
        train(config, dataset, tmp_path / "run")

    run = train(config, dataset, tmp_path / "run", resume=True)

    assert run.summary["epochs_run"] < 9
    assert run.summary["stopped_early"]
    require_same_end(run.path, whole.path)


def signalled_at(patch, number, epoch, batch, *, in_validation=False):
    """Send this process a signal before a batch of an epoch, both from 0."""
    real, epochs = Loader.__iter__, []

    def iterate(self):
        epochs.extend([self.epoch] if self.shuffle else [])
        for position, item in enumerate(real(self)):
            if self.shuffle != in_validation and (epochs[-1], position) == (epoch, batch):
                os.kill(os.getpid(), number)
                os.kill(os.getpid(), signal.SIGTERM)  # as a launcher may do, once more
            yield item

    patch.setattr(Loader, "__iter__", iterate)


@pytest.mark.parametrize(
    ("number", "in_validation", "steps"),
    [
        (signal.SIGINT, False, 6),
        (signal.SIGTERM, False, 6),
        (signal.SIGTERM, True, 8),
        (signal.SIGUSR1, False, 6),
        (signal.SIGHUP, True, 8),
    ],
)
def test_a_signal_writes_a_checkpoint_and_says_how_to_go_on(
    dataset, undisturbed, tmp_path, monkeypatch, number, in_validation, steps
):
    config = settings(checkpoint_minutes=60.0, num_workers=2)  # threads that load
    handler = signal.getsignal(number)
    with monkeypatch.context() as patch:
        signalled_at(patch, number, 1, 1, in_validation=in_validation)
        with pytest.raises(KeyboardInterrupt) as caught:
            train(config, dataset, tmp_path / "run")

    assert exit_code(caught.value) == 128 + number
    assert signal.getsignal(number) is handler
    assert state_in(last(tmp_path / "run"))["step"] == steps
    assert Run.open(tmp_path / "run").summary["status"] == "interrupted"
    assert f"reben train --resume {tmp_path / 'run'}" in (tmp_path / "run/train.log").read_text()
    train(config, dataset, tmp_path / "run", resume=True)
    require_same_end(tmp_path / "run", undisturbed)


def test_a_users_own_handler_is_called_once_the_checkpoint_is_written(
    dataset, tmp_path, monkeypatch
):
    steps = []
    before = signal.signal(
        signal.SIGUSR1, lambda *_: steps.append(state_in(last(tmp_path / "run"))["step"])
    )
    try:
        signalled_at(monkeypatch, signal.SIGUSR1, 0, 2)
        with pytest.raises(KeyboardInterrupt):
            train(settings(), dataset, tmp_path / "run")
    finally:
        signal.signal(signal.SIGUSR1, before)

    assert steps == [3]


def test_hardware_settings_may_change_and_what_was_in_effect_before_is_kept(
    dataset, tmp_path, monkeypatch
):
    with monkeypatch.context() as patch:
        killed_at(patch, 1, 2)
        with pytest.raises(KilledError):
            train(settings(), dataset, tmp_path / "run")

    changed = settings(num_workers=1, accumulate=1, checkpoint_minutes=60.0)
    run = train(changed, dataset, tmp_path / "run", resume=True)

    assert run.config == changed
    assert run.summary["in_effect"]["accumulate"] == 1
    assert [one["accumulate"] for one in run.summary["in_effect_before"]] == [2]
    assert "accumulate was 2, now 1" in (run.path / "train.log").read_text()


def test_a_checkpoint_needs_no_other_weights(dataset, tmp_path, monkeypatch):
    torch.manual_seed(3)
    Classifier("test_resnet", "rgb").save_pretrained(tmp_path / "init")
    config = settings(init=str(tmp_path / "init"))
    with monkeypatch.context() as patch:
        killed_at(patch, 1, 0)
        with pytest.raises(KilledError):
            train(config, dataset, tmp_path / "run")
    known = Run.open(tmp_path / "run").summary["in_effect"]["initial_weights"]
    shutil.rmtree(tmp_path / "init")

    run = train(config, dataset, tmp_path / "run", resume=True)

    assert run.summary["in_effect"]["initial_weights"] == known
    assert known["name"] == "init"


def test_pretrained_weights_are_not_asked_for_again(dataset, undisturbed, tmp_path, monkeypatch):
    folder = unfinished(undisturbed, tmp_path / "run")
    config = settings(pretrained=True)
    (folder / "config.toml").write_text(config.to_toml())
    state = state_in(last(folder))
    state["run"]["config"] = config.to_toml()
    save_file(load_file(last(folder)), last(folder), {"reben": json.dumps(state)})

    run = train(config, dataset, folder, resume=True)  # sockets are blocked

    assert run.summary["status"] == "finished"


@pytest.mark.parametrize("content", [None, b"", b'{"best_epoch": "x"}'])
def test_a_summary_that_is_damaged_or_gone_comes_from_the_checkpoint(
    dataset, undisturbed, tmp_path, content
):
    folder = unfinished(undisturbed, tmp_path / "run")
    (folder / "summary.json").unlink()
    if content is not None:
        (folder / "summary.json").write_bytes(content)

    train(settings(), dataset, folder, resume=True)

    require_same_end(folder, undisturbed)


def test_a_finished_run_is_left_as_it_is_and_says_so(dataset, undisturbed, caplog):
    before = {file: file.stat().st_mtime_ns for file in undisturbed.rglob("*")}

    with caplog.at_level("INFO"):
        train(settings(), dataset, undisturbed, resume=True)

    assert "is finished; there is nothing to do" in caplog.text
    assert {file: file.stat().st_mtime_ns for file in undisturbed.rglob("*")} == before


def test_another_setting_is_refused_and_shown(dataset, undisturbed):
    with pytest.raises(ConfigError, match=r"learning_rate 0\.01, now 0\.5"):
        train(settings(learning_rate=0.5), dataset, undisturbed, resume=True)


def test_other_data_are_refused(dataset, undisturbed):
    fewer = type(dataset)(dataset.store, dataset.table.take(range(13)), dataset.bands)

    with pytest.raises(RunError, match="other patches"):
        train(settings(), fewer, undisturbed, resume=True)


def test_the_checkpoint_of_another_model_is_refused(dataset, undisturbed, tmp_path, monkeypatch):
    unfinished(undisturbed, tmp_path / "run")
    other = train(settings(backbone="test_efficientnet", epochs=1), dataset, tmp_path / "other")
    shutil.copy(other.path / "checkpoints/last.ckpt", tmp_path / "run/checkpoints/last.ckpt")

    with pytest.raises(ConfigError, match=r"backbone 'test_efficientnet', now 'test_resnet'"):
        train(settings(), dataset, tmp_path / "run", resume=True)


def test_a_folder_that_is_no_run_is_refused(dataset, tmp_path):
    with pytest.raises(RunError, match="no run to resume"):
        train(settings(), dataset, tmp_path, resume=True)


def test_a_checkpoint_that_would_run_code_is_refused(dataset, undisturbed, tmp_path):
    unfinished(undisturbed, tmp_path / "run")
    torch.save({"run": Path("x"), "model": KilledError()}, tmp_path / "run/checkpoints/last.ckpt")

    with pytest.raises(RunError, match="pickled by an older version of reben"):
        train(settings(), dataset, tmp_path / "run", resume=True)


def test_a_finished_run_of_an_older_version_opens(dataset, undisturbed, tmp_path):
    shutil.copytree(undisturbed, tmp_path / "run")
    torch.save({"epoch": 2}, tmp_path / "run/checkpoints/last.ckpt")

    run = train(settings(), dataset, tmp_path / "run", resume=True)

    assert run.summary["status"] == "finished"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda _: None, "not a checkpoint of reben"),
        (lambda state: state[:-1], "last.ckpt is not as it should be: Invalid JSON"),
        (lambda state: state.replace('"step": 12', '"step": -1'), r"last.ckpt .* step: .*-1"),
        (lambda state: state.replace('"epoch": 3', '"epoch": 1000000000', 1), "epoch 1000000000"),
        (lambda state: state.replace('"batch": 0', '"batch": 3', 1), "step 12 is not that of"),
        (lambda state: state.replace('"rows": [{', '"rows": [], "x": [{'), "figures of 0 epochs"),
        (lambda state: state.replace('"digest": "', '"digest": "0'), "tensors are not those"),
        (
            lambda state: state.replace('"train_loss": [', '"train_loss": [1e999, 0], "x": ['),
            r"train_loss\.0: ",
        ),
    ],
)
def test_a_damaged_checkpoint_is_an_error_that_names_what_is_wrong(
    dataset, undisturbed, tmp_path, change, said
):
    file = last(unfinished(undisturbed, tmp_path / "run"))
    tensors, state = load_file(file), json.dumps(state_in(file))
    state = change(state)
    save_file(tensors, file, None if state is None else {"reben": state})

    with pytest.raises(RunError, match=said):
        train(settings(), dataset, tmp_path / "run", resume=True)


@pytest.mark.parametrize("change", ["missing", "another shape", "no optimiser"])
def test_a_checkpoint_that_does_not_fit_the_model_leaves_the_run_as_it_is(
    dataset, undisturbed, tmp_path, change
):
    file = last(unfinished(undisturbed, tmp_path / "run"))
    tensors, state = load_file(file), state_in(file)
    del state["digest"]  # as in checkpoints of older versions
    if change == "no optimiser":
        tensors = {n: t for n, t in tensors.items() if not n.startswith("optimiser.")}
    elif change == "missing":
        del tensors[
            next(name for name in tensors if name.startswith("model.") and name.endswith(".weight"))
        ]
    else:
        name = next(name for name in tensors if name.startswith("optimiser.0.exp_avg"))
        tensors[name] = tensors[name].flatten()[:3]
    save_file(tensors, file, {"reben": json.dumps(state)})
    before = {path: path.read_bytes() for path in (tmp_path / "run").glob("*.*")}

    with pytest.raises(RunError, match=r"last.ckpt does not fit the model: .*environment\.json"):
        train(settings(), dataset, tmp_path / "run", resume=True)

    del before[tmp_path / "run" / "train.log"]
    assert before == {path: path.read_bytes() for path in before}


def test_a_checkpoint_that_is_cut_off_is_an_error(dataset, undisturbed, tmp_path):
    file = last(unfinished(undisturbed, tmp_path / "run"))
    file.write_bytes(file.read_bytes()[:500])

    with pytest.raises(RunError, match=r"Cannot open the checkpoint .*last.ckpt: "):
        train(settings(), dataset, tmp_path / "run", resume=True)


def test_a_new_run_is_not_written_over_one_that_can_go_on(dataset, undisturbed):
    with pytest.raises(OSError, match="resume it: reben train --resume"):
        train(settings(), dataset, undisturbed)


def test_checkpoints_follow_the_clock(dataset, tmp_path, monkeypatch):
    saved = []
    real = Loop._save
    monkeypatch.setattr(Loop, "_save", lambda self: (saved.append(self.training.step), real(self)))

    train(settings(checkpoint_minutes=60.0, epochs=2), dataset, tmp_path / "run")

    assert saved == [4, 8]


NUM_KILLS = 5
LONGEST = 0.5
"""Seconds that a process may train before it is killed."""


@pytest.mark.slow
def test_a_run_killed_at_random_moments_ends_like_one_that_was_never_stopped(dataset, tmp_path):
    config = settings(epochs=25, patience=25).to_toml()
    command = [sys.executable, "-c", SCRIPT, str(dataset.store.path)]
    subprocess.run([*command, str(tmp_path / "whole"), config, "no"], check=True, timeout=500)
    chance = random.Random(3)
    steps = []
    for number in range(NUM_KILLS):
        resume = "yes" if number else "no"
        process = subprocess.Popen([*command, str(tmp_path / "run"), config, resume])
        wait_for_a_checkpoint(process, tmp_path / "run")
        time.sleep(chance.random() * LONGEST)
        process.kill()
        if process.wait(timeout=60) == 0:
            break  # a quick machine: it was done before it was killed
        assert process.returncode == -signal.SIGKILL
        steps.append(state_in(last(tmp_path / "run"))["step"])

    subprocess.run([*command, str(tmp_path / "run"), config, "yes"], check=True, timeout=500)

    assert len(steps) >= 3
    assert steps == sorted(set(steps)), "each process came further than the one before"
    assert Run.open(tmp_path / "run").summary["status"] == "finished"
    require_same_end(tmp_path / "run", tmp_path / "whole")


def wait_for_a_checkpoint(process, folder):
    """Return once a process has written one of a later step; an error if that takes minutes."""
    file = folder / "checkpoints" / "last.ckpt"
    before = state_in(last(folder))["step"] if file.is_file() else 0
    until = time.monotonic() + 300
    while not file.is_file() or state_in(last(folder))["step"] == before:
        assert process.poll() is None, "it ended before it was killed"
        assert time.monotonic() < until, "no checkpoint in five minutes"
        time.sleep(0.005)
