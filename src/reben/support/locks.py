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
from reben.support.atomic import output_error

logger = logging.getLogger(__name__)

_TAKEN = (errno.EWOULDBLOCK, errno.EACCES)


@contextmanager
def locked(path: Path, refuse: Callable[[], RebenError]) -> Iterator[IO[bytes]]:
    """Hold the lock of a file while the block runs; other processes and threads are refused it.

    Args:
        path: The file, made if it is not there; its content stays as it is, and so does the file.
            It must not be replaced meanwhile, since the lock would go with the old one.
        refuse: Returns the error to raise if somebody else holds the lock.

    Raises:
        OutputError: If the file cannot be opened for writing.
    """
    try:
        file = open(path, "ab", opener=_open)  # noqa: SIM115 - Path.open has no opener
    except (OSError, ValueError) as error:
        raise output_error(path, error) from error
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

    Args:
        path: The file. One that a process left behind when it was killed does no harm.
        refuse: Returns the error to raise if somebody else holds it, from words that tell who.

    Raises:
        OutputError: If the file cannot be written.
    """
    with locked(path, lambda: refuse(_holder(path))) as file:
        try:
            if not os.path.samestat(os.fstat(file.fileno()), path.stat()):
                raise refuse("a process that is just ending")
            path.write_text(f"process {os.getpid()} on {platform.node()}", encoding="utf-8")
        except FileNotFoundError:
            raise refuse("a process that is just ending") from None
        except RebenError:
            raise
        except OSError as error:
            raise output_error(path, error) from error
        try:
            yield
        finally:
            with suppress(OSError):
                path.unlink()


def _holder(path: Path) -> str:
    with suppress(OSError):
        return path.read_text(encoding="utf-8", errors="replace")[:100] or "another process"
    return "another process"
