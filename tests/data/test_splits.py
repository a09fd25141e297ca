import logging
from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
from pyproj import Geod, Transformer

from reben.data.splits import assign_splits, find_neighbours, places_of, tiles_of
from reben.errors import ConfigError, MetadataError
from reben.spec.patches import SPLITS, Bounds, Sentinel2Patch

KNOWN = "012102000001012221101102000101021000020012022020"
NAME = "S2A_MSIL2A_20170613T101031_N9999_R022_T{}_{:02d}_{:02d}"


def table(names, **columns):
    return pa.table({"patch_id": names, **columns})


def grid(*tiles, columns=90, rows=4, step=3):
    return [
        NAME.format(tile, column, row)
        for tile in tiles
        for column in range(0, columns, step)
        for row in range(0, rows * step, step)
    ]


def square(x, y, epsg=32633):
    return Bounds(epsg, x, y, x + 1200, y + 1200)


def test_places_and_tiles_of_names_are_those_of_each_name_by_itself():
    names = [*grid("33UUP", "01KAB", columns=7), "farm_1", NAME.format("33IUP", 1, 2)]
    singly = [Sentinel2Patch.parse(name).bounds for name in names[:-2]]
    assert places_of(names) == [*singly, None, None]
    assert tiles_of(names) == ["33UUP"] * 12 + ["01KAB"] * 12 + [None, "33IUP"]


def test_a_tile_goes_to_one_split_and_shares_are_met():
    names = grid("33UUP", "33UUQ", "33UVP", "33UVQ", "29SNC", "29SND", "29TNE", "35VLG")
    splits = assign_splits(table(names), "tile", seed=3)
    pairs = set(zip(tiles_of(names), splits, strict=True))
    assert len(pairs) == 8
    assert Counter(split for _, split in pairs) == {"train": 4, "validation": 2, "test": 2}


@pytest.mark.parametrize("by", ["tile", "block", "random"])
def test_splits_do_not_depend_on_the_order_of_rows_but_on_the_seed(by):
    names = grid("33UUP", "33UUQ", "33UVP", "33UVQ", "29SNC")
    first = dict(zip(names, assign_splits(table(names), by, seed=1), strict=True))
    backwards = names[::-1]
    again = assign_splits(table(backwards), by, seed=1)
    assert [first[name] for name in backwards] == again
    other = [assign_splits(table(names), by, seed=seed) for seed in range(2, 6)]
    assert any(splits != list(first.values()) for splits in other)


def test_splits_are_the_same_on_every_machine():
    names = grid("33UUP", "33UUQ", "33UVP", "33UVQ", step=30)
    splits = assign_splits(table(names), "random", seed=1)
    assert "".join(str(SPLITS.index(split)) for split in splits) == KNOWN


