import numpy as np
import pytest
import torch

from made_up import band, patch, patch_id, row, write_metadata, write_store
from reben.data.loader import Dataset, Loader, flip, open_dataset
from reben.data.metadata import PatchTable
from reben.data.preprocess import Preprocess, check_bands
from reben.data.store import Store, StoreWriter
from reben.errors import (
    BandsMismatchError,
    ConfigError,
    EmptySplitError,
    MetadataError,
    MissingPatchError,
    PatchShapeError,
    PixelValueError,
)
from reben.spec.bands import ALL, S1, S2, BandSet
from reben.spec.labels import LABELS, PAPER_LABELS
from reben.spec.statistics import published_statistics


@pytest.fixture
def folder(tmp_path):
    return write_store(tmp_path / "store")


@pytest.fixture
def dataset(folder):
    return open_dataset(folder, "all")


def preprocess_for(bands):
    return Preprocess(bands, published_statistics())


def test_a_store_opens_with_the_metadata_inside_it(dataset):
    assert len(dataset) == 12
    assert dataset.splits == ("train", "validation", "test")
    assert {split: len(dataset[split]) for split in dataset.splits} == {
        "train": 6,
        "validation": 3,
        "test": 3,
    }


def test_sentinel_1_is_found_through_the_metadata(dataset):
    values = dataset.patch(4)
    assert list(values) == list(ALL)
    np.testing.assert_array_equal(values["VH"], band("VH", 4))
    np.testing.assert_array_equal(values["B11"], band("B11", 4))


def test_a_patch_is_found_by_name_within_its_split(dataset):
    np.testing.assert_array_equal(
        dataset["test"].patch(patch_id(10))["B02"], dataset.patch(10)["B02"]
    )
    with pytest.raises(MissingPatchError):
        dataset["test"].patch(patch_id(0))


def test_reading_stacks_in_the_order_asked(dataset):
    stacked = dataset.read([5, 0])
    np.testing.assert_array_equal(stacked["B05"], [band("B05", 5), band("B05", 0)], strict=True)


def test_a_split_without_patches_is_said(tmp_path):
    dataset = open_dataset(write_store(tmp_path, num_test=0))
    with pytest.raises(EmptySplitError, match=r"split test.*train 6, validation 3"):
        dataset["test"]


def test_snow_and_cloud_are_left_out_unless_asked_for(tmp_path):
    rows = [row(0), row(1, contains_seasonal_snow=True), row(2, contains_cloud_or_shadow=True)]
    store = write_store(tmp_path / "s")
    other = write_metadata(tmp_path / "m.parquet", rows)
    assert len(open_dataset(store, metadata=other)) == 1
    assert len(open_dataset(store, metadata=[other], snow=None, cloud=None)) == 3
    assert open_dataset(store, metadata=other, snow=True).filters[0] == ("snow", "true")


def test_several_metadata_files_list_their_patches_one_after_the_other(folder):
    files = [
        write_metadata(folder.parent / f"{number}.parquet", [row(number)]) for number in (7, 2)
    ]
    assert open_dataset(folder, metadata=files).table.patch_ids == [patch_id(7), patch_id(2)]
    assert len(open_dataset(folder, metadata=map(str, files))) == 2
    with pytest.raises(MetadataError, match="Name at least one"):
        open_dataset(folder, metadata=[])


def test_filters_are_remembered(folder):
    dataset = open_dataset(folder, countries=["Austria"], months=[6])["train"]
    assert dataset.filters == (
        ("countries", "Austria"),
        ("months", "6"),
        ("snow", "false"),
        ("cloud", "false"),
        ("split", "train"),
    )


def test_a_store_without_metadata_says_what_to_pass(folder):
    (folder / "metadata.parquet").unlink()
    with pytest.raises(MetadataError, match=r"holds no metadata\.parquet.*Pass metadata="):
        open_dataset(folder)


def test_a_patch_missing_in_the_store_is_named(folder):
    other = write_metadata(folder.parent / "m.parquet", [row(77)])
    with pytest.raises(MissingPatchError, match=patch_id(77)):
        next(iter(Loader(open_dataset(folder, metadata=other), preprocess_for(S2), 1)))


def test_a_band_missing_in_the_store_is_named(tmp_path):
    with StoreWriter(tmp_path) as writer:
        writer.put(patch_id(0), patch(0, ("B02", "B03")))
    table = PatchTable.read(write_metadata(tmp_path / "metadata.parquet", [row(0)]))
    with pytest.raises(BandsMismatchError, match="lacks B04"):
        Dataset(Store.open(tmp_path), table, BandSet(("B02", "B04"))).patch(0)


