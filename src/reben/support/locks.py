"""Locks between processes: one file, one holder; whoever ends, however, no longer holds it."""

import errno
import logging
import os
import platform
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from reben.errors import RebenError
from reben.support.atomic import writing

logger = logging.getLogger(__name__)

_TAKEN = (errno.EWOULDBLOCK, errno.EACCES)


@contextmanager
def locked(path: Path, refuse: Callable[[], RebenError]) -> Iterator[IO[bytes]]:
    """Hold the lock of a file while the block runs; other processes and threads are refused it.

    The file is made if it is not there; its content stays as it is, and so does the file. It must
    not be replaced meanwhile, since the lock would go with the old one. ``refuse`` returns the
    error to raise if somebody else holds it.
    """
    with writing(path, ValueError):
        file = open(path, "ab", opener=_open)  # noqa: SIM115 - Path.open has no opener
    with file:
        try:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except ImportError:  # Windows
            pass
        except OSError as error:
            if error.errno in _TAKEN:
                raise refuse() from None
            logger.warning("The file system of %s knows no locks; two at once are not seen.", path)
        yield file


def _open(path: str, flags: int) -> int:
    # A pipe in its place would be waited for.
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0), 0o666)


@contextmanager
def lock_file(path: Path, refuse: Callable[[str], RebenError]) -> Iterator[None]:
    """Hold a lock by a file made for it alone, which tells who holds it and is removed at the end.

    One that a process left behind when it was killed does no harm. ``refuse`` returns the error to
    raise if somebody else holds it, from words that tell who.
    """
    with locked(path, lambda: refuse(_holder(path))) as file:
        with writing(path):
            try:
                is_there = os.path.samestat(os.fstat(file.fileno()), path.stat())
            except FileNotFoundError:
                is_there = False
            if not is_there:
                raise refuse("a process that is just ending")
            path.write_text(f"process {os.getpid()} on {platform.node()}", encoding="utf-8")
        try:
            yield
        finally:
            with suppress(OSError):
                path.unlink()


def _holder(path: Path) -> str:
    with suppress(OSError):
        return path.read_text(encoding="utf-8", errors="replace")[:100] or "another process"
    return "another process"
