"""Loaders as a whole: modes, workers, ranks, resuming."""

import math
import threading

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from made_up import patch, patch_id, row, s1_name, write_metadata, write_store
from reben.data.loader import Loader, RawLoader, open_dataset
from reben.data.loading.batch import flip
from reben.data.preprocess import Preprocess, check_bands
from reben.data.store import StoreWriter
from reben.errors import ConfigError, PatchShapeError, PixelValueError
from reben.spec.bands import ALL, ALL_FULL, S1, S2, BandSet
from reben.spec.statistics import published_statistics

SETTINGS = {"shuffle": True, "flips": True, "seed": 11}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    folder = write_store(tmp_path_factory.mktemp("store"), num_train=75)
    return open_dataset(folder, ALL_FULL)


def preprocess_for(bands, size=120, upsampling="nearest"):
    return Preprocess(bands, published_statistics(size, upsampling), size)


def load(dataset, bands=ALL, batch_size=20, **settings):
    return Loader(dataset, preprocess_for(bands), batch_size, **(SETTINGS | settings))


def fixed(batches):
    """What batches hold, to compare."""
    return [(batch.images.clone(), batch.multi_hot.clone(), list(batch.names)) for batch in batches]


def assert_same(ours, theirs):
    assert len(ours) == len(theirs)
    for (images, labels, names), (other_images, other_labels, other_names) in zip(
        ours, theirs, strict=True
    ):
        assert names == other_names
        assert torch.equal(images, other_images)
        assert torch.equal(labels, other_labels)


def slow_images(dataset, preprocess, names, flips):
    rows = [dataset.table.position(name) for name in names]
    bands = check_bands(dataset.read(rows), preprocess.bands)
    return flip(preprocess(bands), torch.from_numpy(flips[rows]))


def drawn_flips(num_patches, seed=11, epoch=0):
    generator = np.random.default_rng([seed, epoch])
    generator.permutation(num_patches)
    return generator.random((num_patches, 2)) < 0.5


@pytest.mark.parametrize("bands", [S1, S2, ALL, ALL_FULL, BandSet(("B09", "VH", "B8A", "B02"))])
def test_images_are_those_of_preprocess_and_flip(dataset, bands):
    subset = dataset.with_bands(bands)
    flips = drawn_flips(len(dataset))
    for batch in load(dataset, bands, 32):
        expected = slow_images(subset, preprocess_for(bands), batch.names, flips)
        assert torch.equal(batch.images, expected)


def test_images_of_real_patches_are_those_of_preprocess(real_store):
    dataset = open_dataset(real_store, ALL_FULL, snow=None, cloud=None)
    assert len(dataset) == 24
    flips = drawn_flips(24)
    for batch in load(dataset, ALL_FULL, 7, num_workers=2):
        expected = slow_images(dataset, preprocess_for(ALL_FULL), batch.names, flips)
        assert float((batch.images - expected).abs().max()) <= 1e-6
    raw = RawLoader(dataset, 24)
    (batch,) = raw
    for name, values in dataset.read(range(24)).items():
        np.testing.assert_array_equal(batch.bands[name].numpy(), values, strict=True)


@pytest.mark.parametrize(
    ("size", "upsampling"), [(120, "bilinear"), (60, "nearest"), (128, "bicubic")]
)
@pytest.mark.parametrize("num_workers", [0, 2])
def test_other_sizes_and_upsamplings_come_from_preprocess_itself(
    dataset, size, upsampling, num_workers
):
    preprocess = preprocess_for(S2, size, upsampling)
    subset = dataset["test"].with_bands(S2)
    flips = drawn_flips(3)
    (batch,) = Loader(subset, preprocess, 3, **SETTINGS, num_workers=num_workers)
    assert batch.images.shape == (3, 10, size, size)
    assert torch.equal(batch.images, slow_images(subset, preprocess, batch.names, flips))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_the_device_mode_gives_the_same_images_as_the_cpu_mode(dataset, dtype):
    raw = RawLoader(dataset.with_bands(ALL), 20, **SETTINGS)
    preprocess = preprocess_for(ALL)
    ours = fixed(load(dataset, dtype=dtype))
    assert ours[0][0].dtype == dtype
    assert_same(ours, fixed(batch.finish(preprocess, dtype) for batch in raw))


