"""Reads every value of a store and says what is wrong with it."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np

from reben.data.blob import TensorPlace, blob_layout, view_tensor
from reben.data.environment import read_transaction
from reben.data.store import Store
from reben.data.store_names import stored_names
from reben.data.value import KINDS, Kind, kind_of_value
from reben.errors import StoreError

_AT_ONCE = 256
MAX_LISTED = 10_000
"""Problems that are listed; all of them are counted."""


class Problem(NamedTuple):
    """A value that is not as it should be.

    Args:
        name: Its name in the store.
        reason: What is wrong.
    """

    name: str
    reason: str


@dataclass(frozen=True)
class Verification:
    """What was found by reading a whole store.

    Args:
        num_values: Values that were read.
        num_bytes: Their size.
        num_problems: How many of them are not as they should be.
        problems: The first of these, `MAX_LISTED` at most, in the order of their names.
    """

    num_values: int
    num_bytes: int
    num_problems: int
    problems: tuple[Problem, ...]

    def to_dict(self) -> dict[str, object]:
        """Return plain values, ready for JSON."""
        problems = [problem._asdict() for problem in self.problems]
        return asdict(self) | {"problems": problems}


def verify_store(
    path: str | Path, progress: Callable[[int, int], None] | None = None
) -> Verification:
    """Read every value of the store in folder ``path``, and return what is wrong.

    A value should be a safetensors blob under the name of a patch, with the tensors of its kind in
    their sizes and dtypes and nothing else, and Sentinel-1 should be finite. The order of the
    tensors does not matter. Pixels have no checksum, so a changed one is not noticed.

    Args:
        path: The store.
        progress: Called now and then with values read and values in all.

    Raises:
        StoreError: If the folder is not a store.
    """
    store = Store.open(path)
    total = len(store)
    names = stored_names(store.path)
    num_values = num_bytes = num_problems = 0
    problems: list[Problem] = []
    while some := list(islice(names, _AT_ONCE)):
        with read_transaction(store.path) as (transaction, _):
            for name in some:
                value = transaction.get(name.encode()) or b""
                num_bytes += len(value)
                reason = find_problem(name, value)
                if reason is not None:
                    num_problems += 1
                    problems.extend([Problem(name, reason)][: MAX_LISTED - len(problems)])
        num_values += len(some)
        if progress is not None:
            progress(num_values, total)
    return Verification(num_values, num_bytes, num_problems, tuple(problems))


def find_problem(name: str, value: bytes | memoryview) -> str | None:
    """Return what is wrong with the value called ``name``, or None."""
    kind = KINDS.get(kind_of_value(name))  # type: ignore[call-overload]
    if kind is None:
        return "the name is not that of a patch or a reference map"
    try:
        places = blob_layout(value, name)
    except StoreError as error:
        return str(error)
    return _find_difference(kind, places) or _find_pixels(kind, value, places)


def _find_difference(kind: Kind, places: Mapping[str, TensorPlace]) -> str | None:
    missing = [tensor for tensor in kind.sizes if tensor not in places]
    if missing:
        return f"it lacks {', '.join(missing)}"
    unknown = [tensor for tensor in places if tensor not in kind.sizes]
    if unknown:
        return f"it has {', '.join(unknown)}, which no {kind.name} value has"
    for tensor, side in kind.sizes.items():
        place = places[tensor]
        if place.shape != (side, side) or place.dtype != kind.dtype:
            shape = " x ".join(map(str, place.shape))
            return f"{tensor} is {shape} {place.dtype} and should be {side} x {side} {kind.dtype}"
    return None


def _find_pixels(
    kind: Kind, value: bytes | memoryview, places: Mapping[str, TensorPlace]
) -> str | None:
    if kind.dtype.kind != "f":
        return None
    for tensor in kind.sizes:
        pixels = view_tensor(value, places[tensor])
        num_bad = pixels.size - int(np.count_nonzero(np.isfinite(pixels)))
        if num_bad:
            return f"{tensor} has {num_bad} pixels that are not finite"
    return None
