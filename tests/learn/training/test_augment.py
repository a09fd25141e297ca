import numpy as np
import torch

from reben.learn.training.augment import drop_bands, turn, turn_at_random


def images(count, channels=3, side=4):
    return torch.arange(count * channels * side * side).view(count, channels, side, side).float()


def test_turns_are_numpys():
    found = turn(images(4), torch.tensor([0, 1, 2, 3]))

    for number, image in enumerate(images(4)):
        assert np.array_equal(found[number], np.rot90(image, number, (1, 2)))


def test_all_turns_occur_and_the_generator_decides():
    torch.manual_seed(3)
    first = turn_at_random(images(1).expand(64, 3, 4, 4))
    torch.manual_seed(3)
    second = turn_at_random(images(1).expand(64, 3, 4, 4))

    assert torch.equal(first, second)
    assert len({tuple(image.flatten().tolist()) for image in first}) == 4


def test_bands_are_dropped_whole_and_the_rest_is_unchanged():
    torch.manual_seed(0)
    before = images(200) + 1

    after = drop_bands(before, 0.3)

    kept = (after == before).flatten(2).all(2)
    gone = (after == 0).flatten(2).all(2)
    assert bool((kept ^ gone).all())
    assert 0.2 < float(gone.float().mean()) < 0.4


def test_an_image_keeps_one_band_at_least():
    torch.manual_seed(0)
    after = drop_bands(images(500) + 1, 0.99)

    assert bool((after != 0).flatten(1).any(1).all())
