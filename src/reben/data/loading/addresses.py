"""Where the bands of patches lie in the mapped file of a store.

Axes: B patches, C bands.
"""

import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, get_args

import lmdb
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from reben.data.dataset import Dataset
from reben.data.storage.environment import Environment, read_transaction
from reben.data.storage.names import Names
from reben.data.storage.value import KINDS, TensorPlace, blob_layout
from reben.errors import StoreError
from reben.spec.bands import BandSet, Sensor, native_size, sensor

_MAX_HEADERS = 4096
_LAYOUT = np.uint64(48)
"""Bits of an address."""
_ADDRESS = np.uint64((1 << 48) - 1)


class BandAddresses:
    """Where the bands of patches lie in the mapped file of a store, without reading them.

    A header is parsed the first time it is seen; after that a patch costs two look-ups in the store
    and two in a dictionary, whatever the number of its bands. Where a value lies is remembered for
    later epochs, as long as nobody writes to the store.

    It knows the usual case only: all bands present, of their usual dtype and native size. Anything
    else is left to `read_checked`.
    """

    def __init__(self, dataset: Dataset) -> None:
        bands = dataset.bands
        dtypes = [KINDS[sensor(name)].dtype for name in bands]
        sides = [native_size(name) for name in bands]
        self.formats: NDArray[np.int64] = np.array(
            [(side, dtype.itemsize) for side, dtype in zip(sides, dtypes, strict=True)], np.int64
        )
        """Native side length and bytes of a value of each band, [C, 2]."""
        self._dataset = dataset
        self._sensors = [s for s in get_args(Sensor) if bands.of_sensor(s)]
        self._unaligned = np.array([dtype.itemsize - 1 for dtype in dtypes], np.uint64)
        self._known: _Known | None = None

    @contextmanager
    def find(self, rows: Sequence[int]) -> Iterator[NDArray[np.uint64] | None]:
        """Yield where each band of each patch lies, valid until the end of the block.

        Yields:
            Addresses of first values, uint64 [B, C]; None if a band is missing or unusual.
        """
        with read_transaction(self._dataset.store.path) as (transaction, environment):
            known, commit = self._known, transaction.id()
            if known is None or (known.environment, known.commit) != (environment, commit):
                # Threads that still read what was there before keep what they know of that.
                blobs = [_Blobs(self._dataset.bands, s, len(self._dataset)) for s in self._sensors]
                known = self._known = _Known(environment, commit, blobs)
            found = self._find(known, transaction, np.asarray(rows, np.int64))
            yield found
            if found is not None and len(found):
                extent = int(found.min()), int(found.max())
                environment.pages.count(*extent, len(found) * len(known.blobs))

    def _find(
        self, known: "_Known", transaction: lmdb.Transaction, rows: NDArray[np.int64]
    ) -> NDArray[np.uint64] | None:
        found = np.empty((len(rows), len(self.formats)), np.uint64)
        if sys.byteorder != "little":
            return None
        table = self._dataset.table
        for blobs in known.blobs:
            names = table.partners if blobs.sensor == "Sentinel-1" else table.names
            if not blobs.find(transaction, names, rows, found):
                return None
        return None if (found & self._unaligned).any() else found


class _Layout(NamedTuple):
    """Where the bands lie in all blobs with the same header, and the bytes of such a blob."""

    offsets: NDArray[np.uint64]
    num_bytes: int
    number: int
    """Of the layout, or `_MAX_HEADERS` for one that is not remembered."""


class _Blobs:
    """The bands of one sensor, which lie in one blob for each patch."""

    def __init__(self, bands: BandSet, of_sensor: Sensor, num_patches: int) -> None:
        self.sensor = of_sensor
        self._names = bands.of_sensor(of_sensor)
        self._columns = np.array([bands.index(name) for name in self._names])
        self._headers: dict[bytes, _Layout] = {}
        self._offsets = np.zeros((_MAX_HEADERS + 1, len(self._names)), np.uint64)
        self._num_layouts = 0
        self._lock = threading.Lock()
        # The address of each blob, and in the highest bits the number of its layout; in one number,
        # since several threads write and read them.
        self._places = np.zeros(num_patches, np.uint64)

    def find(
        self,
        transaction: lmdb.Transaction,
        names: Names,
        rows: NDArray[np.int64],
        found: NDArray[np.uint64],
    ) -> bool:
        """Write addresses into the columns of these bands; False if something is unusual."""
        places = self._places[rows]
        bases, offsets = places & _ADDRESS, self._offsets[(places >> _LAYOUT).astype(np.int64)]
        unknown = np.flatnonzero(places == 0)
        keys = names.keys(rows[unknown]) if len(unknown) else []
        for at, key in zip(unknown.tolist(), keys, strict=True):
            blob = transaction.get(key) if key else None
            if blob is None or len(blob) < 8:
                return False
            header = bytes(blob[: 8 + int.from_bytes(blob[:8], "little")])
            layout = self._headers.get(header) or self._learn(header, blob, key)
            if layout is None or len(blob) < layout.num_bytes:
                return False
            address = pa.py_buffer(blob).address
            bases[at], offsets[at] = address, layout.offsets
            if layout.number < _MAX_HEADERS and address <= int(_ADDRESS):
                self._places[rows[at]] = address | layout.number << int(_LAYOUT)
        found[:, self._columns] = bases[:, None] + offsets
        return True

    def _learn(self, header: bytes, blob: Any, key: bytes) -> _Layout | None:  # noqa: ANN401 - a buffer
        """Remember the layout of a header, if it is a usual one."""
        try:
            places = blob_layout(blob, key.decode())
        except StoreError:
            return None
        if not all(self._is_usual(band, places.get(band)) for band in self._names):
            return None
        offsets = np.array([places[band].offset for band in self._names], np.uint64)
        ends = [place.offset + place.num_values * place.dtype.itemsize for place in places.values()]
        with self._lock:
            if len(self._headers) >= _MAX_HEADERS:
                self._headers.clear()
            layout = self._headers[header] = _Layout(offsets, max(ends), self._num_layouts)
            if self._num_layouts < _MAX_HEADERS:
                self._offsets[self._num_layouts] = offsets
                self._num_layouts += 1
        return layout

    def _is_usual(self, band: str, place: TensorPlace | None) -> bool:
        dtype, side = KINDS[self.sensor].dtype, native_size(band)
        return place is not None and place.dtype == dtype and place.shape == (side, side)


class _Known(NamedTuple):
    """What is known of where values lie: in which map, after which commit."""

    environment: Environment
    commit: int
    blobs: list[_Blobs]
