"""Where the bands of many patches lie in the mapped file of a store, without reading them.

A header is parsed the first time it is seen; after that a patch costs two look-ups in the store
and two in a dictionary, whatever the number of its bands.
"""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import lmdb
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from reben.data.blob import TensorPlace, blob_layout
from reben.data.environment import Environment, read_transaction
from reben.data.metadata import PatchTable
from reben.data.store import Store
from reben.errors import StoreError
from reben.spec.bands import BandSet, Sensor, native_size, sensor

_DTYPES: dict[Sensor, np.dtype[Any]] = {
    "Sentinel-1": np.dtype(np.float32),
    "Sentinel-2": np.dtype(np.uint16),
}
_MAX_HEADERS = 4096


def is_float(name: str) -> bool:
    """Tell whether band ``name`` usually is float32 (Sentinel-1), and not uint16."""
    return _DTYPES[sensor(name)] == np.float32


class BandGather:
    """Finds the bands of patches as addresses in memory.

    It knows the usual case only: every band there, of its usual dtype and native size. For
    anything else it says so, and `reben.data.dataset.Dataset.read` finds out more.

    Args:
        store: Where the pixels are.
        table: The patches.
        bands: The bands to find.
    """

    def __init__(self, store: Store, table: PatchTable, bands: BandSet) -> None:
        self._store = store
        self._table = table
        self._bands = bands
        missions = [mission for mission in _DTYPES if bands.of_sensor(mission)]
        self._blobs = [_BlobGather(bands, mission) for mission in missions]
        self._unaligned = np.array(
            [_DTYPES[sensor(name)].itemsize - 1 for name in bands], np.uint64
        )
        self._environment: Environment | None = None

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle what it was made of; an environment belongs to its process."""
        return (BandGather, (self._store, self._table, self._bands))

    @contextmanager
    def addresses(self, rows: Sequence[int]) -> Iterator[NDArray[np.uint64] | None]:
        """Yield where each band of each patch lies, valid until the end of the block.

        Args:
            rows: Rows of the table.

        Yields:
            Addresses of first values, uint64 [B, C]; None if a patch or band is not there, or is
            not as it usually is.
        """
        with read_transaction(self._store.path) as (transaction, self._environment):
            yield self._find(transaction, rows)

    def _find(
        self, transaction: lmdb.Transaction, rows: Sequence[int]
    ) -> NDArray[np.uint64] | None:
        found = np.empty((len(rows), len(self._bands)), np.uint64)
        if sys.byteorder != "little":
            return None
        for blobs in self._blobs:
            names = self._table.s1_names if blobs.is_sentinel1 else self._table.patch_ids
            if not blobs.find(transaction, [names[row] for row in rows], found):
                return None
        return None if (found & self._unaligned).any() else found


class _Layout(NamedTuple):
    """Where the wanted bands lie in blobs of one kind of header, and how long such blobs are."""

    offsets: NDArray[np.uint64]
    num_bytes: int


class _BlobGather:
    """Finds the bands of one mission, which lie in one blob for each patch."""

    def __init__(self, bands: BandSet, mission: Sensor) -> None:
        self.is_sentinel1 = mission == "Sentinel-1"
        self._names = bands.of_sensor(mission)
        self._columns = np.array([bands.index(name) for name in self._names])
        self._dtype = _DTYPES[mission]
        self._headers: dict[bytes, _Layout] = {}

    def find(
        self, transaction: lmdb.Transaction, names: Sequence[str], found: NDArray[np.uint64]
    ) -> bool:
        """Write addresses into the columns of these bands; False if something is unusual."""
        bases: list[int] = []
        offsets: list[NDArray[np.uint64]] = []
        for name in names:
            blob = transaction.get(name.encode()) if name else None
            if blob is None or len(blob) < 8:
                return False
            header = bytes(blob[: 8 + int.from_bytes(blob[:8], "little")])
            layout = self._headers.get(header) or self._learn(header, blob, name)
            if layout is None or len(blob) < layout.num_bytes:
                return False
            offsets.append(layout.offsets)
            bases.append(pa.py_buffer(blob).address)
        same = all(one is offsets[0] for one in offsets)
        found[:, self._columns] = np.array(bases, np.uint64)[:, None] + (
            offsets[0] if same else np.stack(offsets)
        )
        return True

    def _learn(self, header: bytes, blob: Any, name: str) -> _Layout | None:  # noqa: ANN401 - a buffer
        """Remember what a header says, if it is a usual one."""
        if len(self._headers) >= _MAX_HEADERS:
            self._headers.clear()
        try:
            places = blob_layout(blob, name)
        except StoreError:
            return None
        if not all(self._is_usual(band, places.get(band)) for band in self._names):
            return None
        offsets = np.array([places[band].offset for band in self._names], np.uint64)
        ends = [place.offset + place.num_values * place.dtype.itemsize for place in places.values()]
        layout = self._headers[header] = _Layout(offsets, max(ends))
        return layout

    def _is_usual(self, band: str, place: TensorPlace | None) -> bool:
        side = native_size(band)
        return place is not None and place.dtype == self._dtype and place.shape == (side, side)
