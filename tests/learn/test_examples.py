"""The scripts that start several processes, with two of them on this machine.

There is no SLURM here: a stand-in for srun starts the tasks and sets the variables that srun sets
and Lightning reads. That srun itself, several machines and GPUs work is not shown by this.
"""

import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest

from made_up import write_store
from reben.learn.run import Run

EXAMPLES = Path(__file__).parents[2] / "examples"
SRUN = """#!/usr/bin/env bash
set -euo pipefail
while [[ "$1" == --* ]]; do shift; done
pids=()
for task in 0 1; do
    SLURM_STEP_NUM_TASKS=2 SLURM_PROCID=$task SLURM_LOCALID=$task SLURM_NODEID=0 "$@" &
    pids+=($!)
done
for pid in "${pids[@]}"; do wait "$pid"; done
"""
SLURM = {
    "SLURM_JOB_ID": "4711",
    "SLURM_JOB_NAME": "reben",
    "SLURM_NTASKS": "2",
    "SLURM_NTASKS_PER_NODE": "2",
    "SLURM_JOB_NUM_NODES": "1",
    "SLURM_NNODES": "1",
    "SLURM_NODELIST": "localhost",
    "SLURM_JOB_NODELIST": "localhost",
}

pytestmark = pytest.mark.slow


@pytest.fixture
def start(tmp_path):
    """Run a script on a small store, and return what it wrote to stdout."""
    store = write_store(tmp_path / "store", num_train=13, num_validation=7, num_test=3)
    (tmp_path / "bin").mkdir()
    srun = tmp_path / "bin" / "srun"
    srun.write_text(SRUN)
    srun.chmod(0o755)
    path = f"{tmp_path / 'bin'}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    words = [
        *("--backbone", "test_resnet", "--bands", "rgb", "--accelerator", "cpu"),
        *("--epochs", "3", "--batch-size", "6", "--checkpoint-minutes", "1e-9"),
    ]

    def run(script, **variables):
        done = subprocess.run(
            ["bash", str(EXAMPLES / script), str(store), str(tmp_path / "run"), *words],
            env={**os.environ, "PATH": path, "DEVICES": "2", "OMP_NUM_THREADS": "1", **variables},
            capture_output=True,
            text=True,
            timeout=280,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def forget_the_end(folder):
    """Make a run as it is when the machine goes down after the last checkpoint."""
    summary = folder / "summary.json"
    summary.write_text(summary.read_text().replace('"finished"', '"running"'))


@pytest.mark.parametrize(
    ("script", "variables"), [("train-torchrun.sh", {}), ("train-slurm.sh", SLURM)]
)
def test_two_processes_train_one_model_and_the_same_command_goes_on(
    start, tmp_path, script, variables
):
    said = start(script, **variables)

    run = Run.open(tmp_path / "run")
    assert said.strip() == str(run.path)  # told once, by the first process
    assert run.config.devices == 2
    assert (run.summary["status"], run.summary["steps"]) == ("finished", 3 * 2)
    with (run.path / "metrics.csv").open() as file:
        assert [row["epoch"] for row in csv.DictReader(file)] == ["1", "2", "3"]
    forget_the_end(run.path)

    start(script, **variables)

    assert Run.open(tmp_path / "run").summary["status"] == "finished"
    assert "Resuming from" in (run.path / "train.log").read_text()
