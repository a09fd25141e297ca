import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from reben.data.loading.epochs import cut_batches, plan_epoch
from reben.errors import ConfigError

sizes = st.tuples(st.integers(1, 300), st.integers(1, 70), st.integers(1, 9))


def pieces_of_all(num_patches, batch_size, world_size):
    return [
        cut_batches(num_patches, batch_size, rank=rank, world_size=world_size)
        for rank in range(world_size)
    ]


@given(sizes)
def test_ranks_together_hold_every_place_once(drawn):
    num_patches, batch_size, world_size = drawn
    assume(min(num_patches, batch_size) >= world_size)
    ranks = pieces_of_all(num_patches, batch_size, world_size)
    places = [np.arange(num_patches)[piece] for pieces in ranks for piece in pieces]
    np.testing.assert_array_equal(np.sort(np.concatenate(places)), np.arange(num_patches))


@given(sizes)
def test_ranks_have_equally_many_batches_of_nearly_equal_size_and_none_is_empty(drawn):
    num_patches, batch_size, world_size = drawn
    assume(min(num_patches, batch_size) >= world_size)
    ranks = pieces_of_all(num_patches, batch_size, world_size)
    assert len({len(pieces) for pieces in ranks}) == 1
    for together in zip(*ranks, strict=True):
        counts = [piece.stop - piece.start for piece in together]
        assert min(counts) >= 1
        assert max(counts) - min(counts) <= 1


@given(sizes)
def test_ranks_together_see_the_batches_that_one_alone_would_see(drawn):
    num_patches, batch_size, world_size = drawn
    assume(min(num_patches, batch_size) >= world_size)
    ranks = pieces_of_all(num_patches, batch_size, world_size)
    alone = cut_batches(num_patches, batch_size)
    joined = [slice(pieces[0].start, pieces[-1].stop) for pieces in zip(*ranks, strict=True)]
    same = len(joined) - 1
    assert joined[:same] == alone[:same]
    assert sum(piece.stop - piece.start for piece in joined[same:]) < batch_size + world_size


def test_one_rank_has_a_short_last_batch():
    assert cut_batches(7, 3) == [slice(0, 3), slice(3, 6), slice(6, 7)]
    assert cut_batches(0, 3) == []


def test_a_last_batch_of_fewer_patches_than_ranks_is_joined_to_the_one_before():
    assert pieces_of_all(9, 4, 2) == [
        [slice(0, 2), slice(4, 7)],
        [slice(2, 4), slice(7, 9)],
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_patches": 3, "batch_size": 0}, "batch_size must be at least 1, not 0"),
        ({"num_patches": 3, "batch_size": 2, "rank": 2, "world_size": 2}, "No rank 2 among 2"),
        ({"num_patches": 3, "batch_size": 2, "rank": -1, "world_size": 2}, "No rank -1"),
        ({"num_patches": 3, "batch_size": 2, "world_size": 0}, "No rank 0 among 0"),
        (
            {"num_patches": 3, "batch_size": 9, "world_size": 4},
            "3 patches.*4 ranks without a patch",
        ),
        ({"num_patches": 99, "batch_size": 3, "world_size": 4}, "batches of 3 leave some of the 4"),
    ],
)
def test_what_leaves_a_rank_without_patches_is_refused(arguments, message):
    with pytest.raises(ConfigError, match=message):
        cut_batches(**arguments)


@given(st.integers(0, 200), st.integers(0, 2**32), st.integers(0, 1000))
def test_an_epoch_has_every_row_once_and_depends_on_nothing_but_seed_and_number(n, seed, epoch):
    plan = plan_epoch(n, seed=seed, epoch=epoch, shuffle=True, flips=True)
    again = plan_epoch(n, seed=seed, epoch=epoch, shuffle=True, flips=True)
    np.testing.assert_array_equal(np.sort(plan.order), np.arange(n))
    np.testing.assert_array_equal(plan.order, again.order)
    np.testing.assert_array_equal(plan.flips, again.flips)


def test_without_flips_nothing_is_flipped_and_the_order_is_the_same():
    with_flips = plan_epoch(50, seed=3, epoch=1, shuffle=True, flips=True)
    without = plan_epoch(50, seed=3, epoch=1, shuffle=True, flips=False)
    np.testing.assert_array_equal(with_flips.order, without.order)
    assert not without.flips.any()
    assert with_flips.flips.any()
