"""What crosses to an accelerator as raw bands becomes the images that a CPU trains on."""

import pytest
import torch

from reben.data.loader import Loader, RawLoader
from reben.learn.training.data_module import training_loaders
from reben.learn.training.feed import batches_on
from reben.model.classifier import Classifier

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def classifier():
    torch.manual_seed(0)
    return Classifier("test_resnet", "s2")


def epochs(dataset, classifier, config, device, *, raw, rank=0):
    """Return names, images and labels of two epochs, on the CPU."""
    loaders = training_loaders(dataset, classifier, config, rank=rank, device=device, raw=raw)
    assert all(isinstance(loader, RawLoader if raw else Loader) for loader in loaders)
    preprocess = Classifier("test_resnet", "s2").preprocess.to(device)
    seen = []
    for epoch in range(2):
        for loader in loaders:
            loader.set_epoch(epoch)
            for batch in batches_on(device, loader, preprocess):
                assert batch.images.device.type == batch.multi_hot.device.type == device.type
                seen.append((batch.names, batch.images.cpu(), batch.multi_hot.cpu()))
    return seen


def require_equal(found, expected, **tolerance):
    assert [names for names, _, _ in found] == [names for names, _, _ in expected]
    for (_, images, labels), (_, wanted, multi_hot) in zip(found, expected, strict=True):
        torch.testing.assert_close(images, wanted, **tolerance)
        assert torch.equal(labels, multi_hot)


@pytest.mark.parametrize("rank", [0, 1])
def test_raw_bands_become_the_images_that_the_loader_makes(dataset, tiny, classifier, rank):
    config = tiny(bands="s2", devices=2, flips=True)
    expected = epochs(dataset, classifier, config, CPU, raw=False, rank=rank)
    found = epochs(dataset, classifier, config, CPU, raw=True, rank=rank)
    require_equal(found, expected, rtol=0, atol=0)


def test_every_batch_crosses_once_and_in_order(dataset, tiny, classifier):
    """A device that holds no values still tells what was moved to it, and in which shape."""
    config = tiny(bands="s2", flips=True)
    loader, _ = training_loaders(dataset, classifier, config, raw=True)
    preprocess = Classifier("test_resnet", "s2").preprocess.to("meta")
    crossed = list(batches_on(torch.device("meta"), loader, preprocess))
    assert [batch.names for batch in crossed] == [batch.names for batch in loader]
    assert [tuple(batch.images.shape) for batch in crossed] == [
        (len(batch.names), 10, 120, 120) for batch in crossed
    ]
    assert {batch.images.device.type for batch in crossed} == {"meta"}


@pytest.mark.gpu
@pytest.mark.parametrize("raw", [True, False])
def test_a_gpu_gets_the_same_images(dataset, tiny, classifier, raw):
    config = tiny(bands="s2", flips=True)
    expected = epochs(dataset, classifier, config, CPU, raw=False)
    found = epochs(dataset, classifier, config, torch.device("cuda"), raw=raw)
    require_equal(found, expected, rtol=0, atol=1e-5)
