"""A small made-up store and settings for tiny runs on it."""

import pytest
import torch

from made_up import write_store
from reben.data.loader import open_dataset
from reben.learn.config import TrainConfig

TINY = {"backbone": "test_resnet", "bands": "rgb", "accelerator": "cpu"}


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def dataset(tmp_path_factory):
    """Seven train, five validation and three test patches; do not write into the store."""
    folder = tmp_path_factory.mktemp("learn") / "store"
    write_store(folder, num_train=7, num_validation=5, num_test=3)
    return open_dataset(folder)


@pytest.fixture
def tiny():
    """Settings of a run that takes a second, with changes."""

    def settings(**changes):
        return TrainConfig(**{**TINY, "epochs": 2, "batch_size": 3, **changes})

    return settings
