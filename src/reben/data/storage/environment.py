"""LMDB environments, one for each store and process; and the names in a store without its values.

LMDB lets a process open a file only once, and py-lmdb 3 refuses the second time, so all stores of a
path share one environment, which is never used across a fork.

A file that is cut off or damaged would end the process with a signal, so `reben.data.storage.tree`
looks at it first.
"""

import os
import sys
import threading
import weakref
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING

import lmdb

from reben.data.storage.mapped import MappedPages
from reben.data.storage.tree import (
    DamageError,
    ForeignError,
    Keys,
    read_meta,
    require_whole,
    walk_all,
    walk_keys,
    walk_names,
)
from reben.errors import StoreError, first_line
from reben.support.bounds import check_file

if TYPE_CHECKING:
    from reben.data.storage.names import Names

DATA_FILE = "data.mdb"
"""The file that makes a folder a store."""
METADATA_FILE = "metadata.parquet"
"""The table of clear patches, as the data set names it."""
SNOW_CLOUD_FILE = "metadata_for_patches_with_snow_cloud_or_shadow.parquet"
"""The table of the other patches, as the data set names it."""
MAX_NAME = 511
"""The most bytes that LMDB takes as a name."""
_ROOM = 1 << 40
"""Addresses that a reader reserves; they cost nothing, and a store may grow into them."""
_QUICKLY_WALKED = 1024
"""Pages of names that are looked at whenever a store is opened, in some 50 ms at most."""
_MOUNTS = Path("/proc/self/mountinfo")
_REMOTE = ("nfs", "lustre", "gpfs", "beegfs", "cifs", "smb", "ceph", "fuse", "9p", "afs", "pvfs2")


class Environment:
    """One LMDB environment that all stores of a path in this process share."""

    def __init__(self, environment: lmdb.Environment) -> None:
        self.lmdb = environment
        self.pages = MappedPages()
        self.closed = False
        self._readers: Counter[int] = Counter()
        """Thread -> transactions that it has open."""
        self._changed = threading.Condition()

    @contextmanager
    def reading(self) -> Iterator[lmdb.Transaction]:
        """Yield a read transaction whose values are views into the mapped file.

        Until it ends, the environment is not closed, whichever thread asks for that.
        """
        thread = threading.get_ident()
        with self._changed:
            self._readers[thread] += 1
        try:
            with self.lmdb.begin(buffers=True) as transaction:
                yield transaction
        finally:
            with self._changed:
                self._readers[thread] -= 1
                self._changed.notify_all()

    def close(self) -> None:
        """Close it once nobody reads; stores that use it open another one when they need it."""
        if self.closed:
            return
        with self._changed:
            if self._readers[threading.get_ident()]:
                raise StoreError(
                    "The store is still being read by this thread. Read the names to their end "
                    "before you write to it, or before you read on after another process did."
                )
            self._changed.wait_for(lambda: not self._readers.total())
            if not self.closed:
                self.closed = True
                self.lmdb.close()

    def abandon(self) -> None:
        """Close it in a forked child, where the threads that read are gone."""
        # Their transactions are still open; then the child keeps the mapping and never uses it.
        if not self.closed:
            self.closed = True
            if not self._readers.total():
                self.lmdb.close()

    def __del__(self) -> None:
        self.close()


_shared: "weakref.WeakValueDictionary[Path, Environment]" = weakref.WeakValueDictionary()
_lock = threading.Lock()


@contextmanager
def read_transaction(path: Path) -> Iterator[tuple[lmdb.Transaction, Environment]]:
    """Yield a read transaction on the store in folder ``path``, and its environment.

    Values are views into the mapped file, valid until the end of the block. A thread that wants to
    close the environment waits for that. Keep the environment to avoid opening it again.

    Raises:
        StoreError: If LMDB cannot read it, also within the block.
    """
    try:
        with ExitStack() as stack:
            environment, transaction = _begin(path.resolve(), stack)
            yield transaction, environment
    except lmdb.Error as error:
        raise damaged(path, error) from error


def _begin(place: Path, stack: ExitStack) -> tuple[Environment, lmdb.Transaction]:
    with _lock:
        while True:
            environment = _shared.get(place)
            if environment is None or environment.closed:
                environment = _shared[place] = Environment(_open_to_read(place))
            try:
                return environment, stack.enter_context(environment.reading())
            except lmdb.MapResizedError:
                # Another process made the file larger than what is mapped here.
                environment.close()


def close_shared(path: Path) -> None:
    """Close the environment that stores of ``path`` share, so that it can be written."""
    with _lock:
        environment = _shared.pop(path.resolve(), None)
        if environment is not None:
            environment.close()


def _forget_environments() -> None:
    """Close the parent's environments in a forked child: LMDB must not be used across a fork."""
    global _lock  # noqa: PLW0603 - the parent may have held it while it forked
    _lock = threading.Lock()
    for environment in list(_shared.values()):
        environment.abandon()
    _shared.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_environments)


def _open_to_read(place: Path) -> lmdb.Environment:
    """Open the store in a folder, with room for what other processes add to it."""
    # A lock file guards against writers in other processes. Where nobody can write, it cannot be
    # created and is not needed; where folders are shared by machines, it does not work.
    lock = os.access(place, os.W_OK) and not is_remote(place.stat().st_dev)
    try:
        return open_lmdb(place, readonly=True, lock=lock, map_size=_ROOM)
    except StoreError as error:
        if not isinstance(error.__cause__, lmdb.Error):
            raise
    # Perhaps the lock file cannot be used, or the memory of the process is limited.
    return open_lmdb(place, readonly=True, lock=False)