def test_a_band_of_two_sizes_is_named_with_the_patch(tmp_path):
    with StoreWriter(tmp_path) as writer:
        writer.put(patch_id(0), {"B02": np.ones((120, 120), np.uint16)})
        writer.put(patch_id(1), {"B02": np.ones((60, 60), np.uint16)})
    write_metadata(tmp_path / "metadata.parquet", [row(0), row(1)])
    with pytest.raises(PatchShapeError, match=patch_id(1)):
        open_dataset(tmp_path, "B02").read([0, 1])


def test_values_that_cannot_be_are_found_in_a_store_too(tmp_path):
    with StoreWriter(tmp_path) as writer:
        writer.put(patch_id(0), {"B02": np.full((120, 120), 0.3, np.float32)})
    write_metadata(tmp_path / "metadata.parquet", [row(0)])
    with pytest.raises(PixelValueError, match="reflectances"):
        next(iter(Loader(open_dataset(tmp_path), preprocess_for(BandSet(("B02",))), 1)))


def test_batches_hold_every_patch_once_with_its_labels(dataset):
    batches = list(Loader(dataset, preprocess_for(S1), 5))
    assert [len(batch.images) for batch in batches] == [5, 5, 2]
    assert [name for batch in batches for name in batch.names] == dataset.table.patch_ids
    labels = torch.cat([batch.multi_hot for batch in batches])
    np.testing.assert_array_equal(labels.numpy(), dataset.table.multi_hot())
    assert labels.dtype == torch.float32


def test_images_are_the_preprocessed_bands(dataset):
    (batch,) = Loader(dataset["test"], preprocess_for(ALL), 64)
    bands = check_bands(dataset["test"].read(range(3)), ALL)
    assert torch.equal(batch.images, preprocess_for(ALL)(bands))


def test_labels_come_in_the_order_asked(dataset):
    (batch,) = Loader(dataset, preprocess_for(S1), 64, labels=PAPER_LABELS)
    order = [LABELS.index(label) for label in PAPER_LABELS]
    np.testing.assert_array_equal(batch.multi_hot, dataset.table.multi_hot()[:, order])


def test_the_same_seed_and_epoch_give_the_same_batches(dataset):
    def epochs(seed):
        loader = Loader(dataset, preprocess_for(S1), 4, shuffle=True, flips=True, seed=seed)
        found = []
        for epoch in (0, 1):
            loader.set_epoch(epoch)
            found.append([(batch.names, batch.images.sum((1, 2)).tolist()) for batch in loader])
        return found

    assert epochs(1) == epochs(1)
    first, second = epochs(1)
    assert first != second
    assert epochs(2)[0] != first
    assert sorted(name for names, _ in first for name in names) == sorted(dataset.table.patch_ids)


def test_an_image_and_its_labels_stay_together_when_shuffled(dataset):
    loader = Loader(dataset, preprocess_for(BandSet(("B02",))), 4, shuffle=True, flips=True)
    figures = published_statistics()
    for batch in loader:
        for image, labels, name in zip(*batch[:3], strict=True):
            position = dataset.table.position(name)
            mean = (band("B02", position).mean() - figures.mean["B02"]) / figures.std["B02"]
            assert float(image.mean()) == pytest.approx(mean, abs=1e-4)
            np.testing.assert_array_equal(labels, dataset.table.multi_hot()[position])


def test_flips_are_those_asked_for_each_image():
    images = torch.arange(4 * 2 * 3 * 5).reshape(4, 2, 3, 5)
    which = torch.tensor([[False, False], [True, False], [False, True], [True, True]])
    flipped = flip(images, which)
    assert torch.equal(flipped[0], images[0])
    assert torch.equal(flipped[1], images[1].flip(2))
    assert torch.equal(flipped[2], images[2].flip(1))
    assert torch.equal(flipped[3], images[3].flip(1, 2))


def test_about_half_of_the_images_are_flipped_either_way(tmp_path):
    dataset = open_dataset(write_store(tmp_path, num_train=64))["train"]
    bands = BandSet(("B01",))
    plain = torch.cat([batch.images for batch in Loader(dataset, preprocess_for(bands), 64)])
    flipped = torch.cat(
        [batch.images for batch in Loader(dataset, preprocess_for(bands), 64, flips=True)]
    )
    left_right = (flipped[:, 0, 0, 0] > flipped[:, 0, 0, -1]).float().mean()
    top_bottom = (flipped[:, 0, 0, 0] < flipped[:, 0, -1, 0]).float().mean()
    assert not torch.equal(plain, flipped)
    assert 0.25 < left_right < 0.75
    assert 0.25 < top_bottom < 0.75


def test_a_batch_of_none_is_refused(dataset):
    with pytest.raises(ConfigError, match="batch_size must be at least 1, not 0"):
        Loader(dataset, preprocess_for(S1), 0)
