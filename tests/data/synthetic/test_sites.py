import math
from collections import Counter
from datetime import datetime

import pytest
from rasterio.warp import transform_bounds

from reben.data.synthetic.ground import offshore
from reben.data.synthetic.sites import MOST_PATCHES, TILES, plan_sites
from reben.spec.patches import tile_corner

BOUNDS = {  # degrees: west, south, east, north
    "Austria": (9.5, 46.3, 17.2, 49.1),
    "Belgium": (2.5, 49.4, 6.5, 51.6),
    "Finland": (19.0, 59.5, 31.6, 70.1),
    "Ireland": (-10.7, 51.3, -5.9, 55.5),
    "Kosovo": (20.0, 41.8, 21.9, 43.3),
    "Lithuania": (20.9, 53.8, 26.9, 56.5),
    "Luxembourg": (5.7, 49.4, 6.6, 50.2),
    "Portugal": (-9.6, 36.9, -6.1, 42.2),
    "Serbia": (18.8, 42.2, 23.1, 46.2),
    "Switzerland": (5.9, 45.8, 10.6, 47.9),
}


def corner_by_the_military_grid(tile):
    """Upper left corner as the letters say, moved out to the next multiple of 60 m."""
    zone, (band, column, row) = int(tile[:2]), tile[2:]
    letters = ("STUVWXYZ", "ABCDEFGH", "JKLMNPQR")[zone % 3]
    rows = "ABCDEFGHJKLMNPQRSTUV"
    northing = (rows.index(row) - (0 if zone % 2 else 5)) % 20
    least = {"S": 35, "T": 44, "U": 53, "V": 61}[band]
    while northing < least:
        northing += 20
    west = 100_000 * (letters.index(column) + 1)
    return west // 60 * 60, math.ceil(100_000 * (northing + 1) / 60) * 60


@pytest.mark.parametrize("tile", TILES, ids=lambda tile: tile.name)
def test_tiles_lie_where_their_names_say(tile):
    assert tile_corner(tile.name)[1:] == corner_by_the_military_grid(tile.name)


@pytest.mark.parametrize("tile", TILES, ids=lambda tile: tile.name)
def test_tiles_lie_in_their_countries(tile):
    epsg, left, top = tile_corner(tile.name)
    edges = (left, top - 109_800, left + 109_800, top)
    west, south, east, north = transform_bounds(f"EPSG:{epsg}", "EPSG:4326", *edges)
    its_west, its_south, its_east, its_north = BOUNDS[tile.country]
    assert west < its_east
    assert its_west < east
    assert south < its_north
    assert its_south < north


def test_all_ten_countries_are_there():
    assert {tile.country for tile in TILES} == set(BOUNDS)


@pytest.mark.parametrize("num_patches", [6, 7, 12, 47, 100, 1000, 5000])
def test_every_number_of_patches_is_met_without_repeats(num_patches):
    sites = plan_sites(num_patches, seed=3)
    assert len(sites) == num_patches
    assert len({site.sentinel2.name for site in sites}) == num_patches
    assert len({site.sentinel1.name for site in sites}) == num_patches
    assert all(0 <= site.column < 90 and 0 <= site.row < 90 for site in sites)


@pytest.mark.parametrize("num_patches", [6, 12, 100, 5000])
def test_no_two_splits_share_a_place(num_patches):
    splits = {}
    for site in plan_sites(num_patches, seed=3):
        splits.setdefault(site.block, set()).add(site.split)
    assert all(len(of_block) == 1 for of_block in splits.values())
    assert set.union(*splits.values()) == {"train", "validation", "test"}


def test_a_place_keeps_its_split_when_it_is_seen_again():
    splits, dates = {}, {}
    for site in plan_sites(20_000, seed=0, tiles=TILES[:2]):
        splits.setdefault(site.block, set()).add(site.split)
        dates.setdefault((site.block, site.column, site.row), set()).add(site.date)
    assert max(map(len, dates.values())) == 2
    assert all(len(of_block) == 1 for of_block in splits.values())


def test_splits_have_about_the_real_shares():
    counts = Counter(site.split for site in plan_sites(3000, seed=1))
    assert counts["train"] / 3000 == pytest.approx(0.494, abs=0.03)
    assert counts["validation"] / 3000 == pytest.approx(0.255, abs=0.03)


def test_patches_of_a_block_are_neighbours():
    sites = plan_sites(2000, seed=1)
    blocks = {}
    for site in sites:
        blocks.setdefault((site.block, site.date), []).append((site.column, site.row))
    for places in blocks.values():
        for column, row in places:
            steps = {(abs(column - c) + abs(row - r)) for c, r in places}
            assert len(places) == 1 or 1 in steps


def test_many_months_countries_and_both_satellites_occur():
    sites = plan_sites(600, seed=0)
    assert len({site.sentinel2.acquired.month for site in sites}) >= 10
    assert {site.tile.country for site in sites} == set(BOUNDS)
    assert {site.sentinel2.satellite for site in sites} == {"S2A", "S2B"}
    assert {site.sentinel1.satellite for site in sites} == {"S1A", "S1B"}


def test_all_dates_are_from_june_2017_to_may_2018():
    dates = {site.sentinel2.acquired for site in plan_sites(1000, seed=0)}
    assert datetime(2017, 6, 1) <= min(dates) < datetime(2017, 7, 1)
    assert datetime(2018, 5, 1) <= max(dates) < datetime(2018, 6, 1)


def test_the_radar_patch_cannot_be_had_from_the_optical_name():
    scenes = {}
    for site in plan_sites(600, seed=0):
        scenes.setdefault(site.sentinel2.tile_name, set()).add(site.sentinel1.scene_name)
    assert max(map(len, scenes.values())) == 2


def test_coasts_come_early():
    def is_coast(site):
        far = offshore(site.tile.sea, 120 * site.row, 120 * site.column)
        return abs(far) < 500

    coasts = [is_coast(site) for site in plan_sites(600, 0) if site.tile.sea is not None]
    share_by_area = 2 * 500 / (90 * 120)
    assert sum(coasts) / len(coasts) > 2 * share_by_area


def test_the_plan_depends_on_the_seed_alone():
    assert plan_sites(50, 4) == plan_sites(50, 4)
    assert plan_sites(50, 4) != plan_sites(50, 5)


def test_there_is_room_for_the_whole_data_set():
    assert MOST_PATCHES > 549_488
