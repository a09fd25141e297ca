"""Inspect a store: what it holds, by names and metadata; and, value by value, what is wrong."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np

from reben.data.metadata import METADATA_FILE, SNOW_CLOUD_FILE, PatchTable
from reben.data.splits import find_neighbours, places_of
from reben.data.storage.environment import DATA_FILE, read_transaction, stored_names
from reben.data.storage.record import OwnPatches, StoreRecord
from reben.data.storage.value import (
    KINDS,
    OTHER,
    SENTINEL2,
    Kind,
    TensorPlace,
    blob_layout,
    kind_of_value,
    own_kind,
    own_kind_of_value,
    view_tensor,
)
from reben.data.store import Store
from reben.data.values import RANGES, bad_pixels, check_values, may_be_odd
from reben.errors import EmptySplitError, PixelValueError, StoreError
from reben.spec.labels import LABELS
from reben.spec.patches import SPLITS

MAX_LISTED = 10_000
"""Problems that `verify_store` lists; all of them are counted."""
_AT_ONCE = 256


@dataclass(frozen=True)
class TensorFacts:
    """One tensor of a sample value.

    Args:
        name: Band, or ``Data`` in a reference map.
        shape: Height and width in pixels.
        dtype: Name of the dtype, for example ``uint16``.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str


@dataclass(frozen=True)
class StoreSummary:
    """What a store holds.

    Args:
        path: Folder of the store.
        num_bytes: Size of its data file on disk.
        values: Kind of value (Sentinel-2, Sentinel-1, reference map, other) -> how many there are.
        samples: Kind of value -> the tensors of the first one by name, in name order.
        metadata: File names of the metadata tables in the folder.
        num_patches: Patches that these tables list.
        splits: Split -> patches, in the order train, validation, test.
        clear_splits: Split -> those without snow, cloud and shadow, which the official splits are.
        countries: Country -> patches, most frequent first.
        labels: Label -> patches that have it, in alphabetical order: all 19, or own ones.
        missing_sentinel2: Patches of the tables whose Sentinel-2 value is not in the store.
        missing_sentinel1: Their Sentinel-1 partners that are not in the store.
        num_unlisted: Sentinel-2 values that the tables do not list.
        neighbours: Split -> its listed patches that lie less than a patch side from a patch of
            another split; None if their names or a missing extra do not let that be told.
        own: What the patches are, if they are not those of BigEarthNet v2.0.
    """

    path: str
    num_bytes: int
    values: dict[str, int]
    samples: dict[str, tuple[TensorFacts, ...]]
    metadata: tuple[str, ...]
    num_patches: int
    splits: dict[str, int]
    clear_splits: dict[str, int]
    countries: dict[str, int]
    labels: dict[str, int]
    missing_sentinel2: tuple[str, ...]
    missing_sentinel1: tuple[str, ...]
    num_unlisted: int
    neighbours: dict[str, int] | None = None
    own: str = ""

    def to_dict(self) -> dict[str, object]:
        """Return plain values, ready for JSON."""
        return asdict(self)


class StoreProblem(NamedTuple):
    """A value that is not as it should be: its name in the store, and what is wrong."""

    name: str
    reason: str


@dataclass(frozen=True)
class Verification:
    """What reading a whole store found.

    Args:
        num_values: Values that were read.
        num_bytes: Their size.
        num_problems: How many of them are not as they should be.
        problems: The first of these, `MAX_LISTED` at most, in the order of their names.
    """

    num_values: int
    num_bytes: int
    num_problems: int
    problems: tuple[StoreProblem, ...]

    def to_dict(self) -> dict[str, object]:
        """Return plain values, ready for JSON."""
        problems = [problem._asdict() for problem in self.problems]
        return asdict(self) | {"problems": problems}


def summarise_store(path: str | Path, metadata: Sequence[str | Path] = ()) -> StoreSummary:
    """Return what the store in folder ``path`` holds, by its names and metadata tables.

    Values are counted by name; only the first one of each kind is opened.

    Args:
        path: The store.
        metadata: The tables that list its patches; by default those in it.
    """
    store = Store.open(path)
    own = StoreRecord.read(store.path).own
    names = list(store.names())
    kinds = [(kind_of_value if own is None else own_kind_of_value)(name) for name in names]
    first = dict(zip(reversed(kinds), reversed(names), strict=True))
    files = [Path(file) for file in metadata]
    if not files:
        stored = (store.path / name for name in (METADATA_FILE, SNOW_CLOUD_FILE))
        files = [file for file in stored if file.is_file()]
    table = PatchTable.read(*files, labels=None) if files else None
    there = set(names)
    patch_ids, s1_names = (table.patch_ids, table.s1_names) if table else ([], [])
    count: Callable[[str], dict[str, int]] = table.counts if table else lambda _: {}
    counted = Counter(kinds)
    near = find_neighbours(places_of(table.patch_ids), table.splits) if table else None
    in_order = [kind for kind in (*KINDS, OTHER) if counted[kind]]
    return StoreSummary(
        path=str(store.path),
        num_bytes=(store.path / DATA_FILE).stat().st_blocks * 512,
        values={kind: counted[kind] for kind in in_order},
        samples={kind: _facts(store, first[kind]) for kind in in_order},
        metadata=tuple(file.name for file in files),
        num_patches=len(patch_ids),
        splits=_in_order(count("split"), SPLITS),
        clear_splits=_in_order(_clear_counts(table) if table else {}, SPLITS),
        countries=count("country"),
        labels=_in_order(count("labels"), table.labels if table else LABELS),
        missing_sentinel2=tuple(name for name in patch_ids if name not in there),
        missing_sentinel1=tuple(name for name in s1_names if name and name not in there),
        num_unlisted=counted[SENTINEL2.name] - len(there.intersection(patch_ids)),
        neighbours=None if near is None else dict(near.counts),
        own="" if own is None else _describe(own, table),
    )


