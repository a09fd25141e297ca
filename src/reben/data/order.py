"""The order of an epoch: a pure function of seed and epoch, whoever loads it and with how many.

Ranks are the processes that train one model together. Each batch is cut into one piece for each
rank, so all ranks together see the very batches that one alone would see.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from reben.errors import ConfigError


class Epoch(NamedTuple):
    """In which order patches come, and how each is flipped."""

    order: NDArray[np.int64]
    """Rows of the table, [N]."""
    flips: NDArray[np.bool_]
    """Whether row n is flipped left to right, and top to bottom, [N, 2]."""


def plan_epoch(num_patches: int, *, seed: int, epoch: int, shuffle: bool, flips: bool) -> Epoch:
    """Return order and flips of an epoch.

    Args:
        num_patches: Rows of the table.
        seed: What all is drawn from, together with the epoch.
        epoch: Number of the epoch.
        shuffle: Whether the epoch has an order of its own; else it is that of the table.
        flips: Whether patches are flipped, each way with probability one half.

    Example:
        >>> plan_epoch(4, seed=1, epoch=0, shuffle=False, flips=False).order
        array([0, 1, 2, 3])
    """
    generator = np.random.default_rng([seed, epoch])
    order = generator.permutation(num_patches) if shuffle else np.arange(num_patches)
    # Drawn by row and not by place in the order, so that they do not depend on shuffling twice.
    if flips:
        return Epoch(order, generator.random((num_patches, 2)) < 0.5)
    return Epoch(order, np.zeros((num_patches, 2), np.bool_))


def cut_batches(
    num_patches: int, batch_size: int, *, rank: int = 0, world_size: int = 1
) -> list[slice]:
    """Return the places in the order that each batch of a rank holds.

    Ranks together hold every patch exactly once, and all have the same number of batches, with
    one patch at least in each. The pieces of a batch differ by one patch at most. A last batch of
    fewer patches than there are ranks is not made: its patches go into the one before.

    Args:
        num_patches: Patches in the epoch.
        batch_size: Patches in a batch, all ranks together.
        rank: Which piece of each batch, counted from zero.
        world_size: How many ranks there are.

    Raises:
        ConfigError: If a rank would be left without a patch, or there is no such rank.

    Example:
        >>> cut_batches(7, 4, rank=1, world_size=2)
        [slice(2, 4, None), slice(6, 7, None)]
    """
    if batch_size < 1:
        raise ConfigError(f"A batch of {batch_size} patches cannot be. Take one at least.")
    if world_size < 1 or not 0 <= rank < world_size:
        raise ConfigError(
            f"There is no rank {rank} of {world_size}. Ranks count from 0 to world_size - 1."
        )
    if world_size > 1 and min(batch_size, num_patches) < world_size:
        raise ConfigError(
            f"{num_patches} patches in batches of {batch_size} leave some of {world_size} ranks "
            "without any. Use fewer ranks, or larger batches, which all ranks share."
        )
    starts = list(range(0, num_patches, batch_size))
    if len(starts) > 1 and num_patches - starts[-1] < world_size:
        starts.pop()
    pieces = []
    for start, end in zip(starts, [*starts, num_patches][1:], strict=True):
        size, rest = divmod(end - start, world_size)
        first = start + rank * size + min(rank, rest)
        pieces.append(slice(first, first + size + (rank < rest)))
    return pieces
