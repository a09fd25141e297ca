"""LMDB environments: one for each store and process, never used across a fork.

LMDB allows a file to be opened once in a process, and py-lmdb 3 refuses the second time.
"""

import os
import threading
import weakref
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import lmdb

from reben.errors import StoreError


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
        # Their transactions are still there; then the child keeps the mapping and never uses it.
        if not self.closed:
            self.closed = True
            if not self._num_readers:
                self.lmdb.close()

    def __del__(self) -> None:
        self.close()


_shared: "weakref.WeakValueDictionary[Path, Environment]" = weakref.WeakValueDictionary()
_lock = threading.Lock()


def shared_environment(path: Path) -> Environment:
    """Return the read-only environment of the store in folder ``path``, opened at need.

    Raises:
        StoreError: If it cannot be opened.
    """
    place = path.resolve()
    with _lock:
        return _open_shared(place)


@contextmanager
def read_transaction(path: Path) -> Iterator[tuple[lmdb.Transaction, Environment]]:
    """Yield a read transaction on the store in folder ``path``, and its environment.

    Values are views into the mapped file, valid until the end of the block. A thread that wants to
    close the environment waits for that. Keep the environment to spare the next one opening it.

    Raises:
        StoreError: If it cannot be opened.
    """
    place = path.resolve()
    with ExitStack() as stack:
        with _lock:
            environment = _open_shared(place)
            transaction = stack.enter_context(environment.reading())
        yield transaction, environment


def _open_shared(place: Path) -> Environment:
    environment = _shared.get(place)
    if environment is None or environment.closed:
        # A lock file guards against a writer in another process; none can be made, and none is
        # needed, where nobody can write.
        lock = os.access(place, os.W_OK)
        environment = Environment(open_lmdb(place, readonly=True, lock=lock))
        _shared[place] = environment
    return environment


def close_shared(path: Path) -> None:
    """Close the environment that stores of ``path`` share, so that it can be written."""
    with _lock:
        environment = _shared.pop(path.resolve(), None)
        if environment is not None:
            environment.close()


def _forget_environments() -> None:
    """Close, in a forked child, what belongs to the parent: LMDB must not be used across fork."""
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
    """Open an environment in folder ``path``.

    Without ``sync``, a commit does not wait for the disk: it outlives the process, but not a
    failure of the machine.

    Raises:
        StoreError: If it cannot be opened.
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
                "Close the writer before you read, or the other writer before you write."
            ) from error
        raise StoreError(f"{path} is not a store that can be opened: {error}.") from error
