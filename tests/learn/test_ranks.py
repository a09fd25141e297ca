import json
import subprocess
import sys
from pathlib import Path

import pytest

from made_up import write_store

SCRIPT = """
import json, os, sys
import torch

torch.set_num_threads(1)
from reben import Loader, TrainConfig, open_dataset
from reben.learn.distributed import gather_rows, rank_and_size
from reben.learn.training.loop import Loop
from reben.learn.train import train

store, out, config, figures, die_at, fault = sys.argv[1:]
losses, seen = [], []
step, iterate = Loop._take_step, Loader.__iter__


def take_step(self, batch):
    if self.training.step == int(die_at) and rank_and_size()[0] == 1:
        os._exit(9)
    total = step(self, batch)
    if fault == "nan" and self.training.step == 7 and rank_and_size()[0] == 1:
        total = total * float("nan")
    both = gather_rows(torch.tensor([[float(total), len(batch.names)]]))
    losses.append(float(both[:, 0].sum() / both[:, 1].sum()))
    return total


def watch(self):
    for batch in iterate(self):
        if not self.shuffle:
            seen.extend(batch.names)
        yield batch


Loop._take_step, Loader.__iter__ = take_step, watch
resume = die_at == "-1" and os.path.exists(out)
rank = int(os.environ.get("RANK", 0))
config = TrainConfig.from_toml(config + (f"seed = {rank}" if fault == "seed" else ""))
data = open_dataset(store, countries=["Austria"] if fault == "data" and rank else None)
run = train(config, data, out, resume=resume)
with open(f"{figures}.{rank}", "w") as file:
    json.dump({"losses": losses, "seen": seen, "summary": dict(run.summary)}, file)
"""


def settings(devices, accumulate=1):
    # A network without batch norm: those see each rank's piece of the batch alone.
    return f"""
backbone = "test_vit3"
bands = "rgb"
accelerator = "cpu"
devices = {devices}
accumulate = {accumulate}
batch_size = 6
epochs = 4
patience = 9
learning_rate = 1e-3
drop_rate = 0.0
drop_path_rate = 0.0
turns = false
checkpoint_minutes = 1e-9
"""


def run_with(tmp_path, store, devices, accumulate=1, name=None, die_at=-1, fault=""):
    name = name or f"{devices}-{accumulate}"
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(devices)]
    words = [*(launcher if devices > 1 else []), str(script), str(store), str(tmp_path / name)]
    done = subprocess.run(
        [
            *(sys.executable, *words, settings(devices, accumulate)),
            *(str(tmp_path / f"{name}-figures"), str(die_at), fault),
        ],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    found = [Path(f"{tmp_path / name}-figures.{rank}") for rank in range(devices)]
    return done, [json.loads(file.read_text()) for file in found if file.is_file()]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A store of 29 train patches, whose last batch of an epoch is short, and one process's run."""
    folder = tmp_path_factory.mktemp("ranks")
    store = write_store(folder / "store", num_train=29, num_validation=11, num_test=3)
    done, (alone,) = run_with(folder, store, 1)
    assert done.returncode == 0, done.stderr
    return folder, store, alone


@pytest.mark.slow
@pytest.mark.parametrize(("devices", "accumulate"), [(2, 1), (1, 3), (2, 2)])
def test_the_loss_curve_does_not_depend_on_processes_and_parts(place, devices, accumulate):
    folder, store, alone = place

    done, found = run_with(folder, store, devices, accumulate)

    assert done.returncode == 0, done.stderr
    assert len(alone["losses"]) == 20
    for figures in found:
        assert figures["losses"] == pytest.approx(alone["losses"], abs=1e-4)
    assert found[0]["summary"]["steps"] == 20
    best = "best_validation_macro_average_precision"
    assert found[0]["summary"][best] == pytest.approx(alone["summary"][best], abs=1e-3)


@pytest.mark.slow
def test_validation_counts_each_patch_once_over_all_processes(place):
    folder, store, alone = place

    done, found = run_with(folder, store, 2, name="seen")

    assert done.returncode == 0, done.stderr
    both = [name for figures in found for name in figures["seen"]]
    assert sorted(both) == sorted(alone["seen"])


@pytest.mark.slow
def test_when_one_process_dies_the_others_stop_and_the_run_can_go_on(place):
    folder, store, alone = place

    died, _ = run_with(folder, store, 2, name="died", die_at=7)
    done, found = run_with(folder, store, 2, name="died")

    assert died.returncode != 0
    assert done.returncode == 0, done.stderr
    assert found[0]["summary"]["status"] == "finished"
    num_left = len(found[0]["losses"])
    assert num_left == 20 - 7
    assert found[0]["losses"] == pytest.approx(alone["losses"][-num_left:], abs=1e-4)


@pytest.mark.slow
def test_a_loss_that_is_no_number_on_one_process_ends_all_and_is_recorded(place):
    folder, store, _ = place

    done, _ = run_with(folder, store, 2, name="nan", fault="nan")

    assert done.returncode != 0
    summary = json.loads((folder / "nan" / "summary.json").read_text())
    assert summary["status"] == "failed"
    log = (folder / "nan" / "train.log").read_text()
    assert "TrainingError: The loss is nan in training after 6 steps" in log
    assert "Connection closed" not in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(("fault", "what"), [("seed", "config"), ("data", "train")])
def test_processes_with_other_settings_or_data_are_refused(place, fault, what):
    folder, store, _ = place

    done, _ = run_with(folder, store, 2, name=fault, fault=fault)

    assert done.returncode != 0
    assert f"Process 1 has another {what} than process 0" in done.stderr
