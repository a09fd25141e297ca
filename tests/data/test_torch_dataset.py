import multiprocessing
import pickle

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from made_up import grow, write_store
from reben.data.loader import Loader, open_dataset
from reben.data.preprocess import Preprocess
from reben.data.torch_dataset import TorchDataset
from reben.spec.bands import BandSet
from reben.spec.labels import PAPER_LABELS
from reben.spec.statistics import published_statistics

BANDS = BandSet(("VH", "B05", "B02"))


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return open_dataset(write_store(tmp_path_factory.mktemp("store")))


def preprocess():
    return Preprocess(BANDS, published_statistics())


def expected(dataset, labels=None):
    settings = {} if labels is None else {"labels": labels}
    (batch,) = Loader(dataset, preprocess(), 64, **settings)
    return batch


def test_items_are_those_of_the_loader(dataset):
    patches = TorchDataset(dataset, preprocess(), labels=PAPER_LABELS)
    batch = expected(dataset, PAPER_LABELS)
    assert len(patches) == 12
    for position, (image, labels) in enumerate(patches):
        assert torch.equal(image, batch.images[position])
        assert torch.equal(labels, batch.multi_hot[position])
    assert torch.equal(patches[-1][0], patches[11][0])
    with pytest.raises(IndexError):
        patches[12]


def test_items_can_be_changed_without_changing_others(dataset):
    patches = TorchDataset(dataset, preprocess())
    patches[3][0][:] = 0
    assert patches[3][0].any()


@pytest.mark.parametrize("method", [None, "fork", "spawn"])
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork.*:DeprecationWarning")
def test_torchs_loader_gives_the_same_with_workers_of_any_kind(dataset, method):
    patches = TorchDataset(dataset, preprocess())
    patches[0]
    loader = DataLoader(patches, 5, num_workers=2 if method else 0, multiprocessing_context=method)
    batch = expected(dataset)
    found = [torch.cat(parts) for parts in zip(*loader, strict=True)]
    assert torch.equal(found[0], batch.images)
    assert torch.equal(found[1], batch.multi_hot)
    assert torch.equal(patches[0][0], batch.images[0])


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork.*:DeprecationWarning")
def test_workers_go_on_while_the_store_grows(tmp_path):
    dataset = open_dataset(write_store(tmp_path / "store"), "all_full")
    patches = TorchDataset(dataset, preprocess())
    loader = DataLoader(patches, 12, num_workers=1, persistent_workers=True)
    (before,) = loader
    growing = multiprocessing.get_context("spawn").Process(target=grow, args=(tmp_path / "store",))
    growing.start()
    growing.join(60)
    (after,) = loader
    assert torch.equal(after[0], before[0])
    assert "new109" in dataset.store


def test_a_pickled_one_gives_the_same(dataset):
    patches = pickle.loads(pickle.dumps(TorchDataset(dataset, preprocess())))
    np.testing.assert_array_equal(patches[7][0], expected(dataset).images[7])
