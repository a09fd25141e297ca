"""The one way in which values get into a store, several processes at a time.

LMDB lets one process write at a time and makes the others wait, so nothing but the map, which
every process grows for itself, is left to agree about.

A commit that waits for the disk keeps every other writer waiting as well, and the disk idle while
values are copied; so workers commit without waiting, and a `Flusher` waits beside them.
"""

import os
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

import lmdb

from reben.data.storage.environment import DATA_FILE, close_shared, open_lmdb
from reben.errors import OutputError
from reben.support.atomic import output_error

_MIN_GROWTH = 1 << 28
_MAX_GROWTH = 1 << 32


class StoredValues(NamedTuple):
    """What became of the values of a commit.

    Args:
        num_new: Values that were written.
        num_bytes: Their size.
        same: Names under which the very same value was there.
        different: Names under which another value was there, which was kept.
    """

    num_new: int
    num_bytes: int
    same: tuple[str, ...]
    different: tuple[str, ...]


class ValueWriter:
    """Collects values and writes them in one transaction; use it as a context manager.

    Leaving the context drops what was not committed. What was committed stays valid whatever
    happens to the process afterwards.

    Args:
        path: Folder of the store; made if it is not there.
        sync: Whether a commit waits for the disk. If not, only a `Flusher` makes it outlive a
            failure of the machine.

    Raises:
        OutputError: If the folder cannot be written.
        StoreError: If it holds a file that is no store.
    """

    def __init__(self, path: Path, *, sync: bool = False) -> None:
        self.path = path
        self.pending_bytes = 0
        self._pending: list[tuple[bytes, bytes]] = []
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise output_error(path, error) from error
        close_shared(path)
        there = path / DATA_FILE
        size = there.stat().st_size if there.exists() else 0
        self._environment = open_lmdb(path, sync=sync, map_size=_grown(size))
        # A process that was killed while it read would keep pages from being used again.
        self._environment.reader_check()

    def __enter__(self) -> Self:
        """Return the writer."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the store."""
        self.close()

    def close(self) -> None:
        """Close the store; what was not committed is dropped."""
        self._environment.close()

    def add(self, name: str, value: bytes) -> None:
        """Remember a value for the next commit."""
        self._pending.append((name.encode(), value))
        self.pending_bytes += len(value)

    def commit(self) -> StoredValues:
        """Write what was added, but no value whose name is taken.

        Raises:
            OutputError: If it cannot be written; the store keeps what was committed before.
        """
        self._pending.sort(key=lambda pair: pair[0])
        while True:
            try:
                stored = self._write()
                break
            except lmdb.MapFullError:
                size = int(self._environment.info()["map_size"])
                self._environment.set_mapsize(_grown(size))
            except lmdb.MapResizedError:
                # Another process made the map larger: take its size.
                self._environment.set_mapsize(0)
            except lmdb.Error as error:
                raise OutputError(
                    f"Cannot write to the store {self.path}: {error}. What was committed before is "
                    "still valid. Free some space, or choose a folder that you may write to, and "
                    "run the same command again: it goes on from there."
                ) from error
        self._pending = []
        self.pending_bytes = 0
        return stored

    def get(self, name: str) -> bytes | None:
        """Return the committed value of ``name``, if there is one."""
        while True:
            try:
                with self._environment.begin() as transaction:
                    value: bytes | None = transaction.get(name.encode())
                    return value
            except lmdb.MapResizedError:
                self._environment.set_mapsize(0)

    def _write(self) -> StoredValues:
        if not self._pending:
            return StoredValues(0, 0, (), ())
        same: list[str] = []
        different: list[str] = []
        num_bytes = 0
        with self._environment.begin(write=True) as transaction:
            for key, value in self._pending:
                if transaction.put(key, value, overwrite=False):
                    num_bytes += len(value)
                    continue
                taken = same if transaction.get(key) == value else different
                taken.append(key.decode())
        num_new = len(self._pending) - len(same) - len(different)
        return StoredValues(num_new, num_bytes, tuple(same), tuple(different))


def _grown(size: int) -> int:
    """Return the next map size: an eighth more, but neither a trifle nor a strain."""
    page = 1 << 16
    return (size + min(max(size // 8, _MIN_GROWTH), _MAX_GROWTH)) // page * page


_SECONDS = 2.0
_sync = getattr(os, "fdatasync", os.fsync)


class Flusher:
    """Asks the system now and then to write a file to the disk; use it as a context manager.

    Leaving the context waits until all of the file is on the disk.

    Args:
        path: The file.

    Raises:
        OutputError: On leaving, if the disk refuses the file.
    """

    def __init__(self, path: Path) -> None:
        self.seconds = 0.0
        """How long leaving the context took."""
        self._path = path
        self._descriptor = os.open(path, os.O_RDWR)
        self._stopped = threading.Event()
        self._error: OSError | None = None
        self._thread = threading.Thread(target=self._work, daemon=True)

    def __enter__(self) -> Self:
        """Start."""
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Wait for what is not on the disk yet, and stop."""
        started = time.perf_counter()
        self._stopped.set()
        self._thread.join()
        try:
            if self._error is not None:
                raise self._error
            _sync(self._descriptor)
        except OSError as failure:
            raise output_error(self._path, failure) from failure
        finally:
            os.close(self._descriptor)
            self.seconds = time.perf_counter() - started

    def _work(self) -> None:
        while not self._stopped.wait(_SECONDS):
            try:
                _sync(self._descriptor)
            except OSError as error:
                self._error = error
                return


def boot_id() -> str:
    """Return what differs from one start of the machine to the next; nothing where unknown."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""
