"""What is in a store: counts, sizes, and what the metadata name that is not there."""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from reben.data.metadata import METADATA_FILE, SNOW_CLOUD_FILE, PatchTable
from reben.data.store import DATA_FILE, Store
from reben.errors import EmptySplitError, PatchNameError
from reben.spec.labels import LABELS
from reben.spec.patches import SPLITS, Sentinel1Patch, Sentinel2Patch, patch_of_reference_map

_KINDS: dict[str, Callable[[str], object]] = {
    "Sentinel-2": Sentinel2Patch.parse,
    "Sentinel-1": Sentinel1Patch.parse,
    "reference map": patch_of_reference_map,
}
OTHER = "other"
"""The kind of a value whose name is none that the data set has."""


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
        num_bytes: Size of its data file as it lies on the disk.
        values: Kind of value (Sentinel-2, Sentinel-1, reference map) -> how many there are.
        samples: Kind of value -> the tensors of the first one by name, in name order.
        metadata: File names of the metadata tables that lie in the folder.
        num_patches: Patches that these tables name.
        splits: Split -> patches, in the order train, validation, test.
        clear_splits: Split -> those without snow, cloud and shadow, which the official splits are.
        countries: Country -> patches, most frequent first.
        labels: Label -> patches that have it, in alphabetical order: all 19, or own ones.
        missing_sentinel2: Patches of the tables whose Sentinel-2 value is not in the store.
        missing_sentinel1: Their Sentinel-1 partners that are not in the store.
        num_unlisted: Sentinel-2 values that the tables do not name.
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

    def to_dict(self) -> dict[str, object]:
        """Return plain values, ready for JSON."""
        return asdict(self)


def summarise_store(path: str | Path) -> StoreSummary:
    """Return what the store in folder ``path`` holds, by its names and its metadata tables.

    Values are counted by their names; only the first of each kind is opened.

    Raises:
        StoreError: If the folder is not a store, or the value that is opened is damaged.
        MetadataError: If a metadata table in the folder cannot be read.
    """
    store = Store.open(path)
    names = list(store.names())
    kinds = [_kind(name) for name in names]
    first = dict(zip(reversed(kinds), reversed(names), strict=True))
    files = [store.path / name for name in (METADATA_FILE, SNOW_CLOUD_FILE)]
    files = [file for file in files if file.is_file()]
    table = PatchTable.read(*files, labels=None) if files else None
    there = set(names)
    patch_ids = table.patch_ids if table else []
    counted = Counter(kinds)
    in_order = [kind for kind in (*_KINDS, OTHER) if counted[kind]]
    return StoreSummary(
        path=str(store.path),
        num_bytes=(store.path / DATA_FILE).stat().st_blocks * 512,
        values={kind: counted[kind] for kind in in_order},
        samples={kind: _facts(store, first[kind]) for kind in in_order},
        metadata=tuple(file.name for file in files),
        num_patches=len(patch_ids),
        splits=_ordered(table, "split", SPLITS),
        clear_splits=_ordered(_clear(table), "split", SPLITS),
        countries=table.counts("country") if table else {},
        labels=_ordered(table, "labels", table.labels if table else LABELS),
        missing_sentinel2=_absent(patch_ids, there),
        missing_sentinel1=_absent(table.s1_names if table else [], there),
        num_unlisted=counted["Sentinel-2"] - len(there.intersection(patch_ids)),
    )


def _kind(name: str) -> str:
    for kind, parse in _KINDS.items():
        try:
            parse(name)
        except PatchNameError:
            continue
        return kind
    return OTHER


def _facts(store: Store, name: str) -> tuple[TensorFacts, ...]:
    tensors = sorted(store.get(name).items())
    return tuple(TensorFacts(key, tensor.shape, str(tensor.dtype)) for key, tensor in tensors)


def _clear(table: PatchTable | None) -> PatchTable | None:
    try:
        return table.filter(snow=False, cloud=False) if table else None
    except EmptySplitError:
        return None


def _ordered(table: PatchTable | None, column: str, order: Iterable[str]) -> dict[str, int]:
    counts = table.counts(column) if table else {}
    return {value: counts.get(value, 0) for value in order}


def _absent(names: Iterable[str], there: set[str]) -> tuple[str, ...]:
    return tuple(name for name in names if name not in there)
