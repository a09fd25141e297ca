"""Epochs of a dataset in batches: order, ranks, worker threads, resuming in the middle of one.

The order of an epoch depends on seed and epoch only. Ranks are the processes that train one model
together: each batch is split into one piece per rank, so that all ranks together see the batches
that one process would see.

Axes: B patches, K labels.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Generic, NamedTuple, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from reben.data.dataset import Dataset, Masks, classes_of_codes, read_masks
from reben.data.loading.fill import Buffers, Fill, Start
from reben.data.loading.threads import run_ahead
from reben.errors import ConfigError
from reben.spec.patches import PATCH_PIXELS
from reben.support.numbers import require_whole

_DRAWN_AT_ONCE = 1 << 18


class Epoch(NamedTuple):
    """Order and flips of the patches of an epoch."""

    order: NDArray[np.uint32]
    """Rows of the table, [N]."""
    flips: NDArray[np.bool_]
    """Whether row n is flipped left to right and top to bottom, [N, 2]."""


def plan_epoch(num_patches: int, *, seed: int, epoch: int, shuffle: bool, flips: bool) -> Epoch:
    """Return order and flips of an epoch.

    Args:
        num_patches: Rows of the table.
        seed: Seed of all random draws, together with the epoch.
        epoch: Number of the epoch.
        shuffle: Whether to draw an order; otherwise it is that of the table.
        flips: Whether to flip patches, each way with probability one half.

    Example:
        >>> plan_epoch(4, seed=1, epoch=0, shuffle=False, flips=False).order
        array([0, 1, 2, 3], dtype=uint32)
    """
    generator = np.random.default_rng([seed, epoch])
    order = np.arange(num_patches, dtype=np.uint32)
    if shuffle:
        generator.shuffle(order)
    # Drawn by row, not by position in the order: a patch is flipped alike wherever it comes.
    which = np.zeros((num_patches, 2), np.bool_)
    for first in range(0, num_patches if flips else 0, _DRAWN_AT_ONCE):
        some = which[first : first + _DRAWN_AT_ONCE]
        some[...] = generator.random(some.shape) < 0.5
    return Epoch(order, which)


def cut_batches(
    num_patches: int, batch_size: int, *, rank: int = 0, world_size: int = 1
) -> list[slice]:
    """Return the slice of the epoch's order that each batch of a rank holds.

    The ranks together hold every patch once, and all have the same number of batches with at least
    one patch in each. The pieces of a batch differ by at most one patch. A last batch with fewer
    patches than ranks is merged into the one before.

    Example:
        >>> cut_batches(7, 4, rank=1, world_size=2)
        [slice(2, 4, None), slice(6, 7, None)]
    """
    batch_size = require_whole("batch_size", batch_size)
    if world_size < 1 or not 0 <= rank < world_size:
        raise ConfigError(
            f"No rank {rank} among {world_size}: ranks count from 0 to world_size - 1."
        )
    if world_size > 1 and min(batch_size, num_patches) < world_size:
        raise ConfigError(
            f"{num_patches} patches in batches of {batch_size} leave some of the {world_size} "
            "ranks without a patch. Use fewer ranks, or larger batches, which all ranks share."
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


_Pixels = TypeVar("_Pixels")
_MOST_AT_ONCE, _LEAST_AT_ONCE = 32, 8
_SETTINGS = ("seed", "shuffle", "flips", "batch_size", "world_size")


@dataclass(frozen=True, eq=False)
class Loaded(Generic[_Pixels]):
    """A batch, loaded or being loaded."""

    rows: NDArray[np.int64]
    """Rows of the table, [B]."""
    flips: NDArray[np.bool_]
    """Whether each is flipped left to right and top to bottom, [B, 2]."""
    fill: Fill[_Pixels]
    """Reads its pixels."""
    codes: Tensor | None
    """Reference maps on request, uint16 [B, 120, 120]."""


class Epochs(Generic[_Pixels]):
    """The common part of both loaders; see `reben.data.loader.Loader` for the arguments."""

    def __init__(  # noqa: PLR0913 - all after the second are named
        self,
        dataset: Dataset,
        batch_size: int,
        start: Start[_Pixels],
        *,
        shuffle: bool,
        flips: bool,
        seed: int,
        labels: Sequence[str],
        num_workers: int,
        prefetch: int,
        masks: Masks | None,
        rank: int,
        world_size: int,
    ) -> None:
        require_whole("num_workers", num_workers, least=0)
        require_whole("prefetch", prefetch, least=0)
        if masks not in (None, "codes", "classes"):
            raise ConfigError(f"masks must be 'codes', 'classes' or None, not {masks!r}.")
        self.dataset = dataset
        self.batch_size = batch_size
        self.shuffle = shuffle
        self.flips = flips
        self.seed = seed
        self.labels = tuple(labels)
        self.num_workers = num_workers
        self.prefetch = prefetch
        self.masks = masks
        self.rank = rank
        self.world_size = world_size
        self.epoch = 0
        self._start = start
        self._label_bits = dataset.table.label_bits(labels)
        self._batches = cut_batches(len(dataset), batch_size, rank=rank, world_size=world_size)
        self._first = 0
        self._num_done = 0

    def __len__(self) -> int:
        """Count the batches of an epoch, the last short one included."""
        return len(self._batches)

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch of the next iteration.

        It starts from the beginning, unless it is the epoch of a state that was just loaded.
        """
        if epoch != self.epoch:
            self.epoch = epoch
            self._first = self._num_done = 0

    def state_dict(self) -> dict[str, int | bool]:
        """Return the position in the epoch, to resume from with `load_state_dict`.

        Batches that were yielded count as done, those that were loaded ahead do not.
        """
        return {"epoch": self.epoch, "num_done": self._num_done, **self._settings()}

    def load_state_dict(self, state: Mapping[str, int | bool]) -> None:
        """Resume where a loader with the same settings stopped.

        The next iteration starts with the batch that would have come next. After the last batch of
        an epoch it is empty until `set_epoch` names the next epoch.
        """
        ours = self._settings()
        other = [name for name in ours if state.get(name) != ours[name]]
        if other:
            listed = ", ".join(f"{name} {state.get(name)} (here {ours[name]})" for name in other)
            raise ConfigError(
                f"The state comes from a loader with {listed}. "
                "Load it into one with the same settings and patches."
            )
        self.epoch = int(state["epoch"])
        self._first = self._num_done = int(state["num_done"])

    def _settings(self) -> dict[str, int | bool]:
        settings = {name: getattr(self, name) for name in _SETTINGS}
        return {**settings, "num_patches": len(self.dataset)}

    def _load(self, *, flip_masks: bool) -> Iterator[Loaded[_Pixels]]:
        """Yield the rest of the epoch."""
        first, self._first = self._first, 0
        self._num_done = first
        batches = run_ahead(
            self._start_all(self._batches[first:]),
            partial(self._parts, flip_masks=flip_masks),
            num_workers=self.num_workers,
            ahead=self.prefetch,
        )
        for batch in batches:
            self._num_done += 1
            yield batch

    def _start_all(self, batches: Sequence[slice]) -> Iterator[Loaded[_Pixels]]:
        order, flips = plan_epoch(
            len(self.dataset),
            seed=self.seed,
            epoch=self.epoch,
            shuffle=self.shuffle,
            flips=self.flips,
        )
        buffers = Buffers()
        for batch in batches:
            rows = order[batch].astype(np.int64)
            codes = None
            if self.masks is not None:
                codes = buffers.take((len(rows), PATCH_PIXELS, PATCH_PIXELS), torch.uint16)
            yield Loaded(rows, flips[rows], self._start(rows, flips[rows], buffers), codes)

    def _parts(self, batch: Loaded[_Pixels], *, flip_masks: bool) -> list[Callable[[], None]]:
        # Small enough for all workers to share a batch, large enough to make starting cheap.
        size = max(-(-len(batch.rows) // max(self.num_workers, 1)), _LEAST_AT_ONCE)
        size = min(size, _MOST_AT_ONCE)

        def fill(part: slice) -> None:
            batch.fill.part(part)
            if batch.codes is not None:
                flips = batch.flips[part] & flip_masks
                read_masks(
                    self.dataset, batch.rows[part].tolist(), flips, batch.codes[part].numpy()
                )

        return [partial(fill, slice(at, at + size)) for at in range(0, len(batch.rows), size)]

    def _known(self, batch: Loaded[_Pixels]) -> tuple[Tensor, list[str], Tensor | None]:
        """Return multi-hot labels, names and masks of a batch."""
        bits = np.unpackbits(self._label_bits[batch.rows], axis=1, count=len(self.labels))
        multi_hot = torch.from_numpy(bits).float()
        masks = batch.codes
        if masks is not None and self.masks == "classes":
            masks = classes_of_codes(masks, self.labels)
        return multi_hot, self.dataset.table.names.texts(batch.rows), masks
