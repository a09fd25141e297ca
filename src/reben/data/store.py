"""Stores: LMDB folders whose values are safetensors blobs.

Key: the name of a Sentinel-2 patch, of a Sentinel-1 patch, or of a Sentinel-2 patch followed by
``_reference_map``, in UTF-8. Value: the bands of that patch at native size, as one safetensors
blob (Sentinel-2 uint16, Sentinel-1 float32 in dB, a reference map uint16 under the key ``Data``).
The order of the tensors in a blob has no meaning and differs from patch to patch, so tensors are
looked up by name.

This is the format that rico-hdl writes and ConfigILM reads.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from reben.data.storage.environment import (
    DATA_FILE,
    Environment,
    encoded,
    read_transaction,
    stored_keys,
    stored_names,
)
from reben.data.storage.value import blob_layout, view_tensor
from reben.data.storage.writer import ValueWriter
from reben.errors import BandsMismatchError, MissingPatchError, StoreError

if TYPE_CHECKING:
    import lmdb


NO_PARTNER = (
    "The Sentinel-1 partner of a patch is unknown. Add the column s1_name to the table of patches, "
    "or use bands of Sentinel-2 only."
)


def is_store(path: str | Path) -> bool:
    """Tell whether a folder is a store."""
    return (Path(path) / DATA_FILE).is_file()


class Store:
    """Patches by name, read-only.

    A store may be opened any number of times: within a process all share one LMDB environment,
    and every process (spawned or forked) opens its own on first use. In a read-only folder nothing
    is written, not even a lock file.

    Args:
        path: The folder that holds ``data.mdb``.

    Raises:
        StoreError: If the folder is not a store.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = _store_folder(Path(path))
        self._environment: Environment | None = None
        with self._reading():
            pass

    @classmethod
    def open(cls, path: str | Path) -> Self:
        """Return the store in folder ``path``."""
        return cls(path)

    def __getstate__(self) -> dict[str, object]:
        return {"path": self.path}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.path = state["path"]
        self._environment = None

    def __repr__(self) -> str:
        return f"Store({str(self.path)!r})"

    def __len__(self) -> int:
        with self._reading() as transaction:
            return int(transaction.stat()["entries"])

    def __contains__(self, name: object) -> bool:
        key = encoded(name) if isinstance(name, str) else None
        if key is None:
            return False
        with self._reading() as transaction:
            return transaction.get(key) is not None

    def names(self) -> Iterator[str]:
        """Yield all names in byte order, without reading values."""
        return stored_names(self.path)

    def missing_names(self, names: Iterable[str]) -> list[str]:
        """Return those of many names that the store does not hold, in their order, each once.

        Values are not read. The names of the whole data set take some two seconds.
        """
        keys = {name: encoded(name) for name in names}
        missing = set(keys.values())
        missing.difference_update(stored_keys(self.path))
        return [name for name, key in keys.items() if key is None or key in missing]

    def get(self, name: str, tensors: Iterable[str] | None = None) -> dict[str, NDArray[Any]]:
        """Return the tensors of patch ``name``.

        Args:
            name: A Sentinel-2 or Sentinel-1 patch name, or the name of a reference map.
            tensors: The bands to read, in this order; all of them by default.

        Returns:
            Band -> array [H, W] of native size and dtype, a copy that may be changed.

        Raises:
            MissingPatchError: If the store holds no such name.
            BandsMismatchError: If the patch lacks a band that was asked for.
            StoreError: If the value is damaged.
        """
        if not name:
            raise MissingPatchError(NO_PARTNER)
        key = encoded(name)
        with read_transaction(self.path) as (transaction, self._environment):
            blob = None if key is None else transaction.get(key)
            if blob is None:
                num_values = transaction.stat()["entries"]
                raise MissingPatchError(
                    f"No patch {name!r} in the store {self.path} ({num_values} values). "
                    "Encode it, or leave it out of the metadata."
                )
            places = blob_layout(blob, name)
            wanted = list(places) if tensors is None else list(tensors)
            missing = [band for band in wanted if band not in places]
            if missing:
                raise BandsMismatchError(
                    f"Patch {name} in the store {self.path} lacks {', '.join(missing)}; "
                    f"it has {', '.join(places)}."
                )
            found = {band: view_tensor(blob, places[band]).copy() for band in wanted}
            self._environment.pages.count_value(blob)
            return found

    @contextmanager
    def _reading(self) -> Iterator["lmdb.Transaction"]:
        # Keep the environment, so that the next call need not open it again.
        with read_transaction(self.path) as (transaction, self._environment):
            yield transaction


class StoreWriter:
    """Writes patches into a store; use it as a context manager.

    Patches are written in transactions of some 64 MB; what was committed stays valid whatever
    happens afterwards.

    Args:
        path: Folder of the store; created if necessary.

    Raises:
        OutputError: If the folder cannot be written.
        StoreError: If it holds a file that is not a store.
    """

    _BATCH_BYTES = 64 << 20

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._pending: dict[str, bytes] = {}
        self._writer = ValueWriter(self.path, sync=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.commit()
        finally:
            self._writer.close()

    def put(self, name: str, tensors: Mapping[str, NDArray[Any]]) -> bool:
        """Write the bands of patch ``name`` as one blob.

        Args:
            name: A Sentinel-2 or Sentinel-1 patch name, or the name of a reference map.
            tensors: Band -> array [H, W], of any dtype that safetensors has.

        Returns:
            Whether it was written: False if the store has the same value already.

        Raises:
            StoreError: If the store has another value of that name, or the name is impossible.
            OutputError: If it cannot be written, for example because the disk is full.
        """
        from safetensors.numpy import save

        self._writer.require_name(name)
        blob = save({band: np.ascontiguousarray(tensor) for band, tensor in tensors.items()})
        there = self._pending.get(name) or self._writer.get(name)
        if there is not None:
            if there != blob:
                raise self._taken(name)
            return False
        self._pending[name] = blob
        self._writer.add(name, blob)
        if self._writer.pending_bytes >= self._BATCH_BYTES:
            self.commit()
        return True

    def commit(self) -> None:
        """Write what is pending in one transaction.

        Raises:
            OutputError: If it cannot be written; the store keeps what was committed before.
            StoreError: If another process wrote another value under one of the names meanwhile.
        """
        stored = self._writer.commit()
        self._pending.clear()
        if stored.different:
            raise self._taken(stored.different[0])

    def _taken(self, name: str) -> StoreError:
        return StoreError(
            f"The store {self.path} already holds another value for {name}. "
            "Choose another store, or find out which of the two is right."
        )


def _store_folder(path: Path) -> Path:
    if path.name == DATA_FILE and path.is_file():
        path = path.parent
    if is_store(path):
        return path
    if not path.exists():
        raise StoreError(f"There is no folder {path}. A store is a folder that holds {DATA_FILE}.")
    inside = sorted(found.parent for found in path.glob(f"*/{DATA_FILE}")) if path.is_dir() else []
    hint = f" Did you mean {inside[0]}?" if inside else ""
    raise StoreError(f"{path} is not a store: it holds no {DATA_FILE}.{hint}")