def _describe(own: OwnPatches, table: PatchTable | None) -> str:
    what = "Patches of your own" if own.scheme == "own" else own.scheme
    labels = "no labels" if table is None else f"{len(table.labels)} labels"
    if "labels" in own.options:
        labels = f"{own.options['labels']} labels"
    return f"{what}, {labels}, {own.size} x {own.size} pixels of 10 m"


def _facts(store: Store, name: str) -> tuple[TensorFacts, ...]:
    tensors = sorted(store.get(name).items())
    return tuple(TensorFacts(key, tensor.shape, str(tensor.dtype)) for key, tensor in tensors)


def _clear_counts(table: PatchTable) -> dict[str, int]:
    try:
        return table.filter(snow=False, cloud=False).counts("split")
    except EmptySplitError:
        return {}


def _in_order(counts: Mapping[str, int], order: Iterable[str]) -> dict[str, int]:
    return {value: counts.get(value, 0) for value in order}


def verify_store(
    path: str | Path, progress: Callable[[int, int], None] | None = None
) -> Verification:
    """Read every value of the store in folder ``path``, and return what is wrong.

    A value should be a safetensors blob under the name of a patch, with the tensors of its kind in
    their sizes and dtypes and no others, and its pixels should be measurements, by the rules in
    `reben.data.values`. The order of the tensors
    does not matter. Pixels have no checksum, so a changed pixel is not noticed.

    Args:
        path: The store.
        progress: Called now and then with values read and values in all.
    """
    store = Store.open(path)
    own = StoreRecord.read(store.path).own
    total = len(store)
    names = stored_names(store.path)
    num_values = num_bytes = num_problems = 0
    problems: list[StoreProblem] = []
    while some := list(islice(names, _AT_ONCE)):
        with read_transaction(store.path) as (transaction, environment):
            for name in some:
                value = transaction.get(name.encode()) or b""
                num_bytes += len(value)
                reason = find_problem(name, value, own)
                environment.pages.count_value(value)
                if reason is not None:
                    num_problems += 1
                    problems.extend([StoreProblem(name, reason)][: MAX_LISTED - len(problems)])
        num_values += len(some)
        if progress is not None:
            progress(num_values, total)
    return Verification(num_values, num_bytes, num_problems, tuple(problems))


def find_problem(name: str, value: bytes | memoryview, own: OwnPatches | None = None) -> str | None:
    """Return what is wrong with the value called ``name``, or None.

    Args:
        name: Of the value.
        value: Its bytes.
        own: What the patches of the store are, if they are one's own.
    """
    if own is None:
        kind = KINDS.get(kind_of_value(name))
    else:
        of_own = own_kind_of_value(name)
        bands = own.bands.get(of_own)
        kind = None if bands is None else own_kind(of_own, bands, own.size)
    if kind is None:
        return "the name is not that of a patch or a reference map"
    try:
        places = blob_layout(value, name)
    except StoreError as error:
        return str(error)
    return _find_difference(kind, places, is_own=own is not None) or _find_pixels(
        kind, value, places
    )


def _find_difference(kind: Kind, places: Mapping[str, TensorPlace], *, is_own: bool) -> str | None:
    missing = [tensor for tensor in kind.sizes if tensor not in places]
    if missing:
        return f"it lacks {', '.join(missing)}"
    unknown = [tensor for tensor in places if tensor not in kind.sizes]
    if unknown:
        return f"it has {', '.join(unknown)}, which no {kind.name} value has"
    for tensor, side in kind.sizes.items():
        place = places[tensor]
        # Means of pixels, in patches of one's own, are fractions.
        is_float = is_own and place.dtype == np.float32
        if place.shape != (side, side) or not (is_float or place.dtype == kind.dtype):
            shape = " x ".join(map(str, place.shape))
            return f"{tensor} is {shape} {place.dtype} and should be {side} x {side} {kind.dtype}"
    return None


def _find_pixels(
    kind: Kind, value: bytes | memoryview, places: Mapping[str, TensorPlace]
) -> str | None:
    if kind.name not in RANGES:  # a reference map
        return None
    pixels = {tensor: view_tensor(value, places[tensor]) for tensor in kind.sizes}
    if not may_be_odd(pixels):
        return None
    for tensor, values in pixels.items():
        num_bad = values.size - int(np.count_nonzero(np.isfinite(values)))
        if num_bad:
            return f"{tensor} has {num_bad} pixels that are not finite"
        bad = bad_pixels(tensor, values)
        if bad is not None:
            return (
                f"{tensor} has {int(bad.sum())} pixels that are no measurement: values of "
                f"{values[bad].min():.6g} to {values[bad].max():.6g}"
            )
    try:
        check_values({tensor: values[None] for tensor, values in pixels.items()})
    except PixelValueError as error:
        return str(error).rstrip(".")
    return None
