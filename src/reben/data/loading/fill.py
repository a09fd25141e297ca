"""Memory for batches that is used again once nobody holds the tensors made of it.

Fresh memory has to be handed over by the system page by page, which takes as long as filling it.

Batches filled patch by patch: images through the compiled loop, or bands as they are.

The compiled loop knows the usual case: bands of their usual dtype and size, images of 120 pixels,
upsampling by repeating pixels. All else goes through `check_bands` and `Preprocess`, which say what
is wrong, or take longer and give the same.

Axes: B patches, C channels, h rows and w columns of a band.

Where the bands of many patches lie in the mapped file of a store, without reading them.

A header is parsed the first time it is seen; after that a patch costs two look-ups in the store
and two in a dictionary, whatever the number of its bands.
"""

import sys
import weakref
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple, get_args

import lmdb
import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch import Tensor

from reben.data.dataset import Dataset
from reben.data.loading.batch import flip
from reben.data.metadata import PatchTable
from reben.data.preprocess import Preprocess, check_bands
from reben.data.storage.environment import Environment, read_transaction
from reben.data.storage.value import KINDS, TensorPlace, blob_layout
from reben.data.store import Store
from reben.errors import ConfigError, PixelsError, StoreError
from reben.spec.bands import BandSet, Sensor, native_size, sensor
from reben.spec.patches import PATCH_PIXELS

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


_MAX_HEADERS = 4096


def is_float(name: str) -> bool:
    """Tell whether band ``name`` usually is float32 (Sentinel-1), and not uint16."""
    return KINDS[sensor(name)].dtype == np.float32


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
        missions = [mission for mission in get_args(Sensor) if bands.of_sensor(mission)]
        self._blobs = [_BlobGather(bands, mission) for mission in missions]
        self._unaligned = np.array(
            [KINDS[sensor(name)].dtype.itemsize - 1 for name in bands], np.uint64
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
        self._dtype = KINDS[mission].dtype
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


IMAGE_DTYPES = (torch.float32, torch.bfloat16, torch.float16)
"""What images can be of, in the order of the compiled loop's numbers."""


class ImageFiller:
    """Fills batches of normalised, flipped images.

    Args:
        dataset: The patches.
        preprocess: What turns raw values into images.
        dtype: Of the images: float32, bfloat16 or float16.

    Raises:
        ConfigError: If images cannot be of ``dtype``.
    """

    def __init__(self, dataset: Dataset, preprocess: Preprocess, dtype: torch.dtype) -> None:
        if dtype not in IMAGE_DTYPES:
            raise ConfigError(
                f"Images cannot be {dtype}. They can be {', '.join(map(str, IMAGE_DTYPES))}."
            )
        self._dataset = dataset
        self._preprocess = preprocess
        self._dtype = dtype
        self._gather = BandGather(dataset.store, dataset.table, dataset.bands)
        self._formats = band_formats(dataset.bands)
        figures = [getattr(preprocess, name).detach().flatten() for name in ("mean", "std")]
        self._figures = torch.stack(figures, 1).float().cpu().numpy()
        self._is_fast = (
            type(preprocess) is Preprocess
            and preprocess.size == PATCH_PIXELS
            and preprocess.statistics.upsampling == "nearest"
        )

    def start(self, num_patches: int, buffers: Buffers) -> Tensor:
        """Return memory for a batch, [B, C, H, W]."""
        size = self._preprocess.size
        return buffers.take((num_patches, len(self._dataset.bands), size, size), self._dtype)

    def fill(self, images: Tensor, rows: Sequence[int], flips: NDArray[np.bool_]) -> None:
        """Write the images of ``rows``.

        Raises:
            MissingPatchError: If the store lacks a patch.
            PixelsError: If the values of a patch cannot be right; the message names it.
        """
        if self._is_fast and self._fill_fast(images, rows, flips):
            return
        bands = read_checked(self._dataset, rows)
        with torch.no_grad():
            images.copy_(flip(self._preprocess(bands), torch.from_numpy(flips)))

    def _fill_fast(self, images: Tensor, rows: Sequence[int], flips: NDArray[np.bool_]) -> bool:
        from reben.data.loading.kernels import ALIGNMENT, fill_images

        # A wide store to another address would end the process.
        if images.data_ptr() % ALIGNMENT:
            return False
        with self._gather.addresses(rows) as addresses:
            if addresses is None:
                return False
            storage = IMAGE_DTYPES.index(self._dtype)
            doubtful = fill_images(
                addresses, self._formats, self._figures, flips, images.data_ptr(), storage
            )
        return doubtful < 0


class BandFiller:
    """Fills batches of raw bands.

    Args:
        dataset: The patches.
    """

    def __init__(self, dataset: Dataset) -> None:
        self._dataset = dataset
        self._gather = BandGather(dataset.store, dataset.table, dataset.bands)
        self._formats = band_formats(dataset.bands)

    def start(self, num_patches: int, buffers: Buffers) -> dict[str, Tensor]:
        """Return memory for a batch: band -> [B, h, w], all in one block."""
        num_bytes = [num_patches * side * side * size for side, size in self._formats.tolist()]
        block = buffers.take((sum(num_bytes),), torch.uint8)
        bands, end = {}, 0
        for name, size in zip(self._dataset.bands, num_bytes, strict=True):
            start, end = end, end + size
            values = block[start:end].view(torch.float32 if is_float(name) else torch.uint16)
            bands[name] = values.view(num_patches, native_size(name), native_size(name))
        return bands

    def fill(self, bands: dict[str, Tensor], first: int, rows: Sequence[int]) -> bool:
        """Write the bands of ``rows``, the first of them as patch ``first`` of the batch.

        Returns:
            Whether it was done. If not, the values are unusual, and `read_checked` is to read the
            whole batch.
        """
        from reben.data.loading.kernels import ALIGNMENT, copy_bands

        targets = np.array([band[first:].data_ptr() for band in bands.values()], np.uint64)
        if (targets % ALIGNMENT).any():
            return False
        with self._gather.addresses(rows) as addresses:
            return addresses is not None and copy_bands(addresses, self._formats, targets) < 0


def band_formats(bands: BandSet) -> NDArray[np.int64]:
    """Return native side length and bytes of a value of each band, [C, 2]."""
    return np.array([(native_size(name), 4 if is_float(name) else 2) for name in bands], np.int64)


def read_checked(dataset: Dataset, rows: Sequence[int]) -> dict[str, Tensor]:
    """Return the raw bands of patches, [B, h, w], after all checks.

    Raises:
        MissingPatchError: If the store lacks a patch.
        BandsMismatchError: If a patch lacks a band.
        PixelsError: If the values of a patch cannot be right; the message names it.
    """
    patches = [dataset.patch(row) for row in rows]
    kinds = {tuple((band.dtype, band.shape) for band in patch.values()) for patch in patches}
    if len(kinds) == 1:
        stacked = {name: np.stack([patch[name] for patch in patches]) for name in dataset.bands}
        with suppress(PixelsError):
            return check_bands(stacked, dataset.bands)
    # Where dtypes differ, or to find the patch that is wrong, each is looked at by itself.
    checked = []
    for row, patch in zip(rows, patches, strict=True):
        try:
            checked.append(check_bands(patch, dataset.bands))
        except PixelsError as error:
            name = dataset.table.patch_ids[row]
            raise type(error)(f"Patch {name} in the store {dataset.store.path}: {error}") from None
    return {name: torch.cat([one[name].float() for one in checked]) for name in dataset.bands}
