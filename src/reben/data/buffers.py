"""Memory for batches that is used again once nobody holds the tensors made of it.

Fresh memory has to be handed over by the system page by page, which takes as long as filling it.
"""

import weakref
from collections import defaultdict

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_CACHE_LINE = 64


class Buffers:
    """Lends memory as tensors, and takes it back when the last one on it is gone.

    Whoever holds a tensor, or a view of one, may keep it as long as they like: then the next
    batch gets other memory. Nothing has to be given back by hand.
    """

    def __init__(self) -> None:
        self._free: defaultdict[int, list[NDArray[np.uint8]]] = defaultdict(list)

    def take(self, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        """Return a tensor with whatever values, on memory of its own."""
        num_bytes = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
        free = self._free[num_bytes]
        block = free.pop() if free else _aligned(num_bytes)
        # The tensor holds this very view, and nothing else does: it dies when the memory is free.
        view = block[:]
        weakref.finalize(view, free.append, block).atexit = False
        return torch.from_numpy(view).view(dtype).view(shape)


def _aligned(num_bytes: int) -> NDArray[np.uint8]:
    # Wide stores across the borders of cache lines are slower.
    memory = np.empty(num_bytes + _CACHE_LINE, np.uint8)
    start = -memory.ctypes.data % _CACHE_LINE
    return memory[start : start + num_bytes]