def encoded(name: str) -> bytes | None:
    """Return the key of a name in a store; None if no value can have that name."""
    try:
        key = name.encode()
    except UnicodeEncodeError:
        return None
    return key if 0 < len(key) <= MAX_NAME else None


def is_remote(device: int, mounts: Path = _MOUNTS) -> bool:
    """Tell whether a device, by its number, is a file system that several machines share.

    Source: mountinfo in proc(5).
    """
    try:
        lines = mounts.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return False
    number = f"{os.major(device)}:{os.minor(device)}"
    kinds = (line.rpartition(" - ")[2] for line in lines if line.split()[2:3] == [number])
    return any(kind.startswith(_REMOTE) for kind in kinds)


def open_lmdb(
    path: Path,
    *,
    readonly: bool = False,
    lock: bool = True,
    sync: bool = True,
    map_size: int = 1 << 24,
) -> lmdb.Environment:
    """Open an environment in folder ``path``; raise `StoreError` if that fails.

    Without ``sync``, a commit does not wait for the disk: it survives the process, but not a
    failure of the machine.
    """
    meta = None
    _require_file(path / DATA_FILE)
    if readonly or ((file := path / DATA_FILE).exists() and file.stat().st_size):
        with _data_file(path) as content:
            meta = require_whole(content)
    try:
        environment = lmdb.open(
            os.fsencode(path),  # as text it would have to be UTF-8
            map_size=map_size,
            readonly=readonly,
            lock=lock,
            sync=sync,
            readahead=False,
            max_readers=1024,
        )
    except lmdb.Error as error:
        if "already open" in str(error):
            raise StoreError(
                f"The store {path} is being written in this process. "
                "Close the writer before you read or write."
            ) from error
        raise StoreError(f"{path} is not a store that can be opened: {error}.") from error
    if meta is None or meta.values.num_pages + meta.free.num_pages > _QUICKLY_WALKED:
        return environment
    try:
        # As long as a reader is registered, no writer reuses a page of what it could read.
        with environment.begin(), _data_file(path) as content:
            walk_all(content, read_meta(content))
    except lmdb.Error as error:
        environment.close()
        raise damaged(path, error) from error
    except StoreError:
        environment.close()
        raise
    return environment


def stored_names(folder: Path) -> Iterator[str]:
    """Yield all names in the store in ``folder``, in byte order.

    Raises:
        StoreError: If the store is damaged, as far as reading its names shows.
    """
    try:
        yield from map(bytes.decode, stored_keys(folder))
    except UnicodeDecodeError as error:
        raise StoreError(
            f"{folder} is not a store: {DATA_FILE} has a key that is not a name."
        ) from error


def stored_keys(folder: Path) -> Iterator[bytes]:
    """Yield all names as they are stored; see `stored_names`."""
    # As long as a reader is registered, no writer reuses a page of what it could read.
    with read_transaction(folder), _data_file(folder) as file:
        yield from walk_names(file)


def all_stored(folder: Path, suffix: str = "", *, without: str = "") -> "Names":
    """Return the names in the store in ``folder`` that end with a suffix, without it.

    Args:
        folder: The store.
        suffix: Other names are left out.
        without: Names with this suffix are left out, unless it is empty.

    Raises:
        StoreError: As for `stored_names`.
    """
    from reben.data.storage.names import Names, ends_with, split_sorted

    pieces = []
    with read_transaction(folder), _data_file(folder) as file:
        for keys in walk_keys(file):
            wanted = ends_with(keys, suffix.encode())
            if without:
                wanted &= ~ends_with(keys, without.encode())
            ends = keys.ends[wanted] - len(suffix.encode())
            pieces.append(split_sorted(Keys(keys.content, keys.starts[wanted], ends)))
    return Names.joined([heads for heads, _ in pieces], [tails for _, tails in pieces])


def _require_file(path: Path) -> None:
    """Refuse a pipe or a folder in the place of the file of a store, which LMDB would wait for."""
    try:
        check_file(path, sys.maxsize)
    except FileNotFoundError:
        return
    except OSError as error:
        raise StoreError(
            f"Cannot read the store {path.parent}: {path.name}: {error.strerror}. Name "
            "another folder."
        ) from error


@contextmanager
def _data_file(folder: Path) -> Iterator[IO[bytes]]:
    """Open the file of a store; make a `StoreError` of what turns out to be wrong with it."""
    try:
        with (folder / DATA_FILE).open("rb", buffering=0) as file:
            yield file
    except DamageError as error:
        raise damaged(folder, error) from error
    except ForeignError as error:
        raise StoreError(
            f"{folder} is not a store that can be opened: its {DATA_FILE} {error}. Name another "
            "folder, or encode into a new one."
        ) from error
    except OSError as error:
        raise StoreError(f"Cannot read the store {folder}: {error.strerror or error}.") from error


def damaged(folder: Path, error: Exception) -> StoreError:
    """Return the error that says what is wrong with a store, and what to do about it."""
    return StoreError(
        f"The store {folder} is damaged: {first_line(error)}. Copy it again from where it is "
        f"whole; or remove {DATA_FILE} there, and encode it again."
    )
