"""Devices and processes that do not fit together are refused before anything is written."""

import re
import socket

import pytest

from reben.errors import ConfigError, TrainingError
from reben.learn.config import TrainConfig
from reben.learn.training.hardware import build_fabric, out_of_memory, require_launched
from reben.learn.training.launch import launch


def config(**settings):
    return TrainConfig(bands="rgb", accelerator="cpu", **settings)


@pytest.mark.parametrize("name", ["WORLD_SIZE", "SLURM_STEP_NUM_TASKS"])
def test_as_many_processes_as_the_settings_say_are_started_or_it_is_refused(monkeypatch, name):
    monkeypatch.setenv(name, "4")

    require_launched(config(devices=4))
    require_launched(config(devices=2, num_nodes=2))
    with pytest.raises(ConfigError, match=rf"4 processes were started \({name}\), and devices 1"):
        require_launched(config())


def test_several_machines_need_a_launcher(monkeypatch):
    for name in ("WORLD_SIZE", "SLURM_STEP_NUM_TASKS", "MASTER_ADDR"):
        monkeypatch.delenv(name, raising=False)

    with pytest.raises(ConfigError, match="num_nodes 2 needs a launcher"):
        require_launched(config(num_nodes=2))


def test_more_processes_than_a_machine_can_bear_are_refused():
    with pytest.raises(ConfigError, match=r"devices 500 would start as many processes.*at most"):
        build_fabric(config(devices=500))


def test_a_port_that_is_in_use_is_said_with_the_cure():
    from torch.distributed import TCPStore

    class Fabric:
        class strategy:
            launcher = None

        def launch(self, work):
            work()

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(TrainingError, match="set MASTER_PORT to a free one"):
            launch(Fabric(), lambda: TCPStore("127.0.0.1", port, 2, is_master=True))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"batch_size": 12, "accumulate": 2}, "with 6 patches.*Set accumulate to 4, "),
        ({"batch_size": 12, "accumulate": 7}, "with 2 patches.*Set accumulate to 12, "),
        ({"batch_size": 12, "accumulate": 12}, "with 1 patches.*Choose a smaller backbone"),
    ],
)
def test_the_cure_for_full_memory_is_one_that_can_be_set(settings, said):
    error = out_of_memory(MemoryError(), config(**settings), 0)

    assert re.search(said, str(error))
    if "accumulate to" in str(error):
        config(**{**settings, "accumulate": int(re.search(r"accumulate to (\d+)", str(error))[1])})
