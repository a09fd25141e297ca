"""Locks between processes: one file, one holder; whoever ends, however, no longer holds it."""

import errno
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from reben.errors import RebenError
from reben.support.atomic import output_error

logger = logging.getLogger(__name__)

_TAKEN = (errno.EWOULDBLOCK, errno.EACCES)


@contextmanager
def locked(path: Path, refuse: Callable[[], RebenError]) -> Iterator[None]:
    """Hold the lock of a file while the block runs; other processes and threads are refused it.

    Args:
        path: The file, made if it is not there; its content stays as it is, and so does the file.
            It must not be replaced meanwhile, since the lock would go with the old one.
        refuse: Returns the error to raise if somebody else holds the lock.

    Raises:
        OutputError: If the file cannot be opened for writing.
    """
    try:
        file = path.open("ab")
    except OSError as error:
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
        yield
