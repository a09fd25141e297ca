"""Several processes that work together on a model: which one this is, and what all have.

With one process everything here returns what it was given.

Axes: N rows, K columns.
"""

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import torch
import torch.distributed
from torch import Tensor

from reben.errors import ConfigError

_Value = TypeVar("_Value")


def rank_and_size() -> tuple[int, int]:
    """Return the number of this process, from 0, and how many work together."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_rank(), torch.distributed.get_world_size()
    return 0, 1


def num_ranks() -> int:
    """Return how many processes work together."""
    return rank_and_size()[1]


def is_first_rank() -> bool:
    """Return whether this is the process that writes files, also before the others are known."""
    from lightning.fabric.utilities.rank_zero import rank_zero_only

    return bool(vars(rank_zero_only).get("rank", 0) == 0)


def gather_rows(rows_NK: Tensor) -> Tensor:
    """Return the rows of all ranks, rank by rank; they may have different numbers of them."""
    world_size = num_ranks()
    if world_size == 1:
        return rows_NK
    counts = [torch.zeros(1, dtype=torch.int64, device=rows_NK.device) for _ in range(world_size)]
    torch.distributed.all_gather(counts, torch.tensor([len(rows_NK)], device=rows_NK.device))
    sizes = [int(count) for count in counts]
    padded_NK = rows_NK.new_zeros(max(sizes), *rows_NK.shape[1:])
    padded_NK[: len(rows_NK)] = rows_NK
    pieces = [torch.empty_like(padded_NK) for _ in sizes]
    torch.distributed.all_gather(pieces, padded_NK)
    return torch.cat([piece[:size] for piece, size in zip(pieces, sizes, strict=True)])


def gather_objects(own: _Value) -> list[_Value]:
    """Return the value of each rank, of plain types."""
    if num_ranks() == 1:
        return [own]
    found: list[Any] = [None] * num_ranks()
    torch.distributed.all_gather_object(found, own)
    return found


def require_same_everywhere(facts: Mapping[str, str]) -> None:
    """Raise a ConfigError on all ranks if one of them has other facts than the first."""
    first, *others = gather_objects(dict(facts))
    for rank, theirs in enumerate(others, start=1):
        for name, value in first.items():
            if theirs.get(name) != value:
                lines = set(value.splitlines()) ^ set(theirs.get(name, "").splitlines())
                raise ConfigError(
                    f"Process {rank} has another {name} than process 0: "
                    f"{'; '.join(sorted(lines))}. Start all of them with the same settings on the "
                    "same data."
                )


def sum_over_ranks(values: Sequence[float], device: torch.device) -> list[float]:
    """Return the sum of each value over all ranks. They wait for each other, and for ``device``."""
    if num_ranks() == 1:
        return list(values)
    sums = torch.tensor(values, dtype=torch.float64, device=device)
    torch.distributed.all_reduce(sums)
    return [float(value) for value in sums.tolist()]
