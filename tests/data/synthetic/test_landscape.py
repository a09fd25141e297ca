from typing import get_args

import numpy as np
import pytest

from reben.data.synthetic.ground import COVERS, Biome, Landscape, offshore
from reben.spec.labels import CORINE_TO_LABEL, LABELS, labels_of_codes

BIOMES = get_args(Biome)


def landscape(biome="continental", sea=None, seed=0):
    return Landscape(np.random.default_rng(seed), biome, sea)


def codes_of(land, places):
    return [land.ground(column, row).codes for column, row in places]


def test_a_patch_does_not_depend_on_what_was_made_before():
    first, second = landscape(sea=30), landscape(sea=30)
    codes_of(second, [(3, 4), (80, 1)])
    for mine, other in zip(first.ground(70, 60), second.ground(70, 60), strict=True):
        np.testing.assert_array_equal(mine, other)


def test_another_seed_is_another_land():
    ours, theirs = (landscape(seed=seed).ground(8, 9).codes for seed in (0, 1))
    assert (ours != theirs).mean() > 0.3


def test_neighbouring_patches_fit_together():
    land = landscape()
    same_across, same_along, same_far = [], [], []
    for column in range(10, 30):
        here = land.ground(column, 40).codes
        same_across.append(here[:, -1] == land.ground(column + 1, 40).codes[:, 0])
        same_along.append(here[-1] == land.ground(column, 41).codes[0])
        same_far.append(here[:, -1] == land.ground(column + 30, 40).codes[:, 0])
    assert np.mean(same_across) > 0.95
    assert np.mean(same_along) > 0.95
    assert np.mean(same_far) < 0.5


def test_regions_are_patches_of_land_and_not_single_pixels():
    codes = codes_of(landscape(), [(column, 20) for column in range(12)])
    changes = np.mean([np.diff(c.astype(int), axis=0) != 0 for c in codes])
    assert 0.002 < changes < 0.04


@pytest.mark.parametrize("biome", BIOMES)
def test_three_quarters_of_every_patch_are_labelled(biome):
    land = landscape(biome, sea=45)
    for codes in codes_of(land, [(5 * i, 7 * i % 90) for i in range(18)]):
        assert np.isin(codes, list(CORINE_TO_LABEL)).mean() >= 0.75


def test_unlabelled_land_gives_way_where_it_would_be_too_much():
    land = landscape("alpine")
    land._region_codes[:] = 332
    assert set(np.unique(land.ground(1, 2).codes)) <= {333, 511, 512}


def test_some_land_is_unlabelled():
    codes = codes_of(landscape("alpine"), [(5 * i, 7 * i % 90) for i in range(18)])
    assert 0 < np.mean(~np.isin(codes, list(CORINE_TO_LABEL))) < 0.1


def test_all_labels_grow_somewhere():
    seen = set()
    for biome in BIOMES:
        land = landscape(biome, sea=0)
        coast = [(57 + i % 10, 3 * i) for i in range(30)]
        seen.update(labels_of_codes(np.unique(land._region_codes).tolist()))
        seen.update(labels_of_codes(np.unique(codes_of(land, coast)).tolist()))
    assert seen == set(LABELS)


def test_some_classes_grow_in_their_biomes_only():
    for code, biome in ((244, "boreal"), (223, "atlantic"), (412, "mediterranean")):
        assert biome not in COVERS[code].biomes
        assert code not in landscape(biome)._region_codes


@pytest.mark.parametrize(("direction", "wet"), [(0, (88, 45)), (90, (45, 88)), (180, (1, 45))])
def test_the_sea_lies_where_it_should(direction, wet):
    land = landscape("atlantic", sea=direction)
    assert np.mean(land.ground(*wet).codes == 523) > 0.9
    assert np.mean(land.ground(89 - wet[0], 89 - wet[1]).codes == 523) == 0


def test_a_tile_inland_has_no_sea():
    land = landscape("atlantic")
    edges = [(0, 45), (89, 45), (45, 0), (45, 89)]
    assert not np.isin(codes_of(land, edges), [521, 522, 523, 421]).any()


def test_water_is_flat():
    assert not landscape("atlantic", sea=0).ground(89, 45).slope.any()
    assert landscape("alpine").ground(4, 4).slope.std() > 0.05


def test_offshore_counts_pixels_in_the_direction_of_the_sea():
    step_east = offshore(0, 100, 301) - offshore(0, 100, 300)
    step_south = offshore(90, 101, 300) - offshore(90, 100, 300)
    assert (step_east, step_south) == pytest.approx((1, 1))
