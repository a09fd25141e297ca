from collections import Counter

import numpy as np
import pyarrow as pa
import pytest

from made_up import row
from reben.data.metadata import COLUMNS, PatchTable
from reben.data.selecting.filters import SEASONS, Filters, filters_of
from reben.data.splits import tiles_of
from reben.errors import ConfigError, MetadataError

NAME = "S2A_MSIL2A_20170613T101031_N9999_R022_T{}_{:02d}_{:02d}"
TILES = ("33UUP", "33UUQ", "33UVP", "33UVQ", "29SNC", "29SND", "29TNE", "35VLG", "35VLH", "34TCT")


def table_of(rows):
    return PatchTable.from_arrow(pa.Table.from_pylist(rows).select(COLUMNS))


@pytest.fixture
def table():
    """Ten tiles of 20 train patches and 10 validation patches each."""
    return table_of(
        [
            row(at, "train" if at % 3 else "validation", patch_id=NAME.format(tile, at, tile_at))
            for tile_at, tile in enumerate(TILES)
            for at in range(30)
        ]
    )


def test_a_fraction_takes_whole_tiles_until_the_share_is_reached(table):
    kept, drawn = Filters(fraction=0.35, fraction_seed=1).draw(table)
    train = kept.filter(split="train")
    assert len(drawn.tiles) == 4
    assert Counter(tiles_of(train.patch_ids)) == dict.fromkeys(drawn.tiles, 20)
    assert (drawn.num_patches, drawn.num_before) == (80, 200)
    assert kept.counts("split")["validation"] == 100


def test_the_patches_drawn_do_not_depend_on_the_order_of_rows(table):
    mixed = table.take(np.random.default_rng(0).permutation(len(table)))
    for by in ("tile", "label"):
        asked = Filters(fraction=0.3, fraction_by=by, fraction_seed=5)
        one, other = (asked.draw(t)[0] for t in (table, mixed))
        assert sorted(one.patch_ids) == sorted(other.patch_ids)
        assert other.patch_ids == [n for n in mixed.patch_ids if n in set(one.patch_ids)]


def test_a_seed_draws_the_same_tiles_on_every_machine(table):
    tiles = [Filters(fraction=0.2, fraction_seed=seed).draw(table)[1].tiles for seed in (0, 1)]
    assert tiles == [("29SNC", "35VLH"), ("33UVP", "35VLH")]


def test_a_fraction_by_label_keeps_the_share_of_each_combination_of_labels():
    sets = [["Pastures"]] * 70 + [["Arable land", "Pastures"]] * 20 + [["Marine waters"]] * 10
    table = table_of([row(at, labels=labels) for at, labels in enumerate(sets)])
    for seed in range(5):
        kept, drawn = Filters(fraction=0.3, fraction_by="label", fraction_seed=seed).draw(table)
        counts = Counter(kept.label_names)
        assert counts["Marine waters",] == 3
        assert counts["Arable land", "Pastures"] == 6
        assert counts["Pastures",] == 21
        assert drawn.tiles == ()


def test_a_share_of_less_than_a_patch_is_a_patch():
    table = table_of([row(at) for at in range(5)])
    for by in ("tile", "label"):
        assert Filters(fraction=0.01, fraction_by=by).draw(table)[1].num_patches in (1, 5)


def test_a_limit_keeps_the_first_patches_of_each_split(table):
    kept, drawn = Filters(limit=7).draw(table)
    assert drawn is None
    for split in ("train", "validation"):
        assert kept.filter(split=split).patch_ids == table.filter(split=split).patch_ids[:7]


@pytest.mark.parametrize(
    "filters",
    [
        Filters(),
        Filters(("Austria", "Serbia"), (6, 7), None, True),
        Filters(fraction=0.1, fraction_by="label", fraction_seed=3, limit=10),
        Filters(fraction=1e-05, snow=None),
    ],
)
def test_filters_come_back_from_the_record(filters):
    again = Filters(**filters_of(dict(filters.told())))
    assert again.told() == filters.told()
    kept = {name: value for name, value in vars(again).items() if not isinstance(value, list)}
    assert kept == {name: getattr(filters, name) for name in kept}


def test_fraction_and_limit_of_a_run_can_be_left_out():
    told = dict(Filters(("Austria",), fraction=0.1, limit=10).told())
    expected = {"countries": ["Austria"], "snow": False, "cloud": False}
    assert filters_of(told, drawing=False) == expected


def test_seasons_are_those_of_meteorologists():
    assert sorted(month for months in SEASONS.values() for month in months) == [*range(1, 13)]
    assert SEASONS["summer"] == (6, 7, 8)
    assert SEASONS["winter"] == (12, 1, 2)


def test_impossible_fractions_are_refused(table):
    for fraction in (0, -0.1, 1.01, float("nan")):
        with pytest.raises(ConfigError, match=r"above 0 and at most 1"):
            Filters(fraction=fraction)
    with pytest.raises(ConfigError, match="by tile or label"):
        Filters(fraction=0.1, fraction_by="country")
    with pytest.raises(ConfigError, match="limit"):
        Filters(limit=0)
    own = table_of([row(0, patch_id="farm_1")])
    with pytest.raises(MetadataError, match=r"farm_1 tells no tile.*--fraction-by label"):
        Filters(fraction=0.5).draw(own)