def test_raw_bands_have_native_size_and_dtype(dataset):
    (batch,) = RawLoader(dataset["test"], 3)
    assert list(batch.bands) == list(ALL_FULL)
    for name, values in dataset["test"].read(range(3)).items():
        np.testing.assert_array_equal(batch.bands[name].numpy(), values, strict=True)
    assert not batch.flips.any()


@pytest.mark.parametrize("num_workers", [1, 2, 3])
@pytest.mark.parametrize("prefetch", [0, 3])
def test_batches_do_not_depend_on_workers(dataset, num_workers, prefetch):
    workers = {"num_workers": num_workers, "prefetch": prefetch}
    assert_same(fixed(load(dataset, **workers)), fixed(load(dataset)))


def test_batches_keep_their_values_while_later_ones_are_loaded(dataset):
    kept = list(load(dataset, S1, 5, num_workers=2))
    assert_same(fixed(kept), fixed(load(dataset, S1, 5)))


def test_leaving_the_loop_early_leaves_no_thread(dataset):
    for _ in load(dataset, batch_size=2, num_workers=2):
        break
    assert not [one for one in threading.enumerate() if one.name.startswith("reben-loader")]


@pytest.mark.parametrize("world_size", [2, 3, 4])
def test_ranks_together_load_the_batches_that_one_alone_loads(dataset, world_size):
    alone = fixed(load(dataset, S1))
    ranks = [
        fixed(load(dataset, S1, rank=rank, world_size=world_size)) for rank in range(world_size)
    ]
    together = [
        (
            torch.cat([images for images, _, _ in pieces]),
            torch.cat([labels for _, labels, _ in pieces]),
            [name for _, _, names in pieces for name in names],
        )
        for pieces in zip(*ranks, strict=True)
    ]
    if world_size <= len(dataset) % 20 or not len(dataset) % 20:
        assert_same(together, alone)
    else:
        assert_same(together[:-1], alone[: len(together) - 1])
    assert sorted(n for _, _, names in together for n in names) == sorted(dataset.table.patch_ids)


@given(st.integers(0, 5), st.integers(0, 3))
def test_a_loaded_state_goes_on_with_the_next_batch(dataset, num_seen, epoch):
    settings = {"bands": BandSet(("B01",)), "batch_size": 17}
    loader = load(dataset, **settings)
    loader.set_epoch(epoch)
    whole = fixed(loader)
    loader = load(dataset, **settings)
    loader.set_epoch(epoch)
    batches = iter(loader)
    for _ in range(min(num_seen, len(loader))):
        next(batches)
    state = loader.state_dict()
    resumed = load(dataset, **settings, num_workers=2)
    resumed.load_state_dict(state)
    resumed.set_epoch(epoch)
    assert_same(fixed(resumed), whole[num_seen:])
    assert_same(fixed(resumed), whole)


def test_batches_loaded_ahead_do_not_count_as_done(dataset):
    loader = load(dataset, S1, 5, num_workers=2, prefetch=4)
    batches = iter(loader)
    next(batches)
    assert loader.state_dict()["num_done"] == 1
    batches.close()


def test_another_epoch_starts_at_its_beginning_after_a_state(dataset):
    loader = load(dataset, S1)
    loader.load_state_dict(loader.state_dict() | {"num_done": 3})
    loader.set_epoch(1)
    assert len(list(loader)) == len(loader)


def test_a_state_of_other_settings_is_refused(dataset):
    state = load(dataset).state_dict()
    with pytest.raises(ConfigError, match=r"batch_size 20 \(here 10\)"):
        load(dataset, batch_size=10).load_state_dict(state)
    with pytest.raises(ConfigError, match=r"num_patches 81 \(here 3\)"):
        load(dataset["test"]).load_state_dict(state)


