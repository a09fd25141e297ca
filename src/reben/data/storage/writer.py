"""The only code that writes values into a store, in one process or several.

LMDB lets one process write at a time and makes the others wait, so processes need to agree about
nothing but the size of the map, which each of them grows for itself.

A commit that waits for the disk keeps all other writers waiting, and the disk idle while values are
copied; so workers commit without waiting, and `flushing` waits beside them.
"""

import os
import shutil
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Self

import lmdb

from reben.data.storage.environment import (
    DATA_FILE,
    MAX_NAME,
    close_shared,
    damaged,
    encoded,
    open_lmdb,
)
from reben.errors import OutputError, StoreError
from reben.support.atomic import make_folder, writing

_MIN_GROWTH = 1 << 28
_MAX_GROWTH = 1 << 32
_TAKE_OTHERS = 0
"""The map size that another process gave."""
_DAMAGE = (lmdb.CorruptedError, lmdb.PageNotFoundError, lmdb.BadTxnError, lmdb.PanicError)


class StoredValues(NamedTuple):
    """What became of the values of a commit."""

    num_new: int
    num_bytes: int
    """Size of the new ones."""
    same: tuple[str, ...]
    """Names under which the store had the same value."""
    different: tuple[str, ...]
    """Names under which it had another value, which was kept."""


class ValueWriter:
    """Collects values and writes them in one transaction; use it as a context manager.

    Leaving the context drops what was not committed. What was committed stays valid whatever
    happens to the process afterwards. If commits do not wait for the disk (``sync``), only
    `flushing` makes them survive a failure of the machine.
    """

    def __init__(self, path: Path, *, sync: bool = False) -> None:
        self.path = path
        self.pending_bytes = 0
        self._pending: list[tuple[bytes, bytes | bytearray]] = []
        make_folder(path)
        close_shared(path)
        there = path / DATA_FILE
        size = there.stat().st_size if there.exists() else 0
        self._environment = open_lmdb(path, sync=sync, map_size=_grown(size))
        try:
            # Free the pages that a process was reading when it was killed.
            self._environment.reader_check()
        except lmdb.Error as error:
            self._environment.close()
            raise damaged(path, error) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the store; drop what was not committed."""
        self._environment.close()

    def add(self, name: str, value: bytes | bytearray) -> None:
        """Remember a value for the next commit; see `require_name`."""
        self._pending.append((self.require_name(name), value))
        self.pending_bytes += len(value)

    def require_name(self, name: str) -> bytes:
        """Return the key of a name; raise `StoreError` if no value can have that name."""
        key = encoded(name)
        if key is None:
            raise StoreError(
                f"A value cannot be called {name[:60]!r}: use 1 to {MAX_NAME} bytes of UTF-8."
            )
        return key

    def commit(self) -> StoredValues:
        """Write what was added, except values whose name is taken."""
        self._pending.sort(key=lambda pair: pair[0])
        while True:
            try:
                stored = self._write()
                break
            except lmdb.MapFullError:
                self._resize(_grown(int(self._environment.info()["map_size"])))
            except lmdb.MapResizedError:
                self._resize(_TAKE_OTHERS)
            except _DAMAGE as error:
                raise damaged(self.path, error) from error
            except lmdb.Error as error:
                raise self._refused(error) from error
        self._pending = []
        self.pending_bytes = 0
        return stored

    def get(self, name: str) -> bytes | None:
        """Return the committed value of ``name``, if there is one."""
        key = encoded(name)
        while key is not None:
            try:
                with self._environment.begin() as transaction:
                    value: bytes | None = transaction.get(key)
                    return value
            except lmdb.MapResizedError:
                self._resize(_TAKE_OTHERS)
            except lmdb.Error as error:
                raise damaged(self.path, error) from error
        return None

    def remove(self, names: Iterable[str]) -> None:
        """Take committed values out of the store, those that are there."""
        try:
            with self._environment.begin(write=True) as transaction:
                for name in names:
                    transaction.delete(self.require_name(name))
        except lmdb.Error as error:
            raise self._refused(error) from error

    def _resize(self, map_size: int) -> None:
        try:
            self._environment.set_mapsize(map_size)
        except lmdb.Error as error:
            raise self._refused(error) from error

    def _refused(self, error: lmdb.Error) -> OutputError:
        # LMDB says "Input/output error" where the disk is full.
        wanted, free = self.pending_bytes / 1e6, shutil.disk_usage(self.path).free / 1e6
        return OutputError(
            f"Cannot write to the store {self.path}: {error}; {wanted:.1f} MB are to be written, "
            f"and {free:.1f} MB are free. What was committed before is still valid. Free some "
            "space, or choose a folder that you may write to, and run the same command again: it "
            "goes on from there."
        )

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
    """Return the next map size: an eighth more, within limits."""
    page = 1 << 16
    return (size + min(max(size // 8, _MIN_GROWTH), _MAX_GROWTH)) // page * page


_SECONDS = 2.0
_sync = getattr(os, "fdatasync", os.fsync)


@dataclass
class Flush:
    """How long the end of `flushing` took, in seconds, and whether all is on disk."""

    seconds: float = 0.0
    is_done: bool = False


@contextmanager
def flushing(path: Path) -> Iterator[Flush]:
    """Ask the system now and then, while the block runs, to write a file to disk.

    Leaving the block waits until all of the file is on disk; `OutputError` if the disk refuses it.
    """
    with writing(path):
        descriptor = os.open(path, os.O_RDWR)
    flush, stopped = Flush(), threading.Event()
    errors: list[OSError] = []

    def work() -> None:
        while not errors and not stopped.wait(_SECONDS):
            try:
                _sync(descriptor)
            except OSError as error:
                errors.append(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        yield flush
    finally:
        started = time.perf_counter()
        stopped.set()
        thread.join()
        try:
            with writing(path):
                if errors:
                    raise errors[0]
                _sync(descriptor)
                flush.is_done = True
        finally:
            os.close(descriptor)
            flush.seconds = time.perf_counter() - started


def boot_id() -> str:
    """Return what identifies this boot of the machine; nothing if unknown."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""
