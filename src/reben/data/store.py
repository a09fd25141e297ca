"""Stores: an LMDB directory whose values are safetensors blobs.

Key: a Sentinel-2 patch name, a Sentinel-1 patch name, or a Sentinel-2 patch name with
``_reference_map`` behind it, in UTF-8. Value: the bands of that patch at native size, as one
safetensors blob (Sentinel-2 uint16, Sentinel-1 float32 in dB, a reference map uint16 under the
one key ``Data``). The order of the tensors in a blob means nothing and differs from patch to
patch, so tensors are looked up by name.

This is the format that rico-hdl writes and ConfigILM reads.
"""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import lmdb
import numpy as np
from numpy.typing import NDArray

from reben.data.storage.environment import (
    DATA_FILE,
    Environment,
    close_shared,
    open_lmdb,
    shared_environment,
    stored_names,
)
from reben.data.storage.value import blob_layout, view_tensor
from reben.errors import BandsMismatchError, MissingPatchError, OutputError, StoreError
from reben.support.atomic import output_error


class Store:
    """Patches by name, read-only.

    A store may be opened as often as one likes: within a process all share one LMDB
    environment, and every process (spawned or forked) opens its own on first use. Nothing is
    written, not even a lock file, where the folder is read-only.

    Args:
        path: The folder that holds ``data.mdb``.

    Raises:
        StoreError: If the folder is not a store.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = _store_folder(Path(path))
        self._environment: Environment | None = None
        self._open()

    @classmethod
    def open(cls, path: str | Path) -> Self:
        """Return the store in folder ``path``."""
        return cls(path)

    def __getstate__(self) -> dict[str, object]:
        """Pickle the path alone; the copy opens its own environment."""
        return {"path": self.path}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take the path; the environment opens on first use."""
        self.path = state["path"]
        self._environment = None

    def __repr__(self) -> str:
        """Return the path that was opened."""
        return f"Store({str(self.path)!r})"

    def __len__(self) -> int:
        """Count the values: Sentinel-2 patches, Sentinel-1 patches and reference maps."""
        with self._open().begin() as transaction:
            return int(transaction.stat()["entries"])

    def __contains__(self, name: object) -> bool:
        """Tell whether there is a value for ``name``."""
        if not isinstance(name, str) or not 0 < len(name.encode()) <= 511:
            return False
        with self._open().begin(buffers=True) as transaction:
            return transaction.get(name.encode()) is not None

    def names(self) -> Iterator[str]:
        """Yield all names in byte order; no value is read for that."""
        return stored_names(self.path)

    def get(self, name: str, tensors: Iterable[str] | None = None) -> dict[str, NDArray[Any]]:
        """Return the tensors of patch ``name``.

        Args:
            name: A Sentinel-2 or Sentinel-1 patch name, or the name of a reference map.
            tensors: The bands to read, in the order wanted; all of the blob by default.

        Returns:
            Band -> array [H, W] of native size and dtype, a copy that may be written to.

        Raises:
            MissingPatchError: If the store holds no such name.
            BandsMismatchError: If the patch lacks a band that was asked for.
            StoreError: If the value is damaged.
        """
        with self._open().begin(buffers=True) as transaction:
            blob = transaction.get(name.encode()) if name else None
            if not name:
                raise MissingPatchError(
                    "Nothing tells the Sentinel-1 partner of a patch. Add the column s1_name to "
                    "the table of patches, or take bands of Sentinel-2 alone."
                )
            if blob is None:
                raise MissingPatchError(
                    f"No patch {name!r} in the store {self.path} ({len(self)} values). "
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
            return {band: view_tensor(blob, places[band]).copy() for band in wanted}

    def _open(self) -> lmdb.Environment:
        if self._environment is None or self._environment.closed:
            self._environment = shared_environment(self.path)
        return self._environment.lmdb


class StoreWriter:
    """Writes patches into a store; use it as a context manager.

    The map grows as needed. Everything put is written in transactions of some 64 MB; what was
    committed stays valid whatever happens afterwards.

    Args:
        path: Folder of the store; made if it is not there.

    Raises:
        OutputError: If the folder cannot be written.
        StoreError: If there is a file that is no store.
    """

    _BATCH_BYTES = 64 << 20

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._pending: dict[bytes, bytes] = {}
        self._pending_bytes = 0
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise output_error(self.path, error) from error
        close_shared(self.path)
        existing = self.path / DATA_FILE
        size = existing.stat().st_size if existing.exists() else 0
        self._environment = open_lmdb(self.path, map_size=max(1 << 24, 2 * size))

    def __enter__(self) -> Self:
        """Return the writer."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Commit what is pending, also after an error, and close."""
        try:
            self.commit()
        finally:
            self._environment.close()

    def put(self, name: str, tensors: Mapping[str, NDArray[Any]]) -> bool:
        """Write the bands of patch ``name`` as one blob.

        Args:
            name: A Sentinel-2 or Sentinel-1 patch name, or the name of a reference map.
            tensors: Band -> array [H, W], of any dtype that safetensors has.

        Returns:
            Whether it was written: False if the very same value was there already.

        Raises:
            StoreError: If another value is there under that name.
            OutputError: If it cannot be written, for example for want of space.
        """
        from safetensors.numpy import save

        key = name.encode()
        blob = save({band: np.ascontiguousarray(tensor) for band, tensor in tensors.items()})
        there = self._pending.get(key)
        if there is None:
            with self._environment.begin() as transaction:
                there = transaction.get(key)
        if there is not None:
            if bytes(there) != blob:
                raise StoreError(
                    f"The store {self.path} already holds another value for {name}. "
                    "Choose another store, or find out which of the two is right."
                )
            return False
        self._pending[key] = blob
        self._pending_bytes += len(blob)
        if self._pending_bytes >= self._BATCH_BYTES:
            self.commit()
        return True

    def commit(self) -> None:
        """Write what is pending in one transaction.

        Raises:
            OutputError: If it cannot be written; the store keeps what was committed before.
        """
        if not self._pending:
            return
        while True:
            try:
                with self._environment.begin(write=True) as transaction:
                    for key, blob in sorted(self._pending.items()):
                        transaction.put(key, blob)
                break
            except lmdb.MapFullError:
                self._environment.set_mapsize(2 * self._environment.info()["map_size"])
            except lmdb.Error as error:
                raise OutputError(
                    f"Cannot write to the store {self.path}: {error}. What was committed before "
                    "is still valid. Free some space and go on, or choose another folder."
                ) from error
        self._pending.clear()
        self._pending_bytes = 0


def _store_folder(path: Path) -> Path:
    if path.name == DATA_FILE and path.is_file():
        path = path.parent
    if (path / DATA_FILE).is_file():
        return path
    if not path.exists():
        raise StoreError(f"There is no folder {path}. A store is a folder that holds {DATA_FILE}.")
    inside = sorted(found.parent for found in path.glob(f"*/{DATA_FILE}")) if path.is_dir() else []
    hint = f" Did you mean {inside[0]}?" if inside else ""
    raise StoreError(f"{path} is not a store: it holds no {DATA_FILE}.{hint}")