def test_blocks_are_squares_of_the_ground():
    names = [f"farm_{at}" for at in range(200)]
    rng = np.random.default_rng(0)
    places = [square(400_000 + x, 5_000_000 + y) for x, y in rng.uniform(0, 100_000, (200, 2))]
    splits = assign_splits(table(names), "block", places=places, block_metres=5000)
    blocks = {(int(p.left + 600) // 5000, int(p.bottom + 600) // 5000): set() for p in places}
    for place, split in zip(places, splits, strict=True):
        blocks[int(place.left + 600) // 5000, int(place.bottom + 600) // 5000].add(split)
    assert {len(found) for found in blocks.values()} == {1}
    assert Counter(splits)["train"] in range(95, 106)


def test_patches_with_names_of_their_own_are_split_by_column_tile_or_by_squares_of_100_km():
    names = [f"farm_{at}" for at in range(8)]
    tiles = ["a", "a", None, None, "b", "b", "c", "c"]
    places = [square(150_000, 5_050_000 + 5000 * (at % 2)) for at in range(8)]
    splits = assign_splits(table(names, tile=tiles), "tile", places=places)
    assert all(splits[at] == splits[at + 1] for at in range(0, 8, 2))
    assert set(splits) == {"train", "validation", "test"}


def test_every_split_gets_something_while_there_is_a_unit_for_it():
    names = [NAME.format("33UUP", 1, row) for row in range(90)]
    names += [NAME.format("33UVP", 50, 50), NAME.format("29SNC", 50, 50)]
    for seed in range(5):
        splits = assign_splits(table(names), "tile", seed=seed)
        assert set(splits) == {"train", "validation", "test"}


def test_what_cannot_be_split_is_an_error_that_says_what_can():
    with pytest.raises(MetadataError, match=r"2 units to split by tile and 3 splits.*block"):
        assign_splits(table(grid("33UUP", "33UVP")), "tile")
    with pytest.raises(
        MetadataError, match=r"1 of 2 patches do not say where they lie.*farm_2.*ran"
    ):
        assign_splits(table(["farm_1", "farm_2"]), "block", places=[square(0, 0), None])
    with pytest.raises(ConfigError, match="shares are 1, 1;"):
        assign_splits(table(grid("33UUP")), "random", shares=(1, 1))
    with pytest.raises(ConfigError, match="0 m"):
        assign_splits(table(grid("33UUP")), "block", block_metres=0)


def test_two_splits_are_made_with_a_share_of_0():
    splits = assign_splits(table(grid("33UUP", "33UVP")), "tile", shares=(1, 1, 0))
    assert Counter(splits) == {"train": 120, "validation": 120}


def test_neighbours_are_those_within_a_patch_by_measured_distances():
    rng = np.random.default_rng(1)
    # On both sides of the edge of two zones, at 12 degrees east.
    to_32, to_33 = (Transformer.from_crs(4326, 32600 + z, always_xy=True) for z in (32, 33))
    places = []
    for at in range(300):
        side, epsg = ((to_32, 32632), (to_33, 32633))[at % 2]
        x, y = side.transform(12 + rng.uniform(-0.3, 0.3), 48 + rng.uniform(-0.2, 0.2))
        places.append(square(round(x), round(y), epsg))
    splits = [("train", "validation", "test")[at] for at in rng.integers(0, 3, 300)]
    back = [Transformer.from_crs(p.epsg, 4326, always_xy=True) for p in places]
    middles = np.array(
        [b.transform(p.left + 600, p.bottom + 600) for b, p in zip(back, places, strict=True)]
    )
    geod, expected = Geod(ellps="WGS84"), Counter()
    for at, split in enumerate(splits):
        lon, lat = np.broadcast_to(middles[at], middles.shape).T
        _, _, metres = geod.inv(lon, lat, *middles.T)
        others = np.array(splits) != split
        expected[split] += bool((metres[others] < 2 * 1200 * 0.99).any())
    found = find_neighbours([*places, None], [*splits, "train"])
    assert found.counts == expected
    assert found.num_patches == 300
    assert 0 < sum(expected.values()) < 300


def test_neighbours_in_two_splits_are_said_with_counts(caplog):
    names = [NAME.format("33UUP", 10 * at, 5) for at in range(9)]
    names += [NAME.format("33UUP", 51, 5), NAME.format("33UUP", 52, 5), NAME.format("33UUP", 54, 5)]
    with caplog.at_level(logging.WARNING):
        splits = assign_splits(table(names), "random", seed=1)
    close = [at for at in (5, 9, 10, 11) if splits[at] != splits[5]]
    assert close, "this seed shows nothing"
    assert "lie less than a patch side (1200 m) from a patch of another split" in caplog.text
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        assign_splits(table(grid("33UUP", "35VLG", "29SNC", step=3)), "random", seed=1)
    assert not caplog.text  # two patches lie between any two of these


@pytest.mark.parametrize(("by", "cure"), [("tile", "block or random"), ("block", "Split random")])
def test_too_few_units_are_cured_by_smaller_ones(by, cure):
    names = [f"S2A_MSIL2A_20170613T101031_N9999_R022_T33UUP_26_{row}" for row in range(6)]
    with pytest.raises(MetadataError, match=cure):
        assign_splits(pa.table({"patch_id": names}), by=by)
