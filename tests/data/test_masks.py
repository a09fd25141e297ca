import numpy as np
import pytest
import torch

from made_up import patch_id, write_store
from reben.data.dataset import UNLABELLED, classes_of_codes
from reben.data.loader import Loader, RawLoader, open_dataset
from reben.data.preprocess import Preprocess
from reben.data.store import StoreWriter
from reben.errors import ConfigError, MissingPatchError, PatchShapeError, PixelValueError
from reben.spec.bands import BandSet
from reben.spec.labels import LABELS, PAPER_LABELS
from reben.spec.statistics import published_statistics

CODES = (111, 211, 231, 311, 335, 999, 523)
BANDS = BandSet(("B01",))


def codes_of(number):
    rows, columns = np.meshgrid(np.arange(120), np.arange(120), indexing="ij")
    return np.array(CODES, np.uint16)[(number + rows // 20 + columns // 50) % len(CODES)]


@pytest.fixture
def dataset(tmp_path):
    write_store(tmp_path)
    with StoreWriter(tmp_path) as writer:
        for number in range(12):
            writer.put(f"{patch_id(number)}_reference_map", {"Data": codes_of(number)})
    return open_dataset(tmp_path, BANDS)


def loader(dataset, **settings):
    return Loader(dataset, Preprocess(BANDS, published_statistics()), 5, **settings)


def test_there_are_no_masks_unless_asked_for(dataset):
    assert next(iter(loader(dataset))).masks is None
    assert next(iter(RawLoader(dataset, 5))).masks is None


@pytest.mark.parametrize("num_workers", [0, 2])
def test_masks_are_the_codes_of_the_reference_maps(dataset, num_workers):
    masks = [batch.masks for batch in loader(dataset, masks="codes", num_workers=num_workers)]
    assert masks[0].dtype == torch.uint16
    found = np.concatenate([mask.numpy() for mask in masks])
    np.testing.assert_array_equal(found, [codes_of(number) for number in range(12)])


def test_masks_are_flipped_with_their_images(dataset):
    settings = {"masks": "codes", "flips": True, "shuffle": True, "seed": 5}
    seen = set()
    for batch in loader(dataset, **settings):
        for image, mask, name in zip(batch.images, batch.masks, batch.names, strict=True):
            codes = codes_of(dataset.table.position(name))
            flip_x, flip_y = (
                bool(image[0, 0, 0] > image[0, 0, -1]),
                bool(image[0, 0, 0] < image[0, -1, 0]),
            )
            turned = codes[:: -1 if flip_y else 1, :: -1 if flip_x else 1]
            np.testing.assert_array_equal(mask, turned)
            seen.add((flip_x, flip_y))
    assert len(seen) == 4


@pytest.mark.parametrize("masks", ["codes", "classes"])
def test_raw_batches_finish_with_the_same_masks(dataset, masks):
    settings = {"masks": masks, "flips": True, "shuffle": True, "seed": 5}
    raw = RawLoader(dataset, 5, **settings)
    preprocess = Preprocess(BANDS, published_statistics())
    for batch, unfinished in zip(loader(dataset, **settings), raw, strict=True):
        assert torch.equal(unfinished.finish(preprocess).masks, batch.masks)


@pytest.mark.parametrize("labels", [LABELS, PAPER_LABELS])
def test_classes_are_positions_in_the_labels_of_the_loader(dataset, labels):
    (batch, *_) = loader(dataset, masks="classes", labels=labels)
    meaning = {111: "Urban fabric", 211: "Arable land", 231: "Pastures"}
    meaning |= {311: "Broad-leaved forest", 523: "Marine waters"}
    expected = [
        labels.index(meaning[code]) if code in meaning else UNLABELLED
        for code in codes_of(0).ravel().tolist()
    ]
    assert batch.masks.dtype == torch.int64
    assert batch.masks[0].flatten().tolist() == expected


def test_torch_leaves_unlabelled_pixels_out_of_a_loss():
    scores = torch.zeros(1, 19, 3)
    classes = classes_of_codes(torch.tensor([[211, 999, 231]], dtype=torch.uint16))
    losses = torch.nn.functional.cross_entropy(scores, classes, reduction="none")
    assert losses[0, 1] == 0
    assert losses[0, 0] > 0


def test_a_missing_reference_map_is_named(tmp_path):
    dataset = open_dataset(write_store(tmp_path), BANDS)
    with pytest.raises(MissingPatchError, match=f"{patch_id(0)}_reference_map"):
        next(iter(loader(dataset, masks="codes")))


@pytest.mark.parametrize(
    ("pixels", "error", "message"),
    [
        (np.zeros((60, 60), np.uint16), PatchShapeError, r"reference_map has shape \(60, 60\)"),
        (np.zeros((120, 120), np.float32), PixelValueError, "reference_map has dtype float32"),
    ],
)
def test_a_reference_map_that_is_none_is_refused(tmp_path, pixels, error, message):
    write_store(tmp_path)
    with StoreWriter(tmp_path) as writer:
        writer.put(f"{patch_id(0)}_reference_map", {"Data": pixels})
    with pytest.raises(error, match=message):
        next(iter(loader(open_dataset(tmp_path, BANDS), masks="codes")))


def test_other_masks_are_refused(dataset):
    with pytest.raises(ConfigError, match="not 'colours'"):
        loader(dataset, masks="colours")