def broken_store(folder, name, values, number=1):
    bands = patch(number)
    bands[name] = values(bands[name])
    with StoreWriter(folder) as writer:
        for one, content in ((0, patch(0)), (number, bands), (2, patch(2))):
            sentinel1 = {key: content.pop(key) for key in ("VV", "VH")}
            writer.put(patch_id(one), content)
            writer.put(s1_name(one), sentinel1)
    write_metadata(folder / "metadata.parquet", [row(one) for one in range(3)])
    return open_dataset(folder, "all")


def with_value(value):
    def change(pixels):
        changed = pixels.copy()
        changed[17:29, 3:80] = value
        return changed

    return change


BROKEN = [
    ("VH", with_value(np.nan), PixelValueError, "Band VH has 924 pixels without data"),
    ("VV", with_value(-9999), PixelValueError, "Band VV has 924 pixels without data"),
    ("VV", with_value(500), PixelValueError, "Band VV has 924 pixels without data"),
    ("VV", lambda x: 10 ** (x / 10), PixelValueError, "looks like linear power"),
    ("VV", lambda x: x.astype(np.int16), PixelValueError, "dB has fractions"),
    ("B05", lambda x: x[:20, :20], PatchShapeError, "B05"),
    ("B02", lambda x: x.astype(np.uint8), PixelValueError, "cannot hold digital numbers"),
]


@pytest.mark.parametrize("broken", BROKEN)
@pytest.mark.parametrize("num_workers", [0, 2])
@pytest.mark.parametrize("batch_size", [1, 3])
def test_a_patch_that_cannot_be_right_is_named(tmp_path, broken, num_workers, batch_size):
    band, values, error, message = broken
    dataset = broken_store(tmp_path, band, values)
    name = patch_id(1)
    loaders = [
        Loader(dataset, preprocess_for(ALL), batch_size, num_workers=num_workers),
        RawLoader(dataset, batch_size, num_workers=num_workers),
    ]
    for loader in loaders:
        with pytest.raises(error, match=rf"(?s){name}.*{message}|{message}.*{name}"):
            list(loader)


def test_reflectances_in_a_store_are_told_apart_with_the_patch(tmp_path):
    with StoreWriter(tmp_path) as writer:
        writer.put(patch_id(0), {"B02": np.full((120, 120), 0.3, np.float32)})
    write_metadata(tmp_path / "metadata.parquet", [row(0)])
    dataset = open_dataset(tmp_path, "B02")
    with pytest.raises(PixelValueError, match=rf"{patch_id(0)}.*reflectances"):
        list(RawLoader(dataset, 1))


@pytest.mark.parametrize("dtype", [np.int16, np.int32, np.float32, np.float64])
def test_digital_numbers_of_other_dtypes_give_the_same_images(tmp_path, dtype):
    dataset = broken_store(tmp_path, "B02", lambda x: x.astype(dtype))
    expected = preprocess_for(ALL)(
        {
            name: torch.from_numpy(np.stack([patch(n)[name] for n in range(3)]).astype(np.float32))
            for name in ALL
        }
    )
    (batch,) = Loader(dataset, preprocess_for(ALL), 3)
    (raw,) = RawLoader(dataset, 3)
    assert torch.equal(batch.images, expected)
    assert torch.equal(raw.finish(preprocess_for(ALL)).images, expected)


def test_length_is_the_number_of_batches_of_a_rank(dataset):
    for batch_size in (1, 20, 27, 81, 100):
        loader = load(dataset, BandSet(("B01",)), batch_size)
        assert len(loader) == len(list(loader)) == math.ceil(81 / batch_size)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_workers": -1}, "num_workers must be at least 0, not -1"),
        ({"prefetch": -1}, "prefetch must be at least 0, not -1"),
        ({"dtype": torch.float64}, "not torch.float64"),
        ({"rank": 1}, "No rank 1 among 1"),
    ],
)
def test_settings_that_cannot_be_are_refused(dataset, settings, message):
    with pytest.raises(ConfigError, match=message):
        load(dataset, **settings)
