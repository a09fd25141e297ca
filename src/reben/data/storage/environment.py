"""LMDB environments, one for each store and process; and the names in a store without its values.

LMDB lets a process open a file only once, and py-lmdb 3 refuses the second time, so all stores of a
path share one environment, which is never used across a fork.

py-lmdb reads every page of each value that a cursor passes, even where only keys are asked for
(``preload`` in its cpython.c), so listing the names of the whole data set would read all 160 GB
of it. The names lie in a thousandth of that, the branch and leaf pages of the tree, and those
are walked here.

Source: MDB_meta, MDB_page and MDB_node in mdb.c of LMDB 0.9, data version 1.
"""

import os
import struct
import threading
import weakref
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO

import lmdb

from reben.errors import StoreError

DATA_FILE = "data.mdb"
"""The file that makes a folder a store."""
MAX_NAME = 511
"""The most bytes that LMDB takes as a name."""


class Environment:
    """One LMDB environment that all stores of a path in this process share."""

    def __init__(self, environment: lmdb.Environment) -> None:
        self.lmdb = environment
        self.closed = False
        self._num_readers = 0
        self._changed = threading.Condition()

    @contextmanager
    def reading(self) -> Iterator[lmdb.Transaction]:
        """Yield a read transaction whose values are views into the mapped file.

        Until it ends, the environment is not closed, whichever thread asks for that.
        """
        with self._changed:
            self._num_readers += 1
        try:
            with self.lmdb.begin(buffers=True) as transaction:
                yield transaction
        finally:
            with self._changed:
                self._num_readers -= 1
                self._changed.notify_all()

    def close(self) -> None:
        """Close it once nobody reads; stores that use it open another one when they need it."""
        if self.closed:
            return
        with self._changed:
            self._changed.wait_for(lambda: not self._num_readers)
            if not self.closed:
                self.closed = True
                self.lmdb.close()

    def abandon(self) -> None:
        """Close it in a forked child, where the threads that read are gone."""
        # Their transactions are still open; then the child keeps the mapping and never uses it.
        if not self.closed:
            self.closed = True
            if not self._num_readers:
                self.lmdb.close()

    def __del__(self) -> None:
        self.close()


_shared: "weakref.WeakValueDictionary[Path, Environment]" = weakref.WeakValueDictionary()
_lock = threading.Lock()


def shared_environment(path: Path) -> Environment:
    """Return the read-only environment of the store in folder ``path``, opened if necessary."""
    with _lock:
        return _open_shared(path.resolve())


@contextmanager
def read_transaction(path: Path) -> Iterator[tuple[lmdb.Transaction, Environment]]:
    """Yield a read transaction on the store in folder ``path``, and its environment.

    Values are views into the mapped file, valid until the end of the block. A thread that wants to
    close the environment waits for that. Keep the environment to avoid opening it again.
    """
    with ExitStack() as stack:
        with _lock:
            environment = _open_shared(path.resolve())
            transaction = stack.enter_context(environment.reading())
        yield transaction, environment


def _open_shared(place: Path) -> Environment:
    environment = _shared.get(place)
    if environment is None or environment.closed:
        # A lock file guards against writers in other processes. Where nobody can write, it cannot
        # be created and is not needed.
        lock = os.access(place, os.W_OK)
        environment = _shared[place] = Environment(open_lmdb(place, readonly=True, lock=lock))
    return environment


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
    try:
        return lmdb.open(
            str(path),
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


_META = struct.Struct("<16xII16xI84xQ8xQ")
_META_BYTES = 256
_PAGE = struct.Struct("<10xHHH")
_NODE = struct.Struct("<HHHH")
_MAGIC, _VERSION = 0xBEEFC0DE, 1
_BRANCH, _LEAF = 1, 2
_NO_PAGE = 2**64 - 1


def stored_names(folder: Path) -> Iterator[str]:
    """Yield all names in the store in ``folder``, in byte order."""
    # As long as a reader is registered, no writer reuses a page of what it could read.
    with read_transaction(folder), (folder / DATA_FILE).open("rb", buffering=0) as file:
        try:
            page_bytes, root = _read_meta(file, folder)
            for key in _walk(file, page_bytes, root):
                yield key.decode()
        except (struct.error, ValueError) as error:
            raise StoreError(f"The store {folder} is damaged: {error}. Encode it again.") from error


def _read_meta(file: IO[bytes], folder: Path) -> tuple[int, int]:
    """Return the page size, and the root page of the last commit."""
    start = file.read(_META_BYTES)
    page_bytes = _META.unpack_from(start)[2]
    file.seek(page_bytes)
    metas = [_META.unpack_from(start), _META.unpack_from(file.read(_META_BYTES))]
    for magic, version, *_ in metas:
        if (magic, version) != (_MAGIC, _VERSION):
            raise StoreError(
                f"The store {folder} is of LMDB data version {version}; this reben reads names "
                f"from version {_VERSION}. Encode it again."
            )
    root = max(metas, key=lambda meta: meta[4])[3]
    return page_bytes, root


def _walk(file: IO[bytes], page_bytes: int, root: int) -> Iterator[bytes]:
    """Yield the keys at and below page ``root``."""
    waiting = [] if root == _NO_PAGE else [root]
    num_left = file.seek(0, os.SEEK_END) // page_bytes
    while waiting:
        number = waiting.pop()
        file.seek(number * page_bytes)
        page = file.read(page_bytes)
        flags, lower, _ = _PAGE.unpack_from(page)
        places = struct.unpack_from(f"<{(lower - 16) // 2}H", page, 16)
        nodes = [(place, _NODE.unpack_from(page, place)) for place in places]
        num_left -= 1
        if num_left < 0:
            raise ValueError("its pages go round in a ring")
        if flags & _BRANCH:
            below = [low | high << 16 | highest << 32 for _, (low, high, highest, _) in nodes]
            waiting += reversed(below)
        elif flags & _LEAF:
            yield from (page[at + 8 : at + 8 + size] for at, (_, _, _, size) in nodes)
        else:
            raise ValueError(f"page {number} is neither branch nor leaf")
